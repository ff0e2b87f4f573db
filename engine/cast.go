package engine

import (
	"fmt"
	"math"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Cast returns v in another element type, v itself where nothing has to be done. Numbers that a
// narrower integer type cannot hold are an error, and so are fractions where integers are wanted.
func Cast(v *Value, t DType) (*Value, error) {
	if t == v.Type || t == onnxpb.TensorProto_UNDEFINED {
		return v, nil
	}
	out := &Value{Name: v.Name, Type: t, Dims: v.Dims}
	switch {
	case t == onnxio.Double:
		out.F64 = v.Float64()
	case onnxio.IsFloat(t):
		out.F32 = v.Float32()
	case !onnxio.IsInteger(t):
		return nil, fmt.Errorf("element type %v cannot be fed", t)
	case onnxio.IsInteger(v.Type):
		out.I64 = v.I64
	default:
		floats := v.Float64()
		out.I64 = make([]int64, len(floats))
		for i, x := range floats {
			if x != math.Trunc(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("%g is not an integer, and the model takes %v%s", x, t, integersFor[t])
			}
			out.I64[i] = int64(x)
		}
	}
	return out, inRange(out)
}

// integersFor says what a model mostly takes integers of a type for.
var integersFor = map[DType]string{
	onnxpb.TensorProto_UINT8: " (pixels of 0…255: if these are pixels of 0…1, multiply them by 255)",
	onnxpb.TensorProto_INT64: " (numbers of words, for instance)", onnxpb.TensorProto_INT32: " (numbers of words, for instance)",
}

// inRange says whether an integer tensor's type can hold its numbers: those of 64 bits take all,
// BOOL takes every number as true or false.
func inRange(v *Value) error {
	bits := 8 * onnxio.StoredBytes(v.Type, 1)
	if bits == 64 || v.Type == onnxio.Bool {
		return nil
	}
	low, high := int64(-1)<<(bits-1), int64(1)<<(bits-1)-1
	if strings.HasPrefix(v.Type.String(), "UINT") {
		low, high = 0, int64(1)<<bits-1
	}
	for _, x := range v.I64 {
		if x < low || x > high {
			return fmt.Errorf("%d does not fit %v", x, v.Type)
		}
	}
	return nil
}
