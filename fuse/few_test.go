package fuse_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// Few samples, one, or several that are all alike, lead to no worse a model than none do.
func TestFewSamplesAreNoWorseThanNone(t *testing.T) {
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 300})
	models := []*onnxio.Model{modeltest.Load(t, "mlp_a"), modeltest.Load(t, "mlp_b")}
	none, _, err := fuse.Models(context.Background(), models, fuse.Options{Options: job.Options{NoData: true}})
	if err != nil {
		t.Fatal(err)
	}
	want := modeltest.Correct(t, none, test)
	for _, n := range []int{1, 4, 16} {
		d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: n})
		out, r, err := fuse.Models(context.Background(), models, fuse.Options{Options: job.Options{Data: d, Tune: job.Off}})
		if err != nil {
			t.Fatal(err)
		}
		if got := modeltest.Correct(t, out, test); got < want-3 {
			t.Errorf("%d samples: %d of %d right, without data %d; %+v", n, got, test.Len(), want, r.Candidates)
		}
		if n < 5 && (!r.Blind || r.RefitSamples != 0) {
			t.Errorf("%d samples were trusted", n)
		}
	}
}
