package ot

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Solver holds the settings of the exact solvers. The zero value is what the functions of the same
// names use.
type Solver struct {
	// Threads is the number of goroutines that share the passes over the whole matrix. The rest of
	// the work runs in one. Zero means GOMAXPROCS.
	Threads int
	// Portable keeps to the kernels in Go where the processor could do better. Where several plans
	// are optimal it may return another of them.
	Portable bool

	listed bool // lists candidates of rows however short, for tests
}

// EMD returns an exact optimal plan between the masses a of n sources and b of k targets (the earth
// mover's distance problem), with potentials that prove it. Any nonnegative masses will do if their
// totals agree up to rounding, that of single precision included; nil stands for uniform masses of
// total 1. A cost of +Inf forbids an arc; it is an error if no plan can do without.
func EMD(a, b []float64, c Costs) (*Result, error) { return Solver{}.EMD(a, b, c) }

// Assignment returns an optimal assignment of n sources to n targets: a plan between uniform masses
// 1/n that is a permutation, also given as Perm. Its Objective is thus the mean, not the sum, of
// the costs of the chosen pairs.
func Assignment(c Costs) (*Result, error) { return Solver{}.Assignment(c) }

// EMD is like the function EMD.
func (s Solver) EMD(a, b []float64, c Costs) (*Result, error) {
	n, k, err := checkDims(c)
	if err != nil {
		return nil, err
	}
	m, err := newMarginals(a, b, n, k)
	if err != nil {
		return nil, err
	}
	u := m.inUnits()
	return s.solve(&u, c)
}

// Assignment is like the function Assignment.
func (s Solver) Assignment(c Costs) (*Result, error) {
	n, k, err := checkDims(c)
	if err != nil {
		return nil, err
	}
	if n != k {
		return nil, fmt.Errorf("ot: assignment needs a square cost matrix, got %d×%d", n, k)
	}
	m := marginals{n: n, k: n, total: 1, ratio: 1}
	u := m.inUnits()
	return s.solve(&u, c)
}

// solve runs the exact solver on checked input.
func (s Solver) solve(u *units, c Costs) (*Result, error) {
	r, lo, hi, err := s.attempt(u, c)
	if errors.Is(err, errClosed) {
		r, lo, hi, err = s.solveClosed(u, c, maxCost/max(u.total(), 1))
	}
	if err != nil {
		return nil, err
	}
	return s.refine(u, c, r, lo, hi)
}

// attempt solves a problem on the grid that its least and largest cost set, which it returns as
// well. Costs that are no numbers, infinite or too large are errClosed.
func (s Solver) attempt(u *units, c Costs) (r *Result, lo, hi float64, err error) {
	t := s.newTransport(len(u.rows), len(u.cols), c)
	lift, err := t.reduceColumns()
	if err != nil {
		return nil, 0, 0, err
	}
	// U and V are at most twice the costs.
	if t.largest > maxCost/max(u.total(), 1) {
		return nil, 0, 0, errClosed
	}
	t.run(u)
	return t.result(u, c, lift), t.lo, t.hi, nil
}

// newTransport returns an empty problem with scratch for every worker.
func (s Solver) newTransport(n, k int, c Costs) *transport {
	ks := fastest()
	if s.Portable {
		ks = portable
	}
	t := &transport{n: n, k: k, costs: c, listLimit: listsPerNode * (n + k), pivotLimit: pivotsPerNode * (n + k)}
	for range s.workers(n * k) {
		t.scans = append(t.scans, newScanner(k, ks))
	}
	t.scan = t.scans[0]
	if !s.listed {
		t.useDense()
	}
	return t
}

// run places all mass at least cost.
//
// Where rows or columns hold one or two units each, as in problems of assignment and between
// uniform masses of which one number divides the other, shortest paths finish what the row
// reduction leaves. Otherwise optimal plans are one big tree, and simplex steps are cheaper than
// paths, as they are in the few problems where searches have to look at most of the matrix. Where
// the row reduction places little, because all rows are after the same columns, simplex begins with
// nothing.
func (t *transport) run(u *units) {
	if t.n == 1 || t.k == 1 {
		t.only(u)
		return
	}
	t.start(u)
	t.diagonal()
	t.bidding()
	limit := searchLimit
	if u.least <= fewUnits {
		limit = math.MaxInt
	}
	if left, all := t.supplyLeft(u); 2*left >= all {
		// Rows have hardly any columns for themselves.
		if t.afresh(u) {
			return
		}
	} else {
		if t.paths(limit, workPerRow*t.n) {
			t.breakCycles()
			return
		}
		t.fill()
		t.breakCycles()
		if t.improve() || t.afresh(u) {
			return
		}
	}
	t.start(u)
	t.paths(math.MaxInt, math.MaxInt)
	t.breakCycles()
}

// supplyLeft returns how much has not been placed yet, of how much.
func (t *transport) supplyLeft(u *units) (left, all float64) {
	for i, m := range t.supply {
		left += float64(m)
		all += float64(u.rows[i])
	}
	return left, all
}

// only places the mass of a problem with one row or one column, which has one plan.
func (t *transport) only(u *units) {
	t.supply, t.room, t.v = slices.Clone(u.rows), slices.Clone(u.cols), t.low
	t.flows = newFlows(t.n, t.k)
	for i := range int32(t.n) {
		for j := range int32(t.k) {
			t.push(i, j, t.grid.steps(t.costs.At(int(i), int(j))))
		}
	}
}

const (
	fewUnits   = 2    // the largest number of units per row or column for which paths are faster
	workPerRow = 2500 // candidates per row that searches may look at
)

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
	for _, s := range t.scans {
		s.prepare()
	}
	t.search = newSearch(t.n, t.k)
	if t.dense == nil {
		t.listAll()
	}
}

// reduceColumns checks the costs, chooses the grid and finds the least cost of each column. It
// returns the factor by which tiny costs had to be lifted.
func (t *transport) reduceColumns() (lift float64, err error) {
	lows := make([][]float64, len(t.scans))
	highs := make([]float64, len(t.scans))
	errs := make([]error, len(t.scans))
	share(t.n, len(t.scans), func(w, from, to int) {
		low, high := make([]float64, t.k), math.Inf(-1)
		for j := range low {
			low[j] = math.Inf(1)
		}
		t.eachRow(w, from, to, func(i int, row []float64) {
			h, zero := t.scans[w].foldRow(row, low)
			if (zero != 0 || h > maxCost) && errs[w] == nil {
				errs[w] = errClosed
			}
			high = max(high, h)
		})
		lows[w], highs[w] = low, high
	})
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	t.low = lows[0]
	for _, low := range lows[1:] {
		for j, x := range low {
			t.low[j] = min(t.low[j], x)
		}
	}
	lo, hi := slices.Min(t.low), slices.Max(highs)
	if lo < -maxCost {
		return 0, errClosed
	}
	t.lo, t.hi, t.largest = lo, hi, max(math.Abs(lo), math.Abs(hi))
	lift = 1
	if t.largest < tinyCost {
		t.costs = changed{t.costs, func(x float64) float64 { return x * liftFactor }} // which is exact
		lift = liftFactor
	}
	t.grid = newGrid(lo*lift, hi*lift)
	for j, x := range t.low {
		t.low[j] = t.grid.steps(x * lift)
	}
	return lift, nil
}

// listAll makes the first candidate lists of all rows that have mass.
func (t *transport) listAll() {
	t.lists = make([]candidates, t.n)
	share(t.n, len(t.scans), func(w, from, to int) {
		t.eachRow(w, from, to, func(i int, row []float64) {
			if t.supply[i] > 0 {
				l := &t.lists[i]
				l.want = firstWant(t.k)
				t.scans[w].list(l, i, row, t.v, t.grid)
			}
		})
	})
}

// eachRow calls f with the rows from … to−1. Costs that come cheaper several rows at a time are
// asked for that.
func (t *transport) eachRow(worker, from, to int, f func(i int, row []float64)) {
	p, ok := t.costs.(*Points)
	if !ok {
		for i := from; i < to; i++ {
			f(i, t.costs.Row(i, t.scans[worker].row))
		}
		return
	}
	block := make([]float64, tileSources*t.k)
	for i := from; i < to; i += tileSources {
		end := min(i+tileSources, to)
		p.rows(i, end, block)
		for r := i; r < end; r++ {
			f(r, block[(r-i)*t.k:(r-i+1)*t.k])
		}
	}
}

// result turns the solved state into a plan and potentials.
func (t *transport) result(u *units, c Costs, lift float64) *Result {
	r := &Result{U: make([]float64, t.n), V: make([]float64, t.k), Stats: t.stats}
	active := make([]bool, t.n)
	r.Plan = &Plan{N: t.n, K: t.k, Entries: make([]Entry, 0, t.n+t.k)}
	for j, e := range t.flows.head {
		for ; e >= 0; e = t.flows.entries[e].next {
			f := &t.flows.entries[e]
			active[f.row] = true
			r.U[f.row] = t.grid.cost(f.cost-t.v[j]) / lift
			r.Plan.Entries = append(r.Plan.Entries, Entry{I: int(f.row), J: j, Mass: u.mass(f.mass)})
		}
		r.V[j] = t.grid.cost(t.v[j]) / lift
	}
	r.Plan.sort()
	r.Objective = r.Plan.Cost(c)
	t.idle(r, active, c)
	if t.n == t.k && u.least == 1 {
		r.Perm = make([]int, t.n)
		for _, e := range r.Plan.Entries {
			r.Perm[e.I] = e.J
		}
	}
	return r
}

// idle gives feasible potentials to columns and rows without mass.
func (t *transport) idle(r *Result, active []bool, c Costs) {
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
				row := c.Row(i, t.scan.row)
				for _, j := range cols {
					r.V[j] = min(r.V[j], row[j]-r.U[i])
				}
			}
		}
	}
	for i := range t.n {
		if !active[i] {
			r.U[i] = math.Inf(1)
			for j, x := range c.Row(i, t.scan.row) {
				r.U[i] = min(r.U[i], x-r.V[j])
			}
		}
	}
}
