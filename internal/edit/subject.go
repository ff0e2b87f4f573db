package edit

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Subject is a model with its spaces analysed.
type Subject struct {
	// Model is the model in a form in which layers that do not belong together have no constants in
	// common, means over channels that may then be narrowed are products (see Reshare), and what is
	// computed when it runs without need is not.
	Model    *onnxio.Model
	Graph    *onnxio.Graph
	Analysis *coupling.Analysis

	opaque  bool
	options coupling.Options
	given   *onnxio.Model // before constants were separated
	// reductions are products in the model, in which sums and means were given.
	reductions []reduction
}

// NewSubject analyses a model. The model is not changed.
func NewSubject(m *onnxio.Model, o coupling.Options) (*Subject, error) {
	options := o
	own, copies, err := unshared(m)
	if err != nil {
		return nil, m.InFile(err)
	}
	o.Copies = copies
	an, err := coupling.Analyze(own, o)
	if err != nil {
		return nil, m.InFile(err)
	}
	if own, an, err = simple(own, an, o); err != nil {
		return nil, m.InFile(err)
	}
	s := &Subject{opaque: o.Opaque, options: options, given: m}
	if s.Model, s.Analysis, s.reductions, err = reduced(own, an, o); err != nil {
		return nil, m.InFile(err)
	}
	s.Graph = s.Analysis.Graph
	return s, nil
}

// Given is the model that the subject was made of.
func (s *Subject) Given() *onnxio.Model { return s.given }

// Edited is a subject of the model under maps, analysed in the same way.
func (s *Subject) Edited(maps Maps) (*Subject, error) {
	m, err := Edit(s, maps)
	if err == nil {
		err = s.Reshare(m)
	}
	if err != nil {
		return nil, err
	}
	return s.Like(m)
}

// Like is a subject of a model, analysed in the same way.
func (s *Subject) Like(m *onnxio.Model) (*Subject, error) { return NewSubject(m, s.options) }

// GraphOf returns the graph of a copy of the subject's model in the form in which the subject was
// analysed.
func (s *Subject) GraphOf(m *onnxio.Model) (*onnxio.Graph, error) {
	if s.opaque {
		return m.Graph()
	}
	return m.FlatGraph()
}

// Live lists the inputs of a node that are not constant.
func (s *Subject) Live(n *onnxpb.NodeProto) []string {
	var out []string
	for _, in := range n.GetInput() {
		if _, constant := s.Analysis.Roots[in]; !constant && in != "" {
			out = append(out, in)
		}
	}
	return out
}

// Floats returns a weight's values, row-major; of a quantised weight the real numbers that its
// integers stand for. A NaN is an error: the weight is about to be edited or compared.
func (s *Subject) Floats(name string) ([]float64, error) {
	t, err := s.tensor(name)
	if err != nil {
		return nil, err
	}
	v := t.Float64()
	if w := s.Analysis.Weights[name]; w != nil && w.Quant != nil {
		if v, err = Dequantized(s.Graph, w.Quant, v, t.Dims); err != nil {
			return nil, s.Model.InFile(fmt.Errorf("weight %q: %w", name, err))
		}
	}
	return v, s.noNaN(name, firstNaN(v))
}

// Floats32 is Floats in single precision.
func (s *Subject) Floats32(name string) ([]float32, error) {
	t, err := s.tensor(name)
	if err != nil {
		return nil, err
	}
	if t.Type == onnxio.Float {
		return t.F32, s.noNaN(name, firstNaN(t.F32))
	}
	v, err := s.Floats(name)
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out, err
}

// rows32 returns n rows of a weight in single precision, from one on.
func (s *Subject) rows32(name string, from, n int) (*onnxio.Tensor, error) {
	t, err := s.Model.Rows(s.Graph.Constant(name), from, n)
	if err != nil {
		return nil, err
	}
	at := firstNaN(t.F32)
	if at >= 0 {
		at += from * (len(t.F32) / n)
	}
	return t, s.noNaN(name, at)
}

// tensor returns a weight as it is stored.
func (s *Subject) tensor(name string) (*onnxio.Tensor, error) { return stored(s.Graph, name) }

// stored returns a constant of a graph.
func stored(g *onnxio.Graph, name string) (*onnxio.Tensor, error) {
	tp := g.Constant(name)
	if tp == nil {
		return nil, g.Model.InFile(fmt.Errorf("weight %q: not found", name))
	}
	return g.Model.Tensor(tp)
}

// noNaN is the error of a weight whose element at is NaN; nil if at is -1.
func (s *Subject) noNaN(name string, at int) error {
	if at < 0 {
		return nil
	}
	return s.Model.InFile(fmt.Errorf("weight %q: element %d is NaN", name, at))
}

// firstNaN is the place of the first NaN, -1 if there is none.
func firstNaN[T dense.Float](v []T) int {
	return slices.IndexFunc(v, func(x T) bool { return x != x })
}
