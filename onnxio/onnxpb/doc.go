// Package onnxpb holds the generated Go types of the ONNX file format.
//
// The schema is monge_onnx.proto in this folder: wire-compatible with public ONNX,
// registered under the package name monge.onnx so that it can live in one
// program with other ONNX libraries. Package onnxio is the convenient way in.
package onnxpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative monge_onnx.proto
