package fuse_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// Data that say little, or are of a size that sums of squares do not hold, end in a model whose
// outputs are numbers where those of the models are, and never in an error.
func TestDegenerateData(t *testing.T) {
	for name, m := range modeltest.Structures(t) {
		other := modeltest.Redrawn(t, m, 2)
		for kind, d := range modeltest.Degenerate(t, m, 20) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				o := fuse.Options{Options: job.Options{Data: d, Tune: job.Off, Lossless: job.Off}, Weights: []float64{0.5, 0.5}}
				if kind == "one huge" {
					o.Tune, o.Epochs, o.Weights = job.On, 1, nil
				}
				out, _, err := fuse.Models(context.Background(), []*onnxio.Model{other, m}, o)
				if err != nil {
					t.Fatal(err)
				}
				modeltest.FiniteWhere(t, m, out, d)
			})
		}
	}
}
