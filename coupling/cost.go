package coupling

import "slices"

// The cost of a linear operator: which axes the number of its multiply-accumulates is a product of.

func convCost(c *call, outs []*value) {
	var positions []*Axis
	if len(outs) > 0 && outs[0].rank() > 2 {
		positions = outs[0].axes[2:]
	}
	c.weighted(c.in[1], positions)
}

func convTransposeCost(c *call, _ []*value) { c.weighted(c.in[1], c.in[0].axes[2:]) }

func gemmCost(c *call, _ []*value) {
	if x := c.in[0]; c.attrInt("transA", 0) == 0 && x.rank() == 2 {
		c.weightedPerSample(c.in[1], x.axes[:1])
		return
	}
	c.weighted(c.in[1], nil)
}

func recurrentCost(c *call, _ []*value) {
	steps := c.in[0].axes[:1]
	if c.attrInt("layout", 0) != 0 {
		steps = c.in[0].axes[1:2]
	}
	for _, w := range c.in[1:min(3, len(c.in))] {
		if w != nil {
			c.weighted(w, steps)
		}
	}
}

func matMulCost(c *call, outs []*value) {
	x, w := c.in[0], c.in[1]
	switch {
	case w.konst && w.rank() >= 2:
		c.weightedPerSample(w, x.axes[:max(x.rank()-1, 0)])
	case x.konst && x.rank() >= 2 && w.rank() > 0:
		c.weighted(x, w.axes[w.rank()-1:])
		if w.rank() == 2 { // columns are samples
			c.an.linear[len(c.an.linear)-1].Open = false
		}
	case len(outs) == 1 && x.rank() > 0 && x.live() && w.live():
		c.contracted(outs[0].axes, x.axes[x.rank()-1])
	}
}

// attentionCost: Q·Kᵀ, then A·V.
func attentionCost(c *call, outs []*value) {
	if k := c.in[1]; len(c.in) > 2 && len(outs) == 1 && k.rank() > 2 {
		c.contracted(c.in[0].axes, k.axes[k.rank()-2])
		c.contracted(outs[0].axes, k.axes[k.rank()-2])
	}
}

func packedAttentionCost(c *call, _ []*value) { c.weightedPerSample(c.in[1], c.in[0].axes[:2]) }

// contracted notes a product of two activations with the given output and inner axis.
func (c *call) contracted(out []*Axis, inner *Axis) {
	axes, open := perSample(out)
	c.an.linear = append(c.an.linear, LinearOp{Node: c.node, Positions: 1, Axes: append(axes, inner), Open: open})
}

// weighted notes an operator that uses every element of a weight once for each position of the
// given axes.
func (c *call) weighted(w *value, positions []*Axis) {
	op := LinearOp{Node: c.node, Weight: rootOf(w), Axes: w.axes, Positions: 1}
	for _, a := range positions {
		n := a.Size()
		if n < 0 {
			n, op.Open = 1, true
		}
		op.Positions = max(0, total(kindProd, []int{op.Positions, n}))
	}
	c.an.linear = append(c.an.linear, op)
}

// weightedPerSample is weighted for positions among which is the batch.
func (c *call) weightedPerSample(w *value, axes []*Axis) {
	positions, open := perSample(axes)
	c.weighted(w, positions)
	op := &c.an.linear[len(c.an.linear)-1]
	op.Open = op.Open || open
}

// perSample are the factors of leading axes that count for one sample: all but the batch, which is
// what is not known, or else the first axis. Behind a Reshape, batch and positions or heads may
// share an axis. open says that more than the batch is not known.
func perSample(axes []*Axis) (out []*Axis, open bool) {
	for _, a := range axes {
		out = append(out, a.Factors()...)
	}
	n := len(out)
	out = slices.DeleteFunc(out, func(a *Axis) bool { return a.Size() < 0 })
	open = n-len(out) > 1
	if n > 0 && n == len(out) {
		out = nil
		for _, a := range axes[1:] {
			out = append(out, a.Factors()...)
		}
	}
	return out, open
}

// einsumCost counts a product of two operands: the sizes of all their axes, of shared ones once,
// but for the batch, which comes first in the output.
func einsumCost(c *call, outs []*value) {
	if len(c.in) != 2 || len(outs) != 1 || outs[0].rank() == 0 {
		return
	}
	seen := outs[0].axes[:1:1]
	var weight *value
	for _, v := range c.in {
		if v.konst {
			weight = v
			seen = append(seen, v.axes...)
		}
	}
	var rest []*Axis
	for _, v := range c.in {
		for _, a := range v.axes {
			if !slices.ContainsFunc(seen, func(b *Axis) bool { return a.is(b) }) {
				seen, rest = append(seen, a), append(rest, a)
			}
		}
	}
	if weight != nil {
		c.weighted(weight, rest)
		return
	}
	c.an.linear = append(c.an.linear, LinearOp{Node: c.node, Positions: 1, Axes: rest})
}

func rootOf(v *value) string {
	if v.konst && len(v.roots) > 0 {
		return v.roots[0]
	}
	return ""
}
