package coupling

import "github.com/monge-ml/monge/onnxio"

// An Op is the whole contract of an operator's rule. Either Axes (a constant
// axis expression), AxesOf (one computed from attributes and ranks) or Apply
// (for operators whose mapping hangs on shapes and constants) says how the
// operator's axes correspond.
type Op struct {
	Name   string // operator type
	Domain string // "" is the standard domain
	Axes   string
	AxesOf func(c *call) (expr string, sizes map[string]int, newRest map[string][]int, err error)
	Apply  func(c *call) ([]*value, error)
	// Acts says what the operator does to channels that pass through.
	Acts Flags
	// Moves: the operator moves elements without computing with them, so that a
	// weight behind it can be edited where it is stored.
	Moves bool
}

// table returns every rule. Adding an operator is one line here, and one test.
func table() []Op {
	ops := []Op{
		// Linear operators with weights.
		{Name: "Conv", AxesOf: convAxes},
		{Name: "ConvTranspose", AxesOf: convTransposeAxes},
		{Name: "Gemm", AxesOf: gemmAxes},
		{Name: "MatMul", AxesOf: matMulAxes},
		{Name: "Einsum", AxesOf: einsumAxes},
		{Name: "RNN", AxesOf: recurrentAxes, Acts: nonlinear},
		{Name: "GRU", AxesOf: recurrentAxes, Acts: nonlinear},
		{Name: "LSTM", AxesOf: recurrentAxes, Acts: nonlinear},

		// Per-channel followers.
		{Name: "BatchNormalization", AxesOf: batchNormAxes, Acts: perChannel},
		{Name: "InstanceNormalization", Axes: "n c {s...}, c, c -> n c {s...}", Acts: perChannel | nonlinear},
		{Name: "GroupNormalization", AxesOf: groupNormAxes, Acts: nonlinear | perChannel},
		{Name: "RMSNormalization", AxesOf: layerNormAxes, Acts: nonlinear | perChannel},
		{Name: "LpNormalization", AxesOf: lpNormalizationAxes, Acts: nonlinear | perChannel},
		{Name: "MeanVarianceNormalization", AxesOf: meanVarianceAxes, Acts: nonlinear | perChannel},
		{Name: "LRN", Axes: "n [c] s... -> n [c] s...", Acts: nonlinear},
		{Name: "LayerNormalization", AxesOf: layerNormAxes, Acts: nonlinear | perChannel},

		// Elementwise over two or more tensors, with broadcasting.
		{Name: "Add", Apply: elementwise, Acts: joined},
		{Name: "Sub", Apply: elementwise, Acts: joined},
		{Name: "Sum", Apply: elementwise, Acts: joined},
		{Name: "Mean", Apply: elementwise, Acts: joined},
		{Name: "Mul", Apply: elementwise, Acts: perChannel | nonlinear},
		{Name: "Div", Apply: elementwise, Acts: perChannel | nonlinear},
		{Name: "Pow", Apply: elementwise, Acts: perChannel | nonlinear},
		{Name: "PRelu", Apply: elementwise, Acts: perChannel | nonlinear},
		{Name: "Max", Apply: elementwise, Acts: perChannel | nonlinear},
		{Name: "Min", Apply: elementwise, Acts: perChannel | nonlinear},
		{Name: "Where", Apply: elementwise, Acts: perChannel | nonlinear},
		{Name: "Mod", Apply: elementwise, Acts: perChannel | nonlinear},

		// Pooling and reductions over space.
		{Name: "MaxPool", AxesOf: poolAxes, Acts: nonlinear},
		{Name: "AveragePool", AxesOf: poolAxes},
		{Name: "LpPool", AxesOf: poolAxes, Acts: nonlinear},
		{Name: "GlobalAveragePool", AxesOf: globalPoolAxes},
		{Name: "GlobalMaxPool", AxesOf: globalPoolAxes, Acts: nonlinear},
		{Name: "GridSample", Axes: "n c s..., n t... U -> n c t..."},
		{Name: "RoiAlign", AxesOf: roiAlignAxes, Acts: nonlinear},
		{Name: "ReduceMean", AxesOf: reduceAxes},
		{Name: "ReduceSum", AxesOf: reduceAxes},
		{Name: "ReduceMax", AxesOf: reduceAxes, Acts: nonlinear},
		{Name: "ReduceMin", AxesOf: reduceAxes, Acts: nonlinear},
		{Name: "ReduceL2", AxesOf: reduceAxes, Acts: nonlinear},
		{Name: "ReduceProd", AxesOf: reduceAxes, Acts: nonlinear},
		{Name: "ReduceL1", AxesOf: reduceAxes, Acts: nonlinear},
		{Name: "ReduceLogSum", AxesOf: reduceAxes, Acts: nonlinear},
		{Name: "ReduceLogSumExp", AxesOf: reduceAxes, Acts: nonlinear},
		{Name: "ReduceSumSquare", AxesOf: reduceAxes, Acts: nonlinear},

		// Barriers along one axis.
		{Name: "Softmax", AxesOf: softmaxAxes, Acts: nonlinear},
		{Name: "LogSoftmax", AxesOf: softmaxAxes, Acts: nonlinear},
		{Name: "Hardmax", AxesOf: softmaxAxes, Acts: nonlinear},
		{Name: "ArgMax", AxesOf: reduceAxes, Acts: nonlinear},
		{Name: "ArgMin", AxesOf: reduceAxes, Acts: nonlinear},

		{Name: "TopK", AxesOf: topKAxes, Acts: nonlinear},
		{Name: "CumSum", AxesOf: cumSumAxes},
		{Name: "ReverseSequence", AxesOf: reverseSequenceAxes},
		{Name: "Trilu", AxesOf: triluAxes},

		// Bookkeeping: axes move, split and join by shape.
		{Name: "Identity", Apply: identity, Moves: true},
		{Name: "Cast", Apply: identity, Moves: true},
		{Name: "CastLike", Apply: identity, Moves: true},
		{Name: "Dropout", Apply: dropout, Moves: true},
		{Name: "Flatten", Apply: flatten, Moves: true},
		{Name: "Reshape", Apply: reshape, Moves: true},
		{Name: "Transpose", Apply: transpose, Moves: true},
		{Name: "Squeeze", Apply: squeeze, Moves: true},
		{Name: "Unsqueeze", Apply: unsqueeze, Moves: true},
		{Name: "Expand", Apply: expand, Moves: true},
		{Name: "Tile", Apply: tile, Moves: true},
		{Name: "DepthToSpace", AxesOf: blockAxes, Moves: true},
		{Name: "SpaceToDepth", AxesOf: blockAxes, Moves: true},
		{Name: "Concat", Apply: concat, Moves: true},
		{Name: "Pad", Apply: pad, Moves: true},
		{Name: "Slice", Apply: slice, Moves: true},
		{Name: "Split", Apply: split, Moves: true},
		{Name: "Resize", Apply: resize},
		{Name: "Upsample", Apply: resize},

		// Of scikit-learn's models.
		{Name: "Scaler", Domain: "ai.onnx.ml", Apply: scaler, Acts: perChannel},

		// Integers that stand for real numbers.
		{Name: "QuantizeLinear", AxesOf: quantizeAxes, Acts: nonlinear | perChannel},
		{Name: "DequantizeLinear", Apply: dequantize, Acts: perChannel, Moves: true},
		{Name: "QuantizeLinear", Domain: "com.microsoft", AxesOf: quantizeAxes, Acts: nonlinear | perChannel},
		{Name: "DequantizeLinear", Domain: "com.microsoft", Apply: dequantize, Acts: perChannel, Moves: true},
		{Name: "DynamicQuantizeLinear", Axes: "s... -> s..., , ", Acts: nonlinear},

		// Attention in one operator.
		{Name: "Attention", AxesOf: attentionAxes, Acts: nonlinear},
		{Name: "Attention", Domain: "com.microsoft", AxesOf: packedAttentionAxes, Acts: nonlinear},
		{Name: "MultiHeadAttention", Domain: "com.microsoft", AxesOf: multiHeadAttentionAxes, Acts: nonlinear},
		{Name: "RotaryEmbedding", Apply: rotary},
		{Name: "RotaryEmbedding", Domain: "com.microsoft", Apply: rotary},

		// What onnxruntime's optimiser writes.
		{Name: "FusedConv", Domain: "com.microsoft", AxesOf: fusedConvAxes, Acts: nonlinear},
		{Name: "FusedGemm", Domain: "com.microsoft", AxesOf: fusedGemmAxes, Acts: nonlinear},
		{Name: "FusedMatMul", Domain: "com.microsoft", AxesOf: fusedMatMulAxes},
		{Name: "Gelu", Domain: "com.microsoft", Apply: unary, Acts: nonlinear},
		{Name: "QuickGelu", Domain: "com.microsoft", Apply: unary, Acts: nonlinear},
		{Name: "BiasGelu", Domain: "com.microsoft", Apply: biased, Acts: nonlinear},
		{Name: "FastGelu", Domain: "com.microsoft", Apply: biased, Acts: nonlinear},
		{Name: "SkipLayerNormalization", Domain: "com.microsoft", AxesOf: skipNormAxes, Acts: joined | nonlinear | perChannel},
		{Name: "SkipSimplifiedLayerNormalization", Domain: "com.microsoft", AxesOf: skipNormAxes, Acts: joined | nonlinear | perChannel},

		// Branches.
		{Name: onnxio.Either, Domain: onnxio.EitherDomain, Apply: either},

		// Shape arithmetic.
		{Name: "Constant", Apply: constantNode, Moves: true},
		{Name: "ConstantOfShape", Apply: constantOfShape, Moves: true},
		{Name: "Shape", Apply: shapeOf, Moves: true},
		{Name: "Size", Apply: sizeOf, Moves: true},
		{Name: "Gather", Apply: gather, Moves: true},
		{Name: "Range", Apply: rangeOf, Moves: true},
	}
	// Elementwise of one tensor: every axis passes.
	for _, name := range []string{
		"Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus",
		"Softsign", "Gelu", "Mish", "Swish", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Sign", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan",
		"Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Ceil", "Floor", "Round", "Clip", "Shrink", "IsNaN", "IsInf", "Not", "BitwiseNot",
	} {
		ops = append(ops, Op{Name: name, Apply: unary, Acts: nonlinear})
	}
	ops = append(ops, Op{Name: "Neg", Apply: unary, Moves: true})
	// Comparisons join axes as arithmetic does.
	for _, name := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"} {
		ops = append(ops, Op{Name: name, Apply: elementwise, Acts: perChannel | nonlinear})
	}
	return ops
}
