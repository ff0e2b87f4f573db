package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// alignFlags say how channels are matched.
type alignFlags struct {
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
func (f *alignFlags) invents() bool {
	return f.invent && f.data.path == "" && f.by.value == "" && f.refit.value != "off"
}

// refits reports whether operators shall be refitted: with data, made up or not,
// unless a way of alignment is named, which asks for transport alone.
func (f *alignFlags) refits() bool {
	if f.refit.value != "" {
		return f.refit.value == "on"
	}
	return (f.data.given() || f.invents()) && f.by.value == ""
}

func (f *alignFlags) add(cmd *cobra.Command, shapes *shapeFlags, bases []string) {
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

// epochs turns --tune into the Tune of compress.Options and fuse.Options, where
// zero leaves the choice to them and less asks for none.
func (f *alignFlags) epochs() int {
	switch {
	case f.tune > 0:
		return f.tune
	case f.tune == 0:
		return -1
	}
	return 0
}

// mostTaught is the size in bytes from which on a model is not distilled on noise
// unless --tune asks for it: what trains a perceptron of 400 MB takes five times
// its memory and minutes, and was undone for being no better.
const mostTaught = 64 << 20

// epochsOn is epochs for a model of so many bytes, and whether that is why there
// are none.
func (f *alignFlags) epochsOn(b basis, bytes int64) (epochs int, tooLarge bool) {
	if f.tune < 0 && b.synthetic && bytes >= mostTaught {
		return -1, true
	}
	return f.epochs(), false
}

const scalingHelp = "consumers read merged channels by their sum or mean (default: mean onto another model, sum within one)"

func (f *alignFlags) check(cmd *cobra.Command) error {
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

// A basis is what channels are compared by and layers refitted on.
type basis struct {
	align match.Options
	fit   *dataset.Data // nil without a refit
	// held are samples that are neither, nil if there are none; synthetic says
	// that the others are made up.
	held      *dataset.Data
	synthetic bool
}

// given returns the samples of the user's own that are worked with; nil if there
// are none.
func (b basis) given() *dataset.Data {
	switch {
	case b.synthetic:
		return nil
	case b.fit != nil:
		return b.fit
	}
	return b.align.Data
}

// options opens the data and onnxruntime, where they are asked for. hold, which
// may be nil, takes samples aside. Without data, or where none can be made up
// since there is no onnxruntime, channels are compared by weights, and the user is
// told so.
func (f *alignFlags) options(a *app, dryRun bool, m *onnxio.Model, shapes map[string][]int, hold func(d *dataset.Data) (fit, held *dataset.Data)) (b basis, err error) {
	b.align = match.Options{
		By: match.Basis(f.by.value), Cost: match.Metric(f.cost.value), Mass: match.Mass(f.mass.value),
		Scaling: edit.Scaling(f.scaling.value), Solver: match.Solver(f.solver.value), Epsilon: f.epsilon,
		Threads: a.threads, Batch: f.data.batch,
	}
	by := b.align.By
	if by == "" {
		by = match.Weights
		if f.data.given() {
			by = match.Activations
		}
	}
	b.align.By = match.Weights
	switch {
	case dryRun && !f.refits():
		return b, nil // nothing is compared
	case by != match.Activations && !f.refits():
		b.align.By = by
		if f.data.given() {
			a.note("--data is not used: --align %s", by)
		} else if f.by.value == "" {
			a.note("without --data: channels are compared by their weights")
		}
		return b, nil
	case !f.data.given():
		return f.madeUp(a, b, m, shapes)
	}
	data, err := f.data.open(a)
	if err != nil {
		return b, err
	}
	if hold != nil {
		data, b.held = hold(data)
	}
	if b.held, err = f.data.sound(a, b.held); err != nil {
		return b, err
	}
	// Of many samples only those that are used are read. They have been shuffled
	// then.
	seed := f.data.seed
	if most := max(f.samples, f.refitSamples); min(f.samples, f.refitSamples) > 0 && most < data.Len() {
		data, seed = data.Sample(most, seed), dataset.FileOrder
	}
	if data, err = f.data.sound(a, data); err != nil {
		return b, err
	}
	if b.align.By = by; by == match.Activations {
		b.align.Data = data.Sample(f.samples, seed)
	}
	if f.refits() {
		b.fit = data.Sample(f.refitSamples, seed)
	}
	return b, nil
}

// madeUp makes inputs out of noise. Where that cannot be, channels are compared
// by their weights.
func (f *alignFlags) madeUp(a *app, b basis, m *onnxio.Model, shapes map[string][]int) (basis, error) {
	_, err := a.runtime()
	if err == nil {
		b.fit, err = dataset.Synthetic(m, dataset.SyntheticOptions{
			Samples: f.madeUpSamples(m, shapes), Seed: max(f.data.seed, 0), Shapes: shapes, Preprocess: f.data.preprocess(nil),
		})
	}
	if err != nil {
		if f.refit.value == "on" {
			return b, fmt.Errorf("--refit on, without --data: %w", err)
		}
		a.note("without --data, and no inputs could be made up (%s): channels are compared by their weights", oneLine(err))
		return b, nil
	}
	b.synthetic = true
	b.align.By, b.align.Data = match.Activations, b.fit.Sample(f.samples, dataset.FileOrder)
	a.note("without --data: layers are refitted on %d made-up inputs (noise); a few hundred real ones make a better model, --data none does without", b.fit.Len())
	return b, nil
}

const (
	// mostMadeUp samples are enough: more noise says nothing new. Large models,
	// in which every sample has many positions, get by with fewer, but no less
	// than leastMadeUp.
	mostMadeUp, leastMadeUp = 500, 32
	// madeUpMACs is what running the model once on all made-up samples may cost.
	madeUpMACs = 5e11
)

// madeUpSamples is the number of inputs that are worth making up.
func (f *alignFlags) madeUpSamples(m *onnxio.Model, shapes map[string][]int) int {
	n := mostMadeUp
	if an, err := coupling.Analyze(m, coupling.Options{InputShapes: shapes}); err == nil {
		macs, _ := an.MACs(nil)
		n = int(min(mostMadeUp, max(leastMadeUp, madeUpMACs/max(float64(macs), 1))))
	}
	if f.refitSamples > 0 {
		n = min(n, f.refitSamples)
	}
	return n
}

// report says what options did.
func (b basis) report() report.Alignment {
	r := report.Alignment{By: string(b.align.By), Synthetic: b.synthetic}
	if b.fit != nil {
		r.RefitSamples = b.fit.Len()
	}
	if b.align.Data != nil {
		r.Samples = b.align.Data.Len()
	}
	return r
}
