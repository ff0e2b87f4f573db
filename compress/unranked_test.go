package compress_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A tensor whose number of axes is not known stands in the way of its own channels alone: the
// layers before and behind it are narrowed and refitted.
func TestUnknownRank(t *testing.T) {
	for name, m := range onnxtest.Unranked() {
		t.Run(name, func(t *testing.T) {
			d := modeltest.Noise(t, m, 100, 3)
			want := modeltest.Outputs(t, m, d)
			for _, o := range []compress.Options{{Keep: 0.75, Options: job.Options{Data: d, Tune: job.On, Epochs: 2, NoEval: true}}, {Keep: 0.75, Options: job.Options{NoData: true}}} {
				out, r, err := compress.Model(context.Background(), m, o)
				if err != nil {
					t.Fatal(err)
				}
				if r.After.Params >= r.Before.Params {
					t.Errorf("nothing was narrowed: %+v", r.Spaces)
				}
				if r.Refit != nil && len(r.Refit.Layers) < 3 {
					t.Errorf("refitted only %+v", r.Refit.Layers)
				}
				if e := modeltest.RelativeError(want, modeltest.Outputs(t, out, d)); r.Refit != nil && e > 0.5 {
					t.Errorf("squared error %.2f of the variance", e)
				}
			}
		})
	}
}
