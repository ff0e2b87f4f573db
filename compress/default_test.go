package compress_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

// With data and nothing else said, a model is refitted and then distilled for as long as that is
// worth it; distillation is judged on samples of its own, and brings the predictions nearer than
// the refit alone.
func TestDistilsByDefault(t *testing.T) {
	m := modeltest.Perceptron(t)
	d, test := modeltest.Noise(t, m, 200, 3), modeltest.Noise(t, m, 400, 4)
	want := modeltest.Outputs(t, m, test)
	far := func(o compress.Options) (float64, *compress.Report) {
		o.Keep, o.Data, o.NoEval = 0.3, d, true
		out, r, err := compress.Model(context.Background(), m, o)
		if err != nil {
			t.Fatal(err)
		}
		return modeltest.RelativeError(want, modeltest.Outputs(t, out, test)), r
	}
	tuned, r := far(compress.Options{})
	refitted, without := far(compress.Options{Options: job.Options{Tune: job.Off}})
	t.Logf("error %.3g, refitted alone %.3g, %+v", tuned, refitted, r.Tune)
	if without.Tune != nil || without.Refit.Samples != 200 {
		t.Errorf("distilled without being asked to: %+v, refitted on %d", without.Tune, without.Refit.Samples)
	}
	if x := r.Tune; x == nil || x.Steps < 1500 || x.Steps > 2000 || x.HeldOut != 20 || x.Kept || x.After >= x.Before || r.Refit.Samples != 180 {
		t.Fatalf("distilled: %+v, refitted on %d", x, r.Refit.Samples)
	}
	if tuned >= refitted {
		t.Errorf("error %g, refitted alone %g", tuned, refitted)
	}
}
