package edit

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// FoldScales returns a copy of the model that the subject was made of in which the linear operators
// that read some streams take in what normalisations multiply their channels by and add to them,
// W' = W·diag(γ) and b' = b + W·β, so that a rotation may act on the streams. The copy computes the
// same function up to rounding. n counts the normalisations; those of which a reader cannot take
// scale and shift in stay as they are.
func FoldScales(s *Subject, streams []*coupling.Space) (out *onnxio.Model, n int, err error) {
	defer guard.Recover(&err)
	f := &scaleFold{s: s}
	out = s.Given().Clone()
	if f.g, err = out.Graph(); err != nil {
		return nil, 0, err
	}
	for _, sp := range streams {
		if sp.Stream == nil || sp.Stream.Bent != "" {
			continue
		}
		for _, alike := range alikeScales(sp.Stream.Scales) {
			done, err := f.fold(alike)
			if err != nil {
				return nil, 0, err
			}
			if done {
				n += len(alike)
			}
		}
	}
	return out, n, f.g.Refresh()
}

// alikeScales lists the scales that have to be folded, those of one weight together.
func alikeScales(list []*coupling.NormScale) (out [][]*coupling.NormScale) {
	for _, n := range list {
		i := slices.IndexFunc(out, func(a []*coupling.NormScale) bool { return a[0].Weight == n.Weight })
		switch {
		case i >= 0:
			out[i] = append(out[i], n)
		case n.Folds():
			out = append(out, []*coupling.NormScale{n})
		}
	}
	return out
}

// A scaleFold folds scales into readers.
type scaleFold struct {
	s *Subject
	g *onnxio.Graph // of the copy
}

// fold folds scales of one weight; ok is false where that cannot be done.
func (f *scaleFold) fold(alike []*coupling.NormScale) (ok bool, err error) {
	scale, shift, err := f.numbers(alike[0])
	if err != nil || scale == nil {
		return false, err
	}
	readers := map[string][]*onnxio.Linear{} // by weight
	for _, n := range alike {
		if !slices.EqualFunc(n.Shifts, alike[0].Shifts, f.same) || len(n.Readers) == 0 {
			return false, nil
		}
		for _, u := range n.Readers {
			l := f.reader(u, len(scale), shift != nil)
			if l == nil {
				return false, nil
			}
			if w := l.Weight.Name; !slices.ContainsFunc(readers[w], func(o *onnxio.Linear) bool { return o.Node == l.Node }) {
				readers[w] = append(readers[w], l)
			}
		}
	}
	for w, list := range readers {
		if len(list) != len(f.g.Consumers(w)) || f.g.IsOutput(w) {
			return false, nil // others read the weight as it is
		}
	}
	for _, w := range slices.Sorted(maps.Keys(readers)) {
		if err := f.take(readers[w], scale, shift); err != nil {
			return false, err
		}
	}
	for _, n := range alike {
		if err := f.clear(n); err != nil {
			return false, err
		}
	}
	return true, f.g.Refresh()
}

// at is the tensor at a place of the subject's model, as the copy has it.
func (f *scaleFold) at(p coupling.Place) (n *onnxpb.NodeProto, tensor string) {
	if n = f.g.Producer(p.Node.GetOutput()[0]); n == nil || p.Input >= len(n.GetInput()) {
		return nil, ""
	}
	return n, n.GetInput()[p.Input]
}

func (f *scaleFold) same(a, b coupling.Place) bool {
	_, x := f.at(a)
	_, y := f.at(b)
	return x == y
}

// numbers are the scale and the sum of the shifts, which is nil where there are none; scale is nil
// where they cannot be read.
func (f *scaleFold) numbers(n *coupling.NormScale) (scale, shift []float64, err error) {
	_, name := f.at(n.Scale)
	if _, scale, err = values(f.g, name); err != nil {
		return nil, nil, err
	}
	for _, p := range n.Shifts {
		_, name := f.at(p)
		_, v, err := values(f.g, name)
		if err != nil || len(v) != len(scale) {
			return nil, nil, err
		}
		if shift == nil {
			shift = make([]float64, len(scale))
		}
		for i, x := range v {
			shift[i] += x
		}
	}
	return scale, shift, nil
}

// reader is the linear operator of a use, if it can take in a scale of so many channels, and a
// shift; nil otherwise.
func (f *scaleFold) reader(u coupling.Use, channels int, shifts bool) *onnxio.Linear {
	l, ok := f.g.Linear(f.g.Producer(u.Node.GetOutput()[0]))
	if !ok || !l.Weight.Direct() || l.In.Weight < 0 || l.Groups != 1 || l.Out.Axis == -2 {
		return nil
	}
	if l.Kind != onnxio.Product && l.Kind != onnxio.Convolution {
		return nil
	}
	w := f.s.Analysis.Weights[u.Tensor]
	if w == nil || w.Quant != nil || !onnxio.IsFloat(w.Type) || !w.Axes[u.Axis].IsAtom() || w.Axes[u.Axis].Size() != channels {
		return nil
	}
	if !shifts {
		return l
	}
	n := w.Axes[l.Out.Weight].Size()
	pads := onnxio.AttrInts(l.Node, "pads")
	auto := onnxio.AttrString(l.Node, "auto_pad", "NOTSET")
	if slices.ContainsFunc(pads, func(p int64) bool { return p != 0 }) || auto != "NOTSET" && auto != "VALID" {
		return nil // a constant is none beside zeros
	}
	if _, ok, err := biasOf(f.g, l, n); err != nil || !ok || l.Beta == 0 {
		return nil
	}
	return l
}

// take writes a scale and a shift into operators that share a weight.
func (f *scaleFold) take(readers []*onnxio.Linear, scale, shift []float64) error {
	l := readers[0]
	weight, w, err := values(f.g, l.Weight.Name)
	if err != nil {
		return err
	}
	in, out := dense.AlongAxis(w, weight.Dims, l.In.Weight), dense.AlongAxis(w, weight.Dims, l.Out.Weight)
	shifted := make([]float64, weight.Dims[l.Out.Weight])
	for i := range w {
		c := in.Position(i)
		if shift != nil {
			shifted[out.Position(i)] += w[i] * shift[c]
		}
		w[i] *= scale[c]
	}
	if err := f.g.SetConstant(onnxio.NewTensor(weight.Name, weight.Type, weight.Dims, w)); err != nil || shift == nil {
		return err
	}
	for _, l := range readers {
		bias, _, err := biasOf(f.g, l, len(shifted))
		if err != nil {
			return err
		}
		for i := range bias {
			bias[i] += l.Alpha / l.Beta * shifted[i]
		}
		if err := f.setBias(l, weight, bias); err != nil {
			return err
		}
	}
	return nil
}

// setBias gives an operator a bias: in place of its own, or, behind a MatMul that had none, by an
// Add.
func (f *scaleFold) setBias(l *onnxio.Linear, weight *onnxio.Tensor, bias []float64) error {
	if l.Bias.Node != nil && l.Bias.Direct() {
		old, _, err := values(f.g, l.Bias.Name)
		if err != nil {
			return err
		}
		if _, only := f.g.OnlyReader(l.Bias.Name); only && old.Len() == len(bias) {
			return f.g.SetConstant(onnxio.NewTensor(l.Bias.Name, old.Type, old.Dims, bias))
		}
	}
	name := f.g.Fresh(weight.Name + "_bias")
	if err := f.g.AddInitializer(onnxio.NewTensor(name, weight.Type, []int{len(bias)}, bias)); err != nil {
		return err
	}
	if l.Bias.Node != nil {
		onnxio.SetInput(l.Bias.Node, l.Bias.Input, name)
		return f.g.Refresh()
	}
	made := l.Node.Output[0]
	inner := f.g.Fresh(made + "_unbiased")
	l.Node.Output[0] = inner
	add := &onnxpb.NodeProto{OpType: proto.String("Add"), Input: []string{inner, name}, Output: []string{made}}
	if l.Node.GetName() != "" {
		add.Name = proto.String(l.Node.GetName() + "_bias")
	}
	at := slices.Index(f.g.Proto.Node, l.Node)
	f.g.Proto.Node = slices.Insert(f.g.Proto.Node, at+1, add)
	return f.g.Refresh()
}

// clear leaves ones and zeros where scale and shifts were.
func (f *scaleFold) clear(n *coupling.NormScale) error {
	set := func(p coupling.Place, x float64) error {
		node, old := f.at(p)
		t, v, err := values(f.g, old)
		if err != nil {
			return err
		}
		for i := range v {
			v[i] = x
		}
		name := f.g.Fresh(old + "_folded")
		onnxio.SetInput(node, p.Input, name)
		if err := f.g.AddInitializer(onnxio.NewTensor(name, t.Type, t.Dims, v)); err != nil {
			return err
		}
		if err := f.g.Refresh(); err != nil {
			return err
		}
		if len(f.g.Consumers(old)) == 0 && !f.g.IsOutput(old) {
			dropConstants(f.g, map[string]bool{old: true})
			f.g.Proto.Node = slices.DeleteFunc(f.g.Proto.Node, func(n *onnxpb.NodeProto) bool {
				return n.GetOpType() == "Constant" && n.GetOutput()[0] == old
			})
		}
		return f.g.Refresh()
	}
	if err := set(n.Scale, 1); err != nil {
		return err
	}
	for _, p := range n.Shifts {
		if err := set(p, 0); err != nil {
			return err
		}
	}
	return nil
}
