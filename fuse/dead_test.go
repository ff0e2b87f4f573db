package fuse_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// dead is a copy of a model in which some tensors, named with blanks in between, are zero.
func dead(t *testing.T, m *onnxio.Model, names string) *onnxio.Model {
	t.Helper()
	m = m.Clone()
	for i, tp := range m.Proto.Graph.Initializer {
		if slices.Contains(strings.Fields(names), tp.GetName()) {
			w, err := m.Tensor(tp)
			if err != nil {
				t.Fatal(err)
			}
			m.Proto.Graph.Initializer[i] = onnxio.NewTensor(w.Name, w.Type, w.Dims, make([]float64, w.Len())).Proto()
		}
	}
	return m
}

// Layers whose weights are all zero, so that nothing varies behind them, are fused like others.
func TestDeadLayers(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 8
		a = Gemm(x, w1[8 12], b1[12])
		b = Relu(a)
		h = Gemm(b, w2[12 7], b2[7])
		r = Relu(h)
		y = Gemm(r, w3[7 4], b3[4])`)
	if err != nil {
		t.Fatal(err)
	}
	d := modeltest.Noise(t, m, 80, 1)
	other := modeltest.Redrawn(t, m, 2)
	for _, names := range []string{"w1", "w2 b2", "w1 b1 w2 b2 w3 b3"} {
		t.Run(names, func(t *testing.T) {
			out, r, err := fuse.Models(context.Background(), []*onnxio.Model{other, dead(t, m, names)}, fuse.Options{Options: job.Options{Data: d, Tune: job.Off}})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.Candidates {
				if math.IsNaN(c.Divergence) || math.IsInf(c.Divergence, 0) {
					t.Errorf("divergence %g of %+v", c.Divergence, c)
				}
			}
			if slices.ContainsFunc(modeltest.Outputs(t, out, d), func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }) {
				t.Error("outputs are not finite")
			}
		})
	}
}
