package onnxio

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Field numbers of onnx.proto on the way from a model to the bytes of its weights.
const (
	modelGraph       protowire.Number = 7
	graphInitializer protowire.Number = 5
	tensorRawData    protowire.Number = 9
)

// nesting is how many messages may lie in each other, the model included: onnxruntime and the onnx
// package read no more, as protobuf limits them, and what walks through graphs goes down as far.
const nesting = maxNesting + 1

// unmarshalShared decodes a model whose initializers share their raw data with the buffer, which
// must not change any more: proto.Unmarshal would copy it, and a model would take twice its size
// while it is read. It reports false where the buffer is no well-formed message, which
// proto.Unmarshal can explain.
func unmarshalShared(data []byte) (*onnxpb.ModelProto, bool) {
	m := new(onnxpb.ModelProto)
	graphs, ok := cut(data, modelGraph, m, 0)
	if !ok {
		return nil, false
	}
	for _, graph := range graphs {
		// A field that occurs more than once is merged.
		if m.Graph == nil {
			m.Graph = new(onnxpb.GraphProto)
		}
		initializers, ok := cut(graph, graphInitializer, m.Graph, 1)
		if !ok {
			return nil, false
		}
		for _, initializer := range initializers {
			t := new(onnxpb.TensorProto)
			raw, ok := cut(initializer, tensorRawData, t, 2)
			if !ok {
				return nil, false
			}
			if n := len(raw); n > 0 {
				t.RawData = raw[n-1] // the last one counts
			}
			m.Graph.Initializer = append(m.Graph.Initializer, t)
		}
	}
	return m, true
}

// cut merges a message but for one length-delimited field into m, and returns the values of that
// field. depth is that of the message in the model.
func cut(data []byte, field protowire.Number, m proto.Message, depth int) (values [][]byte, ok bool) {
	rest := []byte{}
	for len(data) > 0 {
		num, typ, tag := protowire.ConsumeTag(data)
		if tag < 0 {
			return nil, false
		}
		n := protowire.ConsumeFieldValue(num, typ, data[tag:])
		if n < 0 {
			return nil, false
		}
		if num == field && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(data[tag:])
			values = append(values, v[:len(v):len(v)])
		} else {
			rest = append(rest, data[:tag+n]...)
		}
		data = data[tag+n:]
	}
	return values, proto.UnmarshalOptions{Merge: true, RecursionLimit: nesting - depth}.Unmarshal(rest, m) == nil
}
