package lossless_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Weights that are scaled by their norm, or put together gate by gate, are stored as what they come
// to, so that their channels can be edited.
func TestComputedWeights(t *testing.T) {
	enginetest.Require(t)
	for name, graph := range map[string]string{
		"weight normalisation": `
			x: N 3 6 6
			n = ReduceL2(v[8 3 3 3]) axes=1,2,3 keepdims=1
			d = Div(v, n)
			w = Mul(d, g[8 1 1 1])
			a = Conv(x, w)
			b = Relu(a)
			y = Conv(b, w2[5 8 1 1])`,
		"a scale that is one more than what is stored": `
			x: N 4 5
			h = MatMul(x, w1[5 8])
			s = Add(g[8], one<1>)
			a = Mul(h, s)
			b = Relu(a)
			y = MatMul(b, w2[8 3])`,
		"one constant, computed with by two": `
			x: N 8
			e = Exp(l[8])
			h = MatMul(x, w1[8 8])
			a = Mul(h, e)
			f = Exp(l)
			i = MatMul(a, w3[8 8])
			b = Mul(i, f)
			y = MatMul(b, w2[8 3])`,
		"a part of a bias set to zero": `
			x: N 8
			h = MatMul(x, w1[8 6])
			i = Unsqueeze(p{2 3}, ax{1})
			z = Expand(zero<0>, two{2})
			c = ScatterND(b[6], i, z)
			a = Add(h, c)
			d = Relu(a)
			y = MatMul(d, w2[6 3])`,
		"a low-rank change that is added to a weight": `
			x: N 8
			p = MatMul(d[8 2], u[2 6])
			w = Add(w1[8 6], p)
			h = MatMul(x, w)
			b = Relu(h)
			y = MatMul(b, w2[6 3])`,
		"a weight that is bounded": `
			x: N 8
			t = Tanh(w1[8 6])
			w = Clip(t, lo<-0.5>, hi<0.5>)
			h = MatMul(x, w)
			b = Relu(h)
			y = MatMul(b, w2[6 3])`,
		"decays that are stored as logarithms": `
			x: N 4 5
			h = MatMul(x, w1[5 8])
			e = Exp(l[8 1])
			n = Neg(e)
			t = Unsqueeze(h, ax{-1})
			m = Mul(t, n)
			d = Exp(m)
			c = Mul(d, k[1 6])
			f = Flatten(c) axis=2
			y = MatMul(f, w2[48 3])`,
		"gates in another order": `
			x: 4 N 5
			i = Slice(w[18 5], s0{0}, e6{6})
			f = Slice(w, e6, e18{18})
			u = Concat(f, i) axis=0
			v = Unsqueeze(u, ax{0})
			j = Slice(r[18 6], s0, e6)
			k = Slice(r, e6, e18)
			p = Concat(k, j) axis=0
			q = Unsqueeze(p, ax)
			a b = GRU(x, v, q) hidden_size=6
			c = Squeeze(b, ax)
			y = MatMul(c, w2[6 3])`,
	} {
		t.Run(name, func(t *testing.T) {
			m, err := onnxtest.Parse(graph)
			if err != nil {
				t.Fatal(err)
			}
			out, r, err := lossless.Strip(context.Background(), m, lossless.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Reverted || r.Check == nil || r.Check.Diff > 1e-6 {
				t.Fatalf("reverted: %v, check %+v", r.Reverted, r.Check)
			}
			a, err := coupling.Analyze(out, coupling.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if s := a.NarrowableShare(); s != 1 {
				t.Errorf("%.0f %% of the weights can be narrowed, want all", 100*s)
			}
		})
	}
}
