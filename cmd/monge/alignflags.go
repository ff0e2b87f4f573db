package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/align"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/report"
)

// alignFlags say how channels are matched.
type alignFlags struct {
	by, cost, mass, scaling, solver choice
	epsilon                         float64
	samples                         int
	refit                           choice
	refitSamples                    int
	keepBN                          bool
	data                            dataFlags
}

// refits reports whether operators shall be refitted: with data, unless a way
// of alignment is named, which asks for transport alone.
func (f *alignFlags) refits() bool {
	if f.refit.value != "" {
		return f.refit.value == "on"
	}
	return f.data.given() && f.by.value == ""
}

func (f *alignFlags) add(cmd *cobra.Command, bases []string) {
	addChoice(cmd, &f.by, "align", "compare channels by this (default: activations with --data, weights without)", bases...)
	addChoice(cmd, &f.cost, "cost", "ground cost between two channels (default euclidean)", "euclidean", "sqeuclidean", "cosine")
	addChoice(cmd, &f.mass, "mass", "mass of a channel: uniform, or the norm of its incoming weights (default uniform)", "uniform", "l1", "l2")
	addChoice(cmd, &f.solver, "solver", "exact plan or entropic one (default emd)", "emd", "sinkhorn")
	cmd.Flags().Float64Var(&f.epsilon, "epsilon", 0, "strength of sinkhorn's entropy relative to the mean cost (default 0.05)")
	addChoice(cmd, &f.scaling, "scaling", scalingHelp, "sum", "mean")
	cmd.Flags().BoolVar(&f.keepBN, "keep-bn", false, "leave BatchNormalization in place (default: fold it into the layer before)")
	addChoice(cmd, &f.refit, "refit", "refit the layers in closed form on --data, no labels needed (default: on with --data unless --align is given, which asks for transport alone)", "on", "off")
	f.data.add(cmd, "`PATH` of a data set to work with (none: work without data); see monge --help")
	cmd.Flags().IntVar(&f.samples, "samples", 200, "samples that channels are compared on by activations (0: all)")
	cmd.Flags().IntVar(&f.refitSamples, "refit-samples", 1000, "samples that channels are chosen and layers refitted on (0: all)")
}

const scalingHelp = "consumers read merged channels by their sum or mean (default: mean onto another model, sum within one)"

func (f *alignFlags) check(cmd *cobra.Command) error {
	switch {
	case cmd.Flags().Changed("epsilon") && f.solver.value != string(align.Sinkhorn):
		return usagef("--epsilon belongs to --solver sinkhorn")
	case cmd.Flags().Changed("epsilon") && !(f.epsilon > 0):
		return usagef("--epsilon is %g: want a positive number", f.epsilon)
	case f.samples < 0:
		return usagef("--samples is %d: want a positive number, or 0 for all", f.samples)
	case f.refitSamples < 0:
		return usagef("--refit-samples is %d: want a positive number, or 0 for all", f.refitSamples)
	case f.by.value == string(align.Activations) && !f.data.given():
		return usagef("--align activations needs --data")
	case f.refit.value == "on" && !f.data.given():
		return usagef("--refit on needs --data")
	}
	return f.data.check()
}

// options opens the data and onnxruntime, where they are asked for: o says how
// channels are compared, fit holds the samples for the refit, nil without one.
// Without onnxruntime, or without data, channels are compared by weights, and
// the user is told so; unless what needs data was asked for by name.
func (f *alignFlags) options(a *app, dryRun bool) (o align.Options, fit *engine.Data, err error) {
	o = align.Options{
		By: align.Basis(f.by.value), Cost: align.Metric(f.cost.value), Mass: align.Mass(f.mass.value),
		Scaling: align.Scaling(f.scaling.value), Solver: align.Solver(f.solver.value), Epsilon: f.epsilon,
		Threads: a.threads, Batch: f.data.batch,
	}
	if o.By == "" {
		o.By = align.Weights
		if f.data.given() {
			o.By = align.Activations
		}
	}
	switch {
	case dryRun && !f.refits():
		o.By = align.Weights // nothing is compared
		return o, nil, nil
	case o.By != align.Activations && !f.refits():
		if f.data.given() {
			a.note("--data is not used: --align %s", o.By)
		} else if f.by.value == "" {
			a.note("without --data: channels are compared by their weights")
		}
		return o, nil, nil
	}
	data, err := f.data.open()
	if err != nil {
		return o, nil, err
	}
	if _, err := a.runtime(); err != nil {
		switch {
		case f.by.value == string(align.Activations):
			return o, nil, fmt.Errorf("--align activations: %w", err)
		case f.refit.value == "on":
			return o, nil, fmt.Errorf("--refit on: %w", err)
		}
		a.warn("%s: --data is not used, channels are compared by their weights: %s", f.data.path, oneLine(err))
		o.By = align.Weights
		return o, nil, nil
	}
	if o.By == align.Activations {
		o.Data = data.Sample(f.samples, f.data.seed)
	}
	if f.refits() {
		fit = data.Sample(f.refitSamples, f.data.seed)
	}
	return o, fit, nil
}

// alignment says what options does.
func alignment(o align.Options, fit *engine.Data) report.Alignment {
	r := report.Alignment{By: string(o.By)}
	if fit != nil {
		r.RefitSamples = fit.Len()
	}
	if o.Data != nil {
		r.Samples = o.Data.Len()
	}
	return r
}
