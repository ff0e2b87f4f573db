// Package onnxgo lets github.com/owulveryck/onnx-go decode models into Monge's
// view of them: a [Backend] receives the graph that onnx-go reads and shows it
// as an [onnxio.Graph], with its layers and weights.
//
// It serves programs that use onnx-go already, and Monge's own tests as a
// second reader of the same files. Files are better read with [onnxio.Load]:
// onnx-go passes on neither node names, domains and operator set versions nor
// subgraphs, and reads only float, double, int32, int64 and (in typed fields)
// bool tensors. It also allocates whatever shapes a file declares, so give it
// only files that are trusted.
package onnxgo
