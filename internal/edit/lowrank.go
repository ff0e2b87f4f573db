package edit

import (
	"github.com/monge-ml/monge/internal/dense"
)

// A LowRank matrix is Left·Right: k×m by m×n.
type LowRank struct{ Left, Right dense.Matrix[float64] }

// Add adds the matrix to rows, which are as many.
func (l *LowRank) Add(rows Rows) Rows {
	full := rows.dense(l.Right.Cols)
	for i, v := range product(l.Left, l.Right).Data {
		full.Data[i] += v
	}
	out := make(Rows, full.Rows)
	for i := range out {
		for q, v := range full.Data[i*full.Row:][:full.Cols] {
			if v != 0 {
				out[i] = append(out[i], Entry{q, v})
			}
		}
	}
	return out
}

// Columns returns some of the columns, a view of the same numbers.
func (l *LowRank) Columns(from, n int) *LowRank {
	return &LowRank{l.Left, l.Right.Sub(0, from, l.Right.Rows, n)}
}

func product[T dense.Float](a dense.Matrix[float64], b dense.Matrix[T]) dense.Matrix[float64] {
	c := dense.New[float64](a.Rows, b.Cols, nil)
	dense.AddMul(c, 1, a, b)
	return c
}

// addProduct multiplies a tensor by matrices, one after the other, along an axis, and adds the
// products to another tensor.
func addProduct[T dense.Float](to, from dense.Along[T], factors ...dense.Matrix[float64]) {
	const block = 512 // columns whose products are held in double precision
	out := to.Matrices()
	for m, x := range from.Matrices() {
		for at := 0; at < x.Cols; at += block {
			cols := min(block, x.Cols-at)
			sum := product(factors[0], x.Sub(0, at, x.Rows, cols))
			for _, f := range factors[1:] {
				sum = product(f, sum)
			}
			add(out[m].Sub(0, at, sum.Rows, cols), sum)
		}
	}
}

// add adds the elements of x to those of out.
func add[T dense.Float](out dense.Matrix[T], x dense.Matrix[float64]) {
	for i := range x.Rows {
		for j, v := range x.Data[i*x.Row:][:x.Cols] {
			at := &out.Data[i*out.Row+j*out.Col]
			*at = T(float64(*at) + v)
		}
	}
}
