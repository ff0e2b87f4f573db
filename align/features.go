package align

import (
	"math"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio/onnxpb"
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
	node   *onnxpb.NodeProto
	groups []features
}

// readings returns, for each producer of a space, its incoming weights with the
// other axes moved by maps, and its bias as one more column.
func (s *Subject) readings(sp *coupling.Space, maps Maps) ([]reading, error) {
	t := newTransform(s.Analysis, maps)
	var out []reading
	for _, u := range sp.Producers() {
		r := reading{node: u.Node, groups: make([]features, sp.Groups)}
		if err := s.appendFeatures(&r, t, sp, u); err != nil {
			return nil, err
		}
		for _, c := range sp.Uses {
			if c.Role == coupling.Carried && s.isBiasOf(c, u) {
				if err := s.appendFeatures(&r, t, sp, c); err != nil {
					return nil, err
				}
			}
		}
		out = append(out, r)
	}
	return out, nil
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

// appendFeatures adds the values of one weight to the channels' vectors.
func (s *Subject) appendFeatures(r *reading, t *transform, sp *coupling.Space, u coupling.Use) error {
	w := s.Analysis.Weights[u.Tensor]
	data, err := s.floats32(u.Tensor)
	if err != nil {
		return err
	}
	data, dims, err := applyAll(t, w, data, u.Axis)
	if err != nil {
		return err
	}
	outer, inner := 1, 1
	for _, d := range dims[:u.Axis] {
		outer *= d
	}
	for _, d := range dims[u.Axis+1:] {
		inner *= d
	}
	n := dims[u.Axis]
	places := placesOf(w.Axes[u.Axis], sp)
	for g := range r.groups {
		f := &r.groups[g]
		f.rows = sp.Width
		each := 0
		if len(places[g]) > 0 {
			each = len(places[g][0])
		}
		p := part{cols: each * outer * inner}
		if outer == 1 && inPlace(places[g], n) {
			p.data = data
		} else {
			p.data = gather(data, places[g], outer, n, inner)
		}
		f.cols += p.cols
		f.parts = append(f.parts, p)
	}
	return nil
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
	out := make([][][]int, sp.Groups)
	for g := range out {
		out[g] = make([][]int, sp.Width)
	}
	first := map[*coupling.Axis]int{}
	at := 0
	for _, p := range sp.Pieces {
		first[p.Canonical()] = at
		at += p.Size()
	}
	for pos, coord := range coupling.Widths(nil).Coordinates(axis) {
		channel, group := -1, -1
		for _, c := range coord {
			if f, ok := first[c.Atom]; ok {
				channel = f + c.Index
			}
			if sp.Index != nil && c.Atom == sp.Index.Canonical() {
				group = c.Index
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
