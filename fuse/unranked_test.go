package fuse_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Models with a tensor whose number of axes is not known are fused like others.
func TestUnknownRank(t *testing.T) {
	for name, m := range onnxtest.Unranked() {
		t.Run(name, func(t *testing.T) {
			d := modeltest.Noise(t, m, 60, 3)
			want := modeltest.Outputs(t, m, d)
			for method, other := range map[fuse.Method]*onnxio.Model{fuse.OT: permuted(t, m), fuse.Union: modeltest.Redrawn(t, m, 9)} {
				out, r, err := fuse.Models(context.Background(), []*onnxio.Model{other, m}, fuse.Options{Method: method, Weights: []float64{0.5, 0.5}, Options: job.Options{Data: d, Tune: job.Off}})
				if err != nil {
					t.Fatal(err)
				}
				if len(r.Refit.Layers) < 4 {
					t.Errorf("%s: refitted only %+v", method, r.Refit.Layers)
				}
				if e := modeltest.RelativeError(want, modeltest.Outputs(t, out, d)); e > 10 {
					t.Errorf("%s: squared error %.2g of the variance", method, e)
				}
			}
		})
	}
}
