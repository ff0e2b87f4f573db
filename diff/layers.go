package diff

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Space is a row of channels that both models have.
type Space struct {
	Name   string `json:"name"`
	Before int    `json:"before"` // channels, over all groups
	After  int    `json:"after"`
}

// A Weight is a constant that corresponding nodes read, or that only one model has.
type Weight struct {
	Node string `json:"node"` // that reads it; "" where none does
	Op   string `json:"op"`
	// Before and After are the tensors; nil where a model has none.
	Before *Tensor `json:"before,omitempty"`
	After  *Tensor `json:"after,omitempty"`
	Equal  bool    `json:"equal"` // type, shape and all numbers are, to the last bit
	// Change is ‖a − b‖/‖a‖ over the numbers, those that integers stand for where a weight is
	// quantised; nil where shapes differ or there are no numbers.
	Change *float64 `json:"change,omitempty"`
	// Linear: it is the weight of a linear operator.
	Linear bool `json:"linear"`

	// Widths are the numbers of output channels of the linear operator in the two models, 0 where
	// that is not known.
	Widths [2]int `json:"-"`
}

// narrower is 1 where the layer has fewer output channels in the second model, -1 where it has more.
func (w *Weight) narrower() int {
	if w.Widths[0] == 0 || w.Widths[1] == 0 {
		return 0
	}
	return cmp.Compare(w.Widths[0], w.Widths[1])
}

// A Tensor is how a weight is stored.
type Tensor struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Dims []int  `json:"dims"`
	// Quantized: integers stand for real numbers.
	Quantized bool `json:"quantized"`

	parameter bool
}

// A side is one of the models in the form in which weights are compared.
type side struct {
	model    *onnxio.Model
	graph    *onnxio.Graph
	form     *qdq.Form
	analysis *coupling.Analysis // nil where the model cannot be analysed
}

// newSide analyses a model. Where that fails the side is there all the same, beside the error.
func newSide(m *onnxio.Model, form *qdq.Form, o Options) (*side, error) {
	s := &side{model: m, form: form}
	an, err := coupling.Analyze(m, coupling.Options{InputShapes: o.InputShapes})
	if err == nil {
		s.analysis, s.graph = an, an.Graph
		return s, nil
	}
	g, graphErr := m.FlatGraph()
	if graphErr != nil {
		return nil, graphErr
	}
	s.graph = g
	return s, err
}

// layers are the two models in the form in which weights are compared.
type layers struct {
	a, b *side
	p    *pairing
	// folded names the outputs of operators into which a normalisation was folded that the other
	// model has not.
	folded map[string]bool
	notes  []string
}

func compareForm(a, b *onnxio.Model, o Options) (*layers, error) {
	models, forms := [2]*onnxio.Model{a, b}, [2]*qdq.Form{}
	var notes []string
	for i, m := range models {
		expanded, form, err := qdq.Expand(m)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: quantised operators are compared as they are: %v", m.Title(), err))
			continue
		}
		models[i], forms[i] = expanded, form
	}
	l, err := newLayers(models, forms, o)
	if err != nil {
		return nil, err
	}
	// What one model alone normalises is folded there, too.
	folded := map[string]bool{}
	for i, s := range []*side{l.a, l.b} {
		alone := normalised(s.graph, [2]map[*node]*node{l.p.to, l.p.from}[i])
		if len(alone) == 0 {
			continue
		}
		m, names, err := edit.FoldBatchNorm(models[i], func(n *node) bool { return alone[firstOutput(n)] })
		if err != nil {
			notes = append(notes, fmt.Sprintf("BatchNormalizations are not folded: %v", err))
			continue
		}
		models[i] = m
		for _, n := range s.graph.Nodes {
			if alone[firstOutput(n)] && slices.Contains(names, n.GetName()) {
				folded[firstOutput(n)] = true
			}
		}
	}
	if len(folded) > 0 {
		if l, err = newLayers(models, forms, o); err != nil {
			return nil, err
		}
	}
	l.folded, l.notes = folded, append(notes, l.notes...)
	return l, nil
}

func newLayers(models [2]*onnxio.Model, forms [2]*qdq.Form, o Options) (*layers, error) {
	l := &layers{}
	var sides [2]*side
	for i, m := range models {
		s, err := newSide(m, forms[i], o)
		if s == nil {
			return nil, err
		}
		if err != nil {
			l.notes = append(l.notes, "widths are not compared: "+m.InFile(err).Error())
		}
		sides[i] = s
	}
	l.a, l.b = sides[0], sides[1]
	l.p = pair(l.a.graph, l.b.graph)
	return l, nil
}

// normalised names the outputs of linear operators that have a partner and are followed by a
// BatchNormalization that has none.
func normalised(g *onnxio.Graph, partner map[*node]*node) map[string]bool {
	out := map[string]bool{}
	for _, l := range g.Linears() {
		if partner[l.Node] == nil {
			continue
		}
		c, ok := g.OnlyReader(l.Out.Tensor)
		if ok && onnxio.StandardOp(c.Node) == "BatchNormalization" && partner[c.Node] == nil {
			out[firstOutput(l.Node)] = true
		}
	}
	return out
}

// weight returns the constant that an input is, or is made of; nil if there is none.
func (s *side) weight(input string) *onnxpb.TensorProto {
	if t := s.graph.Constant(input); t != nil || s.analysis == nil {
		return t
	}
	var best *onnxpb.TensorProto
	for _, root := range s.analysis.Roots[input] {
		t := s.graph.Constant(root)
		if s.parameter(t) && onnxio.Elements(t) > onnxio.Elements(best) {
			best = t
		}
	}
	return best
}

func (s *side) quant(name string) *coupling.Quantization {
	if s.analysis == nil || s.analysis.Weights[name] == nil {
		return nil
	}
	return s.analysis.Weights[name].Quant
}

// parameter reports whether a constant stands for real numbers.
func (s *side) parameter(t *onnxpb.TensorProto) bool {
	return t != nil && (onnxio.IsParameter(onnxpb.TensorProto_DataType(t.GetDataType())) || s.quant(t.GetName()) != nil)
}

func (s *side) describe(t *onnxpb.TensorProto) *Tensor {
	if t == nil {
		return nil
	}
	typ := onnxpb.TensorProto_DataType(t.GetDataType())
	if stored, ok := s.form.StoredAs(t.GetName()); ok {
		typ = stored
	}
	out := &Tensor{Name: t.GetName(), Type: strings.ToLower(typ.String()), Dims: make([]int, len(t.GetDims())), Quantized: s.quant(t.GetName()) != nil, parameter: s.parameter(t)}
	for i, d := range t.GetDims() {
		out.Dims[i] = int(d)
	}
	return out
}

// weights compares the constants that nodes read, in the order of the first model's nodes, and
// those that nobody reads. What linear operators read is told of them, whoever else reads it.
func (l *layers) weights(ctx context.Context) ([]Weight, error) {
	out := []Weight{}
	seen := [2]map[string]bool{{}, {}}
	for _, linear := range []bool{true, false} {
		for _, n := range l.p.nodesA {
			m := l.p.to[n]
			if _, isLinear := l.a.graph.Linear(n); m == nil || isLinear != linear {
				continue
			}
			list, err := l.read(n, m, seen)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, err
			}
			out = append(out, list...)
		}
	}
	order := map[string]int{}
	for i, n := range l.p.nodesA {
		order[nameOf(n)] = i
	}
	slices.SortStableFunc(out, func(x, y Weight) int { return order[x.Node] - order[y.Node] })
	rest, err := l.unread()
	return append(out, rest...), err
}

// read compares the constants that two nodes read, and that were not seen before.
func (l *layers) read(n, m *node, seen [2]map[string]bool) ([]Weight, error) {
	linear, isLinear := l.a.graph.Linear(n)
	var out []Weight
	for i := range min(len(n.GetInput()), len(m.GetInput())) {
		x, y := l.a.weight(n.GetInput()[i]), l.b.weight(m.GetInput()[i])
		if x == nil || y == nil || seen[0][x.GetName()] && seen[1][y.GetName()] || isSetting(x) && isSetting(y) {
			continue
		}
		w, err := l.compare(x, y)
		if err != nil {
			return nil, err
		}
		w.Node, w.Op = nameOf(n), l.a.form.Operator(n)
		if isLinear && linear.Weight.Input == i {
			w.Linear, w.Widths = true, [2]int{l.a.width(n), l.b.width(m)}
		}
		out = append(out, w)
		seen[0][x.GetName()], seen[1][y.GetName()] = true, true
	}
	return out, nil
}

// unread compares the initializers that no node reads.
func (l *layers) unread() ([]Weight, error) {
	find := func(s *side) map[string]*onnxpb.TensorProto {
		out := map[string]*onnxpb.TensorProto{}
		for _, t := range s.graph.Proto.GetInitializer() {
			if len(s.graph.Consumers(t.GetName())) == 0 {
				out[t.GetName()] = t
			}
		}
		return out
	}
	out := []Weight{}
	a, b := find(l.a), find(l.b)
	for _, t := range l.a.graph.Proto.GetInitializer() {
		x, y := a[t.GetName()], b[t.GetName()]
		switch {
		case x != nil && y != nil:
			w, err := l.compare(x, y)
			if err != nil {
				return nil, err
			}
			out = append(out, w)
		case x != nil:
			out = append(out, Weight{Before: l.a.describe(x)})
		}
	}
	for _, t := range l.b.graph.Proto.GetInitializer() {
		if y := b[t.GetName()]; y != nil && a[t.GetName()] == nil {
			out = append(out, Weight{After: l.b.describe(y)})
		}
	}
	return out, nil
}

// width is the number of output channels of a linear operator, 0 if it is not known.
func (s *side) width(n *node) int {
	axis := s.outputs(n)
	if axis == nil {
		return 0
	}
	return axis.Size()
}

// outputs is the axis of the output channels of a linear operator, nil if it is not known.
func (s *side) outputs(n *node) *coupling.Axis {
	l, ok := s.graph.Linear(n)
	if !ok || s.analysis == nil {
		return nil
	}
	axes, at := s.analysis.Activations[firstOutput(n)], l.Out.Axis
	if at < 0 {
		at += len(axes)
	}
	if at < 0 || at >= len(axes) {
		return nil
	}
	return axes[at]
}

// compare compares two constants.
func (l *layers) compare(x, y *onnxpb.TensorProto) (Weight, error) {
	w := Weight{Before: l.a.describe(x), After: l.b.describe(y)}
	if !slices.Equal(w.Before.Dims, w.After.Dims) {
		return w, nil
	}
	a, err := l.a.model.Tensor(x)
	if err != nil {
		return w, err
	}
	b, err := l.b.model.Tensor(y)
	if err != nil {
		return w, err
	}
	w.Equal = a.Type == b.Type && w.Before.Type == w.After.Type && bitwise(a, b)
	if w.Equal && !w.Before.Quantized && !w.After.Quantized {
		if a.Strings == nil && a.Raw == nil {
			w.Change = new(float64)
		}
		return w, nil
	}
	v, u := l.a.real(a), l.b.real(b)
	if len(v) != len(u) || len(v) == 0 {
		return w, nil
	}
	change := relative(v, u)
	w.Equal = w.Equal && change == 0
	w.Change = &change
	return w, nil
}

// real returns the real numbers that a tensor stands for; nil where it stands for none, or has other
// scales than its shape asks for.
func (s *side) real(t *onnxio.Tensor) []float64 {
	v := t.Float64()
	if q := s.quant(t.Name); q != nil {
		var err error
		if v, err = edit.Dequantized(s.graph, q, v, t.Dims); err != nil {
			return nil
		}
	}
	return v
}

func bitwise(a, b *onnxio.Tensor) bool {
	return slices.EqualFunc(a.F32, b.F32, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }) &&
		slices.EqualFunc(a.F64, b.F64, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) }) &&
		slices.Equal(a.I64, b.I64) && slices.EqualFunc(a.Strings, b.Strings, slices.Equal) && slices.Equal(a.Raw, b.Raw)
}

// relative is ‖a − b‖/‖a‖: 0 where the two are equal, infinite where only a is zero.
func relative(a, b []float64) float64 {
	var d, n float64
	for i, x := range a {
		if x != b[i] {
			d += (x - b[i]) * (x - b[i])
		}
		n += x * x
	}
	if d == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}

// spaces compares the widths of rows of channels: two correspond if corresponding nodes read
// weights along which they run.
func (l *layers) spaces(weights []Weight) []Space {
	out := []Space{}
	if l.a.analysis == nil || l.b.analysis == nil {
		return out
	}
	type place struct {
		weight string
		axis   int
	}
	at := map[place]*coupling.Space{}
	for _, s := range l.b.analysis.Spaces {
		for _, u := range s.Uses {
			if p := (place{u.Tensor, u.Axis}); at[p] == nil {
				at[p] = s
			}
		}
	}
	counterpart := map[string]string{}
	for _, w := range weights {
		if w.Before != nil && w.After != nil {
			counterpart[w.Before.Name] = w.After.Name
		}
	}
	taken := map[*coupling.Space]bool{}
	for _, s := range l.a.analysis.Spaces {
		for _, u := range slices.Concat(s.Producers(), s.Consumers(), s.Uses) {
			if t := at[place{counterpart[u.Tensor], u.Axis}]; t != nil {
				if !taken[t] {
					out = append(out, Space{Name: s.Name, Before: s.Width * s.Groups, After: t.Width * t.Groups})
				}
				taken[t] = true
				break
			}
		}
	}
	return out
}
