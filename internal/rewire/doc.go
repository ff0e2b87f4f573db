// Package rewire makes copies of a model with other outputs or element types: a model and tensor
// names go in, a model that onnxruntime can run comes out.
package rewire
