package rewire

import (
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// WithoutBFloat16 returns m itself, or, if m mentions bfloat16, a copy in which every such tensor,
// value and conversion is float32. Each bfloat16 number is a float32 number, so the weights keep
// their values; the arithmetic is more exact.
func WithoutBFloat16(m *onnxio.Model) (*onnxio.Model, error) {
	return Widen(m, onnxpb.TensorProto_BFLOAT16)
}

// Widen returns m itself, or, if m mentions the given narrower floating-point type, a copy in which
// all such tensors, values and conversions are float32.
func Widen(m *onnxio.Model, from onnxpb.TensorProto_DataType) (*onnxio.Model, error) {
	if !mentions(m, from) {
		return m, nil
	}
	c := m.Clone()
	var failed error
	eachType(c, func(t onnxpb.TensorProto_DataType, tensor *onnxpb.TensorProto) onnxpb.TensorProto_DataType {
		if t != from {
			return t
		}
		if tensor != nil && failed == nil {
			failed = widenTensor(c, tensor)
		}
		return onnxio.Float
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
