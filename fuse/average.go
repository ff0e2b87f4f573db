package fuse

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// An average is a weighted sum of models in the channels of one of them.
type average struct {
	target *edit.Subject
	out    *onnxio.Model
	graph  *onnxio.Graph
	share  float64
	// whole, where set, are maps of a union: along the channels they make, every model gives some
	// and shares do not count.
	whole edit.Maps
	parts []part
	// inPlace says that channels shall be averaged as they stand, aligned or not; byWeights that
	// they were compared by their weights.
	inPlace, byWeights bool
	// kept are the weights that no part, or not every part, enters.
	kept []Kept
}

type part struct {
	subject *edit.Subject
	moved   *edit.Moved
	sources map[string]match.Source
	missing map[string]string // why weights have no source
	share   float64
	// out are the target's weights that it does not enter, apart the atoms whose channels are in
	// another order there, for all that is known.
	out   map[string]bool
	apart map[*coupling.Axis]bool
}

func newAverage(target *edit.Subject, m *onnxio.Model, share float64, whole edit.Maps) (*average, error) {
	out := m.Clone()
	g, err := target.GraphOf(out)
	if err != nil {
		return nil, err
	}
	return &average{target: target, out: out, graph: g, share: share, whole: whole}, nil
}

// add adds a model under maps, whose weights are made when they are needed.
func (a *average) add(s *edit.Subject, maps edit.Maps, pair *match.Pairing, share float64) error {
	moved, err := edit.NewMoved(s, maps)
	if err != nil {
		return err
	}
	a.parts = append(a.parts, part{subject: s, moved: moved, sources: pair.Sources, missing: pair.Apart, share: share})
	return nil
}

// model carries out the sum, weight by weight. Weights without a counterpart (constants that are no
// part of the architecture) stay the target's.
func (a *average) model() (*onnxio.Model, error) {
	if err := a.keep(); err != nil {
		return nil, err
	}
	for name := range a.target.Analysis.Weights {
		if _, ok := a.parts[0].sources[name]; !ok || len(a.entering(name)) == 0 {
			continue
		}
		sum, err := a.sum(name)
		if err != nil {
			return nil, fmt.Errorf("weight %q: %w", name, err)
		}
		sum.Name = name
		if err := a.graph.SetConstant(sum); err != nil {
			return nil, err
		}
	}
	a.graph.Commit()
	return a.out, nil
}

// largeWeight is the number of elements from which on the models' tensors are not made at the same
// time, and largePart how many of the target's are read at once.
const largeWeight, largePart = 16 << 20, 1 << 20

// sum is the weighted sum of the target's tensor of a name and those of the parts. Positions that
// one model alone gives count whole.
func (a *average) sum(name string) (_ *onnxio.Tensor, err error) {
	defer guard.Recover(&err)
	axis, given := a.target.Alone(name, a.whole)
	mixed := slices.Contains(given, true) && slices.Contains(given, false)
	share := func(s float64) float64 {
		if given != nil {
			return 1
		}
		return s
	}
	large := a.target.Analysis.Weights[name].Len() >= largeWeight && !mixed
	parts := a.entering(name)
	moved, err := a.moved(name, parts, !large)
	if err != nil {
		return nil, err
	}
	terms := make([]term, 1+len(moved))
	for i, t := range moved {
		terms[1+i] = term{t, share(parts[i].share)}
	}
	terms[0].share = share(a.share)
	if len(parts) < len(a.parts) && given == nil { // the shares are those of all models
		rescale(terms)
	}
	tp := a.graph.Constant(name)
	if large && tp.GetDataType() == int32(onnxio.Float) && !slices.ContainsFunc(moved, func(t *onnxio.Tensor) bool { return t.Type != onnxio.Float }) {
		return a.sumByParts(tp, terms, largePart)
	}
	if terms[0].tensor, err = a.out.Tensor(tp); err != nil {
		return nil, err
	}
	if mixed {
		terms[0].spread(a.share, axis, given)
		for i, p := range parts {
			terms[1+i].spread(p.share, axis, given)
		}
	}
	return total(terms)
}

// entering lists the parts whose weight enters the sum for the target's.
func (a *average) entering(name string) []part {
	return slices.DeleteFunc(slices.Clone(a.parts), func(p part) bool { return p.out[name] })
}

// rescale makes the shares sum to one. Where no model that is left has a share the target has it.
func rescale(terms []term) {
	sum := 0.0
	for _, t := range terms {
		sum += t.share
	}
	for i := range terms {
		if sum == 0 {
			terms[0].share, sum = 1, 1
		}
		terms[i].share /= sum
	}
}

// spread multiplies the term by a share, except for the positions of an axis that are given.
func (t *term) spread(share float64, axis int, given []bool) {
	v := t.tensor.Float64()
	along := dense.AlongAxis(v, t.tensor.Dims, axis)
	for i := range v {
		if !given[along.Position(i)] {
			v[i] *= share
		}
	}
	t.tensor = onnxio.NewTensor(t.tensor.Name, t.tensor.Type, t.tensor.Dims, v)
}

// sumByParts is total for large weights. The first term's tensor is read size elements at a time,
// and the second's is written over.
func (a *average) sumByParts(tp *onnxpb.TensorProto, terms []term, size int) (*onnxio.Tensor, error) {
	out := terms[1].tensor
	out.Dims = nil
	for _, d := range tp.Dims {
		out.Dims = append(out.Dims, int(d))
	}
	row := out.Len() / out.Dims[0]
	part := slices.Clone(terms)
	n := max(1, size/row)
	for from := 0; from < out.Dims[0]; from += n {
		own, err := a.out.Rows(tp, from, min(n, out.Dims[0]-from))
		if err != nil {
			return nil, err
		}
		part[0].tensor = own
		for i, t := range terms[1:] {
			part[1+i].tensor = &onnxio.Tensor{Type: onnxio.Float, Dims: own.Dims, F32: t.tensor.F32[from*row:][:own.Len()]}
		}
		sum, err := total(part)
		if err != nil {
			return nil, fmt.Errorf("from element %d on: %w", from*row, err)
		}
		copy(out.F32[from*row:], sum.F32)
	}
	return out, nil
}

// moved returns the tensors of parts for the target's of a name.
func (a *average) moved(name string, parts []part, atOnce bool) ([]*onnxio.Tensor, error) {
	out, errs := make([]*onnxio.Tensor, len(parts)), make([]error, len(parts))
	var wait guard.Group
	for i, p := range parts {
		if _, ok := p.sources[name]; !ok {
			return nil, fmt.Errorf("weight %q has no counterpart in %q", name, p.subject.Model.Path)
		}
		one := func() { out[i], errs[i] = a.movedTensor(p, name) }
		if atOnce {
			wait.Go(one)
		} else {
			one()
		}
	}
	wait.Wait()
	want := onnxio.Elements(a.graph.Constant(name))
	for i, p := range parts {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if int64(out[i].Len()) != want {
			return nil, fmt.Errorf("weight %q: %v elements of %q against %v", name, out[i].Dims, p.sources[name].Name, a.graph.Constant(name).Dims)
		}
	}
	return out, nil
}

// movedTensor is a part's tensor for the target's of a name, with axes in the target's order.
func (a *average) movedTensor(p part, name string) (*onnxio.Tensor, error) {
	src := p.sources[name]
	if src.Name == "" {
		w := a.graph.Constant(name)
		dims := make([]int, len(w.GetDims()))
		for i, d := range w.GetDims() {
			dims[i] = int(d)
		}
		return onnxio.NewTensor(name, onnxpb.TensorProto_DataType(w.GetDataType()), dims, make([]float64, onnxio.Elements(w))), nil
	}
	t, err := p.moved.Tensor(src.Name)
	if err != nil {
		return nil, err
	}
	return src.Laid(t), nil
}

// A term is a tensor times its share.
type term struct {
	tensor *onnxio.Tensor
	share  float64
}

// total adds terms of equal sizes up, in float64, and rounds to the type of the first, whose
// elements it may write over. NaN is an error.
func total(terms []term) (*onnxio.Tensor, error) {
	t := terms[0].tensor
	if !slices.ContainsFunc(terms, func(x term) bool { return x.tensor.Type != onnxio.Float }) {
		const block = 512 // a block at a time stays in the cache
		var acc [block]float64
		for from := 0; from < len(t.F32); from += block {
			dst := t.F32[from:min(from+block, len(t.F32))]
			sum := acc[:len(dst)]
			for i, v := range dst {
				sum[i] = terms[0].share * float64(v)
			}
			for _, x := range terms[1:] {
				for i, v := range x.tensor.F32[from:][:len(sum)] {
					sum[i] += x.share * float64(v)
				}
			}
			for i, v := range sum {
				if math.IsNaN(v) {
					return nil, fmt.Errorf("element %d is NaN", from+i)
				}
				dst[i] = float32(v)
			}
		}
		return t, nil
	}
	sum := t.Float64()
	floats.Scale(terms[0].share, sum)
	for _, x := range terms[1:] {
		floats.AddScaled(sum, x.share, x.tensor.Float64())
	}
	if i := slices.IndexFunc(sum, math.IsNaN); i >= 0 {
		return nil, fmt.Errorf("element %d is NaN", i)
	}
	return onnxio.NewTensor(t.Name, t.Type, t.Dims, sum), nil
}
