package ot

import "math"

// search is the scratch of Dijkstra's algorithm, clean between two searches.
type search struct {
	heap    events
	dist    []float64 // of each column, +Inf if not reached
	from    []int32   // row from which the column was reached at that distance
	cost    []float64 // cost from that row to the column
	settled []bool    // columns whose distance is final

	base  []float64 // of each settled row: its distance minus u
	via   []int32   // of each settled row: the column through which it was reached
	entry []int32   // of each settled row: its mass in that column
	inRow []bool    // rows that are settled

	columns []int32 // reached columns, to be cleaned
	rows    []int32 // settled rows, to be cleaned
	order   []int32 // settled columns

	work int // candidates and other columns that may still be looked at

	end     int32   // nearest column with room found so far
	endDist float64 // its distance
}

func newSearch(n, k int) search {
	s := search{
		dist: make([]float64, k), from: make([]int32, k), cost: make([]float64, k), settled: make([]bool, k),
		base: make([]float64, n), via: make([]int32, n), entry: make([]int32, n), inRow: make([]bool, n),
	}
	for j := range s.dist {
		s.dist[j] = math.Inf(1)
	}
	return s
}

// paths places the supply that is left, row by row, along shortest augmenting paths. Searches that
// settle more than limit rows are given up, and so is the whole when more than work candidates have
// been looked at. It tells whether all supply has been placed.
func (t *transport) paths(limit, work int) bool {
	t.search.work = work
	done := true
	for i := range int32(t.n) {
		for t.supply[i] > 0 {
			t.stats.Paths++
			found := t.shortest(i, limit)
			if found {
				t.augment(i)
			}
			t.clean()
			if !found {
				done = false
				break
			}
		}
	}
	return done
}

// shortest searches the nearest column with room, seen from row i in the residual network, where
// distances are reduced costs and mass can also be taken back from a column at no cost. It leaves
// the path in t.search and lowers the potentials so that the path becomes tight. It returns false,
// and changes nothing, if it would have to settle more than limit rows or the work allowed is done.
func (t *transport) shortest(i int32, limit int) bool {
	if t.dense != nil {
		return t.shortestDense(i, limit)
	}
	s := &t.search
	s.end, s.endDist = -1, math.Inf(1)
	first, _ := t.best(i)
	t.settle(i, -1, -1, -first.reduced)
	for len(s.heap) > 0 {
		e := s.heap.pop()
		if e.dist >= s.endDist {
			break
		}
		if e.id < 0 {
			if row := ^e.id; t.lists[row].short(t.k) {
				t.relist(row)
				s.work -= t.k
				t.relax(row)
			} else {
				t.relaxDense(row)
			}
			continue
		}
		if len(s.rows) >= limit || s.work < 0 {
			return false
		}
		j := e.id
		if s.settled[j] {
			continue
		}
		s.settled[j] = true
		s.order = append(s.order, j)
		for f := t.flows.head[j]; f >= 0; f = t.flows.entries[f].next {
			if r := t.flows.entries[f].row; !s.inRow[r] {
				t.settle(r, j, f, e.dist-(t.flows.entries[f].cost-t.v[j]))
			}
		}
	}
	t.tighten()
	return true
}

// tighten lowers the potentials of the settled columns so that the path becomes tight.
func (t *transport) tighten() {
	s := &t.search
	for _, j := range s.order {
		t.v[j] += s.dist[j] - s.endDist
	}
}

// settle adds row i to the tree, reached through its entry in column via.
func (t *transport) settle(i, via, entry int32, base float64) {
	t.reach(i, via, entry, base)
	t.relax(i)
}

// reach notes how row i was reached.
func (t *transport) reach(i, via, entry int32, base float64) {
	s := &t.search
	t.stats.Settled++
	s.inRow[i] = true
	s.rows = append(s.rows, i)
	s.via[i], s.entry[i], s.base[i] = via, entry, base
}

// relax shortens the distances to the columns listed by settled row i. If the list ends before the
// distances reach that of the end, its end becomes an event.
func (t *transport) relax(i int32) {
	s := &t.search
	base := s.base[i]
	l := &t.lists[i]
	for x := range l.items {
		c := &l.items[x]
		if base+float64(c.key) >= s.endDist {
			s.work -= x
			return
		}
		t.shorten(i, c.col, base+(c.cost-t.v[c.col]), c.cost)
	}
	s.work -= len(l.items)
	if d := base + l.bound; d < s.endDist {
		s.heap.push(event{d, ^i})
	}
}

// shorten makes d the distance of column j, reached from row i, if that is less than what it was.
func (t *transport) shorten(i, j int32, d, cost float64) {
	s := &t.search
	if d >= s.dist[j] || d >= s.endDist {
		return
	}
	if math.IsInf(s.dist[j], 1) {
		s.columns = append(s.columns, j)
	}
	s.dist[j], s.from[j], s.cost[j] = d, i, cost
	if t.room[j] > 0 {
		s.end, s.endDist = j, d
	} else {
		s.heap.push(event{d, j})
	}
}

// augment moves as much mass as fits along the path that the search found.
func (t *transport) augment(i int32) {
	s := &t.search
	m := min(t.supply[i], t.room[s.end])
	for r := s.from[s.end]; r != i; r = s.from[s.via[r]] {
		m = min(m, t.flows.entries[s.entry[r]].mass)
	}
	t.supply[i] -= m
	t.room[s.end] -= m
	for j := s.end; ; {
		r := s.from[j]
		t.flows.add(r, j, s.cost[j], m)
		if r == i {
			return
		}
		j = s.via[r]
		t.flows.take(j, s.entry[r], m)
	}
}

// clean prepares for the next search.
func (t *transport) clean() {
	s := &t.search
	for _, j := range s.columns {
		s.dist[j] = math.Inf(1)
		s.settled[j] = false
	}
	for _, r := range s.rows {
		s.inRow[r] = false
	}
	s.heap, s.columns, s.rows, s.order = s.heap[:0], s.columns[:0], s.rows[:0], s.order[:0]
}
