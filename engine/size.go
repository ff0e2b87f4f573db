package engine

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Size returns what a model holds and occupies. params counts the numbers in its floating-point and 8-bit or narrower
// tensors, wherever they are stored; indices, shapes and masks are no parameters. bytes is the size of its file and of
// the external data that it refers to.
func Size(m *onnxio.Model) (params, bytes int64) {
	bytes = int64(proto.Size(m.Proto))
	walk(m.Proto.ProtoReflect(), func(p protoreflect.ProtoMessage) {
		t, ok := p.(*onnxpb.TensorProto)
		if !ok {
			return
		}
		n := int64(1)
		for _, d := range t.GetDims() {
			n *= d
		}
		switch typ := DType(t.GetDataType()); typ {
		case onnxpb.TensorProto_INT64, onnxpb.TensorProto_INT32, onnxpb.TensorProto_INT16, onnxpb.TensorProto_UINT64,
			onnxpb.TensorProto_UINT32, onnxpb.TensorProto_UINT16, onnxpb.TensorProto_BOOL, onnxpb.TensorProto_STRING:
		default:
			params += n
		}
		if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			bytes += n * bitsOf(DType(t.GetDataType())) / 8
		}
	})
	return params, bytes
}

// bitsOf is the stored size of an element.
func bitsOf(t DType) int64 {
	switch t {
	case onnxpb.TensorProto_INT4, onnxpb.TensorProto_UINT4, onnxpb.TensorProto_FLOAT4E2M1:
		return 4
	case onnxpb.TensorProto_INT2, onnxpb.TensorProto_UINT2:
		return 2
	case onnxpb.TensorProto_COMPLEX64:
		return 64
	case onnxpb.TensorProto_COMPLEX128:
		return 128
	}
	return int64(max(elemBytes(t), 1)) * 8
}
