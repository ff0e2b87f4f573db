package job

import (
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/tune"
)

// Spent is what the parts of a run took, in seconds.
type Spent struct {
	// Preparation reads and checks the data, and removes what does not matter.
	Preparation float64 `json:"preparation"`
	// Candidates are the ways to make the result, with what it takes to price and compare them.
	Candidates float64 `json:"candidates"`
	// Statistics are those that the channels of the result are chosen or matched by.
	Statistics   float64 `json:"statistics"`
	Refits       float64 `json:"refits"`
	Distillation float64 `json:"distillation"`
}

// A Report says what was done with the data.
type Report struct {
	// By is what channels were compared by: weights, activations or none.
	By string `json:"align"`
	// Samples counts those that activations were compared on, RefitSamples those that operators
	// were refitted on; 0 where that was not done.
	Samples      int `json:"samples"`
	RefitSamples int `json:"refit_samples"`
	// Split says which samples did what.
	Split *Split `json:"split,omitzero"`
	// Synthetic says that they were made up.
	Synthetic bool `json:"synthetic"`
	// Folded counts the BatchNormalization nodes that were folded.
	Folded int `json:"folded_batchnorms"`
	// Outputs say what the outputs are for, so how predictions were compared; nil where none were.
	Outputs []eval.Output `json:"tasks,omitempty"`
	// Refit tells about every refitted operator; nil without a refit.
	Refit *refit.Report `json:"refit,omitempty"`
	// Tune tells about the distillation; nil without one.
	Tune *tune.Report `json:"tune,omitempty"`
	// Spent tells where the time went. The reports of one run share it.
	Spent *Spent `json:"spent"`
	// Notes say what was decided on account of the data, in a line each.
	Notes []string `json:"-"`
	// Shapes are the sizes of inputs that costs were counted with, by name.
	Shapes map[string][]int `json:"-"`
}
