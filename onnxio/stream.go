package onnxio

import (
	"bufio"
	"context"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// writeTo writes a model as Encode does, except that initializers are the last field of the graph
// and raw_data of a tensor, and the graph that of the model: so the numbers go to w from where they
// are, and no second copy of the model is made. It takes the model apart.
func (m *Model) writeTo(ctx context.Context, w io.Writer) error {
	if err := m.encodable(); err != nil {
		return err
	}
	g := m.Proto.Graph
	tensors := g.Initializer
	m.Proto.Graph, g.Initializer = nil, nil
	encoding := proto.MarshalOptions{Deterministic: true}
	model, err := encoding.Marshal(m.Proto)
	if err != nil {
		return err
	}
	graph, err := encoding.Marshal(g)
	if err != nil {
		return err
	}
	size := len(graph)
	for _, t := range tensors {
		size += protowire.SizeTag(graphInitializer) + protowire.SizeBytes(proto.Size(t))
	}
	out := bufio.NewWriter(w)
	out.Write(model) // the first error stays, and Flush returns it
	out.Write(head(modelGraph, size))
	out.Write(graph)
	for _, t := range tensors {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writeTensor(out, t, encoding); err != nil {
			return err
		}
	}
	return out.Flush()
}

// writeTensor writes an initializer of a graph.
func writeTensor(w io.Writer, t *onnxpb.TensorProto, encoding proto.MarshalOptions) error {
	size, raw := proto.Size(t), t.RawData
	t.RawData = nil
	rest, err := encoding.Marshal(t)
	if err != nil {
		return err
	}
	w.Write(head(graphInitializer, size))
	w.Write(rest)
	if raw != nil {
		w.Write(head(tensorRawData, len(raw)))
		w.Write(raw)
	}
	return nil
}

// head is what stands before a field of so many bytes.
func head(field protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.BytesType), uint64(size))
}
