package fuse_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
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

// Parents exported with batches of different sizes, or of any size, are run on the same ones; the
// result takes what onto takes.
func TestParentsOfDifferentBatches(t *testing.T) {
	const text = `
		x: %s 3 6 6
		a = Conv(x, w1[8 3 3 3], b1[8])
		b = Relu(a)
		g = GlobalAveragePool(b)
		f = Flatten(g)
		y = Gemm(f, w2[8 4], b2[4])`
	of := func(batch string, seed uint64) *onnxio.Model {
		m, err := onnxtest.Parse(fmt.Sprintf(text, batch))
		if err != nil {
			t.Fatal(err)
		}
		return modeltest.Redrawn(t, m, seed)
	}
	d := modeltest.Noise(t, of("N", 1), 50, 1) // with a rest
	for _, batches := range [][2]string{{"1", "N"}, {"N", "4"}, {"4", "N"}, {"1", "4"}, {"4", "1"}} {
		for _, given := range []int{0, 1} {
			models := []*onnxio.Model{of(batches[0], 1), of(batches[1], 2)}
			out, _, err := fuse.Models(context.Background(), models, fuse.Options{Options: job.Options{Data: d, Tune: job.Off, Batch: given}})
			if err != nil {
				t.Errorf("batches of %v, %d given: %v", batches, given, err)
				continue
			}
			want, _, _ := onnxio.Dims(models[1].Proto.Graph.Input[0])
			if have, _, _ := onnxio.Dims(out.Proto.Graph.Input[0]); have[0] != want[0] {
				t.Errorf("batches of %v: the result takes %d", batches, have[0])
			}
		}
	}
}
