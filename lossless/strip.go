package lossless

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
)

// A strip tells which channel of a space each element of a weight belongs to, along one axis of the
// weight.
type strip struct {
	weight *coupling.Weight
	axis   int
	space  *coupling.Space

	dims    []int
	channel []int // by position on the axis, -1 beside the space
	group   []int // by position on the axis by
	by      int   // the axis that selects the group; -1: all of group 0

	holds []elements // of each channel, by its number; nil before look
}

// elements sums up the numbers that a weight holds of a channel.
type elements struct {
	n              int
	first          float64
	differ         bool    // they are not all as the first
	nonzero        bool    // they are not all zero
	sum, magnitude float64 // of them, and of their absolute values
}

func (e *elements) add(x float64) {
	if e.n == 0 {
		e.first = x
	}
	e.n++
	e.differ = e.differ || x != e.first
	e.nonzero = e.nonzero || x != 0
	e.sum += x
	e.magnitude += math.Abs(x)
}

// newStrip looks at axis k of a weight. ok is false where the channels cannot be told apart there.
func newStrip(w *coupling.Weight, k int, s *coupling.Space) (t *strip, ok bool) {
	t = &strip{weight: w, axis: k, space: s, by: -1, dims: w.Dims()}
	t.channel, ok = coupling.Widths(nil).Channels(w.Axes[k], s.Pieces...)
	if s.Index == nil {
		return t, ok
	}
	for b, a := range w.Axes {
		if !a.Holds(s.Index) {
			continue
		}
		if t.by >= 0 {
			return t, false
		}
		t.by = b
		t.group, _ = coupling.Widths(nil).Channels(a, s.Index)
		ok = ok && !slices.Contains(t.group, -1)
	}
	return t, ok && t.by >= 0
}

// each calls f for every element of the space's channels, in the order of storage, with its number
// and the channel's.
func (t *strip) each(f func(element, id int)) {
	inner, stride := 1, 1
	for _, d := range t.dims[t.axis+1:] {
		inner *= d
	}
	if t.by >= 0 {
		for _, d := range t.dims[t.by+1:] {
			stride *= d
		}
	}
	n := t.dims[t.axis]
	for e, total := 0, t.weight.Len(); e < total; {
		ch := t.channel[e/inner%n]
		for end := e + inner; e < end; e++ {
			switch {
			case ch < 0:
			case t.by < 0:
				f(e, ch)
			default:
				f(e, t.group[e/stride%t.dims[t.by]]*t.space.Width+ch)
			}
		}
	}
}

// look sums up the values of the weight.
func (t *strip) look(data []float64) {
	t.holds = make([]elements, t.space.Groups*t.space.Width)
	t.each(func(e, id int) { t.holds[id].add(data[e]) })
}

// levels gives the one value that all elements of each channel have.
func (t *strip) levels() []level {
	out := make([]level, len(t.holds))
	for id, e := range t.holds {
		if e.n > 0 && !e.differ {
			out[id] = level{true, e.first}
		}
	}
	return out
}
