package coupling

import (
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

// An op is the whole contract of an operator's rule. Either axes (a constant axis expression),
// axesOf (one computed from attributes and ranks) or apply (for operators whose mapping hangs on
// shapes and constants) says how the operator's axes correspond.
type op struct {
	// names are the operators of the rule, behind their domain unless that is the standard one,
	// with blanks between them.
	names string
	// needs is how many of the first inputs must be there, of known rank.
	needs  int
	axes   string
	axesOf func(c *call) (expr string, err error)
	apply  func(c *call) ([]*value, error)
	// acts says what the operator does to channels that pass through.
	acts flags
	// moves: the operator moves elements without computing with them, so that a weight behind it
	// can be edited where it is stored.
	moves bool
	// cost notes the multiply-accumulates of a linear operator.
	cost func(c *call, outs []*value)
}

// table returns the rule of every operator. Adding one is a line or a name here, or a word in the
// facts of package onnxio, and a test.
func table() map[string]op {
	ops := []op{
		// Linear operators with weights.
		{names: "Conv", axesOf: convAxes, cost: convCost},
		{names: "DeformConv", axesOf: deformConvAxes, cost: convCost},
		{names: "ConvTranspose", axesOf: convTransposeAxes, cost: convTransposeCost},
		{names: "Gemm", axesOf: gemmAxes, cost: gemmCost},
		{names: "MatMul", needs: 2, axesOf: matMulAxes, cost: matMulCost},
		{names: "Einsum", axesOf: einsumAxes, cost: einsumCost},
		{names: "RNN GRU LSTM", needs: 2, axesOf: recurrentAxes, acts: nonlinear, cost: recurrentCost},

		// Per-channel followers.
		{names: "BatchNormalization", axesOf: batchNormAxes, acts: perChannel},
		{names: "InstanceNormalization", axes: "n c {s...}, c, c -> n c {s...}", acts: perChannel | nonlinear},
		{names: "GroupNormalization", axesOf: groupNormAxes, acts: nonlinear | perChannel},
		{names: "RMSNormalization LayerNormalization", needs: 1, axesOf: layerNormAxes, acts: nonlinear | perChannel},
		{names: "LpNormalization", needs: 1, axesOf: alongAttr("axis", -1, "{}"), acts: nonlinear | perChannel},
		{names: "MeanVarianceNormalization", needs: 1, axesOf: meanVarianceAxes, acts: nonlinear | perChannel},
		{names: "LRN", axes: "n [c] s... -> n [c] s...", acts: nonlinear},

		// Pooling and reductions over space.
		{names: "MaxPool LpPool", needs: 1, axesOf: poolAxes, acts: nonlinear},
		{names: "AveragePool", needs: 1, axesOf: poolAxes},
		{names: "GlobalAveragePool", needs: 1, axesOf: globalPoolAxes},
		{names: "GlobalMaxPool", needs: 1, axesOf: globalPoolAxes, acts: nonlinear},
		{names: "GridSample", axes: "n c s..., n t... U -> n c t..."},
		{names: "RoiAlign", axesOf: roiAlignAxes, acts: nonlinear},
		{names: "ReduceMean ReduceSum", needs: 1, axesOf: reduceAxes},
		{names: "ReduceMax ReduceMin ReduceL2 ReduceL1 ReduceLogSum ReduceLogSumExp ReduceSumSquare", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{names: "ReduceProd", needs: 1, apply: reduceProd, acts: nonlinear},

		// Barriers along one axis.
		{names: "Softmax LogSoftmax Hardmax", needs: 1, axesOf: softmaxAxes, acts: nonlinear},
		{names: "ArgMax ArgMin", needs: 1, axesOf: reduceAxes, acts: nonlinear},

		{names: "TopK", needs: 1, axesOf: topKAxes, acts: nonlinear},
		{names: "CumSum", needs: 1, axesOf: cumSumAxes},
		{names: "ReverseSequence", needs: 2, axesOf: reverseSequenceAxes},
		{names: "Trilu", needs: 1, axesOf: func(c *call) (string, error) { return c.along([]int64{-2, -1}, "[]", nil) }},

		// Bookkeeping: axes move, split and join by shape.
		{names: "Identity Cast CastLike", apply: identity, moves: true},
		{names: "Dropout", apply: dropout, moves: true},
		{names: "Flatten", needs: 1, apply: flatten, moves: true},
		{names: "Reshape", needs: 1, apply: reshape, moves: true},
		{names: "Transpose", needs: 1, apply: transpose, moves: true},
		{names: "Squeeze", needs: 1, apply: squeeze, moves: true},
		{names: "Unsqueeze", needs: 1, apply: unsqueeze, moves: true},
		{names: "Expand", needs: 2, apply: expand, moves: true},
		{names: "Tile", needs: 2, apply: tile, moves: true},
		{names: "DepthToSpace SpaceToDepth", axesOf: blockAxes, moves: true},
		{names: "Concat", apply: concat, moves: true},
		{names: "Pad", needs: 1, apply: pad, moves: true},
		{names: "Slice", needs: 1, apply: slice, moves: true},
		{names: "Split", needs: 1, apply: split, moves: true},
		{names: "Resize Upsample", needs: 1, apply: resize},

		// Of scikit-learn's models.
		{names: "ai.onnx.ml/Scaler", needs: 1, apply: scaler, acts: perChannel},

		// Integers that stand for real numbers.
		{names: "QuantizeLinear com.microsoft/QuantizeLinear", needs: 2, apply: quantize, acts: nonlinear | perChannel},
		{names: "DequantizeLinear com.microsoft/DequantizeLinear", needs: 2, apply: dequantize, acts: perChannel, moves: true},
		{names: "DynamicQuantizeLinear", axes: "s... -> s..., , ", acts: nonlinear},

		// Attention in one operator.
		{names: "Attention", axesOf: attentionAxes, acts: nonlinear, cost: attentionCost},
		{names: "com.microsoft/Attention", needs: 2, axesOf: packedAttentionAxes, acts: nonlinear, cost: packedAttentionCost},
		{names: "com.microsoft/MultiHeadAttention", axesOf: multiHeadAttentionAxes, acts: nonlinear, cost: attentionCost},
		{names: "RotaryEmbedding com.microsoft/RotaryEmbedding", needs: 1, apply: rotary},

		// What onnxruntime's optimiser writes.
		{names: "com.microsoft/FusedConv", axesOf: fusedConvAxes, acts: nonlinear, cost: convCost},
		{names: "com.microsoft/FusedGemm", axesOf: fusedGemmAxes, acts: nonlinear, cost: gemmCost},
		{names: "com.microsoft/FusedMatMul", needs: 2, axesOf: fusedMatMulAxes, cost: matMulCost},
		{names: "com.microsoft/Gelu com.microsoft/QuickGelu", apply: unary, acts: nonlinear},
		{names: "com.microsoft/BiasGelu com.microsoft/FastGelu", apply: biased, acts: nonlinear},
		{names: "com.microsoft/SkipLayerNormalization com.microsoft/SkipSimplifiedLayerNormalization", needs: 2, axesOf: skipNormAxes, acts: joined | nonlinear | perChannel},

		// Branches.
		{names: onnxio.EitherDomain + "/" + onnxio.Either, apply: either},

		// Shape arithmetic.
		{names: "Constant", apply: constantNode, moves: true},
		{names: "ConstantOfShape", apply: constantOfShape, moves: true},
		{names: "Shape", apply: shapeOf, moves: true},
		{names: "Size", apply: sizeOf, moves: true},
		{names: "Gather", needs: 2, apply: gather, moves: true},
		{names: "GatherElements", needs: 2, apply: gatherElements, moves: true},
		{names: "GatherND", needs: 2, apply: gatherND, moves: true},
		{names: "ScatterND", needs: 3, apply: scatterND},
		{names: "ScatterElements", needs: 3, apply: scatterElements},
		{names: "Range", apply: rangeOf, moves: true},
		{names: "OneHot", needs: 1, apply: oneHot, moves: true},
	}
	for _, name := range onnxio.Operators(onnxio.Pointwise) {
		o := op{names: name, apply: unary, acts: nonlinear}
		if name == "Neg" {
			o.acts, o.moves = 0, true
		}
		ops = append(ops, o)
	}
	additive := onnxio.Operators(onnxio.Adds)
	for _, name := range onnxio.Operators(onnxio.Broadcasts) {
		o := op{names: name, apply: elementwise, acts: perChannel | nonlinear}
		if slices.Contains(additive, name) {
			o.acts = joined
		}
		ops = append(ops, o)
	}
	rules := map[string]op{}
	for _, o := range ops {
		for _, name := range strings.Fields(o.names) {
			rules[name] = o
		}
	}
	return rules
}
