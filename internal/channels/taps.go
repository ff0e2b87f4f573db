package channels

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Tap is an activation in which the channels of a space are seen.
type Tap struct {
	Space  *coupling.Space
	Tensor string
	layout edit.Layout
}

// TapOf is the tap of a space in an activation; ok is false where the activation does not show all
// channels.
func TapOf(s *edit.Subject, tensor string, sp *coupling.Space) (t Tap, ok bool) {
	axes := s.Analysis.Activations[tensor]
	axis := slices.IndexFunc(axes, func(a *coupling.Axis) bool { return slices.ContainsFunc(sp.Pieces, a.Holds) })
	if axis < 0 || axes[axis].Size() < 0 {
		return Tap{}, false
	}
	t = Tap{sp, tensor, edit.GroupsOf(sp).In(axes, axis)}
	for _, g := range t.layout.Channels {
		if slices.ContainsFunc(g, func(positions []int) bool { return len(positions) == 0 }) {
			return Tap{}, false
		}
	}
	return t, true
}

// Size is the length of the axis that the channels stand on, negative if it is not known.
func (t *Tap) Size(s *edit.Subject) int {
	return s.Analysis.Activations[t.Tensor][t.layout.Axis].Size()
}

// Put adds a number for each channel of a group to their positions along the axis.
func (t *Tap) Put(group int, x, along []float64) {
	for c, positions := range t.layout.Channels[group] {
		for _, p := range positions {
			along[p] += x[c]
		}
	}
}

// Taps returns the activations in which the channels of a space are seen before the nonlinearity:
// the outputs of its producers, moved on through a bias, a normalisation and the Add of a residual
// stream.
func Taps(s *edit.Subject, sp *coupling.Space) []Tap {
	var out []Tap
	for _, u := range sp.Producers() {
		t, ok := tapBehind(s, sp, u.Node)
		if ok && !slices.ContainsFunc(out, func(o Tap) bool { return o.Tensor == t.Tensor }) {
			out = append(out, t)
		}
	}
	return out
}

// tapBehind is the tap behind a producer; ok is false where there is none.
func tapBehind(s *edit.Subject, sp *coupling.Space, n *onnxpb.NodeProto) (t Tap, ok bool) {
	for _, out := range n.GetOutput() {
		// Of a recurrent layer the last states may be all that is read.
		if s.Graph.IsOutput(out) || len(s.Graph.Consumers(out)) > 0 {
			if t, ok = TapOf(s, out, sp); ok {
				break
			}
		}
	}
	for next := ok; next; {
		var behind Tap
		if behind, next = t.next(s); next {
			t = behind
			add := s.Graph.Producer(t.Tensor)
			next = add.GetOpType() != "Add" || len(s.Live(add)) < 2 // else the stream's pre-activation
		}
	}
	return t, ok
}

// next is the tap behind the bias, normalisation or Add that alone reads t.
func (t *Tap) next(s *edit.Subject) (Tap, bool) {
	r, ok := s.Graph.OnlyReader(t.Tensor)
	if !ok || !slices.Contains([]string{"BatchNormalization", "Add", "Identity"}, r.Node.GetOpType()) {
		return Tap{}, false
	}
	return TapOf(s, r.Node.GetOutput()[0], t.Space)
}

// Vectors lays the values of a group's channels out as rows of a matrix.
func (t *Tap) Vectors(v *engine.Value, group int) (dense.Matrix[float64], error) {
	switch {
	case t.layout.Axis >= len(v.Dims):
		return dense.Matrix[float64]{}, fmt.Errorf("activation %q has %d axes", t.Tensor, len(v.Dims))
	case v.F32 != nil:
		return vectors(t, v.F32, v.Dims, group)
	}
	return vectors(t, v.F64, v.Dims, group)
}

func vectors[T dense.Float](t *Tap, data []T, dims []int, group int) (dense.Matrix[float64], error) {
	x := edit.Group(&t.layout, data, dims, group)
	channels := t.layout.Channels[group]
	out := dense.New[float64](len(channels), len(channels[0])*x.Outer*x.Inner, nil)
	for c, positions := range channels {
		to := out.Data[c*out.Row:]
		for _, p := range positions {
			if p >= x.N {
				return out, fmt.Errorf("activation %q has %d channels, expected more than %d", t.Tensor, x.N, p)
			}
			for o := range x.Outer {
				for i, f := range x.Row(o, p) {
					to[i] = float64(f)
				}
				to = to[x.Inner:]
			}
		}
	}
	return out, nil
}

// leastPositions is how many positions make a matrix of its own worth while.
const leastPositions = 32

// Matrices returns the channels of a group as rows of matrices over the activation itself, one
// matrix for all samples or one for each; nil where they have to be laid out first.
func (t *Tap) Matrices(v *engine.Value, group int) []dense.Matrix[float32] {
	if v.F32 == nil || t.layout.Axis >= len(v.Dims) || !t.layout.OneByOne(group, v.Dims[t.layout.Axis]) {
		return nil
	}
	x := dense.AlongAxis(v.F32, v.Dims, t.layout.Axis)
	if x.Inner != 1 && x.Inner < leastPositions {
		return nil
	}
	return x.Matrices()
}

// LeastSamples is the number of channels up to which Gram matrices are so small that nothing is
// gained by doing without.
const LeastSamples = 1024
