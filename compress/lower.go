package compress

import (
	"context"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/precision"
)

// storable checks the type that numbers are to be stored as.
func (o *Options) storable() error {
	switch {
	case o.Arithmetic && o.DType != precision.FP16:
		return pipeline.Mistakef("arithmetic is about dtype fp16 alone")
	case len(o.KeepFloat) > 0 && !o.Arithmetic:
		return pipeline.Mistakef("keep-float names operators beside those that arithmetic makes compute with fp16")
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
	switch {
	case c.o.Arithmetic:
		o := precision.HalfOptions{StreamOptions: c.Stream("round")}
		if o.Keep = c.keepsFloat; c.HasData() {
			o.Data = c.Trial().Fit
		}
		return precision.Compute16(ctx, m, o)
	case c.o.DType != precision.INT8:
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

// keepsFloat reports whether a node is named by KeepFloat.
func (c *compression) keepsFloat(n *onnxpb.NodeProto) bool {
	return slices.ContainsFunc(c.keepFloat, func(g glob) bool { return g.names(n) })
}

// checkKeepFloat finds patterns that name nothing.
func (c *compression) checkKeepFloat() error {
	for _, g := range c.keepFloat {
		if !slices.ContainsFunc(c.given.Nodes, g.names) {
			return pipeline.Mistakef("keep-float %q matches no operator and no node of %s", g.pattern, c.given.Model.Title())
		}
	}
	return nil
}
