package onnxio

import "github.com/monge-ml/monge/onnxio/onnxpb"

// ElemType returns the element type of a tensor, UNDEFINED where it is unknown or the value is no
// tensor.
func ElemType(v *onnxpb.ValueInfoProto) onnxpb.TensorProto_DataType {
	return onnxpb.TensorProto_DataType(v.GetType().GetTensorType().GetElemType())
}

// Dims returns the shape of a tensor as far as it is known: for each axis its length, or -1, and
// the name of a symbolic length, or "". ok is false where not even the rank is known. Negative
// lengths, which some exporters write for unknown ones, come back as -1.
func Dims(v *onnxpb.ValueInfoProto) (dims []int64, params []string, ok bool) {
	shape := v.GetType().GetTensorType().GetShape()
	if shape == nil {
		return nil, nil, false
	}
	dims = make([]int64, len(shape.Dim))
	params = make([]string, len(shape.Dim))
	for i, d := range shape.Dim {
		dims[i], params[i] = -1, d.GetDimParam()
		if x, isValue := d.GetValue().(*onnxpb.TensorShapeProto_Dimension_DimValue); isValue && x.DimValue >= 0 {
			dims[i] = x.DimValue
		}
	}
	return dims, params, true
}

// SetDims gives a tensor a wholly known shape. The names of axes' meanings (denotations) stay where
// the rank does; what is no tensor is left alone.
func SetDims(v *onnxpb.ValueInfoProto, dims []int) {
	t := v.GetType().GetTensorType()
	if t == nil {
		return
	}
	old := t.GetShape().GetDim()
	shape := new(onnxpb.TensorShapeProto)
	for i, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{
			Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)},
		}
		if len(old) == len(dims) {
			dim.Denotation = old[i].Denotation
		}
		shape.Dim = append(shape.Dim, dim)
	}
	t.Shape = shape
}
