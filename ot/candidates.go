package ot

import (
	"cmp"
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
	firstWant  = 24 // candidates listed at first
	blockSize  = 16 // columns to which the row scan gives one minimum
	wantGrowth = 2  // how much longer a list becomes each time it ran out
)

// scanner holds the scratch of whole-row scans; each goroutine needs its own.
type scanner struct {
	row    []float64 // for Costs that must fill a buffer
	mins   []float64 // one per block
	order  []float64 // a copy of mins to select in
	items  []candidate
	kernel blockKernel
}

func newScanner(k int, kernel blockKernel) *scanner {
	blocks := (k + blockSize - 1) / blockSize
	return &scanner{
		row:    make([]float64, k),
		mins:   make([]float64, blocks),
		order:  make([]float64, blocks),
		kernel: kernel,
	}
}

// list makes the candidates of a row anew from its k costs and the potentials v.
func (s *scanner) list(l *candidates, costs, v []float64, g grid) {
	want := l.want
	l.want *= wantGrowth
	k := len(costs)
	s.items = s.items[:0]
	l.bound = math.Inf(1)
	blocks := len(s.mins)
	s.kernel(costs, v, s.mins, g.scale)
	if 2*want < blocks {
		l.bound = s.selectBound(want)
	}
	for b := range blocks {
		if s.mins[b] > l.bound {
			continue
		}
		for j := b * blockSize; j < min(k, (b+1)*blockSize); j++ {
			c := g.steps(costs[j])
			if w := c - v[j]; w <= l.bound && !math.IsInf(w, 1) {
				s.items = append(s.items, candidate{cost: c, key: below(w), col: int32(j)})
			}
		}
	}
	slices.SortFunc(s.items, func(a, b candidate) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		return int(a.col - b.col)
	})
	l.items = append(l.items[:0], s.items...)
}

// selectBound returns a value that at least want entries of the row do not
// exceed: the want-th least block minimum.
func (s *scanner) selectBound(want int) float64 {
	copy(s.order, s.mins)
	return nth(s.order, want-1)
}

// below returns the largest float32 that does not exceed x.
func below(x float64) float32 {
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
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
