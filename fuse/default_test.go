package fuse_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// With data and nothing else said, ways to fuse are compared, and the best is refitted, then
// distilled for as long as that is worth it.
func TestDistilsByDefault(t *testing.T) {
	m := modeltest.Perceptron(t)
	models := []*onnxio.Model{m, modeltest.Redrawn(t, m, 2)}
	d := modeltest.Noise(t, m, 200, 3)
	_, r, err := fuse.Models(context.Background(), models, fuse.Options{Options: job.Options{Data: d}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s of %d, %+v", r.Method, len(r.Candidates), r.Tune)
	if x := r.Tune; x == nil || x.Steps < 1500 || x.Steps > 2000 || x.HeldOut != 20 || x.Kept || x.After >= x.Before || r.Refit.Samples != 180 {
		t.Errorf("distilled: %+v, refitted: %+v", x, r.Refit)
	}
	if len(r.Candidates) < 4 {
		t.Errorf("only %+v were tried", r.Candidates)
	}
}
