package coupling

import (
	"fmt"
	"math"

	"github.com/monge-ml/monge/onnxio"
)

// unary: the first input passes; further inputs (Clip's bounds) are scalars.
func unary(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil {
		return nil, errUnranked
	}
	o := &value{axes: x.axes, ranked: x.ranked, origin: x.origin}
	c.inherit(o)
	if !c.anyLive() {
		o.ints = foldUnary(c.node.GetOpType(), x.ints)
		return []*value{o}, nil
	}
	for _, a := range o.axes {
		c.flag(a, c.op.Acts)
	}
	return []*value{o}, nil
}

// scaler: (x − offset)·scale, with one number for each feature in attributes, of
// which the sizes and the order are fixed; one for all is a scale like others.
func scaler(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked || x.rank() == 0 {
		return nil, errUnranked
	}
	if len(onnxio.Attr(c.node, "scale").GetFloats()) > 1 || len(onnxio.Attr(c.node, "offset").GetFloats()) > 1 {
		c.freezeAxis(x.axes[x.rank()-1], "has scales for its features")
	}
	return unary(c)
}

// elementwise: numpy broadcasting over any number of inputs. Axes of equal
// size are joined, axes of size one are repeated.
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
	o := &value{ranked: true, axes: make([]*Axis, rank)}
	c.inherit(o)
	for k := range o.axes {
		var live, weights []place
		var t *Axis
		others := 0 // live inputs that repeat along this axis
		for i, v := range c.in {
			p := k - (rank - v.rank())
			if p < 0 || v.axes[p].Size() == 1 {
				if v.live() {
					others++
				}
				if t == nil && p >= 0 {
					o.axes[k] = v.axes[p]
				}
				continue
			}
			if v.live() {
				live = append(live, place{i, p})
			} else {
				weights = append(weights, place{i, p})
			}
			if t == nil {
				t = v.axes[p]
				continue
			}
			if nt, nv := t.Size(), v.axes[p].Size(); nt > 0 && nv > 0 && nt != nv {
				return nil, fmt.Errorf("%s: axis of %d does not broadcast to %d", c.label(), nv, nt)
			}
			c.join(t, v.axes[p])
		}
		if t == nil {
			continue
		}
		o.axes[k] = t
		if !c.anyLive() {
			continue
		}
		if len(live) == 0 {
			c.freezeAxis(t, "spreads a constant over it")
			continue
		}
		c.letter(t, live, weights, true, 0, elementwiseActs(c.op, len(live), len(weights), others))
	}
	if !c.anyLive() {
		o.ints = c.foldElementwise(o)
	}
	return []*value{o}, nil
}

// elementwiseActs says what an elementwise operator does to channels, given how
// many live tensors and constants run along the axis and how many live ones
// are repeated along it.
func elementwiseActs(op *Op, live, weights, repeated int) Flags {
	additive := op.Acts == joined
	product := op.Name == "Mul" || op.Name == "Div"
	switch {
	case live > 1 && additive:
		return joined
	case live > 1:
		return nonlinear
	case additive && weights > 0 && repeated == 0:
		return 0 // a bias
	case product && weights > 0:
		return perChannel
	case product && op.Name == "Mul":
		return 0 // every channel alike
	}
	return op.Acts&^joined | nonlinear
}

func foldUnary(op string, in []elem) []elem {
	if in == nil {
		return nil
	}
	out := make([]elem, len(in))
	for i, e := range in {
		switch op {
		case "Neg":
			e.v = -e.v
		case "Abs":
			e.v = max(e.v, -e.v)
		case "Not":
			e.v = 1 - e.v
		case "Floor", "Ceil", "Round":
		default:
			return nil
		}
		out[i] = elem{known: e.known, v: e.v}
	}
	return out
}

// foldElementwise evaluates integer arithmetic on shapes, with broadcasting.
func (c *call) foldElementwise(o *value) []elem {
	shapes := make([][]int, len(c.in))
	for i, v := range c.in {
		if v.ints == nil {
			return nil
		}
		shapes[i] = v.sizes()
	}
	outShape := o.sizes()
	n := total(kindProd, outShape)
	if n < 0 || n > foldLimit {
		return nil
	}
	out := make([]elem, n)
	args := make([]elem, len(c.in))
	for p := range out {
		for i, v := range c.in {
			q, stride, rest := 0, 1, p
			for k := len(outShape) - 1; k >= 0; k-- {
				pos := rest % outShape[k]
				rest /= outShape[k]
				if j := k - (len(outShape) - len(shapes[i])); j >= 0 {
					if shapes[i][j] != 1 {
						q += pos * stride
					}
					stride *= shapes[i][j]
				}
			}
			if q >= len(v.ints) {
				return nil
			}
			args[i] = v.ints[q]
		}
		e, ok := c.an.sys.evalInts(c.node.GetOpType(), args)
		if !ok {
			return nil
		}
		out[p] = e
	}
	return out
}

// evalInts evaluates one element. Where the answer is one of the arguments, or
// a product of sizes, the axis whose size it is stays known.
func (s *system) evalInts(op string, a []elem) (elem, bool) {
	if op == "Where" {
		if len(a) != 3 || !a[0].known {
			return elem{}, true
		}
		if a[0].v != 0 {
			return a[1], true
		}
		return a[2], true
	}
	acc := a[0]
	for _, b := range a[1:] {
		switch { // neutral elements
		case op == "Mul" && b.known && b.v == 1, op == "Div" && b.known && b.v == 1, (op == "Add" || op == "Sub") && b.known && b.v == 0:
			continue
		case op == "Mul" && acc.known && acc.v == 1, op == "Add" && acc.known && acc.v == 0:
			acc = b
			continue
		case op == "Equal" && (acc.size != nil && b.known && b.v < 0 || b.size != nil && acc.known && acc.v < 0):
			acc = elem{known: true} // no size is negative
			continue
		}
		if !acc.known || !b.known {
			acc = s.product(op, acc, b)
			continue
		}
		x, y := acc.v, b.v
		var r int64
		switch op {
		case "Add", "Sum":
			r = x + y
		case "Sub":
			r = x - y
		case "Mul":
			if x != 0 && (x*y)/x != y {
				return elem{}, false
			}
			r = x * y
			if acc.tied && b.tied {
				acc = s.product(op, acc, b)
				acc.known, acc.v = true, r
				continue
			}
		case "Div":
			if y == 0 || (x == math.MinInt64 && y == -1) {
				return elem{}, false
			}
			r = x / y
		case "Mod":
			if y == 0 {
				return elem{}, false
			}
			r = ((x % y) + y) % y
		case "Max":
			r = max(x, y)
		case "Min":
			r = min(x, y)
		case "Equal":
			r = truth(x == y)
		case "Less":
			r = truth(x < y)
		case "LessOrEqual":
			r = truth(x <= y)
		case "Greater":
			r = truth(x > y)
		case "GreaterOrEqual":
			r = truth(x >= y)
		case "And":
			r = truth(x != 0 && y != 0)
		case "Or":
			r = truth(x != 0 || y != 0)
		default:
			return elem{}, false
		}
		acc = elem{known: true, v: r}
	}
	return acc, true
}

// product is the size of a composed axis, such as the batch·heads of PyTorch's
// MultiheadAttention, where the batch is not known.
func (s *system) product(op string, a, b elem) elem {
	factor := func(e elem) *Axis {
		if e.size == nil && e.known && e.v > 0 {
			return s.atom(int(min(e.v, maxSize+1)))
		}
		return e.size
	}
	fa, fb := factor(a), factor(b)
	if op != "Mul" || fa == nil || fb == nil {
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
