package refit

import (
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// scaleOf makes a layer of a node that scales and shifts each channel of the last axis by
// constants: a LayerNormalization or RMSNormalization, or the Mul and Add at the end of one that is written out. Fewer
// channels have other means and deviations, so what a normalisation divides by changes from sample
// to sample in a way that no constant undoes; scale and shift are fitted to what it did to the
// channels that are left.
func scaleOf(g *onnxio.Graph, an *coupling.Analysis, n *onnxpb.NodeProto) *layer {
	in := n.GetInput()
	if n.GetDomain() != "" || len(in) < 2 || len(n.GetOutput()) == 0 {
		return nil
	}
	l := &onnxio.Linear{Node: n, Groups: 1, Alpha: 1, Beta: 1}
	l.In.Tensor, l.Out.Tensor = in[0], n.GetOutput()[0]
	l.Weight = onnxio.Param{Name: in[1], Node: n, Input: 1}
	switch n.GetOpType() {
	case "LayerNormalization":
		l.Bias = onnxio.Param{Node: n, Input: 2}
		l.Bias.Name = l.Bias.Tensor()
	case "RMSNormalization": // has no bias
	case "Mul":
		if isConstant(an, in[0]) {
			l.In.Tensor, l.Weight = in[1], onnxio.Param{Name: in[0], Node: n}
		}
		add, ok := g.AddBehind(l.Out.Tensor)
		if !ok {
			return nil
		}
		l.Bias, l.Out.Tensor = add, add.Node.GetOutput()[0]
		l.Bias.Name = add.Tensor()
	default:
		return nil
	}
	axes := an.Activations[l.Out.Tensor]
	axis := len(axes) - 1
	if axis < 1 || isConstant(an, l.In.Tensor) {
		return nil
	}
	if a := onnxio.AttrInt(n, "axis", -1); a != -1 && int(a) != axis {
		return nil
	}
	for _, name := range []string{l.Weight.Name, l.Bias.Name} {
		if name == "" {
			continue
		}
		w := an.Weights[name]
		if w == nil || !onnxio.IsFloat(w.Type) || len(w.Axes) != 1 || w.Len() != axes[axis].Size() || !own(g, name) {
			return nil
		}
	}
	return &layer{Linear: l, axis: axis}
}
