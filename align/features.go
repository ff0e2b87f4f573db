package align

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
)

// features are vectors of channels, cols numbers each, in parts that come from
// one weight each.
type features struct {
	rows, cols int
	parts      []part
}

// A part holds cols numbers of each channel, row-major, in the precision in which weights are stored.
type part struct {
	cols int
	data []float32
}

// A reading is what one producer says about the channels of a space: one
// feature matrix for each group.
type reading struct {
	groups []features
}

// A grouping says how the channels of a space are told apart: each of so many
// groups, the positions of index, has channels of its own.
type grouping struct {
	space  *coupling.Space
	index  *coupling.Axis // nil where there is one group
	groups int
}

// groupsOf is the grouping that a space has by itself.
func groupsOf(sp *coupling.Space) grouping { return grouping{sp, sp.Index, sp.Groups} }

// evidence lists, for each producer of a space, the weights that say what it
// makes of a channel: its own first, then its biases.
func (s *Subject) evidence(sp *coupling.Space) [][]coupling.Use {
	var out [][]coupling.Use
	for _, u := range sp.Producers() {
		uses := []coupling.Use{u}
		for _, c := range sp.Uses {
			if c.Role == coupling.Carried && s.isBiasOf(c, u) {
				uses = append(uses, c)
			}
		}
		out = append(out, uses)
	}
	return out
}

// readings returns, for each producer of a space, its incoming weights with the
// other axes moved by maps, and its bias as one more column.
func (s *Subject) readings(sp *coupling.Space, maps Maps) ([]reading, error) {
	t := newTransform(s.Analysis, maps)
	var out []reading
	for _, uses := range s.evidence(sp) {
		r, err := s.read(t, groupsOf(sp), uses)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// read lays side by side what some weights say about the channels of a space.
func (s *Subject) read(t *transform, by grouping, uses []coupling.Use) (reading, error) {
	r := reading{groups: make([]features, by.groups)}
	for _, u := range uses {
		if err := s.appendFeatures(&r, t, by, u); err != nil {
			return reading{}, err
		}
	}
	return r, nil
}

// isBiasOf reports whether a carried use is the bias of a producer: a further
// input of the same node, or a constant added to its output.
func (s *Subject) isBiasOf(c, producer coupling.Use) bool {
	if c.Node == producer.Node {
		return c.Tensor != producer.Tensor
	}
	if c.Node.GetOpType() != "Add" {
		return false
	}
	for _, in := range c.Node.GetInput() {
		if s.Graph.Producer(in) == producer.Node {
			return true
		}
	}
	return false
}

// appendFeatures adds the values of one weight to the channels' vectors. Of a
// weight that holds several groups each group sees its own part.
func (s *Subject) appendFeatures(r *reading, t *transform, by grouping, u coupling.Use) error {
	w := s.Analysis.Weights[u.Tensor]
	data, err := s.floats32(u.Tensor)
	if err != nil {
		return err
	}
	data, dims, own, rest, err := t.beside(w, data, u.Axis, by)
	if err != nil {
		return err
	}
	places := placesIn(w.Axes[u.Axis], by, own)
	selects := by.selector(w.Axes, u.Axis)
	var positions [][]int
	if selects >= 0 {
		positions = positionsOf(w.Axes[selects], by, rest)
	}
	for g := range r.groups {
		part, size := data, dims
		if selects >= 0 {
			part, size = pick(data, dims, selects, positions[g])
		}
		r.groups[g].append(part, size, u.Axis, places[g])
	}
	return nil
}

// selector is the other axis of a tensor whose positions tell the groups of the
// channels along an axis apart; -1 if there is none.
func (by grouping) selector(axes []*coupling.Axis, axis int) int {
	if by.index == nil || holds(axes[axis], by.index) {
		return -1
	}
	return slices.IndexFunc(axes, func(a *coupling.Axis) bool { return holds(a, by.index) })
}

// append adds the numbers of a tensor that stand at each channel's places along
// an axis.
func (f *features) append(data []float32, dims []int, axis int, places [][]int) {
	outer, inner := 1, 1
	for _, d := range dims[:axis] {
		outer *= d
	}
	for _, d := range dims[axis+1:] {
		inner *= d
	}
	f.rows = len(places)
	each := 0
	if len(places) > 0 {
		each = len(places[0])
	}
	p := part{cols: each * outer * inner}
	if outer == 1 && inPlace(places, dims[axis]) {
		p.data = data
	} else {
		p.data = gather(data, places, outer, dims[axis], inner)
	}
	f.cols += p.cols
	f.parts = append(f.parts, p)
}

// matchQuantiles replaces the numbers of every channel in each part by as many
// quantiles of theirs, which do not depend on their order.
func matchQuantiles(x, y reading) {
	for g := range min(len(x.groups), len(y.groups)) {
		a, b := &x.groups[g], &y.groups[g]
		a.cols, b.cols = 0, 0
		for i := range min(len(a.parts), len(b.parts)) {
			k := min(a.parts[i].cols, b.parts[i].cols)
			a.parts[i], b.parts[i] = a.parts[i].quantiles(a.rows, k), b.parts[i].quantiles(b.rows, k)
			a.cols, b.cols = a.cols+k, b.cols+k
		}
	}
}

// quantiles are k numbers for each of so many rows: all of them in order, or as
// many from the least to the largest.
func (p part) quantiles(rows, k int) part {
	out := part{cols: k, data: make([]float32, 0, rows*k)}
	for r := range rows {
		row := slices.Sorted(slices.Values(p.data[r*p.cols:][:p.cols]))
		for i := range k {
			out.data = append(out.data, row[i*(p.cols-1)/max(k-1, 1)])
		}
	}
	return out
}

// pick takes some positions of a row-major tensor along an axis. Of nothing it
// takes nothing.
func pick[T float32 | float64](data []T, dims []int, axis int, positions []int) ([]T, []int) {
	rows := make(Rows, len(positions))
	for i, p := range positions {
		rows[i] = []Entry{{Col: p, Val: 1}}
	}
	if len(rows) == 0 || data == nil {
		size := slices.Clone(dims)
		size[axis] = len(rows)
		return nil, size
	}
	return apply(data, dims, axis, -1, func(int) Rows { return rows })
}

// gather lays out the channels of a tensor of outer × n × inner numbers as rows:
// all numbers at a channel's places along n, outer ones within each place.
func gather(data []float32, places [][]int, outer, n, inner int) []float32 {
	const block = 16 // so that what is read side by side stays in the cache
	each := len(places[0])
	out := make([]float32, len(places)*each*outer*inner)
	for from := 0; from < outer; from += block {
		to := min(from+block, outer)
		for c, at := range places {
			for k, i := range at[:min(len(at), each)] {
				row := out[(c*each+k)*outer*inner:][:outer*inner]
				if inner == 1 {
					for o := from; o < to; o++ {
						row[o] = data[o*n+i]
					}
					continue
				}
				for o := from; o < to; o++ {
					copy(row[o*inner:], data[(o*n+i)*inner:][:inner])
				}
			}
		}
	}
	return out
}

// inPlace reports whether n channels stand one by one along an axis.
func inPlace(places [][]int, n int) bool {
	for c, at := range places {
		if len(at) != 1 || at[0] != c {
			return false
		}
	}
	return len(places) == n
}

// placesOf lists, for each group and channel of a space, its positions along an
// axis. Where the index is not part of the axis, every group sees all of them.
func placesOf(axis *coupling.Axis, sp *coupling.Space) [][][]int {
	return placesIn(axis, groupsOf(sp), nil)
}

// placesIn is placesOf for any grouping, and where other spaces have other widths.
func placesIn(axis *coupling.Axis, by grouping, widths coupling.Widths) [][][]int {
	out := make([][][]int, by.groups)
	for g := range out {
		out[g] = make([][]int, by.space.Width)
	}
	first := map[*coupling.Axis]int{}
	at := 0
	for _, p := range by.space.Pieces {
		first[p.Canonical()] = at
		at += p.Size()
	}
	for pos, coord := range widths.Coordinates(axis) {
		channel, group := -1, by.groupAt(coord)
		for _, c := range coord {
			if f, ok := first[c.Atom]; ok {
				channel = f + c.Index
			}
		}
		if channel < 0 {
			continue
		}
		if group >= 0 {
			out[group][channel] = append(out[group][channel], pos)
			continue
		}
		for g := range out {
			out[g][channel] = append(out[g][channel], pos)
		}
	}
	return out
}

// groupAt is the group that a position belongs to, -1 where it does not say.
func (by grouping) groupAt(coord []coupling.Coord) int {
	group := -1
	for _, c := range coord {
		if by.index != nil && c.Atom == by.index.Canonical() {
			group = c.Index
		}
	}
	return group
}

// positionsOf lists, for each group, the positions along an axis that belong to
// it, or to all.
func positionsOf(axis *coupling.Axis, by grouping, widths coupling.Widths) [][]int {
	out := make([][]int, by.groups)
	for pos, coord := range widths.Coordinates(axis) {
		own := by.groupAt(coord)
		for g := range out {
			if own < 0 || own == g {
				out[g] = append(out[g], pos)
			}
		}
	}
	return out
}

// importance is the norm of each channel's features over all readings.
func importance(rs []reading, group int, kind Mass) []float64 {
	n := rs[0].groups[group].rows
	out := make([]float64, n)
	for _, r := range rs {
		for _, p := range r.groups[group].parts {
			for c := range n {
				for _, v := range p.data[c*p.cols:][:p.cols] {
					x := float64(v)
					if kind == ImportanceL1 {
						out[c] += math.Abs(x)
					} else {
						out[c] += x * x
					}
				}
			}
		}
	}
	if kind == ImportanceL2 {
		for c := range out {
			out[c] = math.Sqrt(out[c])
		}
	}
	return out
}
