package refit

import (
	"fmt"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
)

// A target is what a layer should compute: Σ share·In·(goal in the parent),
// less what the other side of the child's residual Add holds already; of a
// classifier's scores it is the mixture of probabilities.
type target struct {
	run    *run
	layer  *layer
	goal   string // the child's activation that is aimed at
	other  string // the child's activation to be taken off, or ""
	parent []string
	rows   []edit.Rows // nil: the channels stay
	// output says that the goal is what the model returns, or the scores that it
	// makes probabilities of; classifier that it holds the scores of classes.
	output, classifier bool
}

// prepare finds the parents' activations and the maps along their channel
// axes. note says why there is no target.
func (t *target) prepare() (note string, err error) {
	t.parent, t.rows, t.classifier = nil, nil, t.classes()
	t.output = t.classifier || t.run.graph.IsOutput(t.goal)
	for i := range t.run.sources {
		s := &t.run.sources[i]
		name := s.tensor(t.goal)
		if name == "" {
			return "the parents compute nothing like it", nil
		}
		rows, err := s.Subject.TargetRows(name, t.layer.axis, s.Maps, s.Share)
		if err != nil {
			return "", err
		}
		t.parent = append(t.parent, name)
		t.rows = append(t.rows, rows)
	}
	return "", nil
}

func (t *target) childTensors() []string {
	if t.other != "" {
		return []string{t.layer.In.Tensor, t.other}
	}
	return []string{t.layer.In.Tensor}
}

// batch computes the target for one batch.
func (t *target) batch(i int) (*engine.Value, error) {
	var sum []float32
	var dims []int
	var scores [][]float32
	votes := Votes(t.run.sources)
	for k, name := range t.parent {
		vs, err := t.run.parents[k].Batch(i, name)
		if err != nil {
			return nil, err
		}
		data, shape, err := floats32(vs[name])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		if t.rows[k] != nil {
			data, shape = t.rows[k].Apply(data, shape, t.layer.axis)
		}
		scores = append(scores, data)
		share := float32(t.run.sources[k].Share)
		switch {
		case t.rows[k] != nil:
			share = 1 // the rows hold it
		case t.output:
			share = float32(votes[k])
		}
		if sum == nil {
			sum, dims = make([]float32, len(data)), shape
		}
		if len(sum) != len(data) {
			return nil, fmt.Errorf("%q: the parents' shapes differ: %v and %v", name, dims, shape)
		}
		for j, x := range data {
			sum[j] += share * x
		}
	}
	if t.classifier {
		sum = Mixture(scores, votes, dims[len(dims)-1])
	}
	if t.other != "" {
		vs, err := t.run.child.Batch(i, t.other)
		if err != nil {
			return nil, err
		}
		data, _, err := floats32(vs[t.other])
		if err != nil {
			return nil, err
		}
		if len(data) != len(sum) {
			return nil, fmt.Errorf("%q has %d elements, the target %d", t.other, len(data), len(sum))
		}
		for j, x := range data {
			sum[j] -= x
		}
	}
	return engine.Float32(sum, dims...), nil
}

// floats32 returns a value's elements in single precision.
func floats32(v *engine.Value) ([]float32, []int, error) {
	switch {
	case v == nil:
		return nil, nil, fmt.Errorf("was not computed")
	case v.F32 != nil:
		return v.F32, v.Dims, nil
	case v.F64 != nil:
		out := make([]float32, len(v.F64))
		for i, x := range v.F64 {
			out[i] = float32(x)
		}
		return out, v.Dims, nil
	}
	return nil, nil, fmt.Errorf("is of type %v, not a floating-point one", v.Type)
}
