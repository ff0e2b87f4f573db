package refit

import (
	"context"

	"github.com/monge-ml/monge/internal/stats"
)

// heldEvery says that one batch in so many is held out when ridge strengths are compared, or one of
// all where there are fewer.
const heldEvery = 5

// holds reports whether a batch is held out. Of a single one nothing is.
func (r *run) holds(batch int) bool {
	n := r.child.Batches()
	every := min(heldEvery, n)
	return n > 1 && batch%every == every-1
}

// maxMACs bounds the multiplications spent on the second moments of one layer; beyond it a seeded
// subset of positions is used.
const maxMACs = 60e9

// few reports whether a layer's input has fewer rows, over all samples and positions, than it has
// values in each.
func (r *run) few(l *layer) (bool, error) {
	if l.Groups != 1 {
		return false, nil
	}
	n, d, err := stats.CountRows(r.child, stats.ReadingOf(l.Linear))
	return n < d, err
}

// halves gathers something of a layer's input and target from the batches for fitting, and from
// those held out; held is nothing where there are none.
func halves[T any](ctx context.Context, r *run, l *layer, t *target, inputs int,
	gather func(context.Context, *stats.Flow, stats.Reading, []stats.Target, stats.MomentOptions) (T, error)) (train, held T, err error) {
	o := stats.MomentOptions{Threads: r.o.Threads, MaxMACs: maxMACs, EnoughRows: stats.EnoughRows(inputs), Seed: 1}
	reading, targets := stats.ReadingOf(l.Linear), []stats.Target{{Values: t.batch, Axis: l.axis}}
	o.Batches = func(i int) bool { return !r.holds(i) }
	if train, err = gather(ctx, r.child, reading, targets, o); err != nil || r.child.Batches() < 2 {
		return train, held, err
	}
	o.Batches = r.holds
	held, err = gather(ctx, r.child, reading, targets, o)
	return train, held, err
}
