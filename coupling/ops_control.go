package coupling

// either: an If whose branches are part of the graph (onnxio.Either). What both branches put out is
// one tensor to all readers, so that its axes are joined; of a condition that is known only the
// branch counts that is taken.
func either(c *call) ([]*value, error) {
	n := len(c.node.GetOutput())
	if len(c.in) != 1+2*n {
		return nil, errUnranked
	}
	taken, left := c.in[1:1+n], c.in[1+n:]
	cond, known := c.in[0].knownInts()
	if known = known && len(cond) == 1; known && cond[0] == 0 {
		taken, left = left, taken
	}
	outs := make([]*value, n)
	for i := range outs {
		a, b := taken[i], left[i]
		if a == nil || b == nil {
			return nil, errUnranked
		}
		for _, v := range []*value{a, b} {
			if v.konst {
				c.freeze(v, "puts it out at run time")
			}
		}
		outs[i] = &value{axes: a.axes, ranked: a.ranked}
		switch {
		case known:
		case !a.ranked || !b.ranked || a.rank() != b.rank():
			c.freeze(a, "puts out tensors of different form")
			c.freeze(b, "puts out tensors of different form")
			outs[i] = &value{}
		default:
			for k, x := range a.axes {
				c.join(x, b.axes[k])
			}
		}
	}
	return outs, nil
}
