package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

type compressFlags struct {
	keep, macs, params float64
	size               sizeFlag
	floor              float64
	maxDrop            float64
	into               string
	exclude            []string
	keepResidual       bool
	multiple           int
	uniform            bool
	clean              losslessFlags
	alone              bool // the lossless pass and nothing else
	evalData           string
	noLatency          bool
	align              alignFlags
	output             outputFlags
	shapes             shapeFlags
	task               taskFlags
}

func (a *app) compressCommand() *cobra.Command {
	var f compressFlags
	cmd := &cobra.Command{
		Use:               "compress MODEL -o OUT (--keep F | --macs F | --params F | --size BYTES | --max-drop F | --into MODEL | --lossless)",
		Short:             "Make a model narrower: by a share of its channels, to a budget, or into a narrow model's shape",
		Long:              compressHelp,
		Example:           compressExamples,
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
	fs.Var(&f.size, "size", "`BYTES` that the result's file may have, as in 5MB or 500KiB")
	fs.Float64Var(&f.maxDrop, "max-drop", 0, "largest share `F` of samples by which accuracy may drop, or agreement where there are no labels: makes the model as cheap as that allows")
	fs.Float64Var(&f.floor, "floor", 0.125, "share `F` of its channels that every space keeps under --macs, --params, --size and --max-drop; 0: a single channel")
	fs.StringVar(&f.into, "into", "", "narrow `MODEL` that gives the widths and is what channels are moved onto; none of its weights are used")
	f.clean.add(cmd, "first remove channels that are constant, repeated or unread, unused nodes, and subnormal weights; without a budget do nothing else")
	budgetGroup.in(cmd)
	fs.StringArrayVar(&f.exclude, "exclude", nil, "keep the width of spaces made by nodes or weights whose name matches the `GLOB`, as in 'layer4*' (may be repeated)")
	fs.BoolVar(&f.keepResidual, "keep-residual", false, "leave every residual stream whole")
	fs.IntVar(&f.multiple, "multiple", 1, "round widths to multiples of this; onnxruntime is often faster with 4 or 8")
	fs.BoolVar(&f.uniform, "uniform", false, "under --macs, --params, --size and --max-drop, keep an equal share of every space (default: with a refit, widths by measured error for cost saved)")
	widthGroup.in(cmd)
	f.align.invent = true
	f.align.add(cmd, &f.shapes, []string{"weights", "activations"})
	fs.StringVar(&f.evalData, "eval-data", "", "`PATH` of a data set that the result is judged on (default: samples held out of --data; none: neither)")
	fs.BoolVar(&f.noLatency, "no-latency", false, "do not measure latency")
	f.task.add(cmd)
	measureGroup.in(cmd)
	return cmd
}

// check finds mistakes that need no file to be seen.
func (f *compressFlags) check(cmd *cobra.Command) error {
	given := cmd.Flags().Changed
	var ways []string
	for _, w := range []string{"keep", "macs", "params", "size", "max-drop", "into"} {
		if given(w) {
			ways = append(ways, "--"+w)
		}
	}
	f.alone = len(ways) == 0 && f.clean.asked(cmd)
	if len(ways) != 1 && !f.alone {
		return usagef("give exactly one of --keep, --macs, --params, --size, --max-drop and --into, or --lossless alone")
	}
	for _, v := range []struct {
		name  string
		share float64
	}{{"keep", f.keep}, {"macs", f.macs}, {"params", f.params}, {"max-drop", f.maxDrop}} {
		if given(v.name) && !(v.share > 0 && v.share <= 1) {
			return usagef("--%s is %g: want a share above 0, up to 1", v.name, v.share)
		}
	}
	if !(f.floor >= 0 && f.floor <= 1) {
		return usagef("--floor is %g: want a share from 0 to 1", f.floor)
	}
	if f.multiple < 1 {
		return usagef("--multiple is %d: want 1 or more", f.multiple)
	}
	switch {
	case given("max-drop") && f.output.dryRun:
		return usagef("--max-drop measures models, --dry-run makes none")
	case given("max-drop") && !f.align.data.given() && (f.evalData == "" || f.evalData == "none"):
		return usagef("--max-drop needs --data or --eval-data to measure the drop on")
	case f.clean.contradict(cmd):
		return usagef("give one of --lossless and --no-lossless")
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
	for _, name := range []string{"keep", "into"} {
		if given("floor") && given(name) {
			return usagef("--floor has no place beside --%s, which gives every space its width", name)
		}
	}
	if f.alone {
		for _, name := range []string{"multiple", "uniform", "floor", "align", "cost", "mass", "scaling", "refit"} {
			if given(name) {
				return usagef("--%s has no place beside --lossless alone: no channels are merged", name)
			}
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
	if err := a.named(); err != nil {
		return err
	}
	models, shapes, err := f.shapes.load(paths)
	if err != nil {
		return err
	}
	tasks, err := f.task.tasks(models[0])
	if err != nil {
		return err
	}
	eval, err := f.openEval(a)
	if err != nil {
		return err
	}
	b, err := f.basis(a, models[0], shapes)
	if err != nil {
		return err
	}
	if err := f.align.data.examine(ctx, a, models[0], b.given(), true); err != nil {
		return err
	}
	for _, d := range []*dataset.Data{b.fit, b.held, eval} { // costs are counted at the sizes that samples have
		shapes = dataset.Shapes(models[0], d, shapes)
	}
	before, err := measure(models[0], shapes)
	if err != nil {
		return in(path, err)
	}
	_, bytes := models[0].Size()
	epochs, tooLarge := f.align.epochsOn(b, bytes)
	if tooLarge && !f.alone && !f.output.dryRun {
		a.note("not distilled on made-up inputs: for a model of this size that takes long and much memory, and noise teaches it little (--tune N does it)")
	}
	progress, clear := a.progress()
	defer clear()
	b.align.Progress = stage(progress, "comparing activations")
	o := compress.Options{
		RefitData: b.fit, EvalData: eval, Uniform: f.uniform, Tune: epochs,
		Keep: f.keep, MACs: f.macs, Params: f.params, MaxDrop: f.maxDrop, Exclude: f.exclude, KeepResidual: f.keepResidual, Multiple: f.multiple,
		Align: b.align, Tasks: tasks, InputShapes: shapes, KeepBatchNorm: f.align.keepBN, DryRun: f.output.dryRun,
		Progress: progress,
	}
	if o.Floor = f.floor; f.floor == 0 {
		o.Floor = -1
	}
	if f.size.bytes > 0 {
		// What is said about the command is written too.
		if o.Size = f.size.bytes - f.output.metadataBytes(a); o.Size <= 0 {
			return usagef("--size %s is less than a file without weights", &f.size)
		}
	}
	if b.fit == nil {
		o.Refit = compress.RefitOff
	}
	if f.alone {
		o.Keep, o.LosslessRuns = 1, losslessRuns
	}
	if !f.clean.on() {
		o.Lossless = compress.LosslessOff
	}
	judged := judgedOn{data: eval, path: f.evalData}
	if eval == nil {
		judged = judgedOn{data: b.held, path: f.align.data.path, heldOut: true}
		if f.maxDrop > 0 {
			o.EvalData = b.held
		}
	}
	var out *onnxio.Model
	var done *compress.Report
	if f.into != "" {
		out, done, err = compress.Into(ctx, models[0], models[1], o)
	} else {
		out, done, err = compress.Model(ctx, models[0], o)
	}
	clear()
	var exclude *compress.ExcludeError
	if errors.As(err, &exclude) {
		return usagef("%s: --%w", path, exclude)
	}
	if err != nil {
		return in(path, err)
	}
	r := &report.Compression{Model: path, Into: f.into, DryRun: f.output.dryRun, Alone: f.alone, Alignment: b.report(), Before: before, Report: done}
	if done.Blind {
		r.Alignment = report.Alignment{By: string(match.Weights)}
		a.warn("%s: %d of its samples are too few to choose channels by or to fit layers to: channels are merged by their weights; a few hundred make a better model", f.align.data.path, b.fit.Len())
	}
	if f.output.dryRun {
		r.After = report.Size{Params: done.After.Params, MACs: done.After.MACs, OpenDims: done.After.Open}
	} else {
		if r.After, err = f.output.save(ctx, a, out, shapes, before.Bytes); err != nil {
			return err
		}
		r.Output = f.output.path
		if s := done.Search; s != nil && eval == nil {
			s.HeldOut = true
		}
		if a.json || !a.quiet {
			judged.tasks = tasks
			r.Evaluation = f.judge(ctx, a, models[0], out, judged, done, shapes)
		}
	}
	r.Warnings, r.Cost = a.said(), a.cost()
	return a.done(r)
}

// openEval opens the data set that the result is judged on, if one is given and
// onnxruntime is there.
func (f *compressFlags) openEval(a *app) (*dataset.Data, error) {
	if f.evalData == "" || f.evalData == "none" {
		return nil, nil
	}
	d := f.align.data
	d.path, d.limit = f.evalData, 0
	data, err := d.open(a)
	if err != nil {
		return nil, err
	}
	return d.sound(a, data)
}

// basis opens the data, and keeps some of it for the verdict.
func (f *compressFlags) basis(a *app, m *onnxio.Model, shapes map[string][]int) (basis, error) {
	if f.alone {
		b := basis{align: match.Options{By: match.Weights, Threads: a.threads}}
		if !f.align.data.given() {
			return b, nil
		}
		data, err := f.align.data.open(a)
		if err != nil {
			return b, err
		}
		b.held, err = f.align.data.sound(a, data) // nothing is fitted
		return b, err
	}
	hold := f.holdOut
	if f.evalData != "" || f.output.dryRun {
		hold = nil
	}
	b, err := f.align.options(a, f.output.dryRun, m, shapes, hold)
	if f.maxDrop > 0 && f.evalData == "" && err == nil && (b.held == nil || b.held.Len() == 0) {
		return b, usagef("%s: too few samples to hold some out for --max-drop: --eval-data gives others", f.align.data.path)
	}
	return b, err
}

// losslessRuns is how often the lossless pass by itself is checked.
const losslessRuns = 3

// mostHeld bounds the samples that are held out: a thousand tell percents.
const mostHeld = 1000

// holdOut takes samples aside to judge the result on: a fifth where there are
// enough for that, and for --max-drop; a tenth, at most 200, where all the rest
// is needed, since accuracy is worth more than its third digit; none of less than
// 100.
func (f *compressFlags) holdOut(d *dataset.Data) (fit, held *dataset.Data) {
	n, every := d.Len(), 5
	want := max(f.align.refitSamples, f.align.samples)
	if f.align.refitSamples == 0 || f.align.samples == 0 {
		want = n
	}
	if f.maxDrop == 0 && n-n/every < want {
		if n < 100 {
			return d, nil
		}
		every = max(10, (n+199)/200)
	}
	fit, held = d.Split(every)
	return fit, held.Sample(mostHeld, dataset.FileOrder)
}

// A judgedOn is a data set with what is to be said about it.
type judgedOn struct {
	data    *dataset.Data
	path    string
	heldOut bool
	tasks   eval.Tasks // as given
}

// judge compares the result with the original. The file is written by then: what
// goes wrong here is a remark.
func (f *compressFlags) judge(ctx context.Context, a *app, before, after *onnxio.Model, on judgedOn, done *compress.Report, shapes map[string][]int) *report.Comparison {
	if _, err := a.runtime(); err != nil || on.data == nil && f.noLatency {
		return nil
	}
	progress, clear := a.progress()
	defer clear()
	models := []*onnxio.Model{before, after}
	c := &report.Comparison{}
	if on.data != nil {
		outputs, err := done.Outputs, error(nil)
		if outputs == nil {
			outputs, err = eval.FindTasks(ctx, models[:1], on.data, on.tasks, dataset.StreamOptions{Batch: f.align.data.batch, Threads: a.threads})
		}
		if err != nil {
			a.warn("the result was not judged: %s", oneLine(err))
			return nil
		}
		done.Outputs = outputs
		evals, err := eval.Models(ctx, models, on.data, eval.Options{Runs: -1, Outputs: outputs,
			StreamOptions: dataset.StreamOptions{Batch: f.align.data.batch, Threads: a.threads, Progress: stage(progress, "judging the result")}})
		if err != nil {
			a.warn("the result was not judged: %s", oneLine(err))
			return nil
		}
		c.Data, c.Samples, c.HeldOut = on.path, on.data.Len(), on.heldOut
		c.Before, c.After = report.Judge(evals[0]).Quality, report.Judge(evals[1]).Quality
	}
	if f.noLatency {
		return c
	}
	for i, q := range []*report.Quality{&c.Before, &c.After} {
		t, err := eval.Latency(ctx, models[i], eval.LatencyOptions{Threads: a.threads, Data: on.data, Shapes: shapes})
		if err != nil {
			c.Before.LatencyMS = nil
			a.note("latency was not measured: %s", oneLine(err))
			break
		}
		if t.Reduced {
			a.note("%s: onnxruntime's optimiser fails on it: it ran with fewer optimisations", cmp.Or(models[i].Path, f.output.path))
		}
		q.LatencyMS, c.Threads = &t.MedianMS, t.Threads
	}
	return c
}

// A sizeFlag is a number of bytes: 5MB, 1.5GiB, 200000.
type sizeFlag struct {
	bytes int64
	text  string
}

func (s *sizeFlag) String() string { return s.text }
func (s *sizeFlag) Type() string   { return "bytes" }
func (s *sizeFlag) Set(text string) error {
	number := strings.TrimRight(text, "kKmMgGiIbB ")
	unit := map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}[strings.ToLower(strings.TrimSpace(text[len(number):]))]
	x, err := strconv.ParseFloat(number, 64)
	if bytes := x * unit; err == nil && bytes >= 1 && bytes < math.MaxInt64 {
		s.bytes, s.text = int64(bytes), text
		return nil
	}
	return fmt.Errorf("want a number of bytes as in 500kB, 5MB, 1.5GiB")
}
