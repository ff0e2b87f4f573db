package coupling

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// round gives the known numbers of a value the precision of a type.
func (v *value) round(typ onnxpb.TensorProto_DataType) {
	if v.reals == nil {
		return
	}
	if v.typ = typ; !onnxio.IsFloat(typ) {
		v.reals = nil
		return
	}
	v.reals = onnxio.NewTensor("", typ, []int{len(v.reals)}, v.reals).Float64()
}

// numbers gives what was computed of known numbers their type.
func (c *call) numbers(outs []*value) {
	for _, o := range outs {
		for _, v := range c.in {
			if o.typ == 0 && v != nil && v.reals != nil {
				o.typ = v.typ
			}
		}
		if len(o.reals) != o.elements() || o.typ == 0 {
			o.reals = nil
		}
		o.round(o.typ)
	}
}

// computed notes that an input that is computed from sizes which could change is a known number.
func (c *call) computed(input int) {
	v := c.in[input]
	if v.reals == nil || slices.ContainsFunc(v.follows, (*Axis).open) {
		return
	}
	if slices.ContainsFunc(v.follows, func(a *Axis) bool { return !a.allFrozen() }) {
		c.an.computed = append(c.an.computed, Computed{c.node, input, onnxio.NewTensor("", v.typ, v.sizes(), v.reals)})
	}
}

// realUnary evaluates an operator on known numbers.
func realUnary(op string, in []float64) []float64 {
	f := map[string]func(x float64) float64{
		"Neg": func(x float64) float64 { return -x }, "Reciprocal": func(x float64) float64 { return 1 / x },
		"Abs": math.Abs, "Sqrt": math.Sqrt, "Exp": math.Exp, "Log": math.Log, "Floor": math.Floor, "Ceil": math.Ceil,
	}[op]
	if f == nil || in == nil {
		return nil
	}
	out := make([]float64, len(in))
	for i, x := range in {
		out[i] = f(x)
	}
	return out
}

// realElementwise evaluates arithmetic on known numbers, with broadcasting.
func (c *call) realElementwise(dims []int) []float64 {
	f := map[string]func(x, y float64) float64{
		"Add": func(x, y float64) float64 { return x + y }, "Sub": func(x, y float64) float64 { return x - y },
		"Mul": func(x, y float64) float64 { return x * y }, "Div": func(x, y float64) float64 { return x / y },
		"Pow": math.Pow, "Max": math.Max, "Min": math.Min,
	}[c.node.GetOpType()]
	n := total(kindProd, dims)
	if f == nil || n < 0 || n > realLimit || len(c.in) != 2 {
		return nil
	}
	x, y := c.in[0], c.in[1]
	if len(x.reals) != x.elements() || len(y.reals) != y.elements() {
		return nil
	}
	out := make([]float64, n)
	for p := range out {
		out[p] = f(x.reals[broadcast(p, dims, x.sizes())], y.reals[broadcast(p, dims, y.sizes())])
	}
	return out
}
