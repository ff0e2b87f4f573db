package onnxtest

import (
	"fmt"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Form is a small graph with operators in the form that one operator set gives them.
type Form struct {
	Name  string
	Graph string // in the notation of [Parse]
}

// Model builds the graph, with the IR version that belongs to its operator set. Up to IR version 3
// all weights are listed as graph inputs too.
func (f Form) Model() (*onnxio.Model, error) {
	m, err := Parse(f.Graph)
	if err != nil {
		return nil, fmt.Errorf("form %q: %w", f.Name, err)
	}
	ir := irVersion(m.Opset(""))
	m.Proto.IrVersion = &ir
	if ir < 4 {
		for _, t := range m.Proto.Graph.Initializer {
			v := onnxio.NewValueInfo(t.GetName(), onnxpb.TensorProto_DataType(t.GetDataType()))
			dims := make([]int, len(t.Dims))
			for i, d := range t.Dims {
				dims[i] = int(d)
			}
			onnxio.SetDims(v, dims)
			m.Proto.Graph.Input = append(m.Proto.Graph.Input, v)
		}
	}
	return m, nil
}

// irVersion is the version of the file format of the ONNX release that brought an operator set
// (Versioning.md of ONNX).
func irVersion(opset int64) int64 {
	for _, v := range [][2]int64{{24, 11}, {22, 11}, {20, 10}, {18, 9}, {14, 8}, {11, 7}, {10, 6}, {9, 5}, {8, 4}} {
		if opset > v[0] {
			if v[0] == 24 {
				return 13
			}
			return v[1]
		}
	}
	return 3
}

// Forms are graphs in the forms of operator sets 7 to 24, among them those that exporters of some
// years ago did not write yet. All of them run in onnxruntime and can be narrowed somewhere.
func Forms() []Form {
	return []Form{
		{"attributes of opset 7", `
			opset 7
			x: N 3 6 6
			c = Conv(x, w1[8 3 3 3], b1[8]) auto_pad=SAME_UPPER
			n = BatchNormalization(c, g[8], bt[8], mu[8], var[8]) epsilon=0.001
			d = Dropout(n) ratio=0.3
			r = Clip(d) min=0.0 max=6.0
			u = Upsample(r) mode=nearest scales=[1.0,1.0,2.0,2.0]
			p = Pad(u) pads=0,0,1,1,0,0,1,1 mode=constant value=0.0
			s = Slice(p) axes=[2] starts=[1] ends=[9]
			e = Conv(s, w2[6 8 1 1], b2[6])
			q = GlobalAveragePool(e)
			z = Squeeze(q) axes=2,3
			y = Gemm(z, w3[5 6], b3[5]) transB=1`},
		{"residual of opset 8", `
			opset 8
			x: N 3 6 6
			c = Conv(x, w1[8 3 1 1], b1[8])
			d = Conv(c, w2[8 8 3 3], b2[8]) pads=1,1,1,1
			a = Sum(c, d)
			m = MaxPool(a) kernel_shape=2,2 strides=2,2
			f = Flatten(m)
			y = Gemm(f, w3[72 5], b3[5])`},
		{"Upsample and Where of opset 9", `
			opset 9
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			r = LeakyRelu(c) alpha=0.1
			sh = Shape(r)
			e = Conv(r, w2[6 8 3 3]) pads=1,1,1,1
			z = ConstantOfShape(k{1})
			h = Add(e, z)
			y = Conv(h, w3[4 6 1 1])`},
		{"Slice of opset 10", `
			opset 10
			x: N 3 6 6
			c = Conv(x, w1[8 3 1 1], b1[8])
			s = Slice(c, st{0}, en{4}, ax{1}, sp{1})
			t = Slice(c, st2{4}, en2{8}, ax2{1}, sp2{1})
			a = Mul(s, t)
			y = Conv(a, w2[5 4 1 1])`},
		{"Pad, Clip and Split of opset 11", `
			opset 11
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			r = Clip(c, lo<0>, hi<6>)
			p = Pad(r, pads{0 0 1 1 0 0 1 1})
			a b = Split(p) axis=1 split=2,6
			d = Conv(a, w2[6 2 1 1])
			e = Add(d, b)
			y = Conv(e, w3[5 6 1 1])`},
		{"constants of opset 12", `
			opset 12
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			shape = Constant() value_ints=0,128
			f = Reshape(c, shape)
			d = Dropout(f, ratio<0.5>)
			y = Gemm(d, w2[5 128]) transB=1`},
		{"axes and splits as inputs, opset 13", `
			opset 13
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			a b = Split(c, sizes{4 4}) axis=1
			s = ReduceSum(a, ax{2 3}) keepdims=0
			u = Unsqueeze(s, ax2{2 3})
			m = Mul(b, u)
			y = Conv(m, w2[5 4 1 1])`},
		{"HardSwish and allowzero, opset 14", `
			opset 14
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			n = BatchNormalization(c, g[8], bt[8], mu[8], var[8])
			h = HardSwish(n)
			f = Reshape(h, shape{-1 128}) allowzero=1
			y = MatMul(f, w2[128 5])`},
		{"a part of a shape, opset 15", `
			opset 15
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			n = Shape(c) start=0 end=1
			shape = Concat(n, rest{8 16}) axis=0
			f = Reshape(c, shape)
			t = Transpose(f) perm=0,2,1
			y = MatMul(t, w2[8 5])`},
		{"PRelu with a slope per channel, opset 16", `
			opset 16
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			p = PRelu(c, slope[8 1 1])
			y = Conv(p, w2[5 8 1 1])`},
		{"LayerNormalization, opset 17", `
			opset 17
			x: N 4 6
			h = MatMul(x, w0[6 8])
			n = LayerNormalization(h, g[8], bt[8]) axis=-1
			u = MatMul(n, w1[8 16])
			r = Relu(u)
			d = MatMul(r, w2[16 8])
			a = Add(h, d)
			y = MatMul(a, w3[8 5])`},
		{"Split into num_outputs, opset 18", `
			opset 18
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			a b = Split(c) axis=1 num_outputs=2
			d = Conv(a, w2[4 4 3 3]) pads=1,1,1,1
			m = Mul(d, b)
			y = Conv(m, w3[5 4 1 1])`},
		{"reductions with axes as input, opset 18", `
			opset 18
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			p = ReduceMean(c, ax{2 3}) keepdims=1
			s = Conv(p, w2[4 8 1 1], b2[4])
			r = Relu(s)
			e = Conv(r, w3[8 4 1 1], b3[8])
			g = Sigmoid(e)
			m = Mul(c, g)
			q = ReduceMax(m, ax2{2 3}) keepdims=0
			y = Gemm(q, w4[8 5])`},
		{"Resize and Pad with axes, opset 18", `
			opset 18
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			u = Resize(c, _, _, sizes{8 8}) axes=2,3 mode=linear
			p = Pad(u, pads{1 1 1 1}, _, ax{2 3}) mode=reflect
			m = Mish(p)
			y = Conv(m, w2[5 8 3 3])`},
		{"GroupNormalization with a scale per group, opset 18", `
			opset 18
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			n = GroupNormalization(c, g[2], bt[2]) num_groups=2
			r = Relu(n)
			d = Conv(r, w2[6 8 1 1], b2[6])
			y = Conv(d, w3[5 6 1 1])`},
		{"antialias and wrap, opset 19", `
			opset 19
			x: N 3 8 8
			c = Conv(x, w1[8 3 1 1], b1[8])
			p = AveragePool(c) kernel_shape=2,2 dilations=2,2
			u = Resize(p, _, _, sizes{4 4}) axes=2,3 antialias=1 mode=linear
			w = Pad(u, pads{1 1 1 1}, _, ax{2 3}) mode=wrap
			y = Conv(w, w2[5 8 3 3])`},
		{"Gelu and ReduceMin, opset 20", `
			opset 20
			x: N 4 6
			h = MatMul(x, w1[6 16])
			a = Add(h, b1[16])
			g = Gelu(a) approximate=tanh
			o = MatMul(g, w2[16 8])
			q = ReduceMin(o, ax{1}) keepdims=0
			y = Gemm(q, w3[8 5])`},
		{"GroupNormalization with a scale per channel, opset 21", `
			opset 21
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			n = GroupNormalization(c, g[8], bt[8]) num_groups=4
			r = Relu(n)
			d = Conv(r, w2[6 8 1 1], b2[6])
			y = Conv(d, w3[5 6 1 1])`},
		{"recurrent and convolutional, opset 22", `
			opset 22
			x: 5 N 6
			h last = LSTM(x, W[1 32 6], R[1 32 8], B[1 64]) hidden_size=8
			s = Squeeze(last, ax{0})
			r = MatMul(s, w1[8 10])
			e = Elu(r)
			y = MatMul(e, w2[10 5])`},
		{"Attention, opset 23", `
			opset 23
			x: N 4 8
			q = MatMul(x, wq[8 8])
			k = MatMul(x, wk[8 8])
			v = MatMul(x, wv[8 8])
			a = Attention(q, k, v) q_num_heads=2 kv_num_heads=2
			o = MatMul(a, wo[8 8])
			h = Add(x, o)
			u = MatMul(h, w1[8 16])
			r = Relu(u)
			y = MatMul(r, w2[16 5])`},
		{"RMSNormalization and RotaryEmbedding, opset 23", `
			opset 23
			x: N 4 8
			n = RMSNormalization(x, g[8]) axis=-1
			h = MatMul(n, w0[8 8])
			e = RotaryEmbedding(h, cos[4 2], sin[4 2], pos) num_heads=2
			u = MatMul(e, w1[8 16])
			r = Relu(u)
			y = MatMul(r, w2[16 5])
			pos: int N 4`},
		{"Swish, opset 24", `
			opset 24
			x: N 3 4 4
			c = Conv(x, w1[8 3 1 1], b1[8])
			s = Swish(c) alpha=1.5
			y = Conv(s, w2[5 8 1 1])`},
		{"DeformConv of opset 19", `
			opset 19
			x: N 3 6 6
			c = Conv(x, w1[8 3 3 3], b1[8]) pads=1,1,1,1
			o = Conv(x, w2[18 3 3 3]) pads=1,1,1,1
			d = DeformConv(c, w3[6 8 3 3], o, b3[6]) pads=1,1,1,1
			r = Relu(d)
			y = Conv(r, w4[4 6 1 1])`},
	}
}
