package onnxio

import (
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Facts are what is true of a standard operator whatever its attributes. Linear operators have a
// table of their own, see [Linear].
type Facts uint8

const (
	// Rearranges: the output holds the elements of the first input, each once, in another order or
	// shape.
	Rearranges Facts = 1 << iota
	// Pointwise: every element of the output is a function of the one element of the first input
	// that stands in its place.
	Pointwise
	// Broadcasts: every element of the output is a function of one element of each input, all of
	// which are broadcast to one shape.
	Broadcasts
	// Adds: such a function is a sum, a difference or a mean.
	Adds
	// Commutes: the order of the inputs does not matter.
	Commutes
	// Steps: the output stays what it is under small changes of the inputs, or says no more than
	// how large they are.
	Steps
)

var facts = index(map[Facts]string{
	Rearranges: "Identity Reshape Flatten Squeeze Unsqueeze Transpose",
	Pointwise: `Relu LeakyRelu Elu Selu Celu ThresholdedRelu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign
		Gelu Mish Swish Erf Exp Log Sqrt Reciprocal Abs Neg Sign Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh
		Atanh Ceil Floor Round Clip Shrink IsNaN IsInf Not BitwiseNot`,
	Broadcasts: `Add Sub Sum Mean Mul Div Pow PRelu Max Min Where Mod
		Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor`,
	Adds:     "Add Sub Sum Mean",
	Commutes: "Add Sum Mean Mul Max Min Equal And Or Xor",
	Steps: `Sign Ceil Floor Round IsNaN IsInf Not BitwiseNot ArgMax ArgMin Shape Size
		Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor`,
})

func index(lists map[Facts]string) map[string]Facts {
	out := map[string]Facts{}
	for fact, names := range lists {
		for _, op := range strings.Fields(names) {
			out[op] |= fact
		}
	}
	return out
}

// FactsOf returns what is true of a node's operator.
func FactsOf(n *onnxpb.NodeProto) Facts { return facts[StandardOp(n)] }

// Has reports whether all the given facts are true.
func (f Facts) Has(all Facts) bool { return f&all == all }

// Operators lists the standard operators of which all the given facts are true.
func Operators(all Facts) (names []string) {
	for op, f := range facts {
		if f.Has(all) {
			names = append(names, op)
		}
	}
	slices.Sort(names)
	return names
}
