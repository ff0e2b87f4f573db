package match

import (
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Queries, keys and values are made by three operators, or by one whose channels are then parted. A
// part of what a linear operator makes is what an operator with that part of the weight makes.

// A span is a part of the first axis of a slot.
type span struct {
	at   int              // which part
	from int              // its first position
	axis []*coupling.Axis // the factors of its channels
}

// parted makes a part of what a linear operator puts out a linear operator with a part of the weight: a
// Slice or an output of Split, along an axis of the activation, or one position of an axis (Gather).
func (sp *speller) parted(n *onnxpb.NodeProto, tensor string, of *term, axis, at int) bool {
	st := of.stem
	in, out := sp.s.Analysis.Activations[n.GetInput()[0]], sp.s.Analysis.Activations[tensor]
	if !sp.parts || st.kind != "linear" || !same(of.value, probe) || of.vague || axis < 0 || axis >= len(in) {
		return false
	}
	if len(st.slots) == 0 || st.slots[0].role != "weight" || st.slots[0].span != nil {
		return false
	}
	own := *st
	own.slots, own.label = slices.Clone(st.slots), onnxio.Label(n)
	for i, x := range own.slots {
		whole := x.weight.Axes[x.axes[0]]
		part := &span{at: at}
		switch factors := factorsOf(whole); {
		case onnxio.StandardOp(n) != "Gather" && axis < len(out) && whole.Canonical() == in[axis].Canonical():
			part.axis = factorsOf(out[axis])
			if part.from = start(whole, out[axis]); part.from < 0 {
				return false
			}
		case onnxio.StandardOp(n) == "Gather" && len(factors) > 1 && factors[0].Canonical() == in[axis].Canonical():
			part.from, part.axis = at*(whole.Size()/in[axis].Size()), factors[1:]
		default:
			return false
		}
		own.slots[i].span = part
	}
	sp.grow(tensor, &own)
	return true
}

// start is the first position of a part of a sum of axes; -1 where it is none.
func start(whole, part *coupling.Axis) int {
	from, first := 0, part.Terms()
	for _, t := range whole.Terms() {
		if len(first) > 0 && t.Canonical() == first[0].Canonical() {
			return from
		}
		from += t.Size()
	}
	return -1
}

// A piece is a part of a weight of the second model that is a weight, or a part of one, of the first.
type piece struct {
	src      Source
	from, at span // in the first model's, and in the second's
}

// spans pairs slots of which at least one is a part.
func (s *spelled) spans(x, y slot) error {
	whole := func(z slot) span {
		if z.span != nil {
			return *z.span
		}
		a := z.weight.Axes[z.axes[0]]
		return span{axis: factorsOf(a)}
	}
	from, at := whole(x), whole(y)
	if len(from.axis) != len(at.axis) || len(x.axes) != len(y.axes) {
		return fmt.Errorf("weights %q and %q have different forms", x.name, y.name)
	}
	src := Source{Name: x.weight.Name, Axes: slices.Repeat([]int{-1}, len(y.weight.Axes))}
	for i, k := range x.axes {
		src.Axes[y.axes[i]] = k
		if i > 0 {
			if err := s.axes(x.weight.Axes[k], y.weight.Axes[y.axes[i]]); err != nil {
				return fmt.Errorf("weight %q: %w", x.name, err)
			}
		}
	}
	if err := s.factors(from.axis, at.axis); err != nil {
		return fmt.Errorf("weight %q: %w", x.name, err)
	}
	if x.span != nil && y.span != nil && from.at == at.at {
		return s.source(y.weight, src)
	}
	s.pieces[y.weight.Name] = append(s.pieces[y.weight.Name], piece{src, from, at})
	s.split = true
	return nil
}

// pieced is the first model's tensor for one of the second's that is put together of parts.
func (r *repeating) pieced(w *coupling.Weight, pieces []piece) (*onnxio.Tensor, error) {
	dims := make([]int, len(w.Axes))
	for k, a := range w.Axes {
		dims[k] = r.widths.Size(a)
	}
	axis, held := -1, 0
	var parts []*onnxio.Tensor
	slices.SortFunc(pieces, func(a, b piece) int { return a.at.from - b.at.from })
	for i, p := range pieces {
		if i > 0 && p.at.from == pieces[i-1].at.from {
			continue // the same once more
		}
		own, err := r.a.Model.Tensor(r.a.Graph.Constant(p.src.Name))
		if err != nil {
			return nil, err
		}
		own = p.src.Laid(own)
		for k := range dims {
			if along := p.src.Axis(k); along >= 0 && slices.ContainsFunc(p.at.axis, w.Axes[k].Holds) {
				axis = k
			}
		}
		if axis < 0 {
			return nil, errHeads
		}
		rows := r.product(p.from.axis, p.at.axis)
		held += len(rows)
		out := make([]float64, 0, own.Len()/max(own.Dims[axis], 1)*len(rows))
		v, inner := own.Float64(), 1
		for _, d := range own.Dims[axis+1:] {
			inner *= d
		}
		for block := range slices.Chunk(v, inner*own.Dims[axis]) {
			for _, at := range rows {
				from := (p.from.from + at) * inner
				if from+inner > len(block) {
					return nil, errHeads
				}
				out = append(out, block[from:from+inner]...)
			}
		}
		size := slices.Clone(own.Dims)
		size[axis] = len(rows)
		parts = append(parts, onnxio.NewTensor(w.Name, w.Type, size, out))
	}
	if held != dims[axis] {
		return nil, fmt.Errorf("the models differ: weight %q has no counterpart for all of it", w.Name)
	}
	return joined(parts, axis), nil
}

// joined puts tensors one after the other along an axis.
func joined(parts []*onnxio.Tensor, axis int) *onnxio.Tensor {
	dims := slices.Clone(parts[0].Dims)
	dims[axis] = 0
	outer := 1
	for _, d := range dims[:axis] {
		outer *= d
	}
	var out []float64
	for i := range outer {
		for _, p := range parts {
			v := p.Float64()
			n := len(v) / outer
			out = append(out, v[i*n:(i+1)*n]...)
		}
	}
	for _, p := range parts {
		dims[axis] += p.Dims[axis]
	}
	return onnxio.NewTensor(parts[0].Name, parts[0].Type, dims, out)
}

// piece takes in parts of a tensor along an axis, by Split, Slice or Gather, numbered in the order
// in which they stand.
func (sp *speller) piece(n *onnxpb.NodeProto, formed []*term) bool {
	if len(formed) != 1 || formed[0].tensor != n.GetInput()[0] {
		return false
	}
	if onnxio.StandardOp(n) == "Split" {
		axis := int(onnxio.AttrInt(n, "axis", 0))
		if axis < 0 {
			axis += len(sp.s.Analysis.Activations[n.GetInput()[0]])
		}
		for k, o := range n.GetOutput() {
			if sp.parted(n, o, formed[0], axis, k) {
				continue
			}
			sp.grow(o, &stem{input: -1, kind: "part", detail: fmt.Sprint(k), args: formed, label: onnxio.Label(n)})
		}
		return true
	}
	axis, start, ok := sp.start(n)
	if !ok {
		return false
	}
	if axes := sp.s.Analysis.Activations[n.GetInput()[0]]; onnxio.StandardOp(n) == "Slice" && start == 0 && axis < len(axes) {
		if same := sp.s.Analysis.Activations[n.GetOutput()[0]]; axis < len(same) && axes[axis].Size() > 0 && same[axis].Size() == axes[axis].Size() {
			sp.alias(n.GetOutput()[0], formed[0]) // all of it
			return true
		}
	}
	at := sp.place(n, axis, start)
	if sp.parted(n, n.GetOutput()[0], formed[0], axis, at) {
		return true
	}
	sp.grow(n.GetOutput()[0], &stem{input: -1, kind: "part", detail: fmt.Sprint(at), args: formed, label: onnxio.Label(n)})
	return true
}

// place counts the parts of a tensor that stand before the one that a node takes. Where the numbers are
// not known, a part begins where another ends; else parts are written in order.
func (sp *speller) place(n *onnxpb.NodeProto, axis int, start float64) int {
	if start == 0 {
		return 0
	}
	all := sp.s.Graph.Consumers(n.GetInput()[0])
	if k := behind(n, all); math.IsNaN(start) && k > 0 {
		return k
	}
	before, passed := map[float64]bool{}, false
	for i, c := range all {
		a, s, ok := sp.start(c.Node)
		switch {
		case c.Node == n:
			passed = true
		case !ok || a != axis:
		case math.IsNaN(s+start) && s != 0:
			if !passed {
				before[-1-float64(i)] = true
			}
		case s < start || s == 0:
			before[s] = true
		}
	}
	return len(before)
}

// behind counts the Slices of a tensor that end where others begin, up to one.
func behind(n *onnxpb.NodeProto, all []onnxio.Consumer) int {
	k := 0
	for ; k < len(all); k++ {
		at := slices.IndexFunc(all, func(c onnxio.Consumer) bool {
			return onnxio.StandardOp(c.Node) == "Slice" && len(c.Node.GetInput()) > 2 && len(n.GetInput()) > 2 && c.Node != n && c.Node.GetInput()[2] == n.GetInput()[1]
		})
		if at < 0 {
			break
		}
		n = all[at].Node
	}
	return k
}

// start is the axis that a Slice, or the Gather of one position, takes a part of, and where the part
// begins.
func (sp *speller) start(n *onnxpb.NodeProto) (axis int, start float64, ok bool) {
	in := n.GetInput()
	one := func(i int, attr string, def float64) (float64, bool) {
		var v []float64
		switch {
		case len(in) > i && in[i] != "":
			v = sp.known(in[i])
		case onnxio.Attr(n, attr) != nil:
			for _, x := range onnxio.AttrInts(n, attr) {
				v = append(v, float64(x))
			}
		default:
			return def, true
		}
		switch {
		case len(v) == 1:
			return v[0], true
		case len(in) > i && v == nil:
			return math.NaN(), true
		}
		return 0, false
	}
	rank := len(sp.s.Analysis.Activations[in[0]])
	var along float64
	switch onnxio.StandardOp(n) {
	case "Gather":
		along = float64(onnxio.AttrInt(n, "axis", 0))
		start, ok = one(1, "", 0)
	case "Slice":
		var known bool
		if along, known = one(3, "axes", 0); !known {
			return 0, 0, false
		}
		step, known := one(4, "", 1)
		start, ok = one(1, "starts", 0)
		ok = ok && known && step == 1
	}
	if along < 0 {
		along += float64(rank)
	}
	return int(along), start, ok
}
