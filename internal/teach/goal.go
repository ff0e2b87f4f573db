package teach

import (
	"fmt"
	"math"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
)

// A Goal is a tensor of a child that has a target.
type Goal struct {
	*Target
	// Tensor is the child's; "" stands for an output in the place of the goal.
	Tensor string
	// Vector is the number of numbers of an embedding; 0 where the tensor holds none.
	Vector int
	// Scale multiplies the mean squared error or divergence.
	Scale float64
}

// Outputs returns a goal for each output: what the parents have in its place, as numbers.
func (p Parents) Outputs() ([]*Goal, error) {
	goals := make([]*Goal, len(p[0].Subject.Graph.Outputs()))
	for k := range goals {
		goals[k] = &Goal{Target: p.target(Output)}
	}
	for i := range p {
		outputs := p[i].Subject.Graph.Outputs()
		if len(outputs) != len(goals) {
			return nil, fmt.Errorf("%d outputs against %d", len(outputs), len(goals))
		}
		for k, out := range outputs {
			goals[k].Tensors = append(goals[k].Tensors, out.GetName())
		}
	}
	return goals, nil
}

// SetTask says what an output of these sizes is for.
func (g *Goal) SetTask(task eval.Output, dims []int) {
	g.Vector = task.Vector(dims)
	if g.Classes = task.Classes(dims); g.Classes > 0 {
		g.Kind = Probabilities
	}
}

// unit is what the distance of n numbers is multiplied by.
func (g *Goal) unit(n int) float64 {
	switch {
	case g.Kind == Probabilities:
		return g.Scale * float64(g.Classes) / float64(n)
	case g.Vector > 0:
		return float64(g.Vector) / float64(n)
	}
	return g.Scale / float64(n)
}

// Scale is what the mean distance from values of some samples is multiplied by, so that outputs of
// all kinds count alike: of squares one over the variance of each number over the samples, of
// divergences one, or where a sample has several rows, one over what these tell.
func Scale(x []float32, classes, samples int) float64 {
	if classes > 0 {
		if len(x) > classes*samples {
			return scarcity(x, classes)
		}
		return 1
	}
	var s eval.Spread
	s.Add(engine.Float32(x, len(x)).Float64(), samples)
	return float64(len(x)) / max(s.Squares(), math.SmallestNonzeroFloat32)
}
