package onnxio

import (
	"fmt"
	"math"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Short names of the tensor types that are met most.
const (
	Float    = onnxpb.TensorProto_FLOAT
	Double   = onnxpb.TensorProto_DOUBLE
	Float16  = onnxpb.TensorProto_FLOAT16
	BFloat16 = onnxpb.TensorProto_BFLOAT16
	Int64    = onnxpb.TensorProto_INT64
	Int32    = onnxpb.TensorProto_INT32
	Bool     = onnxpb.TensorProto_BOOL
)

// family says which slice of a [Tensor] holds the elements of a type.
type family uint8

const (
	noFamily family = iota
	f32Family
	f64Family
	i64Family
	rawFamily
	stringFamily
)

// dtype describes how the elements of a type are stored.
type dtype struct {
	family family
	bits   int    // per element in raw_data
	signed bool   // of an integer
	field  string // that may hold the elements in place of raw_data
}

// dtypes is indexed by onnxpb.TensorProto_DataType.
var dtypes = [...]dtype{
	onnxpb.TensorProto_FLOAT:          {f32Family, 32, true, "float_data"},
	onnxpb.TensorProto_UINT8:          {i64Family, 8, false, "int32_data"},
	onnxpb.TensorProto_INT8:           {i64Family, 8, true, "int32_data"},
	onnxpb.TensorProto_UINT16:         {i64Family, 16, false, "int32_data"},
	onnxpb.TensorProto_INT16:          {i64Family, 16, true, "int32_data"},
	onnxpb.TensorProto_INT32:          {i64Family, 32, true, "int32_data"},
	onnxpb.TensorProto_INT64:          {i64Family, 64, true, "int64_data"},
	onnxpb.TensorProto_STRING:         {stringFamily, 0, false, "string_data"},
	onnxpb.TensorProto_BOOL:           {i64Family, 8, false, "int32_data"},
	onnxpb.TensorProto_FLOAT16:        {f32Family, 16, true, "int32_data"},
	onnxpb.TensorProto_DOUBLE:         {f64Family, 64, true, "double_data"},
	onnxpb.TensorProto_UINT32:         {i64Family, 32, false, "uint64_data"},
	onnxpb.TensorProto_UINT64:         {i64Family, 64, false, "uint64_data"},
	onnxpb.TensorProto_COMPLEX64:      {rawFamily, 64, true, "float_data"},
	onnxpb.TensorProto_COMPLEX128:     {rawFamily, 128, true, "double_data"},
	onnxpb.TensorProto_BFLOAT16:       {f32Family, 16, true, "int32_data"},
	onnxpb.TensorProto_FLOAT8E4M3FN:   {f32Family, 8, true, "int32_data"},
	onnxpb.TensorProto_FLOAT8E4M3FNUZ: {f32Family, 8, true, "int32_data"},
	onnxpb.TensorProto_FLOAT8E5M2:     {f32Family, 8, true, "int32_data"},
	onnxpb.TensorProto_FLOAT8E5M2FNUZ: {f32Family, 8, true, "int32_data"},
	onnxpb.TensorProto_UINT4:          {i64Family, 4, false, "int32_data"},
	onnxpb.TensorProto_INT4:           {i64Family, 4, true, "int32_data"},
	onnxpb.TensorProto_FLOAT4E2M1:     {f32Family, 4, true, "int32_data"},
	onnxpb.TensorProto_FLOAT8E8M0:     {f32Family, 8, false, "int32_data"},
	onnxpb.TensorProto_UINT2:          {i64Family, 2, false, "int32_data"},
	onnxpb.TensorProto_INT2:           {i64Family, 2, true, "int32_data"},
	onnxpb.TensorProto_FLOAT6E2M3:     {f32Family, 6, true, "int32_data"},
	onnxpb.TensorProto_FLOAT6E3M2:     {f32Family, 6, true, "int32_data"},
}

func dtypeOf(t onnxpb.TensorProto_DataType) (dtype, error) {
	if t <= 0 || int(t) >= len(dtypes) {
		return dtype{}, fmt.Errorf("data type %d is not defined", int32(t))
	}
	return dtypes[t], nil
}

// bytes returns the length of raw_data for n elements.
func (d dtype) bytes(n int64) int64 {
	if d.bits >= 8 {
		return n * int64(d.bits/8)
	}
	return (n*int64(d.bits) + 7) / 8
}

// fieldLen returns how many values the typed field has for n elements: two for a complex number,
// and one for each byte of packed small integers.
func (d dtype) fieldLen(n int64) int64 {
	switch {
	case d.family == rawFamily:
		return 2 * n
	case d.bits > 0 && d.bits < 5:
		return d.bytes(n)
	}
	return n
}

// StoredBytes returns what n elements of a type occupy in a file, as raw_data has them: several to
// a byte where they are of less than eight bits. It is 0 for strings and for types that are not
// defined.
func StoredBytes(t onnxpb.TensorProto_DataType, n int64) int64 {
	d, err := dtypeOf(t)
	if err != nil {
		return 0
	}
	return d.bytes(n)
}

// IsParameter reports whether elements of a type are counted as parameters: floating-point and
// complex numbers, and integers of sixteen bits or less, which stand for real numbers. Wider
// integers are indices and shapes.
func IsParameter(t onnxpb.TensorProto_DataType) bool {
	d, err := dtypeOf(t)
	wide := d.family == i64Family && d.bits > 16
	return err == nil && !wide && d.family != noFamily && d.family != stringFamily && t != Bool
}

// IsFloat reports whether elements of a type are real numbers of sixteen bits or more: float16,
// bfloat16, float or double.
func IsFloat(t onnxpb.TensorProto_DataType) bool {
	return t == Float || t == Double || t == Float16 || t == BFloat16
}

// IsInteger reports whether elements of a type are whole numbers of eight bits or more, or bool.
func IsInteger(t onnxpb.TensorProto_DataType) bool {
	d, err := dtypeOf(t)
	return err == nil && d.family == i64Family && d.bits >= 8
}

// Elements returns the number of elements of a stored tensor, 0 for nil and where its dims are
// those of no tensor.
func Elements(t *onnxpb.TensorProto) int64 {
	if t == nil {
		return 0
	}
	n, _ := elements(t.Dims)
	return n
}

// elements returns the product of dims, or why it cannot be the size of a tensor: negative, or so
// large that the byte count leaves int64.
func elements(dims []int64) (int64, error) {
	const most = math.MaxInt64 / 16 // 16 bytes: the widest element
	n, zero := int64(1), false
	for _, d := range dims {
		switch {
		case d < 0:
			return 0, fmt.Errorf("dims %v: %d is negative", dims, d)
		case d == 0:
			zero = true
		case n > most/d:
			return 0, fmt.Errorf("dims %v: too large", dims)
		default:
			n *= d
		}
	}
	if zero {
		return 0, nil
	}
	return n, nil
}
