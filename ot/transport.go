package ot

import "math"

// transport is the state of the exact solver: the primal-dual method of shortest augmenting paths
// for the transportation problem, in the form that Jonker and Volgenant gave it for the assignment
// problem (A shortest augmenting path algorithm for dense and sparse linear assignment problems,
// Computing 38, 1987), here with integer masses on both sides and with candidate lists in place of
// rows. Three invariants hold from the first to the last step:
//
//   - feasibility: u[i] = min_j cost[i,j] − v[j], so no reduced cost is
//     negative;
//   - tightness: mass lies only where the reduced cost is 0;
//   - v never rises, and v of a column with room left is still its first value.
//
// So when all mass is placed the plan is optimal. u is not stored: it is cost − v of any column
// that the row has mass in.
type transport struct {
	n, k  int
	costs Costs
	grid  grid
	scan  *scanner   // the scratch of the main goroutine
	scans []*scanner // and of all workers
	low   []float64  // least cost of each column, in steps of the grid

	supply []int64 // of each row, not placed yet
	room   []int64 // of each column, not taken yet
	v      []float64
	lists  []candidates
	dense  *dense    // where rows are read from end to end instead; lists are then made for simplex only
	whole  bool      // the last call of best has read the whole row
	second []float64 // of each row: a lower bound of its second least cost − v
	flows  flows
	search search
	stats  Stats

	lo, hi     float64 // least and largest cost
	largest    float64 // absolute cost
	listLimit  int     // steps after which simplex prices whole rows
	pivotLimit int     // and after which it gives up
}

// push places as much of row i's supply in column j as has room.
func (t *transport) push(i, j int32, cost float64) {
	m := min(t.supply[i], t.room[j])
	if m == 0 {
		return
	}
	t.supply[i] -= m
	t.room[j] -= m
	t.flows.add(i, j, cost, m)
}

// choice is a column as a row sees it: reduced is cost − v.
type choice struct {
	reduced, cost float64
	col           int32
}

// best returns the cheapest and second cheapest column of row i. Where there is only one, the
// second has infinite cost.
func (t *transport) best(i int32) (first, second choice) {
	if t.dense != nil {
		return t.bestDense(i)
	}
	l := &t.lists[i]
	for {
		first = choice{reduced: math.Inf(1), col: -1}
		second = first
		for x := range l.items {
			c := &l.items[x]
			if float64(c.key) >= second.reduced {
				break
			}
			if w := c.cost - t.v[c.col]; w < first.reduced {
				first, second = choice{w, c.cost, c.col}, first
			} else if w < second.reduced {
				second = choice{w, c.cost, c.col}
			}
		}
		if second.reduced <= l.bound {
			t.whole = false
			return first, second
		}
		if !l.short(t.k) {
			return t.bestDense(i)
		}
		t.relist(i)
	}
}

// relist reads the whole row i again.
func (t *transport) relist(i int32) {
	t.stats.Scans++
	t.scan.list(&t.lists[i], int(i), t.costs.Row(int(i), t.scan.row), t.v, t.grid)
}

// diagonal places mass from i to i wherever that is cheapest for both row and column. Nothing has
// been placed before.
func (t *transport) diagonal() {
	for i := range int32(min(t.n, t.k)) {
		if t.supply[i] == 0 || t.room[i] == 0 {
			continue
		}
		first, _ := t.best(i)
		c := t.grid.steps(t.costs.At(int(i), int(i)))
		if c-t.v[i] == first.reduced && first.reduced == 0 {
			t.push(i, i, c)
		}
	}
}
