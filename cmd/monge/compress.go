package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

type compressFlags struct {
	keep, macs, params float64
	into               string
	exclude            []string
	keepResidual       bool
	multiple           int
	uniform            bool
	lossless           bool
	noLossless         bool
	align              alignFlags
	output             outputFlags
	shapes             shapeFlags
}

func (a *app) compressCommand() *cobra.Command {
	var f compressFlags
	cmd := &cobra.Command{
		Use:               "compress MODEL -o OUT (--keep F | --macs F | --params F | --into NARROW)",
		Short:             "Make a model narrower: by a share of its channels, to a budget, or into a narrow model's shape",
		Long:              compressHelp,
		Example:           "  monge compress model.onnx -o half.onnx --keep 0.5 --data images.npz --scale 0.0039215686\n  monge compress model.onnx -o cheap.onnx --macs 0.5 --multiple 8 --exclude 'head*'\n  monge compress wide.onnx -o squeezed.onnx --into narrow.onnx",
		Args:              exactly(1, "one model"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.compress(cmd.Context(), args[0], &f)
		}),
	}
	f.output.add(cmd)
	fs := cmd.Flags()
	fs.Float64Var(&f.keep, "keep", 0, "share `F` of its channels that every space keeps: max(1, round(F·n))")
	fs.Float64Var(&f.macs, "macs", 0, "share `F` of the multiply-accumulates that may remain")
	fs.Float64Var(&f.params, "params", 0, "share `F` of the parameters that may remain")
	fs.StringVar(&f.into, "into", "", "narrow `MODEL` that gives the widths and is what channels are moved onto; none of its weights are used")
	fs.StringArrayVar(&f.exclude, "exclude", nil, "keep the width of spaces made by nodes or weights whose name matches the `GLOB`, as in 'layer4*' (may be repeated)")
	fs.BoolVar(&f.keepResidual, "keep-residual", false, "leave every residual stream whole")
	fs.IntVar(&f.multiple, "multiple", 1, "round widths to multiples of this; onnxruntime is often faster with 4 or 8")
	fs.BoolVar(&f.uniform, "uniform", false, "under --macs and --params, keep an equal share of every space (default: with a refit, widths by measured error for cost saved)")
	fs.BoolVar(&f.lossless, "lossless", true, "first remove channels that are constant, repeated or unread, unused nodes, and subnormal weights; without a budget do nothing else")
	fs.BoolVar(&f.noLossless, "no-lossless", false, "the same as --lossless=false")
	f.align.add(cmd, []string{"weights", "activations"})
	f.shapes.add(cmd)
	fs.SortFlags = false
	return cmd
}

// check finds mistakes that need no file to be seen.
func (f *compressFlags) check(cmd *cobra.Command) error {
	given := cmd.Flags().Changed
	var ways []string
	for _, w := range []string{"keep", "macs", "params", "into"} {
		if given(w) {
			ways = append(ways, "--"+w)
		}
	}
	if len(ways) != 1 {
		return usagef("give exactly one of --keep, --macs, --params and --into")
	}
	for _, v := range []struct {
		name  string
		share float64
	}{{"keep", f.keep}, {"macs", f.macs}, {"params", f.params}} {
		if given(v.name) && !(v.share > 0 && v.share <= 1) {
			return usagef("--%s is %g: want a share above 0, up to 1", v.name, v.share)
		}
	}
	if f.multiple < 1 {
		return usagef("--multiple is %d: want 1 or more", f.multiple)
	}
	without, with := []string{"solver", "epsilon"}, []string{"exclude", "keep-residual", "multiple"}
	for _, name := range with {
		if given("into") && given(name) {
			return usagef("--%s has no place beside --into: the narrow model gives the widths", name)
		}
	}
	for _, name := range without {
		if !given("into") && given(name) {
			return usagef("--%s has no place without --into: each channel moves to the nearest of those that stay", name)
		}
	}
	return f.align.check(cmd)
}

func (a *app) compress(ctx context.Context, path string, f *compressFlags) error {
	paths := []string{path}
	if f.into != "" {
		paths = append(paths, f.into)
	}
	if err := f.output.check(append([]string{f.align.data.path}, paths...)...); err != nil {
		return err
	}
	models, shapes, err := f.shapes.load(paths)
	if err != nil {
		return err
	}
	before, err := measure(models[0], shapes)
	if err != nil {
		return in(path, err)
	}
	by, fit, err := f.align.options(a, f.output.dryRun)
	if err != nil {
		return err
	}
	progress, clear := a.progress()
	defer clear()
	by.Progress = stage(progress, "comparing activations")
	o := compress.Options{
		RefitData: fit, Uniform: f.uniform,
		Keep: f.keep, MACs: f.macs, Params: f.params, Exclude: f.exclude, KeepResidual: f.keepResidual, Multiple: f.multiple,
		Align: by, InputShapes: shapes, KeepBatchNorm: f.align.keepBN, DryRun: f.output.dryRun,
		Progress: progress,
	}
	if fit == nil {
		o.Refit = compress.RefitOff
	}
	if f.noLossless || !f.lossless {
		o.Lossless = compress.LosslessOff
	}
	var out *onnxio.Model
	var done *compress.Report
	if f.into != "" {
		out, done, err = compress.Into(ctx, models[0], models[1], o)
	} else {
		out, done, err = compress.Model(ctx, models[0], o)
	}
	clear()
	if err != nil {
		return in(path, err)
	}
	r := &report.Compression{Model: path, Into: f.into, DryRun: f.output.dryRun, Alignment: alignment(by, fit), Before: before, Report: done}
	if f.output.dryRun {
		r.After = report.Size{Params: done.After.Params, MACs: done.After.MACs, OpenDims: done.After.Open}
	} else {
		if r.After, err = f.output.save(ctx, a, out, shapes); err != nil {
			return err
		}
		r.Output = f.output.path
	}
	r.Cost = a.cost()
	return a.done(r)
}
