package match_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

// spellings are pairs of networks that compute the same with the same weights; those of the second
// may be transposed or have further axes of size one.
var spellings = map[string][2]string{
	"Gemm and MatMul with Add": {`
		x: N 6
		a = Gemm(x, w1[8 6], b1[8]) transB=1
		b = Relu(a)
		y = Gemm(b, w2[8 5], b2[5])`, `
		x: N 6
		m = MatMul(x, w1[6 8])
		a = Add(b1[8], m)
		b = Relu(a)
		y = Gemm(b, w2[5 8], b2[5]) transB=1`},
	"a product of rows and of a map": {`
		x: N 4 6
		a = MatMul(x, w1[6 8])
		b = Add(a, b1[8])
		y = MatMul(b, w2[8 5])`, `
		x: N 4 6
		r = Reshape(x, s{-1 6})
		a = Gemm(r, w1[8 6], b1[8]) transB=1
		b = Reshape(a, t{-1 4 8})
		y = MatMul(b, w2[8 5])`},
	"Relu, Clip and Max, Flatten and Reshape": {`
		x: N 3 4 4
		a = Conv(x, w1[8 3 3 3], b1[8])
		b = Relu(a)
		c = Conv(b, w2[6 8 1 1], b2[6])
		d = Relu(c)
		f = Flatten(d)
		y = Gemm(f, w3[24 5], b3[5])`, `
		x: N 3 4 4
		a = Conv(x, w1[8 3 3 3], b1[8])
		b = Clip(a, lo<0>)
		i = Identity(b)
		c = Conv(i, w2[6 8 1 1], b2[6])
		d = Max(zero<0>, c)
		e = Dropout(d)
		f = Reshape(e, s{-1 24})
		y = Gemm(f, w3[24 5], b3[5])`},
	"the mean of a map": {`
		x: N 3 4 4
		a = Conv(x, w1[8 3 3 3], b1[8])
		g = GlobalAveragePool(a)
		f = Flatten(g)
		y = Gemm(f, w3[8 5], b3[5])`, `
		opset 18
		x: N 3 4 4
		a = Conv(x, w1[8 3 3 3], b1[8])
		f = ReduceMean(a, ax{2 3}) keepdims=0
		y = Gemm(f, w3[8 5], b3[5])`},
	"LayerNormalization": {`
		x: N 4 6
		a = MatMul(x, w1[6 8])
		b = LayerNormalization(a, s[8], t[8]) axis=-1 epsilon=0.00001
		y = MatMul(b, w2[8 5])`, `
		x: N 4 6
		a = MatMul(x, w1[6 8])
		m = ReduceMean(a) axes=[-1]
		c = Sub(a, m)
		p = Pow(c, two<2>)
		v = ReduceMean(p) axes=[-1]
		e = Add(v, eps<0.00001>)
		d = Sqrt(e)
		n = Div(c, d)
		g = Mul(n, s[8])
		b = Add(g, t[8])
		y = MatMul(b, w2[8 5])`},
	"a norm of rows by Div and by Reciprocal": {`
		x: N 4 6
		a = MatMul(x, w1[6 8])
		p = Pow(a, two<2>)
		v = ReduceMean(p) axes=[-1]
		e = Add(v, eps<0.00001>)
		q = Sqrt(e)
		r = Div(one<1>, q)
		n = Mul(a, r)
		g = Mul(s[8], n)
		y = MatMul(g, w2[8 5])`, `
		opset 18
		x: N 4 6
		a = MatMul(x, w1[6 8])
		p = Mul(a, a)
		v = ReduceMean(p, ax{-1})
		e = Add(eps<0.00001>, v)
		q = Sqrt(e)
		r = Reciprocal(q)
		n = Mul(r, a)
		g = Mul(n, s[8])
		y = MatMul(g, w2[8 5])`},
	"a softplus that is a line from a threshold on, and sizes by attributes of Shape": {`
		x: N 4 6
		a = MatMul(x, w1[6 8])
		p q = Split(a, s{4 4}) axis=-1
		b = Softplus(p)
		m = Mul(b, q)
		y = MatMul(m, w2[4 5])`, `
		opset 17
		x: N 4 6
		a = MatMul(x, w1[6 8])
		n = Shape(a) start=2 end=3
		h = Div(n, two{2})
		q = Slice(a, h, n, ax{2})
		p = Slice(a, nought{0}, h, ax)
		t = Softplus(p)
		g = Greater(p, top<20>)
		b = Where(g, p, t)
		m = Mul(q, b)
		y = MatMul(m, w2[4 5])`},
	"Gelu": {`
		opset 20
		x: N 4 6
		a = MatMul(x, w1[6 8])
		g = Gelu(a)
		b = MatMul(g, w2[8 7])
		h = Gelu(b) approximate=tanh
		y = MatMul(h, w3[7 5])`, `
		x: N 4 6
		a = MatMul(x, w1[6 8])
		s = Div(a, root<1.4142135>)
		e = Erf(s)
		f = Add(e, one<1>)
		m = Mul(a, f)
		g = Mul(m, half<0.5>)
		b = MatMul(g, w2[8 7])
		c = Pow(b, three<3>)
		d = Mul(c, k<0.044715>)
		i = Add(b, d)
		j = Mul(i, r<0.7978846>)
		t = Tanh(j)
		u = Add(t, one)
		v = Mul(half, b)
		h = Mul(v, u)
		y = MatMul(h, w3[7 5])`},
	"HardSwish and gates": {`
		x: N 3 4 4
		a = Conv(x, w1[8 3 3 3], b1[8])
		h = HardSwish(a)
		g = GlobalAveragePool(h)
		s = Conv(g, w2[8 8 1 1], b2[8])
		q = HardSigmoid(s) alpha=0.16666667
		z = Mul(h, q)
		y = Conv(z, w3[5 8 1 1])`, `
		x: N 3 4 4
		a = Conv(x, w1[8 3 3 3], b1[8])
		k = Add(a, three<3>)
		c = Clip(k, lo<0>, hi<6>)
		d = Div(c, six<6>)
		h = Mul(a, d)
		g = ReduceMean(h) axes=[2,3]
		s = Conv(g, w2[8 8 1 1], b2[8])
		l = Add(s, three)
		m = Clip(l, lo, hi)
		q = Div(m, six)
		z = Mul(q, h)
		y = Conv(z, w3[5 8 1 1])`},
	"a Conv of single positions and MatMul": {`
		x: N 3 4 4
		a = Conv(x, w1[8 3 1 1], b1[8])
		b = Relu(a)
		y = Conv(b, w2[5 8 1 1], b2[5])`, `
		x: N 3 4 4
		i = Transpose(x) perm=0,2,3,1
		m = MatMul(i, w1[3 8])
		a = Add(m, b1[8])
		b = Relu(a)
		o = Transpose(b) perm=0,3,1,2
		y = Conv(o, w2[5 8 1 1], b2[5])`},
	"parts by Split and Slice": {`
		x: N 6
		a = MatMul(x, w1[6 16])
		p q = Split(a, s{8 8}) axis=1
		g = Sigmoid(q)
		m = Mul(p, g)
		y = MatMul(m, w2[8 5])`, `
		x: N 6
		a = MatMul(x, w1[6 16])
		q = Slice(a, from{8}, to{16}, ax{1})
		p = Slice(a, nought{0}, from, ax)
		g = Sigmoid(q)
		m = Mul(g, p)
		y = MatMul(m, w2[8 5])`},
	"attention": {`
		x: N 5 6
		h = MatMul(x, w0[6 12])
		q1 = MatMul(h, wq[12 12])
		k1 = MatMul(h, wk[12 12])
		v1 = MatMul(h, wv[12 12])
		q2 = Reshape(q1, rs{0 0 3 4})
		k2 = Reshape(k1, rs)
		v2 = Reshape(v1, rs)
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s = MatMul(q3, k3)
		t = Mul(s, half<0.5>)
		p = Softmax(t) axis=-1
		o1 = MatMul(p, v3)
		o2 = Transpose(o1) perm=0,2,1,3
		o3 = Reshape(o2, rb{0 0 -1})
		o4 = MatMul(o3, wo[12 12])
		z = Add(o4, h)
		y = MatMul(z, w1[12 4])`, `
		x: N 5 6
		h = MatMul(x, w0[6 12])
		q1 = MatMul(h, wq[12 12])
		k1 = MatMul(h, wk[12 12])
		v1 = MatMul(h, wv[12 12])
		q2 = Reshape(q1, rs{0 0 3 4})
		k2 = Reshape(k1, rs)
		v2 = Reshape(v1, rs)
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,1,3
		k4 = Transpose(k3) perm=0,1,3,2
		v3 = Transpose(v2) perm=0,2,1,3
		q5 = Mul(q3, root<0.70710678>)
		k5 = Mul(root, k4)
		s = MatMul(q5, k5)
		mx = ReduceMax(s) axes=[-1]
		d = Sub(s, mx)
		e = Exp(d)
		n = ReduceSum(e, last{-1})
		p = Div(e, n)
		o1 = MatMul(p, v3)
		o2 = Transpose(o1) perm=0,2,1,3
		o3 = Reshape(o2, rb{-1 5 12})
		o4 = MatMul(o3, wo[12 12])
		z = Add(h, o4)
		y = MatMul(z, w1[12 4])`},
	"GroupNormalization": {`
		opset 21
		x: N 3 4 4
		a = Conv(x, w1[12 3 3 3], b1[12])
		n = GroupNormalization(a, s[12], t[12]) num_groups=3
		c = Relu(n)
		y = Conv(c, w2[4 12 1 1])`, `
		x: N 3 4 4
		a = Conv(x, w1[12 3 3 3], b1[12])
		s0 = Shape(a)
		g = Reshape(a, r{0 3 -1})
		mean = ReduceMean(g) axes=[2]
		cent = Sub(g, mean)
		sq = Mul(cent, cent)
		v = ReduceMean(sq) axes=[2]
		ve = Add(v, eps<0.00001>)
		sd = Sqrt(ve)
		i = Div(cent, sd)
		j = Reshape(i, s0)
		m = Mul(j, s[12 1 1])
		n = Add(m, t[12 1 1])
		c = Relu(n)
		y = Conv(c, w2[4 12 1 1])`},
	"operator sets 11 and 18": {`
		opset 11
		x: N 4 6
		a = MatMul(x, w1[6 8])
		c = Clip(a, lo<0>, hi<6>)
		u = Unsqueeze(c) axes=[1]
		z = Squeeze(u) axes=[1]
		p q = Split(z) axis=-1 split=4,4
		m = Add(p, q)
		y = MatMul(m, w2[4 5])`, `
		opset 18
		x: N 4 6
		a = MatMul(x, w1[6 8])
		c = Clip(a, lo<0>, hi<6>)
		p q = Split(c, s{4 4}) axis=-1
		m = Add(p, q)
		y = MatMul(m, w2[4 5])`},
}

// twins returns the two networks of a pair of spellings, with the weights of the first.
func twins(t *testing.T, texts [2]string) (a, b *onnxio.Model) {
	t.Helper()
	a, b = parsed(t, texts[0]), parsed(t, texts[1])
	from, err := a.Graph()
	if err != nil {
		t.Fatal(err)
	}
	to, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, tp := range b.Proto.Graph.Initializer {
		own := from.Constant(tp.GetName())
		if own == nil || own.GetDataType() != int32(onnxio.Float) || onnxio.Elements(own) == 1 {
			continue
		}
		w, err := a.Tensor(own)
		if err != nil {
			t.Fatal(err)
		}
		var dims []int
		for _, d := range tp.Dims {
			dims = append(dims, int(d))
		}
		v := w.Float64()
		short := func(dims []int) []int {
			return slices.DeleteFunc(slices.Clone(dims), func(d int) bool { return d == 1 })
		}
		if have, want := short(w.Dims), short(dims); len(have) == 2 && !slices.Equal(have, want) {
			turned := make([]float64, len(v))
			for i := range v {
				turned[i%have[1]*have[0]+i/have[1]] = v[i]
			}
			v = turned
		}
		if err := to.SetConstant(onnxio.NewTensor(tp.GetName(), w.Type, dims, v)); err != nil {
			t.Fatal(err)
		}
	}
	to.Commit()
	return a, b
}

// What a network computes can be spelled in many ways: whichever two are paired, and in whatever
// order the channels of one are, its weights are found and laid out as the other's.
func TestSpellings(t *testing.T) {
	for name, texts := range spellings {
		t.Run(name, func(t *testing.T) {
			a, b := twins(t, texts)
			for _, m := range [][2]*onnxio.Model{{a, b}, {b, a}, {a, a}} {
				found(t, disordered(t, m[0]), m[1])
			}
		})
	}
}

// disordered is a copy of a model with its channels in another order, written as it is.
func disordered(t *testing.T, m *onnxio.Model) *onnxio.Model {
	t.Helper()
	s := Subject(t, m)
	out := permute(t, s)
	if err := s.Reshare(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// found fails where a model, moved onto one that computes the same, does not have its weights.
func found(t *testing.T, src, dst *onnxio.Model) {
	t.Helper()
	a, b := Subject(t, src), Subject(t, dst)
	pair, err := match.Pair(a, b)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := match.Onto(context.Background(), pair, match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	moved, err := edit.NewMoved(a, plan.Maps)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range modeltest.Floats(t, dst) {
		src, ok := pair.Sources[name]
		if len(want) == 1 {
			continue // numbers of a spelling
		}
		if !ok {
			t.Fatalf("weight %q has no source", name)
		}
		w, err := moved.Tensor(src.Name)
		if err != nil {
			t.Fatal(err)
		}
		if have := src.Laid(w).Float64(); !(modeltest.MaxDiff(t, want, have) <= 1e-5) {
			t.Errorf("weight %q differs by %g", name, modeltest.MaxDiff(t, want, have))
		}
	}
}

// Two spellings compute the same, as onnxruntime has it.
func TestSpellingsAreOfOneNetwork(t *testing.T) {
	enginetest.Require(t)
	for name, texts := range spellings {
		t.Run(name, func(t *testing.T) {
			a, b := twins(t, texts)
			d := modeltest.Noise(t, a, 4, 1)
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, a, d), modeltest.Outputs(t, b, d)); !(diff < 1e-5) {
				t.Errorf("they differ by %g", diff)
			}
		})
	}
}

// Networks that compute different functions of what they have in common do not pair.
func TestOtherFunctionsDoNotPair(t *testing.T) {
	const text = `
		x: N 4 6
		a = MatMul(x, w1[6 8])
		b = ACT(a)
		c = MatMul(b, w2[8 5])
		y = Identity(c)`
	gate := strings.Replace(text, "b = ACT(a)", "s = Sigmoid(a)\n\t\tb = Mul(a, s)", 1)
	for _, act := range []string{"Relu", "Sigmoid", "HardSwish", "Softplus"} {
		a, b := Subject(t, parsed(t, strings.Replace(text, "ACT", act, 1))), Subject(t, parsed(t, gate))
		if _, err := match.Pair(a, b); err == nil {
			t.Errorf("%s pairs with x·sigmoid(x)", act)
		}
	}
	mish := strings.Replace(text, "b = ACT(a)", "s = Softplus(a)\n\t\tu = Tanh(s)\n\t\tb = Mul(u, a)", 1)
	if _, err := match.Pair(Subject(t, parsed(t, "opset 18"+strings.Replace(text, "ACT", "Mish", 1))), Subject(t, parsed(t, mish))); err != nil {
		t.Errorf("Mish does not pair with x·tanh(softplus(x)): %v", err)
	}
}

// Activations that hold the same channels are paired where both models have them with the same axes.
func TestSpelledActivations(t *testing.T) {
	enginetest.Require(t)
	a, b := twins(t, spellings["LayerNormalization"])
	pair, err := match.Pair(Subject(t, disordered(t, a)), Subject(t, b))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "y"} {
		if pair.Tensors[name] != name {
			t.Errorf("activation %q is paired with %q", name, pair.Tensors[name])
		}
	}
	d := modeltest.Noise(t, a, 64, 1)
	plan, err := match.Onto(context.Background(), pair, match.Options{By: match.Activations, Data: d})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Maps) == 0 {
		t.Error("nothing was moved")
	}
}

// A scale of ones, as of a normalisation that was never trained, may be left out.
func TestScalesOfOnes(t *testing.T) {
	const text = `
		x: N 4 6
		a = MatMul(x, w1[6 8])
		p = Mul(a, a)
		v = ReduceMean(p) axes=[-1]
		e = Add(v, eps<0.00001>)
		q = Sqrt(e)
		n = Div(a, q)
		SCALE
		y = MatMul(g, w2[8 5])`
	with := parsed(t, strings.Replace(text, "SCALE", "g = Mul(n, s[8])", 1))
	without := parsed(t, strings.Replace(text, "SCALE", "g = Identity(n)", 1))
	pairs := func() bool {
		_, one := match.Pair(Subject(t, with), Subject(t, without))
		_, other := match.Pair(Subject(t, without), Subject(t, with))
		return one == nil && other == nil
	}
	if pairs() {
		t.Error("a scale has no counterpart")
	}
	g, err := with.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.SetConstant(onnxio.NewTensor("s", onnxio.Float, []int{8}, slices.Repeat([]float64{1}, 8))); err != nil {
		t.Fatal(err)
	}
	g.Commit()
	if !pairs() {
		t.Error("a scale of ones makes a difference")
	}
}

// distances is an attention of four heads, whose scores a bias is added to that BIAS makes.
const distances = `
	opset 17
	x: N 5 6
	q1 = MatMul(x, wq[6 16])
	k1 = MatMul(x, wk[6 16])
	v1 = MatMul(x, wv[6 16])
	q2 = Reshape(q1, rs{0 0 4 4})
	k2 = Reshape(k1, rs)
	v2 = Reshape(v1, rs)
	q3 = Transpose(q2) perm=0,2,1,3
	k3 = Transpose(k2) perm=0,2,3,1
	v3 = Transpose(v2) perm=0,2,1,3
	s = MatMul(q3, k3)
	BIAS
	p = Softmax(m) axis=-1
	o1 = MatMul(p, v3)
	o2 = Transpose(o1) perm=0,2,1,3
	o3 = Reshape(o2, rb{0 0 -1})
	y = MatMul(o3, wo[16 5])`

// One model reads what it adds to scores from a table of distances, and in the other the result is
// stored: they pair, head by head, but what is added is not averaged.
func TestTablesOfDistances(t *testing.T) {
	of := func(bias string) *edit.Subject {
		return Subject(t, parsed(t, strings.Replace(distances, "BIAS", bias, 1)))
	}
	read := of(`g = Gather(table[7 4], idx{3 2 1 0 0 4 3 2 1 0 5 4 3 2 1 6 5 4 3 2 6 6 5 4 3})
		f = Reshape(g, rf{5 5 4})
		c = Transpose(f) perm=2,0,1
		b = Unsqueeze(c, ax{0})
		m = Add(s, b)`)
	stored := of("m = Add(s, b[1 4 5 5])")
	for _, m := range [][2]*edit.Subject{{read, stored}, {stored, read}} {
		p, err := match.Pair(m[0], m[1])
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Apart) != 1 {
			t.Errorf("%v are not averaged", p.Apart)
		}
		heads := slices.IndexFunc(m[0].Analysis.Spaces, func(s *coupling.Space) bool { return s.Heads })
		if s := m[0].Analysis.Spaces[heads]; p.Spaces[s] == nil || !p.Spaces[s].Heads || s.Width != 4 {
			t.Errorf("heads of %d are %v", s.Width, p.Spaces[s])
		}
	}
}
