package match

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// mostNumbers bounds the plain tensors that are followed.
const mostNumbers = 64

// sizes are the numbers of a Shape.
func (sp *speller) sizes(n *onnxpb.NodeProto) []float64 {
	axes, known := sp.s.Analysis.Activations[n.GetInput()[0]]
	if !known {
		return nil
	}
	out := make([]float64, len(axes))
	for k, a := range axes {
		if out[k] = float64(a.Size()); out[k] < 0 {
			out[k] = math.NaN()
		}
	}
	from, to := wrapped(float64(onnxio.AttrInt(n, "start", 0)), len(axes)), wrapped(float64(onnxio.AttrInt(n, "end", int64(len(axes)))), len(axes))
	return out[min(from, to):to]
}

// known are the numbers of a constant or plain tensor; nil where it is something else.
func (sp *speller) known(name string) []float64 {
	if v := sp.numbers[name]; v != nil {
		return v
	}
	if tp := sp.s.Graph.Constant(name); tp != nil && onnxio.Elements(tp) <= mostNumbers {
		if t, err := sp.s.Model.Tensor(tp); err == nil {
			return t.Float64()
		}
	}
	return nil
}

// computed are the numbers of a node that does arithmetic on sizes.
func (sp *speller) computed(n *onnxpb.NodeProto) []float64 {
	if onnxio.StandardOp(n) == "Shape" {
		return sp.sizes(n)
	}
	var in [][]float64
	for _, name := range n.GetInput() {
		in = append(in, sp.known(name))
	}
	if len(in) == 0 || in[0] == nil {
		return nil
	}
	switch op := onnxio.StandardOp(n); op {
	case "Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape":
		return in[0]
	case "Concat":
		if slices.ContainsFunc(in, func(v []float64) bool { return v == nil }) {
			return nil
		}
		return slices.Concat(in...)
	case "Gather":
		if len(in[1]) != 1 {
			return nil
		}
		if at := wrapped(in[1][0], len(in[0])); at < len(in[0]) {
			return in[0][at : at+1]
		}
	case "Slice":
		if len(in) >= 3 && len(in[1]) == 1 && len(in[2]) == 1 && (len(in) < 5 || len(in[4]) == 1 && in[4][0] == 1) {
			from, to := wrapped(in[1][0], len(in[0])), wrapped(in[2][0], len(in[0]))
			return in[0][min(from, to):to]
		}
	default:
		return elementwise(n, in)
	}
	return nil
}

// wrapped is a bound in a list of n, which may be counted from the end.
func wrapped(at float64, n int) int {
	if at < 0 {
		at += float64(n)
	}
	return int(min(max(at, 0), float64(n)))
}

// elementwise applies an operator to lists of equal lengths, or to single numbers.
func elementwise(n *onnxpb.NodeProto, in [][]float64) []float64 {
	f, inputs, ok := onnxio.Elementwise(n)
	if !ok || inputs > len(in) {
		return nil
	}
	if inputs < 0 {
		inputs = len(in)
	}
	long := 0
	for _, v := range in[:inputs] {
		long = max(long, len(v))
	}
	out := make([]float64, long)
	args := make([]float64, inputs)
	for i := range out {
		for k, v := range in[:inputs] {
			switch len(v) {
			case 1:
				args[k] = v[0]
			case long:
				args[k] = v[i]
			default:
				return nil
			}
		}
		out[i] = f(args)
	}
	return out
}
