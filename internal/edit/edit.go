package edit

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Edit returns a copy of the subject's model in which the maps are carried out: weights along every
// use of a mapped space, and the shapes, pads, slice bounds, group counts and value_info that
// follow its width. Spaces without a map, or whose map is the identity, are not touched: not a bit
// of their weights changes.
func Edit(s *Subject, maps Maps) (_ *onnxio.Model, err error) {
	defer guard.Recover(&err)
	maps = maps.changed()
	out := s.Model.Clone()
	if len(maps) == 0 {
		return out, nil
	}
	g, err := s.GraphOf(out)
	if err != nil {
		return nil, err
	}
	t := NewTransform(s.Analysis, maps)
	for _, w := range editOrder(s.Analysis) {
		if !slices.ContainsFunc(w.Axes, t.touches) {
			continue
		}
		if err := t.edit(s, g, w); err != nil {
			return nil, err
		}
	}
	if err := editShapes(s, g, t.after); err != nil {
		return nil, err
	}
	editValueInfo(s.Analysis, g.Proto, t.after)
	g.Commit()
	if err := check(out, s, t.after); err != nil {
		return nil, err
	}
	return out, nil
}

// Moved gives the weights of a subject as Edit would write them, one at a time, so that no second
// model has to be held.
type Moved struct {
	s *Subject
	t *Transform
	// Integers and their scales can only be written together: then there is a whole model.
	whole *onnxio.Graph
}

// NewMoved returns the weights of a subject under maps.
func NewMoved(s *Subject, maps Maps) (*Moved, error) {
	m := &Moved{s: s, t: NewTransform(s.Analysis, maps.changed())}
	for _, w := range s.Analysis.Weights {
		if w.Quant == nil || !slices.ContainsFunc(w.Axes, m.t.touches) {
			continue
		}
		whole, err := Edit(s, maps)
		if err != nil {
			return nil, err
		}
		m.whole, err = s.GraphOf(whole)
		return m, err
	}
	return m, nil
}

// Tensor returns the weight of a name. The caller may write over its elements.
func (m *Moved) Tensor(name string) (_ *onnxio.Tensor, err error) {
	defer guard.Recover(&err)
	if m.whole != nil {
		return stored(m.whole, name)
	}
	w := m.s.Analysis.Weights[name]
	if w == nil || !slices.ContainsFunc(w.Axes, m.t.touches) {
		return m.s.tensor(name)
	}
	return m.t.moved(m.s, w)
}

// moved returns a transformed weight in the type in which it is stored.
func (t *Transform) moved(s *Subject, w *coupling.Weight) (*onnxio.Tensor, error) {
	typ := onnxpb.TensorProto_DataType(s.Graph.Constant(w.Name).GetDataType())
	if typ == onnxio.Float && w.Len() >= largeWeight {
		debug.FreeOSMemory() // what is left of the steps before is as large as what comes
		data, dims, ok, err := t.applyByParts(s, w, largePart)
		if ok || err != nil {
			return &onnxio.Tensor{Name: w.Name, Type: typ, Dims: dims, F32: data}, err
		}
	}
	if typ == onnxio.Float {
		// Doubles would take twice the memory: sums are made of them, but not kept.
		data, err := s.Floats32(w.Name)
		if err != nil {
			return nil, err
		}
		data, dims, err := applyAll(t, w, data)
		return &onnxio.Tensor{Name: w.Name, Type: typ, Dims: dims, F32: data}, err
	}
	data, dims, err := t.movedFloats(s, w)
	if err != nil {
		return nil, err
	}
	return onnxio.NewTensor(w.Name, typ, dims, data), nil
}

// movedFloats returns the numbers that a transformed weight stands for.
func (t *Transform) movedFloats(s *Subject, w *coupling.Weight) ([]float64, []int, error) {
	data, err := s.Floats(w.Name)
	if err != nil {
		return nil, nil, err
	}
	return applyAll(t, w, data)
}

// editOrder lists the weights by name, scales and zero points before the integers that need them.
func editOrder(an *coupling.Analysis) []*coupling.Weight {
	var plain, quantised []*coupling.Weight
	for _, name := range slices.Sorted(maps.Keys(an.Weights)) {
		if w := an.Weights[name]; w.Quant != nil {
			quantised = append(quantised, w)
		} else {
			plain = append(plain, w)
		}
	}
	return append(plain, quantised...)
}

// edit writes one transformed weight into the copy.
func (t *Transform) edit(s *Subject, g *onnxio.Graph, w *coupling.Weight) (err error) {
	defer guard.At(&err, func() string { return fmt.Sprintf("weight %q", w.Name) })
	if w.Quant == nil {
		v, err := t.moved(s, w)
		if err != nil {
			return err
		}
		return g.SetConstant(v)
	}
	data, dims, err := t.movedFloats(s, w)
	if err != nil {
		return err
	}
	reach, err := s.reach(w)
	if err != nil {
		return err
	}
	return requantize(g, w, dims, data, reach)
}

// editShapes rewrites stored shapes. A node that needs a new value gets an initializer of its own
// where others read the old one.
func editShapes(s *Subject, g *onnxio.Graph, w coupling.Widths) error {
	// All of a node's shapes change together: a start counted from the end of what a Slice reads
	// means another place once the end is rewritten. The parts of a Concat have nothing to do with
	// each other.
	changed := map[*onnxpb.NodeProto]bool{}
	for _, ref := range s.Analysis.Refs {
		if w.Changes(ref) {
			changed[ref.Node] = true
		}
	}
	for _, ref := range s.Analysis.Refs {
		if !changed[ref.Node] || ref.Node.GetOpType() == "Concat" && !w.Changes(ref) {
			continue
		}
		var after []int64
		for _, e := range ref.Elems {
			after = append(after, w.Elem(e))
		}
		n := g.Producer(ref.Node.GetOutput()[0])
		if n == nil {
			return fmt.Errorf("%s: node is gone", onnxio.Label(ref.Node))
		}
		if err := writeShape(s, g, n, ref, after); err != nil {
			return err
		}
	}
	return g.Refresh()
}

// writeShape stores the new value of a node's shape: in place of the old one where nobody else
// reads that.
func writeShape(s *Subject, g *onnxio.Graph, n *onnxpb.NodeProto, ref coupling.ShapeRef, v []int64) error {
	if ref.Input < 0 {
		if onnxio.Attr(n, ref.Attr).GetType() == onnxpb.AttributeProto_INT {
			onnxio.SetAttrInt(n, ref.Attr, v[0])
		} else {
			onnxio.SetAttrInts(n, ref.Attr, v)
		}
		return nil
	}
	for len(n.Input) <= ref.Input {
		n.Input = append(n.Input, "")
	}
	old := n.Input[ref.Input]
	t := onnxio.NewInts(old, []int{len(v)}, v)
	if tp := s.Graph.Constant(old); tp != nil {
		t.Type = onnxpb.TensorProto_DataType(tp.GetDataType())
		if len(tp.GetDims()) == 0 && len(v) == 1 {
			t.Dims = nil // a divisor
		}
	}
	if g.Constant(old) != nil && len(g.Consumers(old)) == 1 && !g.IsOutput(old) {
		return g.SetConstant(t)
	}
	t.Name = g.Fresh("monge_shape")
	n.Input[ref.Input] = t.Name
	if n.GetOpType() == "Split" {
		onnxio.RemoveAttr(n, "num_outputs")
	}
	return g.AddInitializer(t)
}

// editValueInfo corrects the stored shapes of activations and drops what cannot be known to hold
// any more.
func editValueInfo(an *coupling.Analysis, g *onnxpb.GraphProto, w coupling.Widths) {
	g.ValueInfo = slices.DeleteFunc(g.ValueInfo, func(vi *onnxpb.ValueInfoProto) bool {
		axes, known := an.Activations[vi.GetName()]
		dims, _, ok := onnxio.Dims(vi)
		if !ok {
			return false
		}
		if !known || len(axes) != len(dims) {
			wt := an.Weights[vi.GetName()]
			if wt == nil || len(wt.Axes) != len(dims) {
				return true
			}
			axes = wt.Axes
		}
		shape := vi.GetType().GetTensorType().GetShape().GetDim()
		for i, a := range axes {
			switch n := w.Size(a); {
			case n >= 0 && n != a.Size():
				shape[i].Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(n)}
			case n < 0 && w.Touches(a): // a batch times heads, whose name says how many these were
				shape[i].Value = nil
			}
		}
		return false
	})
}

// check analyses the edited model and compares every tensor's shape with what the maps promised, so
// that an inconsistent edit is an error here and not in the runtime of whoever uses the file.
func check(m *onnxio.Model, s *Subject, w coupling.Widths) error {
	an, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		return fmt.Errorf("the edited model does not hold together: %w", err)
	}
	for name, axes := range s.Analysis.Activations {
		after, ok := an.Activations[name]
		if !ok || len(after) != len(axes) {
			continue
		}
		for i, a := range axes {
			want, have := w.Size(a), after[i].Size()
			if want >= 0 && have >= 0 && want != have {
				return fmt.Errorf("the edited model does not hold together: axis %d of %q is %d, not %d", i, name, have, want)
			}
		}
	}
	return nil
}
