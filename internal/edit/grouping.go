package edit

import (
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
)

// A Grouping says how the channels of a space are told apart: each of so many groups, the positions
// of index, has channels of its own.
type Grouping struct {
	Space  *coupling.Space
	Index  *coupling.Axis // nil where there is one group
	Groups int
}

// GroupsOf is the grouping that a space has by itself.
func GroupsOf(sp *coupling.Space) Grouping { return Grouping{sp, sp.Index, sp.Groups} }

// A Layout says where the channels of a space stand in a tensor.
type Layout struct {
	// Axis is the one that the space runs along.
	Axis int
	// Channels are the positions along it, by group and channel. Where nothing along the axis tells
	// groups apart, every group has all positions.
	Channels [][][]int
	// selects is another axis, whose positions tell groups apart, -1 if there is none; groups are
	// these positions.
	selects int
	groups  [][]int
}

// In is the layout of a tensor with a space along one of its axes.
func (by Grouping) In(axes []*coupling.Axis, axis int) Layout {
	return by.under(axes, axis, nil, nil)
}

// under is In with other widths: own along the axis, rest along others.
func (by Grouping) under(axes []*coupling.Axis, axis int, own, rest coupling.Widths) Layout {
	l := Layout{Axis: axis, Channels: by.channels(axes[axis], own), selects: -1}
	if by.Index == nil || axes[axis].Holds(by.Index) {
		return l
	}
	l.selects = slices.IndexFunc(axes, func(a *coupling.Axis) bool { return a.Holds(by.Index) })
	if l.selects >= 0 {
		l.groups = make([][]int, by.Groups)
		groups, _ := rest.Channels(axes[l.selects], by.Index)
		for pos, g := range groups {
			for from, to := by.only(g); from < to; from++ {
				l.groups[from] = append(l.groups[from], pos)
			}
		}
	}
	return l
}

// channels lists the positions along an axis by group and channel.
func (by Grouping) channels(axis *coupling.Axis, widths coupling.Widths) [][][]int {
	out := make([][][]int, by.Groups)
	for g := range out {
		out[g] = make([][]int, by.Space.Width)
	}
	channels, _ := widths.Channels(axis, by.Space.Pieces...)
	groups := make([]int, len(channels))
	if by.Index != nil {
		groups, _ = widths.Channels(axis, by.Index)
	}
	for pos, channel := range channels {
		if channel < 0 {
			continue
		}
		for from, to := by.only(groups[pos]); from < to; from++ {
			out[from][channel] = append(out[from][channel], pos)
		}
	}
	return out
}

// only is the range of groups of a position that names one, or none (-1).
func (by Grouping) only(group int) (from, to int) {
	if by.Index != nil && group >= 0 {
		return group, group + 1
	}
	return 0, by.Groups
}

// indexOf is the channel of an atom at a position, -1 where it has none.
func indexOf(coord []coupling.Coord, atom *coupling.Axis) int {
	at := -1
	for _, c := range coord {
		if c.Atom == atom {
			at = c.Index
		}
	}
	return at
}

// Group returns what a tensor holds of a group, along the layout's axis.
func Group[T dense.Float](l *Layout, data []T, dims []int, group int) dense.Along[T] {
	if l.selects >= 0 {
		if data != nil {
			data, dims = multiply(data, dims, l.selects, selecting(l.groups[group]))
		} else {
			dims = resized(dims, l.selects, len(l.groups[group]))
		}
	}
	return dense.AlongAxis(data, dims, l.Axis)
}

// OneByOne reports whether the channels of a group are the positions of the axis, of which there
// are n, in order.
func (l *Layout) OneByOne(group, n int) bool {
	for c, at := range l.Channels[group] {
		if len(at) != 1 || at[0] != c {
			return false
		}
	}
	return len(l.Channels[group]) == n
}
