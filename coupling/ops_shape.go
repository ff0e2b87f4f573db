package coupling

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

func identity(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil {
		return nil, errUnranked
	}
	o := &value{axes: x.axes, ranked: x.ranked, ints: x.ints, reals: x.reals, typ: x.typ, strides: x.strides, konst: x.konst, roots: x.roots, origin: x.origin, even: x.even}
	if to := onnxpb.TensorProto_DataType(c.attrInt("to", int64(x.typ))); to != x.typ {
		if x.reals != nil && isInteger(to) {
			o.ints = intsOf(x, to)
		}
		o.round(to)
	}
	if c.node.GetOpType() == "Cast" && x.ints != nil && x.reals == nil {
		switch to := onnxpb.TensorProto_DataType(c.attrInt("to", 0)); {
		case onnxio.IsFloat(to):
			o.reals, o.typ = realsOf(x), to
		case to == onnxpb.TensorProto_BOOL:
			o.ints = slices.Clone(x.ints)
			for i, e := range o.ints {
				o.ints[i] = elem{known: e.known, v: truth(e.v != 0)}
			}
		case to == onnxpb.TensorProto_STRING:
			o.ints = nil
		}
	}
	c.claim(0)
	return []*value{o}, nil
}

// realsOf are the integers of a value as numbers; nil where not all are known.
func realsOf(x *value) (out []float64) {
	known, ok := x.knownInts()
	if !ok || len(known) > realLimit {
		return nil
	}
	for _, n := range known {
		out = append(out, float64(n))
	}
	return out
}

// intsOf are the numbers of a value cut to integers, as a size is that was computed with a ratio, or,
// of truths, whether they are not zero; nil where they are not known.
func intsOf(x *value, to onnxpb.TensorProto_DataType) (out []elem) {
	for _, r := range x.reals {
		if !(math.Abs(r) < maxSize) {
			return nil
		}
		v := int64(r)
		if to == onnxpb.TensorProto_BOOL {
			v = truth(r != 0)
		}
		out = append(out, elem{known: true, v: v})
	}
	return out
}

// dropout passes its data; the mask has the same axes. Ratio and mode are scalars.
func dropout(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil {
		return nil, errUnranked
	}
	o := &value{axes: x.axes, ranked: x.ranked, konst: x.konst, roots: x.roots, origin: x.origin}
	if mode := c.input(2); mode != nil {
		if known, ok := mode.knownInts(); !ok || len(known) != 1 || known[0] != 0 {
			c.freeze(x, "may drop elements at random")
			c.freeze(mode, "depends on it")
		}
	}
	mask := &value{axes: x.axes, ranked: x.ranked, konst: x.konst}
	return []*value{o, mask}[:min(2, len(c.node.GetOutput()))], nil
}

func flatten(c *call) ([]*value, error) {
	x := c.in[0]
	axis := int(c.attrInt("axis", 1))
	if axis < 0 {
		axis += x.rank()
	}
	if axis < 0 || axis > x.rank() {
		return nil, c.errorf("axis %d is out of range", axis)
	}
	o := c.output([]*Axis{c.an.sys.prod(x.axes[:axis]...), c.an.sys.prod(x.axes[axis:]...)})
	return []*value{o}, nil
}

func transpose(c *call) ([]*value, error) {
	x := c.in[0]
	perm := onnxio.AttrInts(c.node, "perm")
	if len(perm) == 0 {
		for i := x.rank() - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	if len(perm) != x.rank() {
		return nil, c.errorf("perm has %d entries for %d axes", len(perm), x.rank())
	}
	o := c.output(nil)
	seen := make([]bool, x.rank())
	for _, p := range perm {
		if p < 0 || p >= int64(x.rank()) || seen[p] {
			return nil, c.errorf("perm is no permutation")
		}
		seen[p] = true
		o.axes = append(o.axes, x.axes[p])
		o.origin = append(o.origin, x.originOf(int(p)))
	}
	o.ints = foldTranspose(x, perm)
	return []*value{o}, nil
}

// squeeze drops axes of one position: all of them where none are named.
func squeeze(c *call) ([]*value, error) {
	x := c.in[0]
	axes, _, known := c.ints(1, "axes")
	if !known {
		return nil, errUnranked
	}
	drop, err := c.positions(axes, x.rank())
	if err != nil {
		return nil, err
	}
	o := c.output(nil)
	o.ints, o.reals = x.ints, x.reals
	for i, a := range x.axes {
		if axes == nil && a.Size() < 0 {
			return nil, errUnranked
		}
		if slices.Contains(drop, i) || axes == nil && a.Size() == 1 {
			c.freezeAxis(a, "drops it")
			continue
		}
		if x.strides != nil {
			o.strides = append(o.strides, x.strides[i])
		}
		o.axes = append(o.axes, a)
		o.origin = append(o.origin, x.originOf(i))
	}
	return []*value{o}, nil
}

func unsqueeze(c *call) ([]*value, error) {
	x := c.in[0]
	axes, _, known := c.ints(1, "axes")
	if !known {
		return nil, errUnranked
	}
	fresh, err := c.positions(axes, x.rank()+len(axes))
	if err != nil {
		return nil, err
	}
	o := c.output(x.axes)
	o.ints, o.reals = x.ints, x.reals
	for i := range x.axes {
		o.origin = append(o.origin, x.originOf(i))
	}
	o.strides = slices.Clone(x.strides)
	slices.Sort(fresh)
	for i, k := range fresh {
		if i > 0 && k == fresh[i-1] {
			return nil, c.errorf("axis %d is made twice", k)
		}
		o.axes = slices.Insert(o.axes, k, c.made(1))
		o.origin = slices.Insert(o.origin, k, -1)
		if o.strides != nil {
			o.strides = slices.Insert(o.strides, k, 0)
		}
	}
	return []*value{o}, nil
}

// meet makes one axis of all that given inputs have at given places, and says what stands there.
func (c *call) meet(at []place) (*Axis, *places, error) {
	pl := &places{out: true}
	var t *Axis
	for _, p := range at {
		v := c.in[p.in]
		if v.live() {
			pl.live = append(pl.live, p)
		} else {
			pl.weights = append(pl.weights, p)
		}
		a := v.axes[p.axis]
		if t == nil {
			t = a
			continue
		}
		if n, m := a.Size(), t.Size(); n > 0 && m > 0 && n != m {
			return nil, nil, c.errorf("axis %d of %q is %d, and %d elsewhere", p.axis, v.name, n, m)
		}
		c.join(t, a)
	}
	return t, pl, nil
}

// concat puts tensors behind one another along an axis; all others are one.
func concat(c *call) ([]*value, error) {
	rank := -1
	for _, v := range c.in {
		if v == nil || !v.ranked || rank >= 0 && v.rank() != rank {
			return nil, errUnranked
		}
		rank = v.rank()
	}
	axis, err := c.position(c.attrInt("axis", 1), max(rank, 0))
	if err != nil {
		return nil, err
	}
	o := c.output(make([]*Axis, rank))
	if len(o.roots) == 1 && !slices.ContainsFunc(c.in, func(v *value) bool { return !slices.Equal(v.origin, c.in[0].origin) }) {
		o.origin = c.in[0].origin // parts of one weight, put together again
	}
	for k := range o.axes {
		parts, at := make([]*Axis, len(c.in)), make([]place, len(c.in))
		for i, v := range c.in {
			parts[i], at[i] = v.axes[k], place{i, k}
		}
		if k == axis {
			o.axes[k] = c.an.sys.sum(parts...)
			continue
		}
		var pl *places
		if o.axes[k], pl, err = c.meet(at); err != nil {
			return nil, err
		}
		if len(pl.live) > 0 {
			c.letter(o.axes[k], pl, 0)
		}
	}
	if rank == 1 && o.konst {
		o.reals = c.realsTogether()
		o.ints, o.follows = c.putTogether()
	}
	return []*value{o}, nil
}

// realsTogether are the numbers of all inputs, nil where not all are known.
func (c *call) realsTogether() (out []float64) {
	for _, v := range c.in {
		if out = append(out, v.reals...); v.reals == nil || len(out) > realLimit {
			return nil
		}
	}
	return out
}

// putTogether folds a concatenation of integers. In a shape of which a part is computed when the
// model runs, the constant numbers are sizes too. Each gets an axis of its own: where the use of
// the shape joins that to a space, the constant is rewritten when the space changes.
func (c *call) putTogether() (out []elem, written []*Axis) {
	computed := func(e elem) bool { return e.tied || !e.known }
	mixed := false
	for _, v := range c.in {
		if v.ints == nil {
			return nil, nil
		}
		mixed = mixed || slices.ContainsFunc(v.ints, computed)
	}
	for i, v := range c.in {
		if !mixed || slices.ContainsFunc(v.ints, computed) {
			out = append(out, v.ints...)
			continue
		}
		ref := ShapeRef{Node: c.node, Input: i}
		for _, e := range v.ints {
			elem, stored := e, ShapeElem{value: e.v}
			if e.v >= 2 && e.v <= maxSize {
				elem.size, elem.tied = c.an.sys.atom(int(e.v)), true
				written, stored = append(written, elem.size), sizeElem(elem.size)
			}
			out, ref.Elems = append(out, elem), append(ref.Elems, stored)
		}
		c.note(ref)
	}
	if len(out) > foldLimit {
		return nil, nil
	}
	return out, written
}

// pad adds constant channels in front and behind (option-A shortcuts): these are axes of their own,
// whose sizes go back into the pads after an edit.
func pad(c *call) ([]*value, error) {
	x := c.in[0]
	pads, ref, known := c.ints(1, "pads")
	axes, some, err := c.namedAxes(c.ints(3, ""))
	switch {
	case err != nil:
		return nil, err
	case !some:
		return nil, errUnranked
	case !known:
		return c.padsAtRuntime(axes)
	}
	if len(pads) != 2*len(axes) {
		return nil, c.errorf("%d pads for %d axes", len(pads), len(axes))
	}
	o := c.output(x.axes)
	ref.Elems = constElems(pads)
	for i, k := range axes {
		o.axes[k] = c.padded(x.axes[k], &ref.Elems[i], &ref.Elems[i+len(axes)])
	}
	c.note(ref)
	return []*value{o}, nil
}

// padsAtRuntime is the rule of Pad where some numbers are computed from sizes that are not known, as
// that of samples of a sound: axes that get none stay what they are.
func (c *call) padsAtRuntime(axes []int) ([]*value, error) {
	x, pads := c.in[0], c.in[1].ints
	if len(pads) != 2*len(axes) {
		return nil, errUnranked
	}
	o := c.output(x.axes)
	for i, k := range axes {
		if zero := (elem{known: true}); pads[i] != zero || pads[i+len(axes)] != zero {
			o.axes[k] = c.replace(x.axes[k], -1, "pads it")
		}
	}
	return []*value{o}, nil
}

// namedAxes are the axes of the first input that a list names: all of them, in order, where it is
// not given.
func (c *call) namedAxes(list []int64, _ ShapeRef, known bool) (axes []int, ok bool, err error) {
	if list != nil || !known {
		axes, err = c.positions(list, c.in[0].rank())
		return axes, known, err
	}
	for k := range c.in[0].axes {
		axes = append(axes, k)
	}
	return axes, true, nil
}

// padded puts an axis between the positions that stored numbers add, which follow the axes made of
// them.
func (c *call) padded(a *Axis, before, after *ShapeElem) *Axis {
	n, first, last := a.Size(), before.value, after.value
	switch {
	case first == 0 && last == 0:
		return a
	case first < 0, last < 0, n < 0, a.allFrozen(), onnxio.AttrString(c.node, "mode", "constant") != "constant":
		if n >= 0 {
			n = max(-1, n+int(first)+int(last))
		}
		return c.replace(a, n, "pads it")
	}
	front, back := c.an.sys.atom(int(first)), c.an.sys.atom(int(last))
	*before, *after = sizeElem(front), sizeElem(back)
	return c.an.sys.sum(front, a, back)
}

// A span is what a Slice takes of one axis.
type span struct {
	axis             int
	start, end, step int64
}

// bounds are the first position of a span among n and the one behind its last, in the order of its
// steps.
func (s span) bounds(n int64) (lo, hi int64) {
	clampTo := func(v, low, high int64) int64 {
		if v < 0 {
			if v < -n {
				return low
			}
			v += n
		}
		return min(max(v, low), high)
	}
	if s.step > 0 {
		return clampTo(s.start, 0, n), clampTo(s.end, 0, n)
	}
	lo = clampTo(s.start, 0, n-1)
	if s.end < -n {
		return lo, -1
	}
	return lo, clampTo(s.end, -1, n-1)
}

// steps counts steps from lo that do not reach hi.
func steps(lo, hi, step int64) int64 {
	switch {
	case step > 0 && lo < hi:
		return (hi-lo-1)/step + 1
	case step < 0 && lo > hi:
		return (hi-lo+1)/step + 1
	}
	return 0
}

// slice takes ranges with constant bounds. A range of step one cuts the axis; other steps are free
// on axes that cannot change anyway.
func slice(c *call) ([]*value, error) {
	x := c.in[0]
	starts, from, ok1 := c.ints(1, "starts")
	ends, to, ok2 := c.ints(2, "ends")
	axes, _, ok3 := c.ints(3, "axes")
	stride, _, ok4 := c.ints(4, "steps")
	if ok1 && !ok2 && ok3 && ok4 {
		if o := c.sliceToSizes(starts, axes, stride); o != nil {
			return []*value{o}, nil
		}
	}
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return c.sliceUnknown(axes, ok3)
	}
	n := len(starts)
	if axes == nil {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	if stride == nil {
		stride = slices.Repeat([]int64{1}, n)
	}
	if len(ends) != n || len(axes) != n || len(stride) != n {
		return nil, c.errorf("starts, ends, axes and steps differ in length")
	}
	where, err := c.positions(axes, x.rank())
	if err != nil {
		return nil, err
	}
	if slices.Contains(stride, 0) {
		return nil, c.errorf("step is 0")
	}
	o := c.output(x.axes)
	o.origin = x.origin
	spans := make([]span, n)
	from.Elems, to.Elems = constElems(starts), constElems(ends)
	for i, k := range where {
		spans[i] = span{k, starts[i], ends[i], stride[i]}
		o.axes[k] = c.sliced(o.axes[k], spans[i], &from.Elems[i], &to.Elems[i])
	}
	c.note(from, to)
	o.ints = foldSlice(x, spans)
	return []*value{o}, nil
}

// sliced takes a span out of an axis; the stored bounds follow its parts.
func (c *call) sliced(a *Axis, s span, from, to *ShapeElem) *Axis {
	n := int64(a.Size())
	if n < 0 {
		if s.start == 0 && s.end >= math.MaxInt32 && s.step == 1 {
			return a
		}
		return c.replace(a, -1, "slices it")
	}
	lo, hi := s.bounds(n)
	count := steps(lo, hi, s.step)
	switch {
	case lo == 0 && s.step == 1 && hi == n:
		// An open end stays open; a bound that names the size must follow it.
		if s.end == n {
			*to = sizeElem(a)
		}
		return a
	case s.step != 1 || count == 0 || a.allFrozen():
		return c.replace(a, int(count), "slices it")
	}
	var left []*Axis
	mid, err := a, error(nil)
	if lo > 0 {
		left = make([]*Axis, 1)
		left[0], mid, err = c.an.sys.cutAt(mid, int(lo))
	}
	if err == nil && hi < n {
		mid, _, err = c.an.sys.cutAt(mid, int(hi-lo))
	}
	if err != nil {
		return c.replace(a, int(count), "slices it where it has no boundary")
	}
	*from, *to = sizeElem(left...), sizeElem(append(left, mid)...)
	return mid
}

// sliceToSizes is a slice that ends at sizes computed at run time and leaves every axis whole, as
// those that exporters put before a ScatterElements; nil for any other.
func (c *call) sliceToSizes(starts, axes, stride []int64) *value {
	x, ends := c.in[0], c.in[2].ints
	if len(ends) == 0 || len(starts) != len(ends) || axes != nil && len(axes) != len(ends) || stride != nil && len(stride) != len(ends) {
		return nil
	}
	var whole [][2]*Axis
	for i, e := range ends {
		k := i
		if axes != nil {
			k = normAxis(axes[i], x.rank())
		}
		if k < 0 || k >= x.rank() || starts[i] != 0 || stride != nil && stride[i] != 1 || e.size == nil || !e.tied {
			return nil
		}
		if a := x.axes[k]; !a.is(e.size) {
			if a.Size() < 0 || a.Size() != e.size.Size() {
				return nil
			}
			whole = append(whole, [2]*Axis{a, e.size})
		}
	}
	for _, p := range whole { // they stay as long as one another
		c.join(p[0], p[1])
	}
	c.claim(2)
	o := c.output(x.axes)
	o.origin = x.origin
	return o
}

// sliceUnknown: the bounds are computed at run time, and perhaps the axes.
func (c *call) sliceUnknown(axes []int64, known bool) ([]*value, error) {
	x := c.in[0]
	o := c.output(x.axes)
	for _, v := range c.in[1:] {
		if v != nil && !o.konst {
			c.computesWith(v)
		}
	}
	for k, a := range x.axes {
		named := func(axis int64) bool { return normAxis(axis, x.rank()) == k }
		if axes == nil || !known || slices.ContainsFunc(axes, named) {
			o.axes[k] = c.replace(a, -1, "slices it at bounds known only at run time")
		}
	}
	return []*value{o}, nil
}

// split cuts an axis into parts of given sizes, or of one size.
func split(c *call) ([]*value, error) {
	x := c.in[0]
	axis, err := c.position(c.attrInt("axis", 0), x.rank())
	if err != nil {
		return nil, err
	}
	outs := make([]*value, len(c.node.GetOutput()))
	if len(outs) == 0 {
		return nil, errUnranked
	}
	sizes, ref, known := c.ints(1, "split")
	if c.opset >= 13 {
		ref.Input, ref.Attr = 1, ""
	}
	for i := range outs {
		outs[i] = c.output(x.axes)
		outs[i].origin = x.origin
	}
	a := x.axes[axis]
	if known && sizes == nil && a.Size() > 0 {
		each := (a.Size() + len(outs) - 1) / len(outs)
		for i := range outs {
			sizes = append(sizes, int64(min(each, a.Size()-i*each)))
		}
	}
	parts := c.parts(a, sizes, len(outs))
	if parts == nil {
		for i, o := range outs {
			n := -1
			if i < len(sizes) {
				n = int(sizes[i])
			}
			o.axes[axis] = c.replace(a, n, "splits it where it has no boundary")
		}
		return outs, nil
	}
	at := int64(0)
	for i, o := range outs {
		o.axes[axis] = parts[i]
		ref.Elems = append(ref.Elems, sizeElem(parts[i]))
		if x.ints != nil && x.rank() == 1 {
			o.ints = x.ints[at : at+sizes[i]]
		}
		at += sizes[i]
	}
	c.note(ref)
	return outs, nil
}

// parts cuts an axis into n parts of the given sizes; nil if that cannot be done.
func (c *call) parts(a *Axis, sizes []int64, n int) []*Axis {
	sum := int64(0)
	for _, s := range sizes {
		sum += s
	}
	if len(sizes) != n || sum != int64(a.Size()) {
		return nil
	}
	out := make([]*Axis, n)
	for i, s := range sizes[:n-1] {
		var err error
		if out[i], a, err = c.an.sys.cutAt(a, int(s)); err != nil {
			return nil
		}
	}
	out[n-1] = a
	return out
}

// resize scales space by interpolation; axes of scale one pass.
func resize(c *call) ([]*value, error) {
	x := c.in[0]
	o := c.output(x.axes)
	for _, v := range c.in[1:] {
		if v.live() {
			c.freeze(v, "resizes by it")
		}
	}
	axes, _, err := c.namedAxes(c.ints(-1, "axes"))
	if err != nil {
		return nil, err
	}
	factors, sizes := c.scaling()
	if len(factors) != len(axes) {
		factors = nil
	}
	ref := ShapeRef{Node: c.node, Input: 3}
	for i, k := range axes {
		a := x.axes[k]
		to, passes := -1, false
		switch {
		case factors != nil:
			if passes = factors[i] == 1; a.Size() >= 0 {
				to = int(math.Floor(float64(a.Size()) * factors[i]))
			}
		case sizes != nil && len(sizes.ints) == len(axes):
			to, passes = c.resized(a, k, sizes, sizes.ints[i])
		}
		if passes {
			ref.Elems = append(ref.Elems, sizeElem(a))
			continue
		}
		o.axes[k] = c.replace(a, to, "resizes it")
		o.axes[k].atom.open = a.open()
		ref.Elems = append(ref.Elems, ShapeElem{value: int64(to)})
	}
	if sizes != nil {
		open := slices.ContainsFunc(ref.Elems, func(e ShapeElem) bool {
			return e.value < 0 || slices.ContainsFunc(e.sizes, func(a *Axis) bool { return a.Size() < 0 })
		})
		if _, constant := sizes.knownInts(); constant && !open && !anyTied(sizes) {
			c.note(ref)
		} else if len(sizes.follows) == 0 {
			c.freeze(x, "resizes it to a size that cannot follow")
		}
	}
	return []*value{o}, nil
}

// scaling reads the factors of a Resize or Upsample, or the sizes it scales to.
func (c *call) scaling() (factors []float64, sizes *value) {
	at, upsample := 2, c.node.GetOpType() == "Upsample"
	if upsample || c.opset < 11 {
		at = 1
	} else {
		sizes = c.input(3)
	}
	if scales := c.input(at); scales != nil {
		if len(scales.follows) > 0 {
			return nil, sizes
		}
		return scales.reals, sizes
	}
	if upsample {
		for _, f := range onnxio.Attr(c.node, "scales").GetFloats() {
			factors = append(factors, float64(f))
		}
	}
	return factors, sizes
}

// resized is the size that axis k is scaled to by an element of the sizes, and whether it passes as
// it is.
func (c *call) resized(a *Axis, k int, sizes *value, e elem) (to int, passes bool) {
	c.claim(3)
	to = -1
	if e.known {
		to = int(e.v)
	}
	passes = e.size != nil && a.is(e.size) || e.known && to == a.Size() && k < 2 && to >= 0
	if passes && anyTied(sizes) && !e.tied && !a.allFrozen() {
		c.freezeAxis(a, "resizes it to a number beside sizes")
	}
	return to, passes
}

func constElems(v []int64) []ShapeElem {
	out := make([]ShapeElem, len(v))
	for i, x := range v {
		out[i] = ShapeElem{value: x}
	}
	return out
}

// sizeElem is an element that is the size of some axes together.
func sizeElem(axes ...*Axis) ShapeElem { return ShapeElem{sizes: axes} }
