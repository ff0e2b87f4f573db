package choose

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
)

// recover returns the transfer that keeps some channels as they are. Its OutT, by which consumers
// read channels that are gone out of those that stay, is the least-squares reconstruction h ≈
// Out·h_keep over all consumers, kept channels standing for themselves. The ridge is as strong as
// predicts best what held-out rows hold in the channels that are gone. Where nothing predicts
// anything of that, or the channels that are kept do not vary, or what is known of them is no
// covariance (activations that are not finite), nothing is read out of them: each stands for itself
// alone.
func (e *Evidence) recover(group int, keep []int) (edit.Transfer, error) {
	t := edit.Keep(keep)
	n := e.seen[group][0].n
	if len(keep) == n {
		return t, nil
	}
	gone := missing(n, keep)
	held := e.mean(group, (*sight).heldMoments)
	if a, ok := e.factor(group); ok && a.Rows < len(keep) {
		f := newFromRows(a, keep)
		if ridge, ok := strength(f, held, keep, gone); ok {
			t.Rest = f.lowRank(ridge, n, gone)
		}
		return t, nil
	}
	f := &fromSums{e.mean(group, (*sight).covariance), keep}
	if ridge, ok := strength(f, held, keep, gone); ok {
		if x, ok := f.recover(ridge, gone); ok {
			t.OutT = withRest(t.OutT, x, gone)
		}
	}
	return t, nil
}

// missing lists the channels that are not kept, in whatever order those are.
func missing(n int, keep []int) (gone []int) {
	kept := make([]bool, n)
	for _, p := range keep {
		kept[p] = true
	}
	for p, is := range kept {
		if !is {
			gone = append(gone, p)
		}
	}
	return gone
}

// part is the matrix of some rows and columns of a symmetric one.
func part(g *mat.SymDense, rows, cols []int) dense.Matrix[float64] {
	out := dense.New[float64](len(rows), len(cols), nil)
	for i, p := range rows {
		for j, q := range cols {
			out.Data[i*len(cols)+j] = g.At(p, q)
		}
	}
	return out
}

// withRest adds what is read of channels that are gone, k×len(gone), to rows.
func withRest(rows edit.Rows, x dense.Matrix[float64], gone []int) edit.Rows {
	for i := range rows {
		for j, p := range gone {
			if v := x.Data[i*x.Row+j]; v != 0 {
				rows[i] = append(rows[i], edit.Entry{Col: p, Val: v})
			}
		}
		slices.SortFunc(rows[i], func(a, b edit.Entry) int { return a.Col - b.Col })
	}
	return rows
}

// A predictor tells some channels out of those that are kept: k×len(of), for a ridge relative to
// the mean variance. ok is false where that cannot be solved.
type predictor interface {
	recover(ridge float64, of []int) (x dense.Matrix[float64], ok bool)
}

// ridges are the strengths that are tried.
var ridges = []float64{1e-6, 1e-4, 1e-2, 1e-1, 1, 10}

// sampledChannels is the number of channels by which ridges are compared.
const sampledChannels = 128

// strength chooses the ridge with which channels that are gone are best predicted on held-out rows,
// of which h are the second moments. ok is false if none is better than to predict nothing. Without
// held-out rows the weakest that can be solved is taken.
func strength(f predictor, h *mat.SymDense, keep, gone []int) (ridge float64, ok bool) {
	if h == nil {
		for _, ridge := range ridges {
			if _, ok := f.recover(ridge, gone[:1]); ok {
				return ridge, true
			}
		}
		return 0, false
	}
	of := gone
	if len(gone) > sampledChannels {
		of = make([]int, sampledChannels)
		for i := range of {
			of[i] = gone[i*len(gone)/sampledChannels]
		}
	}
	whole, cross, total := part(h, keep, keep), part(h, keep, of), 0.0
	for _, q := range of {
		total += h.At(q, q)
	}
	least := total
	for _, r := range ridges {
		x, solved := f.recover(r, of)
		if !solved {
			continue
		}
		hx := dense.New[float64](len(keep), len(of), nil)
		dense.AddMul(hx, 1, whole, x)
		if e := total + floats.Dot(hx.Data, x.Data) - 2*floats.Dot(cross.Data, x.Data); e < least {
			ridge, least, ok = r, e, true
		}
	}
	return ridge, ok
}

// mean sums a covariance over the sights of a group, each counting equally; nil if one has none.
func (e *Evidence) mean(group int, of func(*sight) *mat.SymDense) *mat.SymDense {
	g := mat.NewSymDense(e.seen[group][0].n, nil)
	for _, s := range e.seen[group] {
		c := of(s)
		if c == nil {
			return nil
		}
		if t := mat.Trace(c); t > 0 {
			addScaled(g, 1/t, c)
		}
	}
	return g
}

// factor returns A with AᵀA the covariance that all consumers of a group see, each counting
// equally; ok is false where samples are not there any more.
func (e *Evidence) factor(group int) (a dense.Matrix[float64], ok bool) {
	a = dense.Matrix[float64]{Cols: e.seen[group][0].n, Row: e.seen[group][0].n, Col: 1}
	for _, r := range e.seen[group] {
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

// dead is the share of the mean variance of all channels below which those that stay say nothing
// about the others: the covariance of the two is rounding.
const dead = 1e-6

// fromRows solves the same problem as fromSums out of A, m×n with m < k: (A_KᵀA_K + l·I)⁻¹·A_KᵀA =
// A_Kᵀ·(A_K·A_Kᵀ + l·I)⁻¹·A.
type fromRows struct {
	a, ak, gram dense.Matrix[float64] // A, A_K, A_K·A_Kᵀ
	scale       float64               // what ridges are relative to: the mean variance of the kept channels
}

func newFromRows(a dense.Matrix[float64], keep []int) *fromRows {
	m, k := a.Rows, len(keep)
	f := &fromRows{a: a, ak: dense.New[float64](m, k, nil), gram: dense.New[float64](m, m, nil)}
	for i := range m {
		for j, p := range keep {
			f.ak.Data[i*k+j] = a.Data[i*a.Row+p]
		}
	}
	f.scale = floats.Dot(f.ak.Data, f.ak.Data)/float64(k) + dead*floats.Dot(a.Data, a.Data)/float64(a.Cols)
	dense.AddGram(f.gram, 1, f.ak)
	return f
}

// solve returns (A_K·A_Kᵀ + l·I)⁻¹·A of some columns.
func (f *fromRows) solve(ridge float64, of []int) (x dense.Matrix[float64], ok bool) {
	m := f.a.Rows
	chol := dense.New(m, m, slices.Clone(f.gram.Data))
	for i := range m {
		chol.Data[i*m+i] += ridge*f.scale + 1e-300
	}
	if !dense.Cholesky(chol) {
		return x, false
	}
	x = dense.New[float64](m, len(of), nil)
	for i := range m {
		for j, p := range of {
			x.Data[i*len(of)+j] = f.a.Data[i*f.a.Row+p]
		}
	}
	dense.SolveCholesky(chol, x)
	return x, true
}

func (f *fromRows) recover(ridge float64, of []int) (x dense.Matrix[float64], ok bool) {
	part, ok := f.solve(ridge, of)
	if !ok {
		return x, false
	}
	x = dense.New[float64](f.ak.Cols, len(of), nil)
	dense.AddMul(x, 1, f.ak.T(), part)
	return x, true
}

// lowRank is what recover returns of channels that are gone, in two factors.
func (f *fromRows) lowRank(ridge float64, n int, gone []int) *edit.LowRank {
	part, ok := f.solve(ridge, gone)
	if !ok {
		return nil
	}
	right := dense.New[float64](f.a.Rows, n, nil)
	for i := range f.a.Rows {
		for j, p := range gone {
			right.Data[i*n+p] = part.Data[i*part.Row+j]
		}
	}
	return &edit.LowRank{Left: f.ak.T(), Right: right}
}

// fromSums solves (G_KK + l·I)⁻¹·G_K.
type fromSums struct {
	g    *mat.SymDense
	keep []int
}

func (f *fromSums) recover(ridge float64, of []int) (x dense.Matrix[float64], ok bool) {
	k := len(f.keep)
	kk := part(f.g, f.keep, f.keep)
	x = part(f.g, f.keep, of)
	scale := dead * mat.Trace(f.g) / float64(f.g.SymmetricDim())
	for i := range k {
		scale += kk.Data[i*k+i] / float64(k)
	}
	for i := range k {
		kk.Data[i*k+i] += ridge*scale + 1e-300
	}
	if !dense.Cholesky(kk) {
		return x, false
	}
	dense.SolveCholesky(kk, x)
	return x, true
}
