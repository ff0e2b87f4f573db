package rewire

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// WithoutBFloat16 returns m itself, or, if m mentions bfloat16, a copy in which every such tensor, value and conversion is
// float32. Each bfloat16 number is a float32 number, so the weights keep their values; the arithmetic is more exact.
func WithoutBFloat16(m *onnxio.Model) (*onnxio.Model, error) {
	return Widen(m, onnxpb.TensorProto_BFLOAT16)
}

// Widen returns m itself, or, if m mentions the given narrower floating-point type, a copy in which all such
// tensors, values and conversions are float32.
func Widen(m *onnxio.Model, from onnxpb.TensorProto_DataType) (*onnxio.Model, error) {
	const to = onnxpb.TensorProto_FLOAT
	if !mentions(m, from) {
		return m, nil
	}
	c := m.Clone()
	var failed error
	walk(c.Proto.ProtoReflect(), func(p protoreflect.ProtoMessage) {
		switch p := p.(type) {
		case *onnxpb.TensorProto:
			if onnxpb.TensorProto_DataType(p.GetDataType()) == from && failed == nil {
				failed = widenTensor(c, p)
			}
		case *onnxpb.AttributeProto:
			if isTypeAttribute(p) && onnxpb.TensorProto_DataType(p.GetI()) == from {
				p.I = new(int64(to))
			}
		default:
			for _, t := range typeFields(p) {
				if onnxpb.TensorProto_DataType(*t) == from {
					*t = int32(to)
				}
			}
		}
	})
	if failed != nil {
		return nil, failed
	}
	return c, nil
}

// widenTensor stores the elements of a tensor as float32, in the model.
func widenTensor(m *onnxio.Model, p *onnxpb.TensorProto) error {
	t, err := m.Tensor(p)
	if err != nil {
		return err
	}
	t.Type = onnxpb.TensorProto_FLOAT
	wide := t.Proto()
	p.DataType, p.RawData, p.Int32Data = wide.DataType, wide.RawData, nil
	p.DataLocation, p.ExternalData = nil, nil
	return nil
}
