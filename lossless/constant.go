package lossless

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A row is a space along an activation.
type row struct {
	tensor string
	space  *coupling.Space
}

// A level says what is known of one channel of an activation: its value at all positions of all
// samples, where it has one.
type level struct {
	known bool
	v     float64
}

// propagate finds out, in the order of the graph, which channels do not depend on the input nor on
// the position. It is abstract interpretation over the levels; an operator that is not listed here
// makes channels of which nothing is known.
func (p *pass) propagate() error {
	for _, n := range p.s.Graph.Nodes {
		for i, out := range n.GetOutput() {
			if out == "" || (i > 0 && n.GetOpType() != "Split") {
				continue
			}
			for _, sp := range p.spacesIn(out) {
				if p.of[sp].whole {
					continue
				}
				var err error
				if p.levels[row{out, sp}], err = p.transfer(n, sp); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// transfer computes the levels of a node's output along a space; nil: nothing is known.
func (p *pass) transfer(n *onnxpb.NodeProto, sp *coupling.Space) (_ []level, err error) {
	defer guard.At(&err, func() string { return onnxio.Label(n) })
	switch onnxio.LinearKindOf(n) {
	case onnxio.Product, onnxio.Convolution:
		return p.linear(n, sp), nil
	}
	switch onnxio.StandardOp(n) {
	case "BatchNormalization":
		return p.batchNorm(n, sp)
	case "Pad":
		return p.pad(n, sp)
	case "Clip":
		lo, hi, ok := p.clipBounds(n)
		if !ok {
			return nil, nil
		}
		return p.combine(n, sp, 1, func(v []float64) float64 { return min(max(v[0], lo), hi) }), nil
	case "Concat", "Identity", "Dropout", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split",
		"MaxPool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceMin":
		return p.passOn(n, sp, false), nil
	case "AveragePool":
		return p.passOn(n, sp, onnxio.WindowOf(n, nil).Padded() && onnxio.AttrInt(n, "count_include_pad", 0) != 0), nil
	case "Resize", "Upsample":
		mode := onnxio.AttrString(n, "mode", "nearest")
		return p.passOn(n, sp, mode != "nearest" || onnxio.AttrString(n, "coordinate_transformation_mode", "") == "tf_crop_and_resize"), nil
	case "Cast":
		to := onnxpb.TensorProto_DataType(onnxio.AttrInt(n, "to", 0))
		return p.passOn(n, sp, to != onnxio.Float && to != onnxio.Double), nil
	default:
		if f, inputs, ok := onnxio.Elementwise(n); ok {
			return p.combine(n, sp, inputs, f), nil
		}
	}
	return nil, nil
}

// operand gives the levels of one input along a space.
func (p *pass) operand(name string, sp *coupling.Space) []level {
	out := make([]level, sp.Groups*sp.Width)
	if p.live(name) {
		if s := p.levels[row{name, sp}]; s != nil {
			return s
		}
		return out // it does not run along the space: any value, anywhere
	}
	for n := p.s.Graph.Producer(name); n != nil && n.GetOpType() == "Identity"; n = p.s.Graph.Producer(name) {
		name = n.GetInput()[0] // equal weights are often stored once
	}
	w := p.s.Analysis.Weights[name]
	if w == nil {
		return out
	}
	for _, st := range p.of[sp].strips() {
		if st.weight == w {
			return st.levels()
		}
	}
	if x, ok := p.scalar(name); ok {
		return slices.Repeat([]level{{true, x}}, len(out))
	}
	return out
}

// combine applies an elementwise function to a node's first k inputs (negative: all).
func (p *pass) combine(n *onnxpb.NodeProto, sp *coupling.Space, k int, f func([]float64) float64) []level {
	in := n.GetInput()
	if k >= 0 {
		in = in[:min(k, len(in))]
	}
	operands := make([][]level, len(in))
	for i, name := range in {
		operands[i] = p.operand(name, sp)
	}
	out := make([]level, sp.Groups*sp.Width)
	args := make([]float64, len(in))
	for id := range out {
		all := true
		for i, o := range operands {
			all = all && o[id].known
			args[i] = o[id].v
			if n.GetOpType() == "Mul" && o[id] == zero {
				out[id] = zero
			}
		}
		if all {
			out[id] = finite(f(args))
		}
	}
	return out
}

var zero = level{known: true}

// finite is the level of a value; what is no number is left alone.
func finite(v float64) level {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return level{}
	}
	return level{true, v}
}

// passOn hands on the levels of the inputs that run along the space, which must agree. blurred:
// only a zero keeps its value.
func (p *pass) passOn(n *onnxpb.NodeProto, sp *coupling.Space, blurred bool) []level {
	var out []level
	for _, in := range n.GetInput() {
		if !p.runsAlong(in, sp) {
			continue
		}
		o := p.operand(in, sp)
		if out == nil {
			out = slices.Clone(o)
			continue
		}
		for id := range out {
			if out[id] != o[id] {
				out[id] = level{}
			}
		}
	}
	// A computed constant may stand beside them in a Concat.
	hidden := n.GetOpType() == "Concat" && slices.ContainsFunc(n.GetInput(), func(in string) bool {
		return !p.live(in) && p.s.Analysis.Weights[in] == nil && !p.runsAlong(in, sp)
	})
	for id, l := range out {
		if hidden || blurred && l != zero {
			out[id] = level{}
		}
	}
	return out
}

// use finds what a node's weight does to a space.
func (p *pass) use(n *onnxpb.NodeProto, sp *coupling.Space, tensor string) (coupling.Use, bool) {
	for _, u := range sp.Uses {
		if u.Node == n && u.Tensor == tensor && u.Role != coupling.Consumed {
			return u, true
		}
	}
	return coupling.Use{}, false
}

// strips lists all weight axes along which the space runs.
func (v *verdict) strips() []*strip { return slices.Concat(v.made, v.read) }

func (v *verdict) stripOf(tensor string, axis int) *strip {
	for _, st := range v.strips() {
		if st.weight.Name == tensor && st.axis == axis {
			return st
		}
	}
	return nil
}

// Weight decay drives filters that a Relu has silenced towards zero without ever reaching it:
// published models hold filters of 1e-30 beside a bias of -1. What such weights add is lost in the
// rounding of the sum they are part of.
const (
	besideBias   = 1e-13 // of the filter's own bias: with |x| up to 6e5 the sum does not change in float32
	besideOthers = 1e-16 // of the largest filter of the operator
)

// negligible says which channels' weights change nothing beside what is added to them.
func negligible(weights []elements, bias []level) []bool {
	largest := 0.0
	for _, e := range weights {
		largest = max(largest, e.magnitude)
	}
	out := make([]bool, len(weights))
	for i, e := range weights {
		s := e.magnitude
		out[i] = s == 0 || s <= besideOthers*largest || bias[i].known && s <= besideBias*math.Abs(bias[i].v)
	}
	return out
}

// linear: what a Conv, Gemm or MatMul makes of constants.
func (p *pass) linear(n *onnxpb.NodeProto, sp *coupling.Space) []level {
	in := n.GetInput()
	if len(in) < 2 {
		return nil
	}
	for i, name := range in[:2] {
		roots := p.s.Analysis.Roots[name]
		if p.live(name) || len(roots) != 1 {
			continue
		}
		if u, ok := p.use(n, sp, roots[0]); ok {
			return p.weighted(sp, u, name, in[1-i])
		}
	}
	if len(in) > 2 { // neither made nor carried: rows of a Gemm
		return nil
	}
	// The space passes beside the contraction: a zero row stays zero.
	out := make([]level, sp.Groups*sp.Width)
	for _, name := range in {
		if !p.runsAlong(name, sp) {
			continue
		}
		for id, l := range p.operand(name, sp) {
			if l == zero {
				out[id] = l
			}
		}
	}
	return out
}

// weighted: a channel whose weights are zero is its bias; a depthwise Conv scales a constant of its
// input x where no padding comes in. weight is what the node reads of the weight.
func (p *pass) weighted(sp *coupling.Space, u coupling.Use, weight, x string) []level {
	st := p.of[sp].stripOf(u.Tensor, u.Axis)
	if st == nil {
		return nil
	}
	out := p.biasLevels(u.Node, sp)
	silent := negligible(st.holds, out)
	given := make([]level, len(out))
	if u.Role != coupling.Produced { // else the input has channels of its own
		given = p.operand(x, sp)
	}
	l, ok := p.s.Graph.Linear(u.Node)
	scales := ok && weight == u.Tensor && l.Kind == onnxio.Convolution && !l.Window.Padded()
	for id, l := range given {
		switch {
		case silent[id], l == zero:
		case l.known && scales && out[id].known:
			out[id] = finite(out[id].v + l.v*st.holds[id].sum)
		default:
			out[id] = level{}
		}
	}
	return out
}

// biasLevels are the levels of what a linear operator adds.
func (p *pass) biasLevels(n *onnxpb.NodeProto, sp *coupling.Space) []level {
	in := n.GetInput()
	if len(in) < 3 || in[2] == "" {
		return slices.Repeat([]level{zero}, sp.Groups*sp.Width)
	}
	out := slices.Clone(p.operand(in[2], sp))
	beta := float64(onnxio.AttrFloat(n, "beta", 1))
	for i := range out {
		out[i].v *= beta
	}
	return out
}

// batchNorm: y = (x − mean)/√(var + ε)·scale + B.
func (p *pass) batchNorm(n *onnxpb.NodeProto, sp *coupling.Space) ([]level, error) {
	in := n.GetInput()
	if len(in) < 5 || onnxio.AttrInt(n, "training_mode", 0) != 0 {
		return nil, nil
	}
	eps := float64(onnxio.AttrFloat(n, "epsilon", 1e-5))
	out := p.combine(n, sp, 5, func(v []float64) float64 { return (v[0]-v[3])/math.Sqrt(v[4]+eps)*v[1] + v[2] })
	scale, shift := p.operand(in[1], sp), p.operand(in[2], sp)
	gain := make([]elements, len(scale))
	for id, l := range scale {
		gain[id].add(l.v)
	}
	for id, silent := range negligible(gain, shift) {
		if silent && scale[id].known {
			out[id] = shift[id]
		}
	}
	return out, nil
}

// pad: channels that are padded in are constants; others keep their value where the padding has the
// same one.
func (p *pass) pad(n *onnxpb.NodeProto, sp *coupling.Space) ([]level, error) {
	in := n.GetInput()
	if onnxio.AttrString(n, "mode", "constant") != "constant" {
		return p.passOn(n, sp, false), nil
	}
	value, ok := float64(onnxio.AttrFloat(n, "value", 0)), true
	if len(in) > 2 && in[2] != "" {
		value, ok = p.scalar(in[2])
	}
	if p.runsAlong(in[0], sp) {
		out := slices.Clone(p.operand(in[0], sp))
		for id, l := range out {
			if !ok || l.v != value {
				out[id] = level{}
			}
		}
		return out, nil
	}
	padded := level{}
	if ok {
		padded = finite(value)
	}
	return slices.Repeat([]level{padded}, sp.Groups*sp.Width), nil
}

// scalar reads a constant of one element.
func (p *pass) scalar(name string) (float64, bool) {
	if onnxio.Elements(p.s.Graph.Constant(name)) != 1 {
		return 0, false
	}
	v, err := p.floats(name)
	if err != nil || len(v) != 1 {
		return 0, false
	}
	return v[0], true
}

// clipBounds reads the bounds of a Clip: inputs since opset 11, attributes before.
func (p *pass) clipBounds(n *onnxpb.NodeProto) (lo, hi float64, ok bool) {
	ok = true
	lo = float64(onnxio.AttrFloat(n, "min", float32(math.Inf(-1))))
	hi = float64(onnxio.AttrFloat(n, "max", float32(math.Inf(1))))
	for i, bound := range []*float64{&lo, &hi} {
		if in := n.GetInput(); len(in) > i+1 && in[i+1] != "" {
			v, known := p.scalar(in[i+1])
			*bound, ok = v, ok && known
		}
	}
	return lo, hi, ok
}
