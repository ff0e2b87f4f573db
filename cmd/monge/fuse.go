package main

import (
	"context"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/report"
)

type fuseFlags struct {
	weights []float64
	onto    int
	method  choice
	keep    float64
	into    string
	clean   losslessFlags
	run     runFlags
	output  outputFlags
	shapes  shapeFlags
	task    taskFlags
}

func (a *app) fuseCommand() *cobra.Command {
	var f fuseFlags
	cmd := &cobra.Command{
		Use:               "fuse A B [C...] -o OUT",
		Short:             "Make one model out of several of the same architecture, of equal or different widths",
		Long:              fuseHelp,
		Example:           "  monge fuse a.onnx b.onnx -o ab.onnx --data images.npz --scale 1/255\n  monge fuse wide.onnx narrow.onnx -o fused.onnx --weights 0.3,0.7",
		Args:              atLeast(2, "two models or more"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, len(args)); err != nil {
				return err
			}
			return a.fuse(cmd.Context(), args, &f)
		}),
	}
	f.output.add(cmd)
	cmd.Flags().Float64SliceVar(&f.weights, "weights", nil, "`LIST` of the models' shares, summing to 1 (default: with a refit chosen by measurement, else equal ones)")
	cmd.Flags().IntVar(&f.onto, "onto", 0, "model `N`, counted from 1, whose widths and channel order the result has (default: the last)")
	addChoice(cmd, &f.method, "method", "ot moves the models onto one of them, union lets their channels compete for places (default: with a refit whichever is measured to be better, else ot)", "ot", "union")
	cmd.Flags().Float64Var(&f.keep, "keep", 0, "make the result `F` times as wide as the --onto model, also more than 1 (union)")
	cmd.Flags().StringVar(&f.into, "into", "", "a `MODEL` whose widths the result has; none of its weights are used")
	f.clean.add(cmd, "first remove unused nodes and initializers of the models and set subnormal weights to zero; channels stay, since widths are those of a model")
	f.task.add(cmd)
	modelsGroup.in(cmd)
	f.run.add(cmd, &f.shapes, []string{"weights", "activations", "none"})
	return cmd
}

// check finds mistakes that need no file to be seen. models is their number.
func (f *fuseFlags) check(cmd *cobra.Command, models int) error {
	if cmd.Flags().Changed("onto") && (f.onto < 1 || f.onto > models) {
		return usagef("--onto is %d: models count from 1 to %d", f.onto, models)
	}
	if f.weights != nil {
		if len(f.weights) != models {
			return usagef("--weights: %d weights for %d models", len(f.weights), models)
		}
		sum := 0.0
		for _, w := range f.weights {
			if !(w >= 0) {
				return usagef("--weights: %g is not a share", w)
			}
			sum += w
		}
		if !(math.Abs(sum-1) <= 1e-6) {
			return usagef("--weights: the %d weights sum to %.6g, not 1", models, sum)
		}
	}
	switch {
	case f.clean.contradict(cmd):
		return usagef("give one of --lossless and --no-lossless")
	case cmd.Flags().Changed("keep") && !(f.keep > 0):
		return usagef("--keep is %g: want a positive factor", f.keep)
	case cmd.Flags().Changed("keep") && f.into != "":
		return usagef("give one of --keep and --into")
	case f.method.value == string(fuse.Union) && !f.run.refits():
		return usagef("--method union needs --data and a refit")
	case f.keep != 0 && f.keep != 1 && !f.run.refits():
		return usagef("--keep needs --data and a refit: transport alone takes the widths of a given model")
	}
	return f.run.check(cmd)
}

func (a *app) fuse(ctx context.Context, paths []string, f *fuseFlags) error {
	all := paths
	if f.into != "" {
		all = append(slices.Clone(paths), f.into)
	}
	if err := f.output.check(append([]string{f.run.data.path}, all...)...); err != nil {
		return err
	}
	if err := a.named(); err != nil {
		return err
	}
	models, shapes, err := f.shapes.load(all)
	if err != nil {
		return err
	}
	tasks, err := f.task.tasks(models[0])
	if err != nil {
		return err
	}
	o := fuse.Options{Method: fuse.Method(f.method.value), Keep: f.keep, Weights: f.weights, Onto: f.onto}
	if o.Options, err = f.run.options(a, tasks, shapes, f.output.dryRun); err != nil {
		return err
	}
	if !f.clean.on() {
		o.Lossless = job.Off
	}
	if f.into != "" {
		o.Shape, models = models[len(paths)], models[:len(paths)]
	}
	var clear func()
	o.Progress, clear = a.progress()
	defer clear()
	out, done, err := fuse.Models(ctx, models, o)
	clear()
	if err != nil {
		return err
	}
	a.remark(&done.Report)
	r := &report.Fusion{DryRun: f.output.dryRun, Alignment: alignment(&done.Report), Report: done}
	for i, m := range models {
		size, err := measure(m, done.Shapes)
		if err != nil {
			return in(paths[i], err)
		}
		r.Models = append(r.Models, report.Parent{Model: paths[i], Weight: done.Weights[i], Size: size, Lossless: done.Lossless[i]})
	}
	if f.output.dryRun {
		r.Result = r.Models[done.Onto-1].Size
		r.Result.Bytes = 0
	} else {
		if r.Result, err = f.output.save(ctx, a, out, done.Shapes, 0); err != nil {
			return err
		}
		r.Output = f.output.path
	}
	r.Warnings, r.Cost = a.said(), a.cost()
	return a.done(r)
}
