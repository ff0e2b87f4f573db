// Package onnxgo lets github.com/owulveryck/onnx-go decode models into Monge's view of them: a
// [Backend] receives the graph that onnx-go reads and hands it on as an [onnxio.Model], which can
// be looked at, compressed and saved.
//
// It serves programs that use onnx-go already, and Monge's own tests as a second reader of the same
// files. Files are better read with [onnxio.Load]: onnx-go passes on no node names, domains,
// operator set versions, subgraphs or sizes that are not fixed, and reads only float, double,
// int32, int64 and (in typed fields) bool tensors. It also allocates whatever shapes a file
// declares, so give it only files that are trusted.
package onnxgo
