package refit

import (
	"context"
	"fmt"
	"math"

	"github.com/monge-ml/monge/engine"
)

// fitScale fits y ≈ γ'·z + β' channel by channel, where γ·z + β is what the layer computes now.
func (r *run) fitScale(ctx context.Context, l *layer, t *target, w *weights, out *Layer) error {
	train, held, err := r.lines(ctx, l, t, w.outputs)
	if err != nil {
		return err
	}
	if r.child.Batches() < 2 {
		out.Note = noteFew
		return nil
	}
	var e scored
	for c := range held {
		a, b := train[c].fit(w.b != nil)
		e.variation += held[c].variation()
		e.size += held[c].yy
		e.before += held[c].squaredError(1, 0)
		e.after += held[c].squaredError(a, b)
	}
	better := e.after < e.before
	e.after = min(e.after, e.before)
	e.enter(out)
	if !better {
		return nil
	}
	for c := range train {
		train[c].join(held[c])
		a, b := train[c].fit(w.b != nil)
		w.w[c] *= a
		if w.b != nil {
			w.b[c] = a*w.b[c] + b
		}
	}
	return nil
}

// repair scales and shifts every output so that its mean and deviation over the data are the
// target's (Jordan et al., REPAIR, 2022), folded into weights and bias.
func (r *run) repair(ctx context.Context, l *layer, t *target, w *weights) error {
	train, held, err := r.lines(ctx, l, t, w.outputs)
	if err != nil {
		return err
	}
	for c := range train {
		s := &train[c]
		s.join(held[c])
		have, want := deviation(s.x, s.xx, s.n), deviation(s.y, s.yy, s.n)
		scale := 1.0
		if have > 1e-12 && want > 0 {
			scale = want / have
		}
		for i := range w.inputs {
			w.w[c*w.inputs+i] *= scale
		}
		if w.b != nil {
			w.b[c] = (w.b[c]-s.x/s.n)*scale + s.y/s.n
		}
	}
	return nil
}

// deviation is that of n numbers of which the sum and that of squares are known.
func deviation(sum, squares, n float64) float64 {
	mean := sum / n
	return math.Sqrt(max(squares/n-mean*mean, 0))
}

// lines gathers, for every channel of a layer, what it computes now (x) and what it should compute
// (y), of the batches for fitting and those held out.
func (r *run) lines(ctx context.Context, l *layer, t *target, channels int) (train, held []line, err error) {
	name := l.Out.Tensor
	if err := r.child.Compute(ctx, name); err != nil {
		return nil, nil, err
	}
	train, held = make([]line, channels), make([]line, channels)
	for i := range r.child.Batches() {
		vs, err := r.child.Batch(i, name)
		if err != nil {
			return nil, nil, err
		}
		y, err := t.batch(i)
		if err != nil {
			return nil, nil, err
		}
		dims := vs[name].Dims
		if len(dims) <= l.axis || dims[l.axis] != channels || len(y.F32) != vs[name].Len() {
			return nil, nil, fmt.Errorf("%q is %v, its target %v", name, dims, y.Dims)
		}
		sums := train
		if r.holds(i) {
			sums = held
		}
		inner := engine.Count(dims[l.axis+1:])
		for k, x := range vs[name].Float32() {
			sums[k/inner%channels].add(float64(x), float64(y.F32[k]))
		}
	}
	return train, held, r.child.Drop(name)
}

// line gathers what a straight line through points (x, y) depends on.
type line struct{ n, x, y, xx, xy, yy float64 }

func (s *line) add(x, y float64) {
	s.join(line{1, x, y, x * x, x * y, y * y})
}

// join takes in other points.
func (s *line) join(o line) {
	s.n += o.n
	s.x += o.x
	s.y += o.y
	s.xx += o.xx
	s.xy += o.xy
	s.yy += o.yy
}

// fit is the least-squares line y = a·x + b, through zero without an offset. A channel that does
// not vary keeps its scale.
func (s *line) fit(offset bool) (a, b float64) {
	cov, spread := s.xy, s.xx
	if offset {
		cov, spread = s.xy-s.x*s.y/s.n, s.xx-s.x*s.x/s.n
	}
	a = 1
	if spread > 1e-9*s.xx {
		a = cov / spread
	}
	if offset {
		b = (s.y - a*s.x) / s.n
	}
	return a, b
}

func (s *line) squaredError(a, b float64) float64 {
	return max(s.yy-2*a*s.xy-2*b*s.y+a*a*s.xx+2*a*b*s.x+s.n*b*b, 0)
}

func (s *line) variation() float64 { return max(s.yy-s.y*s.y/s.n, 0) }
