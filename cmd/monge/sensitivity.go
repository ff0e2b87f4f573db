package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/report"
)

type sensitivityFlags struct {
	noLatency bool
	widths    widthFlags
	run       runFlags
}

func (a *app) sensitivityCommand() *cobra.Command {
	f := sensitivityFlags{run: runFlags{invent: true, lossless: true, samples: 200}}
	cmd := &cobra.Command{
		Use:               "sensitivity MODEL --data D",
		Short:             "Tell what it costs to narrow each space of a model alone",
		Long:              sensitivityHelp,
		Example:           "  monge sensitivity model.onnx --data images.npz --scale 1/255\n  monge sensitivity model.onnx --data images/ --json | jq '.spaces[0].name'",
		Args:              takes(1, 1, "one model"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.sensitivity(cmd.Context(), args[0], &f)
		}),
	}
	f.run.data.add(cmd, &f.run.shapes, "`PATH` of a data set to measure on (default: made-up inputs); see monge --help")
	f.widths.add(cmd)
	widthGroup.in(cmd)
	f.run.addSamples(cmd)
	f.run.addMemory(cmd)
	cmd.Flags().BoolVar(&f.noLatency, "no-latency", false, "do not measure latency")
	f.run.task.add(cmd)
	measureGroup.in(cmd)
	return cmd
}

// check finds mistakes that need no file to be seen.
func (f *sensitivityFlags) check(cmd *cobra.Command) error {
	return cmp.Or(
		usageIf(f.run.data.path == "none", "--data none: nothing can be measured without data"),
		usageIf(f.run.refitSamples < 0, "--refit-samples is %d: want a positive number, or 0 for all", f.run.refitSamples),
		f.run.data.check(cmd),
	)
}

func (a *app) sensitivity(ctx context.Context, path string, f *sensitivityFlags) error {
	if err := a.named(); err != nil {
		return err
	}
	models, common, err := f.run.load(a, []string{path})
	if err != nil {
		return err
	}
	done, err := compress.Sensitivity(ctx, models[0], compress.Options{
		Options: common, Exclude: f.widths.exclude, KeepResidual: f.widths.keepResidual, Multiple: int(f.widths.multiple), NoLatency: f.noLatency,
	})
	if err != nil {
		return in(path, err)
	}
	a.remark(&done.Report)
	r := &report.Sensitivity{Model: path, SensitivityReport: done}
	r.Warnings, r.Cost = a.said(), a.cost()
	return a.show(r)
}
