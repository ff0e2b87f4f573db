package fuse_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// attention has HEADS heads of four dimensions, whose keys and values have as many heads or, where
// several heads of queries share them, GROUPS.
const attention = `
	x: N 5 6
	h = MatMul(x, w0[6 8])
	q1 = MatMul(h, wq[8 16])
	k1 = MatMul(h, wk[8 KV])
	v1 = MatMul(h, wv[8 KV])
	q2 = Reshape(q1, rs{0 0 4 4})
	k2 = Reshape(k1, rk{0 0 GROUPS 4})
	v2 = Reshape(v1, rk)
	q3 = Transpose(q2) perm=0,2,1,3
	k3 = Transpose(k2) perm=0,2,1,3
	v3 = Transpose(v2) perm=0,2,1,3
	REPEAT
	k6 = Transpose(k5) perm=0,1,3,2
	s0 = MatMul(q3, k6)
	SCALE
	p = Softmax(s) axis=-1
	o1 = MatMul(p, v5)
	o2 = Transpose(o1) perm=0,2,1,3
	o3 = Reshape(o2, rb{0 0 -1})
	NORM
	o4 = MatMul(n, wo[16 8])
	z = Add(o4, h)
	y = MatMul(z, w1[8 4])`

// repeat lets heads of queries share those of keys and values.
const repeat = `ku = Unsqueeze(k3, ax{2})
	vu = Unsqueeze(v3, ax)
	ke = Expand(ku, re{1 1 2 1 1})
	ve = Expand(vu, re)
	k5 = Reshape(ke, rh{0 4 -1 4})
	v5 = Reshape(ve, rh)`

// norm divides what each group of heads gives by its own size, so that the axis reads as groups of
// (heads and dimensions) there, and as (groups and heads) of dimensions before it.
const norm = `og = Reshape(o3, rg{0 0 2 8})
	sq = Mul(og, og)
	ms = ReduceMean(sq) axes=[3] keepdims=1
	rt = Sqrt(ms)
	dv = Div(og, rt)
	n = Reshape(dv, rb)`

// second is another layer of heads, which are scaled by the same weight as those of the first.
const second = `qa = MatMul(o3, wqa[16 16])
	ka = MatMul(o3, wka[16 16])
	va = MatMul(o3, wva[16 16])
	qb = Reshape(qa, rs)
	kb = Reshape(ka, rs)
	vb = Reshape(va, rs)
	qc = Transpose(qb) perm=0,2,1,3
	kc = Transpose(kb) perm=0,2,3,1
	vc = Transpose(vb) perm=0,2,1,3
	sa = MatMul(qc, kc)
	sb = Mul(sa, temp)
	pa = Softmax(sb) axis=-1
	oa = MatMul(pa, vc)
	ob = Transpose(oa) perm=0,2,1,3
	n = Reshape(ob, rb)`

const (
	plain  = "n = Identity(o3)"
	scaled = "s = Mul(s0, temp[4 1 1])"
)

var kinds = map[string]*strings.Replacer{
	"heads":                         strings.NewReplacer("KV", "16", "GROUPS", "4", "REPEAT", "k5 = Identity(k3)\n\tv5 = Identity(v3)", "NORM", plain, "SCALE", "s = Identity(s0)"),
	"groups of heads":               strings.NewReplacer("KV", "8", "GROUPS", "2", "REPEAT", repeat, "NORM", plain, "SCALE", "s = Identity(s0)"),
	"groups of heads, each to norm": strings.NewReplacer("KV", "8", "GROUPS", "2", "REPEAT", repeat, "NORM", norm, "SCALE", "s = Identity(s0)"),
	"heads of a common scale":       strings.NewReplacer("KV", "16", "GROUPS", "4", "REPEAT", "k5 = Identity(k3)\n\tv5 = Identity(v3)", "NORM", second, "SCALE", scaled),
}

func headsOf(t *testing.T, kind string) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(kinds[kind].Replace(attention))
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if g.Constant("temp") == nil {
		return m
	}
	if err := g.SetConstant(onnxio.NewTensor("temp", onnxio.Float, []int{4, 1, 1}, []float64{1, 1, 1, 1})); err != nil { // as it is before training
		t.Fatal(err)
	}
	g.Commit()
	return m
}

// A model takes one that has fewer heads, down to a single one, in which no axis shows that it is a
// head.
func TestSingleHeads(t *testing.T) {
	for name := range kinds {
		for _, keep := range []float64{0.5, 0.25} {
			m := headsOf(t, name)
			half, _, err := compress.Model(context.Background(), m, compress.Options{Keep: keep, Options: job.Options{NoData: true}})
			if err != nil {
				t.Fatal(err)
			}
			out, r, err := fuse.Models(context.Background(), []*onnxio.Model{m, half}, fuse.Options{Options: job.Options{NoData: true}})
			if err != nil {
				t.Errorf("%s, %g: %v", name, keep, err)
				continue
			}
			if len(r.Kept) > 0 {
				t.Errorf("%s, %g: %d weights are those of the half", name, keep, len(r.Kept))
			}
			d := modeltest.Noise(t, m, 4, 1)
			modeltest.FiniteWhere(t, half, out, d)
			with := job.Options{Data: modeltest.Noise(t, m, 40, 2), Tune: job.Off, NoEval: true}
			if _, _, err := fuse.Models(context.Background(), []*onnxio.Model{m, half}, fuse.Options{Options: with}); err != nil {
				t.Errorf("%s, %g, with data: %v", name, keep, err)
			}
			if _, _, err := compress.Into(context.Background(), m, half, compress.Options{Options: with}); err != nil {
				t.Errorf("%s, %g, into, with data: %v", name, keep, err)
			}
			into, _, err := compress.Into(context.Background(), m, half, compress.Options{Options: job.Options{NoData: true}})
			if err != nil {
				t.Errorf("%s, %g: %v", name, keep, err)
				continue
			}
			for w, v := range modeltest.Floats(t, half) {
				if n := len(modeltest.Floats(t, into)[w]); n != len(v) {
					t.Errorf("%s, %g: weight %q has %d numbers, want %d", name, keep, w, n, len(v))
				}
			}
		}
	}
}

// A model with a single head, which no axis shows, or with keys and values that all heads share, goes
// onto one that has several: what it has once is repeated, which is the same function.
func TestHeadsAreRepeated(t *testing.T) {
	shared := strings.NewReplacer("KV", "4", "k2 = Reshape(k1, rk{0 0 GROUPS 4})", "k2 = Unsqueeze(k1, ax{2})",
		"v2 = Reshape(v1, rk)", "v2 = Unsqueeze(v1, ax)", "REPEAT", "k5 = Identity(k3)\n\tv5 = Identity(v3)", "NORM", plain, "SCALE", "s = Identity(s0)").Replace(attention)
	multi, err := onnxtest.Parse(shared)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		narrow, wide *onnxio.Model
	}{
		"heads":                          {nil, headsOf(t, "heads")},
		"groups of heads":                {nil, headsOf(t, "groups of heads")},
		"heads of a common scale":        {nil, headsOf(t, "heads of a common scale")},
		"shared by all heads, onto each": {multi, headsOf(t, "heads")},
	} {
		narrow := c.narrow
		if narrow == nil {
			if narrow, _, err = compress.Model(context.Background(), c.wide, compress.Options{Keep: 0.25, Options: job.Options{NoData: true}}); err != nil {
				t.Fatal(err)
			}
		}
		o := fuse.Options{Weights: []float64{1, 0}, Options: job.Options{NoData: true, Scaling: "sum"}}
		out, r, err := fuse.Models(context.Background(), []*onnxio.Model{narrow, c.wide}, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(r.Kept) > 0 {
			t.Errorf("%s: weights are not averaged: %v", name, r.Kept)
		}
		d := modeltest.Noise(t, c.wide, 8, 1)
		want := modeltest.Outputs(t, narrow, d)
		if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, out, d)); !(diff < 1e-4) {
			t.Errorf("%s: the outputs differ by %g", name, diff)
		}
		with := job.Options{Data: modeltest.Noise(t, c.wide, 40, 2), Tune: job.Off, NoEval: true}
		if _, _, err := fuse.Models(context.Background(), []*onnxio.Model{narrow, c.wide}, fuse.Options{Options: with}); err != nil {
			t.Errorf("%s, with data: %v", name, err)
		}
		for _, with := range []job.Options{{NoData: true}, with} {
			into, _, err := compress.Into(context.Background(), narrow, c.wide, compress.Options{Options: with})
			if err != nil {
				t.Errorf("%s, into: %v", name, err)
				continue
			}
			for w, v := range modeltest.Floats(t, c.wide) {
				if n := len(modeltest.Floats(t, into)[w]); n != len(v) && name != "shared by all heads, onto each" {
					t.Errorf("%s, into: weight %q has %d numbers, want %d", name, w, n, len(v))
				}
			}
		}
	}
}

// A convolution of each channel by itself that is left with one channel does not show what it is.
func TestLoneChannels(t *testing.T) {
	const text = `
		x: N 3 6 6
		a = Conv(x, w1[N 3 1 1], b1[N])
		b = Relu(a)
		c = Conv(b, w2[N 1 3 3], b2[N]) group=N
		d = Relu(c)
		y = Conv(d, w3[4 N 1 1], b3[4])`
	var models []*onnxio.Model
	for _, n := range []string{"1", "8"} {
		m, err := onnxtest.Parse(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(text, "[N", "["+n), "4 N", "4 "+n), "group=N", "group="+n))
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, m)
	}
	d := modeltest.Noise(t, models[0], 8, 1)
	narrow := modeltest.Outputs(t, models[0], d)
	out, _, err := fuse.Models(context.Background(), models, fuse.Options{Weights: []float64{1, 0}, Options: job.Options{NoData: true, Scaling: "sum"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := modeltest.MaxDiff(t, narrow, modeltest.Outputs(t, out, d)); !(diff < 1e-4) {
		t.Errorf("in the wide one's shape the outputs differ by %g", diff)
	}
	slices.Reverse(models)
	for _, with := range []job.Options{{NoData: true}, {Data: modeltest.Noise(t, models[0], 40, 2), Tune: job.Off, NoEval: true}} {
		if out, _, err = fuse.Models(context.Background(), models, fuse.Options{Options: with}); err != nil {
			t.Fatal(err)
		}
		modeltest.FiniteWhere(t, models[1], out, d)
		if _, _, err := compress.Into(context.Background(), models[0], models[1], compress.Options{Options: with}); err != nil {
			t.Error(err)
		}
	}
}
