package refit

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// scaleOf makes a layer of a node that scales and shifts each channel of the
// last axis by constants: a LayerNormalization, or the Mul and Add at the end of
// one that is written out. Fewer channels have other means and deviations, so
// what a normalisation divides by changes from sample to sample in a way that no
// constant undoes; scale and shift are fitted to what it did to the channels
// that are left.
func scaleOf(g *onnxio.Graph, an *coupling.Analysis, n *onnxpb.NodeProto) *layer {
	in := n.GetInput()
	if n.GetDomain() != "" || len(in) < 2 || len(n.GetOutput()) == 0 {
		return nil
	}
	l := &onnxio.Linear{Node: n, Groups: 1, Alpha: 1, Beta: 1}
	l.In.Tensor, l.Out.Tensor = in[0], n.GetOutput()[0]
	l.Weight = onnxio.Param{Name: in[1], Node: n, Input: 1}
	switch n.GetOpType() {
	case "LayerNormalization":
		l.Bias = onnxio.Param{Node: n, Input: 2}
		l.Bias.Name = l.Bias.Tensor()
	case "Mul":
		if isConstant(an, in[0]) {
			l.In.Tensor, l.Weight = in[1], onnxio.Param{Name: in[0], Node: n}
		}
		add, ok := g.AddBehind(l.Out.Tensor)
		if !ok {
			return nil
		}
		l.Bias, l.Out.Tensor = add, add.Node.GetOutput()[0]
		l.Bias.Name = add.Tensor()
	default:
		return nil
	}
	axes := an.Activations[l.Out.Tensor]
	axis := len(axes) - 1
	if axis < 1 || isConstant(an, l.In.Tensor) {
		return nil
	}
	if a := onnxio.AttrInt(n, "axis", -1); a != -1 && int(a) != axis {
		return nil
	}
	for _, name := range []string{l.Weight.Name, l.Bias.Name} {
		if name == "" {
			continue
		}
		w := an.Weights[name]
		if w == nil || !onnxio.IsFloat(w.Type) || len(w.Axes) != 1 || w.Len() != axes[axis].Size() || !own(g, name) {
			return nil
		}
	}
	return &layer{Linear: l, axis: axis}
}

// fitScale fits y ≈ γ'·z + β' channel by channel, where γ·z + β is what the
// layer computes now.
func (r *run) fitScale(ctx context.Context, l *layer, t *target, out *Layer) error {
	if err := r.child.Compute(ctx, l.Out.Tensor); err != nil {
		return err
	}
	scale, err := r.model.Tensor(r.graph.Constant(l.Weight.Name))
	if err != nil {
		return err
	}
	gamma := scale.Float64()
	out.Inputs = 1
	train, held := make([]line, len(gamma)), make([]line, len(gamma))
	for i := range r.child.Batches() {
		vs, err := r.child.Batch(i, l.Out.Tensor)
		if err != nil {
			return err
		}
		u, dims := vs[l.Out.Tensor].Float32(), vs[l.Out.Tensor].Dims
		y, err := t.batch(i)
		if err != nil {
			return err
		}
		if len(dims) != l.axis+1 || dims[l.axis] != len(gamma) || len(y.F32) != len(u) {
			return fmt.Errorf("%q is %v, its target %v", l.Out.Tensor, dims, y.Dims)
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
	if l.Bias.Name != "" {
		b, err := r.model.Tensor(r.graph.Constant(l.Bias.Name))
		if err != nil {
			return err
		}
		beta = b.Float64()
	}
	if r.child.Batches() < 2 {
		out.Note = noteFew
		return r.child.Drop(l.Out.Tensor)
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
		return r.child.Drop(l.Out.Tensor)
	}
	for c := range gamma {
		train[c].join(&held[c])
		a, b := train[c].fit(beta != nil)
		gamma[c] *= a
		if beta != nil {
			beta[c] = a*beta[c] + b
		}
	}
	if err := r.graph.SetConstant(onnxio.NewTensor(l.Weight.Name, scale.Type, scale.Dims, gamma)); err != nil {
		return err
	}
	if beta != nil {
		if err := r.graph.SetConstant(onnxio.NewTensor(l.Bias.Name, scale.Type, scale.Dims, beta)); err != nil {
			return err
		}
	}
	return r.child.Drop(l.Out.Tensor)
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
