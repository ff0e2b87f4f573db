package coupling

import "slices"

// extent is the size of a run of axes: a number times unknown sizes.
type extent struct {
	n    int
	syms []int // ids of unknown axes, sorted
}

func (e extent) times(a *Axis) extent {
	if n := a.Size(); n >= 0 {
		e.n *= n
		return e
	}
	out := extent{n: e.n, syms: append(slices.Clone(e.syms), a.find().id)}
	slices.Sort(out.syms)
	return out
}

func (e extent) equal(f extent) bool { return e.n == f.n && slices.Equal(e.syms, f.syms) }

// reshape regroups axes. Input and output axes are cut into the smallest runs of equal size; within
// a run the products are unified.
func reshape(c *call) ([]*value, error) {
	x := c.in[0]
	target, ref, err := c.reshapeTarget()
	if err != nil {
		return nil, err
	}
	o := c.output(make([]*Axis, len(target)))
	o.ints = x.ints
	var infer []int
	for j, e := range target {
		if o.axes[j], err = c.target(x, j, e); err != nil {
			return nil, err
		}
		if o.axes[j] == nil {
			infer = append(infer, j)
		}
	}
	if len(infer) == 1 && target[infer[0]].known {
		o.axes[infer[0]] = c.inferAxis(x, o, infer[0])
	}
	for j, a := range o.axes {
		if a == nil {
			o.axes[j] = c.made(-1)
		}
	}
	if !c.regroup(x, o) {
		c.freeze(x, "regroups it where it has no boundary")
		c.freeze(o, "regroups it where it has no boundary")
	}
	c.reshapeRef(ref, target, x, o)
	return []*value{o}, nil
}

// target is the axis that element j of a target shape asks for; nil where it does not say.
func (c *call) target(x *value, j int, e elem) (*Axis, error) {
	switch {
	case e.size != nil && !(e.known && e.v > 0 && !x.hasAxis(e.size)):
		return e.size, nil
	case !e.known || e.v == -1:
		return nil, nil
	case e.v == 0 && c.attrInt("allowzero", 0) == 0:
		if j >= x.rank() {
			return nil, c.errorf("dimension %d copies an axis that %q does not have", j, x.name)
		}
		return x.axes[j], nil
	case e.v < 0:
		return nil, c.errorf("shape holds %d", e.v)
	}
	// Also the size of an axis of some other tensor: a number like any other, such as the model's
	// width where (heads size) is meant.
	return c.an.sys.atom(int(e.v)), nil
}

// reshapeTarget reads the target shape: an input, or (opset < 5) an attribute.
func (c *call) reshapeTarget() ([]elem, ShapeRef, error) {
	v := c.input(1)
	if v == nil {
		list, ref, _ := c.ints(1, "shape")
		out := make([]elem, len(list))
		for i, s := range list {
			out[i] = elem{known: true, v: s}
		}
		return out, ref, nil
	}
	ref := ShapeRef{Node: c.node, Input: 1}
	if v.ints != nil {
		c.claim(1)
		return v.ints, ref, nil
	}
	if v.ranked && v.rank() == 1 && v.axes[0].Size() >= 0 && v.axes[0].Size() <= foldLimit {
		return make([]elem, v.axes[0].Size()), ref, nil
	}
	return nil, ref, errUnranked
}

// inferAxis finds what a -1 stands for: what remains of the input's axes after the other output
// axes are taken away. It is nil where that is not known.
func (c *call) inferAxis(x, o *value, at int) *Axis {
	// Axes of one size in one place, from either end, are taken to be the same.
	rest, front, back := flat(x.axes), o.axes[:at], o.axes[at+1:]
	for len(front) > 0 {
		k := cover(len(rest), front[0], func(i int) *Axis { return rest[i] })
		if k == 0 {
			break
		}
		rest, front = rest[k:], front[1:]
	}
	for len(back) > 0 {
		k := cover(len(rest), back[len(back)-1], func(i int) *Axis { return rest[len(rest)-1-i] })
		if k == 0 {
			break
		}
		rest, back = rest[:len(rest)-k], back[:len(back)-1]
	}
	n := 1
	for _, a := range slices.Concat(front, back) {
		if a == nil {
			return nil
		}
		for _, f := range a.Factors() {
			if k := slices.IndexFunc(rest, func(b *Axis) bool { return b.is(f) }); k >= 0 {
				rest = slices.Delete(rest, k, k+1)
				continue
			}
			if f.Size() < 0 {
				return nil
			}
			n *= f.Size()
		}
	}
	return c.an.sys.quotient(rest, n)
}

// cover is how many of the first of n axes have the size of one together, such as height and width
// that stand for positions; 0 where none do.
func cover(n int, whole *Axis, axis func(i int) *Axis) int {
	if whole == nil || whole.Size() < 0 {
		return 0
	}
	size := 1
	for i := range n {
		k := axis(i).Size()
		if k < 1 || size > whole.Size()/k {
			return 0
		}
		if size *= k; size == whole.Size() {
			return i + 1
		}
	}
	return 0
}

// quotient is a product of axes without n of its positions, which some of its factors of known size
// make up; nil where none do.
func (s *system) quotient(factors []*Axis, n int) *Axis {
	left, open := 1, false
	for _, a := range factors {
		if a.Size() < 0 {
			open = true
		} else {
			left *= a.Size()
		}
	}
	if n == 0 || left%n != 0 {
		return nil
	}
	if left /= n; !open {
		return s.atom(left)
	}
	// Keep the order: factors whose sizes make up what is left, with the unknown.
	var keep []*Axis
	for _, a := range factors {
		switch k := a.Size(); {
		case k < 0:
			keep = append(keep, a)
		case k > 1 && left%k == 0:
			keep = append(keep, a)
			left /= k
		case left > 1 && k%left == 0: // its outer factor, such as heads
			keep = append(keep, s.atom(left))
			left = 1
		}
	}
	if left != 1 {
		return nil
	}
	return s.prod(keep...)
}

// regroup unifies the runs of x's and o's axes that cover each other. It reports false when the
// shapes cannot be matched.
func (c *call) regroup(x, o *value) bool {
	px, po := extents(x.axes), extents(o.axes)
	if !px[len(px)-1].equal(po[len(po)-1]) {
		return false
	}
	i, j := 0, 0
	for i < len(x.axes) && j < len(o.axes) {
		ni, nj := common(px, po, i, j)
		if ni == 0 || !c.regroupRun(x.axes[i:ni], o.axes[j:nj]) {
			return false
		}
		i, j = ni, nj
	}
	return true // what remains has size one
}

// extents are those of the first 0, 1, 2, … axes.
func extents(axes []*Axis) []extent {
	out := []extent{{n: 1}}
	for _, a := range axes {
		e := out[len(out)-1]
		for _, f := range a.Factors() {
			e = e.times(f)
		}
		out = append(out, e)
	}
	return out
}

// common finds the first boundary behind i and j that two lists share; 0 if there is none.
func common(a, b []extent, i, j int) (ni, nj int) {
	for ni = i + 1; ni < len(a); ni++ {
		for nj = j + 1; nj < len(b); nj++ {
			if a[ni].equal(b[nj]) {
				return ni, nj
			}
		}
	}
	return 0, 0
}

func (c *call) regroupRun(in, out []*Axis) bool {
	if len(in) == 1 && len(out) == 1 && in[0].is(out[0]) {
		return true
	}
	a, b := c.an.sys.prod(in...), c.an.sys.prod(out...)
	if err := c.an.sys.join(b, a); err != nil {
		// Where nothing may change (a batch and positions, in some order) it does not matter how
		// the two are made up.
		if !a.allFrozen() {
			return false
		}
		c.freezeAxis(b, "regroups it where it has no boundary")
	}
	return true
}

// computes reports whether a target shape that cannot be written down comes out right by itself
// when the model runs: what is no number is tied to the size of the axis it stands for, and so are
// numbers that may change.
func (c *call) computes(target []elem, x, o *value) bool {
	for j, e := range target {
		same := e.size != nil && (o.axes[j].is(e.size) || !x.hasAxis(e.size))
		switch {
		case e.tied && same:
		case e.known && e.size == nil && (e.v <= 0 || o.axes[j].allFrozen()):
		default:
			return false
		}
	}
	for j, e := range target {
		if e.tied {
			c.join(o.axes[j], e.size)
		}
	}
	return true
}

// reshapeRef notes how the target shape follows the axes. A shape computed at run time is replaced
// only where an edit changes it; what is not known then must be expressible as 0 (copy) or one -1,
// else nothing here may change. What no edit changes is written that way too where it was computed,
// since sizes given for the analysis (InputShapes) are not those of every run.
func (c *call) reshapeRef(ref ShapeRef, target []elem, x, o *value) {
	var free int
	if ref.Elems, free = c.shapeElems(target, x, o, (*Axis).open); free <= 1 {
		c.note(ref)
		return
	}
	if c.computes(target, x, o) {
		return
	}
	// Sizes given for the analysis are written where nothing else helps.
	if ref.Elems, free = c.shapeElems(target, x, o, func(a *Axis) bool { return a.Size() < 0 }); free <= 1 {
		c.note(ref)
		return
	}
	c.freeze(x, "reshapes to a shape known only at run time")
	c.freeze(o, "reshapes to a shape known only at run time")
}

// shapeElems writes a target shape down and counts the elements that are left to the run, of which
// only one can be.
func (c *call) shapeElems(target []elem, x, o *value, open func(*Axis) bool) (elems []ShapeElem, free int) {
	copies := c.attrInt("allowzero", 0) == 0
	for j, e := range target {
		computed := e.size != nil && o.axes[j].allFrozen()
		same := copies && j < x.rank() && x.axes[j].is(o.axes[j])
		switch {
		case e.known && e.v <= 0 && e.size == nil:
			elems = append(elems, ShapeElem{value: e.v})
			if e.v < 0 {
				free++
			}
		case same && (computed || open(o.axes[j])):
			elems = append(elems, ShapeElem{value: 0})
		case !open(o.axes[j]):
			elems = append(elems, sizeElem(o.axes[j]))
		default:
			elems = append(elems, ShapeElem{value: -1, open: o.axes[j]})
			free++
		}
	}
	if free > 0 {
		return elems, free
	}
	for j, e := range target {
		if len(elems[j].sizes) > 0 && e.size != nil && o.axes[j].allFrozen() {
			elems[j] = ShapeElem{value: -1}
			break
		}
	}
	return elems, free
}
