package tune

import (
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// foldPads lets convolutions pad on their own where a Pad lays zeros around what they alone read:
// that saves a copy of the activation, forwards and backwards. What a goal looks at stays.
func (t *tape) foldPads(goals []*goal) error {
	for _, n := range slices.Clone(t.graph.Nodes) {
		before, after, ok := t.zerosAround(n)
		if !ok || slices.ContainsFunc(goals, func(g *goal) bool { return g.Tensor == n.GetOutput()[0] }) {
			continue
		}
		readers := t.graph.Consumers(n.GetOutput()[0])
		if len(readers) != 1 || readers[0].Input != 0 || !addPads(readers[0].Node, before, after) {
			continue
		}
		readers[0].Node.Input[0] = n.GetInput()[0]
		t.proto.Node = slices.DeleteFunc(t.proto.Node, func(o *onnxpb.NodeProto) bool { return o == n })
	}
	return t.graph.Refresh()
}

// zerosAround are the zeros that a Pad lays before and behind each axis, of no axes but those after
// the first two.
func (t *tape) zerosAround(n *onnxpb.NodeProto) (before, after []int, ok bool) {
	if n.GetOpType() != "Pad" || n.GetDomain() != "" || onnxio.AttrString(n, "mode", "constant") != "constant" {
		return nil, nil, false
	}
	rank := len(t.dims[n.GetInput()[0]])
	pads, err := t.axes(&op{NodeProto: n, in: n.GetInput()}, "pads", 1)
	if err != nil || len(pads) != 2*rank || rank < 3 || slices.Min(pads) < 0 || !t.padsZero(n) {
		return nil, nil, false
	}
	before, after = pads[:rank], pads[rank:]
	return before[2:], after[2:], slices.Max(before[:2]) == 0 && slices.Max(after[:2]) == 0
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

// addPads adds to the pads of a Conv; it reports whether that is one that can be added to.
func addPads(n *onnxpb.NodeProto, before, after []int) bool {
	if n.GetOpType() != "Conv" || n.GetDomain() != "" || onnxio.AttrString(n, "auto_pad", "NOTSET") != "NOTSET" {
		return false
	}
	pads := slices.Concat(before, after)
	for i, p := range onnxio.AttrInts(n, "pads") {
		pads[i] += int(p)
	}
	n.Attribute = slices.DeleteFunc(n.Attribute, func(a *onnxpb.AttributeProto) bool { return a.GetName() == "pads" })
	n.Attribute = append(n.Attribute, onnxio.NewAttrInts("pads", pads...))
	return true
}
