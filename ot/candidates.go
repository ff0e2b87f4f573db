package ot

import (
	"math"
	"slices"
)

// candidate is one column in the list of a row.
type candidate struct {
	cost float64 // in steps of the grid
	key  float32 // at most cost − v[col], whatever becomes of v, since v only falls
	col  int32
}

// candidates are the cheapest columns of one row, ordered by key. A column that is not listed has
// cost − v ≥ bound.
//
// Potentials of columns only ever fall during a solve, so that cost − v only grows, and what was
// true of a list when it was made stays true as a lower bound. A search that would have to look
// beyond the bound reads the row again; few do. So nearly all work happens in lists that fit the
// cache, and the n×k matrix is read little more than twice.
type candidates struct {
	items []candidate
	bound float64
	want  int // how many to list next time
}

const (
	leastWant  = 8  // candidates listed at first: a 32nd of the columns,
	mostWant   = 24 // between these
	longShare  = 8  // columns of which one in so many makes a list too long to be worth while
	wantGrowth = 2  // how much longer a list becomes each time it ran out

	lanes      = 4         // columns whose minima are taken side by side
	quad       = 4 * lanes // columns of the smallest block, four minima for each
	wide, slim = 4, 1      // quads in a block where few or many columns are wanted
)

// firstWant returns how many of k columns to list at first.
func firstWant(k int) int { return min(max(leastWant, min(k/32, mostWant)), k) }

// scanner holds the scratch of whole-row scans; each goroutine needs its own.
type scanner struct {
	kernels
	row     []float64 // for Costs that must fill a buffer
	reduced []float64 // cost − v
	mins    []float64 // lanes to a block
	order   []float64 // to select in
	packed  []uint64  // key and column of each chosen entry
}

func newScanner(k int, ks kernels) *scanner {
	return &scanner{kernels: ks, row: make([]float64, k)}
}

// prepare makes what listing rows needs, once.
func (s *scanner) prepare() {
	if s.reduced != nil {
		return
	}
	k := len(s.row)
	minima := (k + quad - 1) / quad * lanes
	buf := make([]float64, 2*k+minima)
	s.reduced, s.order, s.mins = buf[:k:k], buf[k:k:2*k], buf[2*k:]
	s.packed = make([]uint64, 0, k)
}

// reduce calculates all reduced costs of a row and the minima of blocks of so many quads.
func (s *scanner) reduce(costs, v []float64, quads int, g grid) {
	size := quads * quad
	s.mins = s.mins[:(len(costs)+size-1)/size*lanes]
	s.kernels.reduce(costs, v, s.reduced, s.mins, quads, g.scale)
}

// list makes the candidates of row i anew from its k costs and the potentials v.
func (s *scanner) list(l *candidates, i int, costs, v []float64, g grid) {
	k := len(costs)
	quads := slim
	if enough(l.want, k/(wide*lanes)) {
		quads = wide
	}
	s.reduce(costs, v, quads, g)
	// At least want entries do not exceed the want-th least of the minima, and few more.
	l.bound = math.Inf(1)
	if enough(l.want, len(s.mins)) {
		s.order = append(s.order[:0], s.mins...)
		l.bound = nth(s.order, l.want-1)
	} else if enough(l.want, k) {
		s.order = append(s.order[:0], s.reduced...)
		l.bound = nth(s.order, l.want-1)
	}
	s.choose(l.bound, l.want, i, quads)
	if most := 2 * l.want; len(s.packed) > most {
		s.order = s.order[:0]
		for _, p := range s.packed {
			s.order = append(s.order, s.reduced[uint32(p)])
		}
		l.bound = nth(s.order, l.want-1)
		s.choose(l.bound, l.want, i, quads)
	}
	slices.Sort(s.packed)
	l.items = slices.Grow(l.items[:0], len(s.packed))
	for _, p := range s.packed {
		j := uint32(p)
		l.items = append(l.items, candidate{cost: g.steps(costs[j]), key: unsortable(uint32(p >> 32)), col: int32(j)})
	}
	l.want = min(l.want*wantGrowth, max(firstWant(k), k/longShare)+1, k)
}

// short tells whether it pays to list the row anew. If not, it is read from end to end whenever
// what is listed does not suffice.
func (l *candidates) short(k int) bool { return l.want <= k/longShare }

// enough tells whether the want-th least of so many numbers is worth looking for.
func enough(want, numbers int) bool { return 4*want <= 3*numbers }

// choose packs the reduced costs of row i below bound, and of those equal to it the first ones as
// long as there are fewer than most in all. It starts at the block of column i and wraps around, so
// that where much is tied not all rows list the same columns.
func (s *scanner) choose(bound float64, most, i, quads int) {
	s.packed = s.packed[:0]
	size := quads * quad
	blocks := len(s.mins) / lanes
	for x := range blocks {
		b := (i/size + x) % blocks
		for lane, m := range (*[lanes]float64)(s.mins[b*lanes:]) {
			if m > bound || m == bound && len(s.packed) >= most {
				continue
			}
			for j := b*size + lane; j < min((b+1)*size, len(s.reduced)); j += lanes {
				w := s.reduced[j]
				if w < bound || w == bound && len(s.packed) < most && w < math.Inf(1) {
					s.packed = append(s.packed, uint64(sortableBelow(w))<<32|uint64(j))
				}
			}
		}
	}
}

// least returns the column of least cost − v, the first of several, and that number.
func (s *scanner) least(costs, v []float64, g grid) (col int, reduced float64) {
	s.reduce(costs, v, wide, g)
	at := 0
	for x, m := range s.mins {
		if m < s.mins[at] {
			at = x
		}
	}
	for col = at / lanes * wide * quad; s.reduced[col] != s.mins[at]; {
		col++
	}
	return col, s.mins[at]
}

// sortableBelow returns the bits, in the order of the numbers, of the largest float32 that does not
// exceed the whole number x.
func sortableBelow(x float64) uint32 {
	f := float32(x)
	b := math.Float32bits(f)
	b ^= uint32(int32(b)>>31) | 1<<31
	if float64(f) > x {
		b--
	}
	return b
}

// unsortable returns the number of such bits.
func unsortable(b uint32) float32 {
	return math.Float32frombits(b ^ (uint32(int32(^b)>>31) | 1<<31))
}

// nth returns the element that has place i when x is sorted. It reorders x.
func nth(x []float64, i int) float64 {
	lo, hi := 0, len(x)-1
	for lo < hi {
		p := x[lo+(hi-lo)/2]
		a, b := lo, hi
		for a <= b {
			for x[a] < p {
				a++
			}
			for x[b] > p {
				b--
			}
			if a <= b {
				x[a], x[b] = x[b], x[a]
				a++
				b--
			}
		}
		switch {
		case i <= b:
			hi = b
		case i >= a:
			lo = a
		default:
			return x[i]
		}
	}
	return x[i]
}
