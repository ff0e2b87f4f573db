package ot

import (
	"fmt"
	"math"
	"slices"
)

// EMD returns an exact optimal plan between the masses a of n sources and b of
// k targets (the earth mover's distance problem), with potentials that prove it.
// Any nonnegative masses will do if their totals agree up to rounding; nil
// stands for uniform masses of total 1.
func EMD(a, b []float64, c Costs) (*Result, error) {
	n, k, err := checkDims(c)
	if err != nil {
		return nil, err
	}
	m, err := newMarginals(a, b, n, k)
	if err != nil {
		return nil, err
	}
	return solve(m, c)
}

// Assignment returns an optimal assignment of n sources to n targets: a plan
// between uniform masses 1/n that is a permutation, also given as Perm. Its
// Objective is thus the mean, not the sum, of the costs of the chosen pairs.
func Assignment(c Costs) (*Result, error) {
	n, k, err := checkDims(c)
	if err != nil {
		return nil, err
	}
	if n != k {
		return nil, fmt.Errorf("ot: assignment needs a square cost matrix, got %d×%d", n, k)
	}
	return solve(&marginals{n: n, k: n, total: 1, ratio: 1}, c)
}

// solve runs the exact solver on checked input.
func solve(m *marginals, c Costs) (*Result, error) {
	u := m.inUnits()
	t := &transport{n: m.n, k: m.k, costs: c, scan: newScanner(m.k, fastest()), pivotLimit: pivotsPerNode * (m.n + m.k)}
	lo, hi, err := t.reduceColumns()
	if err != nil {
		return nil, err
	}
	lift := 1.0
	if size := max(math.Abs(lo), math.Abs(hi)); size < tinyCost {
		t.costs = lifted{c}
		lift = liftFactor
		lo, hi = lo*lift, hi*lift
	}
	t.grid = newGrid(lo, hi)
	for j, x := range t.low {
		t.low[j] = t.grid.steps(x * lift)
	}
	t.run(&u)
	r := t.result(m, &u, c, lift)
	if math.IsInf(r.Objective, 0) {
		return nil, fmt.Errorf("ot: costs up to %g times a mass of %g overflow", hi, m.total)
	}
	return r, nil
}

// run places all mass at least cost.
//
// Where rows or columns hold one or two units each, as in problems of assignment and between
// uniform masses of which one number divides the other, shortest paths finish what the row reduction
// leaves. Otherwise optimal plans are one big tree, and simplex steps are cheaper than paths.
func (t *transport) run(u *units) {
	t.start(u)
	t.diagonal()
	t.bidding()
	if u.least <= fewUnits {
		t.paths(math.MaxInt)
		t.breakCycles()
		return
	}
	t.paths(searchLimit)
	t.fill()
	t.breakCycles()
	if !t.optimise() {
		t.start(u)
		t.paths(math.MaxInt)
		t.breakCycles()
	}
}

// fewUnits is the largest number of units per row or column for which shortest paths are faster.
const fewUnits = 2

// start sets out with no mass placed and the least costs of the columns as potentials.
func (t *transport) start(u *units) {
	t.supply, t.room = slices.Clone(u.rows), slices.Clone(u.cols)
	t.v = slices.Clone(t.low)
	for j, r := range t.room {
		if r == 0 {
			t.v[j] = math.Inf(-1) // takes no part
		}
	}
	t.second = make([]float64, t.n)
	t.flows = newFlows(t.n, t.k)
	t.search = newSearch(t.n, t.k)
	t.listAll()
}

// reduceColumns checks the costs and finds the least of each column.
func (t *transport) reduceColumns() (lo, hi float64, err error) {
	t.low = make([]float64, t.k)
	for j := range t.low {
		t.low[j] = math.Inf(1)
	}
	hi = math.Inf(-1)
	for i := range t.n {
		row := t.costs.Row(i, t.scan.row)
		h, zero := t.scan.foldRow(row, t.low)
		if zero != 0 || h > maxCost {
			return 0, 0, badCost(i, row)
		}
		hi = max(hi, h)
	}
	lo = slices.Min(t.low)
	if lo < -maxCost {
		for i := range t.n {
			if err := badCost(i, t.costs.Row(i, t.scan.row)); err != nil {
				return 0, 0, err
			}
		}
	}
	return lo, hi, nil
}

// listAll makes the first candidate lists of all rows that have mass.
func (t *transport) listAll() {
	t.lists = make([]candidates, t.n)
	for i := range t.lists {
		if t.supply[i] > 0 {
			l := &t.lists[i]
			l.want = firstWant
			t.scan.list(l, t.costs.Row(i, t.scan.row), t.v, t.grid)
		}
	}
}

// result turns the solved state into a plan and potentials.
func (t *transport) result(m *marginals, u *units, c Costs, lift float64) *Result {
	r := &Result{U: make([]float64, t.n), V: make([]float64, t.k), Stats: t.stats}
	rows := make([]bool, t.n)
	plan := &Plan{N: t.n, K: t.k}
	for j, e := range t.flows.head {
		for ; e >= 0; e = t.flows.entries[e].next {
			f := &t.flows.entries[e]
			rows[f.row] = true
			r.U[f.row] = t.grid.cost(f.cost-t.v[j]) / lift
			plan.Entries = append(plan.Entries, Entry{I: int(f.row), J: j, Mass: u.mass(f.mass)})
		}
		r.V[j] = t.grid.cost(t.v[j]) / lift
	}
	r.Plan = plan.Transpose().Transpose()
	r.Objective = r.Plan.Cost(c)
	t.idle(r, rows, c)
	if m.n == m.k && len(plan.Entries) == m.n && allEqual(m.av) && allEqual(m.bv) {
		r.Perm = make([]int, m.n)
		for _, e := range plan.Entries {
			r.Perm[e.I] = e.J
		}
	}
	return r
}

// idle gives feasible potentials to columns and rows without mass.
func (t *transport) idle(r *Result, active []bool, c Costs) {
	buf := make([]float64, t.k)
	var cols []int
	for j, e := range t.flows.head {
		if e < 0 {
			cols = append(cols, j)
			r.V[j] = math.Inf(1)
		}
	}
	if len(cols) > 0 {
		for i := range t.n {
			if active[i] {
				row := c.Row(i, buf)
				for _, j := range cols {
					r.V[j] = min(r.V[j], row[j]-r.U[i])
				}
			}
		}
	}
	for i := range t.n {
		if !active[i] {
			r.U[i] = math.Inf(1)
			for j, x := range c.Row(i, buf) {
				r.U[i] = min(r.U[i], x-r.V[j])
			}
		}
	}
}
