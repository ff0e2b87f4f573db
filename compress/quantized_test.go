package compress_test

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A model whose weights are stored as integers is narrowed, with data and without, and keeps them
// as integers.
func TestQuantizedWeights(t *testing.T) {
	enginetest.Require(t)
	m, err := onnxtest.Parse(`
		x: N 5
		wa = DequantizeLinear(int8_a[5 16], var_a[16]) axis=1
		a = MatMul(x, wa)
		b = Relu(a)
		wc = DequantizeLinear(int8_c[12 16], step<0.013>)
		c = Gemm(b, wc, bias[12]) transB=1
		d = Relu(c)
		wy = DequantizeLinear(int8_y[12 3], step2<0.01>)
		y = MatMul(d, wy)`)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	v := make([]float32, 64*5)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	data, err := dataset.New("random", map[string]*engine.Value{"x": engine.Float32(v, 64, 5)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]compress.Options{
		"weights": {Keep: 0.5, Options: job.Options{NoData: true}}, "activations": {Keep: 0.5, Options: job.Options{Data: data, Refit: job.Off, NoEval: true}},
		"refit": {Keep: 0.5, Options: job.Options{Data: data, Tune: job.On, Epochs: 2, NoEval: true}},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := compress.Model(context.Background(), m, o)
			if err != nil {
				t.Fatal(err)
			}
			a, err := coupling.Analyze(out, coupling.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for weight, dims := range map[string][2]int{"int8_a": {5, 8}, "int8_c": {6, 8}, "int8_y": {6, 3}} {
				w := a.Weights[weight]
				if w == nil || w.Quant == nil || w.Axes[0].Size() != dims[0] || w.Axes[1].Size() != dims[1] {
					t.Errorf("%s is %+v, want %v of integers", weight, w, dims)
				}
			}
			s, err := engine.Open(out, engine.Options{Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Run(context.Background(), map[string]*engine.Value{"x": engine.Float32(v[:10], 2, 5)}); err != nil {
				t.Error(err)
			}
		})
	}
}

// operators counts the operators of a model.
func operators(m *onnxio.Model) map[string]int {
	out := map[string]int{}
	for _, n := range m.Proto.GetGraph().GetNode() {
		out[n.GetOpType()]++
	}
	return out
}

// However a quantised model is written, half of its channels go, with data and without; it stays
// written that way, is smaller, and what is left computes finite numbers. Parameters are counted
// alike everywhere.
func TestQuantizedForms(t *testing.T) {
	enginetest.Require(t)
	forms := onnxtest.Quantized()
	for _, f := range forms { // a shape may have the channels written out
		if g := strings.ReplaceAll(f.Graph, "shape{1 -1 1 1}", "shape{1 16 1 1}"); g != f.Graph {
			forms = append(forms, onnxtest.Form{Name: f.Name + ", in so many channels", Graph: g})
		}
	}
	for _, f := range forms {
		m, err := f.Model()
		if err != nil {
			t.Fatal(err)
		}
		data := modeltest.Noise(t, m, 40, 3)
		for name, o := range map[string]compress.Options{
			"weights": {Keep: 0.5, Options: job.Options{NoData: true}}, "refit": {Keep: 0.5, Options: job.Options{Data: data, Tune: job.Off, NoEval: true}},
			"params": {Params: 0.6, Options: job.Options{Data: data, Tune: job.Off, NoEval: true}},
		} {
			t.Run(f.Name+"/"+name, func(t *testing.T) {
				before, bytes := m.Size()
				out, r, err := compress.Model(context.Background(), m, o)
				if err != nil {
					t.Fatal(err)
				}
				after, less := out.Size()
				if r.Before.Params != before || r.After.Params != after {
					t.Errorf("%d → %d parameters reported, there are %d → %d", r.Before.Params, r.After.Params, before, after)
				}
				if less >= bytes || after >= before {
					t.Errorf("%d bytes and %d parameters, had %d and %d", less, after, bytes, before)
				}
				if !maps.Equal(operators(m), operators(out)) {
					t.Errorf("operators %v, had %v", operators(out), operators(m))
				}
				if !slices.ContainsFunc(r.Spaces, func(s compress.Space) bool { return s.Before == 16 && s.After < 16 && (o.Keep == 0 || s.After == 8) }) {
					t.Errorf("spaces %+v", r.Spaces)
				}
				if o.Params > 0 && float64(after) > 0.6*float64(before)+1 {
					t.Errorf("%d of %d parameters remain", after, before)
				}
				for _, x := range modeltest.Outputs(t, out, data) {
					if math.IsNaN(x) || math.IsInf(x, 0) {
						t.Fatal("an output is not finite")
					}
				}
			})
		}
	}
}

// Weights that leave the last of eight bits alone, since sums of products overflow on some
// processors, do so when they are narrowed and refitted, too.
func TestReachOfIntegers(t *testing.T) {
	enginetest.Require(t)
	m := parse(t, `
		x: N 6
		wa = DequantizeLinear(int8_a[6 16], var_a[16]) axis=1
		a = MatMul(x, wa)
		b = Relu(a)
		wc = DequantizeLinear(int8_c[16 5], var_c[5]) axis=1
		y = MatMul(b, wc)`)
	const seven = 64
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"int8_a", "int8_c"}
	for _, name := range names {
		w, err := m.Tensor(g.Constant(name))
		if err != nil {
			t.Fatal(err)
		}
		for i := range w.I64 {
			w.I64[i] = max(-seven, min(seven, w.I64[i]))
		}
		w.I64[0] = seven
		if err := g.SetConstant(w); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []compress.Options{{Keep: 0.5, Options: job.Options{NoData: true}}, {Keep: 0.5, Options: job.Options{Data: modeltest.Noise(t, m, 40, 3), Tune: job.Off, NoEval: true}}} {
		out, _, err := compress.Model(context.Background(), m, o)
		if err != nil {
			t.Fatal(err)
		}
		g, err := out.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			w, err := out.Tensor(g.Constant(name))
			if err != nil {
				t.Fatal(err)
			}
			if slices.Max(w.I64) > seven || slices.Min(w.I64) < -seven {
				t.Errorf("%s reaches from %d to %d", name, slices.Min(w.I64), slices.Max(w.I64))
			}
		}
	}
}
