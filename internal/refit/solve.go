package refit

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/stats"
)

// moments are the sums that a least-squares fit of y ≈ W·x + b needs.
type moments stats.Moments

// n is the number of rows.
func (m *moments) n() float64 { return float64(m.Rows) }

// add takes in the sums of other rows.
func (m *moments) add(x *moments) { (*stats.Moments)(m).Add((*stats.Moments)(x)) }

// fit is a linear map: w is o×d row-major, b has o entries (nil: no bias).
type fit struct {
	w, b []float64
}

// times multiplies what a fit predicts.
func (f fit) times(factor float64) fit {
	floats.Scale(factor, f.w)
	floats.Scale(factor, f.b)
	return f
}

// normal are the normal equations of a fit, of which only the ridge changes from one strength to
// the next.
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
	q := &normal{m: m, affine: affine, g: dense.New[float64](m.D, m.D, nil), r: dense.New[float64](m.D, m.O, nil)}
	for i := range m.D {
		mean := 0.0
		if affine {
			mean = m.SumX[i] / m.n()
		}
		g, r := q.g.Data[i*m.D:][:m.D], q.r.Data[i*m.O:][:m.O]
		for j, v := range m.XX[i*m.D:][:m.D] {
			g[j] = v/m.n() - mean*m.SumX[j]/m.n()
		}
		for k, v := range m.XY[i*m.O:][:m.O] {
			r[k] = v/m.n() - mean*m.SumY[k]/m.n()
		}
		q.trace += g[i]
	}
	return q
}

// ridge minimises Σ‖y − W·x − b‖²/n + λ·(tr G/d)·‖W − W₀‖² with G the second moments of x, centred
// where there is a bias (which is not penalised). It is in closed form, solved by Cholesky.
func (m *moments) ridge(lambda float64, prior fit) (fit, error) {
	return m.normal(prior.b != nil).ridge(lambda, prior)
}

func (q *normal) ridge(lambda float64, prior fit) (fit, error) {
	m := q.m
	if !(q.trace > 0) || math.IsInf(q.trace, 0) {
		return prior, nil // nothing varies: nothing can be learnt
	}
	l := lambda * q.trace / float64(m.D)
	if q.chol.Data == nil {
		q.chol, q.x = dense.New[float64](m.D, m.D, nil), dense.New[float64](m.D, m.O, nil)
	}
	l, ok := factor(q.chol, q.g, l)
	if !ok {
		return fit{}, fmt.Errorf("the Gram matrix of %d inputs is not positive at λ = %g", m.D, l*float64(m.D)/q.trace)
	}
	copy(q.x.Data, q.r.Data)
	for i := range m.D {
		x := q.x.Data[i*m.O:][:m.O]
		for k := range x {
			x[k] += l * prior.w[k*m.D+i]
		}
	}
	dense.SolveCholesky(q.chol, q.x)
	out := fit{w: make([]float64, m.O*m.D)}
	for i := range m.D {
		for k, v := range q.x.Data[i*m.O:][:m.O] {
			out.w[k*m.D+i] = v
		}
	}
	if q.affine {
		out.b = m.bias(out.w)
	}
	return out, nil
}

// factor puts the Cholesky factor of g + l·I into chol. The sums in g are of single precision:
// where the inputs hardly vary beside their means it may have lost its sign, and l grows tenfold,
// as often as it takes; ok is false where that does not help.
func factor(chol, g dense.Matrix[float64], l float64) (used float64, ok bool) {
	n := g.Rows
	for range 13 {
		copy(chol.Data, g.Data)
		for i := range n {
			chol.Data[i*n+i] += l
		}
		if dense.Cholesky(chol) {
			return l, true
		}
		l *= 10
	}
	return l, false
}

// bias is the best bias for given weights: mean of y − W·x.
func (m *moments) bias(w []float64) []float64 {
	b := make([]float64, m.O)
	for k := range b {
		s := m.SumY[k]
		for i, x := range m.SumX {
			s -= w[k*m.D+i] * x
		}
		b[k] = s / m.n()
	}
	return b
}

// squaredError is Σ‖y − W·x − b‖² over the rows, from the sums alone.
func (m *moments) squaredError(f fit) float64 {
	total := 0.0
	wg := dense.New[float64](m.O, m.D, nil)
	dense.AddMul(wg, 1, dense.New(m.O, m.D, f.w), dense.New(m.D, m.D, m.XX))
	for k := range m.O {
		e := m.YY[k]
		row := f.w[k*m.D:][:m.D]
		wx := 0.0
		for i, v := range row {
			e += v * (wg.Data[k*m.D+i] - 2*m.XY[i*m.O+k])
			wx += v * m.SumX[i]
		}
		if f.b != nil {
			e += f.b[k] * (m.n()*f.b[k] + 2*wx - 2*m.SumY[k])
		}
		total += max(e, 0)
	}
	return total
}

// variation is Σ‖y − ȳ‖², what a relative error is relative to.
func (m *moments) variation() float64 {
	total := 0.0
	for k := range m.O {
		total += max(m.YY[k]-m.SumY[k]*m.SumY[k]/m.n(), 0)
	}
	return total
}

// strengths are the ridge strengths that are tried, relative to the mean diagonal of the Gram
// matrix. Few rows of many inputs want the strong ones: the n directions that were seen then hold
// all of the trace, d/n times the mean each.
var strengths = []float64{1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100}

// search finds the strength with the least error, taking it that errors fall to one least and rise
// behind it: from a strength in the middle it goes up, or else down, for as long as they fall. An
// error that cannot be had is infinite. The result is 0 where none is below least.
func search(least float64, errorAt func(strength float64) float64) (best float64) {
	try := func(i int) float64 {
		e := errorAt(strengths[i])
		if e < least {
			best, least = strengths[i], e
		}
		return e
	}
	middle := len(strengths)/2 - 1
	first := try(middle)
	walk := func(by int) (fell bool) {
		last := first
		for i := middle + by; i >= 0 && i < len(strengths); i += by {
			e := try(i)
			if e >= last && !math.IsInf(e, 1) {
				break
			}
			last, fell = e, fell || e < last
		}
		return fell
	}
	if !walk(1) {
		walk(-1)
	}
	return best
}

// choose fits on train, picks the strength with the least error on held-out rows, and fits again on
// all rows with it, which train takes in. The prior itself is a candidate, and returned with λ = 0
// where no Gram matrix allows a fit. before and after are squared errors on the held-out rows, of
// the prior and of the fit to train: sums, since the variation that they are relative to may be
// zero for one group of a layer (a channel that is off in all of them).
func choose(train, held *moments, prior fit) (best fit, lambda, before, after float64) {
	before = held.squaredError(prior)
	after = before
	equations := train.normal(prior.b != nil)
	lambda = search(before, func(l float64) float64 {
		f, err := equations.ridge(l, prior)
		if err != nil { // too little ridge for this Gram matrix
			return math.Inf(1)
		}
		e := held.squaredError(f)
		after = min(after, e)
		return e
	})
	if lambda == 0 {
		return prior, lambda, before, before
	}
	equations = nil // gives its memory back
	train.add(held)
	best, err := train.ridge(lambda, prior)
	if err != nil {
		return prior, 0, before, before
	}
	return best, lambda, before, after
}

// scored are squared errors on held-out samples, and what they are relative to.
type scored struct{ before, after, variation, size float64 }

// enter enters the errors as relative ones.
func (s *scored) enter(out *Layer) {
	out.Before, out.After = relative(s.before, s.variation, s.size), relative(s.after, s.variation, s.size)
}

// relative is a squared error as a share of the variation of what was aimed at, or of its size
// where that varies no more than single precision does.
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
func (m *moments) size() float64 { return floats.Sum(m.YY) }
