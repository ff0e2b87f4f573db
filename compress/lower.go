package compress

import (
	"context"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/precision"
)

// storable checks the type that numbers are to be stored as.
func (o *Options) storable() error {
	switch {
	case o.DType == "":
		return nil
	case !slices.Contains(precision.Types(), o.DType):
		return pipeline.Mistakef("dtype is %q: want one of %v", o.DType, precision.Types())
	case o.DType == precision.INT8 && (o.Data == nil || o.NoData):
		return pipeline.Mistakef("int8 needs data: the scales of activations are those that are met")
	}
	return nil
}

// lower stores the numbers of a result with fewer bits. Scales of integers are chosen on the samples
// that candidates are fitted on, and judged by how far predictions are from those of the model as it
// came.
func (c *compression) lower(ctx context.Context, m *onnxio.Model) (*onnxio.Model, *precision.Report, error) {
	if c.o.DType != precision.INT8 {
		return precision.Half(ctx, m, c.o.DType)
	}
	s, err := edit.NewSubject(c.model, c.Coupling())
	if err != nil {
		return nil, nil, err
	}
	trial := c.Trial()
	contest, err := c.Contest(ctx, teach.Parents{{Subject: s, Share: 1}}, trial.Fit.Sample(judgeSamples, 1), trial.Held.Sample(judgeSamples, dataset.FileOrder))
	if err != nil {
		return nil, nil, err
	}
	return precision.Int8(ctx, m, precision.Options{Fit: contest.Fit, Judge: contest.Divergence, StreamOptions: c.Stream("round")})
}
