package channels

import (
	"fmt"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
)

// Features are vectors of channels, cols numbers each, in parts that come from
// one weight each.
type Features struct {
	Rows, Cols int
	Parts      []Part
}

// A Part holds cols numbers of each channel, row-major, in the precision in which weights are stored.
type Part struct {
	Cols int
	Data []float32
}

// A Reading is what one producer says about the channels of a space: one
// feature matrix for each group.
type Reading struct {
	Groups []Features
}

// Makers lists, for each producer of a space, the weights that say what it
// makes of a channel: its own first, then its biases.
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

// Readings returns, for each producer of a space, its incoming weights with the
// other axes moved by maps, and its bias as one more column.
func Readings(s *edit.Subject, sp *coupling.Space, maps edit.Maps) ([]Reading, error) {
	t := edit.NewTransform(s.Analysis, maps)
	var out []Reading
	for _, uses := range Makers(s, sp) {
		r, err := Read(s, t, edit.GroupsOf(sp), uses)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Read lays side by side what some weights say about the channels of a space.
func Read(s *edit.Subject, t *edit.Transform, by edit.Grouping, uses []coupling.Use) (Reading, error) {
	r := Reading{Groups: make([]Features, by.Groups)}
	for _, u := range uses {
		if err := appendFeatures(s, &r, t, by, u); err != nil {
			return Reading{}, err
		}
	}
	return r, nil
}

// isBiasOf reports whether a carried use is the bias of a producer: a further
// input of the same node, or a constant added to its output.
func isBiasOf(s *edit.Subject, c, producer coupling.Use) bool {
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
func appendFeatures(s *edit.Subject, r *Reading, t *edit.Transform, by edit.Grouping, u coupling.Use) error {
	w := s.Analysis.Weights[u.Tensor]
	data, err := s.Floats32(u.Tensor)
	if err != nil {
		return err
	}
	data, dims, own, rest, err := t.Beside(w, data, u.Axis, by)
	if err != nil {
		return err
	}
	places := edit.PlacesIn(w.Axes[u.Axis], by, own)
	selects := by.Selector(w.Axes, u.Axis)
	var positions [][]int
	if selects >= 0 {
		positions = edit.PositionsOf(w.Axes[selects], by, rest)
	}
	for g := range r.Groups {
		part, size := data, dims
		if selects >= 0 {
			part, size = edit.Pick(data, dims, selects, positions[g])
		}
		r.Groups[g].append(part, size, u.Axis, places[g])
	}
	return nil
}

// append adds the numbers of a tensor that stand at each channel's places along
// an axis.
func (f *Features) append(data []float32, dims []int, axis int, places [][]int) {
	outer, inner := 1, 1
	for _, d := range dims[:axis] {
		outer *= d
	}
	for _, d := range dims[axis+1:] {
		inner *= d
	}
	f.Rows = len(places)
	each := 0
	if len(places) > 0 {
		each = len(places[0])
	}
	p := Part{Cols: each * outer * inner}
	if outer == 1 && edit.InPlace(places, dims[axis]) {
		p.Data = data
	} else {
		p.Data = gather(data, places, outer, dims[axis], inner)
	}
	f.Cols += p.Cols
	f.Parts = append(f.Parts, p)
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

// Energies is the diagonal of the sensitivity: Σ w_p². It takes no copy of the weight beside the one that is read.
func Energies(s *edit.Subject, sp *coupling.Space, u coupling.Use, group int) ([]float64, error) {
	w := s.Analysis.Weights[u.Tensor]
	data, err := s.Floats32(u.Tensor)
	if err != nil {
		return nil, err
	}
	dims, by := w.Dims(), edit.GroupsOf(sp)
	if selects := by.Selector(w.Axes, u.Axis); selects >= 0 {
		data, dims = edit.Pick(data, dims, selects, edit.PositionsOf(w.Axes[selects], by, nil)[group])
	}
	inner, n := 1, dims[u.Axis]
	for _, d := range dims[u.Axis+1:] {
		inner *= d
	}
	sums := make([]float64, n)
	for i := 0; i < len(data); i += inner {
		p := i / inner % n
		for _, v := range data[i : i+inner] {
			sums[p] += float64(v) * float64(v)
		}
	}
	out := make([]float64, sp.Width)
	places := edit.PlacesOf(w.Axes[u.Axis], sp)[group]
	if len(places) == 0 || len(places[0]) == 0 || len(data) == 0 {
		return nil, fmt.Errorf("weight %q: channels of %q are not read", u.Tensor, sp.Name)
	}
	for c, at := range places {
		for _, p := range at {
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
