package coupling

import (
	"slices"

	"github.com/monge-ml/monge/onnxio"
)

// expand broadcasts to a shape: axes of size one are repeated, others pass. A repeated axis may be
// joined to a space, since all its positions are alike.
func expand(c *call) ([]*value, error) {
	x, shape := c.in[0], c.in[1]
	if shape.ints == nil {
		return nil, errUnranked
	}
	rank := max(x.rank(), len(shape.ints))
	c.claim(1)
	o := c.output(slices.Concat(make([]*Axis, rank-x.rank()), x.axes))
	o.even = x.even
	ref := ShapeRef{Node: c.node, Input: 1}
	writable := !anyTied(shape)
	var literal []*Axis // axes whose size stands in the shape as a number
	for j, e := range shape.ints {
		at := &o.axes[rank-len(shape.ints)+j]
		a := *at
		if a != nil && (e.known && e.v == 1 || e.size != nil && a.is(e.size)) {
			ref.Elems = append(ref.Elems, ShapeElem{value: 1})
			continue
		}
		if *at = c.expanded(a, e); !e.tied && (e.known || e.size != nil) && (a == nil || a.Size() >= 0) {
			literal = append(literal, *at)
		}
		ref.Elems = append(ref.Elems, sizeElem(*at))
		writable = writable && (*at).Size() >= 0 && (e.size == nil || !e.size.open())
	}
	if writable {
		c.note(ref)
		return []*value{o}, nil
	}
	// The shape is computed when the model runs, and follows by itself what was computed from the
	// sizes of axes; numbers do not.
	for _, a := range literal {
		c.freezeAxis(a, "expands to a shape known only at run time")
	}
	return []*value{o}, nil
}

// expanded is an axis, nil where there is none yet, that is expanded to a size.
func (c *call) expanded(a *Axis, to elem) *Axis {
	switch {
	case a != nil && a.Size() < 0: // one or many: only running it can tell
		return c.replace(a, -1, "may repeat it")
	case a != nil && a.Size() > 1:
		if to.size != nil {
			c.join(a, to.size)
		}
		return a
	case to.size != nil:
		return to.size
	case to.known && to.v >= 0:
		return c.an.sys.atom(int(to.v))
	}
	return c.made(-1)
}

// tile repeats whole axes: the copies are an outer factor.
func tile(c *call) ([]*value, error) {
	x, v := c.in[0], c.in[1]
	if len(v.ints) != x.rank() {
		return nil, errUnranked
	}
	c.claim(1)
	o := c.output(x.axes)
	for k, e := range v.ints {
		switch r := e.v; {
		case e.size != nil && (!e.known || e.size.open()):
			o.axes[k] = c.an.sys.prod(e.size, x.axes[k])
		case !e.known:
			o.axes[k] = c.replace(x.axes[k], -1, "repeats it as often as is known only at run time")
		case r == 1:
		case r < 0 || r > maxSize:
			return nil, c.errorf("repeats an axis %d times", r)
		default:
			o.axes[k] = c.an.sys.prod(c.an.sys.frozen(int(r), "a fixed factor"), x.axes[k])
		}
	}
	return []*value{o}, nil
}

// blockAxes: DepthToSpace and SpaceToDepth move blocks of channels to and from space.
func blockAxes(c *call) (string, error) {
	n := c.attrInt("blocksize", 0)
	if n < 1 || n > 1<<15 {
		return "", c.errorf("blocksize is %d", n)
	}
	c.sizes = sizeMap{"P": int(n), "Q": int(n)}
	deep, wide := "n (P Q c) h w", "n c (h P) (w Q)"
	switch {
	case c.node.GetOpType() == "SpaceToDepth":
		return wide + " -> " + deep, nil
	case onnxio.AttrString(c.node, "mode", "DCR") == "CRD":
		deep = "n (c P Q) h w"
	}
	return deep + " -> " + wide, nil
}
