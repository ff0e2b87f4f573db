package ot

import "math"

// Rows of few columns are read from end to end each time, by kernels: that takes no longer than
// looking through a list of candidates, and no list has to be made.
const (
	denseEntries = 1 << 20 // of a matrix that is copied because it is calculated or in single precision
	kernelShare  = 8       // columns that kernels look at in the time of a candidate
)

// dense is the scratch of searches that read whole rows.
type dense struct {
	from   []float64 // row from which each column was reached, as the kernels store it
	closed []float64 // of each column: 0, or +Inf once its distance is final
	todo   []int32   // columns at the least distance
}

// useDense decides how rows are read.
func (t *transport) useDense() {
	if t.k > t.scan.dense {
		return
	}
	if _, ok := t.costs.(*Cost); !ok {
		if t.n*t.k > denseEntries {
			return
		}
		c := NewCost(t.n, t.k, nil)
		t.eachRow(0, 0, t.n, func(i int, row []float64) { copy(c.Data[i*t.k:], row) })
		t.costs = c
	}
	buf := make([]float64, 2*t.k)
	t.dense = &dense{from: buf[:t.k:t.k], closed: buf[t.k:]}
}

// bestDense is best without a list.
func (t *transport) bestDense(i int32) (first, second choice) {
	t.whole = true
	s := t.scan
	costs := t.costs.Row(int(i), s.row)
	s.reduce(costs, t.v, wide, t.grid)
	least, next, at := math.Inf(1), math.Inf(1), 0
	for x, m := range s.mins {
		if m < next {
			if m < least {
				least, next, at = m, least, x
			} else {
				next = m
			}
		}
	}
	first = choice{reduced: least, col: -1}
	if math.IsInf(least, 1) {
		return first, first
	}
	const size = wide * quad
	start := at / lanes * size
	for j := start + at%lanes; j < min(start+size, t.k); j += lanes {
		switch w := s.reduced[j]; {
		case w == least && first.col < 0:
			first.col, first.cost = int32(j), t.grid.steps(costs[j])
		case w < next:
			next = w
		}
	}
	return first, choice{reduced: next, col: -1}
}

// tiedDense is tied after bestDense.
func (t *transport) tiedDense(i int32, best choice) choice {
	for x := range t.k {
		j := int(i) + x
		if j >= t.k {
			j %= t.k
		}
		if t.scan.reduced[j] == best.reduced && t.room[j] > 0 {
			return choice{best.reduced, t.grid.steps(t.costs.At(int(i), j)), int32(j)}
		}
	}
	return best
}

// shortestDense is shortest with distances that are kept for all columns.
func (t *transport) shortestDense(i int32, limit int) bool {
	s, d := &t.search, t.dense
	for j := range d.closed {
		d.closed[j] = 0
		s.dist[j] = math.Inf(1)
	}
	first, _ := t.bestDense(i)
	t.settleDense(i, -1, -1, -first.reduced)
	for {
		s.endDist = t.nearest()
		for _, j := range d.todo {
			if t.room[j] > 0 {
				s.end = j
				t.trace(i)
				t.tighten()
				return true
			}
		}
		if s.work < 0 {
			return false
		}
		for _, j := range d.todo {
			if len(s.rows) >= limit {
				return false
			}
			s.order = append(s.order, j)
			for f := t.flows.head[j]; f >= 0; f = t.flows.entries[f].next {
				if r := t.flows.entries[f].row; !s.inRow[r] {
					t.settleDense(r, j, f, s.endDist-(t.flows.entries[f].cost-t.v[j]))
				}
			}
		}
	}
}

// settleDense adds row i to the tree, reached through its entry in column via, and shortens the
// distances to all columns.
func (t *transport) settleDense(i, via, entry int32, base float64) {
	t.reach(i, via, entry, base)
	t.search.work -= t.k / kernelShare
	t.scan.relax(t.costs.Row(int(i), t.scan.row), t.v, t.search.dist, t.dense.from, t.dense.closed, t.scan.mins, wide, base, float64(i), t.grid.scale)
}

// relaxDense is relax for a row that is not worth a list, whose end has become an event.
func (t *transport) relaxDense(i int32) {
	s, scan := &t.search, t.scan
	costs := t.costs.Row(int(i), scan.row)
	scan.reduce(costs, t.v, wide, t.grid)
	s.work -= t.k / kernelShare
	base := s.base[i]
	const size = wide * quad
	for x, m := range scan.mins {
		if base+m >= s.endDist {
			continue
		}
		start := x / lanes * size
		for j := start + x%lanes; j < min(start+size, t.k); j += lanes {
			t.shorten(i, int32(j), base+scan.reduced[j], t.grid.steps(costs[j]))
		}
	}
}

// nearest closes all columns at the least distance, lists them in todo and returns that distance.
func (t *transport) nearest() float64 {
	s, d, mins := &t.search, t.dense, t.scan.mins
	least := math.Inf(1)
	for _, m := range mins {
		if m < least {
			least = m
		}
	}
	d.todo = d.todo[:0]
	const size = wide * quad
	for x, m := range mins {
		if m != least {
			continue
		}
		rest := math.Inf(1)
		start := x / lanes * size
		for j := start + x%lanes; j < min(start+size, t.k); j += lanes {
			if w := s.dist[j] + d.closed[j]; w == least {
				d.todo = append(d.todo, int32(j))
				d.closed[j] = math.Inf(1)
			} else if w < rest {
				rest = w
			}
		}
		mins[x] = rest
	}
	return least
}

// trace notes from where the columns on the path from row i were reached, and at what cost.
func (t *transport) trace(i int32) {
	s := &t.search
	for j := s.end; ; {
		r := int32(t.dense.from[j])
		s.from[j], s.cost[j] = r, t.grid.steps(t.costs.At(int(r), int(j)))
		if r == i {
			return
		}
		j = s.via[r]
	}
}
