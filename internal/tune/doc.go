// Package tune distils: a model, its parents and unlabelled inputs go in; the model, trained until
// it predicts more nearly what the parents predict, and a report, come out.
//
// # What is minimised
//
// The Kullback-Leibler divergence from the parents' mean probabilities (of several parents,
// teach.Decided; for outputs that are no classifier's, as eval.FindTasks says, the squared error
// relative to the variance), and for logits and every activation that a linear operator reads, the
// squared error relative to the variance: the same targets (teach.Target) that package refit aims
// at. A calibration set has few samples, and a classifier's outputs say little about each; inner
// activations say much. Their weight falls to zero over the run: of an MLP of a tenth of its
// widths, 1,000 images, 96.4 % of the test images came out right instead of 96.0.
//
// Logits that are very far apart are divided by a temperature first (teach.Target.Temper). Without,
// a model with logits in the thousands was trained to predict one class for everything.
//
// # How
//
// Gradients are ONNX nodes, written behind the model's own in reverse order, and onnxruntime runs
// them; see rules.go for the operators that they pass through. What lies before another operator
// keeps its parameters. Trained are weights and biases of Conv, Gemm and MatMul and constants that
// are added: matrices by muon where that costs little, the rest by adam, with a warm-up and a rate
// that falls as a cosine. What is trained on are variants of the inputs (dataset.Data.Varied):
// images are shifted and mirrored at random, half of the inputs laid over others, and sequences of
// tokens continued as others are.
//
// Convolutions run in onnxruntime's own layout where that is faster (blocked.go). As many samples of
// a step run together as teach.Options.Memory allows; gradients of the others are added. On one
// core, per second of processor time beside other work, EfficientNet-Lite0 went from 3.2 images to
// 8.8.
//
// How large steps may be depends on the model: those that serve a ResNet-20 best took a refitted
// EfficientNet-Lite0 from a loss of 0.74 to 1.46 within 88 steps, and to 0.66 when a fifth as large.
// A very small step tells beforehand how far one moves the outputs (restrain.go).
//
// The result is judged on inputs held out and on variants of these. A classifier's logits are
// multiplied by a factor in the end, so that it is as sure as its parents are in the mean: of two
// perceptrons fused at equal shares the divergence from that mean fell from 0.0100 to 0.0026 nats
// on 10,000 test images.
//
// Many steps are what matters, however few the inputs: see mostSteps. An MLP of a tenth of its
// widths, refitted on 16 images, got 53.6 % of the test images right, and after 1,000 steps 87.9 %.
package tune
