package coupling_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/engine/enginetest"
)

// What is computed without need is stored, or is a Reshape, in the model that is edited.
func TestComputedWithoutNeed(t *testing.T) {
	enginetest.Require(t)
	for _, c := range []rule{
		{"Gather of all elements in order, at stored places", `
			x: 2 3 4 4
			c = Conv(x, w1[4 3 1 1])
			g = GlobalAveragePool(c)
			f = Reshape(g, all{-1})
			p = Reshape(places{0 1 2 3 4 5 6 7}, ps{2 4 1 1})
			v = Gather(f, p)
			r = Flatten(v)
			y = Gemm(r, w2[4 5])`, `
			Conv_c (in): 3, frozen: graph input "x"
			Conv_c: 4, linear
			Gemm_y: 5, frozen: graph output "y"`},
		{"Gather of all elements in order, at computed places", `
			x: N 3 4 4
			c = Conv(x, w1[6 3 1 1])
			g = GlobalAveragePool(c)
			f = Reshape(g, all{-1})
			s = Shape(x) start=0 end=1
			n = Squeeze(s)
			r = Range(zero{=0}, n, one{=1})
			m = Mul(r, six{=6})
			u = Unsqueeze(m, ax{1 2 3})
			p = Reshape(places{0 1 2 3 4 5}, ps{1 6 1 1})
			a = Add(u, p)
			b = Add(a, origin{=0})
			v = Gather(f, b)
			t = Flatten(v)
			y = Gemm(t, w2[6 5])`, `
			Conv_c (in): 3, frozen: graph input "x"
			Conv_c: 6, linear
			Gemm_y: 5, frozen: graph output "y"`},
		{"scores scaled by a computed size", `
			x: N 4 5
			q = MatMul(x, wq[5 6])
			k = MatMul(x, wk[5 6])
			v = MatMul(x, wv[5 6])
			t = Transpose(k) perm=0,2,1
			d = MatMul(q, t)
			s = Shape(q)
			n = Gather(s, last{=2})
			f = Cast(n) to=1
			r = Sqrt(f)
			i = Reciprocal(r)
			e = Mul(d, i)
			p = Softmax(e)
			o = MatMul(p, v)
			y = MatMul(o, wo[6 3])`, `
			MatMul_q (in): 5, frozen: graph input "x"
			MatMul_q: 6
			MatMul_v: 6, linear
			MatMul_y: 3, frozen: graph output "y"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := graph(t, c.graph)
			if d := cmp.Diff(lines(c.want), describe(subject(t, m).Analysis)); d != "" {
				t.Errorf("spaces (-want +got):\n%s", d)
			}
			identities(t, m)
		})
	}
}
