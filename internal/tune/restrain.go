package tune

import (
	"context"
	"fmt"
	"math"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/teach"
)

const (
	// trial is the rate of the step by which it is found out what steps do.
	trial = 1e-3
	// farthest is how far a step may move the outputs, relative to how they vary over samples. A step
	// at the same rate moves those of a ResNet-20 three times as far as those of a VGG11, and those
	// of EfficientNet-Lite0, which has 50 layers and depthwise ones among them, eighty times. The first
	// two learn well at a rate of 0.01 to 0.02, which moves them by 0.03 and 0.2. Of the third the
	// held-out loss was 2.39, 2.28 and 2.42 after 36 steps at rates of 0.0019, 0.0038 and 0.0075, and
	// 2.16 and 2.41 after 144 at the last two.
	farthest = 0.5
)

// restrain returns the rate at which a step moves the outputs as far as one may. The parameters are
// then what they were.
func (r *run) restrain(ctx context.Context) (rate float64, err error) {
	n := r.o.Data.Len()
	feed, err := r.o.Data.Varied(1, r.o.Seed).For(r.reader.inputs)
	if err != nil {
		return 0, err
	}
	runs := r.reader.step(r.reader.starts(n, 2*n), 0)
	in, err := r.reader.read(feed, 2*n, runs[0])
	if err != nil {
		return 0, err
	}
	before, err := r.outputs(ctx, in)
	if err != nil {
		return 0, err
	}
	first := r.trainer.values()
	r.trainer.closeness = 1
	gradients, _, err := r.gradients(ctx, feed, 2*n, stage{r.trainer, runs})
	if err != nil {
		return 0, err
	}
	if err := r.move(ctx, gradients, trial); err != nil {
		return 0, err
	}
	after, err := r.outputs(ctx, in)
	if err != nil {
		return 0, err
	}
	r.restart(first)
	moved := 0.0
	for name, y := range before {
		moved = max(moved, distance(after[name].F32, y.F32, r.reader.unit*len(runs[0])))
	}
	return farthest * trial / moved, nil
}

// outputs are what the child, as it is now, makes of inputs: its outputs, and of a classifier's
// probabilities the scores behind them.
func (r *run) outputs(ctx context.Context, in map[string]*engine.Value) (map[string]*engine.Value, error) {
	m, err := r.trainer.stored(r.child)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, g := range r.trainer.goals {
		if g.Kind != teach.Inner {
			names = append(names, g.Tensor)
		}
	}
	s, err := engine.Open(m, engine.Options{Threads: r.o.Threads, Outputs: names})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUntrainable, err)
	}
	defer s.Close()
	return s.Run(ctx, in)
}

// distance is that of two outputs for so many samples, relative to how the second varies over these.
func distance(x, y []float32, samples int) float64 {
	squares := 0.0
	for i, v := range y {
		d := float64(x[i]) - float64(v)
		squares += d * d
	}
	return math.Sqrt(squares / float64(max(len(y), 1)) * teach.Scale(y, 0, samples))
}

// restart goes back to parameters, and forgets what was learnt about their gradients.
func (r *run) restart(params map[string][]float32) {
	for name, v := range params {
		copy(r.trainer.params[name].F32, v)
	}
	r.adam = newAdam()
	if r.muon != nil {
		r.muon.momentum = map[string][]float32{}
	}
}
