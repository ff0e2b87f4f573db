package coupling

import (
	"slices"

	"github.com/monge-ml/monge/onnxio"
)

// An op is the whole contract of an operator's rule. Either axes (a constant
// axis expression), axesOf (one computed from attributes and ranks) or apply
// (for operators whose mapping hangs on shapes and constants) says how the
// operator's axes correspond.
type op struct {
	name   string // operator type
	domain string // "" is the standard domain
	// needs is how many of the first inputs must be there, of known rank.
	needs  int
	axes   string
	axesOf func(c *call) (expr string, err error)
	apply  func(c *call) ([]*value, error)
	// acts says what the operator does to channels that pass through.
	acts flags
	// moves: the operator moves elements without computing with them, so that a
	// weight behind it can be edited where it is stored.
	moves bool
	// cost notes the multiply-accumulates of a linear operator.
	cost func(c *call, outs []*value)
}

// table returns every rule. Adding an operator is one line here, or one word in
// the facts of package onnxio, and one test.
func table() []op {
	ops := []op{
		// Linear operators with weights.
		{name: "Conv", axesOf: convAxes, cost: convCost},
		{name: "DeformConv", axesOf: deformConvAxes, cost: convCost},
		{name: "ConvTranspose", axesOf: convTransposeAxes, cost: convTransposeCost},
		{name: "Gemm", axesOf: gemmAxes, cost: gemmCost},
		{name: "MatMul", needs: 2, axesOf: matMulAxes, cost: matMulCost},
		{name: "Einsum", axesOf: einsumAxes, cost: einsumCost},
		{name: "RNN", needs: 2, axesOf: recurrentAxes, acts: nonlinear, cost: recurrentCost},
		{name: "GRU", needs: 2, axesOf: recurrentAxes, acts: nonlinear, cost: recurrentCost},
		{name: "LSTM", needs: 2, axesOf: recurrentAxes, acts: nonlinear, cost: recurrentCost},

		// Per-channel followers.
		{name: "BatchNormalization", axesOf: batchNormAxes, acts: perChannel},
		{name: "InstanceNormalization", axes: "n c {s...}, c, c -> n c {s...}", acts: perChannel | nonlinear},
		{name: "GroupNormalization", axesOf: groupNormAxes, acts: nonlinear | perChannel},
		{name: "RMSNormalization", needs: 1, axesOf: layerNormAxes, acts: nonlinear | perChannel},
		{name: "LpNormalization", needs: 1, axesOf: lpNormalizationAxes, acts: nonlinear | perChannel},
		{name: "MeanVarianceNormalization", needs: 1, axesOf: meanVarianceAxes, acts: nonlinear | perChannel},
		{name: "LRN", axes: "n [c] s... -> n [c] s...", acts: nonlinear},
		{name: "LayerNormalization", needs: 1, axesOf: layerNormAxes, acts: nonlinear | perChannel},

		// Pooling and reductions over space.
		{name: "MaxPool", needs: 1, axesOf: poolAxes, acts: nonlinear},
		{name: "AveragePool", needs: 1, axesOf: poolAxes},
		{name: "LpPool", needs: 1, axesOf: poolAxes, acts: nonlinear},
		{name: "GlobalAveragePool", needs: 1, axesOf: globalPoolAxes},
		{name: "GlobalMaxPool", needs: 1, axesOf: globalPoolAxes, acts: nonlinear},
		{name: "GridSample", axes: "n c s..., n t... U -> n c t..."},
		{name: "RoiAlign", axesOf: roiAlignAxes, acts: nonlinear},
		{name: "ReduceMean", needs: 1, axesOf: reduceAxes},
		{name: "ReduceSum", needs: 1, axesOf: reduceAxes},
		{name: "ReduceMax", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{name: "ReduceMin", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{name: "ReduceL2", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{name: "ReduceProd", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{name: "ReduceL1", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{name: "ReduceLogSum", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{name: "ReduceLogSumExp", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{name: "ReduceSumSquare", needs: 1, axesOf: reduceAxes, acts: nonlinear},

		// Barriers along one axis.
		{name: "Softmax", needs: 1, axesOf: softmaxAxes, acts: nonlinear},
		{name: "LogSoftmax", needs: 1, axesOf: softmaxAxes, acts: nonlinear},
		{name: "Hardmax", needs: 1, axesOf: softmaxAxes, acts: nonlinear},
		{name: "ArgMax", needs: 1, axesOf: reduceAxes, acts: nonlinear},
		{name: "ArgMin", needs: 1, axesOf: reduceAxes, acts: nonlinear},

		{name: "TopK", needs: 1, axesOf: topKAxes, acts: nonlinear},
		{name: "CumSum", needs: 1, axesOf: cumSumAxes},
		{name: "ReverseSequence", needs: 2, axesOf: reverseSequenceAxes},
		{name: "Trilu", needs: 1, axesOf: triluAxes},

		// Bookkeeping: axes move, split and join by shape.
		{name: "Identity", apply: identity, moves: true},
		{name: "Cast", apply: identity, moves: true},
		{name: "CastLike", apply: identity, moves: true},
		{name: "Dropout", apply: dropout, moves: true},
		{name: "Flatten", needs: 1, apply: flatten, moves: true},
		{name: "Reshape", needs: 1, apply: reshape, moves: true},
		{name: "Transpose", needs: 1, apply: transpose, moves: true},
		{name: "Squeeze", needs: 1, apply: squeeze, moves: true},
		{name: "Unsqueeze", needs: 1, apply: unsqueeze, moves: true},
		{name: "Expand", needs: 2, apply: expand, moves: true},
		{name: "Tile", needs: 2, apply: tile, moves: true},
		{name: "DepthToSpace", axesOf: blockAxes, moves: true},
		{name: "SpaceToDepth", axesOf: blockAxes, moves: true},
		{name: "Concat", apply: concat, moves: true},
		{name: "Pad", needs: 1, apply: pad, moves: true},
		{name: "Slice", needs: 1, apply: slice, moves: true},
		{name: "Split", needs: 1, apply: split, moves: true},
		{name: "Resize", needs: 1, apply: resize},
		{name: "Upsample", needs: 1, apply: resize},

		// Of scikit-learn's models.
		{name: "Scaler", domain: "ai.onnx.ml", needs: 1, apply: scaler, acts: perChannel},

		// Integers that stand for real numbers.
		{name: "QuantizeLinear", needs: 2, axesOf: quantizeAxes, acts: nonlinear | perChannel},
		{name: "DequantizeLinear", needs: 2, apply: dequantize, acts: perChannel, moves: true},
		{name: "QuantizeLinear", domain: "com.microsoft", needs: 2, axesOf: quantizeAxes, acts: nonlinear | perChannel},
		{name: "DequantizeLinear", domain: "com.microsoft", needs: 2, apply: dequantize, acts: perChannel, moves: true},
		{name: "DynamicQuantizeLinear", axes: "s... -> s..., , ", acts: nonlinear},

		// Attention in one operator.
		{name: "Attention", axesOf: attentionAxes, acts: nonlinear, cost: attentionCost},
		{name: "Attention", domain: "com.microsoft", needs: 2, axesOf: packedAttentionAxes, acts: nonlinear, cost: packedAttentionCost},
		{name: "MultiHeadAttention", domain: "com.microsoft", axesOf: multiHeadAttentionAxes, acts: nonlinear, cost: attentionCost},
		{name: "RotaryEmbedding", needs: 1, apply: rotary},
		{name: "RotaryEmbedding", domain: "com.microsoft", needs: 1, apply: rotary},

		// What onnxruntime's optimiser writes.
		{name: "FusedConv", domain: "com.microsoft", axesOf: fusedConvAxes, acts: nonlinear, cost: convCost},
		{name: "FusedGemm", domain: "com.microsoft", axesOf: fusedGemmAxes, acts: nonlinear, cost: gemmCost},
		{name: "FusedMatMul", domain: "com.microsoft", needs: 2, axesOf: fusedMatMulAxes, cost: matMulCost},
		{name: "Gelu", domain: "com.microsoft", apply: unary, acts: nonlinear},
		{name: "QuickGelu", domain: "com.microsoft", apply: unary, acts: nonlinear},
		{name: "BiasGelu", domain: "com.microsoft", apply: biased, acts: nonlinear},
		{name: "FastGelu", domain: "com.microsoft", apply: biased, acts: nonlinear},
		{name: "SkipLayerNormalization", domain: "com.microsoft", needs: 2, axesOf: skipNormAxes, acts: joined | nonlinear | perChannel},
		{name: "SkipSimplifiedLayerNormalization", domain: "com.microsoft", needs: 2, axesOf: skipNormAxes, acts: joined | nonlinear | perChannel},

		// Branches.
		{name: onnxio.Either, domain: onnxio.EitherDomain, apply: either},

		// Shape arithmetic.
		{name: "Constant", apply: constantNode, moves: true},
		{name: "ConstantOfShape", apply: constantOfShape, moves: true},
		{name: "Shape", apply: shapeOf, moves: true},
		{name: "Size", apply: sizeOf, moves: true},
		{name: "Gather", needs: 2, apply: gather, moves: true},
		{name: "Range", apply: rangeOf, moves: true},
	}
	for _, name := range onnxio.Operators(onnxio.Pointwise) {
		o := op{name: name, apply: unary, acts: nonlinear}
		if name == "Neg" {
			o.acts, o.moves = 0, true
		}
		ops = append(ops, o)
	}
	additive := onnxio.Operators(onnxio.Adds)
	for _, name := range onnxio.Operators(onnxio.Broadcasts) {
		o := op{name: name, apply: elementwise, acts: perChannel | nonlinear}
		if slices.Contains(additive, name) {
			o.acts = joined
		}
		ops = append(ops, o)
	}
	return ops
}
