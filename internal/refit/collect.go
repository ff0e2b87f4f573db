package refit

import (
	"context"
	"math"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/stats"
)

// heldEvery says that one batch in so many is held out when ridge strengths
// are compared, or one of all where there are fewer.
const heldEvery = 5

// holds reports whether a batch is held out. Of a single one nothing is.
func (r *run) holds(batch int) bool {
	n := r.child.Batches()
	every := min(heldEvery, n)
	return n > 1 && batch%every == every-1
}

// maxMACs bounds the multiplications spent on the second moments of one layer;
// beyond it a seeded subset of positions is used.
const maxMACs = 60e9

// few reports whether a layer's input has fewer rows, over all samples and positions, than it has values in each.
func (r *run) few(l *layer, w *weights) (bool, error) {
	if l.Groups != 1 {
		return false, nil
	}
	n, d, err := stats.CountRows(r.child, stats.ReadingOf(l.Linear))
	return n < d, err
}

// collectRows gathers a layer's input and target, from the batches for fitting and those held out, nil if there are none.
func (r *run) collectRows(ctx context.Context, l *layer, t *target, w *weights) (train, held *rows, err error) {
	reading := stats.ReadingOf(l.Linear)
	gather := func(heldOut bool) (*rows, error) {
		s, err := stats.CollectRows(ctx, r.child, reading, []stats.Target{{Values: t.batch, Axis: l.axis}}, stats.MomentOptions{
			Batches: func(i int) bool { return r.holds(i) == heldOut },
		})
		if err != nil {
			return nil, err
		}
		return &rows{n: s.N, d: s.D, o: s.O, x: s.X, y: s.Y}, nil
	}
	if train, err = gather(false); err != nil || r.child.Batches() < 2 {
		return train, nil, err
	}
	held, err = gather(true)
	return train, held, err
}

// collect sums the moments of a layer's input and target, per group, over the
// batches for fitting and those held out, nil if there are none.
func (r *run) collect(ctx context.Context, l *layer, t *target, w *weights) (train, held []*moments, err error) {
	reading := stats.ReadingOf(l.Linear)
	targets := []stats.Target{{Values: t.batch, Axis: l.axis}}
	sum := func(heldOut bool) ([]*moments, error) {
		ms, err := stats.CollectMoments(ctx, r.child, reading, targets, stats.MomentOptions{
			Threads: r.o.Threads, MaxMACs: maxMACs, Seed: 1,
			Batches: func(i int) bool { return r.holds(i) == heldOut },
		})
		if err != nil {
			return nil, err
		}
		var out []*moments
		for _, m := range ms {
			out = append(out, &moments{n: float64(m.Rows), d: m.D, o: m.O, sumX: m.SumX, sumY: m.SumY, xx: m.XX, xy: m.XY, yy: m.YY})
		}
		return out, nil
	}
	if train, err = sum(false); err != nil || r.child.Batches() < 2 {
		return train, nil, err
	}
	held, err = sum(true)
	return train, held, err
}

// repair scales and shifts every output so that its mean and deviation over the
// data are the target's (Jordan et al., REPAIR, 2022), folded into weights and
// bias.
func (r *run) repair(ctx context.Context, l *layer, t *target, w *weights) error {
	if err := r.child.Compute(ctx, l.Out.Tensor); err != nil {
		return err
	}
	have, want := newSpread(w.outputs), newSpread(w.outputs)
	for i := range r.child.Batches() {
		vs, err := r.child.Batch(i, l.Out.Tensor)
		if err != nil {
			return err
		}
		y, err := t.batch(i)
		if err != nil {
			return err
		}
		have.add(vs[l.Out.Tensor], l.axis)
		want.add(y, l.axis)
	}
	for o := range w.outputs {
		hm, hd := have.of(o)
		wm, wd := want.of(o)
		scale := 1.0
		if hd > 1e-12 && wd > 0 {
			scale = wd / hd
		}
		if w.b == nil {
			hm, wm = 0, 0
		}
		for i := range w.inputs {
			w.w[o*w.inputs+i] *= scale
		}
		if w.b != nil {
			w.b[o] = (w.b[o]-hm)*scale + wm
		}
	}
	return r.child.Drop(l.Out.Tensor)
}

// spread gathers the mean and deviation of channels.
type spread struct {
	n            []float64
	sum, squares []float64
}

func newSpread(k int) *spread {
	return &spread{make([]float64, k), make([]float64, k), make([]float64, k)}
}

func (s *spread) add(v *engine.Value, axis int) {
	inner := 1
	for _, d := range v.Dims[axis+1:] {
		inner *= d
	}
	k := v.Dims[axis]
	for i, x := range v.F32 {
		c := (i / inner) % k
		s.n[c]++
		s.sum[c] += float64(x)
		s.squares[c] += float64(x) * float64(x)
	}
}

func (s *spread) of(c int) (mean, deviation float64) {
	mean = s.sum[c] / s.n[c]
	return mean, math.Sqrt(max(s.squares[c]/s.n[c]-mean*mean, 0))
}
