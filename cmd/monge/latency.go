package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/report"
)

type latencyFlags struct {
	data   dataFlags
	shapes shapeFlags
	table  string
	save   string
}

func (a *app) latencyCommand() *cobra.Command {
	var f latencyFlags
	cmd := &cobra.Command{
		Use:               "latency MODEL [--save FILE]",
		Short:             "Measure how long operators take, at several widths, for compress --latency",
		Long:              latencyHelp,
		Example:           "  monge latency model.onnx --threads 4 --save phone.json\n  monge compress model.onnx -o fast.onnx --latency 0.5 \\\n      --latency-table phone.json --data images/",
		Args:              takes(1, 1, "one model"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.data.check(cmd); err != nil {
				return err
			}
			return a.latency(cmd.Context(), args[0], &f)
		}),
	}
	cmd.Flags().StringVar(&f.save, "save", "", "`FILE` that the table is written to, as JSON")
	cmd.Flags().StringVar(&f.table, "latency-table", "", "`FILE` of a table that is printed in place of one that is measured")
	measureGroup.in(cmd)
	f.data.add(cmd, &f.shapes, "`PATH` of a data set whose first sample is run (default: random numbers); see monge --help")
	return cmd
}

func (a *app) latency(ctx context.Context, path string, f *latencyFlags) error {
	if err := a.named(); err != nil {
		return err
	}
	models, shapes, err := f.shapes.load([]string{path})
	if err != nil {
		return err
	}
	m, o := models[0], latency.Options{Threads: a.threads, Trial: a.trial, Fresh: true, Progress: a.stream("timing operators", 0).Progress}
	if f.data.given() {
		if o.Data, err = f.data.open(a, m); err != nil {
			return err
		}
		shapes = dataset.Shapes(m, o.Data, shapes)
	} else if err := needShapes(m, shapes); err != nil {
		return err
	}
	o.Shapes = shapes
	var t *latency.Table
	if f.table != "" {
		t, err = latency.Read(f.table)
	} else if _, err = a.runtime(); err == nil {
		t, err = latency.Cached(ctx, m, o)
	}
	if err != nil {
		return in(path, err)
	}
	expanded, form, err := qdq.Expand(m)
	if err != nil {
		return in(path, err)
	}
	s, err := edit.NewSubject(expanded, coupling.Options{InputShapes: shapes})
	if err != nil {
		return in(path, err)
	}
	if err := t.Covers(s.Analysis, form.Operator); err != nil {
		return in(path, err)
	}
	r := report.NewLatency(path, t, s.Analysis, form.Operator)
	if f.save != "" {
		if err := t.Save(f.save); err != nil {
			return cannotWrite(f.save, err)
		}
		r.Output = f.save
	}
	r.Warnings, r.Cost = a.said(), a.cost()
	return a.show(r)
}
