package compress_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
)

func TestResultsDoNotDependOnTheBatchSize(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 50})
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 20})
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			for _, o := range []compress.Options{{Keep: 0.6}, {Keep: 0.6, RefitData: d, Tune: 1}} {
				out, _, err := compress.Model(context.Background(), modeltest.Load(t, name), o)
				if err != nil {
					t.Fatal(err)
				}
				modeltest.SameInBatches(t, out, test)
			}
		})
	}
}
