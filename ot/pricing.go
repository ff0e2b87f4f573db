package ot

import (
	"cmp"
	"math"
	"slices"
)

const (
	searchLimit   = 16      // rows that a search may settle before simplex takes over
	collectSize   = 64      // entering entries to collect
	takeShare     = 2       // of these, one in so many is taken before collecting again
	listsPerNode  = 20      // steps for each row and column after which whole rows are priced
	looksPerNode  = 200     // or so many looks at rows
	stayPerNode   = 2       // in which the pricing of whole rows stays with a row while it can
	pivotsPerNode = 200     // and after which simplex gives up
	exactRange    = 3 << 50 // limit of potentials: with a cost of 2⁵¹ two of them sum to 2⁵³
)

// ending says why simplex steps came to an end.
type ending int

const (
	optimal    ending = iota // no entry of the matrix has a negative reduced cost
	outOfRange               // potentials left the exact range
	tooMany                  // the limit of steps is reached
)

// pivots runs simplex steps until no entry of the matrix has a negative reduced cost. Entering
// entries come from the candidate lists; only when these offer none, rows of the matrix are looked
// at.
func (s *simplex) pivots() ending {
	for s.exact {
		if end := s.priceLists(); end != optimal {
			return end
		}
		if s.t.dense != nil || !s.priceRows() {
			return optimal
		}
	}
	return outOfRange
}

// priceAll runs steps with the best entry of one row after the other. In the beginning it stays
// with a row until that offers nothing more. With the rows first that have most to lose, those of
// many ordered matrices (functions of sorted numbers, such as products, differences, Monge arrays)
// then find their final places one after the other.
func (s *simplex) priceAll() ending {
	t := s.t
	v := s.pot[t.n:s.hub]
	stay := t.stats.Pivots + stayPerNode*(t.n+t.k)
	rows := s.bySpread()
	for x, idle := 0, 0; idle < len(rows); {
		i := rows[x]
		costs := t.costs.Row(int(i), t.scan.row)
		if j, reduced := t.scan.least(costs, v, t.grid); reduced < s.pot[i] {
			if t.stats.Pivots >= t.pivotLimit {
				return tooMany
			}
			s.pivot(i, int32(j), t.grid.steps(costs[j]), reduced-s.pot[i])
			if !s.exact {
				return outOfRange
			}
			if idle = -1; t.stats.Pivots < stay {
				idle = 0
				continue
			}
		}
		if x++; x == len(rows) {
			x = 0
		}
		idle++
	}
	return optimal
}

// bySpread lists the rows that take part by the difference of their largest and least cost, the
// largest first.
func (s *simplex) bySpread() []int32 {
	t := s.t
	spread := make([]float64, t.n)
	var rows []int32
	for i := range int32(t.n) {
		if s.nodes[i].parent == unseen {
			continue
		}
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, x := range t.costs.Row(int(i), t.scan.row) {
			if x < lo {
				lo = x
			}
			if x > hi {
				hi = x
			}
		}
		spread[i] = hi - lo
		rows = append(rows, i)
	}
	slices.SortStableFunc(rows, func(a, b int32) int { return cmp.Compare(spread[b], spread[a]) })
	return rows
}

// entering is an entry that may enter the tree.
type entering struct {
	row, col int32
	cost     float64
}

// priceLists runs steps until the lists hold no entry of negative reduced cost. It collects such
// entries, one from each row, and takes the most negative ones as long as they stay so, before it
// collects again. It stops where potentials leave the exact range or the number of steps its limit.
func (s *simplex) priceLists() ending {
	for row := int32(0); ; {
		row = s.collect(row)
		if len(s.entering) == 0 {
			return optimal
		}
		for range max(1, len(s.entering)/takeShare) {
			at, rc := s.mostNegative()
			if at < 0 {
				break
			}
			e := s.entering[at]
			s.entering[at] = s.entering[len(s.entering)-1]
			s.entering = s.entering[:len(s.entering)-1]
			if s.t.stats.Pivots >= min(s.t.listLimit, s.t.pivotLimit) || s.looks > looksPerNode*len(s.nodes) {
				return tooMany
			}
			if s.pivot(e.row, e.col, e.cost, rc); !s.exact {
				return outOfRange
			}
		}
	}
}

// collect gathers entries of negative reduced cost, the best of each row from the given one on,
// until there are enough. It returns the row to go on with.
func (s *simplex) collect(row int32) int32 {
	t := s.t
	n := int32(t.n)
	v := s.pot[n:]
	s.entering = s.entering[:0]
	for range n {
		s.looks++
		if e := s.cheapest(row, v); e.col >= 0 {
			s.entering = append(s.entering, e)
		}
		if row++; row == n {
			row = 0
		}
		if len(s.entering) == collectSize {
			break
		}
	}
	return row
}

// cheapest returns the entry of least reduced cost in the list of a row, or of the whole row where
// rows are read so; its column is −1 if none has a negative one.
func (s *simplex) cheapest(row int32, v []float64) entering {
	t := s.t
	least := s.pot[row]
	if t.dense != nil {
		if s.nodes[row].parent == unseen {
			return entering{col: -1}
		}
		costs := t.costs.Row(int(row), t.scan.row)
		if j, reduced := t.scan.least(costs, v, t.grid); reduced < least {
			return entering{row, int32(j), t.grid.steps(costs[j])}
		}
		return entering{col: -1}
	}
	at := -1
	items := t.lists[row].items
	for x := range items {
		if w := items[x].cost - v[items[x].col]; w < least {
			least, at = w, x
		}
	}
	if at < 0 {
		return entering{col: -1}
	}
	return entering{row, items[at].col, items[at].cost}
}

// mostNegative returns the collected entry of least reduced cost, dropping those that are not
// negative any more; −1 if none is left.
func (s *simplex) mostNegative() (at int, rc float64) {
	at = -1
	for x := 0; x < len(s.entering); {
		e := &s.entering[x]
		r := e.cost - s.pot[e.row] - s.pot[int32(s.t.n)+e.col]
		if r >= 0 {
			*e = s.entering[len(s.entering)-1]
			s.entering = s.entering[:len(s.entering)-1]
			continue
		}
		if r < rc {
			at, rc = x, r
		}
		x++
	}
	return at, rc
}

// priceRows lists all rows anew in which an entry that is not listed may have a negative reduced
// cost, and tells whether one has. An entry that was not listed can cost less now only by as much
// as the potentials of columns have risen since.
func (s *simplex) priceRows() bool {
	t := s.t
	n := t.n
	var rise float64
	for j := range t.v {
		if s.nodes[n+j].parent != unseen {
			rise = max(rise, s.pot[n+j]-t.v[j])
			t.v[j] = s.pot[n+j]
		}
	}
	s.rise += rise
	found := false
	for i := range n {
		l := &t.lists[i]
		if s.nodes[i].parent == unseen || l.bound-(s.rise-s.listed[i]) >= s.pot[i] {
			continue
		}
		t.relist(int32(i))
		s.listed[i] = s.rise
		for _, c := range l.items {
			found = found || c.cost-t.v[c.col] < s.pot[i]
		}
	}
	return found
}

// fill places all supply that is left in the nearest room, whatever it costs.
func (t *transport) fill() {
	var free []int32
	for j, r := range t.room {
		if r > 0 {
			free = append(free, int32(j))
		}
	}
	for i := range int32(t.n) {
		if t.supply[i] == 0 {
			continue
		}
		costs := t.costs.Row(int(i), t.scan.row)
		for t.supply[i] > 0 {
			least, at, best := math.Inf(1), 0, 0.0
			for x, j := range free {
				if c := t.grid.steps(costs[j]); c-t.v[j] < least {
					least, at, best = c-t.v[j], x, c
				}
			}
			j := free[at]
			t.push(i, j, best)
			if t.room[j] == 0 {
				free = append(free[:at], free[at+1:]...)
			}
		}
	}
}
