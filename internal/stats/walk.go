package stats

import (
	"context"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
)

const (
	// leastSamples is the number of samples that a walk works with although there is no room for
	// them: what is kept of them goes to files.
	leastSamples = 64
	// leastBatches is the number of batches that these make, so that some can be held out.
	leastBatches = 10
	// ahead is the number of steps that a walk looks ahead when it takes samples in: what is computed
	// for them shall serve more than one.
	ahead = 16
)

// RoomIn is the room for activations of which so many bytes of memory leave enough for what is made
// of them, and for onnxruntime. Zero means 4 GB.
func RoomIn(memory int64) *Room {
	if memory == 0 {
		memory = 4e9
	}
	return &Room{Bytes: memory / 8}
}

// SizeOf is the size in bytes of an activation in float32, for one sample where the batch is free, as
// far as it is known.
func SizeOf(an *coupling.Analysis, tensor string) int64 {
	axes := an.Activations[tensor]
	if axes == nil {
		return 0
	}
	bytes := int64(4)
	for _, a := range axes {
		bytes *= int64(max(1, a.Size()))
	}
	return bytes
}

const (
	// enough is the number of rows for each input of an operator below which a fit, or a choice of
	// channels, gets worse when there are fewer of them: as many are worth files.
	enough = 50
	// plenty is the number above which more say nothing new, and leastRows that for all inputs
	// together: more are not worth the work.
	plenty, leastRows = 256, 10_000
)

// EnoughRows is the number of rows of so many inputs that say what there is to say, see
// [MomentOptions].
func EnoughRows(inputs int) int64 { return max(leastRows, plenty*int64(inputs)) }

// Enough is the number of samples that show enough of what an operator reads, as far as that can be
// told: images have many positions.
func Enough(an *coupling.Analysis, r Reading) int {
	axis, inputs := r.Axis, 1
	if r.Conv != nil {
		axis, inputs = 1, engine.Count(r.Conv.Kernel)
	}
	axes := an.Activations[r.Tensor]
	axis, err := axisOf(axis, len(axes))
	if err != nil {
		return 0
	}
	channels := max(1, axes[axis].Size())
	inputs *= channels / max(1, r.Groups)
	positions := int(SizeOf(an, r.Tensor)/4) / channels
	return (enough*inputs + positions - 1) / positions
}

// A Step is a stop of a walk.
type Step struct {
	// Tensors are those that are looked at, by flow.
	Tensors [][]string
	// Least is a number of samples that are worth files where there is no room for them.
	Least int
}

// A Walk moves flows over the same samples along their models together, step by step. What the
// flows keep between steps, the frontier, is bounded by a room: where the tensors of all samples do
// not fit, as in the first layers of a network for images, it works with fewer samples, and takes
// the others in where tensors are smaller. These run through what lies behind in one go.
type Walk struct {
	flows   []*Flow
	steps   []Step
	batches []int     // by step
	demands []*demand // by flow: what is wanted of it from the next step on
	next    int
}

// NewWalk plans the way of flows that keep nothing yet. They share the room from now on, and work in
// smaller batches where it is small. size tells the bytes of a tensor of a flow for one sample, or
// for one batch of a model whose batch is fixed; 0 if they are not known.
func NewWalk(flows []*Flow, steps []Step, room *Room, size func(flow int, tensor string) int64) (*Walk, error) {
	w := &Walk{flows: flows, steps: steps}
	bytes := make([]int64, len(steps))
	for i, f := range flows {
		f.Room = room
		if err := w.frontier(i, bytes, func(tensor string) int64 { return size(i, tensor) }); err != nil {
			return nil, err
		}
		l, err := f.places()
		if err != nil {
			return nil, err
		}
		w.demands = append(w.demands, newDemand(l.graph, w.goals(i), func(string) int64 { return 0 }))
	}
	all, least := flows[0].samples, make([]int, len(steps))
	if flows[0].feed.Fixed() {
		all = flows[0].all()
	}
	for k, step := range steps {
		if least[k] = max(step.Least, leastSamples); flows[0].feed.Fixed() {
			least[k] = max((step.Least+flows[0].size-1)/flows[0].size, leastBatches)
		}
	}
	w.batches = schedule(bytes, room.Bytes, all, least)
	if flows[0].feed.Fixed() || len(steps) == 0 {
		return w, nil
	}
	batch := max(1, slices.Min(w.batches)/leastBatches)
	for _, f := range flows {
		f.size = min(f.size, batch)
		f.used = f.all()
	}
	for i, samples := range w.batches {
		w.batches[i] = (samples + flows[0].size - 1) / flows[0].size
	}
	return w, nil
}

// frontier adds to each step what a flow keeps while it is taken.
func (w *Walk) frontier(flow int, bytes []int64, size func(tensor string) int64) error {
	l, err := w.flows[flow].places()
	if err != nil {
		return err
	}
	d := newDemand(l.graph, w.goals(flow), size)
	for k, step := range w.steps {
		bytes[k] += d.bytes
		added := map[string]bool{}
		for _, tensor := range step.Tensors[flow] {
			if !d.kept[tensor] && !added[tensor] {
				added[tensor] = true
				bytes[k] += size(tensor)
			}
		}
		for _, tensor := range step.Tensors[flow] {
			d.keep(tensor)
		}
		d.release(slices.Clone(step.Tensors[flow]))
	}
	return nil
}

// goals are what a flow has to compute.
func (w *Walk) goals(flow int) (tensors []string) {
	for _, s := range w.steps {
		tensors = append(tensors, s.Tensors[flow]...)
	}
	return tensors
}

// schedule says how many of all samples fit into a room at each step, and at some steps behind it:
// at least so many in any case.
func schedule(bytes []int64, room int64, all int, least []int) []int {
	fit := make([]int, len(bytes))
	for i, b := range bytes {
		fit[i] = min(all, max(least[i], int(min(int64(all), room/max(b, 1)))))
	}
	out := make([]int, len(bytes))
	for i := range out {
		out[i] = max(min(all, least[i]), slices.Min(fit[i:min(len(fit), i+ahead)]))
		// Few more are not worth the start of a session.
		if i > 0 && out[i] < all && out[i] > max(out[i-1], least[i]) && 2*out[i] < 3*out[i-1] {
			out[i] = out[i-1]
		}
	}
	return out
}

// To forgets what no step from this one on needs, and computes the tensors of this one. Steps may be
// left out.
func (w *Walk) To(ctx context.Context, step int) error {
	w.pass(step)
	for i, f := range w.flows {
		for _, tensor := range f.Keep() {
			if !w.demands[i].kept[tensor] {
				if err := f.Drop(tensor); err != nil {
					return err
				}
			}
		}
	}
	for _, f := range w.flows {
		if err := f.Use(ctx, w.batches[step]); err != nil {
			return err
		}
	}
	for i, f := range w.flows {
		tensors := w.steps[step].Tensors[i]
		if err := f.Compute(ctx, tensors...); err != nil {
			return err
		}
		for _, tensor := range tensors {
			w.demands[i].keep(tensor)
		}
	}
	return nil
}

// pass has the steps before one behind it.
func (w *Walk) pass(step int) {
	for ; w.next < step; w.next++ {
		for i, d := range w.demands {
			d.release(slices.Clone(w.steps[w.next].Tensors[i]))
		}
	}
}
