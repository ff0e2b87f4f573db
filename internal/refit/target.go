package refit

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/teach"
)

// A target is what a layer should compute: what the parents say about its goal, less what the other
// side of the child's residual Add holds already.
type target struct {
	*teach.Target
	run   *run
	other string // the child's activation to be taken off, or ""
	// beneath are targets of the sums before, see teach.Parent.
	beneath []*teach.Target
	// decides: rows are scores of classes.
	decides bool
}

// target returns what the i-th layer should compute, or says why there is no such thing.
func (r *run) target(i int, l *layer) (_ *target, note string, err error) {
	goal, other := r.goal(i, l)
	t := &target{run: r, other: other}
	t.decides = r.classes(goal, l.axis)
	kind := teach.Inner
	switch {
	case t.decides && len(r.parents) > 1:
		kind = teach.Scores
	case r.graph.IsOutput(goal):
		kind = teach.Output
	}
	if t.Target, err = r.parents.Target(kind, goal, l.axis); err != nil {
		return nil, "", err
	}
	if t.Target == nil {
		return nil, NoteNew, nil
	}
	for _, sum := range r.beneath(goal) {
		b, err := r.parents.Target(kind, sum, l.axis)
		if err != nil || b == nil {
			return nil, "", err
		}
		t.beneath = append(t.beneath, b)
	}
	if kind == teach.Scores {
		t.Classes = r.an.Activations[goal][l.axis].Size()
	}
	return t, "", nil
}

// beneath lists the sums before a tensor in the only parent, see teach.Parent.
func (r *run) beneath(tensor string) []string {
	if len(r.parents) > 1 {
		return nil
	}
	return r.parents[0].Beneath[tensor]
}

// goal is the tensor that the i-th layer shall make right, and the child's activation that is added
// to what it computes, or "".
func (r *run) goal(i int, l *layer) (goal, other string) {
	if l.add != "" && r.last(i, l) {
		return l.add, l.other
	}
	return l.Out.Tensor, ""
}

// classes reports whether a tensor holds the scores of a classifier, side by side along its last
// axis: an output that is for that, or what a Softmax turns into one.
func (r *run) classes(tensor string, axis int) bool {
	last := len(r.an.Activations[tensor]) - 1
	if last < 1 || axis != last {
		return false
	}
	for i, out := range r.graph.Outputs() {
		if i >= len(r.o.Outputs) || r.o.Outputs[i].Task != eval.Classify || r.o.Outputs[i].Axis != last {
			continue
		}
		if out.GetName() == tensor {
			return true
		}
		n := r.graph.Producer(out.GetName())
		if op := n.GetOpType(); (op == "Softmax" || op == "LogSoftmax") && n.GetInput()[0] == tensor && len(r.graph.Consumers(tensor)) == 1 {
			return true
		}
	}
	return false
}

// said is what the parents say about a target for one batch.
func (r *run) said(i int, t *teach.Target) (*engine.Value, error) {
	values := make([]*engine.Value, len(t.Tensors))
	for k, name := range t.Tensors {
		vs, err := r.flows[k].Batch(i, name)
		if err != nil {
			return nil, err
		}
		values[k] = vs[name]
	}
	return t.Of(values)
}

// batch computes the target for one batch.
func (t *target) batch(i int) (*engine.Value, error) {
	y, err := t.run.said(i, t.Target)
	if err != nil {
		return nil, err
	}
	if y, err = t.sunk(i, y); err != nil || t.other == "" {
		return y, err
	}
	vs, err := t.run.child.Batch(i, t.other)
	if err != nil {
		return nil, err
	}
	other := vs[t.other].Float32()
	if len(other) != len(y.F32) {
		return nil, fmt.Errorf("%q has %d elements, the target %d", t.other, len(other), len(y.F32))
	}
	for j, x := range other {
		y.F32[j] -= x
	}
	return y, nil
}

// sunk is a target that is lowered where a Relu gives nothing of it, by what is below zero of the
// sums before it.
func (t *target) sunk(i int, y *engine.Value) (*engine.Value, error) {
	if len(t.beneath) == 0 {
		return y, nil
	}
	sums := []*engine.Value{y}
	for _, b := range t.beneath {
		v, err := t.run.said(i, b)
		if err != nil {
			return nil, err
		}
		if len(v.F32) != len(y.F32) {
			return nil, fmt.Errorf("%q has %d elements, the target %d", b.Tensors[0], len(v.F32), len(y.F32))
		}
		sums = append(sums, v)
	}
	out := slices.Clone(sums[len(sums)-1].F32)
	for _, sum := range slices.Backward(sums[:len(sums)-1]) {
		for j, s := range sum.F32 {
			if out[j] = min(out[j], 0) + s; s > 0 {
				out[j] = s
			}
		}
	}
	return engine.Float32(out, y.Dims...), nil
}
