// Package refit fits linear operators in closed form: a model, its parents and calibration inputs
// go in; the model with weights by which it computes, layer by layer, what its parents compute, and
// a report, come out. It needs no labels and no gradients.
//
// # What is fitted
//
// Operators are visited in topological order. For each, let x be what it reads in the child (after
// all operators before it have been fitted) and y what it should compute: the mixture Σ share·In·Y
// of the parents' pre-activations Y, moved into the child's channels by their maps. Then
//
//	min Σ‖y − W·x − b‖² + λ·(tr G/d)·‖W − W₀‖²
//
// where W₀ are the weights that transport gave and G is the Gram matrix of x: ridge towards the
// transported solution. λ is chosen on held-out batches.
//
// The last layer of a classifier with several parents aims at the mean of their probabilities, and
// is fitted by the divergence from it instead of by squared error (run.fitScores).
//
// Normalisations over channels (LayerNormalization, as an operator or written out) have a scale and
// a shift for each channel, which are fitted likewise: with other channels around it, a channel is
// divided by another deviation.
//
// At the Add of a residual stream the branch that is computed last aims at the stream itself:
// In·(parents' Add) minus the child's other operand. Errors of the stream are corrected there
// instead of being handed on.
//
// # How
//
// Only sums enter: Gram matrices, cross moments and means, which onnxruntime computes and which add
// up over batches; or, where a layer sees fewer rows than it has inputs, the rows themselves, and
// systems of that size are solved. Both models are evaluated piecewise (stats.Flow), so that a
// whole run costs a small multiple of one forward pass whatever the depth.
package refit
