package coupling

import (
	"fmt"
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
	o := &value{axes: x.axes, ranked: x.ranked, ints: x.ints, reals: x.reals, konst: x.konst, roots: x.roots, origin: x.origin}
	if c.node.GetOpType() == "Cast" && x.ints != nil {
		switch onnxpb.TensorProto_DataType(c.attrInt("to", 0)) {
		case onnxpb.TensorProto_BOOL:
			o.ints = slices.Clone(x.ints)
			for i, e := range o.ints {
				o.ints[i] = elem{known: e.known, v: truth(e.v != 0)}
			}
		case onnxpb.TensorProto_STRING:
			o.ints = nil
		}
	}
	c.claim(0)
	return []*value{o}, nil
}

// dropout passes its data; the mask has the same axes. Ratio and mode are
// scalars.
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
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	axis := int(c.attrInt("axis", 1))
	if axis < 0 {
		axis += x.rank()
	}
	if axis < 0 || axis > x.rank() {
		return nil, fmt.Errorf("%s: axis %d is out of range", c.label(), axis)
	}
	o := &value{ranked: true, axes: []*Axis{c.an.sys.prod(x.axes[:axis]...), c.an.sys.prod(x.axes[axis:]...)}}
	c.inherit(o)
	return []*value{o}, nil
}

func transpose(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	perm := onnxio.AttrInts(c.node, "perm")
	if len(perm) == 0 {
		for i := x.rank() - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	if len(perm) != x.rank() {
		return nil, fmt.Errorf("%s: perm has %d entries for %d axes", c.label(), len(perm), x.rank())
	}
	o := &value{ranked: true}
	seen := make([]bool, x.rank())
	for _, p := range perm {
		if p < 0 || p >= int64(x.rank()) || seen[p] {
			return nil, fmt.Errorf("%s: perm is no permutation", c.label())
		}
		seen[p] = true
		o.axes = append(o.axes, x.axes[p])
		o.origin = append(o.origin, x.originOf(int(p)))
	}
	c.inherit(o)
	o.ints = foldTranspose(x, perm)
	return []*value{o}, nil
}

// axesOf reads the axes of Squeeze, Unsqueeze and the like: an attribute in
// older opsets, input i in newer ones. ok is false when they are computed.
func (c *call) axesOf(i int) (axes []int64, given, ok bool) {
	if v := c.input(i); v != nil {
		axes, ok = v.knownInts()
		c.claim(i)
		return axes, true, ok
	}
	a := onnxio.Attr(c.node, "axes")
	return onnxio.AttrInts(c.node, "axes"), a != nil, true
}

func squeeze(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	axes, given, ok := c.axesOf(1)
	if !ok {
		return nil, errUnranked
	}
	drop := map[int]bool{}
	for _, a := range axes {
		k := normAxis(a, x.rank())
		if k < 0 {
			return nil, fmt.Errorf("%s: axis %d is out of range", c.label(), a)
		}
		drop[k] = true
	}
	o := &value{ranked: true, ints: x.ints, reals: x.reals}
	for i, a := range x.axes {
		if !given && a.Size() < 0 {
			return nil, errUnranked
		}
		if drop[i] || (!given && a.Size() == 1) {
			c.freezeAxis(a, "drops it")
			continue
		}
		o.axes = append(o.axes, a)
		o.origin = append(o.origin, x.originOf(i))
	}
	c.inherit(o)
	return []*value{o}, nil
}

func unsqueeze(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	axes, _, ok := c.axesOf(1)
	if !ok {
		return nil, errUnranked
	}
	rank := x.rank() + len(axes)
	fresh := map[int]bool{}
	for _, a := range axes {
		k := normAxis(a, rank)
		if k < 0 || fresh[k] {
			return nil, fmt.Errorf("%s: axis %d is out of range", c.label(), a)
		}
		fresh[k] = true
	}
	o := &value{ranked: true, ints: x.ints, reals: x.reals}
	rest := x.axes
	for i := 0; i < rank; i++ {
		if fresh[i] {
			o.axes = append(o.axes, c.an.sys.frozen(1, "made by "+c.label()))
			o.origin = append(o.origin, -1)
			continue
		}
		o.axes = append(o.axes, rest[0])
		o.origin = append(o.origin, x.originOf(x.rank()-len(rest)))
		rest = rest[1:]
	}
	c.inherit(o)
	return []*value{o}, nil
}

func concat(c *call) ([]*value, error) {
	rank := -1
	for _, v := range c.in {
		if v == nil || !v.ranked || (rank >= 0 && v.rank() != rank) {
			return nil, errUnranked
		}
		rank = v.rank()
	}
	axis := normAxis(c.attrInt("axis", 1), rank)
	if axis < 0 {
		return nil, fmt.Errorf("%s: axis is out of range", c.label())
	}
	o := &value{ranked: true, axes: slices.Clone(c.in[0].axes)}
	c.inherit(o)
	if len(o.roots) == 1 && !slices.ContainsFunc(c.in, func(v *value) bool { return !slices.Equal(v.origin, c.in[0].origin) }) {
		o.origin = c.in[0].origin // parts of one weight, put together again
	}
	var parts []*Axis
	var live, weights []place
	for i, v := range c.in {
		if v.live() {
			live = append(live, place{i, -1})
		} else {
			weights = append(weights, place{i, -1})
		}
		parts = append(parts, v.axes[axis])
		for k, a := range v.axes {
			if k == axis {
				continue
			}
			if n, m := a.Size(), o.axes[k].Size(); n >= 0 && m >= 0 && n != m {
				return nil, fmt.Errorf("%s: axis %d is %d in %q and %d elsewhere", c.label(), k, n, v.name, m)
			}
			c.join(o.axes[k], a)
		}
	}
	o.axes[axis] = c.an.sys.sum(parts...)
	if len(live) > 0 && len(weights) > 0 {
		for k, a := range o.axes {
			if k != axis {
				at := make([]place, len(weights))
				for i, p := range weights {
					at[i] = place{p.in, k}
				}
				c.letter(a, live, at, true, 0, 0)
			}
		}
	}
	if rank == 1 && o.konst {
		for _, v := range c.in {
			if o.reals = append(o.reals, v.reals...); v.reals == nil || len(o.reals) > realLimit {
				o.reals = nil
				break
			}
		}
		o.ints, o.follows = c.putTogether()
	}
	return []*value{o}, nil
}

// putTogether folds a concatenation of integers. In a shape that is in part
// computed from sizes the numbers are sizes too: each is tied to an axis of its
// own, which what the shape is used for may join to a space, and is then written
// anew where it is put in.
func (c *call) putTogether() (out []elem, written []*Axis) {
	computed := false
	for _, v := range c.in {
		if v.ints == nil {
			return nil, nil
		}
		computed = computed || slices.ContainsFunc(v.ints, func(e elem) bool { return e.tied || !e.known })
	}
	for i, v := range c.in {
		ints := v.ints
		if computed && !slices.ContainsFunc(ints, func(e elem) bool { return e.tied || !e.known }) {
			ints = slices.Clone(ints)
			ref := ShapeRef{Node: c.node, Input: i}
			for k, e := range ints {
				if e.v < 2 || e.v > maxSize {
					ref.Elems = append(ref.Elems, ShapeElem{Value: e.v})
					continue
				}
				a := c.an.sys.atom(int(e.v))
				written = append(written, a)
				ints[k] = elem{known: true, v: e.v, size: a, tied: true}
				ref.Elems = append(ref.Elems, ShapeElem{Sizes: []*Axis{a}})
			}
			c.note(ref)
		}
		out = append(out, ints...)
	}
	if len(out) > foldLimit {
		return nil, nil
	}
	return out, written
}

// pad adds constant channels in front and behind (option-A shortcuts): these
// are axes of their own, whose sizes go back into the pads after an edit.
func pad(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	pads := onnxio.AttrInts(c.node, "pads")
	ref := ShapeRef{Node: c.node, Attr: "pads", Input: -1}
	if c.input(1) != nil {
		known, ok := c.input(1).knownInts()
		if !ok {
			return nil, errUnranked
		}
		pads, ref.Attr, ref.Input = known, "", 1
		c.claim(1)
	}
	axes := make([]int, 0, x.rank())
	if v := c.input(3); v != nil {
		known, ok := v.knownInts()
		if !ok {
			return nil, errUnranked
		}
		for _, a := range known {
			k := normAxis(a, x.rank())
			if k < 0 {
				return nil, fmt.Errorf("%s: axis %d is out of range", c.label(), a)
			}
			axes = append(axes, k)
		}
	} else {
		for k := range x.axes {
			axes = append(axes, k)
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, fmt.Errorf("%s: %d pads for %d axes", c.label(), len(pads), len(axes))
	}
	constant := onnxio.AttrString(c.node, "mode", "constant") == "constant"
	o := &value{ranked: true, axes: slices.Clone(x.axes)}
	c.inherit(o)
	ref.Elems = constElems(pads)
	for i, k := range axes {
		before, after := pads[i], pads[i+len(axes)]
		a := x.axes[k]
		n := a.Size()
		if before == 0 && after == 0 {
			continue
		}
		if before < 0 || after < 0 || !constant || n < 0 || a.allFrozen() {
			size := -1
			if n >= 0 {
				size = max(-1, n+int(before)+int(after))
			}
			c.freezeAxis(a, "pads it")
			o.axes[k] = c.cut(a, size)
			continue
		}
		var parts []*Axis
		if before > 0 {
			p := c.an.sys.atom(int(before))
			ref.Elems[i] = ShapeElem{Sizes: []*Axis{p}}
			parts = append(parts, p)
		}
		parts = append(parts, a)
		if after > 0 {
			p := c.an.sys.atom(int(after))
			ref.Elems[i+len(axes)] = ShapeElem{Sizes: []*Axis{p}}
			parts = append(parts, p)
		}
		o.axes[k] = c.an.sys.sum(parts...)
	}
	c.note(ref)
	return []*value{o}, nil
}

// slice takes ranges with constant bounds. A range of step one cuts the axis;
// other steps are free on axes that cannot change anyway.
func slice(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	starts, ends := onnxio.AttrInts(c.node, "starts"), onnxio.AttrInts(c.node, "ends")
	axes := onnxio.AttrInts(c.node, "axes")
	var steps []int64
	inputs := c.input(1) != nil
	if inputs {
		for i, dst := range []*[]int64{&starts, &ends, &axes, &steps} {
			v := c.input(i + 1)
			if v == nil {
				continue
			}
			known, ok := v.knownInts()
			if !ok {
				return c.sliceUnknown(x)
			}
			*dst = known
			c.claim(i + 1)
		}
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	if len(starts) != len(ends) || len(axes) != len(starts) || (steps != nil && len(steps) != len(starts)) {
		return nil, fmt.Errorf("%s: starts, ends, axes and steps differ in length", c.label())
	}
	o := &value{ranked: true, axes: slices.Clone(x.axes), origin: x.origin}
	c.inherit(o)
	from, to := constElems(starts), constElems(ends)
	for i, ax := range axes {
		k := normAxis(ax, x.rank())
		if k < 0 {
			return nil, fmt.Errorf("%s: axis %d is out of range", c.label(), ax)
		}
		step := int64(1)
		if steps != nil {
			step = steps[i]
		}
		if step == 0 {
			return nil, fmt.Errorf("%s: step is 0", c.label())
		}
		a := o.axes[k]
		n := a.Size()
		if n < 0 {
			if starts[i] == 0 && ends[i] >= math.MaxInt32 && step == 1 {
				continue
			}
			c.freezeAxis(a, "slices it")
			o.axes[k] = c.cut(a, -1)
			continue
		}
		lo, hi := sliceBounds(starts[i], ends[i], step, int64(n))
		count := sliceCount(lo, hi, step)
		switch {
		case lo == 0 && step == 1 && hi == int64(n):
			// Keep an open end open; a bound that names the size must follow it.
			if ends[i] == int64(n) {
				to[i] = ShapeElem{Sizes: []*Axis{a}}
			}
		case step != 1 || count == 0 || a.allFrozen():
			c.freezeAxis(a, "slices it")
			o.axes[k] = c.cut(a, int(count))
		default:
			var left, mid *Axis
			var err error
			mid = a
			if lo > 0 {
				left, mid, err = c.an.sys.cutAt(mid, int(lo))
			}
			if err == nil && hi < int64(n) {
				mid, _, err = c.an.sys.cutAt(mid, int(hi-lo))
			}
			if err != nil {
				c.freezeAxis(a, "slices it where it has no boundary")
				o.axes[k] = c.cut(a, int(count))
				continue
			}
			from[i] = ShapeElem{}
			to[i] = ShapeElem{Sizes: []*Axis{mid}}
			if left != nil {
				from[i].Sizes = []*Axis{left}
				to[i].Sizes = []*Axis{left, mid}
			}
			o.axes[k] = mid
		}
	}
	rs := ShapeRef{Node: c.node, Input: -1, Attr: "starts", Elems: from}
	re := ShapeRef{Node: c.node, Input: -1, Attr: "ends", Elems: to}
	if inputs {
		rs.Input, rs.Attr, re.Input, re.Attr = 1, "", 2, ""
	}
	c.note(rs, re)
	o.ints = foldSlice(x, axes, starts, ends, steps)
	return []*value{o}, nil
}

// sliceUnknown: the bounds are computed at run time.
func (c *call) sliceUnknown(x *value) ([]*value, error) {
	o := &value{ranked: true}
	c.inherit(o)
	touched := map[int]bool{}
	known := false
	if v := c.input(3); v != nil {
		if axes, ok := v.knownInts(); ok {
			known = true
			for _, a := range axes {
				touched[normAxis(a, x.rank())] = true
			}
		}
	}
	for k, a := range x.axes {
		if known && !touched[k] {
			o.axes = append(o.axes, a)
			continue
		}
		c.freezeAxis(a, "slices it at bounds known only at run time")
		o.axes = append(o.axes, c.cut(a, -1))
	}
	return []*value{o}, nil
}

func sliceBounds(start, end, step, n int64) (lo, hi int64) {
	clampTo := func(v, low, high int64) int64 {
		if v < 0 {
			if v < -n {
				return low
			}
			v += n
		}
		return min(max(v, low), high)
	}
	if step > 0 {
		return clampTo(start, 0, n), clampTo(end, 0, n)
	}
	lo = clampTo(start, 0, n-1)
	if end < -n {
		return lo, -1
	}
	return lo, clampTo(end, -1, n-1)
}

func sliceCount(lo, hi, step int64) int64 {
	switch {
	case step > 0 && lo < hi:
		return (hi-lo-1)/step + 1
	case step < 0 && lo > hi:
		return (hi-lo+1)/step + 1
	}
	return 0
}

func split(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	axis := normAxis(c.attrInt("axis", 0), x.rank())
	if axis < 0 {
		return nil, fmt.Errorf("%s: axis is out of range", c.label())
	}
	a := x.axes[axis]
	parts := len(c.node.GetOutput())
	if parts == 0 {
		return nil, errUnranked
	}
	sizes := onnxio.AttrInts(c.node, "split")
	ref := ShapeRef{Node: c.node, Input: -1, Attr: "split"}
	if c.opset >= 13 {
		ref.Input, ref.Attr = 1, ""
	}
	if v := c.input(1); v != nil {
		known, ok := v.knownInts()
		if !ok {
			sizes = nil
		} else {
			sizes = known
			c.claim(1)
		}
	} else if n := a.Size(); sizes == nil && n > 0 {
		each := (n + parts - 1) / parts
		for i := 0; i < parts; i++ {
			sizes = append(sizes, int64(min(each, n-i*each)))
		}
	}
	total := int64(0)
	for _, s := range sizes {
		total += s
	}
	ok := len(sizes) == parts && int64(a.Size()) == total
	rest := a
	outs := make([]*value, parts)
	for i := range outs {
		o := &value{ranked: true, axes: slices.Clone(x.axes), origin: x.origin}
		outs[i] = o
		piece := rest
		if ok && i+1 < parts {
			if sizes[i] <= 0 || int(sizes[i]) >= rest.Size() {
				ok = false
			} else {
				var err error
				if piece, rest, err = c.an.sys.cutAt(rest, int(sizes[i])); err != nil {
					ok = false
				}
			}
		}
		o.axes[axis] = piece
		ref.Elems = append(ref.Elems, ShapeElem{Sizes: []*Axis{piece}})
	}
	c.inherit(outs...)
	if !ok {
		c.freezeAxis(a, "splits it where it has no boundary")
		for i, o := range outs {
			n := -1
			if i < len(sizes) {
				n = int(sizes[i])
			}
			o.axes[axis] = c.cut(a, n)
		}
		return outs, nil
	}
	c.note(ref)
	if x.ints != nil && x.rank() == 1 {
		at := int64(0)
		for i, o := range outs {
			o.ints = x.ints[at : at+sizes[i]]
			at += sizes[i]
		}
	}
	return outs, nil
}

// resize scales space by interpolation; axes of scale one pass.
func resize(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	o := &value{ranked: true, axes: slices.Clone(x.axes)}
	c.inherit(o)
	for _, v := range c.in[1:] {
		if v.live() {
			c.freeze(v, "resizes by it")
		}
	}
	scales, sizes := c.input(2), c.input(3)
	if c.node.GetOpType() == "Upsample" || c.opset < 11 {
		scales, sizes = c.input(1), nil
	}
	axes := onnxio.AttrInts(c.node, "axes")
	if axes == nil {
		for k := range x.axes {
			axes = append(axes, int64(k))
		}
	}
	var factor []float64
	if scales != nil {
		factor = scales.reals
	} else if c.node.GetOpType() == "Upsample" {
		for _, f := range onnxio.Attr(c.node, "scales").GetFloats() {
			factor = append(factor, float64(f))
		}
	}
	ref := ShapeRef{Node: c.node, Input: 3}
	for i, ax := range axes {
		k := normAxis(ax, x.rank())
		if k < 0 {
			return nil, fmt.Errorf("%s: axis %d is out of range", c.label(), ax)
		}
		n, passes, to := x.axes[k].Size(), false, -1
		switch {
		case len(factor) == len(axes):
			passes = factor[i] == 1
			if n >= 0 {
				to = int(math.Floor(float64(n) * factor[i]))
			}
		case sizes != nil && len(sizes.ints) == len(axes):
			e := sizes.ints[i]
			passes = (e.size != nil && Same(e.size, x.axes[k])) || (e.known && n >= 0 && int(e.v) == n && k < 2)
			if e.known {
				to = int(e.v)
			}
			c.claim(3)
		}
		if passes && sizes != nil && anyTied(sizes) && !sizes.ints[i].tied && !x.axes[k].allFrozen() {
			c.freezeAxis(x.axes[k], "resizes it to a number beside sizes")
		}
		if passes {
			ref.Elems = append(ref.Elems, ShapeElem{Sizes: []*Axis{x.axes[k]}})
			continue
		}
		c.freezeAxis(x.axes[k], "resizes it")
		o.axes[k] = c.cut(x.axes[k], to)
		o.axes[k].atom.open = x.axes[k].open()
		ref.Elems = append(ref.Elems, ShapeElem{Value: int64(to)})
	}
	if sizes != nil {
		known := !slices.ContainsFunc(ref.Elems, func(e ShapeElem) bool {
			return e.Value < 0 || slices.ContainsFunc(e.Sizes, func(a *Axis) bool { return a.Size() < 0 })
		})
		if _, constant := sizes.knownInts(); known && constant && !anyTied(sizes) {
			c.note(ref)
		} else if len(sizes.follows) == 0 {
			c.freeze(x, "resizes it to a size that cannot follow")
		}
	}
	return []*value{o}, nil
}

func constElems(v []int64) []ShapeElem {
	out := make([]ShapeElem, len(v))
	for i, x := range v {
		out[i] = ShapeElem{Value: x}
	}
	return out
}
