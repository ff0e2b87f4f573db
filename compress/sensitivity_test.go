package compress_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Of a space whose channels all occur twice half can go at no cost; of one that says something new
// with every channel it cannot. What is saved is of the layers on both sides.
func TestSensitivity(t *testing.T) {
	enginetest.Require(t)
	m, err := onnxtest.Parse("x: N 6\nh = Gemm(x, w[6 8], b[8])\nr = Relu(h)\nk = Gemm(r, u[8 8], c[8])\ns = Relu(k)\ny = Gemm(s, v[8 5], d[5])")
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for name, rows := range map[string]int{"w": 6, "b": 1} {
		w, err := m.Tensor(g.Constant(name))
		if err != nil {
			t.Fatal(err)
		}
		for r := range rows {
			copy(w.F32[8*r+4:8*r+8], w.F32[8*r:8*r+4])
		}
		w.Name = name
		if err := g.SetConstant(w); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 200*6)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	data, err := dataset.New("noise", map[string]*engine.Value{"x": engine.Float32(x, 200, 6)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := compress.Sensitivity(context.Background(), m, compress.Options{Options: job.Options{Data: data, Lossless: job.Off, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Spaces) != 2 || r.Spaces[0].Width != 8 || len(r.Spaces[0].Narrowed) != 2 || len(r.Spaces[1].Narrowed) != 2 {
		t.Fatalf("%+v", r.Spaces)
	}
	half := func(i int) compress.Narrowed { return r.Spaces[i].Narrowed[1] }
	if a, b := half(0), half(1); !(a.Divergence > 1e-3) || b.Divergence > 1e-6 || a.Width != 4 || a.Share != 0.5 || b.MACs != 4*6+8*4 || b.Params != 4*6+4+8*4 || a.MACs != 8*4+4*5 {
		t.Errorf("%+v\n%+v", a, b)
	}
	after, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, after) {
		t.Error("the model was changed")
	}
}

// What has no meaning is a mistake, and a model of which nothing can be narrowed an error.
func TestSensitivityMistakes(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	for name, o := range map[string]compress.Options{
		"budget": {Keep: 0.5}, "no data": {Options: job.Options{NoData: true}}, "multiple": {Multiple: -1},
	} {
		_, err := compress.Sensitivity(context.Background(), m, o)
		if mistake := (*job.Mistake)(nil); !errors.As(err, &mistake) {
			t.Errorf("%s: %v", name, err)
		}
	}
	frozen, err := onnxtest.Parse("x: N 6\ny = Gemm(x, w[6 8], b[8])")
	if err != nil {
		t.Fatal(err)
	}
	enginetest.Require(t)
	if _, err := compress.Sensitivity(context.Background(), frozen, compress.Options{}); !errors.Is(err, compress.ErrNothing) {
		t.Errorf("%v", err)
	}
}
