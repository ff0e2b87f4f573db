package qdq

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Weights of integers that are scaled: w = Mul(Cast(q), scale).
type scaled struct {
	cast, mul *onnxpb.NodeProto
	at        int // of the scale in the Mul
	scale     string
}

// expandScaled writes a scaled weight with DequantizeLinear.
func (r *rewriter) expandScaled(n *onnxpb.NodeProto) (site, error) {
	q := input(n, 0)
	if n.GetOpType() != "Cast" || q == "" || !r.isConstant(q) || len(r.dims(q)) < 2 {
		return nil, nil
	}
	switch onnxpb.TensorProto_DataType(r.g.Constant(q).GetDataType()) {
	case onnxpb.TensorProto_INT8, onnxpb.TensorProto_UINT8, onnxpb.TensorProto_INT16, onnxpb.TensorProto_UINT16:
	default:
		return nil, nil
	}
	mul := r.only(n.GetOutput()[0], "Mul")
	if mul == nil {
		return nil, nil
	}
	s := &scaled{cast: n, mul: mul, at: 1 - slices.Index(mul.GetInput(), n.GetOutput()[0])}
	orig := mul.GetInput()[s.at]
	if r.g.Constant(orig) == nil || r.g.Constant(orig).GetDataType() != int32(onnxio.AttrInt(n, "to", 0)) {
		return nil, nil
	}
	dims, axis := r.dims(q), 0
	if len(r.dims(orig)) > len(dims) {
		return nil, nil
	}
	for i, d := range r.dims(orig) {
		if d != 1 {
			axis = len(dims) - len(r.dims(orig)) + i
		}
	}
	var err error
	if s.scale, err = r.flat(orig, dims[axis], len(dims)-1-axis); err != nil || s.scale == "" {
		return nil, err
	}
	r.gone[mul] = true
	d := r.dequantize(q, s.scale, "", mul.GetOutput()[0], axis)
	d.Name = mul.Name
	r.instead[n] = []*onnxpb.NodeProto{d}
	return s, nil
}

func (s *scaled) restore(r *rewriter) error {
	d := r.maker(s.mul.GetOutput()[0], dequantize)
	if d == nil || input(d, 2) != "" {
		return nil
	}
	cast, mul := copyOf(s.cast), copyOf(s.mul)
	scale, err := r.shaped(input(d, 1), s.scale, mul.Input[s.at])
	if err != nil {
		return err
	}
	cast.Input[0], mul.Input[s.at] = input(d, 0), scale
	r.instead[d] = []*onnxpb.NodeProto{cast, mul}
	return nil
}

// Weights of real numbers that are rounded when the model runs, as training with quantisation
// leaves them: w = DequantizeLinear(QuantizeLinear(v)).
type rounded struct {
	node *onnxpb.NodeProto // the QuantizeLinear
	v    *onnxio.Tensor    // its integers
}

// expandRounded stores the integers.
func (r *rewriter) expandRounded(n *onnxpb.NodeProto) (site, error) {
	v, scale, zero := input(n, 0), input(n, 1), input(n, 2)
	if n.GetOpType() != quantize || r.g.Constant(v) == nil || r.g.Constant(scale) == nil || !r.isConstant(zero) || onnxio.AttrInt(n, "block_size", 0) != 0 {
		return nil, nil
	}
	typ := onnxpb.TensorProto_DataType(onnxio.AttrInt(n, "output_dtype", 0))
	if zero != "" {
		typ = onnxpb.TensorProto_DataType(r.g.Constant(zero).GetDataType())
	} else if typ == 0 {
		typ = onnxpb.TensorProto_UINT8
	}
	out := n.GetOutput()[0]
	readers := r.g.Consumers(out)
	if len(readers) == 0 || r.g.IsOutput(out) || !onnxio.IsParameter(typ) || slices.ContainsFunc(readers, func(c onnxio.Consumer) bool { return c.Input != 0 || c.Node.GetOpType() != dequantize }) {
		return nil, nil
	}
	t, err := r.constant(v)
	if err != nil {
		return nil, err
	}
	q, err := r.round(n, t, typ)
	if err != nil || q == nil {
		return nil, err
	}
	q.Name = out
	s := &rounded{copyOf(n), q}
	r.gone[n] = true
	r.form.stored[out] = t.Type
	r.form.helpers[out] = true
	// The name is that of what the node makes: it is a constant now.
	r.g.Proto.Initializer = append(r.g.Proto.Initializer, q.Proto())
	return s, nil
}

// round computes a QuantizeLinear; nil where its scales fit no axis.
func (r *rewriter) round(n *onnxpb.NodeProto, t *onnxio.Tensor, typ onnxpb.TensorProto_DataType) (*onnxio.Tensor, error) {
	of, scale, zero, err := r.slices(n, t.Dims)
	if of == nil || err != nil {
		return nil, err
	}
	v := t.Float64()
	for i, x := range v {
		k := of(i)
		v[i] = math.RoundToEven(float64(float32(x)/float32(scale[k]))) + zero[k]
	}
	return onnxio.NewTensor("", typ, t.Dims, v), nil // which saturates
}

// slices reads scales and zero points of a QuantizeLinear or DequantizeLinear, and says which
// position has which; of is nil where they fit no axis.
func (r *rewriter) slices(n *onnxpb.NodeProto, dims []int) (of func(i int) int, scale, zero []float64, err error) {
	s, err := r.constant(input(n, 1))
	if s == nil || err != nil {
		return nil, nil, nil, err
	}
	scale = s.Float64()
	zero = make([]float64, len(scale))
	if z := input(n, 2); z != "" {
		t, err := r.constant(z)
		if t == nil || err != nil {
			return nil, nil, nil, err
		}
		zero = t.Float64()
	}
	if len(zero) != len(scale) {
		return nil, nil, nil, nil
	}
	if len(scale) == 1 {
		return func(int) int { return 0 }, scale, zero, nil
	}
	axis := int(onnxio.AttrInt(n, "axis", 1))
	if axis < 0 {
		axis += len(dims)
	}
	if axis < 0 || axis >= len(dims) || dims[axis] != len(scale) {
		return nil, nil, nil, nil
	}
	return dense.AlongAxis[float64](nil, dims, axis).Position, scale, zero, nil
}

func (s *rounded) restore(r *rewriter) error {
	out := s.node.GetOutput()[0]
	q, err := r.constant(out)
	readers := r.g.Consumers(out)
	if q == nil || err != nil || len(readers) == 0 {
		return err
	}
	d := readers[0].Node // all have one scale: coupling sees to that
	n := copyOf(s.node)
	for i := 1; i < min(len(n.Input), len(d.GetInput())); i++ {
		n.Input[i] = d.Input[i]
	}
	if slices.Equal(q.I64, s.v.I64) && slices.Equal(q.Dims, s.v.Dims) && slices.Equal(q.F32, s.v.F32) && slices.Equal(n.Input, s.node.Input) {
		r.original(n.Input[0])
	} else {
		of, scale, zero, err := r.slices(n, q.Dims)
		if of == nil || err != nil {
			return err
		}
		v := q.Float64()
		for i, x := range v {
			k := of(i)
			v[i] = (x - zero[k]) * scale[k]
		}
		if n.Input[0], err = r.rename(onnxio.NewTensor(n.Input[0], r.form.stored[out], q.Dims, v)); err != nil {
			return err
		}
	}
	r.g.Proto.Initializer = slices.DeleteFunc(r.g.Proto.Initializer, func(t *onnxpb.TensorProto) bool { return t.GetName() == out })
	first := slices.MinFunc(readers, func(a, b onnxio.Consumer) int {
		return slices.Index(r.g.Nodes, a.Node) - slices.Index(r.g.Nodes, b.Node)
	}).Node
	r.instead[first] = append([]*onnxpb.NodeProto{n}, r.place(first)...)
	return nil
}

// place is what stands where a node is.
func (r *rewriter) place(n *onnxpb.NodeProto) []*onnxpb.NodeProto {
	if with, ok := r.instead[n]; ok {
		return with
	}
	return []*onnxpb.NodeProto{n}
}

// A biased operator takes a weight and a bias of integers: Conv and Gemm between QuantizeLinear and
// DequantizeLinear. Engines that compute with the integers take it for granted that a step of the
// bias is the product of the steps of what is multiplied.
type biased struct {
	node *onnxpb.NodeProto
	bias *onnxpb.NodeProto // the DequantizeLinear of the bias; nil where there was none
	by   []float64         // steps of the bias
}

// expandBias stores the bias as real numbers.
func (r *rewriter) expandBias(n *onnxpb.NodeProto) (site, error) {
	if op := n.GetOpType(); op != "Conv" && op != "Gemm" || n.GetDomain() != "" {
		return nil, nil
	}
	x, w := r.maker(input(n, 0), dequantize), r.maker(input(n, 1), dequantize)
	if x == nil || w == nil || !r.isStored(input(w, 0)) || !r.isConstant(input(x, 1)) {
		return nil, nil
	}
	s := &biased{node: n}
	b := input(n, 2)
	if b == "" {
		return s, nil
	}
	s.bias = r.maker(b, dequantize)
	if s.bias == nil || r.only(b, n.GetOpType()) != n || input(s.bias, 0) == "" || !r.isConstant(input(s.bias, 0), input(s.bias, 1), input(s.bias, 2)) {
		return nil, nil
	}
	q := r.g.Constant(input(s.bias, 0))
	if q.GetDataType() != int32(onnxio.Int32) || len(q.GetDims()) != 1 {
		return nil, nil
	}
	zero, err := r.constant(input(s.bias, 2))
	if err != nil || zero != nil && slices.ContainsFunc(zero.Float64(), func(x float64) bool { return x != 0 }) {
		return nil, err
	}
	if s.by, err = r.sizes(stepOf(n, input(x, 1), input(w, 1)), int(q.GetDims()[0])); err != nil {
		return nil, err
	}
	name, err := r.realBias(n, q.GetName(), step{[]string{input(s.bias, 1)}, 1})
	if err != nil || name == "" {
		return nil, err
	}
	r.gone[s.bias] = true
	c := copyOf(n)
	c.Input[2] = name
	r.instead[n] = []*onnxpb.NodeProto{c}
	return s, nil
}

// isStored reports whether integers are constants, or are made of one.
func (r *rewriter) isStored(name string) bool {
	if q := r.maker(name, quantize); q != nil {
		name = input(q, 0)
	}
	return name != "" && r.isConstant(name)
}

func (s *biased) restore(r *rewriter) error {
	node := r.maker(s.node.GetOutput()[0], s.node.GetOpType())
	b := input(node, 2)
	if b == "" || r.g.Constant(b) == nil {
		return nil
	}
	x, w := r.maker(input(node, 0), dequantize), r.maker(input(node, 1), dequantize)
	if x == nil || w == nil || len(r.dims(b)) != 1 {
		return nil
	}
	by, err := r.sizes(stepOf(node, input(x, 1), input(w, 1)), int(r.dims(b)[0]))
	if err != nil {
		return err
	}
	d, err := r.wholeBiasNode(s, b, by)
	if d == nil || err != nil {
		return err
	}
	c := copyOf(node)
	c.Input[2] = d.Output[0]
	r.instead[node] = []*onnxpb.NodeProto{d, c}
	return nil
}

// wholeBiasNode returns the node that makes a bias of integers real: the original's where that is
// still right. nil where the steps are not known.
func (r *rewriter) wholeBiasNode(s *biased, b string, by []float64) (*onnxpb.NodeProto, error) {
	t, err := r.constant(b)
	if err != nil {
		return nil, err
	}
	v := t.Float64()
	whole, scale, y := b+"/whole", b+"/scale", ""
	if s.bias != nil {
		whole, scale, y = input(s.bias, 0), input(s.bias, 1), s.bias.GetOutput()[0]
		q, err := r.constant(whole)
		if err != nil {
			return nil, err
		}
		old, err := r.sizes(step{[]string{scale}, 1}, len(v))
		if err != nil {
			return nil, err
		}
		if slices.Equal(by, s.by) && len(old) == len(v) && q.Len() == len(v) && near(q.Float64(), quotients(v, old)) {
			for _, name := range s.bias.Input {
				r.original(name)
			}
			return copyOf(s.bias), nil
		}
	}
	if by == nil {
		return nil, nil
	}
	dims := t.Dims
	q := onnxio.NewTensor(whole, onnxio.Int32, dims, quotients(v, by))
	if !slices.ContainsFunc(by, func(x float64) bool { return x != by[0] }) {
		by, dims = by[:1], nil
	}
	if whole, err = r.rename(q); err != nil {
		return nil, err
	}
	if scale, err = r.rename(onnxio.NewTensor(scale, onnxio.Float, dims, by)); err != nil {
		return nil, err
	}
	if y == "" {
		y = r.name(b + "/real")
	}
	d := r.dequantize(whole, scale, "", y, 0)
	if s.bias != nil {
		d.Name = s.bias.Name
	}
	return d, nil
}

// quotients are whole numbers of steps.
func quotients(v, by []float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = math.RoundToEven(v[i] / by[i])
	}
	return out
}
