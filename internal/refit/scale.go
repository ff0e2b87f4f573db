package refit

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
)

// scaleOf makes a layer of a node that scales and shifts each channel of the
// last axis by constants: a LayerNormalization, or the Mul and Add at the end of
// one that is written out. Fewer channels have other means and deviations, so
// what a normalisation divides by changes from sample to sample in a way that no
// constant undoes; scale and shift are fitted to what it did to the channels
// that are left.
func scaleOf(g *onnxio.Graph, an *coupling.Analysis, l *layer) bool {
	n := l.node
	if len(n.GetInput()) < 2 || len(n.GetOutput()) == 0 {
		return false
	}
	switch n.GetOpType() {
	case "LayerNormalization":
		l.input, l.weight, l.output = n.GetInput()[0], n.GetInput()[1], n.GetOutput()[0]
		if len(n.GetInput()) > 2 {
			l.bias = n.GetInput()[2]
		}
	case "Mul":
		l.input, l.weight, l.output = n.GetInput()[0], n.GetInput()[1], n.GetOutput()[0]
		if isConstant(an, l.input) {
			l.input, l.weight = l.weight, l.input
		}
		readers := g.Consumers(l.output)
		if len(readers) != 1 || readers[0].Input < 0 || g.IsOutput(l.output) || readers[0].Node.GetOpType() != "Add" {
			return false
		}
		l.adder = readers[0].Node
		l.bias = l.adder.GetInput()[1-readers[0].Input]
		l.output = l.adder.GetOutput()[0]
	default:
		return false
	}
	axes := an.Activations[l.output]
	l.axis = len(axes) - 1
	if l.axis < 1 || isConstant(an, l.input) {
		return false
	}
	if a := onnxio.AttrInt(n, "axis", -1); a != -1 && int(a) != l.axis {
		return false
	}
	for _, name := range []string{l.weight, l.bias} {
		if name == "" {
			continue
		}
		w := an.Weights[name]
		if w == nil || len(w.Axes) != 1 || w.Len() != axes[l.axis].Size() || !single(g, name) {
			return false
		}
	}
	l.scales = true
	return true
}

// fitScale fits y ≈ γ'·z + β' channel by channel, where γ·z + β is what the
// layer computes now.
func (r *run) fitScale(ctx context.Context, l *layer, t *target, out *Layer) error {
	if err := r.child.Compute(ctx, l.output); err != nil {
		return err
	}
	scale, err := r.model.Tensor(r.graph.Constant(l.weight))
	if err != nil {
		return err
	}
	gamma := scale.Float64()
	out.Inputs = 1
	train, held := make([]line, len(gamma)), make([]line, len(gamma))
	for i := range r.child.Batches() {
		vs, err := r.child.Batch(i, l.output)
		if err != nil {
			return err
		}
		u, dims, err := floats32(vs[l.output])
		if err != nil {
			return fmt.Errorf("%q: %w", l.output, err)
		}
		y, err := t.batch(i)
		if err != nil {
			return err
		}
		if len(dims) != l.axis+1 || dims[l.axis] != len(gamma) || len(y.F32) != len(u) {
			return fmt.Errorf("%q is %v, its target %v", l.output, dims, y.Dims)
		}
		sums := train
		if r.holds(i) {
			sums = held
		}
		for k, x := range u {
			sums[k%len(gamma)].add(float64(x), float64(y.F32[k]))
		}
	}
	var beta []float64
	if l.bias != "" {
		b, err := r.model.Tensor(r.graph.Constant(l.bias))
		if err != nil {
			return err
		}
		beta = b.Float64()
	}
	if r.child.Batches() < 2 {
		out.Note = noteFew
		return r.child.Drop(l.output)
	}
	total, size, before, after := 0.0, 0.0, 0.0, 0.0
	for c := range gamma {
		a, b := train[c].fit(beta != nil)
		total += held[c].variation()
		size += held[c].yy
		before += held[c].squaredError(1, 0)
		after += held[c].squaredError(a, b)
	}
	out.Before, out.After = relative(before, total, size), relative(min(after, before), total, size)
	if !(after < before) {
		return r.child.Drop(l.output)
	}
	for c := range gamma {
		train[c].join(&held[c])
		a, b := train[c].fit(beta != nil)
		gamma[c] *= a
		if beta != nil {
			beta[c] = a*beta[c] + b
		}
	}
	if err := r.graph.SetConstant(onnxio.NewTensor(l.weight, scale.Type, scale.Dims, gamma)); err != nil {
		return err
	}
	if beta != nil {
		if err := r.graph.SetConstant(onnxio.NewTensor(l.bias, scale.Type, scale.Dims, beta)); err != nil {
			return err
		}
	}
	return r.child.Drop(l.output)
}

// line gathers what a straight line through points (x, y) depends on.
type line struct{ n, x, y, xx, xy, yy float64 }

func (s *line) add(x, y float64) {
	s.n++
	s.x += x
	s.y += y
	s.xx += x * x
	s.xy += x * y
	s.yy += y * y
}

// join takes in other points.
func (s *line) join(o *line) {
	s.n += o.n
	s.x += o.x
	s.y += o.y
	s.xx += o.xx
	s.xy += o.xy
	s.yy += o.yy
}

// fit is the least-squares line y = a·x + b, through zero without an offset. A
// channel that does not vary keeps its scale.
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
