package onnxio

import "github.com/monge-ml/monge/onnxio/onnxpb"

// Linear describes a linear operator: the output is Alpha·weight·input + Beta·bias.
type Linear struct {
	Node *onnxpb.NodeProto
	Kind LinearKind
	// Weight holds the weight; Recurrent, of an RNN, GRU or LSTM, that of the hidden state. A
	// product of two activations has the second in its place.
	Weight, Recurrent Param
	// Bias is at Node itself or, behind a MatMul, at the Add of a constant with one number for each
	// output. Its Node is nil where the operator takes no bias and none is added.
	Bias Param
	// In is what the operator reads, and Out what it makes, after the bias.
	In, Out Side
	// Groups is the number of groups of a convolution, 1 for other operators.
	Groups int
	// Window is that of a convolution or its transpose; nil for other operators, and where the
	// weight is read through a Reshape, Transpose or the like.
	Window *Window
	// Alpha and Beta are those of a Gemm, 1 for other operators.
	Alpha, Beta float64
}

// A Side is one of the two rows of channels that a linear operator connects.
type Side struct {
	// Tensor is the activation, and Axis the one on which the channels stand, negative where it is
	// counted from the last.
	Tensor string
	Axis   int
	// Weight is the axis of the weight on which the channels stand (of one group, for the inputs of
	// a Conv and the outputs of a ConvTranspose; those of all gates, for the outputs of an RNN), -1
	// where it has no such axis or is read through a Reshape, Transpose or the like.
	Weight int
}

// A Param is an input of a node that takes a constant.
type Param struct {
	// Name is that of the constant, which may stand behind a Reshape, Transpose and the like; ""
	// where there is none.
	Name  string
	Node  *onnxpb.NodeProto
	Input int
	moved bool // the constant's axes are not those that the node reads
}

// Tensor returns what the node reads at the input: Name itself, or what is made of the constant or
// computed; "" where it reads nothing.
func (p Param) Tensor() string {
	if p.Input >= len(p.Node.GetInput()) {
		return ""
	}
	return p.Node.GetInput()[p.Input]
}

// Direct reports whether the node reads the constant as it is stored.
func (p Param) Direct() bool { return p.Name != "" && p.Tensor() == p.Name }

// LinearKind says how a linear operator uses its weight.
type LinearKind uint8

const (
	// NotLinear is the kind of all other operators.
	NotLinear LinearKind = iota
	// Product multiplies the channels at every position by one matrix.
	Product
	// Convolution moves the weight over its input as a window.
	Convolution
	// TransposedConvolution is the transpose of that.
	TransposedConvolution
	// DeformableConvolution is a convolution whose taps are moved and weighed by further inputs.
	DeformableConvolution
	// Recurrent uses its weights once for each step of a sequence.
	Recurrent
)

// A linearOp says where a linear operator has its weight and bias, and what stands on which axis.
type linearOp struct {
	kind                    LinearKind
	weight, recurrent, bias int // inputs; 0: it has none
	out, in                 int // axes of the weight, counted from the last in a Product
	axis                    int // of both activations
}

// linearOps lists the linear operators.
var linearOps = map[string]linearOp{
	"Conv":          {kind: Convolution, weight: 1, bias: 2, out: 0, in: 1, axis: 1},
	"DeformConv":    {kind: DeformableConvolution, weight: 1, bias: 3, out: 0, in: 1, axis: 1},
	"ConvTranspose": {kind: TransposedConvolution, weight: 1, bias: 2, out: 1, in: 0, axis: 1},
	"Gemm":          {kind: Product, weight: 1, bias: 2, out: -1, in: -2, axis: -1},
	"MatMul":        {kind: Product, weight: 1, out: -1, in: -2, axis: -1},
	"RNN":           {kind: Recurrent, weight: 1, recurrent: 2, bias: 3, out: 1, in: 2, axis: -1},
	"GRU":           {kind: Recurrent, weight: 1, recurrent: 2, bias: 3, out: 1, in: 2, axis: -1},
	"LSTM":          {kind: Recurrent, weight: 1, recurrent: 2, bias: 3, out: 1, in: 2, axis: -1},
}

// LinearKindOf returns the kind of a node.
func LinearKindOf(n *onnxpb.NodeProto) LinearKind { return linearOps[StandardOp(n)].kind }

// Linears returns the graph's linear operators with constant weights, in topological order.
func (g *Graph) Linears() []*Linear {
	var out []*Linear
	for _, n := range g.Nodes {
		if l, ok := g.Linear(n); ok && l.Weight.Name != "" {
			out = append(out, l)
		}
	}
	return out
}

// Linear describes a node of the graph; ok is false if it is no linear operator. The weight has no
// Name if it is not constant.
func (g *Graph) Linear(n *onnxpb.NodeProto) (l *Linear, ok bool) {
	op := linearOps[StandardOp(n)]
	if op.kind == NotLinear || len(n.Input) < 2 || len(n.Output) == 0 {
		return nil, false
	}
	l = &Linear{
		Node: n, Kind: op.kind, Weight: g.param(n, op.weight),
		In:     Side{n.Input[0], op.axis, op.in},
		Out:    Side{n.Output[0], op.axis, op.out},
		Groups: int(AttrInt(n, "group", 1)), Alpha: 1, Beta: 1,
	}
	if op.recurrent > 0 {
		l.Recurrent = g.param(n, op.recurrent)
	}
	if op.bias > 0 {
		l.Bias = g.param(n, op.bias)
	}
	if op.kind == Product {
		g.product(l)
	}
	l.In.Weight = g.axisOf(l.Weight, l.In.Weight)
	l.Out.Weight = g.axisOf(l.Weight, l.Out.Weight)
	if l.Kind == Convolution || l.Kind == TransposedConvolution {
		l.Window = g.windowOf(l)
	}
	return l, true
}

// product completes the description of a product of two matrices, either of which may be the weight
// and either of which may be transposed: the other one holds the samples.
func (g *Graph) product(l *Linear) {
	n := l.Node
	l.Alpha, l.Beta = float64(AttrFloat(n, "alpha", 1)), float64(AttrFloat(n, "beta", 1))
	inner := [2]int{-1, -2} // the axes that are summed over
	for i, attr := range []string{"transA", "transB"} {
		if AttrInt(n, attr, 0) != 0 {
			inner[i] = -3 - inner[i]
		}
	}
	w := l.Weight.Input
	if left := g.param(n, 0); l.Weight.Name == "" && left.Name != "" { // W·X, as some exporters write it
		w = 0
		l.Weight = left
		l.Out.Axis = -2
	}
	l.In = Side{n.Input[1-w], inner[1-w], inner[w]}
	l.Out.Weight = -3 - inner[w]
	if l.Bias.Node != nil {
		return
	}
	bias, ok := g.AddBehind(l.Out.Tensor)
	if ok && bias.Name != "" && alongAxis(g.Constant(bias.Name).GetDims(), l.Out.Axis) {
		l.Bias, l.Out.Tensor = bias, bias.Node.Output[0]
	}
}

// AddBehind describes what is added to a tensor by the Add that alone reads it, constant or not; ok
// is false if there is none.
func (g *Graph) AddBehind(tensor string) (other Param, ok bool) {
	c, ok := g.OnlyReader(tensor)
	if !ok || StandardOp(c.Node) != "Add" || len(c.Node.Input) != 2 || len(c.Node.Output) != 1 {
		return Param{}, false
	}
	return g.param(c.Node, 1-c.Input), true
}

// alongAxis reports whether all dims but one, which is counted from the last, are 1.
func alongAxis(dims []int64, axis int) bool {
	for i, d := range dims {
		if i != len(dims)+axis && d != 1 {
			return false
		}
	}
	return true
}

func (g *Graph) windowOf(l *Linear) *Window {
	dims := g.Constant(l.Weight.Name).GetDims()
	if l.Weight.moved || len(dims) < 2 {
		return nil
	}
	kernel := make([]int, len(dims)-2)
	for i, d := range dims[2:] {
		kernel[i] = int(d)
	}
	return WindowOf(l.Node, kernel)
}

// axisOf is an axis of a weight counted from the first, -1 if it has none such or its axes are
// moved before it is read.
func (g *Graph) axisOf(weight Param, axis int) int {
	rank := len(g.Constant(weight.Name).GetDims())
	if axis < 0 {
		axis += rank
	}
	if weight.moved || axis < 0 || axis >= rank {
		return -1
	}
	return axis
}
