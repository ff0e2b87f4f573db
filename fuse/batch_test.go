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

func TestResultsDoNotDependOnTheBatchSize(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 50})
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 20})
	for _, name := range []string{"mlp", "mlp_nobias", "cnn", "resnet", "vit"} {
		t.Run(name, func(t *testing.T) {
			models := []*onnxio.Model{modeltest.Load(t, name+"_a"), modeltest.Load(t, name+"_b")}
			tune := job.Off
			if name == "mlp" || name == "cnn" { // the others end as these do
				tune = job.On
			}
			for _, o := range []fuse.Options{
				{},
				{Method: fuse.OT, Weights: []float64{0.5, 0.5}, Options: job.Options{Tune: tune, Epochs: 1, Data: d}},
				{Method: fuse.Union, Weights: []float64{0.5, 0.5}, Options: job.Options{Tune: job.Off, Data: d}},
			} {
				out, _, err := fuse.Models(context.Background(), models, o)
				if err != nil {
					t.Fatal(err)
				}
				modeltest.SameInBatches(t, out, test)
			}
		})
	}
}
