package refit

import (
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
)

// plan lays out the way of the flows: one step for every layer that has a target.
func (r *run) plan() (err error) {
	r.steps = map[*layer]int{}
	var steps []stats.Step
	for i, l := range r.layers {
		if !r.fits(l) {
			continue
		}
		goal, other := r.goal(i, l)
		step := stats.Step{Tensors: [][]string{{l.In.Tensor}}, Least: r.enough(l)}
		if other != "" {
			step.Tensors[0] = append(step.Tensors[0], other)
		}
		known := true
		for k := range r.parents {
			tensor := r.parents[k].Counterpart(goal)
			known = known && tensor != ""
			step.Tensors = append(step.Tensors, append([]string{tensor}, r.beneath(goal)...))
		}
		if known {
			r.steps[l] = len(steps)
			steps = append(steps, step)
		}
	}
	r.walk, err = stats.NewWalk(append([]*stats.Flow{r.child}, r.flows...), steps, stats.RoomIn(r.o.Memory), r.size)
	return err
}

// size is that of a tensor of a flow, see [stats.NewWalk]; the child's are no larger than those of
// its parents.
func (r *run) size(flow int, tensor string) int64 {
	if flow == 0 {
		flow, tensor = 1, r.parents[0].Counterpart(tensor)
	}
	return stats.SizeOf(r.parents[flow-1].Subject.Analysis, tensor)
}

// enough is the number of samples that show enough of what a layer reads.
func (r *run) enough(l *layer) int {
	if l.Kind == onnxio.NotLinear {
		return 0
	}
	reading := stats.ReadingOf(l.Linear)
	reading.Tensor = r.parents[0].Counterpart(reading.Tensor)
	return stats.Enough(r.parents[0].Subject.Analysis, reading)
}
