package engine

import (
	"fmt"
	"math"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// cast returns v in another element type, v itself where nothing has to be done. Numbers that a narrower integer type
// cannot hold are an error; fractions are cut off.
func cast(v *Value, t DType) (*Value, error) {
	if t == v.Type || t == onnxpb.TensorProto_UNDEFINED {
		return v, nil
	}
	out := &Value{Name: v.Name, Type: t, Dims: v.Dims}
	switch to := kindOf(t); {
	case to == kindNone:
		return nil, fmt.Errorf("element type %v cannot be fed", t)
	case to == kindInt && kindOf(v.Type) == kindInt:
		out.I64 = v.I64
		return out, inRange(out)
	case to == kindFloat32 && kindOf(v.Type) == kindFloat32:
		out.F32 = v.F32
	case to == kindFloat32:
		out.F32 = convert[float32](v.Float64())
	case to == kindFloat64:
		out.F64 = v.Float64()
	default:
		out.I64 = convert[int64](v.Float64())
		return out, inRange(out)
	}
	return out, nil
}

func convert[To, From float32 | float64 | int64 | int](v []From) []To {
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
