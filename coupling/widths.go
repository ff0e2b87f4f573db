package coupling

import (
	"cmp"
	"slices"

	"github.com/monge-ml/monge/onnxio"
)

// Widths says how many channels each atom shall have; a missing atom keeps its size.
type Widths map[*Axis]int

// WidthsOf gives spaces numbers of channels.
func WidthsOf(spaces map[*Space]int) Widths {
	w := Widths{}
	for s, k := range spaces {
		w.Set(s, k)
	}
	return w
}

// Set gives a space k channels, spread over its pieces in proportion to their sizes (largest
// remainder).
func (w Widths) Set(s *Space, k int) {
	left := k
	for _, p := range s.Pieces {
		w[p.find()] = k * p.Size() / s.Width
		left -= w[p.find()]
	}
	rest := func(p *Axis) int { return k * p.Size() % s.Width }
	parts := slices.Clone(s.Pieces)
	slices.SortStableFunc(parts, func(p, q *Axis) int { return cmp.Compare(rest(q), rest(p)) })
	for _, p := range parts[:min(left, len(parts))] {
		w[p.find()]++
	}
}

// Size is the size of an axis under the widths, or -1 if it is not known.
func (w Widths) Size(a *Axis) int { return w.size(a, nil) }

// size is Size; seen holds the terms whose size is known, for one may be part of another many times
// over.
func (w Widths) size(a *Axis, seen map[*Axis]int) int {
	a = a.find()
	if a.kind == kindAtom {
		if n, ok := w[a]; ok {
			return n
		}
		return a.size
	}
	if n, ok := seen[a]; ok {
		return n
	}
	if seen == nil {
		seen = map[*Axis]int{}
	}
	sizes := make([]int, len(a.kids))
	for i, k := range a.kids {
		sizes[i] = w.size(k, seen)
	}
	seen[a] = total(a.kind, sizes)
	return seen[a]
}

// Of is the number of channels the space has under the widths.
func (w Widths) Of(s *Space) int {
	n := 0
	for _, p := range s.Pieces {
		n += w.Size(p)
	}
	return n
}

// Elem is the new value of a stored shape's element.
func (w Widths) Elem(e ShapeElem) int64 {
	v := e.value
	for _, a := range e.sizes {
		v += int64(w.Size(a))
	}
	return v
}

// Touches reports whether a part of an axis has another size under the widths.
func (w Widths) Touches(a *Axis) bool {
	return a.some(func(x *Axis) bool { return x.kind == kindAtom && w.Size(x) != x.size })
}

// Changes reports whether a stored shape must be written anew.
func (w Widths) Changes(ref ShapeRef) bool {
	return slices.ContainsFunc(ref.follows, w.Touches) || slices.ContainsFunc(ref.Elems, func(e ShapeElem) bool {
		return e.open != nil && w.Touches(e.open) || w.Elem(e) != Widths(nil).Elem(e)
	})
}

// MACs counts multiply-accumulates per sample under the widths (nil: as the model is). open is set
// where free dimensions were counted as one.
func (a *Analysis) MACs(w Widths) (macs int64, open bool) {
	for _, op := range a.Ops {
		macs += op.MACs(w)
		open = open || op.Open
	}
	return macs, open
}

// MACs counts the operator's multiply-accumulates per sample.
func (op *LinearOp) MACs(w Widths) int64 {
	n := int64(op.Positions)
	for _, x := range op.Axes {
		n *= int64(max(w.Size(x), 1))
	}
	return n
}

// Params counts the model's parameters under the widths as [onnxio.Model.Size] does; for nil widths
// the two are equal, but for Options.Copies.
func (a *Analysis) Params(w Widths) int64 {
	total := a.otherParams
	for _, wt := range a.Weights {
		total += a.ParamsOf(wt, w)
	}
	return total
}

// ParamsOf is what a weight adds to Params.
func (a *Analysis) ParamsOf(wt *Weight, w Widths) int64 {
	if onnxio.IsParameter(wt.Type) && a.Stored(wt, w) {
		return w.Elements(wt)
	}
	return 0
}

// CopyOf returns the weight that another is a copy of ([Options].Copies), nil if it is none.
func (a *Analysis) CopyOf(wt *Weight) *Weight { return a.Weights[a.copies[wt.Name]] }

// Stored reports whether a weight has a place of its own in a file under the widths: it is no copy
// of another one, or no longer.
func (a *Analysis) Stored(wt *Weight, w Widths) bool {
	of := a.CopyOf(wt)
	return of == nil || !slices.EqualFunc(of.Axes, wt.Axes, func(x, y *Axis) bool { return w.Size(x) == w.Size(y) })
}

// Elements is the number of elements of a weight under the widths.
func (w Widths) Elements(wt *Weight) int64 {
	n := int64(1)
	for _, x := range wt.Axes {
		n *= int64(max(w.Size(x), 0))
	}
	return n
}

// NarrowableShare is the share of the parameters of linear operators that lie in weights with at
// least one axis in a space that is narrowable.
func (a *Analysis) NarrowableShare() float64 {
	free := func(atom *Axis) bool { s := a.spaceOf[atom]; return s != nil && s.Slimmable() }
	seen := map[*Weight]bool{nil: true}
	all, narrowable := 0, 0
	for _, op := range a.Ops {
		w := a.Weights[op.Weight]
		if seen[w] {
			continue
		}
		seen[w] = true
		all += w.Len()
		if slices.ContainsFunc(w.Axes, func(x *Axis) bool { return x.some(free) }) {
			narrowable += w.Len()
		}
	}
	return float64(narrowable) / float64(max(all, 1))
}
