package coupling

import "slices"

// A Coord is one channel of one atom. Where a concatenation is a factor of a product, a position
// also says which part of it is meant, for the parts may hold the same channels (two halves
// shuffled into one another): then Atom is nil and Index counts the parts.
type Coord struct {
	Atom  *Axis
	Index int
}

// Coordinates lists, for every position of the axis under the widths, which channel of which atoms
// stands there, outer factor first.
func (w Widths) Coordinates(a *Axis) [][]Coord { return w.coordinates(a, false) }

func (w Widths) coordinates(a *Axis, factor bool) [][]Coord {
	a = a.find()
	switch a.kind {
	case kindAtom:
		n := w.Size(a)
		out := make([][]Coord, max(n, 0))
		for i := range out {
			out[i] = []Coord{{a, i}}
		}
		return out
	case kindSum:
		var out [][]Coord
		for i, k := range a.kids {
			part := w.coordinates(k, factor)
			if factor {
				for j, c := range part {
					part[j] = append([]Coord{{Index: i}}, c...)
				}
			}
			out = append(out, part...)
		}
		return out
	}
	out := make([][]Coord, 1)
	for _, k := range a.kids {
		inner := w.coordinates(k, true)
		next := make([][]Coord, 0, len(out)*len(inner))
		for _, o := range out {
			for _, i := range inner {
				next = append(next, slices.Concat(o, i))
			}
		}
		out = next
	}
	return out
}

// Channels tells for every position of the axis under the widths which channel of some atoms stands
// there, -1 beside them: those of each atom are numbered behind those of the one before. once is
// false where two stand at one position.
func (w Widths) Channels(axis *Axis, atoms ...*Axis) (channel []int, once bool) {
	first, n := map[*Axis]int{}, 0
	for _, x := range atoms {
		first[x.find()] = n
		n += x.Size()
	}
	once = true
	for _, coord := range w.Coordinates(axis) {
		at := -1
		for _, c := range coord {
			if f, ok := first[c.Atom]; ok {
				once = once && at < 0
				at = f + c.Index
			}
		}
		channel = append(channel, at)
	}
	return channel, once
}

// is reports whether two axes are the same term after refinement.
func (a *Axis) is(b *Axis) bool { return a.find() == b.find() }

// Canonical returns the term that stands for the axis after all refinement; it is comparable, so
// atoms may serve as map keys.
func (a *Axis) Canonical() *Axis { return a.find() }

// Kids returns the parts of a sum or product and which of both it is.
func (a *Axis) Kids() (kids []*Axis, sum bool) {
	a = a.find()
	return a.kids, a.kind == kindSum
}

// Starts lists the first channel of every piece of a space, and its width.
func (s *Space) Starts() []int {
	out := []int{0}
	for _, p := range s.Pieces {
		out = append(out, out[len(out)-1]+p.Size())
	}
	return out
}
