package ot

import (
	"fmt"
	"math"
	"slices"
)

// Status says how a solver ended.
type Status int

const (
	// Optimal: the plan is exact and the potentials prove it.
	Optimal Status = iota
	// Converged: an iterative solver met its tolerance.
	Converged
	// IterationLimit: an iterative solver stopped before it met its tolerance.
	IterationLimit
)

// String returns the status in words.
func (s Status) String() string {
	if names := []string{"optimal", "converged", "iteration limit"}; s >= 0 && int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("Status(%d)", int(s))
}

// Stats counts the work of a solver.
type Stats struct {
	Scans      int // cost rows read in full, beyond the first two passes over the matrix
	Bids       int // steps of the augmenting row reduction
	Paths      int // shortest augmenting paths
	Settled    int // sources settled by shortest path searches
	Pivots     int // steps of the network simplex
	Iterations int // Sinkhorn iterations
}

// Result is a plan with its proof.
type Result struct {
	Plan      *Plan
	Objective float64 // Σ T[i,j]·C[i,j], evaluated on the costs as given

	// U (n) and V (k) are the dual potentials: U[i]+V[j] ≤ C[i,j] everywhere and = C[i,j] where the
	// plan moves mass, both up to 2⁻⁵⁰ of the largest cost that matters, see Certify. Of Sinkhorn
	// they are the potentials of the entropic problem, for which neither holds.
	U, V []float64

	// Perm[i] is the target of source i. Only Assignment sets it, and EMD where the problem is one
	// of assignment (square and uniform).
	Perm []int

	Status Status
	Stats  Stats
}

// Certify checks, independently of how the result came about, that the plan is optimal for the
// masses a and b (nil: uniform, total 1) and the costs c: its masses are positive, its marginals
// are a and b, the potentials are feasible, the plan moves mass only where they are tight, and
// primal and dual objective agree. Each holds up to tol, relative to the total mass and to the
// largest absolute cost that matters: 128·(min(n, k)+1) times what the plan uses or the largest
// potential, or the largest of all where that is less; zero means 1e-12. The error says what fails
// first, and by how much.
func (r *Result) Certify(a, b []float64, c Costs, tol float64) error {
	n, k, err := checkDims(c)
	if err != nil {
		return err
	}
	lo, scale := math.Inf(1), 0.0
	buf := make([]float64, k)
	for i := range n {
		for _, x := range c.Row(i, buf) {
			if !math.IsInf(x, 1) {
				lo, scale = min(lo, x), max(scale, math.Abs(x))
			}
		}
	}
	if used := r.used(c); used > lo {
		matters := math.Abs(lo) + coarse*(separation(c, lo, used)-lo)
		for _, x := range slices.Concat(r.U, r.V) {
			matters = max(matters, math.Abs(x)) // potentials are rounded at their own size
		}
		scale = min(scale, matters)
	}
	return r.certify(a, b, c, tol, scale)
}

// slack is the least reduced cost, and where it is. NaN counts as less than all.
func (r *Result) slack(c Costs) (slack float64, si, sj int) {
	buf := make([]float64, len(r.V))
	slack = math.Inf(1)
	for i, u := range r.U {
		for j, x := range c.Row(i, buf) {
			if d := x - u - r.V[j]; !(d >= slack) {
				slack, si, sj = d, i, j
			}
		}
	}
	return slack, si, sj
}

// certify is Certify for costs of such a size.
func (r *Result) certify(a, b []float64, c Costs, tol, scale float64) error {
	n, k := c.Dims()
	p := r.Plan
	if p.N != n || p.K != k || len(r.U) != n || len(r.V) != k {
		return fmt.Errorf("ot: certificate: a %d×%d plan with %d+%d potentials for %d×%d costs", p.N, p.K, len(r.U), len(r.V), n, k)
	}
	m, err := newMarginals(a, b, n, k)
	if err != nil {
		return err
	}
	if tol == 0 {
		tol = 1e-12
	}
	for _, e := range p.Entries {
		if !(e.Mass > 0) {
			return fmt.Errorf("ot: certificate: mass %g moved from %d to %d", e.Mass, e.I, e.J)
		}
	}
	// The least float64 keeps tolerances of subnormal costs and masses above 0.
	massTol := tol*m.total + 4*math.SmallestNonzeroFloat64
	for i, s := range p.RowSums() {
		if d := s - m.a(i); !(math.Abs(d) <= massTol) {
			return fmt.Errorf("ot: certificate: source %d sends %g, has %g (off by %g)", i, s, m.a(i), d)
		}
	}
	// The two totals may differ in their last digits, see newMarginals.
	for j, s := range p.ColSums() {
		if d := s - m.b(j)*m.ratio; !(math.Abs(d) <= massTol) {
			return fmt.Errorf("ot: certificate: target %d receives %g, wants %g (off by %g)", j, s, m.b(j), d)
		}
	}
	slack, si, sj := r.slack(c)
	slackTol := tol*scale + 4*math.SmallestNonzeroFloat64
	if !(slack >= -slackTol) {
		return fmt.Errorf("ot: certificate: potentials exceed the cost from %d to %d by %g", si, sj, -slack)
	}
	for _, e := range p.Entries {
		if d := c.At(e.I, e.J) - r.U[e.I] - r.V[e.J]; !(math.Abs(d) <= slackTol) {
			return fmt.Errorf("ot: certificate: mass moved from %d to %d at a reduced cost of %g", e.I, e.J, d)
		}
	}
	var dual float64
	for i, u := range r.U {
		dual += u * m.a(i)
	}
	for j, v := range r.V {
		dual += v * m.b(j) * m.ratio
	}
	primal := p.Cost(c)
	gapTol := slackTol*m.total + float64(n+k)*math.SmallestNonzeroFloat64
	if d := primal - dual; !(math.Abs(d) <= gapTol) {
		return fmt.Errorf("ot: certificate: objective %g, dual objective %g (gap %g)", primal, dual, d)
	}
	if d := primal - r.Objective; !(math.Abs(d) <= gapTol) {
		return fmt.Errorf("ot: certificate: stated objective %g, plan costs %g", r.Objective, primal)
	}
	return nil
}
