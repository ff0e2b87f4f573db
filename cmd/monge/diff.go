package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
	"github.com/monge-ml/monge/report/page"
)

type diffFlags struct {
	shapes shapeFlags
	all    bool
	page   pageFlags
}

func (a *app) diffCommand() *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:               "diff BEFORE AFTER",
		Short:             "Show what differs between two models: nodes, widths, weights",
		Long:              diffHelp,
		Example:           "  monge diff model.onnx half.onnx\n  monge diff model.onnx quantised.onnx --all\n  monge diff old.onnx new.onnx --exit-code --quiet",
		Args:              takes(2, 2, "two models"),
		ValidArgsFunction: completeModels,
		RunE:              running(func(cmd *cobra.Command, args []string) error { return a.diff(cmd.Context(), args, &f) }),
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.all, "all", false, "list everything, what is equal too, in the order of the graph")
	fs.BoolVar(&a.exitCode, "exit-code", false, "exit with 1 if the models differ, and 2 if they cannot be compared")
	f.page.add(cmd)
	outputGroup.in(cmd)
	f.shapes.add(cmd)
	dataGroup.in(cmd)
	return cmd
}

func (a *app) diff(ctx context.Context, paths []string, f *diffFlags) error {
	if err := f.page.check(a, "", paths...); err != nil {
		return err
	}
	models, shapes, err := f.shapes.load(paths)
	if err == nil {
		err = f.page.reads(a, models)
	}
	if err != nil {
		return err
	}
	found, err := diff.Models(ctx, models[0], models[1], diff.Options{InputShapes: shapes})
	if err != nil {
		return err
	}
	var sizes [2]report.Measured
	for i, m := range models {
		if sizes[i], err = measured(m, shapes); err != nil {
			return in(paths[i], err)
		}
	}
	r := report.Compare([2]string(paths), sizes[0], sizes[1], found)
	r.All, r.Cost = f.all, a.cost()
	a.differ = !found.Identical
	if f.page.given() {
		p, err := page.Difference(r, a.about())
		if err == nil {
			err = f.page.render(ctx, a, p)
		}
		if err != nil {
			return err
		}
	}
	return a.done(r)
}

// measured is what a model costs, without MACs where it cannot be analysed.
func measured(m *onnxio.Model, shapes map[string][]int) (report.Measured, error) {
	var out report.Measured
	out.Params, out.Bytes = m.Size()
	if size, err := measure(m, shapes); err == nil {
		out.MACs, out.OpenDims = &size.MACs, size.OpenDims
	}
	var err error
	out.Storage, err = report.StorageOf(m)
	return out, err
}
