package channels

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
)

// Features are vectors of channels, of Cols numbers each: what weights say about the channels of
// one group. Each part comes from one weight.
type Features struct {
	Rows, Cols int
	Parts      []Part
}

// A Part holds Cols numbers of each channel, row-major, in the precision in which weights are
// stored.
type Part struct {
	Cols int
	Data []float32
}

// Makers lists, for each producer of a space, the weights that say what it makes of a channel: its
// own first, then its biases.
func Makers(s *edit.Subject, sp *coupling.Space) [][]coupling.Use {
	var out [][]coupling.Use
	for _, u := range sp.Producers() {
		uses := []coupling.Use{u}
		for _, c := range sp.Uses {
			if c.Role == coupling.Carried && isBiasOf(s, c, u) {
				uses = append(uses, c)
			}
		}
		out = append(out, uses)
	}
	return out
}

// isBiasOf reports whether a carried use is the bias of a producer: a further input of the same
// node, or a constant added to its output.
func isBiasOf(s *edit.Subject, c, producer coupling.Use) bool {
	if c.Node == producer.Node {
		return c.Tensor != producer.Tensor
	}
	return c.Node.GetOpType() == "Add" && slices.ContainsFunc(c.Node.GetInput(), func(in string) bool {
		return s.Graph.Producer(in) == producer.Node
	})
}

// Made returns, for each producer of a space and each group, its incoming weights with the other
// axes moved by maps, and its bias as one more column.
func Made(s *edit.Subject, sp *coupling.Space, maps edit.Maps) ([][]Features, error) {
	var out [][]Features
	for _, uses := range Makers(s, sp) {
		t := edit.NewTransform(s.Analysis, maps.Along(s.Analysis, uses))
		f, err := Read(s, t, edit.GroupsOf(sp), uses)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// Read lays side by side, for each group, what some weights say about the channels of a space.
func Read(s *edit.Subject, t *edit.Transform, by edit.Grouping, uses []coupling.Use) ([]Features, error) {
	out := make([]Features, by.Groups)
	for _, u := range uses {
		data, err := s.Floats32(u.Tensor)
		if err != nil {
			return nil, err
		}
		data, dims, layout, err := t.Beside(s.Analysis.Weights[u.Tensor], data, u.Axis, by)
		if err != nil {
			return nil, err
		}
		for g := range out {
			out[g].append(edit.Group(&layout, data, dims, g), &layout, g)
		}
	}
	return out, nil
}

// append adds the numbers that a tensor holds of each channel of a group.
func (f *Features) append(x dense.Along[float32], l *edit.Layout, group int) {
	positions := l.Channels[group]
	f.Rows = len(positions)
	p := Part{Cols: len(positions[0]) * x.Outer * x.Inner, Data: x.Data}
	if x.Outer != 1 || !l.OneByOne(group, x.N) {
		p.Data = gather(x, positions)
	}
	f.Cols += p.Cols
	f.Parts = append(f.Parts, p)
}

// gather lays out the channels of a tensor as rows: all numbers at a channel's positions, outer
// ones within each position.
func gather(x dense.Along[float32], channels [][]int) []float32 {
	const block = 16 // so that what is read side by side stays in the cache
	each := len(channels[0])
	out := make([]float32, len(channels)*each*x.Outer*x.Inner)
	for from := 0; from < x.Outer; from += block {
		to := min(from+block, x.Outer)
		for c, positions := range channels {
			for k, p := range positions[:min(len(positions), each)] {
				row := out[((c*each+k)*x.Outer+from)*x.Inner:]
				for o := from; o < to; o++ {
					if x.Inner == 1 {
						row[o-from] = x.Data[o*x.N+p]
					} else {
						copy(row[(o-from)*x.Inner:], x.Row(o, p))
					}
				}
			}
		}
	}
	return out
}

// Energies is the diagonal of the sensitivity: Σ w_p² for each channel of a group. It takes no copy
// of the weight beside the one that is read.
func Energies(s *edit.Subject, sp *coupling.Space, u coupling.Use, group int) ([]float64, error) {
	w := s.Analysis.Weights[u.Tensor]
	data, err := s.Floats32(u.Tensor)
	if err != nil {
		return nil, err
	}
	layout := edit.GroupsOf(sp).In(w.Axes, u.Axis)
	x := edit.Group(&layout, data, w.Dims(), group)
	channels := layout.Channels[group]
	if len(channels) == 0 || len(channels[0]) == 0 || len(x.Data) == 0 {
		return nil, fmt.Errorf("weight %q: channels of %q are not read", u.Tensor, sp.Name)
	}
	sums := make([]float64, x.N)
	for o := range x.Outer {
		for p := range sums {
			for _, v := range x.Row(o, p) {
				sums[p] += float64(v) * float64(v)
			}
		}
	}
	out := make([]float64, sp.Width)
	for c, positions := range channels {
		for _, p := range positions {
			out[c] += sums[p]
		}
	}
	return out, nil
}

// Squares adds the squared norms of the rows of x to dst.
func Squares[T dense.Float](dst []float64, x dense.Matrix[T]) {
	if x.Row == 1 {
		for k := range x.Cols {
			for p, v := range x.Data[k*x.Col:][:x.Rows] {
				dst[p] += float64(v) * float64(v)
			}
		}
		return
	}
	for p := range x.Rows {
		s := 0.0
		for _, v := range x.Data[p*x.Row:][:x.Cols] {
			s += float64(v) * float64(v)
		}
		dst[p] += s
	}
}
