package refit

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
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

func (m *moments) add(x *moments) *moments {
	if m == nil {
		return x
	}
	out := &moments{n: m.n + x.n, d: m.d, o: m.o}
	sum := func(a, b []float64) []float64 {
		c := make([]float64, len(a))
		for i := range a {
			c[i] = a[i] + b[i]
		}
		return c
	}
	out.sumX, out.sumY, out.xx, out.xy, out.yy = sum(m.sumX, x.sumX), sum(m.sumY, x.sumY), sum(m.xx, x.xx), sum(m.xy, x.xy), sum(m.yy, x.yy)
	return out
}

// fit is a linear map: w is o×d row-major, b has o entries (nil: no bias).
type fit struct {
	w, b []float64
}

// ridge minimises Σ‖y − W·x − b‖²/n + λ·(tr G/d)·‖W − W₀‖² with G the second
// moments of x, centred where there is a bias (which is not penalised). It is
// the closed form of DESIGN "Consumer re-fit", solved by Cholesky.
func (m *moments) ridge(lambda float64, prior fit) (fit, error) {
	g := mat.NewSymDense(m.d, nil)
	trace := 0.0
	affine := prior.b != nil
	for i := range m.d {
		for j := i; j < m.d; j++ {
			v := m.xx[i*m.d+j] / m.n
			if affine {
				v -= m.sumX[i] / m.n * m.sumX[j] / m.n
			}
			g.SetSym(i, j, v)
		}
		trace += g.At(i, i)
	}
	if !(trace > 0) || math.IsInf(trace, 0) {
		return prior, nil // nothing varies: nothing can be learnt
	}
	l := lambda * trace / float64(m.d)
	rhs := mat.NewDense(m.d, m.o, nil)
	for i := range m.d {
		for k := range m.o {
			v := m.xy[i*m.o+k] / m.n
			if affine {
				v -= m.sumX[i] / m.n * m.sumY[k] / m.n
			}
			rhs.Set(i, k, v+l*prior.w[k*m.d+i])
		}
		g.SetSym(i, i, g.At(i, i)+l)
	}
	var chol mat.Cholesky
	if !chol.Factorize(g) {
		return fit{}, fmt.Errorf("the Gram matrix of %d inputs is not positive at λ = %g", m.d, lambda)
	}
	var sol mat.Dense
	if err := chol.SolveTo(&sol, rhs); err != nil {
		if _, poor := err.(mat.Condition); !poor {
			return fit{}, err
		}
	}
	out := fit{w: make([]float64, m.o*m.d)}
	for i := range m.d {
		for k, v := range sol.RawRowView(i) {
			out.w[k*m.d+i] = v
		}
	}
	for i := range m.d {
		g.SetSym(i, i, g.At(i, i)-l)
	}
	m.restoreSpread(g, out.w)
	if affine {
		out.b = m.bias(out.w)
	}
	return out, nil
}

// restoreSpread scales every output so that its deviation is the target's.
// Least squares predicts the part of the target that the inputs explain, so
// its outputs vary less than the target's; over many layers that starves the
// nonlinearities. A little squared error buys the right statistics (the idea of
// REPAIR, Jordan et al. 2022). g are the second moments of x.
func (m *moments) restoreSpread(g *mat.SymDense, w []float64) {
	var wg mat.Dense
	wg.Mul(mat.NewDense(m.o, m.d, w), g)
	for k := range m.o {
		row := w[k*m.d:][:m.d]
		have := 0.0
		for i, v := range wg.RawRowView(k) {
			have += v * row[i]
		}
		want := m.yy[k]/m.n - m.sumY[k]/m.n*m.sumY[k]/m.n
		if have <= 0 || want <= 0 {
			continue
		}
		// An output that is hardly explained at all must not be blown up.
		scale := min(math.Sqrt(want/have), maxSpread)
		for i := range row {
			row[i] *= scale
		}
	}
}

// maxSpread bounds how much restoreSpread may scale.
const maxSpread = 1.5

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
	w := mat.NewDense(m.o, m.d, f.w)
	var wg mat.Dense
	wg.Mul(w, mat.NewDense(m.d, m.d, m.xx))
	for k := range m.o {
		e := m.yy[k]
		row := f.w[k*m.d:][:m.d]
		wx := 0.0
		for i, v := range row {
			e += v * (wg.At(k, i) - 2*m.xy[i*m.o+k])
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
// diagonal of the Gram matrix.
var strengths = []float64{1e-5, 1e-4, 1e-3, 1e-2, 1e-1}

// choose fits on train, picks the strength with the least error on held-out
// rows, and fits again on all rows with it. The prior itself is a candidate.
func choose(train, held *moments, prior fit) (best fit, lambda, before, after float64, err error) {
	variation := max(held.variation(), math.SmallestNonzeroFloat64)
	before = held.squaredError(prior) / variation
	after, lambda = before, math.Inf(1)
	for _, l := range strengths {
		f, err := train.ridge(l, prior)
		if err != nil {
			continue // too little ridge for this Gram matrix; a stronger one follows
		}
		if e := held.squaredError(f) / variation; e < after {
			after, lambda = e, l
		}
	}
	if math.IsInf(lambda, 1) {
		return prior, lambda, before, before, nil
	}
	best, err = train.add(held).ridge(lambda, prior)
	return best, lambda, before, after, err
}
