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

// Taps returns the activations in which the channels of a space are seen
// before the nonlinearity: the outputs of its producers, moved on through a
// bias, a normalisation and the Add of a residual stream.
func Taps(s *edit.Subject, sp *coupling.Space) []string {
	var out []string
	for _, u := range sp.Producers() {
		t := tapBehind(s, sp, u.Node)
		if t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

func tapBehind(s *edit.Subject, sp *coupling.Space, n *onnxpb.NodeProto) string {
	// Of a recurrent layer the last states may be all that is read.
	at := slices.IndexFunc(n.GetOutput(), func(out string) bool {
		_, _, ok := channelAxis(s, out, sp)
		return ok && (s.Graph.IsOutput(out) || len(s.Graph.Consumers(out)) > 0)
	})
	if at < 0 {
		return ""
	}
	t := n.GetOutput()[at]
	for {
		if s.Graph.IsOutput(t) {
			return t
		}
		readers := s.Graph.Consumers(t)
		if len(readers) != 1 || readers[0].Input < 0 {
			return t
		}
		r := readers[0].Node
		switch r.GetOpType() {
		case "BatchNormalization", "Add", "Identity":
		default:
			return t
		}
		next := r.GetOutput()[0]
		if _, _, ok := channelAxis(s, next, sp); !ok {
			return t
		}
		t = next
		if r.GetOpType() == "Add" && liveInputs(s, r) > 1 {
			return t // the stream's pre-activation
		}
	}
}

func liveInputs(s *edit.Subject, n *onnxpb.NodeProto) int {
	live := 0
	for _, in := range n.GetInput() {
		if _, constant := s.Analysis.Roots[in]; !constant && in != "" {
			live++
		}
	}
	return live
}

// channelAxis finds the axis of an activation along which a space runs, and
// the positions of every group's channels there.
func channelAxis(s *edit.Subject, tensor string, sp *coupling.Space) (axis int, places [][][]int, ok bool) {
	for k, a := range s.Analysis.Activations[tensor] {
		if !slices.ContainsFunc(sp.Pieces, func(p *coupling.Axis) bool { return a.Holds(p) }) {
			continue
		}
		if a.Size() < 0 {
			return 0, nil, false
		}
		places = edit.PlacesOf(a, sp)
		for _, g := range places {
			for _, c := range g {
				if len(c) == 0 {
					return 0, nil, false // a range of the space only
				}
			}
		}
		return k, places, true
	}
	return 0, nil, false
}

// A View is one tapped activation of a space.
type View struct {
	Space  *coupling.Space
	Tensor string
	axis   int
	places [][][]int
	// selects is another axis, whose positions belong to groups; -1 if there is none.
	selects   int
	positions [][]int
}

// ViewIn is how an activation shows a space; ok is false where it does not.
func ViewIn(s *edit.Subject, tensor string, sp *coupling.Space) (v View, ok bool) {
	axis, places, ok := channelAxis(s, tensor, sp)
	if !ok {
		return View{}, false
	}
	by := edit.GroupsOf(sp)
	v = View{sp, tensor, axis, places, by.Selector(s.Analysis.Activations[tensor], axis), nil}
	if v.selects >= 0 {
		v.positions = edit.PositionsOf(s.Analysis.Activations[tensor][v.selects], by, nil)
	}
	return v, true
}

// Vectors lays the channels of a group out as rows (channels × positions).
func (v *View) Vectors(t *engine.Value, group int) ([]float64, int, error) {
	if v.axis >= len(t.Dims) {
		return nil, 0, fmt.Errorf("activation %q has %d axes", v.Tensor, len(t.Dims))
	}
	f32, f64, dims := t.F32, t.F64, t.Dims
	if v.selects >= 0 {
		f32, _ = edit.Pick(f32, t.Dims, v.selects, v.positions[group])
		f64, dims = edit.Pick(f64, t.Dims, v.selects, v.positions[group])
	}
	outer, inner, n := 1, 1, dims[v.axis]
	for _, d := range dims[:v.axis] {
		outer *= d
	}
	for _, d := range dims[v.axis+1:] {
		inner *= d
	}
	rows := v.places[group]
	each := len(rows[0])
	d := each * outer * inner
	out := make([]float64, len(rows)*d)
	for c, places := range rows {
		at := c * d
		for _, p := range places {
			if p >= n {
				return nil, 0, fmt.Errorf("activation %q has %d channels, expected more than %d", v.Tensor, n, p)
			}
			for o := range outer {
				from := (o*n + p) * inner
				if f32 != nil {
					for i, x := range f32[from : from+inner] {
						out[at+i] = float64(x)
					}
				} else {
					copy(out[at:at+inner], f64[from:from+inner])
				}
				at += inner
			}
		}
	}
	return out, d, nil
}

// leastPositions is how many positions make a matrix of its own worth while.
const leastPositions = 32

// Matrices returns the channels of a group as rows of matrices over the activation itself, one matrix for
// all samples or one for each; nil where they have to be laid out first.
func (v *View) Matrices(t *engine.Value, group int) []dense.Matrix[float32] {
	if t.F32 == nil || v.axis >= len(t.Dims) || !edit.InPlace(v.places[group], t.Dims[v.axis]) {
		return nil
	}
	outer, inner, n := 1, 1, t.Dims[v.axis]
	for _, d := range t.Dims[:v.axis] {
		outer *= d
	}
	for _, d := range t.Dims[v.axis+1:] {
		inner *= d
	}
	switch {
	case inner == 1:
		return []dense.Matrix[float32]{dense.New(outer, n, t.F32).T()}
	case inner < leastPositions:
		return nil
	}
	out := make([]dense.Matrix[float32], outer)
	for o := range out {
		out[o] = dense.New(n, inner, t.F32[o*n*inner:])
	}
	return out
}

// LeastSamples is the number of channels up to which Gram matrices are so small
// that nothing is gained by doing without.
const LeastSamples = 1024
