package match_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

// layers are small networks with a layer of every kind that makes or moves channels, in the
// notation of onnxtest.Parse.
var layers = map[string]string{
	"Conv": `
		x: N 3 6 6
		a = Conv(x, w1[8 3 3 3], b1[8])
		b = Relu(a)
		c = Conv(b, w2[6 8 3 3], b2[6])
		d = Relu(c)
		y = Conv(d, w3[4 6 1 1])`,
	"ConvTranspose": `
		x: N 3 6 6
		a = ConvTranspose(x, w1[3 8 3 3], b1[8])
		b = Relu(a)
		c = ConvTranspose(b, w2[8 6 2 2])
		d = Relu(c)
		y = Conv(d, w3[4 6 1 1])`,
	"grouped Conv": `
		x: N 4 6 6
		a = Conv(x, w1[8 4 3 3], b1[8])
		b = Relu(a)
		c = Conv(b, w2[12 4 1 1], b2[12]) group=2
		d = Relu(c)
		y = Conv(d, w3[4 12 1 1])`,
	"depthwise Conv with BatchNormalization": `
		x: N 4 6 6
		a = Conv(x, w1[8 4 1 1])
		b = Relu(a)
		c = Conv(b, w2[8 1 3 3]) group=8
		d = BatchNormalization(c, s[8], t[8], m[8], var[8])
		e = Relu(d)
		y = Conv(e, w3[4 8 1 1])`,
	"residual Conv with Gemm behind Flatten": `
		x: N 3 4 4
		a = Conv(x, w1[8 3 1 1], b1[8])
		b = Relu(a)
		c = Conv(b, w2[6 8 1 1], b2[6])
		d = Relu(c)
		e = Conv(d, w3[8 6 1 1])
		f = Add(e, a)
		g = Relu(f)
		h = Flatten(g)
		y = Gemm(h, w4[128 5], b4[5])`,
	"PRelu and InstanceNormalization": `
		x: N 3 6 6
		a = Conv(x, w1[8 3 3 3])
		b = InstanceNormalization(a, s[8], t[8])
		c = PRelu(b, slope[8 1 1])
		y = Conv(c, w2[4 8 1 1])`,
	"LayerNormalization": `
		x: N 5 6
		a = MatMul(x, w1[6 8])
		b = Add(a, b1[8])
		c = LayerNormalization(b, s[8], t[8]) axis=-1
		d = MatMul(c, w2[8 12])
		e = Relu(d)
		f = MatMul(e, w3[12 8])
		g = Add(f, b)
		y = MatMul(g, w4[8 4])`,
	"GroupNormalization": `
		opset 21
		x: N 3 6 6
		a = Conv(x, w1[12 3 3 3], b1[12])
		b = GroupNormalization(a, s[12], t[12]) num_groups=3
		c = Relu(b)
		y = Conv(c, w2[4 12 1 1])`,
	"GroupNormalization of reshapes": `
		x: N 3 6 6
		a = Conv(x, w1[12 3 3 3], b1[12])
		s0 = Shape(a)
		g = Reshape(a, r{0 3 -1})
		i = InstanceNormalization(g, one[3], zero[3])
		j = Reshape(i, s0)
		m = Mul(j, s[12 1 1])
		b = Add(m, t[12 1 1])
		c = Relu(b)
		y = Conv(c, w2[4 12 1 1])`,
	"GroupNormalization of means": `
		x: N 3 6 6
		a = Conv(x, w1[12 3 3 3], b1[12])
		s0 = Shape(a)
		g = Reshape(a, r{0 3 -1})
		mean = ReduceMean(g) axes=[2]
		cent = Sub(g, mean)
		sq = Mul(cent, cent)
		v = ReduceMean(sq) axes=[2]
		ve = Add(v, eps<0.001>)
		sd = Sqrt(ve)
		i = Div(cent, sd)
		j = Reshape(i, s0)
		m = Mul(j, s[12 1 1])
		b = Add(m, t[12 1 1])
		c = Relu(b)
		y = Conv(c, w2[4 12 1 1])`,
	"RNN": `
		x: 7 N 5
		a h = RNN(x, w1[1 32 5], r1[1 32 32], b1[1 64]) hidden_size=32
		b = Squeeze(a, ax{1})
		y = MatMul(b, w2[32 3])`,
	"RNN in reverse without bias": `
		x: 7 N 5
		a h = RNN(x, w1[1 8 5], r1[1 8 8]) hidden_size=8 direction=reverse
		b = Squeeze(a, ax{1})
		y = MatMul(b, w2[8 3])`,
	"GRU in both directions": `
		x: 7 N 5
		a h = GRU(x, w1[2 48 5], r1[2 48 16], b1[2 96]) hidden_size=16 direction=bidirectional
		b = Transpose(a) perm=0,2,1,3
		c = Reshape(b, rs{0 0 -1})
		y = MatMul(c, w2[32 3])`,
	"LSTM with peepholes and learned initial states": `
		x: 7 2 5
		a h c = LSTM(x, w1[1 32 5], r1[1 32 8], b1[1 64], _, h0[1 2 8], c0[1 2 8], p[1 24]) hidden_size=8
		b = Squeeze(a, ax{1})
		y = MatMul(b, w2[8 3])`,
	"LSTM, the last state": `
		x: 7 N 5
		a h c = LSTM(x, w1[2 32 5], r1[2 32 8], b1[2 64]) hidden_size=8 direction=bidirectional
		b = Transpose(h) perm=1,0,2
		d = Reshape(b, rs{0 16})
		y = MatMul(d, w2[16 3])`,
	"stacked LSTMs in both directions": `
		x: 7 N 5
		a h1 c1 = LSTM(x, w1[2 128 5], r1[2 128 32], b1[2 256]) hidden_size=32 direction=bidirectional
		b = Transpose(a) perm=0,2,1,3
		c = Reshape(b, rs{0 0 -1})
		d h2 c2 = LSTM(c, w2[2 128 64], r2[2 128 32], b2[2 256]) hidden_size=32 direction=bidirectional
		e = Transpose(d) perm=0,2,1,3
		f = Reshape(e, rs)
		y = MatMul(f, w3[64 3])`,
	"Embedding": `
		x: int N 4
		a = Gather(emb[9 8], x)
		b = MatMul(a, w1[8 12])
		c = Relu(b)
		y = MatMul(c, w2[12 3])`,
	"attention": `
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
		p = Softmax(s) axis=-1
		o1 = MatMul(p, v3)
		o2 = Transpose(o1) perm=0,2,1,3
		o3 = Reshape(o2, rb{0 0 -1})
		o4 = MatMul(o3, wo[12 12])
		z = Add(o4, h)
		y = MatMul(z, w1[12 4])`,
	"attention with normalised queries": `
		x: N 5 6
		h = MatMul(x, w0[6 12])
		q1 = MatMul(h, wq[12 12])
		k1 = MatMul(h, wk[12 12])
		v1 = MatMul(h, wv[12 12])
		q2 = Reshape(q1, rs{0 0 3 4})
		k2 = Reshape(k1, rs)
		v2 = Reshape(v1, rs)
		qn = LayerNormalization(q2, qs[4]) axis=-1
		kn = LayerNormalization(k2, ks[4]) axis=-1
		q3 = Transpose(qn) perm=0,2,1,3
		k3 = Transpose(kn) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s = MatMul(q3, k3)
		p = Softmax(s) axis=-1
		o1 = MatMul(p, v3)
		o2 = Transpose(o1) perm=0,2,1,3
		o3 = Reshape(o2, rb{0 0 -1})
		o4 = MatMul(o3, wo[12 12])
		z = Add(o4, h)
		y = MatMul(z, w1[12 4])`,
}

// moved is a model under the plans that move it onto another one by weights.
func moved(t *testing.T, src, dst *onnxio.Model, o match.Options) *onnxio.Model {
	t.Helper()
	a, b := Subject(t, src), Subject(t, dst)
	pair, err := match.Pair(a, b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := match.Onto(context.Background(), pair, o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := edit.Edit(a, r.Maps)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameWeights fails where two models do not hold the same numbers under the same names.
func sameWeights(t *testing.T, want, have *onnxio.Model) {
	t.Helper()
	got := modeltest.Floats(t, have)
	for name, w := range modeltest.Floats(t, want) {
		if diff := modeltest.MaxDiff(t, append(w, 1e-3), append(got[name], 1e-3)); !(diff <= 1e-5) {
			t.Errorf("weight %q differs by %g", name, diff)
		}
	}
}

// A copy with all channels in another order has, moved back by its weights alone, those of the
// original, to the last but one digit: whatever share of it is taken, the result is the original.
func TestPermutedWeightsAreFound(t *testing.T) {
	for name, text := range layers {
		t.Run(name, func(t *testing.T) {
			m := parsed(t, text)
			p := permute(t, Subject(t, m))
			sameWeights(t, m, moved(t, p, m, match.Options{}))
			sameWeights(t, p, moved(t, m, p, match.Options{}))
		})
	}
}

// A network that has every channel several times, and reads each copy by a part, has the weights of
// the original once it is moved onto it.
func TestCopiesOfChannelsAreFound(t *testing.T) {
	for name, text := range layers {
		t.Run(name, func(t *testing.T) {
			m := parsed(t, text)
			s := Subject(t, m)
			wide, copies := spread(t, s)
			if copies == 0 {
				t.Skip("no space may be narrowed")
			}
			sameWeights(t, m, moved(t, wide, m, match.Options{Scaling: edit.Sum}))
		})
	}
}

// spread gives every channel of the spaces that may get fewer two copies, in a random order, which
// their consumers read by parts of any size.
func spread(t *testing.T, s *edit.Subject) (wide *onnxio.Model, spaces int) {
	t.Helper()
	maps := edit.Maps{}
	for i, sp := range s.Analysis.Spaces {
		if !sp.Narrowable() || len(sp.Pieces) > 1 {
			continue
		}
		m := &edit.Map{Pieces: []int{2 * sp.Width}}
		for g := range sp.Groups {
			rng := rand.New(rand.NewPCG(uint64(i), uint64(g)))
			in, out := make(edit.Rows, 2*sp.Width), make(edit.Rows, 2*sp.Width)
			share := make([]float64, sp.Width)
			for j, at := range rng.Perm(2 * sp.Width) {
				c := j / 2
				if j%2 == 0 {
					share[c] = math.Round(16*(0.25+rng.Float64()/2)) / 16
				} else {
					share[c] = 1 - share[c]
				}
				in[at] = []edit.Entry{{Col: c, Val: 1}}
				out[at] = []edit.Entry{{Col: c, Val: share[c]}}
			}
			m.Groups = append(m.Groups, edit.Transfer{In: in, OutT: out})
		}
		maps[sp] = m
	}
	wide, err := edit.Edit(s, maps)
	if err != nil {
		t.Fatal(err)
	}
	return wide, len(maps)
}

// Directions and last states show their channels on data too.
func TestPermutedActivationsAreFound(t *testing.T) {
	enginetest.Require(t)
	for name, text := range map[string]string{
		"both directions": `
			x: N 7 5
			xt = Transpose(x) perm=1,0,2
			a h = GRU(xt, w1[2 24 5], r1[2 24 8], b1[2 48]) hidden_size=8 direction=bidirectional
			b = Transpose(a) perm=2,0,1,3
			c = Reshape(b, rs{0 0 -1})
			y = MatMul(c, w2[16 3])`,
		"the last state": `
			x: N 7 5
			xt = Transpose(x) perm=1,0,2
			a h c = LSTM(xt, w1[2 32 5], r1[2 32 8], b1[2 64]) hidden_size=8 direction=bidirectional
			b = Transpose(h) perm=1,0,2
			d = Reshape(b, rs{0 16})
			y = MatMul(d, w2[16 3])`,
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			v := make([]float32, 64*7*5)
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			d, err := dataset.New("noise", map[string]*engine.Value{"x": engine.Float32(v, 64, 7, 5)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			m := parsed(t, text)
			o := match.Options{By: match.Activations, Data: d}
			sameWeights(t, m, moved(t, permute(t, Subject(t, m)), m, o))
		})
	}
}
