package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// runFlags are those of compress and fuse: where the result goes, what data are worked with, how
// channels are matched, and how far the result is fitted.
type runFlags struct {
	output                          outputFlags
	shapes                          shapeFlags
	task                            taskFlags
	lossless, noLossless            bool
	into                            string
	by, cost, mass, scaling, solver choice
	epsilon                         float64
	samples                         int
	refit                           choice
	refitSamples                    int
	tune                            int
	time                            time.Duration
	keepBN                          bool
	data                            dataFlags
	// invent lets inputs be made up where no data set is given.
	invent bool
}

// invents reports whether inputs are to be made up: unless the user says that there are none, or
// asks for transport alone.
func (f *runFlags) invents() bool {
	return f.invent && f.data.path == "" && f.by.value == "" && f.refit.value != "off"
}

// refits reports whether operators shall be refitted: with data, made up or not, unless a way of
// alignment is named, which asks for transport alone.
func (f *runFlags) refits() bool {
	if f.refit.value != "" {
		return f.refit.value == "on"
	}
	return (f.data.given() || f.invents()) && f.by.value == ""
}

// addLossless adds the flags of the lossless pass.
func (f *runFlags) addLossless(cmd *cobra.Command, use string) {
	cmd.Flags().BoolVar(&f.lossless, "lossless", true, use)
	cmd.Flags().BoolVar(&f.noLossless, "no-lossless", false, "the same as --lossless=false")
}

// asksLossless reports whether the pass is asked for by name.
func (f *runFlags) asksLossless(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("lossless") && f.lossless
}

func (f *runFlags) addSamples(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.refitSamples, "refit-samples", 1000, "samples that channels are chosen and layers refitted on (0: all)")
}

func (f *runFlags) addMemory(cmd *cobra.Command) {
	cmd.Flags().Var(&f.data.memory, "memory", "get by with `BYTES` of memory, as in 2GB, as far as it goes: by fewer samples at a time; a model that takes more for one, and data that do, are refused (default: half of what is free, at most 4GB)")
}

func (f *runFlags) add(cmd *cobra.Command, bases []string) {
	f.data.add(cmd, &f.shapes, "`PATH` of a data set to work with (none: work without data); see monge --help")
	fs := cmd.Flags()
	addChoice(cmd, &f.refit, "refit", "refit the layers in closed form on --data, no labels needed (default: on with --data unless --align is given, which asks for transport alone)", "on", "off")
	f.addSamples(cmd)
	fs.IntVar(&f.tune, "tune", -1, "after the refit, distil what went in into the result for this many epochs on the samples of --data or the made-up ones, no labels needed (default: 2,000 steps, or as many as fit into --time; none under --max-drop, nor on made-up samples in models of 64 MiB or more)")
	fs.Lookup("tune").DefValue = "" // its description says more
	fs.DurationVar(&f.time, "time", 0, "`TIME` that all of the work may take, as in 90s, 10m or 1h: the distillation has what the rest leaves (default: 100s, 5m for models of a million parameters or more; with --tune no limit)")
	fs.Lookup("time").DefValue = ""
	f.addMemory(cmd)
	refitGroup.in(cmd)
	addChoice(cmd, &f.by, "align", "compare channels by this (default: activations with --data, weights without)", bases...)
	fs.IntVar(&f.samples, "samples", 200, "samples that channels are compared on by activations (0: all)")
	addChoice(cmd, &f.cost, "cost", "ground cost between two channels (default: euclidean)", "euclidean", "sqeuclidean", "cosine")
	addChoice(cmd, &f.mass, "mass", "mass of a channel: uniform, or the norm of its incoming weights (default: uniform)", "uniform", "l1", "l2")
	addChoice(cmd, &f.solver, "solver", "exact plan or entropic one (default: emd)", "emd", "sinkhorn")
	fs.Float64Var(&f.epsilon, "epsilon", 0, "strength of sinkhorn's entropy relative to the mean cost (default: 0.05)")
	addChoice(cmd, &f.scaling, "scaling", scalingHelp, "sum", "mean")
	fs.BoolVar(&f.keepBN, "keep-bn", false, "leave BatchNormalization in place (default: fold it into the layer before)")
	transportGroup.in(cmd)
}

const scalingHelp = "consumers read merged channels by their sum or mean (default: mean onto another model, sum within one)"

// check finds mistakes that need no file to be seen.
func (f *runFlags) check(cmd *cobra.Command) error {
	given := cmd.Flags().Changed
	return cmp.Or(
		usageIf(f.asksLossless(cmd) && f.noLossless, "give one of --lossless and --no-lossless"),
		usageIf(given("epsilon") && f.solver.value != string(match.Sinkhorn), "--epsilon belongs to --solver sinkhorn"),
		usageIf(given("epsilon") && !(f.epsilon > 0), "--epsilon is %g: want a positive number", f.epsilon),
		usageIf(f.samples < 0, "--samples is %d: want a positive number, or 0 for all", f.samples),
		usageIf(f.refitSamples < 0, "--refit-samples is %d: want a positive number, or 0 for all", f.refitSamples),
		usageIf(f.by.value == string(match.Activations) && !f.data.given(), "--align activations needs --data"),
		usageIf(f.refit.value == "on" && !f.data.given() && !f.invents(), "--refit on needs --data"),
		usageIf(f.tune < -1, "--tune is %d: want a number of epochs, or -1 to leave the choice to monge", f.tune),
		usageIf(f.tune > 0 && !f.refits(), "--tune needs --data and a refit"),
		usageIf(given("time") && f.time <= 0, "--time is %s: want a positive one", f.time),
		usageIf(given("time") && (f.tune == 0 || !f.refits()), "--time bounds the distillation, and there is none without --data and a refit, or with --tune 0"),
		f.data.check(cmd),
	)
}

// announce says what the time will be spent on.
func (f *runFlags) announce(a *app, models []*onnxio.Model) {
	if f.tune == 0 || !f.refits() || f.output.dryRun || a.quiet || a.json && !a.terminal {
		return
	}
	if _, err := a.runtime(); err != nil {
		return // nothing can be distilled
	}
	until := "until the time is over or 2,000 steps are taken"
	switch {
	case f.tune == 1:
		until = "for 1 epoch"
	case f.tune > 1:
		until = fmt.Sprintf("for %d epochs", f.tune)
	}
	limit := f.time
	if limit == 0 && f.tune < 0 {
		limit = job.DefaultTime(models...)
	}
	most := ""
	if limit > 0 {
		most = fmt.Sprintf("up to %s: ", screen.Duration(limit))
	}
	a.say(fmt.Sprintf("%sstatistics and choices, then distillation %s; --time changes that, Ctrl-C ends it and writes what there is", most, until))
}

// start reads the models, that of --into last, sees whether the result can be written, and turns
// the flags into options.
func (f *runFlags) start(ctx context.Context, a *app, paths []string) (models []*onnxio.Model, o job.Options, err error) {
	if f.into != "" {
		paths = append(slices.Clone(paths), f.into)
	}
	if err := f.output.check(a, append([]string{f.data.path, f.data.classes}, paths...)...); err != nil {
		return nil, o, err
	}
	if err := a.named(); err != nil {
		return nil, o, err
	}
	if models, o, err = f.load(a, paths); err != nil {
		return nil, o, err
	}
	return models, o, f.output.readsAll(ctx, a, models, o.Data)
}

// load reads the models, and turns the flags into options.
func (f *runFlags) load(a *app, paths []string) (models []*onnxio.Model, o job.Options, err error) {
	models, shapes, err := f.shapes.load(paths)
	if err != nil {
		return nil, o, err
	}
	tasks, err := f.task.tasks(models[0])
	if err != nil {
		return nil, o, err
	}
	o, err = f.options(a, models[0], tasks, shapes)
	return models, o, err
}

// options opens the data, where they are asked for, and turns the flags into options.
func (f *runFlags) options(a *app, m *onnxio.Model, tasks eval.Tasks, shapes map[string][]int) (o job.Options, err error) {
	f.data.bound(a)
	if f.invents() {
		f.data.ask(a, m)
		f.data.tellStated(a)
	}
	o = job.Options{
		NoData: f.data.path == "none", DropBad: f.data.dropBad, Samples: all(f.samples), RefitSamples: all(f.refitSamples), Seed: f.data.seed,
		Align: f.by.value, Cost: f.cost.value, Mass: f.mass.value, Scaling: f.scaling.value, Solver: f.solver.value, Epsilon: f.epsilon,
		Refit: job.Switch(f.refit.value), KeepBatchNorm: f.keepBN, Tasks: tasks, InputShapes: shapes, Preprocess: f.data.preprocess(nil),
		DryRun: f.output.dryRun, Threads: a.threads, Batch: f.data.batch, Memory: f.data.memory.bytes, Runtime: a.runtime, Trials: a.trial, Warn: func(message string) { a.warn("%s", message) }, Progress: a.working(), Time: f.time, Stop: a.interrupts.stopping(),
	}
	if !f.lossless || f.noLossless {
		o.Lossless = job.Off
	}
	switch {
	case f.tune == 0:
		o.Tune = job.Off
	case f.tune > 0:
		o.Tune, o.Epochs = job.On, f.tune
	}
	if !f.data.given() {
		return o, nil
	}
	if !f.refits() && f.by.value != "" && f.by.value != string(match.Activations) {
		a.note("--data is not used: --align %s", f.by.value)
		return o, nil
	}
	o.Data, err = f.data.open(a, m)
	return o, err
}

// evalSet opens a data set that results are judged on, read as --data is, but whole; nil for none.
func (f *runFlags) evalSet(a *app, m *onnxio.Model, path string) (*dataset.Data, error) {
	d := f.data
	if d.path, d.limit = path, 0; !d.given() {
		return nil, nil
	}
	return d.open(a, m)
}

// remark passes on what a run has to say.
func (a *app) remark(r *job.Report) {
	for _, n := range r.Notes {
		a.note("%s", n)
	}
	if r.Synthetic {
		a.note("--data gives real inputs, --data none works without any")
	}
}

// all is a number of samples, where 0 stands for all of them.
func all(n int) int {
	if n == 0 {
		return math.MaxInt
	}
	return n
}
