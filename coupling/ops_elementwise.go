package coupling

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio"
)

// unary: the first input passes; further inputs (Clip's bounds) are scalars.
func unary(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil {
		return nil, errUnranked
	}
	o := c.output(x.axes)
	o.ranked, o.origin = x.ranked, x.origin
	if !c.anyLive() {
		o.ints = foldUnary(c.node.GetOpType(), x.ints)
		o.reals = realUnary(c.node.GetOpType(), x.reals)
		return []*value{o}, nil
	}
	for _, a := range o.axes {
		c.flag(a, c.op.acts)
	}
	return []*value{o}, nil
}

// scaler: (x − offset)·scale, with one number for each feature in attributes, of which the sizes
// and the order are fixed; one for all is a scale like others.
func scaler(c *call) ([]*value, error) {
	x := c.in[0]
	if x.rank() == 0 {
		return nil, errUnranked
	}
	if len(onnxio.Attr(c.node, "scale").GetFloats()) > 1 || len(onnxio.Attr(c.node, "offset").GetFloats()) > 1 {
		c.freezeAxis(x.axes[x.rank()-1], "has scales for its features")
	}
	return unary(c)
}

// elementwise: numpy broadcasting over any number of inputs. Axes of equal size are joined, axes of
// size one are repeated.
func elementwise(c *call) ([]*value, error) {
	if len(c.in) == 0 {
		return nil, errUnranked
	}
	rank := 0
	for _, v := range c.in {
		if v == nil || !v.ranked {
			return nil, errUnranked
		}
		rank = max(rank, v.rank())
	}
	o := c.output(make([]*Axis, rank))
	for k := range o.axes {
		at, single := c.alongside(k - rank)
		if len(at) == 0 {
			o.axes[k] = single
			continue
		}
		t, pl, err := c.meet(at)
		if err != nil {
			return nil, err
		}
		o.axes[k] = t
		switch {
		case o.konst:
		case len(pl.live) == 0:
			c.spread(t, pl)
		default:
			c.letter(t, pl, c.elementwiseActs(pl))
		}
	}
	if o.konst {
		o.ints = c.foldElementwise(o.sizes())
		o.reals = c.realElementwise(o.sizes())
		o.strides = c.strides(o.sizes())
	}
	return []*value{o}, nil
}

// spread notes that an activation repeats along an axis of a constant. A product makes the
// constant's channels, as a dense layer of one input does, unless other weights make them too: then
// it is a factor like others.
func (c *call) spread(t *Axis, pl *places) {
	acts := c.elementwiseActs(pl)
	c.flag(t, acts)
	for i, p := range pl.weights {
		r := record{c.node, c.in[p.in], p.axis, t, Carried}
		c.an.records = append(c.an.records, r)
		if i == 0 && acts == perChannel {
			r.role = Produced
			c.an.spreads = append(c.an.spreads, r)
		}
	}
}

// alongside lists the inputs that do not repeat along an axis of the output, which is counted from
// its end; single is one that does.
func (c *call) alongside(axis int) (at []place, single *Axis) {
	for i, v := range c.in {
		switch p := axis + v.rank(); {
		case p < 0:
		case v.axes[p].Size() == 1:
			single = v.axes[p]
		default:
			at = append(at, place{i, p})
		}
	}
	return at, single
}

// elementwiseActs says what an elementwise operator does to channels, given the inputs that run
// along their axis.
func (c *call) elementwiseActs(pl *places) flags {
	repeated := -len(pl.live) // live inputs that repeat along the axis
	for _, v := range c.in {
		if v.live() {
			repeated++
		}
	}
	op, acts := c.node.GetOpType(), c.op.acts
	additive, product := acts == joined, op == "Mul" || op == "Div"
	switch {
	case len(pl.live) > 1 && additive:
		return joined
	case len(pl.live) > 1:
		return nonlinear
	case additive && len(pl.weights) > 0 && repeated == 0:
		return 0 // a bias
	case product && len(pl.weights) > 0:
		return perChannel
	case op == "Mul":
		return 0 // every channel alike
	}
	return acts&^joined | nonlinear
}

// foldUnary evaluates an operator on the integers of a shape.
func foldUnary(op string, in []elem) []elem {
	f := map[string]func(x int64) int64{
		"Neg":   func(x int64) int64 { return -x },
		"Abs":   func(x int64) int64 { return max(x, -x) },
		"Not":   func(x int64) int64 { return 1 - x },
		"Floor": same, "Ceil": same, "Round": same,
	}[op]
	if f == nil || in == nil {
		return nil
	}
	out := make([]elem, len(in))
	for i, e := range in {
		out[i] = elem{known: e.known, v: f(e.v)}
	}
	return out
}

func same(x int64) int64 { return x }

// foldElementwise evaluates integer arithmetic on shapes, with broadcasting.
func (c *call) foldElementwise(dims []int) []elem {
	n := total(kindProd, dims)
	if n < 0 || n > foldLimit {
		return nil
	}
	if q := c.divided(); q != nil {
		return q
	}
	if q := c.multiplied(); q != nil {
		return q
	}
	args := make([][]elem, n)
	for _, v := range c.in {
		if v.ints == nil {
			return nil
		}
		shape := v.sizes()
		for p := range args {
			q := broadcast(p, dims, shape)
			if q < 0 || q >= len(v.ints) {
				return nil
			}
			args[p] = append(args[p], v.ints[q])
		}
	}
	out := make([]elem, n)
	for p, a := range args {
		var ok bool
		if out[p], ok = c.an.sys.evalInts(c.node.GetOpType(), a); !ok {
			return nil
		}
	}
	return out
}

// divided is a size that is known at run time alone, such as that of batch and heads together,
// divided by some of its factors; nil for other arithmetic. A stored divisor follows these.
func (c *call) divided() []elem {
	if c.node.GetOpType() != "Div" || len(c.in) != 2 || len(c.in[0].ints) != 1 {
		return nil
	}
	whole := c.in[0].ints[0]
	by, ok := c.in[1].knownInts()
	if !ok || len(by) != 1 || by[0] < 2 || whole.size == nil || whole.known && !whole.size.open() {
		return nil
	}
	factors, n := whole.size.Factors(), int64(1)
	k := len(factors)
	for k > 0 && n < by[0] && factors[k-1].Size() > 0 {
		k--
		n *= int64(factors[k].Size())
	}
	if n != by[0] || k == 0 {
		return nil
	}
	divisor := c.an.sys.prod(factors[k:]...)
	if c.an.graph.Constant(c.node.GetInput()[1]) != nil {
		c.note(ShapeRef{Node: c.node, Input: 1, Elems: []ShapeElem{sizeElem(divisor)}})
	} else {
		divisor.stiffen(c.label() + " computes with its size")
	}
	return []elem{{known: whole.known, v: whole.v / by[0], size: c.an.sys.prod(factors[:k]...), tied: whole.tied}}
}

// multiplied is a size that is known at run time alone, times a stored number: a batch with heads or
// patches. The number is a size too, and is rewritten where the axis that it is turns out to change.
func (c *call) multiplied() []elem {
	if c.node.GetOpType() != "Mul" || len(c.in) != 2 || len(c.in[0].ints) != 1 || len(c.in[1].ints) != 1 {
		return nil
	}
	for i, v := range c.in {
		by, whole := v.ints[0], c.in[1-i].ints[0]
		switch {
		case whole.size == nil || !whole.tied || whole.known && !whole.size.open():
		case !by.known || by.size != nil || by.v < 2 || by.v > maxSize || c.an.graph.Constant(c.node.GetInput()[i]) == nil:
		default:
			part := c.an.sys.atom(int(by.v))
			c.note(ShapeRef{Node: c.node, Input: i, Elems: []ShapeElem{sizeElem(part)}})
			factors := []*Axis{whole.size, part}
			if i == 0 {
				slices.Reverse(factors)
			}
			return []elem{{known: whole.known, v: whole.v * by.v, size: c.an.sys.prod(factors...), tied: true}}
		}
	}
	return nil
}

// broadcast is the element of a tensor of some shape that stands at position p of a tensor of the
// given sizes, to which it is broadcast.
func broadcast(p int, dims, shape []int) int {
	q, stride := 0, 1
	for k := len(shape) - 1; k >= 0; k-- {
		n := dims[k+len(dims)-len(shape)]
		if shape[k] != 1 {
			q += p % n * stride
		}
		p /= n
		stride *= shape[k]
	}
	return q
}

// An intOp is an operator on two integers of shapes.
type intOp struct {
	// eval is the result, false where there is none.
	eval func(x, y int64) (int64, bool)
	// unit leaves what is on its other side as it is, if it stands on the left or on the right.
	unit        int64
	left, right bool
}

func result(f func(x, y int64) int64) func(x, y int64) (int64, bool) {
	return func(x, y int64) (int64, bool) { return f(x, y), true }
}

func test(f func(x, y int64) bool) intOp {
	return intOp{eval: result(func(x, y int64) int64 { return truth(f(x, y)) })}
}

// intOps are the operators that are followed.
var intOps = map[string]intOp{
	"Add": {eval: result(func(x, y int64) int64 { return x + y }), unit: 0, left: true, right: true},
	"Sum": {eval: result(func(x, y int64) int64 { return x + y })},
	"Sub": {eval: result(func(x, y int64) int64 { return x - y }), unit: 0, right: true},
	"Mul": {eval: func(x, y int64) (int64, bool) { return x * y, x == 0 || x*y/x == y }, unit: 1, left: true, right: true},
	"Div": {eval: quotient, unit: 1, right: true},
	"Mod": {eval: func(x, y int64) (int64, bool) {
		if y == 0 {
			return 0, false
		}
		return (x%y + y) % y, true
	}},
	"Max":            {eval: result(func(x, y int64) int64 { return max(x, y) })},
	"Min":            {eval: result(func(x, y int64) int64 { return min(x, y) })},
	"Equal":          test(func(x, y int64) bool { return x == y }),
	"Less":           test(func(x, y int64) bool { return x < y }),
	"LessOrEqual":    test(func(x, y int64) bool { return x <= y }),
	"Greater":        test(func(x, y int64) bool { return x > y }),
	"GreaterOrEqual": test(func(x, y int64) bool { return x >= y }),
	"And":            test(func(x, y int64) bool { return x != 0 && y != 0 }),
	"Or":             test(func(x, y int64) bool { return x != 0 || y != 0 }),
}

func quotient(x, y int64) (int64, bool) {
	if y == 0 || x == math.MinInt64 && y == -1 {
		return 0, false
	}
	return x / y, true
}

// evalInts evaluates one element. Where the answer is one of the arguments, or a product of sizes,
// the axis whose size it is stays known.
func (s *system) evalInts(op string, a []elem) (elem, bool) {
	if op == "Where" {
		switch {
		case len(a) != 3 || !a[0].known:
			return elem{}, true
		case a[0].v != 0:
			return a[1], true
		}
		return a[2], true
	}
	acc := a[0]
	for _, b := range a[1:] {
		var ok bool
		if acc, ok = s.evalTwo(op, acc, b); !ok {
			return elem{}, false
		}
	}
	return acc, true
}

func (s *system) evalTwo(name string, a, b elem) (elem, bool) {
	op := intOps[name]
	size := func(e elem) bool { return e.size != nil }
	negative := func(e elem) bool { return e.known && e.v < 0 }
	switch {
	case op.right && b.known && b.v == op.unit:
		return a, true
	case op.left && a.known && a.v == op.unit:
		return b, true
	case name == "Equal" && (size(a) && negative(b) || size(b) && negative(a)):
		return elem{known: true}, true // no size is negative
	}
	if (name == "Max" || name == "Min") && size(a) && size(b) && a.size.is(b.size) {
		a.tied = a.tied && b.tied
		return a, true
	}
	var out elem
	given := func(e elem) bool { return e.size != nil && e.size.open() }
	if name == "Mul" && (a.tied && b.tied || !a.known || !b.known || given(a) || given(b)) {
		out = s.product(a, b)
	}
	if !a.known || !b.known {
		return out, true
	}
	if op.eval == nil {
		return elem{}, false
	}
	v, ok := op.eval(a.v, b.v)
	out.known, out.v = true, v
	return out, ok
}

// product is the size of a composed axis, such as the batch·heads of PyTorch's MultiheadAttention,
// where the batch is not known.
func (s *system) product(a, b elem) elem {
	factor := func(e elem) *Axis {
		if e.size == nil && e.known && e.v > 0 {
			return s.atom(int(min(e.v, maxSize+1)))
		}
		return e.size
	}
	fa, fb := factor(a), factor(b)
	if fa == nil || fb == nil {
		return elem{}
	}
	return elem{size: s.prod(fa, fb), tied: a.tied && b.tied}
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
