package onnxtest

import (
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Mutate changes a model as a program of bytes says, for fuzzing: bytes that are mutated blindly
// seldom remain a model, a mutated program always gives one that is broken, or merely unusual, in a
// few places. Any program is valid; the same one gives the same changes.
func Mutate(m *onnxpb.ModelProto, program []byte) {
	p := &mutator{m: m, program: program}
	for len(p.program) > 0 {
		p.step()
	}
}

type mutator struct {
	m       *onnxpb.ModelProto
	program []byte
}

// next takes a number below n from the program.
func (p *mutator) next(n int) int {
	if len(p.program) == 0 || n <= 0 {
		return 0
	}
	b := int(p.program[0])
	p.program = p.program[1:]
	return b % n
}

// sizes are lengths and numbers that are often mishandled.
var sizes = [...]int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 27, 64, 255, 1024, -1, -2, -8, 1 << 20, 1 << 31, 1 << 40, 1<<63 - 1, -1 << 63}

func (p *mutator) size() int64 { return sizes[p.next(len(sizes))] }

// ops are operators that a node may be turned into.
var ops = [...]string{
	"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "BatchNormalization", "InstanceNormalization", "GroupNormalization",
	"LayerNormalization", "Add", "Mul", "Div", "Relu", "PRelu", "Clip", "Softmax", "Concat", "Split", "Slice", "Gather", "Pad", "Reshape",
	"Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Tile", "Resize", "ReduceMean", "MaxPool", "GlobalAveragePool", "DepthToSpace",
	"SpaceToDepth", "Shape", "Constant", "ConstantOfShape", "Range", "Identity", "Dropout", "Cast", "Where", "Einsum", "If", "Loop",
	"Attention", "QuantizeLinear", "DequantizeLinear", "Unknown",
}

// attributes are names that rules ask for.
var attributes = [...]string{
	"axis", "axes", "group", "kernel_shape", "strides", "pads", "dilations", "perm", "transA", "transB", "split", "num_outputs",
	"hidden_size", "keepdims", "num_groups", "direction", "blocksize", "mode", "starts", "ends", "value_ints", "q_num_heads",
	"kv_num_heads", "num_heads", "equation", "auto_pad", "allowzero", "to", "alpha", "output_shape", "output_padding", "repeats",
}

var words = [...]string{"", "reverse", "bidirectional", "SAME_UPPER", "VALID", "CRD", "DCR", "linear", "ij,jk->ik", "bhid,bhjd->bhij", "..."}

func (p *mutator) step() {
	g := p.m.Graph
	if g == nil || len(g.Node) == 0 {
		p.program = nil
		return
	}
	change := p.next(len(changes))
	changes[change](p, g, g.Node[p.next(len(g.Node))])
}

// A change is one that a program can make, at a node or anywhere in the graph.
type change func(p *mutator, g *onnxpb.GraphProto, n *onnxpb.NodeProto)

var changes = [...]change{
	otherInput,
	func(p *mutator, _ *onnxpb.GraphProto, n *onnxpb.NodeProto) { n.Input = append(n.Input, p.tensor()) },
	func(_ *mutator, _ *onnxpb.GraphProto, n *onnxpb.NodeProto) {
		n.Input = n.Input[:max(len(n.Input)-1, 0)]
	},
	func(p *mutator, _ *onnxpb.GraphProto, n *onnxpb.NodeProto) { n.OpType = ptr(ops[p.next(len(ops))]) },
	func(p *mutator, _ *onnxpb.GraphProto, n *onnxpb.NodeProto) { p.attribute(n) },
	otherShape,
	otherDims,
	otherIntegers,
	otherInputShape,
	otherOutput,
	nodeMore,
	nodeLess,
	otherType,
	otherOpset,
	outputMore,
	intoBranch,
}

func otherInput(p *mutator, _ *onnxpb.GraphProto, n *onnxpb.NodeProto) {
	if len(n.Input) > 0 {
		n.Input[p.next(len(n.Input))] = p.tensor()
	}
}

// otherShape is that of a weight, with elements to fill it.
func otherShape(p *mutator, _ *onnxpb.GraphProto, _ *onnxpb.NodeProto) {
	if t := p.initializer(); t != nil && len(t.Dims) > 0 {
		p.reshape(t)
	}
}

// otherDims do not fit the elements.
func otherDims(p *mutator, _ *onnxpb.GraphProto, _ *onnxpb.NodeProto) {
	if t := p.initializer(); t != nil && len(t.Dims) > 0 {
		t.Dims[p.next(len(t.Dims))] = p.size()
	}
}

func otherIntegers(p *mutator, _ *onnxpb.GraphProto, _ *onnxpb.NodeProto) {
	t := p.initializer()
	if t == nil || t.GetDataType() != int32(onnxio.Int64) || len(t.RawData) < 8 {
		return
	}
	v := make([]int64, len(t.RawData)/8)
	for i := range v {
		v[i] = p.size()
	}
	t.RawData = onnxio.NewInts("", []int{len(v)}, v).Proto().RawData
}

func otherInputShape(p *mutator, g *onnxpb.GraphProto, _ *onnxpb.NodeProto) {
	if len(g.Input) == 0 {
		return
	}
	v := g.Input[p.next(len(g.Input))]
	if d := v.GetType().GetTensorType().GetShape().GetDim(); len(d) > 0 {
		d[p.next(len(d))].Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: p.size()}
	}
}

// otherOutput makes another tensor an output.
func otherOutput(p *mutator, g *onnxpb.GraphProto, _ *onnxpb.NodeProto) {
	if len(g.Output) > 0 {
		g.Output[p.next(len(g.Output))].Name = ptr(p.tensor())
	}
}

// nodeMore puts a node between another and its readers.
func nodeMore(p *mutator, g *onnxpb.GraphProto, n *onnxpb.NodeProto) {
	if len(n.Output) > 0 {
		in, out := n.Output[0], n.Output[0]+"'"
		n.Output[0] = out
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: ptr(ops[p.next(len(ops))]), Input: []string{out}, Output: []string{in}})
	}
}

func nodeLess(p *mutator, g *onnxpb.GraphProto, _ *onnxpb.NodeProto) {
	i := p.next(len(g.Node))
	g.Node = append(g.Node[:i:i], g.Node[i+1:]...)
}

func otherType(p *mutator, _ *onnxpb.GraphProto, _ *onnxpb.NodeProto) {
	if t := p.initializer(); t != nil {
		t.DataType = ptr(int32(p.next(25)))
	}
}

func otherOpset(p *mutator, _ *onnxpb.GraphProto, _ *onnxpb.NodeProto) {
	if len(p.m.OpsetImport) > 0 {
		p.m.OpsetImport[0].Version = ptr(int64(p.next(30)))
	}
}

// outputMore adds an output, or names one like another tensor.
func outputMore(p *mutator, _ *onnxpb.GraphProto, n *onnxpb.NodeProto) {
	if p.next(2) == 0 {
		n.Output = append(n.Output, n.GetOutput()[0]+"+")
	} else if len(n.Output) > 0 {
		n.Output[0] = p.tensor()
	}
}

// intoBranch puts the node into the branches of an If.
func intoBranch(p *mutator, _ *onnxpb.GraphProto, n *onnxpb.NodeProto) {
	body := &onnxpb.GraphProto{Name: ptr("body"), Node: []*onnxpb.NodeProto{proto.Clone(n).(*onnxpb.NodeProto)}}
	for _, o := range n.Output {
		body.Output = append(body.Output, Value(o))
	}
	n.OpType, n.Input = ptr("If"), []string{p.tensor()}
	n.Attribute = []*onnxpb.AttributeProto{Attr("then_branch", body), Attr("else_branch", proto.Clone(body).(*onnxpb.GraphProto))}
}

// tensor picks the name of any tensor, or none.
func (p *mutator) tensor() string {
	g := p.m.Graph
	names := []string{""}
	for _, v := range g.Input {
		names = append(names, v.GetName())
	}
	for _, t := range g.Initializer {
		names = append(names, t.GetName())
	}
	for _, n := range g.Node {
		names = append(names, n.Output...)
	}
	return names[p.next(len(names))]
}

func (p *mutator) initializer() *onnxpb.TensorProto {
	list := p.m.Graph.Initializer
	if len(list) == 0 {
		return nil
	}
	return list[p.next(len(list))]
}

// reshape gives a float weight another length along one axis.
func (p *mutator) reshape(t *onnxpb.TensorProto) {
	const most = 1 << 12 // elements
	t.Dims[p.next(len(t.Dims))] = int64(p.next(12))
	n := int64(1)
	for _, d := range t.Dims {
		if d < 0 || d > most || n*d > most {
			return
		}
		n *= d
	}
	if t.GetDataType() != int32(onnxio.Float) {
		return
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(i%7) - 3
	}
	t.RawData = onnxio.NewTensor("", onnxio.Float, []int{int(n)}, v).Proto().RawData
}

// attribute sets or removes one.
func (p *mutator) attribute(n *onnxpb.NodeProto) {
	name := attributes[p.next(len(attributes))]
	onnxio.RemoveAttr(n, name)
	switch p.next(5) {
	case 0:
		n.Attribute = append(n.Attribute, Attr(name, int(p.size())))
	case 1:
		list := make([]int64, p.next(6))
		for i := range list {
			list[i] = p.size()
		}
		n.Attribute = append(n.Attribute, Attr(name, list))
	case 2:
		n.Attribute = append(n.Attribute, Attr(name, words[p.next(len(words))]))
	case 3:
		n.Attribute = append(n.Attribute, Attr(name, float64(p.next(7))/2))
	}
}
