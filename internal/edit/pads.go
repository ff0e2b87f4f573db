package edit

import (
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// FoldPad lets a convolution pad on its own where a Pad lays zeros around what it alone reads: pads
// are the Pad's, before each axis and behind each, of no axes but those after the first two. It
// reports whether that is so; then the Pad is gone, and the graph has to be refreshed.
func FoldPad(g *onnxio.Graph, n *onnxpb.NodeProto, pads []int) bool {
	rank := len(pads) / 2
	if onnxio.StandardOp(n) != "Pad" || onnxio.AttrString(n, "mode", "constant") != "constant" || len(n.GetInput()) > 3 ||
		rank < 3 || len(pads) != 2*rank || slices.Min(pads) < 0 || slices.Max(pads[:2]) > 0 || slices.Max(pads[rank:rank+2]) > 0 {
		return false
	}
	readers := g.Consumers(n.GetOutput()[0])
	if len(readers) != 1 || readers[0].Input != 0 || g.IsOutput(n.GetOutput()[0]) {
		return false
	}
	conv := readers[0].Node
	if onnxio.StandardOp(conv) != "Conv" || onnxio.AttrString(conv, "auto_pad", "NOTSET") != "NOTSET" {
		return false
	}
	all := slices.Concat(pads[2:rank], pads[rank+2:])
	for i, p := range onnxio.AttrInts(conv, "pads") {
		all[i] += int(p)
	}
	conv.Attribute = slices.DeleteFunc(conv.Attribute, func(a *onnxpb.AttributeProto) bool { return a.GetName() == "pads" })
	conv.Attribute = append(conv.Attribute, onnxio.NewAttrInts("pads", all...))
	conv.Input[0] = n.GetInput()[0]
	g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(o *onnxpb.NodeProto) bool { return o == n })
	return true
}
