// Package stats gathers statistics of a model's activations: a model and data go in, second moments
// and rows of what an operator reads and should compute come out.
//
// A [Flow] walks along a model piece by piece and keeps the activations at its frontier, in memory
// up to a cap and in temporary files beyond it, so that a visit to every layer costs about one
// forward pass. [CollectMoments] has onnxruntime sum up the moments, [CollectRows] keeps the rows
// themselves.
package stats
