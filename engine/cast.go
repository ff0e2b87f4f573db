package engine

import (
	"fmt"
	"math"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Cast returns v in another element type, v itself where nothing has to be done. Numbers that a narrower integer type
// cannot hold are an error, and so are fractions where integers are wanted.
func Cast(v *Value, t DType) (*Value, error) {
	if t == v.Type || t == onnxpb.TensorProto_UNDEFINED {
		return v, nil
	}
	out := &Value{Name: v.Name, Type: t, Dims: v.Dims}
	switch to := KindOf(t); {
	case to == KindNone:
		return nil, fmt.Errorf("element type %v cannot be fed", t)
	case to == KindInt && KindOf(v.Type) == KindInt:
		out.I64 = v.I64
		return out, inRange(out)
	case to == KindFloat32 && KindOf(v.Type) == KindFloat32:
		out.F32 = v.F32
	case to == KindFloat32:
		out.F32 = Convert[float32](v.Float64())
	case to == KindFloat64:
		out.F64 = v.Float64()
	default:
		for _, x := range v.Float64() {
			if x != math.Trunc(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("%g is not an integer, and the model takes %v%s", x, t, integersFor[t])
			}
		}
		out.I64 = Convert[int64](v.Float64())
		return out, inRange(out)
	}
	return out, nil
}

// integersFor says what a model mostly takes integers of a type for.
var integersFor = map[DType]string{
	onnxpb.TensorProto_UINT8: " (pixels of 0…255: if these are pixels of 0…1, multiply them by 255)",
	onnxpb.TensorProto_INT64: " (numbers of words, for instance)", onnxpb.TensorProto_INT32: " (numbers of words, for instance)",
}

func Convert[To, From float32 | float64 | int64 | int](v []From) []To {
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = To(x)
	}
	return out
}

// inRange says whether an integer tensor's type can hold its numbers.
func inRange(v *Value) error {
	low, high := intRange(v.Type)
	for _, x := range v.I64 {
		if x < low || x > high {
			return fmt.Errorf("%d does not fit %v", x, v.Type)
		}
	}
	return nil
}

func intRange(t DType) (low, high int64) {
	switch t {
	case onnxpb.TensorProto_INT8:
		return math.MinInt8, math.MaxInt8
	case onnxpb.TensorProto_UINT8:
		return 0, math.MaxUint8
	case onnxpb.TensorProto_INT16:
		return math.MinInt16, math.MaxInt16
	case onnxpb.TensorProto_UINT16:
		return 0, math.MaxUint16
	case onnxpb.TensorProto_INT32:
		return math.MinInt32, math.MaxInt32
	case onnxpb.TensorProto_UINT32:
		return 0, math.MaxUint32
	}
	// INT64 and UINT64 take all bits, BOOL takes every number as true or false.
	return math.MinInt64, math.MaxInt64
}
