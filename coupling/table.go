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
		{Name: "RNN", AxesOf: recurrentAxes, Acts: Nonlinear},
		{Name: "GRU", AxesOf: recurrentAxes, Acts: Nonlinear},
		{Name: "LSTM", AxesOf: recurrentAxes, Acts: Nonlinear},

		// Per-channel followers.
		{Name: "BatchNormalization", AxesOf: batchNormAxes, Acts: PerChannel},
		{Name: "InstanceNormalization", Axes: "n c {s...}, c, c -> n c {s...}", Acts: PerChannel | Nonlinear},
		{Name: "GroupNormalization", AxesOf: groupNormAxes, Acts: Nonlinear | PerChannel},
		{Name: "RMSNormalization", AxesOf: layerNormAxes, Acts: Nonlinear | PerChannel},
		{Name: "LpNormalization", AxesOf: lpNormalizationAxes, Acts: Nonlinear | PerChannel},
		{Name: "MeanVarianceNormalization", AxesOf: meanVarianceAxes, Acts: Nonlinear | PerChannel},
		{Name: "LRN", Axes: "n [c] s... -> n [c] s...", Acts: Nonlinear},
		{Name: "LayerNormalization", AxesOf: layerNormAxes, Acts: Nonlinear | PerChannel},

		// Elementwise over two or more tensors, with broadcasting.
		{Name: "Add", Apply: elementwise, Acts: Joined},
		{Name: "Sub", Apply: elementwise, Acts: Joined},
		{Name: "Sum", Apply: elementwise, Acts: Joined},
		{Name: "Mean", Apply: elementwise, Acts: Joined},
		{Name: "Mul", Apply: elementwise, Acts: PerChannel | Nonlinear},
		{Name: "Div", Apply: elementwise, Acts: PerChannel | Nonlinear},
		{Name: "Pow", Apply: elementwise, Acts: PerChannel | Nonlinear},
		{Name: "PRelu", Apply: elementwise, Acts: PerChannel | Nonlinear},
		{Name: "Max", Apply: elementwise, Acts: PerChannel | Nonlinear},
		{Name: "Min", Apply: elementwise, Acts: PerChannel | Nonlinear},
		{Name: "Where", Apply: elementwise, Acts: PerChannel | Nonlinear},
		{Name: "Mod", Apply: elementwise, Acts: PerChannel | Nonlinear},

		// Pooling and reductions over space.
		{Name: "MaxPool", AxesOf: poolAxes, Acts: Nonlinear},
		{Name: "AveragePool", AxesOf: poolAxes},
		{Name: "LpPool", AxesOf: poolAxes, Acts: Nonlinear},
		{Name: "GlobalAveragePool", AxesOf: globalPoolAxes},
		{Name: "GlobalMaxPool", AxesOf: globalPoolAxes, Acts: Nonlinear},
		{Name: "GridSample", Axes: "n c s..., n t... U -> n c t..."},
		{Name: "RoiAlign", AxesOf: roiAlignAxes, Acts: Nonlinear},
		{Name: "ReduceMean", AxesOf: reduceAxes},
		{Name: "ReduceSum", AxesOf: reduceAxes},
		{Name: "ReduceMax", AxesOf: reduceAxes, Acts: Nonlinear},
		{Name: "ReduceMin", AxesOf: reduceAxes, Acts: Nonlinear},
		{Name: "ReduceL2", AxesOf: reduceAxes, Acts: Nonlinear},
		{Name: "ReduceProd", AxesOf: reduceAxes, Acts: Nonlinear},
		{Name: "ReduceL1", AxesOf: reduceAxes, Acts: Nonlinear},
		{Name: "ReduceLogSum", AxesOf: reduceAxes, Acts: Nonlinear},
		{Name: "ReduceLogSumExp", AxesOf: reduceAxes, Acts: Nonlinear},
		{Name: "ReduceSumSquare", AxesOf: reduceAxes, Acts: Nonlinear},

		// Barriers along one axis.
		{Name: "Softmax", AxesOf: softmaxAxes, Acts: Nonlinear},
		{Name: "LogSoftmax", AxesOf: softmaxAxes, Acts: Nonlinear},
		{Name: "Hardmax", AxesOf: softmaxAxes, Acts: Nonlinear},
		{Name: "ArgMax", AxesOf: reduceAxes, Acts: Nonlinear},
		{Name: "ArgMin", AxesOf: reduceAxes, Acts: Nonlinear},

		{Name: "TopK", AxesOf: topKAxes, Acts: Nonlinear},
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
		{Name: "Scaler", Domain: "ai.onnx.ml", Apply: scaler, Acts: PerChannel},

		// Integers that stand for real numbers.
		{Name: "QuantizeLinear", AxesOf: quantizeAxes, Acts: Nonlinear | PerChannel},
		{Name: "DequantizeLinear", Apply: dequantize, Acts: PerChannel, Moves: true},
		{Name: "QuantizeLinear", Domain: "com.microsoft", AxesOf: quantizeAxes, Acts: Nonlinear | PerChannel},
		{Name: "DequantizeLinear", Domain: "com.microsoft", Apply: dequantize, Acts: PerChannel, Moves: true},
		{Name: "DynamicQuantizeLinear", Axes: "s... -> s..., , ", Acts: Nonlinear},

		// Attention in one operator.
		{Name: "Attention", AxesOf: attentionAxes, Acts: Nonlinear},
		{Name: "Attention", Domain: "com.microsoft", AxesOf: packedAttentionAxes, Acts: Nonlinear},
		{Name: "MultiHeadAttention", Domain: "com.microsoft", AxesOf: multiHeadAttentionAxes, Acts: Nonlinear},
		{Name: "RotaryEmbedding", Apply: rotary},
		{Name: "RotaryEmbedding", Domain: "com.microsoft", Apply: rotary},

		// What onnxruntime's optimiser writes.
		{Name: "FusedConv", Domain: "com.microsoft", AxesOf: fusedConvAxes, Acts: Nonlinear},
		{Name: "FusedGemm", Domain: "com.microsoft", AxesOf: fusedGemmAxes, Acts: Nonlinear},
		{Name: "FusedMatMul", Domain: "com.microsoft", AxesOf: fusedMatMulAxes},
		{Name: "Gelu", Domain: "com.microsoft", Apply: unary, Acts: Nonlinear},
		{Name: "QuickGelu", Domain: "com.microsoft", Apply: unary, Acts: Nonlinear},
		{Name: "BiasGelu", Domain: "com.microsoft", Apply: biased, Acts: Nonlinear},
		{Name: "FastGelu", Domain: "com.microsoft", Apply: biased, Acts: Nonlinear},
		{Name: "SkipLayerNormalization", Domain: "com.microsoft", AxesOf: skipNormAxes, Acts: Joined | Nonlinear | PerChannel},
		{Name: "SkipSimplifiedLayerNormalization", Domain: "com.microsoft", AxesOf: skipNormAxes, Acts: Joined | Nonlinear | PerChannel},

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
		ops = append(ops, Op{Name: name, Apply: unary, Acts: Nonlinear})
	}
	ops = append(ops, Op{Name: "Neg", Apply: unary, Moves: true})
	// Comparisons join axes as arithmetic does.
	for _, name := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"} {
		ops = append(ops, Op{Name: name, Apply: elementwise, Acts: PerChannel | Nonlinear})
	}
	return ops
}
