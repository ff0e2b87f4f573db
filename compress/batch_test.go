package compress_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

func TestResultsDoNotDependOnTheBatchSize(t *testing.T) {
	// Of less than 100 samples it would be asked whether they serve at all.
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 20})
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			tune := job.Off
			if name == "cnn_a" || name == "vit_a" { // distillation changes numbers, not nodes
				tune = job.On
			}
			for _, o := range []compress.Options{{Keep: 0.6, Options: job.Options{NoData: true}}, {Keep: 0.6, Options: job.Options{Data: d, Tune: tune, Epochs: 1, NoEval: true}}} {
				out, _, err := compress.Model(context.Background(), modeltest.Load(t, name), o)
				if err != nil {
					t.Fatal(err)
				}
				modeltest.SameInBatches(t, out, test)
			}
		})
	}
}
