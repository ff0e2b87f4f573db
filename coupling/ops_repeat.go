package coupling

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/onnxio"
)

// expand broadcasts to a shape: axes of size one are repeated, others pass. A
// repeated axis may be joined to a space, since all its positions are alike.
func expand(c *call) ([]*value, error) {
	x, shape := c.input(0), c.input(1)
	if x == nil || shape == nil || !x.ranked || shape.ints == nil {
		return nil, errUnranked
	}
	rank := max(x.rank(), len(shape.ints))
	o := &value{ranked: true, axes: make([]*Axis, rank)}
	c.claim(1)
	c.inherit(o)
	ref := ShapeRef{Node: c.node, Input: 1, Elems: make([]ShapeElem, len(shape.ints))}
	writable := !anyTied(shape)
	var literal []*Axis // axes whose size stands in the shape as a number
	for k := range o.axes {
		var a *Axis
		if i := k - (rank - x.rank()); i >= 0 {
			a = x.axes[i]
		}
		j := k - (rank - len(shape.ints))
		if j < 0 {
			o.axes[k] = a
			continue
		}
		e := shape.ints[j]
		switch {
		case e.known && e.v == 1 && a != nil, a != nil && e.size != nil && Same(a, e.size):
			o.axes[k] = a
			ref.Elems[j].Value = 1
			continue
		case a != nil && a.Size() > 1:
			o.axes[k] = a
			if e.known && e.size == nil {
				literal = append(literal, a)
			} else if e.size != nil {
				c.join(a, e.size)
			}
		case a != nil && a.Size() < 0: // one or many: only running it can tell
			c.freezeAxis(a, "may repeat it")
			o.axes[k] = c.cut(a, -1)
		case e.size != nil:
			o.axes[k] = e.size
		case e.known && e.v >= 0:
			o.axes[k] = c.an.sys.atom(int(e.v))
			literal = append(literal, o.axes[k])
		default:
			o.axes[k] = c.an.sys.frozen(-1, "made by "+c.label())
		}
		ref.Elems[j] = ShapeElem{Sizes: []*Axis{o.axes[k]}}
		writable = writable && o.axes[k].Size() >= 0
	}
	if writable {
		c.note(ref)
		return []*value{o}, nil
	}
	// The shape is computed when the model runs, and follows by itself what was
	// computed from the sizes of axes; numbers do not.
	for _, a := range literal {
		c.freezeAxis(a, "expands to a shape known only at run time")
	}
	return []*value{o}, nil
}

// tile repeats whole axes: the copies are an outer factor.
func tile(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return nil, errUnranked
	}
	v := c.input(1)
	if v == nil || len(v.ints) != x.rank() {
		return nil, errUnranked
	}
	o := &value{ranked: true, axes: slices.Clone(x.axes)}
	c.claim(1)
	c.inherit(o)
	for k, e := range v.ints {
		switch r := e.v; {
		case !e.known && x.axes[k].Size() == 1 && e.size != nil:
			o.axes[k] = e.size
		case !e.known:
			c.freezeAxis(x.axes[k], "repeats it as often as is known only at run time")
			o.axes[k] = c.cut(x.axes[k], -1)
		case r == 1:
		case r < 0 || r > maxSize:
			return nil, fmt.Errorf("%s: repeats an axis %d times", c.label(), r)
		default:
			o.axes[k] = c.an.sys.prod(c.an.sys.frozen(int(r), "a fixed factor"), x.axes[k])
		}
	}
	return []*value{o}, nil
}

// blockAxes: DepthToSpace and SpaceToDepth move blocks of channels to and from
// space.
func blockAxes(c *call) (string, sizeMap, restMap, error) {
	n := c.attrInt("blocksize", 0)
	if n < 1 || n > 1<<15 {
		return "", nil, nil, fmt.Errorf("%s: blocksize is %d", c.label(), n)
	}
	sizes := sizeMap{"P": int(n), "Q": int(n)}
	deep, wide := "n (P Q c) h w", "n c (h P) (w Q)"
	switch {
	case c.node.GetOpType() == "SpaceToDepth":
		return wide + " -> " + deep, sizes, nil, nil
	case onnxio.AttrString(c.node, "mode", "DCR") == "CRD":
		deep = "n (c P Q) h w"
	}
	return deep + " -> " + wide, sizes, nil, nil
}
