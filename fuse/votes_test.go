package fuse_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// The balance of two models moves as long as that helps; wherever it ends, the outputs aim at the
// mean of both.
func TestABalanceMovesButNotItsAim(t *testing.T) {
	m := modeltest.Perceptron(t)
	for seed := range uint64(3) {
		models := []*onnxio.Model{m, modeltest.Redrawn(t, m, seed)}
		d, test := modeltest.Noise(t, m, 200, 3), modeltest.Noise(t, m, 200, 4)
		child, r, err := fuse.Models(context.Background(), models, fuse.Options{Method: fuse.OT, Options: job.Options{Tune: job.Off, Data: d}})
		if err != nil {
			t.Fatal(err)
		}
		a, b, y := modeltest.Outputs(t, models[0], test), modeltest.Outputs(t, models[1], test), modeltest.Outputs(t, child, test)
		far := func(share float64) float64 {
			want := make([]float64, len(a))
			for i := range a {
				want[i] = share*a[i] + (1-share)*b[i]
			}
			return modeltest.RelativeError(want, y)
		}
		if r.Weights[0] == r.Weights[1] {
			t.Errorf("seed %d: of %+v none moved the balance", seed, r.Candidates)
		}
		// It moves on until that does not help, at most four times.
		helped, rest := true, r.Candidates[3:] // beside equal shares and a step to each side
		at := min(r.Candidates[1].Divergence, r.Candidates[2].Divergence)
		for _, c := range rest {
			if !helped {
				t.Errorf("seed %d: it moved on where that did not help: %+v", seed, r.Candidates)
			}
			helped, at = c.Divergence < at, c.Divergence
		}
		if helped && len(rest) < 3 {
			t.Errorf("seed %d: it stopped where that helped: %+v", seed, r.Candidates)
		}
		if mean, shares := far(0.5), far(r.Weights[0]); mean > 0.02 || shares < 10*mean {
			t.Errorf("seed %d: error %.4f to the mean, %.4f to what is mixed by %g", seed, mean, shares, r.Weights)
		}
	}
}
