package qdq

import (
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A quantised operator takes integers, each with a scale and a zero point behind it, and gives
// integers.
type operator struct {
	domain string
	real   string // the operator that it stands for
	inputs []int  // positions of the integers
	plain  []int  // positions of inputs that are passed on, behind the others
	bias   int    // position of the bias, in steps of the product of the scales; 0: none
	scale  int    // position of the result's scale, before its zero point
	// all: integers follow from the second position on, however many there are.
	all bool
	// only the original knows these attributes: own, which have to be 0, and version, which says
	// whose operator set's operator it stands for.
	own     []string
	version string
}

var operators = map[string]operator{
	"QLinearConv":              {real: "Conv", inputs: []int{0, 3}, bias: 8, scale: 6},
	"QLinearMatMul":            {real: "MatMul", inputs: []int{0, 3}, scale: 6},
	"QGemm":                    {domain: microsoft, real: "Gemm", inputs: []int{0, 3}, bias: 6, scale: 7},
	"QLinearAdd":               {domain: microsoft, real: "Add", inputs: []int{0, 3}, scale: 6},
	"QLinearMul":               {domain: microsoft, real: "Mul", inputs: []int{0, 3}, scale: 6},
	"QLinearLeakyRelu":         {domain: microsoft, real: "LeakyRelu", inputs: []int{0}, scale: 3},
	"QLinearSigmoid":           {domain: microsoft, real: "Sigmoid", inputs: []int{0}, scale: 3},
	"QLinearSoftmax":           {domain: microsoft, real: "Softmax", inputs: []int{0}, scale: 3, version: "opset"},
	"QLinearAveragePool":       {domain: microsoft, real: "AveragePool", inputs: []int{0}, scale: 3, own: []string{"channels_last"}},
	"QLinearGlobalAveragePool": {domain: microsoft, real: "GlobalAveragePool", inputs: []int{0}, scale: 3, own: []string{"channels_last"}},
	"QLinearWhere":             {domain: microsoft, real: "Where", plain: []int{0}, inputs: []int{1, 4}, scale: 7},
	"QLinearConcat":            {domain: microsoft, real: "Concat", all: true, scale: 0},
}

// triples lists where a node has its integers.
func (o operator) triples(n *onnxpb.NodeProto) []int {
	if !o.all {
		return o.inputs
	}
	var at []int
	for i := 2; i+2 < len(n.GetInput()); i += 3 {
		at = append(at, i)
	}
	return at
}

// A replaced operator: orig stood where an operator makes the tensor real, of which a
// QuantizeLinear makes the original's result, unless that is real itself.
type replaced struct {
	op   operator
	orig *onnxpb.NodeProto
	real string
}

// expandOperator writes an operator on integers with one on real numbers.
func (r *rewriter) expandOperator(n *onnxpb.NodeProto) (site, error) {
	op, ok := operators[n.GetOpType()]
	if !ok || op.domain != n.GetDomain() && !(op.domain == "" && n.GetDomain() == "ai.onnx") || !r.understands(op, n) {
		return nil, nil
	}
	node := &onnxpb.NodeProto{Name: n.Name, OpType: proto.String(op.real), DocString: n.DocString}
	var made []*onnxpb.NodeProto
	for _, at := range op.plain {
		node.Input = append(node.Input, input(n, at))
	}
	for k, at := range op.triples(n) {
		name, nodes := r.realOf(input(n, at), input(n, at+1), input(n, at+2), r.axisOf(op, n, k))
		node.Input = append(node.Input, name)
		made = append(made, nodes...)
	}
	if b := input(n, op.bias); op.bias > 0 && b != "" {
		name, err := r.realBias(n, b, stepOf(n, input(n, 1), input(n, 4)))
		if err != nil || name == "" {
			return nil, err
		}
		node.Input = append(node.Input, name)
	}
	takeAttributes(node, n)
	for _, name := range slices.Concat(op.own, []string{op.version}) {
		onnxio.RemoveAttr(node, name)
	}
	s := &replaced{op: op, orig: n, real: n.GetOutput()[0]}
	made = append(made, node)
	if input(n, op.scale) != "" {
		s.real = r.name(s.real + "/real")
		r.form.helpers[s.real] = true
		q := r.dequantize(n.GetOutput()[0], input(n, op.scale), input(n, op.scale+1), n.GetOutput()[0], 0)
		q.OpType, q.Input[0] = proto.String(quantize), s.real
		made = append(made, q)
	}
	node.Output = []string{s.real}
	r.instead[n] = made
	r.form.ops[s.real] = n.GetOpType()
	return s, nil
}

// understands reports whether all scales are constants, one for each tensor or, of a weight, for
// each of its outputs.
func (r *rewriter) understands(op operator, n *onnxpb.NodeProto) bool {
	for _, name := range op.own {
		if onnxio.AttrInt(n, name, 0) != 0 {
			return false
		}
	}
	const softmaxChanged = 13 // works on one axis from then on
	opset := r.m.Opset("")
	if op.version != "" && (onnxio.AttrInt(n, op.version, opset) < softmaxChanged) != (opset < softmaxChanged) {
		return false
	}
	if len(n.GetOutput()) != 1 || !r.isConstant(input(n, op.scale), input(n, op.scale+1)) || op.scale == 0 && !op.all {
		return false
	}
	for _, at := range op.triples(n) {
		x, scale, zero := input(n, at), input(n, at+1), input(n, at+2)
		if x == "" || scale == "" || !r.isConstant(scale, zero) {
			return false
		}
		if !r.single(scale) && (!r.isConstant(x) || len(r.dims(scale)) != 1) || zero != "" && !slices.Equal(r.dims(scale), r.dims(zero)) && !(r.single(scale) && r.single(zero)) {
			return false
		}
	}
	return true
}

// axisOf is the axis along which the k-th operand has scales: that of the outputs of a weight.
func (r *rewriter) axisOf(op operator, n *onnxpb.NodeProto, k int) int {
	switch x := input(n, op.triples(n)[k]); {
	case op.real == "MatMul":
		return max(len(r.dims(x))-1, 0)
	case op.real == "Gemm" && onnxio.AttrInt(n, "transB", 0) == 0:
		return 1
	}
	return 0
}

// A step is what one unit of a bias stands for: a product of scales, and of Gemm's alpha.
type step struct {
	scales []string
	alpha  float64
}

func stepOf(n *onnxpb.NodeProto, scales ...string) step {
	return step{scales, float64(onnxio.AttrFloat(n, "alpha", 1))}
}

// sizes are the steps of n entries; nil if they are not known or are none.
func (r *rewriter) sizes(s step, n int) ([]float64, error) {
	out := make([]float64, n)
	for i := range out {
		out[i] = s.alpha
	}
	for _, name := range s.scales {
		t, err := r.constant(name)
		if t == nil || err != nil {
			return nil, err
		}
		v := t.Float64()
		if len(v) != 1 && len(v) != n {
			return nil, nil
		}
		for i := range out {
			out[i] *= v[i%len(v)]
		}
	}
	if slices.ContainsFunc(out, func(x float64) bool { return !(math.Abs(x) > 0) || math.IsInf(x, 0) }) {
		return nil, nil
	}
	return out, nil
}

// stepped returns a constant and its numbers, and the steps of these: nil if they are not known.
func (r *rewriter) stepped(name string, s step) (t *onnxio.Tensor, v, by []float64, err error) {
	if t, err = r.constant(name); t == nil || err != nil {
		return nil, nil, nil, err
	}
	v = t.Float64()
	by, err = r.sizes(s, len(v))
	return t, v, by, err
}

// realBias adds the real numbers that a bias of integers stands for; "" if that is not known.
func (r *rewriter) realBias(n *onnxpb.NodeProto, bias string, s step) (string, error) {
	t, v, by, err := r.stepped(bias, s)
	if by == nil || err != nil {
		return "", err
	}
	for i := range v {
		v[i] *= by[i]
	}
	name, err := r.add(onnxio.NewTensor(bias+"/real", onnxio.Float, t.Dims, v))
	r.form.helpers[name] = true
	return name, err
}

// wholeBias is the inverse: the name of a bias of integers, the original's where that is still
// right; "" if it cannot be had.
func (r *rewriter) wholeBias(name, orig string, s step) (string, error) {
	t, v, by, err := r.stepped(name, s)
	if by == nil || err != nil {
		return "", err
	}
	v = quotients(v, by)
	if orig != "" {
		old, err := r.constant(orig)
		if err != nil {
			return "", err
		}
		if old != nil && near(old.Float64(), v) {
			return r.original(orig), nil
		}
	} else {
		orig = name
	}
	return r.rename(onnxio.NewTensor(orig, onnxio.Int32, t.Dims, v))
}

// near reports whether whole numbers agree up to what is lost in single precision.
func near(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) <= math.Abs(x)*0x1p-23 })
}

// takeScale gives n the scale and the zero point of a QuantizeLinear or DequantizeLinear, from an
// input on.
func takeScale(n *onnxpb.NodeProto, at int, q *onnxpb.NodeProto) {
	n.Input[at] = input(q, 1)
	if z := input(q, 2); z != "" {
		n.Input[at+1] = z
	}
}

func (s *replaced) restore(r *rewriter) error {
	node := r.maker(s.real, s.op.real)
	if node == nil {
		return nil
	}
	n := copyOf(s.orig)
	var q *onnxpb.NodeProto
	if s.real != n.GetOutput()[0] {
		q = r.only(s.real, quantize)
		if q == nil || q.GetOutput()[0] != n.GetOutput()[0] {
			return nil
		}
		takeScale(n, s.op.scale, q)
	}
	for k, at := range s.op.triples(s.orig) {
		d := r.maker(input(node, len(s.op.plain)+k), dequantize)
		if d == nil {
			return nil
		}
		n.Input[at] = input(d, 0)
		takeScale(n, at+1, d)
	}
	if b := input(node, 2); s.op.bias > 0 && b != "" {
		whole, err := r.wholeBias(b, input(s.orig, s.op.bias), stepOf(node, n.Input[1], n.Input[4]))
		if err != nil || whole == "" {
			return err
		}
		for len(n.Input) <= s.op.bias {
			n.Input = append(n.Input, "")
		}
		n.Input[s.op.bias] = whole
	} else if s.op.bias == 0 && len(node.GetInput()) > len(s.op.plain)+len(s.op.triples(s.orig)) {
		return nil
	}
	takeAttributes(n, node)
	r.instead[node] = []*onnxpb.NodeProto{n}
	if q != nil {
		r.gone[q] = true
	}
	return nil
}
