package dense

import "fmt"

// Float is the type of an operand's elements. Results are float64.
type Float interface{ float32 | float64 }

// A Matrix is a view of numbers: element (i, j) is Data[i*Row+j*Col].
type Matrix[T Float] struct {
	Rows, Cols int
	Row, Col   int // distances of neighbours along a column and along a row
	Data       []T
}

// New returns a view of a row-major matrix, over zeros if data is nil. It panics if data is too
// short.
func New[T Float](rows, cols int, data []T) Matrix[T] {
	if data == nil {
		data = make([]T, rows*cols)
	}
	if len(data) < rows*cols {
		panic(fmt.Sprintf("dense: %d numbers for a %d×%d matrix", len(data), rows, cols))
	}
	return Matrix[T]{rows, cols, cols, 1, data}
}

// T returns the transpose, a view of the same numbers.
func (m Matrix[T]) T() Matrix[T] { return Matrix[T]{m.Cols, m.Rows, m.Col, m.Row, m.Data} }

// Sub returns the part that begins at (i, j), a view of the same numbers.
func (m Matrix[T]) Sub(i, j, rows, cols int) Matrix[T] {
	return Matrix[T]{rows, cols, m.Row, m.Col, m.Data[i*m.Row+j*m.Col:]}
}

// row returns the numbers of row i, of a matrix with Col 1.
func (m Matrix[T]) row(i int) []T { return m.Data[i*m.Row:][:m.Cols:m.Cols] }
