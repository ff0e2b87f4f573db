package qdq

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

const dynamicLSTM = "DynamicQuantizeLSTM"

// A recurrent is an LSTM whose weights are integers, transposed. What it reads, and its own state,
// it rounds to eight bits when it runs; in the expanded model neither is rounded.
type recurrent struct {
	orig *onnxpb.NodeProto
	out  string // one of the outputs, by which it is found again
	// scales are those of both weights as DequantizeLinear reads them at first.
	scales [2]string
}

// Where the operator has its two weights, and the scales of these before their zero points.
var (
	recurrentWeights = [2]int{1, 2}
	recurrentScales  = [2]int{8, 10}
)

// expandRecurrent writes a DynamicQuantizeLSTM as an LSTM of weights behind DequantizeLinear.
func (r *rewriter) expandRecurrent(n *onnxpb.NodeProto) (site, error) {
	if n.GetOpType() != dynamicLSTM || n.GetDomain() != microsoft {
		return nil, nil
	}
	s := &recurrent{orig: n}
	for _, out := range n.GetOutput() {
		s.out = max(s.out, out)
	}
	node := &onnxpb.NodeProto{Name: n.Name, OpType: proto.String("LSTM"), DocString: n.DocString, Output: n.Output}
	for i := range min(8, len(n.GetInput())) {
		node.Input = append(node.Input, input(n, i))
	}
	var made []*onnxpb.NodeProto
	for k, at := range recurrentWeights {
		w, scale, zero := input(n, at), input(n, recurrentScales[k]), input(n, recurrentScales[k]+1)
		scale, zero, axis, err := r.directions(w, scale, zero)
		if err != nil || scale == "" {
			return nil, err
		}
		s.scales[k] = scale
		name, nodes := r.realOf(w, scale, zero, axis)
		turned := r.name(w + "/turned")
		r.form.helpers[turned] = true
		t := &onnxpb.NodeProto{OpType: proto.String("Transpose"), Input: []string{name}, Output: []string{turned}}
		onnxio.SetAttrInts(t, "perm", []int64{0, 2, 1})
		node.Input[at] = turned
		made = append(append(made, nodes...), t)
	}
	takeAttributes(node, n)
	r.instead[n] = append(made, node)
	r.form.ops[n.GetOutput()[0]] = dynamicLSTM
	return s, nil
}

// directions returns the scale and zero point of a weight [directions, in, out] as DequantizeLinear
// wants them, and the axis along which they stand: one for each direction, or of a single one for
// each output. The scale is "" where that is not so.
func (r *rewriter) directions(w, scale, zero string) (flat, like string, axis int, err error) {
	if !r.isConstant(w, scale, zero) || scale == "" || len(r.dims(w)) != 3 {
		return "", "", 0, nil
	}
	d, n := r.dims(w)[0], r.dims(w)[2]
	switch dims := r.dims(scale); {
	case r.single(scale), slices.Equal(dims, []int64{d}):
		flat = scale
	case d == 1 && slices.Equal(dims, []int64{1, n}):
		axis = 2
		if flat, err = r.flat(scale, n, 0); err != nil {
			return "", "", 0, err
		}
	}
	if flat == "" {
		return "", "", 0, nil
	}
	if like, err = r.zeroLike(zero, flat); err != nil || like == "" && zero != "" {
		return "", "", 0, err
	}
	return flat, like, axis, nil
}

func (s *recurrent) restore(r *rewriter) error {
	node := r.maker(s.out, "LSTM")
	if node == nil {
		return nil
	}
	n := copyOf(s.orig)
	for i := range min(8, len(node.GetInput())) {
		n.Input[i] = input(node, i)
	}
	for k, at := range recurrentWeights {
		t := r.maker(input(node, at), "Transpose")
		d := r.maker(input(t, 0), dequantize)
		if d == nil {
			return nil
		}
		n.Input[at] = input(d, 0)
		scale := recurrentScales[k]
		var err error
		if n.Input[scale], err = r.shaped(input(d, 1), s.scales[k], input(s.orig, scale)); err != nil {
			return err
		}
		if z := input(s.orig, scale+1); z != "" {
			if n.Input[scale+1], err = r.zeroShaped(input(d, 2), z); err != nil {
				return err
			}
		}
	}
	takeAttributes(n, node)
	r.instead[node] = []*onnxpb.NodeProto{n}
	return nil
}

// zeroShaped returns a zero point as the original has it, with the axes of that.
func (r *rewriter) zeroShaped(now, orig string) (string, error) {
	old, err := r.constant(orig)
	if err != nil || old == nil || len(old.Dims) < 2 {
		return now, err
	}
	return r.shaped(now, "", orig)
}
