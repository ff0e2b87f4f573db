package fuse_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// regressors are two networks for much the same four amounts: the second has its channels in
// another order, and each weight is off by a fifth. Rank 3 outputs are [N,1,4].
func regressors(seed uint64, rank int) [2]*onnxio.Model {
	const d, h, k = 6, 24, 4
	rng := rand.New(rand.NewPCG(seed, 1))
	w, v, c := make([]float64, h*d), make([]float64, k*h), []float64{40, 80, 120, 160}
	for i := range w {
		w[i] = rng.NormFloat64()
	}
	for i := range v {
		v[i] = 3 * rng.NormFloat64()
	}
	var out [2]*onnxio.Model
	for m := range out {
		order := rng.Perm(h)
		w2, v2 := make([]float64, len(w)), make([]float64, len(v))
		for to, from := range order {
			for j := range d {
				w2[to*d+j] = w[from*d+j] * (1 + .2*rng.NormFloat64())
			}
			for j := range k {
				v2[j*h+to] = v[j*h+from] * (1 + .2*rng.NormFloat64())
			}
		}
		last, parts := "y", []onnxtest.Part{}
		if rank == 3 {
			last, parts = "z", []onnxtest.Part{onnxtest.Ints("shape", -1, 1, k), onnxtest.Node("Reshape", "z shape", "y")}
		}
		out[m] = onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", d)), onnxtest.Values(onnxtest.Value("y")), append([]onnxtest.Part{
			onnxtest.Floats("w", []int{h, d}, w2...), onnxtest.Node("Gemm", "x w", "a", onnxtest.Attr("transB", 1)), onnxtest.Node("Relu", "a", "r"),
			onnxtest.Floats("v", []int{k, h}, v2...), onnxtest.Floats("c", []int{k}, c...), onnxtest.Node("Gemm", "r v c", last, onnxtest.Attr("transB", 1))}, parts...)...)
	}
	return out
}

func outputOf(t *testing.T, m *onnxio.Model, d *dataset.Data) (y []float64) {
	t.Helper()
	err := dataset.Stream(t.Context(), m, d, []string{"y"}, dataset.StreamOptions{}, func(_, _ int, v map[string]*engine.Value) error {
		y = append(y, v["y"].Float64()...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// TestRegressors: rows of amounts are no scores. Their mean is aimed at, nothing is multiplied, and
// it does not matter whether an axis of one stands between.
func TestRegressors(t *testing.T) {
	enginetest.Require(t)
	normal := func(seed uint64) *dataset.Data {
		rng := rand.New(rand.NewPCG(seed, 2))
		x := make([]float32, 250*6)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		d, err := dataset.New("x", map[string]*engine.Value{"x": engine.Float32(x, 250, 6)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	data, test := normal(1), normal(2)
	for seed := range uint64(2) {
		fused := func(rank int, given eval.Tasks) (float64, *fuse.Report) {
			parents := regressors(seed, rank)
			child, report, err := fuse.Models(context.Background(), parents[:], fuse.Options{Weights: []float64{.5, .5}, Method: fuse.OT, Options: job.Options{Data: data, Tune: job.On, Epochs: 3, Tasks: given}})
			if err != nil {
				t.Fatal(err)
			}
			a, b, y := outputOf(t, parents[0], test), outputOf(t, parents[1], test), outputOf(t, child, test)
			far, apart := 0., 0. // of the child from the mean of its parents, and of these from theirs
			for i := range y {
				far += math.Pow(y[i]-(a[i]+b[i])/2, 2)
				apart += math.Pow((a[i]-b[i])/2, 2)
			}
			return far / apart, report
		}
		two, report := fused(2, nil)
		three, _ := fused(3, nil)
		mixed, as := fused(2, eval.Tasks{"y": eval.Classify})
		if o := report.Outputs[0]; o.Task != eval.Regress || report.Tune.Confidence != 0 {
			t.Errorf("seed %d: %+v, multiplied by %g", seed, o, report.Tune.Confidence)
		}
		if !(two < 1) || math.Abs(two-three) > .05*two {
			t.Errorf("seed %d: error %.3f, with an axis of one %.3f of the parents'", seed, two, three)
		}
		if as.Outputs[0].Task != eval.Classify || mixed < 2*two {
			t.Errorf("seed %d: mixed as probabilities: error %.3f against %.3f, %+v", seed, mixed, two, as.Outputs[0])
		}
	}
}
