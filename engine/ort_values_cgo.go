//go:build cgo

package engine

import (
	"fmt"
	"reflect"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A codec turns values of one element type into tensors of the binding and back.
type codec struct {
	to     func(*Value) (ort.Value, error) // of elements that were checked
	from   func(ort.Value) *Value          // nil if the tensor is of another kind
	scalar func() (ort.Value, error)       // a tensor without axes for onnxruntime to write to
}

var codecs = map[DType]codec{
	onnxpb.TensorProto_FLOAT: codecOf(onnxpb.TensorProto_FLOAT,
		func(v *Value) []float32 { return v.F32 }, func(v *Value, data []float32) { v.F32 = data }),
	onnxpb.TensorProto_DOUBLE: codecOf(onnxpb.TensorProto_DOUBLE,
		func(v *Value) []float64 { return v.F64 }, func(v *Value, data []float64) { v.F64 = data }),
	onnxpb.TensorProto_INT64: codecOf(onnxpb.TensorProto_INT64,
		func(v *Value) []int64 { return v.I64 }, func(v *Value, data []int64) { v.I64 = data }),
	onnxpb.TensorProto_INT32:  integers(onnxpb.TensorProto_INT32, fromInt[int32], toInt[int32]),
	onnxpb.TensorProto_INT16:  integers(onnxpb.TensorProto_INT16, fromInt[int16], toInt[int16]),
	onnxpb.TensorProto_INT8:   integers(onnxpb.TensorProto_INT8, fromInt[int8], toInt[int8]),
	onnxpb.TensorProto_UINT64: integers(onnxpb.TensorProto_UINT64, fromInt[uint64], toInt[uint64]),
	onnxpb.TensorProto_UINT32: integers(onnxpb.TensorProto_UINT32, fromInt[uint32], toInt[uint32]),
	onnxpb.TensorProto_UINT16: integers(onnxpb.TensorProto_UINT16, fromInt[uint16], toInt[uint16]),
	onnxpb.TensorProto_UINT8:  integers(onnxpb.TensorProto_UINT8, fromInt[uint8], toInt[uint8]),
	onnxpb.TensorProto_BOOL: integers(onnxpb.TensorProto_BOOL, func(x int64) bool { return x != 0 }, func(x bool) int64 {
		if x {
			return 1
		}
		return 0
	}),
}

// codecOf is the codec of a type whose elements a value has in a slice, or is given so.
func codecOf[T ort.TensorData](typ DType, data func(*Value) []T, set func(*Value, []T)) codec {
	return codec{
		to: func(v *Value) (ort.Value, error) {
			if len(v.Dims) == 0 {
				return orNil(ort.NewScalar(data(v)[0]))
			}
			return orNil(ort.NewTensor(shapeOf(v.Dims), data(v)))
		},
		from: func(t ort.Value) *Value {
			v := &Value{Type: typ, Dims: dimsOf(t)}
			switch t := t.(type) {
			case *ort.Tensor[T]:
				set(v, t.GetData())
			case *ort.Scalar[T]:
				set(v, []T{t.GetData()})
			default:
				return nil
			}
			return v
		},
		scalar: func() (ort.Value, error) { return orNil(ort.NewEmptyScalar[T]()) },
	}
}

// integers is the codec of a type that a value has as int64.
func integers[T ort.TensorData](typ DType, narrow func(int64) T, widen func(T) int64) codec {
	return codecOf(typ, func(v *Value) []T { return each(v.I64, narrow) }, func(v *Value, data []T) { v.I64 = each(data, widen) })
}

func fromInt[T ort.IntData](x int64) T { return T(x) }
func toInt[T ort.IntData](x T) int64   { return int64(x) }

func each[From, To any](v []From, f func(From) To) []To {
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = f(x)
	}
	return out
}

// toORT makes the binding's tensor of a Value whose elements were checked.
func toORT(v *Value) (ort.Value, error) {
	if c, ok := codecs[v.Type]; ok {
		return c.to(v)
	}
	if len(v.Dims) == 0 || v.Len() == 0 { // float16 or bfloat16
		return nil, fmt.Errorf("the binding takes no %v tensor of shape %v", v.Type, v.Dims)
	}
	return orNil(ort.NewCustomDataTensor(shapeOf(v.Dims), v.Proto().GetRawData(), ort.TensorElementDataType(v.Type)))
}

// fromORT copies the binding's tensor into a Value.
func fromORT(t ort.Value) (*Value, error) {
	typ := ort.TensorElementDataType(t.DataType())
	if c, ok := codecs[DType(typ)]; ok {
		if v := c.from(t); v != nil {
			return v, nil
		}
	}
	return nil, fmt.Errorf("values of ONNX type %v with elements %v are not supported", t.GetONNXType(), typ)
}

// scalarTypes are the types a scalar output can have, the likely ones first.
var scalarTypes = []DType{
	onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_INT64, onnxpb.TensorProto_DOUBLE, onnxpb.TensorProto_INT32,
	onnxpb.TensorProto_BOOL,
}

// orNil keeps a nil pointer from becoming a non-nil interface.
func orNil[V ort.Value](v V, err error) (ort.Value, error) {
	if err != nil {
		return nil, oneLine(err)
	}
	return v, nil
}

func shapeOf(dims []int) ort.Shape { return each(dims, func(d int) int64 { return int64(d) }) }

func dimsOf(t ort.Value) (dims []int) {
	for _, d := range t.GetShape() {
		dims = append(dims, int(d))
	}
	return dims
}

// isNil says whether there is no tensor: the binding also leaves nil pointers in non-nil
// interfaces.
func isNil(v ort.Value) bool { return v == nil || reflect.ValueOf(v).IsNil() }

func destroyAll(values []ort.Value) {
	for _, v := range values {
		if !isNil(v) {
			v.Destroy()
		}
	}
}
