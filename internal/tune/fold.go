package tune

import (
	"slices"

	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// foldPads lets convolutions pad on their own (see [edit.FoldPad]): that saves a copy of the
// activation, forwards and backwards. What a goal looks at stays.
func (t *tape) foldPads(goals []*goal) error {
	for _, n := range slices.Clone(t.graph.Nodes) {
		if n.GetOpType() != "Pad" || slices.ContainsFunc(goals, func(g *goal) bool { return g.Tensor == n.GetOutput()[0] }) {
			continue
		}
		if pads, err := t.axes(&op{NodeProto: n, in: n.GetInput()}, "pads", 1); err == nil && t.padsZero(n) {
			edit.FoldPad(t.graph, n, pads)
		}
	}
	return t.graph.Refresh()
}

// padsZero reports whether a Pad's value is zero.
func (t *tape) padsZero(n *onnxpb.NodeProto) bool {
	in := n.GetInput()
	if len(in) < 3 || in[2] == "" {
		return onnxio.AttrFloat(n, "value", 0) == 0
	}
	v, err := t.value(in[2])
	return err == nil && v.Len() == 1 && v.Float64()[0] == 0
}
