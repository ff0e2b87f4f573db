package fuse

import (
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

// A weighted sum comes out the same, at once and a few rows at a time.
func TestSumByParts(t *testing.T) {
	target, err := edit.NewSubject(modeltest.Load(t, "mlp_a"), coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAverage(target, target.Model, 0.3, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := modeltest.Load(t, "mlp_b")
	g, err := other.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for name := range target.Analysis.Weights {
		terms := func() []term {
			out := []term{{nil, 0.3}}
			for _, share := range []float64{0.5, 0.2} {
				v, err := other.Tensor(g.Constant(name))
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, term{v, share})
			}
			return out
		}
		whole := terms()
		if whole[0].tensor, err = a.out.Tensor(a.graph.Constant(name)); err != nil {
			t.Fatal(err)
		}
		want, err := total(whole)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.sumByParts(a.graph.Constant(name), terms(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if got.Type != onnxio.Float || !slices.Equal(got.Dims, want.Dims) || !slices.Equal(got.F32, want.F32) {
			t.Errorf("%q: %v by parts, %v at once, or other numbers", name, got.Dims, want.Dims)
		}
	}
}
