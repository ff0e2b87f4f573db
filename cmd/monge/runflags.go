package main

import (
	"math"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/report"
)

// runFlags say what data are worked with, how channels are matched, and how far
// the result is fitted.
type runFlags struct {
	by, cost, mass, scaling, solver choice
	epsilon                         float64
	samples                         int
	refit                           choice
	refitSamples                    int
	tune                            int
	keepBN                          bool
	data                            dataFlags
	// invent lets inputs be made up where no data set is given.
	invent bool
}

// invents reports whether inputs are to be made up: unless the user says that
// there are none, or asks for transport alone.
func (f *runFlags) invents() bool {
	return f.invent && f.data.path == "" && f.by.value == "" && f.refit.value != "off"
}

// refits reports whether operators shall be refitted: with data, made up or not,
// unless a way of alignment is named, which asks for transport alone.
func (f *runFlags) refits() bool {
	if f.refit.value != "" {
		return f.refit.value == "on"
	}
	return (f.data.given() || f.invents()) && f.by.value == ""
}

func (f *runFlags) add(cmd *cobra.Command, shapes *shapeFlags, bases []string) {
	f.data.add(cmd, shapes, "`PATH` of a data set to work with (none: work without data); see monge --help")
	fs := cmd.Flags()
	addChoice(cmd, &f.refit, "refit", "refit the layers in closed form on --data, no labels needed (default: on with --data unless --align is given, which asks for transport alone)", "on", "off")
	fs.IntVar(&f.refitSamples, "refit-samples", 1000, "samples that channels are chosen and layers refitted on (0: all)")
	fs.IntVar(&f.tune, "tune", -1, "after the refit, distil what went in into the result for this many epochs on the samples of --data or the made-up ones, no labels needed (default: 2,000 steps, or as many as take two or three minutes on two cores; none under --max-drop, nor on made-up samples in models of 64 MiB or more)")
	fs.Lookup("tune").DefValue = "" // its description says more
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

func (f *runFlags) check(cmd *cobra.Command) error {
	switch {
	case cmd.Flags().Changed("epsilon") && f.solver.value != string(match.Sinkhorn):
		return usagef("--epsilon belongs to --solver sinkhorn")
	case cmd.Flags().Changed("epsilon") && !(f.epsilon > 0):
		return usagef("--epsilon is %g: want a positive number", f.epsilon)
	case f.samples < 0:
		return usagef("--samples is %d: want a positive number, or 0 for all", f.samples)
	case f.refitSamples < 0:
		return usagef("--refit-samples is %d: want a positive number, or 0 for all", f.refitSamples)
	case f.by.value == string(match.Activations) && !f.data.given():
		return usagef("--align activations needs --data")
	case f.refit.value == "on" && !f.data.given() && !f.invents():
		return usagef("--refit on needs --data")
	case f.tune < -1:
		return usagef("--tune is %d: want a number of epochs, or -1 to leave the choice to monge", f.tune)
	case f.tune > 0 && !f.refits():
		return usagef("--tune needs --data and a refit")
	}
	return f.data.check(cmd)
}

// options opens the data, where they are asked for, and turns the flags into
// options.
func (f *runFlags) options(a *app, tasks eval.Tasks, shapes map[string][]int, dryRun bool) (o job.Options, err error) {
	o = job.Options{
		NoData: f.data.path == "none", Samples: all(f.samples), RefitSamples: all(f.refitSamples), Seed: f.data.seed,
		Align: f.by.value, Cost: f.cost.value, Mass: f.mass.value, Scaling: f.scaling.value, Solver: f.solver.value, Epsilon: f.epsilon,
		Refit: job.Switch(f.refit.value), KeepBatchNorm: f.keepBN, Tasks: tasks, InputShapes: shapes, Preprocess: f.data.preprocess(nil),
		DryRun: dryRun, Threads: a.threads, Batch: f.data.batch, Warn: func(message string) { a.warn("%s", message) },
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
	o.Data, err = f.data.open(a)
	return o, err
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

// alignment says how channels were compared, and on what.
func alignment(r *job.Report) report.Alignment {
	out := report.Alignment{By: r.By, Synthetic: r.Synthetic}
	if d := r.Split.Match; d != nil {
		out.Samples = d.Len()
	}
	if d := r.Split.Fit; d != nil {
		out.RefitSamples = d.Len()
	}
	return out
}
