package onnxio

import (
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Size returns what the model holds and occupies. params counts the elements of
// all tensors whose type [IsParameter], wherever they are stored; bytes is the
// size of its file and of the external data that it refers to.
func (m *Model) Size() (params, bytes int64) {
	bytes = int64(proto.Size(m.Proto))
	_ = visitTensors(m.Proto, func(t *onnxpb.TensorProto, _ place, _ string) error {
		n, err := elements(t.GetDims())
		if err != nil {
			return nil // counts for nothing
		}
		typ := onnxpb.TensorProto_DataType(t.GetDataType())
		if IsParameter(typ) {
			params += n
		}
		if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			bytes += StoredBytes(typ, n)
		}
		return nil
	})
	return params, bytes
}
