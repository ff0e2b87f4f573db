package edit

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A reduction is a sum or mean over channels that was written as a product with a constant row, so
// that the shares of channels can change: with the mean of what global response normalisation
// (Woo et al. 2023) takes of every hidden channel, as many may stay as are wanted.
type reduction struct {
	given *onnxpb.NodeProto // as it was
	out   string            // what it makes, by which it is found again
	row   string            // the constant
	mean  bool
}

// reduced analyses a model in which sums and means over channels are products, where that lets
// spaces be narrowed that could only be permuted; own and an as given where it does not. Residual
// streams keep their normalisations. own is not changed.
func reduced(own *onnxio.Model, an *coupling.Analysis, o coupling.Options) (*onnxio.Model, *coupling.Analysis, []reduction, error) {
	g, err := own.Graph()
	if err != nil {
		return nil, nil, nil, err
	}
	if !slices.ContainsFunc(g.Nodes, func(n *onnxpb.NodeProto) bool { return weighable(g, an, n) != nil }) {
		return own, an, nil, nil
	}
	m := own.Clone()
	if g, err = m.Graph(); err != nil {
		return nil, nil, nil, err
	}
	var list []reduction
	fresh := g.Namer()
	for i, n := range g.Proto.GetNode() {
		w := weighable(g, an, n)
		if w == nil {
			continue
		}
		r := reduction{given: n, out: n.GetOutput()[0], row: fresh("monge_shares"), mean: n.GetOpType() == "ReduceMean"}
		t := onnxio.NewTensor(r.row, w.typ, w.dims, r.shares(w.width))
		if err := g.AddInitializer(t); err != nil {
			return nil, nil, nil, err
		}
		g.Proto.Node[i] = &onnxpb.NodeProto{Name: n.Name, OpType: proto.String(w.op), Input: []string{n.GetInput()[0], r.row}, Output: n.GetOutput()}
		list = append(list, r)
	}
	if err := g.Refresh(); err != nil {
		return nil, nil, nil, err
	}
	again, err := coupling.Analyze(m, o)
	if err != nil || narrowable(again) <= narrowable(an) {
		return own, an, nil, nil
	}
	// They cost what they did, next to nothing.
	again.Ops = slices.DeleteFunc(again.Ops, func(op coupling.LinearOp) bool {
		return slices.ContainsFunc(list, func(r reduction) bool { return op.Weight == r.row })
	})
	return m, again, list, nil
}

// AsGiven is a node as it was before means and sums over channels were written as products.
func (s *Subject) AsGiven(n *onnxpb.NodeProto) *onnxpb.NodeProto {
	for _, r := range s.reductions {
		if len(n.GetInput()) > 1 && n.GetInput()[1] == r.row && slices.Equal(n.GetOutput(), r.given.GetOutput()) {
			return r.given
		}
	}
	return n
}

// shares are those of so many channels.
func (r reduction) shares(width int) []float64 {
	share := 1.0
	if r.mean {
		share /= float64(width)
	}
	return slices.Repeat([]float64{share}, width)
}

func narrowable(an *coupling.Analysis) (n int) {
	for _, s := range an.Spaces {
		if s.Narrowable() {
			n++
		}
	}
	return n
}

// A weighing is how a reduction is written as a product.
type weighing struct {
	op    string
	typ   onnxpb.TensorProto_DataType
	dims  []int
	width int
}

// weighable says how a node that reduces channels of spaces that are no residual streams can be
// written; nil for other nodes.
func weighable(g *onnxio.Graph, an *coupling.Analysis, n *onnxpb.NodeProto) *weighing {
	if op := onnxio.StandardOp(n); op != "ReduceMean" && op != "ReduceSum" || len(n.GetInput()) == 0 {
		return nil
	}
	in := an.Activations[n.GetInput()[0]]
	axis := onlyAxis(g, n)
	if axis < 0 {
		axis += len(in)
	}
	if axis < 1 || axis >= len(in) {
		return nil
	}
	typ, ok := normalised(an, in[axis])
	w := &weighing{typ: typ, width: in[axis].Size()}
	kept := onnxio.AttrInt(n, "keepdims", 1) != 0
	switch {
	case !ok:
		return nil
	case axis == len(in)-1:
		w.op, w.dims = "MatMul", []int{w.width}
		if kept {
			w.dims = append(w.dims, 1)
		}
	case axis == 1 && kept && len(in) <= 5:
		w.op, w.dims = "Conv", append([]int{1, w.width}, slices.Repeat([]int{1}, len(in)-2)...)
	default:
		return nil
	}
	return w
}

// normalised reports whether an axis is made of channels of spaces that stay as wide as they are
// for a normalisation, and belong to no residual stream; typ is the type of their numbers.
func normalised(an *coupling.Analysis, axis *coupling.Axis) (typ onnxpb.TensorProto_DataType, ok bool) {
	for _, x := range axis.Atoms() {
		s := an.SpaceOf(x)
		if s == nil || !s.Normalised || s.Frozen || s.Residual || s.Heads || s.Groups > 1 {
			return 0, false
		}
		w := an.Weights[s.Uses[0].Tensor]
		if w == nil || w.Quant != nil || !onnxio.IsFloat(w.Type) {
			return 0, false
		}
		typ, ok = w.Type, true
	}
	return typ, ok
}

// onlyAxis is the axis that a reduction has, as it is given; the number of axes and more where it
// has none, several, or one that is not known.
func onlyAxis(g *onnxio.Graph, n *onnxpb.NodeProto) int {
	axes := onnxio.AttrInts(n, "axes")
	if in := n.GetInput(); len(in) > 1 && in[1] != "" {
		t, err := stored(g, in[1])
		if err != nil {
			return 1 << 30
		}
		axes = t.I64
	}
	if len(axes) != 1 {
		return 1 << 30
	}
	return int(axes[0])
}

// unweigh writes reductions as they were whose shares are those of all channels still. m is
// changed.
func unweigh(g *onnxio.Graph, list []reduction) error {
	gone, kept := map[string]bool{}, []string(nil)
	for _, r := range list {
		if in := r.given.GetInput(); len(in) > 1 && len(g.Consumers(in[1])) == 0 && !g.IsOutput(in[1]) {
			gone[in[1]] = true // the list of axes, unless it is read again
		}
		i := slices.IndexFunc(g.Proto.GetNode(), func(n *onnxpb.NodeProto) bool {
			return len(n.GetInput()) > 1 && n.GetInput()[1] == r.row && slices.Equal(n.GetOutput(), r.given.GetOutput())
		})
		if i < 0 {
			continue
		}
		t, err := stored(g, r.row)
		if err != nil {
			return err
		}
		v := t.Float64()
		if want := onnxio.NewTensor("", t.Type, []int{len(v)}, r.shares(len(v))); !slices.Equal(v, want.Float64()) {
			continue
		}
		n := proto.Clone(r.given).(*onnxpb.NodeProto)
		n.Input[0] = g.Proto.Node[i].GetInput()[0]
		if len(n.Input) > 1 && n.Input[1] != "" && g.Constant(n.Input[1]) == nil {
			continue // the list of axes is gone
		}
		g.Proto.Node[i] = n
		gone[r.row] = true
		kept = append(kept, n.Input[1:]...)
	}
	for _, name := range kept {
		delete(gone, name)
	}
	dropConstants(g, gone)
	g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool {
		return n.GetOpType() == "Constant" && gone[n.GetOutput()[0]]
	})
	return g.Refresh()
}
