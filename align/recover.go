package align

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/internal/dense"
)

// A lowRank matrix is left·right: k×m by m×n.
type lowRank struct{ left, right dense.Matrix[float64] }

// add adds the matrix to rows, which are as many.
func (l *lowRank) add(rows Rows) Rows {
	full := dense.New[float64](l.left.Rows, l.right.Cols, nil)
	dense.AddMul(full, 1, l.left, l.right)
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

// columns returns some of the columns, a view of the same numbers.
func (l *lowRank) columns(from, n int) *lowRank {
	return &lowRank{l.left, l.right.Sub(0, from, l.right.Rows, n)}
}

// applyLowRank adds left·right times the middle axis of an outer×n×inner tensor to out, outer×k×inner.
func applyLowRank[T float32 | float64](l *lowRank, out, data []T, outer, inner int) {
	k, m, n := l.left.Rows, l.right.Rows, l.right.Cols
	if inner == 1 {
		const block = 512 // rows whose products are held in double precision
		sums, parts := make([]float64, min(block, outer)*k), make([]float64, min(block, outer)*m)
		for o := 0; o < outer; o += block {
			rows := min(block, outer-o)
			clear(sums)
			clear(parts)
			part, sum := dense.New(rows, m, parts), dense.New(rows, k, sums)
			dense.AddMul(part, 1, dense.New(rows, n, data[o*n:]), l.right.T())
			dense.AddMul(sum, 1, part, l.left.T())
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
			dense.AddMul(part, 1, l.right, all.Sub(0, from, n, cols))
			dense.AddMul(sum, 1, l.left, part)
			for j := range k {
				to := out[(o*k+j)*inner+from:][:cols]
				for i := range to {
					to[i] = T(float64(to[i]) + sum.Data[j*cols+i])
				}
			}
		}
	}
}

// Recover returns the transfer that keeps some channels as they are. Its OutT, by
// which consumers read channels that are gone out of those that stay, is the
// least-squares reconstruction h ≈ Out·h_keep over all readers, kept channels
// standing for themselves. A little ridge keeps channels that hardly vary from
// being amplified. Where the channels that are kept do not vary, or what is known of
// them is no covariance (activations that are not finite), nothing is read out of
// them: each stands for itself alone.
func (e *Evidence) Recover(group int, keep []int) (Transfer, error) {
	t := Transfer{In: make(Rows, len(keep)), OutT: make(Rows, len(keep))}
	for i, p := range keep {
		t.In[i], t.OutT[i] = []Entry{{p, 1}}, []Entry{{p, 1}}
	}
	n := e.readers[group][0].n
	if len(keep) == n {
		return t, nil
	}
	if a, ok := e.factor(group); ok && a.Rows < len(keep) {
		t.rest = recoverFrom(a, keep)
		return t, nil
	}
	kk, ok := e.recoverFromSums(group, keep)
	if !ok {
		return t, nil
	}
	for i, p := range keep {
		for j := range keep {
			kk.Data[j*n+p] = 0
		}
		kk.Data[i*n+p] = 1
	}
	t.OutT = entriesOf(kk)
	return t, nil
}

// factor returns A with AᵀA the covariance that all readers of a group see, each
// counting equally; ok is false where samples are not there any more.
func (e *Evidence) factor(group int) (a dense.Matrix[float64], ok bool) {
	a = dense.Matrix[float64]{Cols: e.readers[group][0].n, Row: e.readers[group][0].n, Col: 1}
	for _, r := range e.readers[group] {
		part, ok := r.factor()
		if !ok {
			return a, false
		}
		if t := floats.Dot(part.Data, part.Data); t > 0 {
			floats.Scale(1/math.Sqrt(t), part.Data)
			a.Rows += part.Rows
			a.Data = append(a.Data, part.Data...)
		}
	}
	return a, a.Rows > 0
}

// recoverFrom solves the same problem as recoverFromSums out of A, m×n with m < k:
// (A_KᵀA_K + l·I)⁻¹·A_KᵀA = A_Kᵀ·(A_K·A_Kᵀ + l·I)⁻¹·A, in which the columns of kept
// channels are left out. It is nil where that cannot be solved.
func recoverFrom(a dense.Matrix[float64], keep []int) *lowRank {
	m, n, k := a.Rows, a.Cols, len(keep)
	ak := dense.New[float64](m, k, nil)
	for i := range m {
		for j, p := range keep {
			ak.Data[i*k+j] = a.Data[i*n+p]
		}
	}
	scale := floats.Dot(ak.Data, ak.Data)/float64(k) + dead*floats.Dot(a.Data, a.Data)/float64(n)
	gram, chol := dense.New[float64](m, m, nil), dense.New[float64](m, m, nil)
	dense.AddGram(gram, 1, ak)
	for ridge := 1e-6; ; ridge *= 10 {
		copy(chol.Data, gram.Data)
		for i := range m {
			chol.Data[i*m+i] += ridge*scale + 1e-300
		}
		if dense.Cholesky(chol) {
			break
		}
		if ridge > 1 {
			return nil
		}
	}
	for _, p := range keep {
		for i := range m {
			a.Data[i*n+p] = 0
		}
	}
	dense.SolveCholesky(chol, a)
	return &lowRank{ak.T(), a}
}

// dead is the share of the mean variance of all channels below which those that
// stay say nothing about the others: the covariance of the two is rounding.
const dead = 1e-6

// recoverFromSums returns (G_KK + l·I)⁻¹·G_Kn, k×n; ok is false where G_KK is no
// covariance, whatever l.
func (e *Evidence) recoverFromSums(group int, keep []int) (kn dense.Matrix[float64], ok bool) {
	readers := e.readers[group]
	n := readers[0].n
	g := mat.NewSymDense(n, nil)
	for _, c := range readers {
		cov := c.covariance()
		if t := mat.Trace(cov); t > 0 {
			for p := range n {
				for q := p; q < n; q++ {
					g.SetSym(p, q, g.At(p, q)+cov.At(p, q)/t)
				}
			}
		}
	}
	k := len(keep)
	kk := dense.New[float64](k, k, nil)
	kn = dense.New[float64](k, n, nil)
	scale := dead * mat.Trace(g) / float64(n)
	for i, p := range keep {
		for q := range n {
			kn.Data[i*n+q] = g.At(p, q)
		}
		scale += g.At(p, p) / float64(k)
	}
	// The sums are single precision: what channels with large means share may have lost its sign.
	for ridge := 1e-6; ; ridge *= 10 {
		for i, p := range keep {
			for j, q := range keep[:i+1] {
				kk.Data[i*k+j] = g.At(p, q)
			}
			kk.Data[i*k+i] += ridge*scale + 1e-300
		}
		if dense.Cholesky(kk) {
			break
		}
		if ridge > 1 {
			return kn, false
		}
	}
	dense.SolveCholesky(kk, kn)
	return kn, true
}
