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

// candidates are the cheapest columns of one row, ordered by key. A column that is
// not listed has cost − v ≥ bound.
//
// Potentials of columns only ever fall during a solve, so that cost − v only grows, and what was
// true of a list when it was made stays true as a lower bound. A search that
// would have to look beyond the bound reads the row again; few do. So nearly
// all work happens in lists that fit the cache, and the n×k matrix is read
// little more than twice.
type candidates struct {
	items []candidate
	bound float64
	want  int // how many to list next time
}

const (
	leastWant  = 8  // candidates listed at first: a 32nd of the columns,
	mostWant   = 24 // between these
	blockSize  = 16 // columns to which the row scan gives one minimum
	wantGrowth = 2  // how much longer a list becomes each time it ran out
)

// firstWant returns how many of k columns to list at first.
func firstWant(k int) int { return min(max(leastWant, min(k/32, mostWant)), k) }

// scanner holds the scratch of whole-row scans; each goroutine needs its own.
type scanner struct {
	kernels
	row    []float64 // for Costs that must fill a buffer
	mins   []float64 // one per block
	order  []float64 // to select in
	packed []uint64  // key and column of each chosen entry
}

func newScanner(k int, ks kernels) *scanner {
	return &scanner{
		kernels: ks,
		row:     make([]float64, k),
		mins:    make([]float64, (k+blockSize-1)/blockSize),
		order:   make([]float64, 0, k),
		packed:  make([]uint64, 0, k),
	}
}

// list makes the candidates of row i anew from its k costs and the potentials v.
func (s *scanner) list(l *candidates, i int, costs, v []float64, g grid) {
	s.blockMins(costs, v, s.mins, g.scale)
	l.bound = math.Inf(1)
	if 4*l.want <= 3*len(s.mins) {
		// At least want entries do not exceed the want-th least minimum of a block, and few more.
		s.order = append(s.order[:0], s.mins...)
		l.bound = nth(s.order, l.want-1)
	}
	s.choose(l.bound, math.MaxInt, i, costs, v, g)
	if most := 2 * l.want; len(s.packed) > most {
		s.order = s.order[:0]
		for _, p := range s.packed {
			j := uint32(p)
			s.order = append(s.order, g.steps(costs[j])-v[j])
		}
		l.bound = nth(s.order, l.want-1)
		s.choose(l.bound, l.want, i, costs, v, g)
	}
	slices.Sort(s.packed)
	l.items = slices.Grow(l.items[:0], len(s.packed))
	for _, p := range s.packed {
		j := uint32(p)
		l.items = append(l.items, candidate{cost: g.steps(costs[j]), key: unsortable(uint32(p >> 32)), col: int32(j)})
	}
	l.want = min(l.want*wantGrowth, len(costs))
}

// choose packs the entries of row i below bound, and of those equal to it the
// first ones as long as there are fewer than most in all. It starts at the
// block of column i and wraps around, so that where much is tied not all rows list the same columns.
func (s *scanner) choose(bound float64, most, i int, costs, v []float64, g grid) {
	s.packed = s.packed[:0]
	blocks := len(s.mins)
	for x := range blocks {
		b := (i/blockSize + x) % blocks
		if s.mins[b] > bound {
			continue
		}
		lo := b * blockSize
		hi := min(lo+blockSize, len(costs))
		for j := lo; j < hi; j++ {
			w := g.steps(costs[j]) - v[j]
			if w < bound || w == bound && len(s.packed) < most && w < math.Inf(1) {
				s.packed = append(s.packed, uint64(sortable(below(w)))<<32|uint64(j))
			}
		}
	}
}

// least returns the column of least cost − v, the first of several, and that number.
func (s *scanner) least(costs, v []float64, g grid) (col int, reduced float64) {
	s.blockMins(costs, v, s.mins, g.scale)
	block := 0
	for b, m := range s.mins {
		if m < s.mins[block] {
			block = b
		}
	}
	for col = block * blockSize; g.steps(costs[col])-v[col] != s.mins[block]; {
		col++
	}
	return col, s.mins[block]
}

// below returns the largest float32 that does not exceed x.
func below(x float64) float32 {
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

// sortable returns bits that sort like the numbers they stand for.
func sortable(f float32) uint32 {
	b := math.Float32bits(f)
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

// unsortable is the inverse of sortable.
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
