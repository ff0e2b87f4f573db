package teach

import (
	"context"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
)

// A Parent is a model that a child learns from.
type Parent struct {
	Subject *edit.Subject
	// Maps make the child's channels of the parent's: what activations take of them is In, or Outᵀ
	// on the second side of a contraction.
	Maps edit.Maps
	// Share is the parent's part in what inner activations should be.
	Share float64
	// Vote is the parent's part in what the outputs should be; where no parent has one, it is
	// Share.
	Vote float64
	// Beneath names, for a tensor of the child that nothing but a Relu reads and that stands for a sum
	// of the parent's stream, the sums before it in the parent, of which each but the last was added to
	// what a Relu left of the next: s = Relu(s') + branch. Where the Relu gives nothing of s any number
	// below zero is as good, and s + min(s', 0) is what the child has there if the branch adds nothing.
	Beneath map[string][]string
	// Tensor names the parent's activation for one of the child's, or returns "". Nil means that
	// the names are the same.
	Tensor func(child string) string
}

// Counterpart names the parent's activation for one of the child's, or returns "".
func (p *Parent) Counterpart(child string) string {
	switch {
	case p.Tensor != nil:
		return p.Tensor(child)
	case p.Subject.Graph.Defines(child):
		return child
	}
	return ""
}

// Parents are all models that a child learns from.
type Parents []Parent

// Votes returns the parents' parts in what the outputs should be.
func (p Parents) Votes() []float64 {
	votes := make([]float64, len(p))
	for i := range p {
		votes[i] = p[i].Vote
	}
	if floats.Sum(votes) == 0 {
		return p.shares()
	}
	return votes
}

func (p Parents) shares() []float64 {
	out := make([]float64, len(p))
	for i := range p {
		out[i] = p[i].Share
	}
	return out
}

// Models returns the parents' models.
func (p Parents) Models() []*onnxio.Model {
	out := make([]*onnxio.Model, len(p))
	for i := range p {
		out[i] = p[i].Subject.Model
	}
	return out
}

// Tasks are the given outputs, or where none are given what eval.FindTasks says that the parents'
// are for.
func (p Parents) Tasks(ctx context.Context, data *dataset.Data, o Options) ([]eval.Output, error) {
	if o.Outputs != nil {
		return o.Outputs, nil
	}
	return eval.FindTasks(ctx, p.Models(), data, nil, o.stream())
}
