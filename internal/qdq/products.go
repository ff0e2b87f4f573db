package qdq

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A product of integers, as onnxruntime's quantize_dynamic writes it:
//
//	q, s, z = DynamicQuantizeLinear(x)
//	p = MatMulInteger(q, w, z, w_zero)        (or ConvInteger)
//	y = Mul(Cast(p), Mul(s, w_scale))
//
// which is y = MatMul(DequantizeLinear(q, s, z), DequantizeLinear(w, …)). Of a convolution with a bias
// b the p that is cast may be Add(p, Reshape(Cast(Floor(Div(b, Mul(s, w_scale)))), …)), as older
// releases wrote it.
type product struct {
	// nodes are MatMulInteger, Cast, and the two Mul, the inner first.
	nodes [4]*onnxpb.NodeProto
	real  string // MatMul or Conv
	// weight is where the inner Mul has the weight's scale.
	weight int
	scale  string // of the weight in the expanded model: flat
	bias   *steppedBias
	order  []int // in which nodes, and the bias's behind them, stood
}

// written are the nodes as they stood.
func (s *product) written(all []*onnxpb.NodeProto) []*onnxpb.NodeProto {
	out := make([]*onnxpb.NodeProto, len(all))
	for to, from := range s.order {
		out[to] = all[from]
	}
	return out
}

// A steppedBias is a bias that is made a whole number of steps when the model runs. In the expanded
// model it is not rounded.
type steppedBias struct {
	// nodes are Mul, Div, Floor, Cast, Reshape and Add.
	nodes  [6]*onnxpb.NodeProto
	weight int // where the Mul has the weight's scale
}

// steppedBias finds the bias that is added to a product of integers, in steps of the dynamic scale
// and a constant one; nil if none is.
func (r *rewriter) steppedBias(n *onnxpb.NodeProto, dynamicScale string) *steppedBias {
	add := r.only(n.GetOutput()[0], "Add")
	if add == nil || n.GetOpType() != "ConvInteger" {
		return nil
	}
	b := &steppedBias{}
	at := input(add, 1-slices.Index(add.GetInput(), n.GetOutput()[0]))
	b.nodes[5] = add
	for i, op := range []string{"Reshape", "Cast", "Floor", "Div"} {
		node := r.maker(at, op)
		if node == nil || r.only(at, b.nodes[5-i].GetOpType()) == nil {
			return nil
		}
		b.nodes[4-i], at = node, input(node, 0)
	}
	bias, step, shape := input(b.nodes[1], 0), input(b.nodes[1], 1), input(b.nodes[4], 1)
	b.nodes[0] = r.maker(step, "Mul")
	if b.nodes[0] == nil || r.only(step, "Div") == nil || len(r.dims(bias)) != 1 || len(r.dims(shape)) != 1 {
		return nil
	}
	b.weight = 1 - slices.Index(b.nodes[0].GetInput(), dynamicScale)
	if scale := input(b.nodes[0], b.weight); b.weight > 1 || r.g.Constant(scale) == nil || !r.single(scale) {
		return nil
	}
	return b
}

// restore writes the nodes that round a bias, of the scales of what is read and of the weight.
func (b *steppedBias) restore(r *rewriter, bias, dynamicScale, scale string) ([]*onnxpb.NodeProto, error) {
	var out []*onnxpb.NodeProto
	for _, n := range b.nodes {
		out = append(out, copyOf(n))
	}
	out[0].Input[b.weight], out[0].Input[1-b.weight] = scale, dynamicScale
	out[1].Input[0] = bias
	name := b.nodes[4].GetInput()[1]
	shape, err := r.constant(name)
	if err != nil {
		return nil, err
	}
	sizes := slices.Clone(shape.I64)
	for i, size := range sizes {
		if size > 1 {
			sizes[i] = onnxio.Elements(r.g.Constant(bias))
		}
	}
	if slices.Equal(sizes, shape.I64) {
		r.original(name)
		return out, nil
	}
	out[4].Input[1], err = r.rename(onnxio.NewInts(name, shape.Dims, sizes))
	return out, err
}

// expandProduct writes a product of integers with one of real numbers.
func (r *rewriter) expandProduct(n *onnxpb.NodeProto) (site, error) {
	s := &product{real: map[string]string{"MatMulInteger": "MatMul", "ConvInteger": "Conv"}[n.GetOpType()]}
	w, wZero := input(n, 1), input(n, 3)
	if s.real == "" || !r.isConstant(w, wZero) || len(r.dims(w)) < 2 {
		return nil, nil
	}
	dynamic := r.maker(input(n, 0), "DynamicQuantizeLinear")
	if dynamic == nil || len(dynamic.GetOutput()) != 3 || input(n, 2) != dynamic.GetOutput()[2] {
		return nil, nil
	}
	sum := n.GetOutput()[0]
	if s.bias = r.steppedBias(n, dynamic.GetOutput()[1]); s.bias != nil {
		sum = s.bias.nodes[5].GetOutput()[0]
	}
	cast := r.only(sum, "Cast")
	if cast == nil || onnxio.AttrInt(cast, "to", 0) != int64(onnxio.Float) {
		return nil, nil
	}
	outer := r.only(cast.GetOutput()[0], "Mul")
	if outer == nil {
		return nil, nil
	}
	inner := r.maker(outer.GetInput()[1-slices.Index(outer.GetInput(), cast.GetOutput()[0])], "Mul")
	if inner == nil || r.only(inner.GetOutput()[0], "Mul") != outer {
		return nil, nil
	}
	s.weight = 1 - slices.Index(inner.GetInput(), dynamic.GetOutput()[1])
	if s.weight > 1 || !r.isConstant(inner.GetInput()[s.weight]) || s.bias != nil && s.bias.nodes[0].GetInput()[s.bias.weight] != inner.GetInput()[s.weight] {
		return nil, nil
	}
	axis, behind := 0, len(r.dims(w))-2 // sizes of a kernel stand behind the channels
	if s.real == "MatMul" {
		axis, behind = len(r.dims(w))-1, 0
	}
	scale, err := r.flat(inner.GetInput()[s.weight], r.dims(w)[axis], behind)
	if err != nil || scale == "" {
		return nil, err
	}
	zero, err := r.zeroLike(wZero, scale)
	if err != nil || zero == "" && wZero != "" {
		return nil, err
	}
	s.nodes = [4]*onnxpb.NodeProto{n, cast, inner, outer}
	all := s.nodes[:]
	if s.bias != nil {
		all = slices.Concat(all, s.bias.nodes[:])
	}
	for i := range all {
		s.order = append(s.order, i)
	}
	slices.SortFunc(s.order, func(i, j int) int { return slices.Index(r.g.Nodes, all[i]) - slices.Index(r.g.Nodes, all[j]) })
	s.scale = scale
	x, made := r.realOf(input(n, 0), dynamic.GetOutput()[1], dynamic.GetOutput()[2], 0)
	weight, more := r.realOf(w, scale, zero, axis)
	node := &onnxpb.NodeProto{Name: n.Name, OpType: proto.String(s.real), Input: []string{x, weight}, Output: outer.Output}
	if s.bias != nil {
		node.Input = append(node.Input, s.bias.nodes[1].GetInput()[0])
		for _, b := range s.bias.nodes {
			r.gone[b] = true
		}
	}
	takeAttributes(node, n)
	r.gone[cast], r.gone[inner], r.gone[outer] = true, true, true
	r.instead[n] = append(append(made, more...), node)
	r.form.ops[outer.GetOutput()[0]] = n.GetOpType()
	return s, nil
}

// flat returns a scale as DequantizeLinear wants it: one number, or a vector of n. The original may
// have it along an axis with so many behind it. "" if it is anything else.
func (r *rewriter) flat(scale string, n int64, behind int) (string, error) {
	dims := r.dims(scale)
	if r.single(scale) && len(dims) < 2 {
		return scale, nil
	}
	at := len(dims) - 1 - behind
	for i, d := range dims {
		if d != 1 && (i != at || d != n) {
			return "", nil
		}
	}
	if len(dims) == 1 {
		return scale, nil
	}
	t, err := r.constant(scale)
	if err != nil {
		return "", err
	}
	shape := []int{t.Len()}
	if r.single(scale) {
		shape = nil
	}
	name, err := r.add(onnxio.NewTensor(scale+"/flat", t.Type, shape, t.Float64()))
	r.form.helpers[name] = true
	return name, err
}

// zeroLike returns a zero point as DequantizeLinear wants it, of the scale's shape; "" if that
// cannot be had.
func (r *rewriter) zeroLike(zero, scale string) (string, error) {
	if zero == "" || slices.Equal(r.dims(zero), r.dims(scale)) {
		return zero, nil
	}
	z, err := r.constant(zero)
	if err != nil {
		return "", err
	}
	n := int(onnxio.Elements(r.g.Constant(scale)))
	v := z.Float64()
	if len(v) != 1 && len(v) != n {
		return "", nil
	}
	full := make([]float64, n)
	for i := range full {
		full[i] = v[i%len(v)]
	}
	shape := []int{n}
	if len(r.dims(scale)) == 0 {
		shape = nil
	}
	name, err := r.add(onnxio.NewTensor(zero+"/full", z.Type, shape, full))
	r.form.helpers[name] = true
	return name, err
}

func (s *product) restore(r *rewriter) error {
	n, cast, inner, outer := copyOf(s.nodes[0]), copyOf(s.nodes[1]), copyOf(s.nodes[2]), copyOf(s.nodes[3])
	node := r.maker(outer.GetOutput()[0], s.real)
	inputs := 2
	if s.bias != nil {
		inputs = 3
	}
	if node == nil || len(node.GetInput()) != inputs {
		return nil
	}
	x, w := r.maker(node.GetInput()[0], dequantize), r.maker(node.GetInput()[1], dequantize)
	if x == nil || w == nil || r.maker(input(x, 0), "DynamicQuantizeLinear") == nil {
		return nil
	}
	scale, err := r.shaped(input(w, 1), s.scale, inner.Input[s.weight])
	if err != nil {
		return err
	}
	inner.Input[s.weight] = scale
	n.Input[0], n.Input[1], n.Input[2] = input(x, 0), input(w, 0), input(x, 2)
	inner.Input[1-s.weight] = input(x, 1)
	if z := input(n, 3); z != "" {
		if n.Input[3], err = r.zeroOf(input(w, 2), z); err != nil {
			return err
		}
	}
	takeAttributes(n, node)
	nodes := []*onnxpb.NodeProto{n, cast, inner, outer}
	if s.bias != nil {
		made, err := s.bias.restore(r, input(node, 2), input(x, 1), scale)
		if err != nil {
			return err
		}
		nodes = append(nodes, made...)
	}
	r.instead[node] = s.written(nodes)
	return nil
}

// shaped returns a scale as the original has it, given the name that it has in the expanded model
// now, had at first, and has in the original.
func (r *rewriter) shaped(now, first, orig string) (string, error) {
	t, err := r.constant(now)
	if t == nil || err != nil || first == orig {
		return now, err
	}
	old, err := r.constant(orig)
	if err != nil {
		return "", err
	}
	if slices.Equal(old.Float64(), t.Float64()) {
		return r.original(orig), nil
	}
	dims := slices.Clone(old.Dims)
	for i, d := range dims {
		if d == old.Len() && d > 1 {
			dims[i] = t.Len()
		}
	}
	return r.rename(onnxio.NewTensor(orig, old.Type, dims, t.Float64()))
}

// zeroOf returns a zero point as the original has it: one number where it was one and still is.
func (r *rewriter) zeroOf(now, orig string) (string, error) {
	t, err := r.constant(now)
	if t == nil || err != nil {
		return r.original(orig), err
	}
	old, err := r.constant(orig)
	if err != nil {
		return "", err
	}
	if v := t.Float64(); old.Len() == 1 && !slices.ContainsFunc(v, func(x float64) bool { return x != old.Float64()[0] }) {
		return r.original(orig), nil
	}
	return now, nil
}

// rename adds a constant under the name of a tensor of the original that is not there any more, or
// under a new one.
func (r *rewriter) rename(t *onnxio.Tensor) (string, error) {
	if r.form.saved[t.Name] == nil || r.g.Defines(t.Name) || r.added[t.Name] {
		return r.add(t)
	}
	r.added[t.Name] = true
	return t.Name, r.g.AddInitializer(t)
}
