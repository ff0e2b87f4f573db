package compress_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/align"
	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A model whose weights are stored as integers is narrowed, with data and
// without, and keeps them as integers.
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
	data, err := engine.NewData("random", map[string]*engine.Value{"x": engine.Float32(v, 64, 5)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]compress.Options{
		"weights":     {Keep: 0.5},
		"activations": {Keep: 0.5, Refit: compress.RefitOff, Align: align.Options{By: align.Activations, Data: data}},
		"refit":       {Keep: 0.5, RefitData: data, Tune: 2},
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
