package refit

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/internal/dense"
)

// moments are the sums that a least-squares fit of y ≈ W·x + b needs, over n
// rows of x (d values) and y (o values).
type moments struct {
	n          float64
	d, o       int
	sumX, sumY []float64
	xx         []float64 // d×d
	xy         []float64 // d×o
	yy         []float64 // o: Σ y²
}

// add takes in the sums of other rows.
func (m *moments) add(x *moments) {
	m.n += x.n
	for _, p := range [][2][]float64{{m.sumX, x.sumX}, {m.sumY, x.sumY}, {m.xx, x.xx}, {m.xy, x.xy}, {m.yy, x.yy}} {
		for i, v := range p[1] {
			p[0][i] += v
		}
	}
}

// fit is a linear map: w is o×d row-major, b has o entries (nil: no bias).
type fit struct {
	w, b []float64
}

// normal are the normal equations of a fit, of which only the ridge changes
// from one strength to the next.
type normal struct {
	m      *moments
	affine bool
	g      dense.Matrix[float64] // d×d: second moments of x, centred where there is a bias
	r      dense.Matrix[float64] // d×o: those of x and y
	trace  float64               // of g
	// chol and x are scratch of the sizes of g and r.
	chol, x dense.Matrix[float64]
}

func (m *moments) normal(affine bool) *normal {
	q := &normal{m: m, affine: affine, g: dense.New[float64](m.d, m.d, nil), r: dense.New[float64](m.d, m.o, nil)}
	for i := range m.d {
		mean := 0.0
		if affine {
			mean = m.sumX[i] / m.n
		}
		g, r := q.g.Data[i*m.d:][:m.d], q.r.Data[i*m.o:][:m.o]
		for j, v := range m.xx[i*m.d:][:m.d] {
			g[j] = v/m.n - mean*m.sumX[j]/m.n
		}
		for k, v := range m.xy[i*m.o:][:m.o] {
			r[k] = v/m.n - mean*m.sumY[k]/m.n
		}
		q.trace += g[i]
	}
	return q
}

// ridge minimises Σ‖y − W·x − b‖²/n + λ·(tr G/d)·‖W − W₀‖² with G the second
// moments of x, centred where there is a bias (which is not penalised). It is
// in closed form, solved by Cholesky.
func (m *moments) ridge(lambda float64, prior fit) (fit, error) {
	return m.normal(prior.b != nil).ridge(lambda, prior)
}

func (q *normal) ridge(lambda float64, prior fit) (fit, error) {
	m := q.m
	if !(q.trace > 0) || math.IsInf(q.trace, 0) {
		return prior, nil // nothing varies: nothing can be learnt
	}
	l := lambda * q.trace / float64(m.d)
	if q.chol.Data == nil {
		q.chol, q.x = dense.New[float64](m.d, m.d, nil), dense.New[float64](m.d, m.o, nil)
	}
	// The sums are single precision: where the inputs hardly vary beside their
	// means, G may have lost its sign, and takes more ridge.
	for tries := 0; ; tries++ {
		copy(q.chol.Data, q.g.Data)
		for i := range m.d {
			q.chol.Data[i*m.d+i] += l
		}
		if dense.Cholesky(q.chol) {
			break
		}
		if tries == 12 {
			return fit{}, fmt.Errorf("the Gram matrix of %d inputs is not positive at λ = %g", m.d, l*float64(m.d)/q.trace)
		}
		l *= 10
	}
	copy(q.x.Data, q.r.Data)
	for i := range m.d {
		x := q.x.Data[i*m.o:][:m.o]
		for k := range x {
			x[k] += l * prior.w[k*m.d+i]
		}
	}
	dense.SolveCholesky(q.chol, q.x)
	out := fit{w: make([]float64, m.o*m.d)}
	for i := range m.d {
		for k, v := range q.x.Data[i*m.o:][:m.o] {
			out.w[k*m.d+i] = v
		}
	}
	if q.affine {
		out.b = m.bias(out.w)
	}
	return out, nil
}

// bias is the best bias for given weights: mean of y − W·x.
func (m *moments) bias(w []float64) []float64 {
	b := make([]float64, m.o)
	for k := range b {
		s := m.sumY[k]
		for i, x := range m.sumX {
			s -= w[k*m.d+i] * x
		}
		b[k] = s / m.n
	}
	return b
}

// squaredError is Σ‖y − W·x − b‖² over the rows, from the sums alone.
func (m *moments) squaredError(f fit) float64 {
	total := 0.0
	wg := dense.New[float64](m.o, m.d, nil)
	dense.AddMul(wg, 1, dense.New(m.o, m.d, f.w), dense.New(m.d, m.d, m.xx))
	for k := range m.o {
		e := m.yy[k]
		row := f.w[k*m.d:][:m.d]
		wx := 0.0
		for i, v := range row {
			e += v * (wg.Data[k*m.d+i] - 2*m.xy[i*m.o+k])
			wx += v * m.sumX[i]
		}
		if f.b != nil {
			e += f.b[k] * (m.n*f.b[k] + 2*wx - 2*m.sumY[k])
		}
		total += max(e, 0)
	}
	return total
}

// variation is Σ‖y − ȳ‖², what a relative error is relative to.
func (m *moments) variation() float64 {
	total := 0.0
	for k := range m.o {
		total += max(m.yy[k]-m.sumY[k]*m.sumY[k]/m.n, 0)
	}
	return total
}

// strengths are the ridge strengths that are tried, relative to the mean
// diagonal of the Gram matrix. Few rows of many inputs want the strong ones:
// the n directions that were seen then hold all of the trace, d/n times the mean
// each.
var strengths = []float64{1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10}

// choose fits on train, picks the strength with the least error on held-out
// rows, and fits again on all rows with it, which train takes in. The prior
// itself is a candidate, and what is returned where no Gram matrix allows a fit.
// before and after are squared errors on the held-out rows, of the prior and of
// the fit to train: sums, since the variation that they are relative to may be
// zero for one group of a layer (a channel that is off in all of them).
func choose(train, held *moments, prior fit) (best fit, lambda, before, after float64) {
	before = held.squaredError(prior)
	after, lambda = before, math.Inf(1)
	equations := train.normal(prior.b != nil)
	for _, l := range strengths {
		f, err := equations.ridge(l, prior)
		if err != nil {
			continue // too little ridge for this Gram matrix; a stronger one follows
		}
		if e := held.squaredError(f); e < after {
			after, lambda = e, l
		}
	}
	if math.IsInf(lambda, 1) {
		return prior, lambda, before, before
	}
	equations = nil // gives its memory back
	train.add(held)
	best, err := train.ridge(lambda, prior)
	if err != nil {
		return prior, math.Inf(1), before, before
	}
	return best, lambda, before, after
}

// relative is a squared error as a share of the variation of what was aimed at,
// or of its size where that varies no more than single precision does.
func relative(e, variation, size float64) float64 {
	switch {
	case variation > 1e-6*size:
		return e / variation
	case size > 0:
		return e / size
	}
	return 0
}

// size is Σ‖y‖².
func (m *moments) size() float64 { return floats.Sum(m.yy) }
