package coupling

import (
	"fmt"
	"slices"
)

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

// reshape regroups axes. Input and output axes are cut into the smallest runs
// of equal size; within a run the products are unified.
func reshape(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	target, ref, err := c.reshapeTarget()
	if err != nil {
		return nil, err
	}
	o := &value{ranked: true, ints: x.ints}
	c.inherit(o)
	o.axes = make([]*Axis, len(target))
	infer := -1
	for j, e := range target {
		switch {
		case e.size != nil && !(e.known && e.v > 0 && !x.hasAxis(e.size)):
			o.axes[j] = e.size
		case !e.known:
			infer = -2
		case e.v == 0 && c.attrInt("allowzero", 0) == 0:
			if j >= x.rank() {
				return nil, fmt.Errorf("%s: dimension %d copies an axis that %q does not have", c.label(), j, x.name)
			}
			o.axes[j] = x.axes[j]
		case e.v == -1:
			if infer == -1 {
				infer = j
			} else {
				infer = -2
			}
		case e.v < 0:
			return nil, fmt.Errorf("%s: shape holds %d", c.label(), e.v)
		default:
			// Also the size of an axis of some other tensor: a number like any
			// other, such as the model's width where (heads size) is meant.
			o.axes[j] = c.an.sys.atom(int(e.v))
		}
	}
	if infer >= 0 {
		o.axes[infer] = c.inferAxis(x, o, infer)
	}
	for j, a := range o.axes {
		if a == nil {
			o.axes[j] = c.an.sys.frozen(-1, "made by "+c.label())
		}
	}
	if !c.regroup(x, o) {
		c.freeze(x, "regroups it where it has no boundary")
		c.freeze(o, "regroups it where it has no boundary")
	}
	c.reshapeRef(ref, target, x, o)
	return []*value{o}, nil
}

// reshapeTarget reads the target shape: an input, or (opset < 5) an attribute.
func (c *call) reshapeTarget() ([]elem, ShapeRef, error) {
	ref := ShapeRef{Node: c.node, Input: 1}
	if v := c.input(1); v != nil {
		if v.ints == nil {
			if v.ranked && v.rank() == 1 && v.axes[0].Size() >= 0 && v.axes[0].Size() <= foldLimit {
				return make([]elem, v.axes[0].Size()), ref, nil
			}
			return nil, ref, errUnranked
		}
		c.claim(1)
		return v.ints, ref, nil
	}
	ref.Input, ref.Attr = -1, "shape"
	var out []elem
	for _, s := range c.attrInts("shape") {
		out = append(out, elem{known: true, v: s})
	}
	return out, ref, nil
}

// inferAxis finds what a -1 stands for: what remains of the input's axes after
// the other output axes are taken away.
func (c *call) inferAxis(x, o *value, at int) *Axis {
	// Axes of one size in one place, from either end, are taken to be the same.
	rest, front, back := flat(x.axes), 0, len(o.axes)
	same := func(a, b *Axis) bool { return b != nil && a.Size() >= 0 && a.Size() == b.Size() }
	for ; front < at && len(rest) > 0 && same(rest[0], o.axes[front]); front++ {
		rest = rest[1:]
	}
	for ; back-1 > at && len(rest) > 0 && same(rest[len(rest)-1], o.axes[back-1]); back-- {
		rest = rest[:len(rest)-1]
	}
	n := 1
	for j, a := range o.axes {
		if j == at || j < front || j >= back {
			continue
		}
		if a == nil {
			return nil
		}
		for _, f := range a.Factors() {
			if k := slices.IndexFunc(rest, func(b *Axis) bool { return b.find() == f.find() }); k >= 0 {
				rest = slices.Delete(rest, k, k+1)
				continue
			}
			if f.Size() < 0 {
				return nil
			}
			n *= f.Size()
		}
	}
	var unknown []*Axis
	m := 1
	for _, a := range rest {
		if a.Size() < 0 {
			unknown = append(unknown, a)
		} else {
			m *= a.Size()
		}
	}
	switch {
	case n == 0 || m%n != 0:
		return nil
	case len(unknown) == 0:
		return c.an.sys.atom(m / n)
	case len(unknown) == 1 && m == n:
		return unknown[0]
	case m%n == 0:
		// Keep the run's order: factors whose sizes make up m/n with the unknown.
		kids := unknown
		if m != n {
			kids = nil
			left := m / n
			for _, a := range rest {
				s := a.Size()
				if s < 0 {
					kids = append(kids, a)
				} else if s > 1 && left%s == 0 {
					kids = append(kids, a)
					left /= s
				} else if left > 1 && s%left == 0 { // its outer factor, such as heads
					kids = append(kids, c.an.sys.atom(left))
					left = 1
				}
			}
			if left != 1 {
				return nil
			}
		}
		return c.an.sys.prod(kids...)
	}
	return nil
}

// regroup unifies the runs of x's and o's axes that cover each other. It
// reports false when the shapes cannot be matched.
func (c *call) regroup(x, o *value) bool {
	prefixes := func(axes []*Axis) []extent {
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
	px, po := prefixes(x.axes), prefixes(o.axes)
	if !px[len(px)-1].equal(po[len(po)-1]) {
		return false
	}
	i, j := 0, 0
	for i < len(x.axes) && j < len(o.axes) {
		ni, nj := 0, 0
	search:
		for a := i + 1; a <= len(x.axes); a++ {
			for b := j + 1; b <= len(o.axes); b++ {
				if px[a].equal(po[b]) {
					ni, nj = a, b
					break search
				}
			}
		}
		if ni == 0 {
			return false
		}
		if !c.regroupRun(x.axes[i:ni], o.axes[j:nj]) {
			return false
		}
		i, j = ni, nj
	}
	return true // what remains has size one
}

func (c *call) regroupRun(in, out []*Axis) bool {
	if len(in) == 1 && len(out) == 1 && in[0].find() == out[0].find() {
		return true
	}
	a, b := c.an.sys.prod(in...), c.an.sys.prod(out...)
	if err := c.an.sys.join(b, a); err != nil {
		// Where nothing may change (a batch and positions, in some order) it does
		// not matter how the two are made up.
		if !a.allFrozen() {
			return false
		}
		c.freezeAxis(b, "regroups it where it has no boundary")
	}
	return true
}

// computes reports whether a target shape that cannot be written down comes out
// right by itself when the model runs: what is no number is tied to the size of
// the axis it stands for, and so are numbers that may change.
func (c *call) computes(target []elem, x, o *value) bool {
	for j, e := range target {
		same := e.size != nil && (o.axes[j].find() == e.size.find() || !x.hasAxis(e.size))
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

// reshapeRef notes how the target shape follows the axes. A shape computed at
// run time is replaced only where an edit changes it; what is not known then
// must be expressible as 0 (copy) or one -1, else nothing here may change. What
// no edit changes is written that way too where it was computed, since sizes
// given for the analysis (InputShapes) are not those of every run.
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

// shapeElems writes a target shape down and counts the elements that are left to
// the run, of which only one can be.
func (c *call) shapeElems(target []elem, x, o *value, open func(*Axis) bool) (elems []ShapeElem, free int) {
	copies := c.attrInt("allowzero", 0) == 0
	for j, e := range target {
		computed := e.size != nil && o.axes[j].allFrozen()
		same := copies && j < x.rank() && x.axes[j].find() == o.axes[j].find()
		switch {
		case e.known && e.v <= 0 && e.size == nil:
			elems = append(elems, ShapeElem{Value: e.v})
			if e.v < 0 {
				free++
			}
		case same && (computed || open(o.axes[j])):
			elems = append(elems, ShapeElem{Value: 0})
		case !open(o.axes[j]):
			elems = append(elems, ShapeElem{Sizes: []*Axis{o.axes[j]}})
		default:
			elems = append(elems, ShapeElem{Value: -1, Open: o.axes[j]})
			free++
		}
	}
	if free > 0 {
		return elems, free
	}
	for j, e := range target {
		if len(elems[j].Sizes) > 0 && e.size != nil && o.axes[j].allFrozen() {
			elems[j] = ShapeElem{Value: -1}
			break
		}
	}
	return elems, free
}
