package coupling_test

import (
	"testing"

	"github.com/monge-ml/monge/coupling"
)

func init() { rules = append(rules, picking...) }

// picking holds graphs that take elements of tensors at places, or spread them.
var picking = []rule{
	{"GatherElements at positions expanded over channels", `
		x: N 3 4
		i: int N 1 5
		a = Conv(x, w1[8 3 1])
		e = Expand(i, to{1 8 1})
		b = GatherElements(a, e) axis=2
		y = Conv(b, w2[5 8 1])`, `
		Conv_a (in): 3, frozen: graph input "x"
		Conv_a: 8
		Conv_y: 5, frozen: graph output "y"`},
	{"GatherElements from an embedding", `
		i: int N 1
		e = Expand(i, to{1 6})
		a = GatherElements(table[7 6], e) axis=0
		r = Relu(a)
		y = MatMul(r, w1[6 3])`, `
		GatherElements_a: 6
		MatMul_y: 3, frozen: graph output "y"`},
	{"GatherND at positions", `
		x: N 3 4 4
		a = Conv(x, w1[8 3 1 1])
		t = Transpose(a) perm=2,3,0,1
		g = GatherND(t, i{0 1})
		y = MatMul(g, w2[8 5])`, `
		Conv_a (in): 3, frozen: graph input "x"
		Conv_a: 8, linear
		MatMul_y: 5, frozen: graph output "y"`},
	{"GatherND from an embedding", `
		i: int N 4 1
		a = GatherND(table[7 6], i)
		y = MatMul(a, w1[6 5])`, `
		GatherND_a: 6, linear
		MatMul_y: 5, frozen: graph output "y"`},
	{"GatherND of a batch", `
		x: N 4 3
		i: int N 1
		a = MatMul(x, w1[3 8])
		b = GatherND(a, i) batch_dims=1
		y = MatMul(b, w2[8 5])`, `
		MatMul_a (in): 3, frozen: graph input "x"
		MatMul_a: 8, linear
		MatMul_y: 5, frozen: graph output "y"`},
	{"ScatterND of positions", `
		x: N 4 3
		u: 2 N 3
		a = MatMul(x, w1[3 8])
		b = MatMul(u, w1)
		t = Transpose(a) perm=1,0,2
		i = Unsqueeze(j{2 0}, ax{1})
		s = ScatterND(t, i, b)
		y = MatMul(s, w2[8 5])`, `
		MatMul_a (in): 3, frozen: graph input "x"
		MatMul_a: 8
		MatMul_y: 5, frozen: graph output "y"`},
	{"ScatterElements adds up at positions", `
		x: N 6 3
		a = MatMul(x, w1[3 8])
		r = Relu(a)
		s = Shape(r)
		z = ConstantOfShape(s)
		i = Reshape(j{5 0 2 2 1 0}, k{1 6 1})
		e = Expand(i, s)
		t = Shape(e)
		b = Slice(r, s0{0 0 0}, t)
		c = ScatterElements(z, e, b) axis=1 reduction=add
		y = MatMul(c, w2[8 5])`, `
		MatMul_a (in): 3, frozen: graph input "x"
		MatMul_a: 8
		MatMul_y: 5, frozen: graph output "y"`},
	{"a sequence that is pooled as a picture", `
		x: N 6 3
		a = MatMul(x, w1[3 8])
		u = Unsqueeze(a, e1{1})
		p = AveragePool(u) kernel_shape=2,1 strides=2,1 ceil_mode=1
		s = Squeeze(p, e1)
		y = MatMul(s, w2[8 5])`, `
		MatMul_a (in): 3, frozen: graph input "x"
		MatMul_a: 8, linear
		MatMul_y: 5, frozen: graph output "y"`},
	{"a projection of positions that stays to be computed", `
		x: N 5
		a = MatMul(x, w1[5 8])
		p = MatMul(at[6 3], w2[3 8])
		t = Transpose(p)
		o = MatMul(a, t)
		b = Softmax(o) axis=-1
		e = Einsum(at, w3[3 2 4]) equation=td,dnh->tnh
		f = Reshape(e, to{6 8})
		c = MatMul(b, f)
		y = MatMul(c, w4[8 3])`, `
		MatMul_a (in): 5, frozen: graph input "x"
		MatMul_a: 8
		MatMul_p: 6, frozen: Softmax "Softmax_b" mixes its channels
		MatMul_p#2: 3, frozen: Einsum "Einsum_e" computes with weights
		MatMul_c: 2, linear, rigid: a factor beside it is narrowed instead (space of 4)
		MatMul_c#2: 4, linear
		MatMul_y: 3, frozen: graph output "y"`},
	{"as many copies as OneHot says", `
		x: N 3 4
		a = MatMul(x, w1[4 8])
		s = Shape(a)
		k = Slice(s, i1{1}, i2{2})
		v = Concat(i1, k) axis=0
		h = OneHot(i1, d{4}, v)
		f = Reshape(h, l{-1})
		u = Unsqueeze(a, i2)
		t = Tile(u, f)
		b = Reshape(t, to{-1 3 8})
		y = MatMul(b, w2[8 5])`, `
		MatMul_a (in): 4, frozen: graph input "x"
		MatMul_a: 8, linear
		MatMul_y: 5, frozen: graph output "y"`},
	{"a state that is computed from a zero", `
		x: N 4
		a = MatMul(x, w1[4 8])
		s = Shape(a)
		z = Expand(zero<0>, s)
		b = Sub(z, big<1000>)
		d = Exp(b)
		e = Max(d, a)
		y = MatMul(e, w2[8 5])`, `
		MatMul_a (in): 4, frozen: graph input "x"
		MatMul_a: 8
		MatMul_y: 5, frozen: graph output "y"`},
	{"a packed weight that is cut at the size of what reads it", `
		x: N 4
		a = MatMul(x, w1[4 8])
		r = Relu(a)
		s = Shape(r)
		n = Slice(s, i1{1}, i2{2})
		m = Slice(p[16 8], i0{0}, n)
		t = Transpose(m)
		b = MatMul(r, t)
		q = Tanh(b)
		y = MatMul(q, w2[8 5])`, `
		MatMul_a (in): 4, frozen: graph input "x"
		MatMul_a: 8
		MatMul_b[0:8]: 8
		MatMul_y: 5, frozen: graph output "y"`},
	{"ScatterElements freezes", `
		x: 2 3
		a = MatMul(x, w1[3 8])
		i = Unsqueeze(j{2 0}, ax{1})
		s = ScatterElements(a, i, i2[2 1]) axis=1
		y = MatMul(s, w2[8 5])`, `
		MatMul_a (in): 3, frozen: graph input "x"
		MatMul_a: 8, frozen: ScatterElements "ScatterElements_s" replaces positions of it
		MatMul_y: 5, frozen: graph output "y"`},
	{"a constant spread over a row", `
		x: N 4 1
		a = Mul(x, w1[8])
		b = Add(a, b1[8])
		r = Relu(b)
		y = MatMul(r, w2[8 5])`, `
		Mul_a: 8
		MatMul_y: 5, frozen: graph output "y"`},
	{"LayerNormalization as TensorFlow writes it", `
		x: N 4 3
		h = MatMul(x, w1[3 8])
		m = ReduceMean(h) axes=[-1]
		d = Sub(h, m)
		q = Mul(d, d)
		v = ReduceMean(q) axes=[-1]
		e = Add(v, eps<0.1>)
		s = Sqrt(e)
		r = Reciprocal(s)
		g = Mul(r, gamma[8])
		hg = Mul(h, g)
		mg = Mul(m, g)
		bm = Sub(beta[8], mg)
		n = Add(hg, bm)
		y = MatMul(n, w2[8 5])`, `
		MatMul_h (in): 3, frozen: graph input "x"
		MatMul_h: 8, rigid: ReduceMean "ReduceMean_m" takes all channels together
		MatMul_y: 5, frozen: graph output "y"`},
	{"a bias for each head and a mask for each position", `
		x: N 4 8
		mask: N 1 1 4
		q = MatMul(x, wq[8 8])
		k = MatMul(x, wk[8 8])
		v = MatMul(x, wv[8 8])
		q1 = Reshape(q, rs{0 0 2 4})
		k1 = Reshape(k, rs)
		v1 = Reshape(v, rs)
		q2 = Transpose(q1) perm=0,2,1,3
		k2 = Transpose(k1) perm=0,2,3,1
		v2 = Transpose(v1) perm=0,2,1,3
		s = MatMul(q2, k2)
		b = Add(mask, slope[1 2 1 1])
		t = Add(s, b)
		p = Softmax(t) axis=-1
		a = MatMul(p, v2)
		a1 = Transpose(a) perm=0,2,1,3
		a2 = Reshape(a1, rb{0 0 8})
		y = MatMul(a2, wo[8 3])`, `
		MatMul_q (in): 8, frozen: graph input "x"
		MatMul_q[0:8]: 2, residual
		MatMul_q: 4 in 2 groups, rigid: the dimensions of an attention head stay together
		MatMul_v: 4 in 2 groups, linear, rigid: the dimensions of an attention head stay together
		MatMul_y: 3, frozen: graph output "y"`},
	{"Resize by integers that are cast", `
		x: N 3 4 4
		a = Conv(x, w1[8 3 1 1])
		t = Cast(f{1 1 2 2}) to=1
		u = Resize(a, _, t) mode=nearest
		y = Conv(u, w2[5 8 1 1])`, `
		Conv_a (in): 3, frozen: graph input "x"
		Conv_a: 8, linear
		Conv_y: 5, frozen: graph output "y"`},
	{"keys of positions, made of a table", `
		x: N 4 8
		q = MatMul(x, wq[8 6])
		n = LayerNormalization(table[7 5], scale[5], shift[5])
		k = MatMul(n, wk[5 6])
		t = Transpose(k) perm=1,0
		s = MatMul(q, t)
		y = MatMul(s, w2[7 3])`, `
		MatMul_q (in): 8, frozen: graph input "x"
		MatMul_q: 6
		LayerNormalization_n: 7
		LayerNormalization_n#2: 5, rigid: LayerNormalization "LayerNormalization_n" takes all channels together
		MatMul_y: 3, frozen: graph output "y"`},
	{"a table with weights of low rank", `
		x: N 8
		w = MatMul(u[8 3], v[3 6])
		h = MatMul(x, w)
		r = Relu(h)
		y = MatMul(r, w2[6 3])`, `
		MatMul_w: 8, frozen: graph input "x"
		MatMul_w#2: 3, linear
		MatMul_w#3: 6
		MatMul_y: 3, frozen: graph output "y"`},
	{"Tile as often as there are samples", `
		x: N 4 5
		q = MatMul(x, wq[5 8])
		k = MatMul(table[6 5], wk[5 8])
		s = Shape(x) start=0 end=1
		q1 = Reshape(q, rs{0 4 2 4})
		q2 = Transpose(q1) perm=0,2,1,3
		q3 = Reshape(q2, rt{-1 4 4})
		k1 = Reshape(k, ru{6 2 4})
		k2 = Transpose(k1) perm=1,2,0
		r = Concat(s, o{1 1}) axis=0
		k3 = Tile(k2, r)
		d = MatMul(q3, k3)
		y = MatMul(d, w2[6 3])`, `
		MatMul_q (in): 5, frozen: graph input "x"
		MatMul_q[0:8]: 2, frozen: graph output "y"
		MatMul_q: 4 in 2 groups
		MatMul_k: 6, linear
		MatMul_k#2: 5, linear
		MatMul_y: 3, frozen: graph output "y"`},
	{"Reshape by batch and heads divided by heads", `
		x: N 4 5
		q = MatMul(x, wq[5 12])
		q1 = Reshape(q, rs{0 4 6 2})
		q2 = Transpose(q1) perm=0,2,1,3
		q3 = Reshape(q2, rt{-1 4 2})
		r = Relu(q3)
		s = Shape(r)
		b = Gather(s, zero{=0})
		n = Div(b, six{=6})
		u = Unsqueeze(n, ax{0})
		t = Concat(u, rest{6 4 2}) axis=0
		q4 = Reshape(r, t)
		q5 = Transpose(q4) perm=0,2,1,3
		q6 = Reshape(q5, ru{0 0 -1})
		y = MatMul(q6, w2[12 3])`, `
		MatMul_q (in): 5, frozen: graph input "x"
		MatMul_q[0:12]: 6
		MatMul_q[0:12]#2: 2, rigid: a factor beside it is narrowed instead (space of 6)
		MatMul_y: 3, frozen: graph output "y"`},
}

// Rows of a table mean the same in every model where what looks them up does, but not where it is
// learnt, such as the place of the largest of some channels.
func TestRowsOfTables(t *testing.T) {
	for name, c := range map[string]struct {
		graph   string
		aligned bool
	}{
		"words":           {"i: int N 4\na = Gather(table[7 6], i)\ny = MatMul(a, w1[6 5])", true},
		"by elements":     {"i: int N 1\ne = Expand(i, to{1 6})\na = GatherElements(table[7 6], e) axis=0\ny = MatMul(a, w1[6 5])", true},
		"by places":       {"i: int N 4 1\na = GatherND(table[7 6], i)\ny = MatMul(a, w1[6 5])", true},
		"places of words": {"x: N 2 6\np = Gather(table[7 6], i{0 1})\na = Add(x, p)\ny = MatMul(a, w1[6 5])", true},
		"buckets":         {"x: N 4\nf = Floor(x)\ni = Cast(f) to=7\na = Gather(table[7 6], i)\ny = MatMul(a, w1[6 5])", true},
		"codes":           {"x: N 3\nc = MatMul(x, w0[3 7])\ni = ArgMax(c) axis=1 keepdims=0\na = Gather(table[7 6], i)\ny = MatMul(a, w1[6 5])", false},
	} {
		a, err := coupling.Analyze(graph(t, c.graph), coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, atom := range a.Weights["table"].Axes[0].Atoms() {
			if why := a.Unaligned(atom); (why == "") != c.aligned {
				t.Errorf("%s: %q", name, why)
			}
		}
	}
}
