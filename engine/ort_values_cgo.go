//go:build cgo

package engine

import (
	"fmt"
	"reflect"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// toORT makes the binding's tensor of a Value whose elements were checked.
func toORT(v *Value) (ort.Value, error) {
	switch v.Type {
	case onnxpb.TensorProto_FLOAT:
		return newTensor(v.Dims, v.F32)
	case onnxpb.TensorProto_DOUBLE:
		return newTensor(v.Dims, v.F64)
	case onnxpb.TensorProto_INT64:
		return newTensor(v.Dims, v.I64)
	case onnxpb.TensorProto_INT32:
		return newTensor(v.Dims, narrow[int32](v.I64))
	case onnxpb.TensorProto_INT16:
		return newTensor(v.Dims, narrow[int16](v.I64))
	case onnxpb.TensorProto_INT8:
		return newTensor(v.Dims, narrow[int8](v.I64))
	case onnxpb.TensorProto_UINT64:
		return newTensor(v.Dims, narrow[uint64](v.I64))
	case onnxpb.TensorProto_UINT32:
		return newTensor(v.Dims, narrow[uint32](v.I64))
	case onnxpb.TensorProto_UINT16:
		return newTensor(v.Dims, narrow[uint16](v.I64))
	case onnxpb.TensorProto_UINT8:
		return newTensor(v.Dims, narrow[uint8](v.I64))
	case onnxpb.TensorProto_BOOL:
		b := make([]bool, len(v.I64))
		for i, x := range v.I64 {
			b[i] = x != 0
		}
		return newTensor(v.Dims, b)
	case onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16:
		if len(v.Dims) == 0 || v.Len() == 0 {
			return nil, fmt.Errorf("the binding takes no %v tensor of shape %v", v.Type, v.Dims)
		}
		t, err := ort.NewCustomDataTensor(shapeOf(v.Dims), v.Proto().GetRawData(), ort.TensorElementDataType(v.Type))
		return orNil(t, err)
	}
	return nil, fmt.Errorf("element type %v cannot be fed", v.Type)
}

// fromORT copies the binding's tensor into a Value.
func fromORT(t ort.Value) (*Value, error) {
	switch t := t.(type) {
	case *ort.Tensor[float32]:
		return &Value{Type: onnxpb.TensorProto_FLOAT, Dims: dimsOf(t), F32: t.GetData()}, nil
	case *ort.Tensor[float64]:
		return &Value{Type: onnxpb.TensorProto_DOUBLE, Dims: dimsOf(t), F64: t.GetData()}, nil
	case *ort.Tensor[int64]:
		return &Value{Type: onnxpb.TensorProto_INT64, Dims: dimsOf(t), I64: t.GetData()}, nil
	case *ort.Tensor[int32]:
		return widen(t, t.GetData(), onnxpb.TensorProto_INT32), nil
	case *ort.Tensor[int16]:
		return widen(t, t.GetData(), onnxpb.TensorProto_INT16), nil
	case *ort.Tensor[int8]:
		return widen(t, t.GetData(), onnxpb.TensorProto_INT8), nil
	case *ort.Tensor[uint64]:
		return widen(t, t.GetData(), onnxpb.TensorProto_UINT64), nil
	case *ort.Tensor[uint32]:
		return widen(t, t.GetData(), onnxpb.TensorProto_UINT32), nil
	case *ort.Tensor[uint16]:
		return widen(t, t.GetData(), onnxpb.TensorProto_UINT16), nil
	case *ort.Tensor[uint8]:
		return widen(t, t.GetData(), onnxpb.TensorProto_UINT8), nil
	case *ort.Tensor[bool]:
		return bools(t, t.GetData()), nil
	case *ort.Scalar[float32]:
		return &Value{Type: onnxpb.TensorProto_FLOAT, F32: []float32{t.GetData()}}, nil
	case *ort.Scalar[float64]:
		return &Value{Type: onnxpb.TensorProto_DOUBLE, F64: []float64{t.GetData()}}, nil
	case *ort.Scalar[int64]:
		return &Value{Type: onnxpb.TensorProto_INT64, I64: []int64{t.GetData()}}, nil
	case *ort.Scalar[int32]:
		return widen(t, []int32{t.GetData()}, onnxpb.TensorProto_INT32), nil
	case *ort.Scalar[bool]:
		return bools(t, []bool{t.GetData()}), nil
	}
	return nil, fmt.Errorf("values of ONNX type %v with elements %v are not supported",
		t.GetONNXType(), ort.TensorElementDataType(t.DataType()))
}

// scalarTypes are the types a scalar output can have, the likely ones first.
var scalarTypes = []DType{
	onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_INT64, onnxpb.TensorProto_DOUBLE, onnxpb.TensorProto_INT32,
	onnxpb.TensorProto_BOOL,
}

// emptyScalar makes a tensor without axes for onnxruntime to write to.
func emptyScalar(t DType) (ort.Value, error) {
	switch t {
	case onnxpb.TensorProto_FLOAT:
		return orNil(ort.NewEmptyScalar[float32]())
	case onnxpb.TensorProto_DOUBLE:
		return orNil(ort.NewEmptyScalar[float64]())
	case onnxpb.TensorProto_INT64:
		return orNil(ort.NewEmptyScalar[int64]())
	case onnxpb.TensorProto_INT32:
		return orNil(ort.NewEmptyScalar[int32]())
	case onnxpb.TensorProto_BOOL:
		return orNil(ort.NewEmptyScalar[bool]())
	}
	return nil, fmt.Errorf("scalars of type %v are not supported", t)
}

func newTensor[T ort.TensorData](dims []int, data []T) (ort.Value, error) {
	if len(dims) == 0 {
		return orNil(ort.NewScalar(data[0]))
	}
	return orNil(ort.NewTensor(shapeOf(dims), data))
}

// orNil keeps a nil pointer from becoming a non-nil interface.
func orNil[V ort.Value](v V, err error) (ort.Value, error) {
	if err != nil {
		return nil, oneLine(err)
	}
	return v, nil
}

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

func narrow[T integer](v []int64) []T {
	out := make([]T, len(v))
	for i, x := range v {
		out[i] = T(x)
	}
	return out
}

func widen[T integer](t ort.Value, data []T, typ DType) *Value {
	v := &Value{Type: typ, Dims: dimsOf(t), I64: make([]int64, len(data))}
	for i, x := range data {
		v.I64[i] = int64(x)
	}
	return v
}

func bools(t ort.Value, data []bool) *Value {
	v := &Value{Type: onnxpb.TensorProto_BOOL, Dims: dimsOf(t), I64: make([]int64, len(data))}
	for i, x := range data {
		if x {
			v.I64[i] = 1
		}
	}
	return v
}

func shapeOf(dims []int) ort.Shape {
	s := make(ort.Shape, len(dims))
	for i, d := range dims {
		s[i] = int64(d)
	}
	return s
}

func dimsOf(t ort.Value) []int {
	var dims []int
	for _, d := range t.GetShape() {
		dims = append(dims, int(d))
	}
	return dims
}

// isNil says whether there is no tensor: the binding also leaves nil pointers in non-nil interfaces.
func isNil(v ort.Value) bool { return v == nil || reflect.ValueOf(v).IsNil() }

func destroyAll(values []ort.Value) {
	for _, v := range values {
		if !isNil(v) {
			v.Destroy()
		}
	}
}
