// Package tune trains a narrower or fused model on unlabelled inputs until it
// predicts what the models predict that it came from: the "moderate
// fine-tuning" after an alignment, as a distillation.
//
// # What is minimised
//
// The sum of the Kullback-Leibler divergence from the sources' mean
// probabilities (for outputs that are no classifier's the squared error relative
// to the variance) and, for logits and every activation that a linear operator
// reads, the
// squared error, relative to the variance, against Σ share·In·Y of the sources'
// activations Y: the same targets that package refit aims at. A calibration set
// has few samples, and a classifier's outputs say little about each; inner
// activations say much. Measured on a VGG11 of half its widths, 2,000 images: 70.2 %
// of the test images right when outputs alone count, 71.0 when activations do
// too, after four epochs.
//
// # How
//
// Gradients are ONNX nodes, written behind the model's own in reverse order, and
// onnxruntime runs them; see rules.go for the operators that they pass through.
// What lies before another operator keeps its parameters. Trained are weights
// and biases of Conv, Gemm and MatMul and constants that are added, by Adam with
// a warm-up and a rate that falls as a cosine. Images are shifted and mirrored
// at random.
package tune
