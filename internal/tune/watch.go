package tune

import (
	"context"

	"github.com/monge-ml/monge/internal/teach"
)

const (
	// lookAfter is the number of steps after which it is looked whether they are too large: the rate
	// has risen by then.
	lookAfter = warmUp + 4
	// tooFar is how many times further from the parents a model is then that is off its way. Small
	// networks, whose steps were right, were between 0.99 and 1.08 times as far as before.
	tooFar = 1.25
	// slower divides the rate of such a model.
	slower = 5
)

// A watch finds out whether the first steps are too large for a model, and has them taken again,
// smaller, from where they began.
type watch struct {
	run    *run
	judge  *teach.Judge
	before float64              // what judge said
	first  map[string][]float32 // parameters
	next   int                  // step after which to look
	slowed int                  // how often steps were too large
}

func newWatch(r *run, judge *teach.Judge, before float64) *watch {
	return &watch{run: r, judge: judge, before: before, first: r.trainer.values(), next: lookAfter}
}

// step is told how many steps have been taken.
func (w *watch) step(ctx context.Context, done int) error {
	if done != w.next {
		return nil
	}
	m, err := w.run.trainer.stored(w.run.child)
	if err != nil {
		return err
	}
	now, err := w.judge.Divergence(ctx, m)
	if err != nil || now <= tooFar*w.before {
		return err
	}
	w.next += lookAfter
	w.slowed++
	w.run.restart(w.first, slower)
	return nil
}

// restart goes back to parameters, forgets what was learnt about their gradients, and divides the
// rate.
func (r *run) restart(params map[string][]float32, slower float64) {
	for name, v := range params {
		copy(r.trainer.params[name].F32, v)
	}
	r.o.Rate /= slower
	r.adam = newAdam()
	if r.muon != nil {
		r.muon.momentum = map[string][]float32{}
	}
}
