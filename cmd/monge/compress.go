package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/precision"
	"github.com/monge-ml/monge/report"
	"github.com/monge-ml/monge/report/page"
)

type compressFlags struct {
	keep, macs, params float64
	size               sizeFlag
	latency            latencyFlag
	latencyTable       string
	floor              float64
	maxDrop            float64
	widths             widthFlags
	uniform            bool
	dtype              string
	int8, arithmetic   bool
	keepFloat          []string
	whole              bool // widths stay, numbers get fewer bits
	unspoken           bool // no budget is given
	moves              []string
	alone              bool // the lossless pass and nothing else
	evalData           string
	noLatency          bool
	metric             metricFlags
	page               pageFlags
	plan               string     // path of one that is carried out
	savePlan           besideFlag // where that of the result goes
	run                runFlags
}

func (a *app) compressCommand() *cobra.Command {
	var f compressFlags
	cmd := &cobra.Command{
		Use:               "compress MODEL -o OUT [--macs F | --params F | --size BYTES | --latency L | --max-drop F | --keep F | --into MODEL | --plan FILE | --lossless | --dtype TYPE]",
		Short:             "Make a model narrower: by a share of its channels, to a budget, or into a narrow model's shape",
		Long:              compressHelp,
		Example:           compressExamples,
		Args:              takes(1, 1, "one model"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.compress(cmd.Context(), args[0], &f)
		}),
	}
	f.run.output.add(cmd)
	f.page.add(cmd)
	fs := cmd.Flags()
	f.savePlan.flag = "save-plan"
	fs.StringVar(&f.savePlan.out.path, f.savePlan.flag, "", "also write the result's widths, which channels stay, and blocks and ranks, to the YAML `FILE`, for --plan to carry out once it was edited, or for other programs")
	outputGroup.in(cmd)
	fs.Float64Var(&f.keep, "keep", 0, "share `F` of its channels that every space keeps: max(1, round(F·n))")
	fs.Float64Var(&f.macs, "macs", 0, "share `F` of the multiply-accumulates that may remain")
	fs.Float64Var(&f.params, "params", 0, "share `F` of the parameters that may remain")
	fs.Var(&f.size, "size", "`BYTES` that the result's file may have, as in 5MB or 500KiB")
	fs.Var(&f.latency, "latency", "share `L` of the time that a run takes which may remain, or a time, as in 8ms, on this machine with --threads")
	fs.StringVar(&f.latencyTable, "latency-table", "", "`FILE` that says how long operators take under --latency, as monge latency --save writes it, or a CSV, perhaps of another device (default: measured, and kept in the user's cache)")
	fs.Float64Var(&f.maxDrop, "max-drop", 0, "largest share `F` of samples by which accuracy may drop, or agreement where there are no labels: makes the model as cheap as that allows")
	fs.Float64Var(&f.floor, "floor", 0.125, "share `F` of its channels that every space keeps under --macs, --params, --size, --latency and --max-drop; 0: a single channel")
	fs.StringVar(&f.run.into, "into", "", "narrow `MODEL` that gives the widths and is what channels are moved onto; none of its weights are used")
	fs.StringVar(&f.plan, "plan", "", "YAML `FILE`, as --save-plan writes it, that gives spaces their widths, and perhaps the channels that stay, and names blocks and ranks")
	f.run.addLossless(cmd, "first remove channels that are constant, repeated or unread, unused nodes, and subnormal weights; without a budget do nothing else")
	fs.StringVar(&f.dtype, "dtype", "", "store the result's numbers as `TYPE`: fp16 or bf16 (weights; arithmetic stays what it was without --arithmetic), or int8 (weights and activations; operators work on integers, with scales from --data); without a budget do nothing else")
	fs.BoolVar(&f.int8, "int8", false, "the same as --dtype int8")
	fs.BoolVar(&f.arithmetic, "arithmetic", false, "with --dtype fp16, let operators compute with 16 bits too, but for those whose numbers do not fit, on --data where it is given")
	fs.StringArrayVar(&f.keepFloat, "keep-float", nil, "with --arithmetic, leave operators at 32 bits whose type or node name matches the `GLOB`, as in 'Softmax' or '/head/*' (may be repeated)")
	budgetGroup.in(cmd)
	f.widths.add(cmd)
	fs.BoolVar(&f.uniform, "uniform", false, "under --macs, --params, --size, --latency and --max-drop, keep an equal share of every space (default: with a refit, widths by measured error for cost saved)")
	fs.StringSliceVar(&f.moves, "moves", nil, "what may be done under --macs, --params, --size, --latency and --max-drop: `LIST` of width (narrower spaces), depth (residual blocks dropped) and rank (one linear operator as two); depth and rank need data (default: all three, of which the result keeps what serves it best)")
	widthGroup.in(cmd)
	f.run.invent = true
	f.run.add(cmd, []string{"weights", "activations"})
	fs.StringVar(&f.evalData, "eval-data", "", "`PATH` of a data set that the result is judged on (default: samples held out of --data; none: neither)")
	f.metric.add(cmd, "the result is judged by it, and --max-drop then bounds by what share of the original's number that of the result may be worse")
	fs.BoolVar(&f.noLatency, "no-latency", false, "do not measure latency")
	f.run.task.add(cmd)
	measureGroup.in(cmd)
	return cmd
}

// check finds mistakes that need no file to be seen.
func (f *compressFlags) check(cmd *cobra.Command) error {
	given := cmd.Flags().Changed
	ways := 0
	for _, w := range []string{"keep", "macs", "params", "size", "latency", "max-drop", "into", "plan"} {
		if given(w) {
			ways++
		}
	}
	if f.int8 {
		f.dtype = cmp.Or(f.dtype, string(precision.INT8))
	}
	f.alone = ways == 0 && f.dtype == "" && f.run.asksLossless(cmd)
	if ways == 0 && f.dtype != "" {
		ways, f.whole = 1, true
	}
	share := func(name string, x float64) error {
		return usageIf(given(name) && !(x > 0 && x <= 1), "--%s is %g: want a share above 0, up to 1%s", name, x, perhapsShare(x))
	}
	judges := f.metric.given() || f.run.data.given() || f.evalData != "" && f.evalData != "none"
	alone := "beside --lossless alone"
	if f.unspoken = ways == 0 && !f.alone; f.unspoken && !judges {
		f.alone, alone = true, "without a budget and data" // nothing is done that can lose anything
	}
	return cmp.Or(
		usageIf(ways > 1, "give exactly one of --keep, --macs, --params, --size, --latency, --max-drop, --into and --plan, or --lossless or --dtype alone"),
		usageIf(f.unspoken && f.run.output.dryRun, "--dry-run shows what a budget leads to: give one, such as --macs 0.75"),
		usageIf(f.dtype != "" && !slices.Contains(precision.Types(), precision.Type(f.dtype)), "--dtype is %q: want one of %v", f.dtype, precision.Types()),
		usageIf(f.int8 && f.dtype != string(precision.INT8), "--int8 and --dtype %s do not go together", f.dtype),
		usageIf(f.arithmetic && f.dtype != string(precision.FP16), "--arithmetic goes with --dtype fp16"),
		usageIf(len(f.keepFloat) > 0 && !f.arithmetic, "--keep-float goes with --arithmetic"),
		usageIf(f.dtype == string(precision.INT8) && !f.run.data.given(), "--dtype int8 needs --data: the scales of activations are those that are met"),
		share("keep", f.keep),
		share("macs", f.macs),
		share("params", f.params),
		share("max-drop", f.maxDrop),
		f.metric.check(cmd),
		usageIf(!(f.floor >= 0 && f.floor <= 1), "--floor is %g: want a share from 0 to 1%s", f.floor, perhapsShare(f.floor)),
		usageIf(f.page.given() && f.run.output.dryRun, "--report shows what was made, --dry-run makes nothing"),
		usageIf(given("max-drop") && f.run.output.dryRun, "--max-drop measures models, --dry-run makes none"),
		usageIf(given("max-drop") && !judges, "--max-drop needs --data, --eval-data or --metric to measure the drop on"),
		usageIf(f.metric.given() && f.run.output.dryRun, "--metric measures models, --dry-run makes none"),
		misplaced(cmd, !given("latency"), "without --latency", "latency-table"),
		misplaced(cmd, given("max-drop"), "beside --max-drop, which makes as many models as it takes", "time"),
		misplaced(cmd, given("into"), "beside --into: the narrow model gives the widths", "exclude", "keep-residual", "multiple", "moves"),
		misplaced(cmd, !given("into"), "without --into: each channel moves to the nearest of those that stay", "solver", "epsilon"),
		misplaced(cmd, given("keep"), "beside --keep, which gives every space its width", "floor", "moves"),
		misplaced(cmd, given("into"), "beside --into, which gives every space its width", "floor"),
		misplaced(cmd, given("plan"), "beside --plan, which gives spaces their widths", "exclude", "keep-residual", "multiple", "uniform", "moves", "floor"),
		usageIf(f.alone && (f.run.noLossless || !f.run.lossless), "without a budget and without the lossless pass nothing is left to do: --macs 0.75 is a budget"),
		usageIf(f.alone && f.savePlan.given(), "--save-plan %s: there is no plan", alone),
		misplaced(cmd, f.alone, alone+": no channels are merged", "multiple", "uniform", "moves", "floor", "align", "cost", "mass", "scaling", "refit"),
		f.run.check(cmd),
	)
}

func (a *app) compress(ctx context.Context, path string, f *compressFlags) error {
	for _, b := range f.beside() {
		if err := b.check(a, f.run.output.path, path, f.run.into, f.plan, f.run.data.path, f.run.data.classes); err != nil {
			return err
		}
	}
	models, common, err := f.run.start(ctx, a, []string{path})
	if err != nil {
		return err
	}
	o, err := f.options(a, models[0], common)
	if err != nil {
		return err
	}
	for _, b := range f.beside() {
		if err := b.reads(a, models, o.Data, o.EvalData); err != nil {
			return err
		}
	}
	if !f.whole && !f.unspoken && (f.maxDrop == 0 || f.run.tune > 0) { // a search distils nothing on its own
		o.Checked = func() { f.run.announce(a, models[:1]) }
	}
	var out *onnxio.Model
	var done *compress.Report
	if f.run.into != "" {
		out, done, err = compress.Into(ctx, models[0], models[1], o)
	} else {
		out, done, err = compress.Model(ctx, models[0], o)
	}
	if u := (*compress.Undecided)(nil); errors.As(err, &u) {
		return f.choices(a, models[0], u)
	}
	if err != nil {
		return in(path, err)
	}
	a.remark(&done.Report)
	if f.unspoken {
		f.explain(a, done)
	}
	before, err := measure(models[0], done.Shapes)
	if err != nil {
		return in(path, err)
	}
	var shown *look
	r := &report.Compression{Model: path, Into: f.run.into, DryRun: f.run.output.dryRun, Alone: f.alone, Before: before, Report: done, Metric: f.metric.told}
	if done.Blind {
		a.warn("%s: %d of its samples are too few to choose channels by or to fit layers to: channels are merged by their weights; a few hundred make a better model", f.run.data.path, done.Split.Fit.Len())
	}
	if f.run.output.dryRun {
		r.After = report.Size{Params: done.After.Params, MACs: done.After.MACs, OpenDims: done.After.Open}
	} else {
		judge := func() {
			if a.json || !a.quiet || f.page.given() {
				r.Evaluation = f.judge(ctx, a, models[0], out, done)
				f.ask(ctx, a, r, models[0], out, o.Metric)
			}
		}
		// The original cannot be read once it is replaced, and without a page nothing is written.
		first := f.run.output.replaces(a) || f.page.given()
		if first {
			judge()
		}
		if f.page.given() {
			if shown, err = f.look(ctx, r, models[0], out); err != nil {
				return in(path, err)
			}
		}
		if r.After, err = f.run.output.save(ctx, a, out, done.Shapes, before.Bytes); err != nil {
			return err
		}
		r.Output = f.run.output.path
		if !first {
			judge()
		}
	}
	r.Warnings, r.Cost = a.said(), a.cost()
	if f.savePlan.given() {
		if err := f.savePlan.write(ctx, a, done.Plan.Write); err != nil {
			return err
		}
	}
	if shown != nil {
		p, err := page.Compression(r, shown.stages, shown.samples, a.about())
		if err == nil {
			err = f.page.render(ctx, a, p)
		}
		if err != nil {
			return err
		}
	}
	return a.done(r)
}

// choices says which budgets there are, where none was given and none goes without saying: each as
// the command that was given, with the budget.
func (f *compressFlags) choices(a *app, m *onnxio.Model, u *compress.Undecided) error {
	usual := screen.Duration(cmp.Or(f.run.time, job.DefaultTime(m)))
	drop := fmt.Sprintf("--max-drop=%g", compress.DefaultDrop)
	c := choices{error: usagef("%w: --macs 0.75, --max-drop %g or --latency 0.6 would do, or a longer --time", u, compress.DefaultDrop)}
	for _, b := range []struct{ flag, what string }{
		{"--macs=0.75", "three quarters of the multiply-accumulates, in about " + usual},
		{drop, "as few as lose one prediction in a hundred at most, in about " + screen.Duration(compress.Rough(u.Takes))},
		{"--latency=0.6", "six tenths of the time that a run takes on this machine, in about " + usual},
	} {
		args := slices.Clone(a.args)
		if b.flag == drop { // which takes what it takes
			args = without(args, "--time")
		}
		end := slices.Index(args, "--") // what follows are no flags
		if end < 0 {
			end = len(args)
		}
		name, value, _ := strings.Cut(b.flag, "=")
		args = slices.Insert(args, end, name, value)
		c.lines = append(c.lines, b.what+":", "  "+commandLine(args))
	}
	return c
}

// without leaves a flag and its value out of a command line.
func without(args []string, flag string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == flag:
			i++
		case !strings.HasPrefix(args[i], flag+"="):
			out = append(out, args[i])
		}
	}
	return out
}

// explain says what was done without a budget.
func (f *compressFlags) explain(a *app, done *compress.Report) {
	if done.Search == nil {
		a.note("no budget and no data: only what does not matter was removed; --data PHOTOS lets monge look for a model that is as good, --macs 0.75 narrows on made-up inputs")
		return
	}
	s := done.Search
	a.note("no budget: --max-drop %g, the fewest multiply-accumulates with which %s falls by one in a hundred at most; --macs, --latency and others ask for something else", s.Limit, s.Measure)
	if s.Samples < 100 && s.Measure != "metric" { // which has data of its own
		a.note("%d samples tell little about one in a hundred; --eval-data, or more --data, tell more", s.Samples)
	}
}

// beside are the files that are written beside the result.
func (f *compressFlags) beside() []*besideFlag { return []*besideFlag{&f.page.besideFlag, &f.savePlan} }

// A look is what a page shows of models and data.
type look struct {
	stages  []diff.Stage
	samples *page.Samples
}

// look looks at the models for a page.
func (f *compressFlags) look(ctx context.Context, r *report.Compression, before, after *onnxio.Model) (_ *look, err error) {
	l := &look{}
	if l.stages, err = page.Stages(ctx, before, after, r.Shapes); err != nil {
		return nil, err
	}
	if e := r.Evaluation; e != nil && r.Split.Judge != nil {
		l.samples, err = page.Changed(e.Changes, before, r.Split.Judge)
	}
	return l, err
}

// options turns the flags into options.
func (f *compressFlags) options(a *app, m *onnxio.Model, common job.Options) (o compress.Options, err error) {
	o = compress.Options{
		Options: common, Keep: f.keep, MACs: f.macs, Params: f.params, MaxDrop: f.maxDrop, Floor: f.floor, Uniform: f.uniform,
		Exclude: f.widths.exclude, KeepResidual: f.widths.keepResidual, Multiple: int(f.widths.multiple), DType: precision.Type(f.dtype), Arithmetic: f.arithmetic, KeepFloat: f.keepFloat,
		Latency: f.latency.Latency, NoLatency: f.noLatency, Metric: f.metric.metric(a, "", ""),
	}
	if f.maxDrop > 0 || f.unspoken {
		o.Metric = f.metric.metric(a, "the original", "some five to eight calls to come")
	}
	if f.latency.Latency != (compress.Latency{}) && common.Data == nil && f.evalData == "" {
		if err := needShapes(m, common.InputShapes); err != nil {
			return o, err
		}
	}
	if f.latencyTable != "" {
		if o.LatencyTable, err = latency.Read(f.latencyTable); err != nil {
			return o, err
		}
	}
	for _, m := range f.moves {
		o.Moves = append(o.Moves, compress.Move(m))
	}
	if f.floor == 0 {
		o.Floor = math.SmallestNonzeroFloat64 // a single channel
	}
	if f.size.bytes > 0 {
		// What is said about the command is written too.
		if o.Size = f.size.bytes - f.run.output.metadataBytes(a); o.Size <= 0 {
			if _, err := strconv.ParseFloat(f.size.text, 64); err == nil {
				return o, usagef("--size %s is in bytes, less than a file without weights; did you mean %[1]sMB?", &f.size)
			}
			return o, usagef("--size %s is less than a file without weights", &f.size)
		}
	}
	if f.plan != "" {
		file, err := os.Open(f.plan)
		if err != nil {
			return o, err
		}
		defer file.Close()
		if o.Plan, err = compress.ReadPlan(f.plan, file); err != nil {
			return o, err
		}
		if err := f.run.output.reads(a, f.plan); err != nil {
			return o, err
		}
	}
	if o.EvalData, err = f.run.evalSet(a, m, f.evalData); err != nil {
		return o, err
	}
	if o.EvalData != nil {
		if err := f.run.output.reads(a, o.EvalData.Files()...); err != nil {
			return o, err
		}
	}
	o.NoEval = f.evalData == "none"
	if f.alone { // nothing is merged or fitted: all data may judge
		o.Keep, o.Lossless = 1, job.On
		if o.EvalData == nil {
			o.EvalData = o.Data
		}
		o.Data, o.NoData, o.Align = nil, true, string(match.Weights)
	}
	return o, nil
}

// unchanged reports whether two models compute the same by the same nodes and weights.
func unchanged(a, b *onnxio.Model) bool {
	return a.Dir == b.Dir && proto.Equal(a.Proto.Graph, b.Proto.Graph) &&
		slices.EqualFunc(a.Proto.OpsetImport, b.Proto.OpsetImport, func(x, y *onnxpb.OperatorSetIdProto) bool { return proto.Equal(x, y) })
}

// judge compares the result with the original. The file is written by then, unless it replaces the
// original: what goes wrong here is a remark.
func (f *compressFlags) judge(ctx context.Context, a *app, before, after *onnxio.Model, done *compress.Report) *report.Comparison {
	on := done.Split.Judge
	untimed := f.noLatency || unchanged(before, after) // of one model two timings differ by chance
	if _, err := a.runtime(); err != nil || on == nil && untimed {
		return nil
	}
	models := []*onnxio.Model{before, after}
	c := &report.Comparison{}
	if err := eval.Admit(ctx, models, eval.AdmitOptions{Data: on, Shapes: done.Shapes, Trial: a.trial}); err != nil {
		a.warn("the result was not judged: %s", oneLine(err))
		return nil
	}
	if on != nil {
		evals, err := eval.Models(ctx, models, on, eval.Options{NoLatency: true, Outputs: done.Outputs, StreamOptions: a.stream("judging the result", f.run.data.batch)})
		if err != nil {
			why := oneLine(err)
			if ctx.Err() != nil {
				why = "interrupted"
			}
			a.warn("the result was not judged: %s", why)
			return nil
		}
		if d := evals[0].Doubt; d != "" {
			a.warn("%s: labels are not used: %s", on.Name(), d)
			on = on.Unlabelled()
			done.Split.Judge = on
		}
		c.Data, c.Samples, c.HeldOut = on.Name(), on.Len(), done.Split.HeldOut
		c.Before, c.After = report.Judge(evals[0]).Quality, report.Judge(evals[1]).Quality
		c.Outputs, c.Changes = evals[1].Outputs, eval.Changes(evals[0], evals[1], on)
	}
	if untimed {
		return c
	}
	if t := done.Latency; t != nil && t.Measured != nil { // it has been timed
		c.Before.LatencyMS, c.After.LatencyMS, c.Threads = t.BeforeMS, t.AfterMS, t.Threads
		return c
	}
	timings, err := eval.Latencies(ctx, models, eval.LatencyOptions{Threads: a.threads, Data: on, Shapes: done.Shapes})
	if err != nil {
		a.note("latency was not measured: %s", oneLine(err))
		return c
	}
	for i, q := range []*report.Quality{&c.Before, &c.After} {
		if timings[i].Reduced {
			a.note("%s: onnxruntime's optimiser fails on it: it ran with fewer optimisations", cmp.Or(models[i].Path, f.run.output.path))
		}
		q.LatencyMS, c.Threads = &timings[i].MedianMS, timings[i].Threads
	}
	return c
}

// ask has the metric judge the result beside the original, unless a search has done so. What goes wrong
// here is a remark, since the file is written.
func (f *compressFlags) ask(ctx context.Context, a *app, r *report.Compression, before, after *onnxio.Model, metric eval.Metric) {
	if !metric.Given() {
		return
	}
	if r.Evaluation == nil {
		r.Evaluation = &report.Comparison{}
	}
	e := r.Evaluation
	if s := r.Search; s != nil {
		e.Before.Metric, e.After.Metric = s.Original, s.After
		return
	}
	for _, x := range []struct {
		model *onnxio.Model
		q     *report.Quality
	}{{before, &e.Before}, {after, &e.After}} {
		if a.display != nil && !a.quiet {
			a.display.Update("asking the metric", 0, 0)
		}
		value, err := metric.Model(ctx, x.model)
		if err != nil {
			a.warn("the result was not judged by the metric: %s", oneLine(err))
			e.Before.Metric = nil
			return
		}
		x.q.Metric = &value
	}
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
