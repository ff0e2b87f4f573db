package fuse_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

func TestResultsDoNotDependOnTheBatchSize(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 50})
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 20})
	for _, name := range []string{"mlp", "mlp_nobias", "cnn", "resnet", "vit"} {
		t.Run(name, func(t *testing.T) {
			models := []*onnxio.Model{modeltest.Load(t, name+"_a"), modeltest.Load(t, name+"_b")}
			epochs := -1
			if name == "mlp" || name == "cnn" { // the others end as these do
				epochs = 1
			}
			for _, o := range []fuse.Options{
				{},
				{Method: fuse.OT, Tune: epochs, Weights: []float64{0.5, 0.5}, Align: match.Options{By: match.Activations, Data: d}},
				{Method: fuse.Union, Tune: -1, Weights: []float64{0.5, 0.5}, Align: match.Options{Data: d}},
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
