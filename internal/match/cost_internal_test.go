package match

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
)

// Few coordinates of many channels are kept, and give the costs that their products give.
func TestCostsOfFewCoordinates(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	n, k := channels.LeastSamples+30, channels.LeastSamples+7
	few := newMoments(n, k)
	sums := newMoments(n, k)
	sums.xy = make([]float64, n*k)
	for range 3 {
		x, y := dense.New[float32](n, 20, nil), dense.New[float32](20, k, nil)
		for i := range x.Data {
			x.Data[i] = float32(rng.NormFloat64())
		}
		for i := range y.Data {
			y.Data[i] = float32(rng.NormFloat64())
		}
		addMoments(few, x, y.T())
		addMoments(sums, x, y.T())
	}
	if few.xy != nil || len(few.samples) != 3 || sums.samples != nil {
		t.Fatal("not the forms that were meant")
	}
	for _, metric := range []Metric{Euclidean, SquaredEuclidean, Cosine} {
		got, want := make([]float64, n*k), make([]float64, n*k)
		few.blocks(func(from int, part *moments) { addCost(part, got[from*k:], metric, nil) })
		sums.blocks(func(from int, part *moments) { addCost(part, want[from*k:], metric, nil) })
		for i, v := range want {
			if math.Abs(got[i]-v) > 1e-9*max(1, v) {
				t.Fatalf("%s: cost %d is %g, want %g", metric, i, got[i], v)
			}
		}
	}
	// As soon as there are as many as channels they are summed.
	x := dense.New[float32](n, n, nil)
	addMoments(few, x, x.Sub(0, 0, k, n))
	if few.xy == nil || few.samples != nil || math.Abs(few.xy[5*k+9]-sums.xy[5*k+9]) > 1e-9 {
		t.Error("the coordinates were not summed")
	}
}

// Costs in single precision are those in double precision, by weights and by activations.
func TestNarrowCosts(t *testing.T) {
	var subjects [2]*edit.Subject
	for i, name := range []string{"mlp_a", "mlp_b"} {
		var err error
		if subjects[i], err = edit.NewSubject(modeltest.Load(t, name), coupling.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := Pair(subjects[0], subjects[1])
	if err != nil {
		t.Fatal(err)
	}
	p := &planner{pair: pair, res: &Result{Maps: edit.Maps{}}}
	for _, s := range subjects[0].Analysis.Spaces {
		if pair.Spaces[s] != nil {
			p.spaces = append(p.spaces, s)
		}
	}
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 50})
	seen, err := observePairs(t.Context(), pair, p.spaces, Options{Data: d})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.spaces {
		for _, from := range []costSource{byWeights{p}, seen} {
			wide, err := from.costs(s)
			if err != nil {
				t.Fatal(err)
			}
			narrow, err := from.narrow(s)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range wide[0][0].Data {
				if math.Abs(float64(narrow.Data[i])-v) > 1e-6*v {
					t.Fatalf("%s: %T: cost %d is %g, want %g", s.Name, from, i, narrow.Data[i], v)
				}
			}
		}
		p.res.Maps[s] = edit.KeepAll(s)
	}
	if len(p.spaces) == 0 {
		t.Error("no space was compared")
	}
}
