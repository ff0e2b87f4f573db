package ot

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
)

// SinkhornOptions control Sinkhorn. The zero value is a good start.
type SinkhornOptions struct {
	// Epsilon is the strength of the entropic term, as a share of the mean absolute cost: smaller
	// is closer to the exact plan, and slower. Zero means 0.05.
	Epsilon float64
	// MaxIter limits the updates of all potentials. Zero means 10,000.
	MaxIter int
	// Tol is the error of the marginals, Σ|T1−a| + Σ|Tᵀ1−b| relative to the total mass, at which to
	// stop. Zero means 1e-6.
	Tol float64
	// Start are potentials V of a similar problem to start from; ε-scaling is then left out. Nil
	// means none.
	Start []float64
}

func (o SinkhornOptions) withDefaults() (SinkhornOptions, error) {
	if o.Epsilon == 0 {
		o.Epsilon = 0.05
	}
	if o.MaxIter == 0 {
		o.MaxIter = 10_000
	}
	if o.Tol == 0 {
		o.Tol = 1e-6
	}
	if !(o.Epsilon > 0) || math.IsInf(o.Epsilon, 1) {
		return o, fmt.Errorf("ot: sinkhorn: epsilon %g", o.Epsilon)
	}
	if !(o.Tol > 0) || o.MaxIter < 0 {
		return o, fmt.Errorf("ot: sinkhorn: tolerance %g, at most %d iterations", o.Tol, o.MaxIter)
	}
	return o, nil
}

// Sinkhorn returns the plan that minimises Σ T·C + ε Σ T·(log T − 1) for the marginals a and b
// (nil: uniform, total 1): Cuturi, Sinkhorn Distances, NIPS
// 2013. It works in the log domain by absorbing the scalings into the
// potentials, and lowers ε in steps from the size of the costs: Schmitzer, Stabilized Sparse
// Scaling Algorithms for Entropy Regularized Transport Problems, SIAM J. Sci. Comput. 41, 2019. The
// plan has an entry wherever float64 can tell it from zero. Its rows sum to a exactly, its columns
// to b within Tol; the status is IterationLimit if that was not reached. A cost of +Inf forbids an
// arc. Objective is Σ T·C without the entropy.
func Sinkhorn(a, b []float64, c Costs, o SinkhornOptions) (*Result, error) {
	n, k, err := checkDims(c)
	if err != nil {
		return nil, err
	}
	m, err := newMarginals(a, b, n, k)
	if err != nil {
		return nil, err
	}
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	if o.Start != nil && len(o.Start) != k {
		return nil, fmt.Errorf("ot: sinkhorn: %d start potentials for %d targets", len(o.Start), k)
	}
	s := newSinkhorn(m, c)
	mean, span, closed, err := s.costSize()
	if err != nil {
		return nil, err
	}
	if closed {
		if err := feasible(m, c); err != nil {
			return nil, err
		}
	}
	if mean == 0 {
		mean = 1 // all costs are zero: any ε will do
	}
	target := o.Epsilon * mean
	eps := max(target, span/4)
	if o.Start != nil {
		copy(s.g, o.Start)
		eps = target
	}
	for ; eps > target; eps /= epsilonStep {
		if _, err := s.run(eps, max(o.Tol, 1e-2), o.MaxIter); err != nil {
			return nil, err
		}
	}
	done, err := s.run(target, o.Tol, o.MaxIter)
	if err != nil {
		return nil, err
	}
	if done {
		return s.result(target, Converged), nil
	}
	return s.result(target, IterationLimit), nil
}

const (
	epsilonStep = 4     // factor between the values of ε
	scaleRows   = 8     // rows that are scaled at a time
	absorbAt    = 1e100 // scalings beyond this, or its inverse, go into the potentials
)

// sinkhorn is the state of the iteration: T[i,j] = r[i]·K[i,j]·s[j] with K[i,j] =
// exp((f[i]+g[j]−C[i,j])/ε).
type sinkhorn struct {
	kernels
	m          *marginals
	c          Costs
	f, g       []float64
	r, s       []float64
	kernel     []float64 // K, row-major
	row, sum   []float64 // scratch of length k
	top        []float64 // scratch of length k
	iterations int
}

func newSinkhorn(m *marginals, c Costs) *sinkhorn {
	return &sinkhorn{
		kernels: fastest(), m: m, c: c,
		f: make([]float64, m.n), g: make([]float64, m.k),
		r: make([]float64, m.n), s: make([]float64, m.k),
		kernel: make([]float64, m.n*m.k),
		row:    make([]float64, m.k), sum: make([]float64, m.k), top: make([]float64, m.k),
	}
}

// costSize returns the mean absolute cost and the difference of the largest and least, both of the
// costs that are finite, and whether some are not.
func (s *sinkhorn) costSize() (mean, span float64, closed bool, err error) {
	lo, hi, finite := math.Inf(1), math.Inf(-1), 0
	for i := range s.m.n {
		for j, x := range s.c.Row(i, s.row) {
			switch {
			case math.IsInf(x, 1):
				closed = true
				continue
			case !(math.Abs(x) <= maxCost):
				return 0, 0, false, fmt.Errorf("ot: cost %g from %d to %d", x, i, j)
			}
			lo, hi = min(lo, x), max(hi, x)
			finite++
			mean += (math.Abs(x) - mean) / float64(finite)
		}
	}
	if finite == 0 {
		return 0, 0, closed, nil
	}
	return mean, hi - lo, closed, nil
}

var errUnderflow = errors.New("ot: sinkhorn: epsilon is too small for float64")

// run iterates at one ε until the marginal error is at most tol, and tells whether it came to that.
func (s *sinkhorn) run(eps, tol float64, maxIter int) (bool, error) {
	for first := true; ; first = false {
		if !first || s.iterations > 0 {
			s.updateTargets(eps)
		}
		s.updateSources(eps)
		s.makeKernel(eps)
		for x := range s.r {
			s.r[x] = 1
		}
		for x := range s.s {
			s.s[x] = 1
		}
		s.columnSums()
		for absorb := false; !absorb; {
			if s.columnError() <= tol {
				s.absorb(eps)
				return true, nil
			}
			if s.iterations >= maxIter {
				s.absorb(eps)
				return false, nil
			}
			s.iterations++
			absorb = s.scale()
		}
		s.absorb(eps)
		for _, x := range s.f {
			if math.IsNaN(x) {
				return false, errUnderflow
			}
		}
	}
}

// updateSources sets f so that the rows of K sum to a, in the log domain.
func (s *sinkhorn) updateSources(eps float64) {
	for i := range s.f {
		top := math.Inf(-1)
		row := s.c.Row(i, s.row)
		for j, x := range row {
			top = max(top, s.g[j]-x)
		}
		if math.IsInf(top, -1) { // a source without mass, from which no arc leads
			s.f[i] = top
			continue
		}
		var sum float64
		for j, x := range row {
			sum += math.Exp((s.g[j] - x - top) / eps)
		}
		s.f[i] = eps*(math.Log(s.m.a(i))-math.Log(sum)) - top
	}
}

// updateTargets sets g so that the columns of K sum to b, in the log domain.
func (s *sinkhorn) updateTargets(eps float64) {
	for j := range s.top {
		s.top[j], s.sum[j] = math.Inf(-1), 0
	}
	for i, f := range s.f {
		for j, x := range s.c.Row(i, s.row) {
			s.top[j] = max(s.top[j], f-x)
		}
	}
	for j, x := range s.top {
		if math.IsInf(x, -1) { // a target without mass, to which no arc leads
			s.top[j] = 0
		}
	}
	for i, f := range s.f {
		for j, x := range s.c.Row(i, s.row) {
			s.sum[j] += math.Exp((f - x - s.top[j]) / eps)
		}
	}
	for j := range s.g {
		if s.m.b(j) == 0 {
			s.g[j] = math.Inf(-1)
			continue
		}
		s.g[j] = eps*(math.Log(s.m.b(j)*s.m.ratio)-math.Log(s.sum[j])) - s.top[j]
	}
}

// makeKernel computes K for the present potentials.
func (s *sinkhorn) makeKernel(eps float64) {
	k := s.m.k
	for i, f := range s.f {
		out := s.kernel[i*k : (i+1)*k]
		for j, x := range s.c.Row(i, s.row) {
			out[j] = math.Exp((f + s.g[j] - x) / eps)
		}
	}
}

// columnSums sets sum to Kᵀr.
func (s *sinkhorn) columnSums() {
	k := s.m.k
	clear(s.sum)
	for i, r := range s.r {
		floats.AddScaled(s.sum, r, s.kernel[i*k:(i+1)*k])
	}
}

// columnError returns Σ|s·Kᵀr − b| relative to the total mass.
func (s *sinkhorn) columnError() float64 {
	var e float64
	for j, x := range s.sum {
		e += math.Abs(s.s[j]*x - s.m.b(j)*s.m.ratio)
	}
	return e / s.m.total
}

// scale makes the columns sum to b, then the rows to a, and sets sum to Kᵀr again: some rows at a
// time, while they are in the cache. It returns true where the scalings leave the safe range, after
// which they have to be absorbed.
func (s *sinkhorn) scale() (unsafe bool) {
	k := s.m.k
	safe := func(x float64) bool { return x > 1/absorbAt && x < absorbAt }
	for j, x := range s.sum {
		b := s.m.b(j) * s.m.ratio
		if b == 0 {
			s.s[j] = 0
			continue
		}
		next := b / x
		if !safe(next) {
			unsafe = true
			continue
		}
		s.s[j] = next
	}
	clear(s.sum)
	var dots [scaleRows]float64
	for from := 0; from < s.m.n; from += scaleRows {
		rows := s.kernel[from*k : min(from+scaleRows, s.m.n)*k]
		sums := dots[:len(rows)/k]
		s.dots(s.s, rows, sums, k)
		for x, sum := range sums {
			i := from + x
			if a := s.m.a(i); a == 0 {
				s.r[i] = 0
			} else if next := a / sum; safe(next) {
				s.r[i] = next
			} else {
				unsafe = true
			}
			floats.AddScaled(s.sum, s.r[i], rows[x*k:(x+1)*k])
		}
	}
	return unsafe
}

// absorb moves the scalings into the potentials.
func (s *sinkhorn) absorb(eps float64) {
	for i, r := range s.r {
		s.f[i] += eps * math.Log(r)
	}
	for j, x := range s.s {
		s.g[j] += eps * math.Log(x)
	}
}

// result makes the plan of the present potentials.
func (s *sinkhorn) result(eps float64, status Status) *Result {
	s.updateSources(eps)
	r := &Result{U: s.f, V: s.g, Status: status, Stats: Stats{Iterations: s.iterations}}
	plan := &Plan{N: s.m.n, K: s.m.k}
	for i, f := range s.f {
		for j, x := range s.c.Row(i, s.row) {
			if t := math.Exp((f + s.g[j] - x) / eps); t > 0 {
				plan.Entries = append(plan.Entries, Entry{I: i, J: j, Mass: t})
			}
		}
	}
	r.Plan = plan
	r.Objective = plan.Cost(s.c)
	return r
}
