package qdq_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// ops counts the operators of a model.
func ops(m *onnxio.Model) map[string]int {
	out := map[string]int{}
	for _, n := range m.Proto.GetGraph().GetNode() {
		out[n.GetOpType()]++
	}
	return out
}

// run computes a model's one output on a few random samples.
func run(t *testing.T, m *onnxio.Model) []float64 {
	t.Helper()
	s, err := engine.Open(m, engine.Options{AsWritten: true, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	info := s.Inputs()[0]
	dims, n := []int{4}, 4
	for _, d := range info.Dims[1:] {
		dims, n = append(dims, int(d)), n*int(d)
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	out, err := s.Run(context.Background(), map[string]*engine.Value{info.Name: engine.Float32(v, dims...)})
	if err != nil {
		t.Fatal(err)
	}
	return out[s.Outputs()[0].Name].Float64()
}

// A quantised model and the same in ordinary operators compute the same, and what comes back is the
// original.
func TestThereAndBack(t *testing.T) {
	enginetest.Require(t)
	for _, f := range onnxtest.Quantized() {
		t.Run(f.Name, func(t *testing.T) {
			m, err := f.Model()
			if err != nil {
				t.Fatal(err)
			}
			x, form, err := qdq.Expand(m)
			if err != nil {
				t.Fatal(err)
			}
			for op := range ops(x) {
				if strings.HasPrefix(op, "Q") && op != "QuantizeLinear" || strings.HasSuffix(op, "Integer") || op == "Cast" {
					t.Errorf("%s is there still", op)
				}
			}
			want := run(t, m)
			// A step of what the last layer makes may be rounded the other way.
			if d := modeltest.MaxDiff(t, want, run(t, x)); d > 0.02 {
				t.Errorf("the expanded model differs by %g", d)
			}
			back, err := form.Restore(x)
			if err != nil {
				t.Fatal(err)
			}
			if d := modeltest.MaxDiff(t, want, run(t, back)); d != 0 {
				t.Errorf("the restored model differs by %g", d)
			}
			if !maps.Equal(ops(m), ops(back)) {
				t.Errorf("operators %v, want %v", ops(back), ops(m))
			}
			_, before := m.Size()
			if _, after := back.Size(); after > before {
				t.Errorf("%d bytes, had %d", after, before)
			}
			for _, w := range m.Proto.GetGraph().GetInitializer() {
				i := slices.IndexFunc(back.Proto.GetGraph().GetInitializer(), func(o *onnxpb.TensorProto) bool { return o.GetName() == w.GetName() })
				if i < 0 || string(back.Proto.Graph.Initializer[i].GetRawData()) != string(w.GetRawData()) {
					t.Errorf("constant %q changed", w.GetName())
				}
			}
		})
	}
}
