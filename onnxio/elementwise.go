package onnxio

import (
	"cmp"
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A unary is the function of an elementwise operator of one input and up to two attributes.
type unary struct {
	f     func(x, a, b float64) float64
	alpha float32 // what a is where the attribute is absent
	b     string  // the name of the second
	beta  float32
}

var unaries = map[string]unary{
	"Relu":        plain(func(x float64) float64 { return max(x, 0) }),
	"LeakyRelu":   {f: func(x, a, _ float64) float64 { return bySign(x, a*x, x) }, alpha: 0.01},
	"Sigmoid":     plain(func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }),
	"HardSigmoid": {f: func(x, a, b float64) float64 { return min(max(a*x+b, 0), 1) }, alpha: 0.2, b: "beta", beta: 0.5},
	"HardSwish":   plain(func(x float64) float64 { return x * min(max(x/6+0.5, 0), 1) }),
	"Elu":         {f: func(x, a, _ float64) float64 { return bySign(x, a*math.Expm1(x), x) }, alpha: 1},
	"Celu":        {f: func(x, a, _ float64) float64 { return bySign(x, a*math.Expm1(x/a), x) }, alpha: 1},
	"Selu": {f: func(x, a, gamma float64) float64 { return bySign(x, gamma*a*math.Expm1(x), gamma*x) },
		alpha: 1.67326319217681884765625, b: "gamma", beta: 1.05070102214813232421875},
	"Softplus":   plain(softplus),
	"Softsign":   plain(func(x float64) float64 { return x / (1 + math.Abs(x)) }),
	"Mish":       plain(func(x float64) float64 { return x * math.Tanh(softplus(x)) }),
	"Swish":      {f: func(x, a, _ float64) float64 { return x / (1 + math.Exp(-a*x)) }, alpha: 1},
	"Erf":        plain(math.Erf),
	"Tanh":       plain(math.Tanh),
	"Exp":        plain(math.Exp),
	"Log":        plain(math.Log),
	"Sqrt":       plain(math.Sqrt),
	"Reciprocal": plain(func(x float64) float64 { return 1 / x }),
	"Abs":        plain(math.Abs),
	"Neg":        plain(func(x float64) float64 { return -x }),
	"Sign":       plain(func(x float64) float64 { return float64(cmp.Compare(x, 0)) }),
	"Ceil":       plain(math.Ceil),
	"Floor":      plain(math.Floor),
}

func plain(f func(float64) float64) unary {
	return unary{f: func(x, _, _ float64) float64 { return f(x) }}
}

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// bySign is one of two values, by the sign of x.
func bySign(x, negative, other float64) float64 {
	if x < 0 {
		return negative
	}
	return other
}

// Elementwise returns the function of a standard operator that makes each element of one element of
// each input; a number of inputs below zero stands for all. ok is false for other operators, and for
// Clip, whose bounds may be inputs that are absent.
func Elementwise(n *onnxpb.NodeProto) (f func([]float64) float64, inputs int, ok bool) {
	op := StandardOp(n)
	if op == "Gelu" {
		return gelu(n), 1, true
	}
	if u, ok := unaries[op]; ok {
		return u.of(n), 1, true
	}
	f, ok = arithmetic[op]
	return f, -1, ok
}

// gelu is x·Φ(x), or the approximation of it by the hyperbolic tangent.
func gelu(n *onnxpb.NodeProto) func([]float64) float64 {
	if AttrString(n, "approximate", "none") == "tanh" {
		return func(v []float64) float64 {
			x := v[0]
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}
	}
	return func(v []float64) float64 { return v[0] / 2 * (1 + math.Erf(v[0]/math.Sqrt2)) }
}

// of is the function with the attributes of a node.
func (u unary) of(n *onnxpb.NodeProto) func([]float64) float64 {
	a, b := float64(AttrFloat(n, "alpha", u.alpha)), float64(AttrFloat(n, u.b, u.beta))
	return func(v []float64) float64 { return u.f(v[0], a, b) }
}

// arithmetic holds the elementwise operators of several inputs.
var arithmetic = map[string]func([]float64) float64{
	"Add": func(v []float64) float64 { return v[0] + v[1] },
	"Sub": func(v []float64) float64 { return v[0] - v[1] },
	"Mul": func(v []float64) float64 { return v[0] * v[1] },
	"Div": func(v []float64) float64 { return v[0] / v[1] },
	"Sum": func(v []float64) float64 {
		s := 0.0
		for _, x := range v {
			s += x
		}
		return s
	},
	"Pow":   func(v []float64) float64 { return math.Pow(v[0], v[1]) },
	"Max":   slices.Max[[]float64],
	"Min":   slices.Min[[]float64],
	"PRelu": func(v []float64) float64 { return bySign(v[0], v[0]*v[1], v[0]) },
}
