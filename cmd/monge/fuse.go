package main

import (
	"cmp"
	"context"
	"math"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/report"
	"github.com/monge-ml/monge/report/page"
)

type fuseFlags struct {
	weights []float64
	onto    int
	method  choice
	keep    float64
	page    pageFlags
	run     runFlags
}

func (a *app) fuseCommand() *cobra.Command {
	var f fuseFlags
	cmd := &cobra.Command{
		Use:               "fuse A B [C...] -o OUT",
		Short:             "Make one model out of several of the same architecture, of equal or different widths",
		Long:              fuseHelp,
		Example:           "  monge fuse a.onnx b.onnx -o ab.onnx --data images.npz --scale 1/255\n  monge fuse wide.onnx narrow.onnx -o fused.onnx --weights 0.3,0.7",
		Args:              takes(2, math.MaxInt, "two models or more"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, len(args)); err != nil {
				return err
			}
			return a.fuse(cmd.Context(), args, &f)
		}),
	}
	f.run.output.add(cmd)
	f.page.add(cmd)
	outputGroup.in(cmd)
	numbersFlag(cmd.Flags(), &f.weights, "weights", "`LIST` of the models' shares, summing to 1 (default: with a refit chosen by measurement, else equal ones)")
	cmd.Flags().IntVar(&f.onto, "onto", 0, "model `N`, counted from 1, whose widths and channel order the result has (default: the last)")
	addChoice(cmd, &f.method, "method", "ot moves the models onto one of them, union lets their channels compete for places (default: with a refit whichever is measured to be better, else ot)", "ot", "union")
	cmd.Flags().Float64Var(&f.keep, "keep", 0, "make the result `F` times as wide as the --onto model, also more than 1 (union)")
	cmd.Flags().StringVar(&f.run.into, "into", "", "a `MODEL` whose widths the result has; none of its weights are used")
	f.run.addLossless(cmd, "first remove unused nodes and initializers of the models and set subnormal weights to zero; channels stay, since widths are those of a model")
	f.run.task.add(cmd)
	modelsGroup.in(cmd)
	f.run.add(cmd, []string{"weights", "activations", "none"})
	return cmd
}

// check finds mistakes that need no file to be seen. models is their number.
func (f *fuseFlags) check(cmd *cobra.Command, models int) error {
	given := cmd.Flags().Changed
	return cmp.Or(
		usageIf(given("onto") && (f.onto < 1 || f.onto > models), "--onto is %d: models count from 1 to %d", f.onto, models),
		usageIf(f.page.given() && f.run.output.dryRun, "--report shows what was made, --dry-run makes nothing"),
		usageIf(given("keep") && !(f.keep > 0), "--keep is %g: want a positive factor", f.keep),
		usageIf(given("keep") && f.run.into != "", "give one of --keep and --into"),
		usageIf(f.method.value == string(fuse.Union) && !f.run.refits(), "--method union needs --data and a refit"),
		usageIf(f.keep != 0 && f.keep != 1 && !f.run.refits(), "--keep needs --data and a refit: transport alone takes the widths of a given model"),
		f.run.check(cmd),
	)
}

func (a *app) fuse(ctx context.Context, paths []string, f *fuseFlags) error {
	if err := f.page.check(a, f.run.output.path, append([]string{f.run.into, f.run.data.path, f.run.data.classes}, paths...)...); err != nil {
		return err
	}
	models, common, err := f.run.start(ctx, a, paths)
	if err != nil {
		return err
	}
	if err := f.page.reads(a, models, common.Data); err != nil {
		return err
	}
	o := fuse.Options{Options: common, Method: fuse.Method(f.method.value), Keep: f.keep, Weights: f.weights, Onto: f.onto}
	if f.run.into != "" {
		o.Shape, models = models[len(paths)], models[:len(paths)]
	}
	o.Checked = func() { f.run.announce(a, models) }
	out, done, err := fuse.Models(ctx, models, o)
	if err != nil {
		return err
	}
	a.remark(&done.Report)
	if done.Blind {
		a.warn("%s: %d of its samples are too few to fit layers to: channels are moved by their weights; a few hundred make a better model", f.run.data.path, done.Split.Fit.Len())
	}
	var stages []diff.Stage
	r := &report.Fusion{DryRun: f.run.output.dryRun, Report: done}
	for i, m := range models {
		size, err := measure(m, done.Shapes)
		if err != nil {
			return in(paths[i], err)
		}
		r.Models = append(r.Models, report.Parent{Model: paths[i], Weight: done.Weights[i], Size: size, Lossless: done.Lossless[i]})
	}
	if f.run.output.dryRun {
		r.Result = r.Models[done.Onto-1].Size
		r.Result.Bytes = 0
	} else {
		if f.page.given() {
			if stages, err = page.Stages(ctx, models[done.Onto-1], out, done.Shapes); err != nil {
				return err
			}
		}
		if r.Result, err = f.run.output.save(ctx, a, out, done.Shapes, 0); err != nil {
			return err
		}
		r.Output = f.run.output.path
	}
	r.Warnings, r.Cost = a.said(), a.cost()
	if f.page.given() {
		p, err := page.Fusion(r, stages, a.about())
		if err == nil {
			err = f.page.render(ctx, a, p)
		}
		if err != nil {
			return err
		}
	}
	return a.done(r)
}
