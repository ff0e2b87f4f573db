package onnxio

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Clone copies the model's structure. Tensor payloads are shared with the original: both treat them
// as immutable and replace them whole ([Graph.SetConstant]), so a clone of a big model costs
// little.
func (m *Model) Clone() *Model {
	c := *m
	c.Proto = new(onnxpb.ModelProto)
	copyMessage(c.Proto.ProtoReflect(), m.Proto.ProtoReflect())
	return &c
}

func clip[T any](s []T) []T { return s[:len(s):len(s)] }

// payloadField reports whether a field of TensorProto holds elements.
func payloadField(n protoreflect.FieldNumber) bool {
	switch n {
	case 4, 5, 6, 7, 9, 10, 11: // float, int32, string, int64, raw, double, uint64
		return true
	}
	return false
}

func copyMessage(dst, src protoreflect.Message) {
	t, isTensor := src.Interface().(*onnxpb.TensorProto)
	if isTensor {
		// The payload is shared, with capacities clipped so that an append to one copy cannot reach
		// into the other. All other fields are copied.
		c := dst.Interface().(*onnxpb.TensorProto)
		c.FloatData, c.DoubleData, c.StringData = clip(t.FloatData), clip(t.DoubleData), clip(t.StringData)
		c.Int32Data, c.Int64Data, c.Uint64Data = clip(t.Int32Data), clip(t.Int64Data), clip(t.Uint64Data)
		c.RawData = clip(t.RawData)
	}
	src.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !isTensor || !payloadField(fd.Number()) {
			copyField(dst, fd, v)
		}
		return true
	})
	copyUnknown(dst, src)
}

func copyField(dst protoreflect.Message, fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	isMessage := fd.Message() != nil
	switch {
	case fd.IsList():
		from, to := v.List(), dst.Mutable(fd).List()
		for i := range from.Len() {
			if isMessage {
				copyMessage(to.AppendMutable().Message(), from.Get(i).Message())
			} else {
				to.Append(from.Get(i))
			}
		}
	case isMessage:
		copyMessage(dst.Mutable(fd).Message(), v.Message())
	default:
		dst.Set(fd, v)
	}
}

func copyUnknown(dst, src protoreflect.Message) {
	if u := src.GetUnknown(); len(u) > 0 {
		dst.SetUnknown(append(protoreflect.RawFields(nil), u...))
	}
}
