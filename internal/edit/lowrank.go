package edit

import (
	"github.com/monge-ml/monge/internal/dense"
)

// A LowRank matrix is Left·Right: k×m by m×n.
type LowRank struct{ Left, Right dense.Matrix[float64] }

// Add adds the matrix to rows, which are as many.
func (l *LowRank) Add(rows Rows) Rows {
	full := dense.New[float64](l.Left.Rows, l.Right.Cols, nil)
	dense.AddMul(full, 1, l.Left, l.Right)
	for j, row := range rows {
		for _, e := range row {
			full.Data[j*full.Cols+e.Col] += e.Val
		}
	}
	return entriesOf(full)
}

// entriesOf lists what is not zero.
func entriesOf(m dense.Matrix[float64]) Rows {
	rows := make(Rows, m.Rows)
	for i := range rows {
		for q, v := range m.Data[i*m.Row:][:m.Cols] {
			if v != 0 {
				rows[i] = append(rows[i], Entry{q, v})
			}
		}
	}
	return rows
}

// Columns returns some of the columns, a view of the same numbers.
func (l *LowRank) Columns(from, n int) *LowRank {
	return &LowRank{l.Left, l.Right.Sub(0, from, l.Right.Rows, n)}
}

// applyLowRank adds Left·Right times the middle axis of an outer×n×inner tensor to out, outer×k×inner.
func applyLowRank[T float32 | float64](l *LowRank, out, data []T, outer, inner int) {
	k, m, n := l.Left.Rows, l.Right.Rows, l.Right.Cols
	if inner == 1 {
		const block = 512 // rows whose products are held in double precision
		sums, parts := make([]float64, min(block, outer)*k), make([]float64, min(block, outer)*m)
		for o := 0; o < outer; o += block {
			rows := min(block, outer-o)
			clear(sums)
			clear(parts)
			part, sum := dense.New(rows, m, parts), dense.New(rows, k, sums)
			dense.AddMul(part, 1, dense.New(rows, n, data[o*n:]), l.Right.T())
			dense.AddMul(sum, 1, part, l.Left.T())
			for i, v := range sum.Data[:rows*k] {
				out[o*k+i] = T(float64(out[o*k+i]) + v)
			}
		}
		return
	}
	const block = 512 // columns
	parts, sums := make([]float64, m*min(block, inner)), make([]float64, k*min(block, inner))
	for o := range outer {
		all := dense.New(n, inner, data[o*n*inner:])
		for from := 0; from < inner; from += block {
			cols := min(block, inner-from)
			clear(parts)
			clear(sums)
			part, sum := dense.New(m, cols, parts), dense.New(k, cols, sums)
			dense.AddMul(part, 1, l.Right, all.Sub(0, from, n, cols))
			dense.AddMul(sum, 1, l.Left, part)
			for j := range k {
				to := out[(o*k+j)*inner+from:][:cols]
				for i := range to {
					to[i] = T(float64(to[i]) + sum.Data[j*cols+i])
				}
			}
		}
	}
}
