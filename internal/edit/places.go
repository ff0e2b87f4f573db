package edit

import (
	"slices"

	"github.com/monge-ml/monge/coupling"
)

// A Grouping says how the channels of a space are told apart: each of so many
// groups, the positions of index, has channels of its own.
type Grouping struct {
	Space  *coupling.Space
	Index  *coupling.Axis // nil where there is one group
	Groups int
}

// GroupsOf is the grouping that a space has by itself.
func GroupsOf(sp *coupling.Space) Grouping { return Grouping{sp, sp.Index, sp.Groups} }

// Selector is the other axis of a tensor whose positions tell the groups of the
// channels along an axis apart; -1 if there is none.
func (by Grouping) Selector(axes []*coupling.Axis, axis int) int {
	if by.Index == nil || axes[axis].Holds(by.Index) {
		return -1
	}
	return slices.IndexFunc(axes, func(a *coupling.Axis) bool { return a.Holds(by.Index) })
}

// Pick takes some positions of a row-major tensor along an axis. Of nothing it
// takes nothing.
func Pick[T float32 | float64](data []T, dims []int, axis int, positions []int) ([]T, []int) {
	rows := make(Rows, len(positions))
	for i, p := range positions {
		rows[i] = []Entry{{Col: p, Val: 1}}
	}
	if len(rows) == 0 || data == nil {
		size := slices.Clone(dims)
		size[axis] = len(rows)
		return nil, size
	}
	return Apply(data, dims, axis, -1, func(int) Rows { return rows })
}

// InPlace reports whether n channels stand one by one along an axis.
func InPlace(places [][]int, n int) bool {
	for c, at := range places {
		if len(at) != 1 || at[0] != c {
			return false
		}
	}
	return len(places) == n
}

// PlacesOf lists, for each group and channel of a space, its positions along an
// axis. Where the index is not part of the axis, every group sees all of them.
func PlacesOf(axis *coupling.Axis, sp *coupling.Space) [][][]int {
	return PlacesIn(axis, GroupsOf(sp), nil)
}

// PlacesIn is placesOf for any grouping, and where other spaces have other widths.
func PlacesIn(axis *coupling.Axis, by Grouping, widths coupling.Widths) [][][]int {
	out := make([][][]int, by.Groups)
	for g := range out {
		out[g] = make([][]int, by.Space.Width)
	}
	first := map[*coupling.Axis]int{}
	at := 0
	for _, p := range by.Space.Pieces {
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
func (by Grouping) groupAt(coord []coupling.Coord) int {
	group := -1
	for _, c := range coord {
		if by.Index != nil && c.Atom == by.Index.Canonical() {
			group = c.Index
		}
	}
	return group
}

// PositionsOf lists, for each group, the positions along an axis that belong to
// it, or to all.
func PositionsOf(axis *coupling.Axis, by Grouping, widths coupling.Widths) [][]int {
	out := make([][]int, by.Groups)
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
