package match

import (
	"fmt"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
)

// Basis says what channels are compared by.
type Basis string

const (
	// Weights compares incoming weights, after the source's inputs were moved into the target's
	// channels. Needs no data.
	Weights Basis = "weights"
	// Activations compares the channels' values on calibration samples, before the nonlinearity.
	Activations Basis = "activations"
	// Unaligned leaves every channel where it is: the plain average, as a baseline. The widths must
	// agree.
	Unaligned Basis = "none"
)

// Metric is the ground cost between two channels.
type Metric string

const (
	// Euclidean is ‖x−y‖, the ground metric of Singh & Jaggi (2020).
	Euclidean Metric = "euclidean"
	// SquaredEuclidean is ‖x−y‖².
	SquaredEuclidean Metric = "sqeuclidean"
	// Cosine is 1 − ⟨x,y⟩/(‖x‖‖y‖).
	Cosine Metric = "cosine"
)

// Mass says how much weight each channel has in the transport problem.
type Mass string

const (
	// Uniform gives every channel the same mass.
	Uniform Mass = "uniform"
	// ImportanceL1 makes masses proportional to the incoming weights' L1 norm.
	ImportanceL1 Mass = "l1"
	// ImportanceL2 makes masses proportional to the incoming weights' L2 norm.
	ImportanceL2 Mass = "l2"
)

// Solver computes the transport plan.
type Solver string

const (
	// EMD is the exact plan.
	EMD Solver = "emd"
	// Sinkhorn is the entropic plan.
	Sinkhorn Solver = "sinkhorn"
)

// Options are the settings of an alignment. The zero value aligns by weights with Euclidean costs,
// uniform masses and the exact solver, as Singh & Jaggi do without data.
type Options struct {
	// By is the basis of comparison; "" means Weights.
	By Basis
	// Cost is the ground cost; "" means Euclidean.
	Cost Metric
	// Mass gives channels their masses; "" means Uniform.
	Mass Mass
	// Scaling is the form of Out; "" means Mean for alignment onto another model and Sum for
	// merging within one (see each function).
	Scaling edit.Scaling
	// Solver computes the plan; "" means EMD.
	Solver Solver
	// Epsilon is Sinkhorn's regularisation over the mean cost; zero means 0.05.
	Epsilon float64
	// Sweeps bounds how often plans by weights are revised after the first topological pass, for
	// spaces that depend on each other; zero means 10, negative none.
	Sweeps int
	// Data is what activations are computed on; needed for Activations.
	Data *dataset.Data
	// Threads limits onnxruntime's threads; zero means all cores.
	Threads int
	// Batch is the number of samples run at once; zero means engine's choice.
	Batch int
	// Progress, if set, is told how many samples of how many have been run.
	Progress func(done, total int)
}

// Check reports the first setting that has no meaning.
func (o Options) Check() error {
	switch {
	case o.By != "" && o.By != Weights && o.By != Activations && o.By != Unaligned:
		return fmt.Errorf("align by %q: want weights, activations or none", o.By)
	case o.Cost != "" && o.Cost != Euclidean && o.Cost != SquaredEuclidean && o.Cost != Cosine:
		return fmt.Errorf("cost %q: want euclidean, sqeuclidean or cosine", o.Cost)
	case o.Mass != "" && o.Mass != Uniform && o.Mass != ImportanceL1 && o.Mass != ImportanceL2:
		return fmt.Errorf("mass %q: want uniform, l1 or l2", o.Mass)
	case o.Scaling != "" && o.Scaling != edit.Sum && o.Scaling != edit.Mean:
		return fmt.Errorf("scaling %q: want sum or mean", o.Scaling)
	case o.Solver != "" && o.Solver != EMD && o.Solver != Sinkhorn:
		return fmt.Errorf("solver %q: want emd or sinkhorn", o.Solver)
	case o.Epsilon < 0:
		return fmt.Errorf("epsilon is %g: want a positive number", o.Epsilon)
	case o.By == Activations && o.Data == nil:
		return fmt.Errorf("aligning by activations needs data")
	}
	return nil
}

// stream is how the data are run through a model.
func (o Options) stream() dataset.StreamOptions {
	return dataset.StreamOptions{Batch: o.Batch, Threads: o.Threads, Progress: o.Progress}
}
