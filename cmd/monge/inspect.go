package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/report"
)

func (a *app) inspectCommand() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:               "inspect MODEL",
		Short:             "Show layers and spaces: what can be narrowed, what is frozen and why",
		Long:              inspectHelp,
		Example:           "  monge inspect model.onnx\n  monge inspect model.onnx --json | jq '.spaces[] | select(.frozen) | .name'",
		Args:              takes(1, 1, "one model"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.data.check(cmd); err != nil {
				return err
			}
			return a.inspect(cmd.Context(), args[0], &f)
		}),
	}
	f.data.add(cmd, &f.shapes, "`PATH` of a data set, to see how many directions the outputs of a layer vary in; see monge --help")
	return cmd
}

type inspectFlags struct {
	data   dataFlags
	shapes shapeFlags
}

func (a *app) inspect(ctx context.Context, path string, f *inspectFlags) error {
	models, shapes, err := f.shapes.load([]string{path})
	if err != nil {
		return err
	}
	var data *dataset.Data
	if f.data.given() {
		if data, err = f.data.open(a, models[0]); err != nil {
			return err
		}
		if data, err = f.data.whole(ctx, a, models, data); err != nil {
			return err
		}
		shapes = dataset.Shapes(models[0], data, shapes)
	}
	m, form, err := qdq.Expand(models[0])
	if err != nil {
		return in(path, err)
	}
	if m, err = lossless.Compute(ctx, m, lossless.Options{InputShapes: shapes}); err != nil {
		return in(path, err)
	}
	s, err := edit.NewSubject(m, coupling.Options{InputShapes: shapes})
	if err != nil {
		return in(path, err)
	}
	var ranks map[*onnxpb.NodeProto]int
	if data != nil {
		if ranks, err = refit.Ranks(ctx, s, data, carried, 0, a.stream("running the model", f.data.batch)); err != nil {
			return in(path, err)
		}
	}
	r := report.Inspect(models[0], s.Analysis, sizeOf(models[0], s.Analysis), form.Operator, ranks)
	if data != nil {
		r.Data, r.Samples = f.data.path, data.Len()
	}
	r.Warnings = a.said()
	return a.show(r)
}

// carried is the share of what a layer's outputs vary whose directions are counted.
const carried = 0.99
