package dense

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// factorBlock is the number of columns that are factorised together.
const factorBlock = 96

// Cholesky overwrites the lower triangle of the symmetric matrix a, of which nothing else is read,
// by L with L·Lᵀ = a. It returns false, with a half done, if a is not positive definite. Rows of a
// must be contiguous.
func Cholesky(a Matrix[float64]) bool {
	n := a.Rows
	for k := 0; k < n; k += factorBlock {
		m := min(factorBlock, n-k)
		d := a.Sub(k, k, m, m)
		if !factor(d) {
			return false
		}
		rest := n - k - m
		if rest == 0 {
			break
		}
		below := a.Sub(k+m, k, rest, m)
		workers := threadsFor(rest * m * m / 2)
		inParallel(workers, rest, func(_, i int) { substitute(d, below.row(i)) })
		AddGram(a.Sub(k+m, k+m, rest, rest), -1, below)
	}
	return true
}

// factor is Cholesky for a small matrix.
func factor(a Matrix[float64]) bool {
	for i := range a.Rows {
		row := a.row(i)[:i+1]
		substitute(a.Sub(0, 0, i, i), row[:i])
		d := row[i] - floats.Dot(row[:i], row[:i])
		if !(d > 0) || math.IsInf(d, 1) {
			return false
		}
		row[i] = math.Sqrt(d)
	}
	return true
}

// substitute solves L·x = b, with b given and x returned in x.
func substitute(l Matrix[float64], x []float64) {
	for j := range x {
		row := l.row(j)[:j+1]
		x[j] = (x[j] - floats.Dot(x[:j], row[:j])) / row[j]
	}
}

// SolveCholesky solves L·Lᵀ·X = B, where l has L in its lower triangle, and B is given and X
// returned in b.
func SolveCholesky(l, b Matrix[float64]) {
	n := l.Rows
	for k := 0; k < n; k += factorBlock {
		m := min(factorBlock, n-k)
		for i := k; i < k+m; i++ {
			row := b.row(i)
			for j := k; j < i; j++ {
				floats.AddScaled(row, -l.Data[i*l.Row+j], b.row(j))
			}
			floats.Scale(1/l.Data[i*l.Row+i], row)
		}
		if rest := n - k - m; rest > 0 {
			AddMul(b.Sub(k+m, 0, rest, b.Cols), -1, l.Sub(k+m, k, rest, m), b.Sub(k, 0, m, b.Cols))
		}
	}
	for k := (n - 1) / factorBlock * factorBlock; k >= 0; k -= factorBlock {
		m := min(factorBlock, n-k)
		if rest := n - k - m; rest > 0 {
			AddMul(b.Sub(k, 0, m, b.Cols), -1, l.Sub(k+m, k, rest, m).T(), b.Sub(k+m, 0, rest, b.Cols))
		}
		for i := k + m - 1; i >= k; i-- {
			row := b.row(i)
			for j := i + 1; j < k+m; j++ {
				floats.AddScaled(row, -l.Data[j*l.Row+i], b.row(j))
			}
			floats.Scale(1/l.Data[i*l.Row+i], row)
		}
	}
}
