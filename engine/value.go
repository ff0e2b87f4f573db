package engine

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// DType is the element type of a tensor, numbered as in ONNX files.
type DType = onnxpb.TensorProto_DataType

// A Value is a dense, row-major tensor that goes into a session or comes out of one. It is the same type as a decoded
// tensor of a model: F32 holds float32, float16 and bfloat16, F64 holds double, I64 holds bool (0 or 1) and all integers
// (uint64 by its bits). A scalar has no Dims and one element.
type Value = onnxio.Tensor

// Float32 returns a float32 Value that holds data, not a copy.
func Float32(data []float32, dims ...int) *Value {
	return &Value{Type: onnxpb.TensorProto_FLOAT, Dims: dims, F32: data}
}

// Int64 returns an int64 Value that holds data, not a copy.
func Int64(data []int64, dims ...int) *Value {
	return &Value{Type: onnxpb.TensorProto_INT64, Dims: dims, I64: data}
}

// Rows returns the rows of v from (included) to (excluded) along its first axis. They share their elements with v. v must
// have an axis and numeric elements, as all Values that come out of a session do.
func Rows(v *Value, from, to int) *Value {
	row := count(v.Dims[1:])
	out := &Value{Name: v.Name, Type: v.Type, Dims: slices.Clone(v.Dims)}
	out.Dims[0] = to - from
	switch kindOf(v.Type) {
	case kindFloat32:
		out.F32 = v.F32[from*row : to*row]
	case kindFloat64:
		out.F64 = v.F64[from*row : to*row]
	case kindInt:
		out.I64 = v.I64[from*row : to*row]
	}
	return out
}

// check says whether the slice that belongs to the type of v holds as many elements as its dims say.
func check(v *Value) error {
	if v == nil {
		return fmt.Errorf("no value")
	}
	for _, d := range v.Dims {
		if d < 0 {
			return fmt.Errorf("negative size in %s", dimString(v.Dims))
		}
	}
	var have int
	switch kindOf(v.Type) {
	case kindFloat32:
		have = len(v.F32)
	case kindFloat64:
		have = len(v.F64)
	case kindInt:
		have = len(v.I64)
	default:
		return fmt.Errorf("element type %v cannot be fed", v.Type)
	}
	if have != v.Len() {
		return fmt.Errorf("%v tensor %s has %d elements, want %d", v.Type, dimString(v.Dims), have, v.Len())
	}
	return nil
}

// kind says which slice of a Value an element type uses.
type kind int

const (
	kindNone kind = iota // strings, complex numbers and the 8-bit floats do not pass through sessions
	kindFloat32
	kindFloat64
	kindInt
)

func kindOf(t DType) kind {
	switch t {
	case onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16:
		return kindFloat32
	case onnxpb.TensorProto_DOUBLE:
		return kindFloat64
	case onnxpb.TensorProto_BOOL,
		onnxpb.TensorProto_INT8, onnxpb.TensorProto_INT16, onnxpb.TensorProto_INT32, onnxpb.TensorProto_INT64,
		onnxpb.TensorProto_UINT8, onnxpb.TensorProto_UINT16, onnxpb.TensorProto_UINT32, onnxpb.TensorProto_UINT64:
		return kindInt
	}
	return kindNone
}

// isFloat says whether values of this type can be scaled and compared as real numbers.
func isFloat(t DType) bool { k := kindOf(t); return k == kindFloat32 || k == kindFloat64 }

// count is the number of elements of a tensor with these sizes: 1 for a scalar.
func count(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}
