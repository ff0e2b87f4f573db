package job

import (
	"cmp"
	"time"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
)

// A Switch turns a part of a run on or off. Its zero value leaves that to the package.
type Switch string

const (
	// Auto does what serves best with the data that there are.
	Auto Switch = ""
	// On does it in any case.
	On Switch = "on"
	// Off does not do it.
	Off Switch = "off"
)

// Options are the settings that compressing and fusing have in common. The zero value does what the
// commands do without flags.
type Options struct {
	// Data are the inputs to work with, no labels needed: channels are compared and chosen,
	// operators refitted and the result distilled on them. Nil: a compression makes some up out of
	// noise, a fusion works without.
	Data *dataset.Data
	// NoData works without any inputs: channels are compared by their weights.
	NoData bool
	// DropBad leaves out samples of Data and EvalData that have NaN or infinite numbers in them,
	// with a warning that counts them. Otherwise they are an error.
	DropBad bool
	// EvalData are the inputs that a compression is judged on, and that MaxDrop is measured on.
	// Nil: some of Data, which are then used for nothing else.
	EvalData *dataset.Data
	// NoEval judges nothing, so that all of Data can be worked with. MaxDrop, which cannot be met
	// without a measurement, holds some out all the same.
	NoEval bool
	// Samples is how many of Data activations are compared on, RefitSamples how many channels are
	// chosen, operators refitted and the result distilled on. Zero means 200 and 1,000. They are
	// drawn by Seed.
	Samples, RefitSamples int
	// Seed draws samples, and makes inputs up; dataset.FileOrder takes the first.
	Seed int64

	// Align says what channels are compared by: "weights", "activations", or, in a fusion, "none",
	// which leaves every channel in its place. "": activations with data, weights without. A basis
	// that is named asks for transport alone: nothing is refitted or distilled unless Refit is On.
	Align string
	// Cost is the ground cost between two channels: "euclidean" (""), "sqeuclidean" or "cosine".
	Cost string
	// Mass is how much a channel weighs: "uniform" (""), or "l1" or "l2", the norm of its incoming
	// weights.
	Mass string
	// Scaling is how consumers read channels that were merged: by their "sum" or "mean". "": the
	// mean onto another model, the sum within one.
	Scaling string
	// Solver makes the plan: "emd" (""), the exact one, or "sinkhorn", the entropic one, with
	// Epsilon its entropy relative to the mean cost; zero means 0.05.
	Solver  string
	Epsilon float64

	// Lossless removes first what does not matter: unused nodes, subnormal weights, and, in a
	// compression, channels that are constant, repeated or unread.
	Lossless Switch
	// Refit chooses channels by what they explain on the data, and fits linear operators in closed
	// form to what the models compute.
	Refit Switch
	// Tune distils the models into the refitted result, for Epochs epochs. Where that is zero, it is
	// for 2,000 steps, or as many as there is Time for.
	Tune   Switch
	Epochs int
	// Time is what all of the work may take. What comes before the distillation takes what it takes,
	// and the distillation gets the rest; what follows are seconds. Zero: DefaultTime, but at least
	// half of that for the distillation, and no limit where Epochs are given. Where the time decides,
	// two runs differ a little: how many steps there are is the clock's doing.
	Time time.Duration
	// Stop, once it is closed, ends a distillation after the step that is under way, or lets none
	// begin: the result is judged and returned as it is then. It shortens nothing else; whoever wants
	// no result cancels the context. It may be nil.
	Stop <-chan struct{}
	// KeepBatchNorm leaves BatchNormalization nodes in place; by default they are folded, exactly,
	// into the linear operators before them.
	KeepBatchNorm bool

	// InputShapes gives sizes to free dimensions of inputs, by name. Where there are data, those of
	// the first sample are taken for the others.
	InputShapes map[string][]int
	// Tasks are given for outputs, by name (of "": of all others). For outputs without one
	// eval.FindTasks says what they are for.
	Tasks eval.Tasks
	// Preprocess is how made-up inputs are scaled.
	Preprocess dataset.Preprocess
	// DryRun decides on the widths and stops: no model is made.
	DryRun bool
	// Memory is the number of bytes that statistics and distillation get by with, as far as it goes:
	// by fewer samples at a time. Zero means half of what is free at the start, at most 4 GB.
	Memory int64
	// Threads is the number of threads to work with; zero means one per core. Batch is the number
	// of samples run at once; zero means 32.
	Threads, Batch int
	// Progress, if set, is told what is being done, Distilling for instance, and how far it is; a
	// total of zero is not known.
	Progress func(stage string, done, total int)
	// Runtime finds the onnxruntime without which no inputs are made up; nil means
	// engine.Available.
	Runtime func() (engine.Library, error)
	// Trials runs models in a program of its own before they are run in this one, which a model
	// that onnxruntime dies of would take with it; nil for none.
	Trials *engine.Trial
	// Checked, if set, is called once when models, settings and data have been looked at, before the
	// work that takes time begins. Where nothing is left to do it is not.
	Checked func()
	// Warn, if set, is told at once what may be wrong with the data.
	Warn func(message string)
}

// Distilling is the stage in which Stop ends the work.
const Distilling = "distil"

// largeModel is the number of parameters from which on a model has more time by default.
const largeModel = 1_000_000

// DefaultTime is what the work on some models may take where nothing else is said: 100 seconds, or
// five minutes where one has a million parameters or more.
func DefaultTime(models ...*onnxio.Model) time.Duration {
	for _, m := range models {
		if params, _ := m.Size(); params >= largeModel {
			return 5 * time.Minute
		}
	}
	return 100 * time.Second
}

// A Mistake is an error about an option. Its text begins with the option's name as the command line
// has it, as in "max-drop is 2".
type Mistake struct{ Err error }

func (m *Mistake) Error() string { return m.Err.Error() }

func (m *Mistake) Unwrap() error { return m.Err }

const (
	defaultSamples      = 200
	defaultRefitSamples = 1000
)

// Wanted returns the numbers of samples that channels are compared on, and that operators are
// refitted on.
func (o *Options) Wanted() (samples, refit int) {
	return cmp.Or(o.Samples, defaultSamples), cmp.Or(o.RefitSamples, defaultRefitSamples)
}

// Stage returns the progress of one stage.
func (o *Options) Stage(name string) func(done, total int) {
	return func(done, total int) {
		if o.Progress != nil {
			o.Progress(name, done, total)
		}
	}
}

// Stream is how data are run through a model in a stage.
func (o *Options) Stream(stage string) dataset.StreamOptions {
	return dataset.StreamOptions{Batch: o.Batch, Threads: o.Threads, Progress: o.Stage(stage)}
}
