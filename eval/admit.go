package eval

import (
	"cmp"
	"context"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/admit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// AdmitOptions say how models are looked at before they are run.
type AdmitOptions struct {
	// Data gives the first sample. nil: ones, and zeros where a model takes integers.
	Data *dataset.Data

	// Shapes are the shapes of inputs whose sizes are free, by input name. Not needed with Data.
	Shapes map[string][]int

	// Trial runs the models in a program of its own. nil: they are not run.
	Trial *engine.Trial
}

// Admit looks whether models can be run without harm: an error wraps [engine.ErrMemory] if a tensor
// of one sample takes a quarter of the memory of the trial or more, or [engine.ErrDies] if the trial ends with the death of
// onnxruntime. A model that cannot be run for other reasons passes.
func Admit(ctx context.Context, models []*onnxio.Model, o AdmitOptions) (err error) {
	defer guard.Recover(&err)
	for _, m := range models {
		if err := admit.On(ctx, m, o.Data, admit.Options{Shapes: o.Shapes, Trial: o.Trial}); err != nil {
			return err
		}
	}
	return nil
}

// batchOf is how many samples are run at once: as many as are asked for, or fewer where a model makes
// very large tensors of each.
func batchOf(models []*onnxio.Model, data *dataset.Data, asked int) int {
	n := cmp.Or(asked, dataset.DefaultBatch)
	for _, m := range models {
		n = admit.Batch(m, dataset.Shapes(m, data, nil), n)
	}
	return n
}
