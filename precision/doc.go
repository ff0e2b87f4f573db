// Package precision writes a model with numbers of fewer bits: a model, and for integers inputs, go
// in; a model comes out that onnxruntime runs as it is, and a report of what stayed and why.
//
// Half stores weights as float16 or bfloat16, each behind a Cast, so that arithmetic stays what it
// was. Compute16 lets operators compute with float16 too, but for those whose numbers do not fit.
// Int8 rounds weights and activations to integers (QuantizeLinear and DequantizeLinear around
// operators, which onnxruntime runs on integers): weights with a scale for each channel,
// activations with one that calibration inputs give. Several ways to choose scales are compared by
// how far predictions move on inputs that none was chosen by.
package precision
