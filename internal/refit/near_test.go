package refit_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// linearBranches are networks with a branch that is linear, and the operators that take over.
var linearBranches = map[string]struct {
	text string
	by   []string
}{
	"what makes the stream": {`
		x: N 3 6 6
		s = Conv(x, w0[8 3 3 3], b0[8])
		p = Conv(s, w1[8 8 1 1], b1[8])
		a = Add(s, p)
		r = Relu(a)
		y = Conv(r, w2[4 8 1 1], b2[4])`, []string{"Conv_s", "Conv_y"}},
	"what reads the stream": {`
		x: N 12
		r = Relu(x)
		p = Gemm(r, w1[12 12], b1[12])
		a = Add(p, r)
		h = Gemm(a, w2[12 20], b2[20])
		z = Tanh(h)
		y = Gemm(z, w3[20 4], b3[4])`, []string{"Gemm_h"}},
	"the branch before": {`
		x: N 5 12
		e = MatMul(x, we[12 10])
		f = Add(e, be[10])
		u = MatMul(f, w1[10 20])
		z = Tanh(u)
		v = MatMul(z, w2[20 10])
		h = Add(f, v)
		p = MatMul(h, w3[10 10])
		a = Add(h, p)
		t = Tanh(a)
		y = MatMul(t, wy[10 3])`, nil},
}

// A linear branch that is dropped goes into what makes or reads the stream, exactly where these can
// take all of it.
func TestNearTakesLinearBranchOver(t *testing.T) {
	for name, c := range linearBranches {
		m, err := onnxtest.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		s, err := edit.NewSubject(m, coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		blocks := s.Analysis.Blocks()
		child := s.Model.Clone()
		dropped, err := edit.Drop(child, blocks[len(blocks)-1:])
		if err != nil {
			t.Fatal(err)
		}
		d := modeltest.Noise(t, m, 200, 3)
		parents := teach.Parents{{Subject: s, Share: 1, Beneath: dropped.Beneath}}
		near, report, err := refit.Refit(context.Background(), child, parents, refit.Options{Data: d, Near: dropped.Changed})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var fitted []string
		for _, l := range report.Layers {
			fitted = append(fitted, l.Name)
		}
		if c.by != nil && !slices.Equal(fitted, c.by) {
			t.Errorf("%s: fitted are %v, want %v", name, fitted, c.by)
		}
		want := modeltest.Outputs(t, m, d)
		without, taken := modeltest.RelativeError(want, modeltest.Outputs(t, child, d)), modeltest.RelativeError(want, modeltest.Outputs(t, near, d))
		if !(taken < without/4) {
			t.Errorf("%s: error %g, without a fit %g", name, taken, without)
		}
		out, _, err := refit.Refit(context.Background(), near, parents, refit.Options{Data: d})
		if err != nil {
			t.Fatal(err)
		}
		if e := modeltest.RelativeError(want, modeltest.Outputs(t, out, d)); c.by != nil && e > 1e-4 {
			t.Errorf("%s: error %g after all fits: the branch is linear", name, e)
		}
	}
}

// Blocks that add nothing cost nothing, however many stand between Relus in a row: what takes over is
// not made to aim at what a Relu has cut off.
func TestNearOfZeroBlocks(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 3 6 6
		s = Conv(x, w0[8 3 3 3], b0[8]) pads=1,1,1,1
		r = Relu(s)
		c = Conv(r, w1[8 8 3 3], b1[8]) pads=1,1,1,1
		a = Add(c, r)
		h = Relu(a)
		k = Conv(h, zero1[8 8 3 3]) pads=1,1,1,1
		l = Add(h, k)
		m = Relu(l)
		n = Conv(m, zero2[8 8 3 3]) pads=1,1,1,1
		o = Add(n, m)
		p = Relu(o)
		y = Conv(p, w3[4 8 1 1], b3[4])`)
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"zero1", "zero2"} {
		if err := g.SetConstant(onnxio.NewTensor(name, onnxio.Float, []int{8, 8, 3, 3}, make([]float64, 8*8*9))); err != nil {
			t.Fatal(err)
		}
	}
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	child := s.Model.Clone()
	dropped, err := edit.Drop(child, s.Analysis.Blocks()[1:])
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string][]string{"o": {"l", "a"}}; !maps.EqualFunc(dropped.Beneath, want, slices.Equal) {
		t.Errorf("beneath are %v, want %v", dropped.Beneath, want)
	}
	d := modeltest.Noise(t, m, 100, 3)
	out, _, err := refit.Refit(context.Background(), child, teach.Parents{{Subject: s, Share: 1, Beneath: dropped.Beneath}}, refit.Options{Data: d, Near: dropped.Changed})
	if err != nil {
		t.Fatal(err)
	}
	if e := modeltest.RelativeError(modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); e > 1e-5 {
		t.Errorf("error %g", e)
	}
}
