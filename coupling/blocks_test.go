package coupling_test

import (
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// residuals are networks with residual branches, and the outputs of the Adds that end a block.
var residuals = map[string]struct {
	text string
	want []string
}{
	"ResNet": {`
		x: N 3 6 6
		s = Conv(x, w0[8 3 3 3], b0[8]) pads=1,1,1,1
		r = Relu(s)
		c = Conv(r, w1[8 8 3 3], b1[8]) pads=1,1,1,1
		d = Relu(c)
		e = Conv(d, w2[8 8 3 3], b2[8]) pads=1,1,1,1
		a = Add(e, r)
		h = Relu(a)
		i = Conv(h, w3[12 8 3 3], b3[12]) strides=2,2 pads=1,1,1,1
		j = Relu(i)
		k = Conv(j, w4[12 12 3 3], b4[12]) pads=1,1,1,1
		l = Conv(h, w5[12 8 1 1], b5[12]) strides=2,2
		m = Add(k, l)
		n = Relu(m)
		g = GlobalAveragePool(n)
		f = Flatten(g)
		y = Gemm(f, w6[12 5], b6[5])`, []string{"a"}}, // m has another way past the branch
	"attention before its norm": {`
		opset 23
		x: N 5 8
		e = MatMul(x, we[8 12])
		n = LayerNormalization(e, s[12], o[12])
		q = MatMul(n, wq[12 12])
		k = MatMul(n, wk[12 12])
		v = MatMul(n, wv[12 12])
		t = Attention(q, k, v) q_num_heads=3 kv_num_heads=3
		p = MatMul(t, wo[12 12])
		h = Add(e, p)
		u = LayerNormalization(h, s2[12], o2[12])
		w = MatMul(u, w1[12 24])
		z = Gelu(w)
		b = MatMul(z, w2[24 12])
		i = Add(h, b)
		y = MatMul(i, wy[12 3])`, []string{"h", "i"}},
	"branches side by side": {`
		x: N 8
		e = Gemm(x, we[8 12])
		p = Gemm(e, w1[12 12])
		q = Tanh(p)
		r = Gemm(e, w2[12 12])
		t = Tanh(r)
		a = Add(e, q)
		b = Add(a, t)
		y = Gemm(b, wy[12 3])`, []string{"a", "b"}},
	"one inside another": {`
		x: N 8
		e = Gemm(x, we[8 12])
		p = Gemm(e, w1[12 12])
		q = Tanh(p)
		r = Gemm(q, w2[12 12])
		t = Tanh(r)
		i = Add(q, t)
		u = Gemm(i, w3[12 12])
		o = Add(e, u)
		y = Gemm(o, wy[12 3])`, []string{"i", "o"}},
	"read elsewhere": {`
		x: N 8
		e = Gemm(x, we[8 12])
		p = Gemm(e, w1[12 12])
		q = Tanh(p)
		a = Add(e, q)
		y = Gemm(a, wy[12 3])
		z = Gemm(p, wz[12 3])
		-> y z`, nil},
	"spread over the stream": {`
		x: N 5 8
		e = MatMul(x, we[8 12])
		m = ReduceMean(e) axes=[1] keepdims=1
		p = MatMul(m, w1[12 12])
		a = Add(p, e)
		y = MatMul(a, wy[12 3])`, []string{"a"}},
	"spread over the branch": {`
		x: N 5 8
		e = MatMul(x, we[8 12])
		m = ReduceMean(e) axes=[1] keepdims=1
		p = MatMul(e, w1[12 12])
		a = Add(p, m)
		y = MatMul(a, wy[12 3])`, nil},
	"no weights": {`
		x: N 8
		e = Gemm(x, we[8 12])
		q = Tanh(e)
		a = Add(e, q)
		y = Gemm(a, wy[12 3])`, nil},
}

func TestBlocks(t *testing.T) {
	for name, c := range residuals {
		m, err := onnxtest.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		a, err := coupling.Analyze(m, coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, b := range a.Blocks() {
			have = append(have, b.Add.GetOutput()[0])
			if len(b.Nodes) == 0 || b.Name == "" {
				t.Errorf("%s: block %q has %d nodes", name, b.Name, len(b.Nodes))
			}
		}
		if !slices.Equal(have, c.want) {
			t.Errorf("%s: blocks end at %v, want %v", name, have, c.want)
		}
	}
}
