package edit

import (
	"slices"

	"github.com/monge-ml/monge/internal/dense"
)

// Rows is a sparse matrix by rows: row r of the product with a matrix X is Σ Val·X[Col] over its
// entries.
type Rows [][]Entry

// An Entry is one coefficient of a sparse row.
type Entry struct {
	Col int
	Val float64
}

// selecting returns the matrix that takes some columns, in the given order.
func selecting(columns []int) Rows {
	flat := make([]Entry, len(columns))
	rows := make(Rows, len(columns))
	for i, c := range columns {
		flat[i] = Entry{c, 1}
		rows[i] = flat[i : i+1 : i+1]
	}
	return rows
}

// isIdentity reports whether the matrix is the n×n identity.
func (r Rows) isIdentity(n int) bool {
	if len(r) != n || !r.picks() {
		return false
	}
	for i, row := range r {
		if row[0].Col != i {
			return false
		}
	}
	return true
}

// picks reports whether every row is one of the columns.
func (r Rows) picks() bool {
	return !slices.ContainsFunc(r, func(row []Entry) bool { return len(row) != 1 || row[0].Val != 1 })
}

// crowded reports whether most of the matrix, of n columns, is not zero and it is large enough for
// dense products to pay.
func (r Rows) crowded(n int) bool {
	entries := 0
	for _, row := range r {
		entries += len(row)
	}
	return entries*2 > len(r)*n && len(r)*n > 64
}

// dense is the matrix with n columns, all coefficients written out.
func (r Rows) dense(n int) dense.Matrix[float64] {
	m := dense.New[float64](len(r), n, nil)
	for i, row := range r {
		for _, e := range row {
			m.Data[i*n+e.Col] += e.Val
		}
	}
	return m
}

// multiply multiplies along one axis of a row-major tensor. Numbers that are no more than put
// elsewhere stay what they are.
func multiply[T dense.Float](data []T, dims []int, axis int, rows Rows) ([]T, []int) {
	from := dense.AlongAxis(data, dims, axis)
	if !rows.crowded(from.N) {
		return multiplyEach(data, dims, axis, -1, []Rows{rows})
	}
	to := from.Resized(len(rows))
	addProduct(to, from, rows.dense(from.N))
	return to.Data, resized(dims, axis, to.N)
}

// multiplyEach is multiply with matrices, all of one height, for the positions of another axis; by
// is -1, with one matrix, where no axis selects.
func multiplyEach[T dense.Float](data []T, dims []int, axis, by int, matrices []Rows) ([]T, []int) {
	from := dense.AlongAxis(data, dims, axis)
	to := from.Resized(len(matrices[0]))
	run, at := from.Inner, func(int) int { return 0 } // numbers in a row for which one matrix holds
	if by >= 0 {
		selects := dense.AlongAxis[T](nil, dims, by)
		run, at = min(run, selects.Inner), selects.Position
	}
	sums := make([]float64, run)
	for o := range from.Outer {
		x, out := from.Block(o), to.Block(o)
		for i := 0; i < from.Inner; i += run {
			for r, row := range matrices[at(o*len(x)+i)] {
				combine(out[r*to.Inner+i:][:run], x[i:], from.Inner, row, sums)
			}
		}
	}
	return to.Data, resized(dims, axis, to.N)
}

// combine sets out to Σ Val·x over a row's entries, where x has the numbers at position c from
// c·stride on. sums is scratch of the same length as out.
func combine[T dense.Float](out, x []T, stride int, row []Entry, sums []float64) {
	picks := len(row) == 1 && row[0].Val == 1
	switch {
	case picks && len(out) == 1:
		out[0] = x[row[0].Col*stride]
	case picks:
		copy(out, x[row[0].Col*stride:])
	case len(out) == 1:
		s := 0.0
		for _, e := range row {
			s += e.Val * float64(x[e.Col*stride])
		}
		out[0] = T(s)
	default:
		clear(sums)
		for _, e := range row {
			for i, v := range x[e.Col*stride:][:len(out)] {
				sums[i] += e.Val * float64(v)
			}
		}
		for i, v := range sums {
			out[i] = T(v)
		}
	}
}

// Apply multiplies along one axis of an activation.
func (r Rows) Apply(data []float32, dims []int, axis int) ([]float32, []int) {
	return multiply(data, dims, axis, r)
}

// resized returns dims with another size of one axis.
func resized(dims []int, axis, n int) []int {
	out := slices.Clone(dims)
	out[axis] = n
	return out
}
