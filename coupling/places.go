package coupling

import "slices"

// Exporters write a view of memory (PyTorch's as_strided) as a Gather from the list of all
// elements, at places that they compute: the position along each axis times the stride of the axis,
// summed up. Where the elements come in the order in which they were, that is a Reshape.

// counts are the strides of a Range that counts the positions of an axis that no edit changes; nil
// of others.
func (c *call) counts() []int {
	from, ok1 := c.input(0).knownInts()
	step, ok2 := c.input(2).knownInts()
	to := c.input(1)
	if !ok1 || !ok2 || len(from) != 1 || len(step) != 1 || from[0] != 0 || step[0] != 1 || to == nil || len(to.ints) != 1 {
		return nil
	}
	if a := to.ints[0].size; a == nil || !a.open() || !a.allFrozen() {
		return nil
	}
	return []int{1}
}

// strided returns the strides of a value, which the values of its elements tell too.
func (v *value) strided() []int {
	if known, ok := v.knownInts(); ok && v.strides == nil {
		return strided(known, v.sizes())
	}
	return v.strides
}

// strided returns the strides that make up a tensor of known elements, nil where there are none.
func strided(known []int64, dims []int) []int {
	if n := total(kindProd, dims); n < 1 || n != len(known) {
		return nil
	}
	out := make([]int, len(dims))
	inner := 1
	for k := len(dims) - 1; k >= 0; k-- {
		if dims[k] > 1 {
			out[k] = int(known[inner])
		}
		inner *= dims[k]
	}
	for p, x := range known {
		if placeOf(p, dims, out) != int(x) {
			return nil
		}
	}
	return out
}

// placeOf is the sum of the strides of position p in a tensor of some sizes.
func placeOf(p int, dims, strides []int) (at int) {
	for k := len(dims) - 1; k >= 0; k-- {
		at += p % dims[k] * strides[k]
		p /= dims[k]
	}
	return at
}

// strides are those of a sum of places, or of places times a number; nil where there are none, or
// all elements are known.
func (c *call) strides(dims []int) []int {
	op := c.node.GetOpType()
	if op != "Add" && op != "Mul" || len(c.in) != 2 || c.in[0].strides == nil && c.in[1].strides == nil {
		return nil
	}
	x, y := c.in[0], c.in[1]
	if op == "Mul" {
		if x.strides == nil {
			x, y = y, x
		}
		by, ok := y.knownInts()
		if !ok || len(by) != 1 || y.rank() > x.rank() {
			return nil
		}
		out := slices.Clone(x.strides)
		for k := range out {
			out[k] *= int(by[0])
		}
		return out
	}
	out := make([]int, len(dims))
	for _, v := range c.in {
		s := v.strided()
		if s == nil {
			return nil
		}
		for k, n := range s {
			out[len(out)-len(s)+k] += n
		}
	}
	return out
}

// inOrder is the shape that a Gather from a list gives to the list, -1 where a size is not known,
// if it takes all elements one after the other; nil if it does not.
func (c *call) inOrder() []int64 {
	x, idx := c.in[0], c.in[1]
	if x.rank() != 1 || !idx.ranked || idx.rank() == 0 {
		return nil
	}
	strides, whole := idx.strided(), x.axes[0].Factors()
	if strides == nil {
		return nil
	}
	shape := make([]int64, idx.rank())
	inner := 1
	var outer *Axis
	for k := idx.rank() - 1; k >= 0; k-- {
		a := idx.axes[k]
		n := a.Size()
		switch shape[k] = int64(n); {
		case n == 1:
			continue
		case outer != nil || strides[k] != inner:
			return nil
		case a.open():
			outer, shape[k] = a, -1
		default:
			inner *= n
		}
	}
	if outer != nil {
		if len(whole) == 0 || !whole[0].is(outer) {
			return nil
		}
		whole = whole[1:]
	}
	if total(kindProd, sizesOf(whole)) != inner {
		return nil
	}
	return shape
}
