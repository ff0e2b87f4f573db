package tune

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func TestLimit(t *testing.T) {
	for _, c := range []struct{ batch, limit, units, runs int }{
		{16, 100, 16, 1}, {16, 8, 8, 2}, {16, 7, 4, 4}, {28, 5, 4, 7}, {31, 4, 4, 7}, {31, 0, 1, 31}, {5, 4, 4, 1},
	} {
		r := &reader{unit: 1, units: c.batch, runs: 1}
		if r.limit(c.limit); r.units != c.units || r.runs != c.runs {
			t.Errorf("%d samples by %d: %d runs of %d, want %d of %d", c.batch, c.limit, r.runs, r.units, c.runs, c.units)
		}
	}
}

// Little memory divides a step into runs, and changes nothing else.
func TestMemoryDividesSteps(t *testing.T) {
	m, err := onnxtest.Parse("x: N 3 8 8\nh = Conv(x, w[16 3 3 3], b[16]) pads=1,1,1,1\nr = Relu(h)\nd = Conv(r, v[16 1 3 3], c[16]) group=16 pads=1,1,1,1\ns = Relu(d)\ng = GlobalAveragePool(s)\nf = Flatten(g)\ny = Gemm(f, u[16 4], e[4])")
	if err != nil {
		t.Fatal(err)
	}
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	child := m.Clone()
	g, err := child.Graph()
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Tensor(g.Constant("u"))
	if err != nil {
		t.Fatal(err)
	}
	half := w.Float64()
	for i := range half {
		half[i] /= 2
	}
	if err := g.SetConstant(onnxio.NewTensor("u", w.Type, w.Dims, half)); err != nil {
		t.Fatal(err)
	}
	d, err := dataset.New("noise", map[string]*engine.Value{"x": noise(rand.New(rand.NewPCG(8, 9)), []int{48, 3, 8, 8})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var results [2]map[string][]float64
	for i, bytes := range []int64{0, 200_000} {
		o := Options{Data: d, Epochs: 2, Options: teach.Options{Batch: 8, Memory: bytes}}
		r := &run{o: o, parents: teach.Parents{{Subject: s, Share: 1}}, child: child, rng: rand.New(rand.NewPCG(1, 2))}
		r.o.defaults()
		if err := r.open(context.Background()); err != nil {
			t.Fatal(err)
		}
		defer r.close()
		if divided := r.reader.runs > 1; divided != (bytes > 0) || r.reader.samples() != 8 {
			t.Errorf("%d bytes: %d runs of %d", bytes, r.reader.runs, r.reader.units)
		}
		out, _, err := Distill(context.Background(), child, r.parents, o)
		if err != nil {
			t.Fatal(err)
		}
		results[i] = modeltest.Floats(t, out)
	}
	for name, a := range results[0] {
		if diff := modeltest.MaxDiff(t, a, results[1][name]); diff > 1e-3 {
			t.Errorf("%s differs by %g", name, diff)
		}
	}
}
