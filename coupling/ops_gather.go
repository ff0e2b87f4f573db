package coupling

import (
	"slices"

	"github.com/monge-ml/monge/onnxio"
)

// gather takes rows of constants (embedding: the table produces the channels), elements of shapes,
// or constant positions of activations.
func gather(c *call) ([]*value, error) {
	x, idx := c.in[0], c.in[1]
	axis, err := c.position(c.attrInt("axis", 0), x.rank())
	if err != nil {
		return nil, err
	}
	o := c.output(slices.Concat(x.axes[:axis], idx.axes, x.axes[axis+1:]))
	if o.konst {
		o.roots = x.roots // indices say where, not what
	} else if shape := c.inOrder(); shape != nil {
		c.an.copied = append(c.an.copied, Copied{c.node, shape})
	}
	if !c.measured(idx) {
		c.looksUp(x, axis, idx)
	}
	c.freeze(idx, "indexes with it")
	if x.konst && idx.live() {
		for k, a := range x.axes {
			if k != axis {
				c.an.records = append(c.an.records, record{c.node, x, k, a, Produced})
			}
		}
	}
	if known, ok := idx.knownInts(); ok && x.ints != nil && x.rank() == 1 {
		o.ints = []elem{}
		for _, i := range known {
			k := normAxis(i, len(x.ints))
			if k < 0 {
				return nil, c.errorf("index %d is out of range", i)
			}
			o.ints = append(o.ints, x.ints[k])
		}
	}
	return []*value{o}, nil
}

// measured reports whether of what is picked nothing but the shape is read, as BART's x[:, :, -1] is
// for, and the first or last position is picked, which there is whatever the width.
func (c *call) measured(idx *value) bool {
	at, known := idx.knownInts()
	if !known || len(at) != 1 || at[0] != 0 && at[0] != -1 {
		return false
	}
	out := c.node.GetOutput()[0]
	readers := c.an.graph.Consumers(out)
	return len(readers) > 0 && !c.an.graph.IsOutput(out) && !slices.ContainsFunc(readers, func(r onnxio.Consumer) bool {
		return r.Node.GetOpType() != "Shape" && r.Node.GetOpType() != "Size"
	})
}

// looksUp freezes axis k, of which indices pick positions. Rows of a table, such as those of words or
// of places in a text, mean the same in every model of the architecture, where the indices do.
func (c *call) looksUp(x *value, k int, idx *value) {
	c.freezeAxis(x.axes[k], "picks positions of it")
	if x.konst && !idx.learnt && (idx.live() || k < x.rank()-1) {
		x.axes[k].anchor()
	}
}

// gatherElements takes an element for each index, which says where along one axis. Along the others
// elements stay where they are, if there are as many indices: those are then of the same channels,
// or the same for all where they were expanded.
func gatherElements(c *call) ([]*value, error) {
	x, idx := c.in[0], c.in[1]
	if idx.rank() != x.rank() {
		return nil, c.errorf("%q has %d axes, %q %d", idx.name, idx.rank(), x.name, x.rank())
	}
	axis, err := c.position(c.attrInt("axis", 0), x.rank())
	if err != nil {
		return nil, err
	}
	o := c.output(idx.axes)
	if o.konst {
		o.roots = x.roots
	}
	for k, a := range x.axes {
		b := idx.axes[k]
		switch {
		case k == axis:
			c.looksUp(x, k, idx)
			c.freezeAxis(b, "makes positions of it")
		case a.is(b):
		case a.Size() < 0 || a.Size() != b.Size():
			o.axes[k] = c.replace(b, b.Size(), "picks as many positions")
			c.freezeAxis(a, "picks some of its positions")
		default:
			c.join(a, b)
		}
		if k != axis {
			c.picked(k, a)
		}
	}
	return []*value{o}, nil
}

// picked gives roles to an axis that data and indices have in common.
func (c *call) picked(k int, a *Axis) {
	if !c.anyLive() {
		return
	}
	c.flag(a, nonlinear)
	for i, v := range c.in {
		role := Carried
		if i == 0 && c.in[1].live() { // a table, as of an embedding
			role = Produced
		}
		if v.konst {
			c.an.records = append(c.an.records, record{c.node, v, k, a, role})
		}
	}
}

// gatherND takes what stands at places, each given by its positions along the first axes behind
// those of the batch; the axes behind pass.
func gatherND(c *call) ([]*value, error) {
	x, idx := c.in[0], c.in[1]
	batch, last := int(c.attrInt("batch_dims", 0)), idx.rank()-1
	if last < 0 || batch < 0 || batch > min(last, x.rank()) {
		return nil, c.errorf("batch_dims is %d for %d and %d axes", batch, x.rank(), idx.rank())
	}
	n := idx.axes[last].Size()
	if n < 0 {
		return nil, errUnranked
	}
	if n < 1 || batch+n > x.rank() {
		return nil, c.errorf("has indices of %d numbers for %d axes", n, x.rank()-batch)
	}
	c.freeze(idx, "indexes with it")
	for k := range batch + n {
		c.looksUp(x, k, idx)
	}
	o := c.output(slices.Concat(idx.axes[:last], x.axes[batch+n:]))
	if o.konst {
		o.roots = x.roots
	}
	if x.konst && idx.live() {
		for k := batch + n; k < x.rank(); k++ {
			c.an.records = append(c.an.records, record{c.node, x, k, x.axes[k], Produced})
		}
	}
	return []*value{o}, nil
}

// scatterND puts rows in the place of others, each given by its positions along the first axes; the
// axes behind are those of both.
func scatterND(c *call) ([]*value, error) {
	x, idx, rows := c.in[0], c.in[1], c.in[2]
	last := idx.rank() - 1
	if last < 0 || idx.axes[last].Size() < 0 {
		return nil, errUnranked
	}
	n := idx.axes[last].Size()
	if n < 1 || n > x.rank() || rows.rank() != last+x.rank()-n {
		return nil, c.errorf("has indices of %d numbers and rows of %d axes for %d axes", n, rows.rank(), x.rank())
	}
	c.freeze(idx, "indexes with it")
	for _, a := range slices.Concat(x.axes[:n], rows.axes[:last]) {
		c.freezeAxis(a, "replaces positions of it")
	}
	o := c.output(x.axes)
	for k := n; k < x.rank(); k++ {
		t, pl, err := c.meet([]place{{0, k}, {2, last + k - n}})
		if err != nil {
			return nil, err
		}
		o.axes[k] = t
		if len(pl.live) > 0 {
			c.letter(t, pl, nonlinear|perChannel)
		}
	}
	return []*value{o}, nil
}

// scatterElements puts elements in the place of others, or adds them; where each goes along one axis
// is told by an index. Along the others elements stay where they are, if there are as many indices:
// data, indices and elements are then of the same channels.
func scatterElements(c *call) ([]*value, error) {
	x, idx, by := c.in[0], c.in[1], c.in[2]
	if idx.rank() != x.rank() || by.rank() != x.rank() {
		return nil, c.errorf("%q has %d axes, %q %d and %q %d", idx.name, idx.rank(), by.name, by.rank(), x.name, x.rank())
	}
	axis, err := c.position(c.attrInt("axis", 0), x.rank())
	if err != nil {
		return nil, err
	}
	o := c.output(x.axes)
	for k, a := range x.axes {
		all := []*Axis{a, idx.axes[k], by.axes[k]}
		partly := func(b *Axis) bool { return !a.is(b) && (a.Size() < 0 || a.Size() != b.Size()) }
		if k == axis || slices.ContainsFunc(all, partly) {
			for _, b := range all {
				c.freezeAxis(b, "replaces positions of it")
			}
			continue
		}
		t, pl, err := c.meet([]place{{0, k}, {1, k}, {2, k}})
		if err != nil {
			return nil, err
		}
		o.axes[k] = t
		if len(pl.live) > 0 {
			c.letter(t, pl, nonlinear|perChannel)
		}
	}
	return []*value{o}, nil
}
