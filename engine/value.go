package engine

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// DType is the element type of a tensor, numbered as in ONNX files.
type DType = onnxpb.TensorProto_DataType

// A Value is a dense, row-major tensor that goes into a session or comes out of one. It is the same
// type as a decoded tensor of a model: F32 holds float32, float16 and bfloat16, F64 holds double,
// I64 holds bool (0 or 1) and all integers (uint64 by its bits). A scalar has no Dims and one
// element.
type Value = onnxio.Tensor

// Float32 returns a float32 Value that holds data, not a copy.
func Float32(data []float32, dims ...int) *Value {
	return &Value{Type: onnxpb.TensorProto_FLOAT, Dims: dims, F32: data}
}

// Int64 returns an int64 Value that holds data, not a copy.
func Int64(data []int64, dims ...int) *Value {
	return &Value{Type: onnxpb.TensorProto_INT64, Dims: dims, I64: data}
}

// Rows returns the rows of v from (included) to (excluded) along its first axis. They share their
// elements with v. v must have an axis and numeric elements, as all Values that come out of a
// session do.
func Rows(v *Value, from, to int) *Value {
	row := Count(v.Dims[1:])
	out := &Value{Name: v.Name, Type: v.Type, Dims: slices.Clone(v.Dims)}
	out.Dims[0] = to - from
	switch from, to := from*row, to*row; {
	case v.F32 != nil:
		out.F32 = v.F32[from:to]
	case v.F64 != nil:
		out.F64 = v.F64[from:to]
	case v.I64 != nil:
		out.I64 = v.I64[from:to]
	}
	return out
}

// Join puts values one after the other along their first axis; scalars become an axis.
func Join(pieces []*Value) *Value {
	if len(pieces) == 1 {
		return pieces[0]
	}
	out := &Value{Name: pieces[0].Name, Type: pieces[0].Type, Dims: []int{0}}
	if len(pieces[0].Dims) > 0 {
		out.Dims = append(out.Dims, pieces[0].Dims[1:]...)
	}
	for _, p := range pieces {
		rows := 1
		if len(p.Dims) > 0 {
			rows = p.Dims[0]
		}
		out.Dims[0] += rows
		out.F32, out.F64, out.I64 = append(out.F32, p.F32...), append(out.F64, p.F64...), append(out.I64, p.I64...)
	}
	return out
}

// CheckValue says whether v can be fed, and the slice that belongs to its type holds as many
// elements as its dims say.
func CheckValue(v *Value) error {
	if v == nil {
		return fmt.Errorf("no value")
	}
	if !isNumeric(v.Type) {
		return fmt.Errorf("element type %v cannot be fed", v.Type)
	}
	if v.Check() != nil {
		return fmt.Errorf("%v tensor %s has %d elements, want %d", v.Type, DimString(v.Dims), len(v.F32)+len(v.F64)+len(v.I64), v.Len())
	}
	return nil
}

// isNumeric says whether elements of a type pass through sessions: strings, complex numbers and
// floats of eight bits do not.
func isNumeric(t DType) bool { return onnxio.IsFloat(t) || onnxio.IsInteger(t) }

// Count is the number of elements of a tensor with these sizes: 1 for a scalar.
func Count(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}
