package ot

import (
	"fmt"
	"math"
)

// Drop holds the prices at which PartialEMD may leave mass where it is.
type Drop struct {
	// Source[i] is the cost of a unit of mass that source i keeps, Target[j] of a unit that target
	// j goes without. Nil means that it costs nothing.
	Source, Target []float64
}

// PartialEMD returns an exact optimal plan that need not move all mass: row sums are at most a,
// column sums at most b, whose totals may differ (nil: uniform, total 1), and what a source keeps
// or a target lacks costs its price in drop. Mass thus moves from i to j only where C[i,j] ≤
// Source[i] + Target[j].
//
// Objective is Σ T·C plus the prices paid. The potentials hold U[i]+V[j] ≤ C[i,j], with equality
// where mass moves, U[i] ≤ Source[i], with equality where a source keeps mass, and V[j] ≤
// Target[j], with equality where a target lacks some.
func PartialEMD(a, b []float64, c Costs, drop Drop) (*Result, error) {
	return Solver{}.PartialEMD(a, b, c, drop)
}

// PartialEMD is like the function PartialEMD.
func (s Solver) PartialEMD(a, b []float64, c Costs, drop Drop) (*Result, error) {
	p, err := newPartial(a, b, c, drop)
	if err != nil {
		return nil, err
	}
	// The dummies take what the others add up to in whole units, so that none of these has to move
	// to make up for rounding.
	m := marginals{av: p.a[:p.n], bv: p.b[:p.k], n: p.n, k: p.k, ratio: 1}
	u, rows, cols := m.round(p.a[p.n] + p.b[p.k])
	u.rows, u.cols = append(u.rows, cols), append(u.cols, rows)
	r, err := s.solve(&u, p)
	if err != nil {
		return nil, err
	}
	kept := r.Plan.Entries[:0]
	for _, e := range r.Plan.Entries {
		if e.I < p.n && e.J < p.k {
			kept = append(kept, e)
		}
	}
	r.Plan = &Plan{N: p.n, K: p.k, Entries: kept}
	// Potentials are determined up to a constant: that of the dummy target becomes 0, and that of
	// the dummy source is then not positive and may be raised to 0 as well.
	shift, up := r.V[p.k], r.U[p.n]+r.V[p.k]
	r.U, r.V = r.U[:p.n], r.V[:p.k]
	for i := range r.U {
		r.U[i] += shift
	}
	for j := range r.V {
		r.V[j] += up - shift
	}
	r.Perm = nil
	return r, nil
}

// CertifyPartial is Certify for a result of PartialEMD.
func (r *Result) CertifyPartial(a, b []float64, c Costs, drop Drop, tol float64) error {
	p, err := newPartial(a, b, c, drop)
	if err != nil {
		return err
	}
	if r.Plan.N != p.n || r.Plan.K != p.k || len(r.U) != p.n || len(r.V) != p.k {
		return fmt.Errorf("ot: certificate: a %d×%d plan with %d+%d potentials for %d×%d costs", r.Plan.N, r.Plan.K, len(r.U), len(r.V), p.n, p.k)
	}
	full := &Result{
		Plan:      &Plan{N: p.n + 1, K: p.k + 1},
		Objective: r.Objective,
		U:         append(append([]float64(nil), r.U...), 0),
		V:         append(append([]float64(nil), r.V...), 0),
	}
	var moved float64
	for _, e := range r.Plan.Entries {
		full.Plan.Entries = append(full.Plan.Entries, e)
		moved += e.Mass
	}
	// What rounding left over is no mass that stays.
	least := 1e-13 * (p.a[p.n] + p.b[p.k])
	add := func(i, j int, mass float64) {
		if mass > least {
			full.Plan.Entries = append(full.Plan.Entries, Entry{i, j, mass})
		}
	}
	for i, sent := range r.Plan.RowSums() {
		add(i, p.k, p.a[i]-sent)
	}
	for j, got := range r.Plan.ColSums() {
		add(p.n, j, p.b[j]-got)
	}
	add(p.n, p.k, moved)
	return full.Certify(p.a, p.b, p, tol)
}

// partial is a partial problem as a full one: a dummy target takes what sources keep, a dummy
// source gives what targets lack, and between the two mass moves for nothing.
type partial struct {
	Costs
	drop Drop
	n, k int
	a, b []float64
}

func newPartial(a, b []float64, c Costs, drop Drop) (*partial, error) {
	n, k, err := checkDims(c)
	if err != nil {
		return nil, err
	}
	if drop.Source, err = prices("source", drop.Source, n); err != nil {
		return nil, err
	}
	if drop.Target, err = prices("target", drop.Target, k); err != nil {
		return nil, err
	}
	ta, err := totalMass("source", a, n)
	if err != nil {
		return nil, err
	}
	tb, err := totalMass("target", b, k)
	if err != nil {
		return nil, err
	}
	if ta+tb == 0 {
		return nil, fmt.Errorf("ot: no mass to move")
	}
	m := marginals{av: a, bv: b, n: n, k: k}
	p := &partial{Costs: c, drop: drop, n: n, k: k, a: make([]float64, n+1), b: make([]float64, k+1)}
	for i := range n {
		p.a[i] = m.a(i)
	}
	for j := range k {
		p.b[j] = m.b(j)
	}
	p.a[n], p.b[k] = tb, ta
	return p, nil
}

// prices checks prices, and fills in those that cost nothing.
func prices(side string, list []float64, n int) ([]float64, error) {
	if list == nil {
		return make([]float64, n), nil
	}
	if len(list) != n {
		return nil, fmt.Errorf("ot: %d drop prices for %d %ss", len(list), n, side)
	}
	for i, x := range list {
		if !(math.Abs(x) <= maxCost) {
			return nil, fmt.Errorf("ot: drop price %g of %s %d", x, side, i)
		}
	}
	return list, nil
}

func (p *partial) Dims() (n, k int) { return p.n + 1, p.k + 1 }

func (p *partial) At(i, j int) float64 {
	switch {
	case i < p.n && j < p.k:
		return p.Costs.At(i, j)
	case i < p.n:
		return p.drop.Source[i]
	case j < p.k:
		return p.drop.Target[j]
	}
	return 0
}

func (p *partial) Row(i int, dst []float64) []float64 {
	if i < p.n {
		copy(dst, p.Costs.Row(i, dst[:p.k]))
	} else {
		copy(dst, p.drop.Target)
	}
	dst[p.k] = p.At(i, p.k)
	return dst
}
