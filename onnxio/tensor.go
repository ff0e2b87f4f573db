package onnxio

import (
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Tensor is a constant tensor with its elements decoded, row-major. Exactly one of the slices holds
// them, chosen by the type.
type Tensor struct {
	Name string
	Type onnxpb.TensorProto_DataType
	Dims []int

	F32     []float32 // float32, float16, bfloat16 and the 8-, 6- and 4-bit floats
	F64     []float64 // double
	I64     []int64   // all integers and bool; uint64 by its bit pattern
	Strings [][]byte  // string
	Raw     []byte    // complex64, complex128: little-endian, as in raw_data
}

// NewTensor makes a tensor from values, rounded to the type.
func NewTensor(name string, typ onnxpb.TensorProto_DataType, dims []int, v []float64) *Tensor {
	t := &Tensor{Name: name, Type: typ}
	t.SetFloat64(dims, v)
	return t
}

// NewInts makes an int64 tensor. The tensor keeps v.
func NewInts(name string, dims []int, v []int64) *Tensor {
	return &Tensor{Name: name, Type: Int64, Dims: append([]int{}, dims...), I64: v}
}

// Len returns the number of elements, the product of Dims.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Float64 returns the elements as a new []float64; nil for strings and complex numbers. Integers
// beyond 2^53 are rounded.
func (t *Tensor) Float64() []float64 {
	d, _ := dtypeOf(t.Type)
	switch d.family {
	case f32Family:
		return convert(t.F32, func(v float32) float64 { return float64(v) })
	case f64Family:
		return slices.Clone(t.F64)
	case i64Family:
		if t.Type == onnxpb.TensorProto_UINT64 {
			return convert(t.I64, func(v int64) float64 { return float64(uint64(v)) })
		}
		return convert(t.I64, func(v int64) float64 { return float64(v) })
	}
	return nil
}

// Float32 returns the elements in single precision: F32 itself where that is what the tensor holds,
// else what Float64 says, rounded.
func (t *Tensor) Float32() []float32 {
	if t.F32 != nil {
		return t.F32
	}
	return convert(t.Float64(), func(v float64) float32 { return float32(v) })
}

func convert[From, To any](v []From, f func(From) To) []To {
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = f(x)
	}
	return out
}

// SetFloat64 replaces shape and elements. The values are rounded once, to the nearest number of the
// tensor's type, ties to even; integers saturate. It does nothing to a tensor of strings or complex
// numbers.
func (t *Tensor) SetFloat64(dims []int, v []float64) {
	d, err := dtypeOf(t.Type)
	if err != nil {
		return
	}
	switch d.family {
	case f32Family:
		decode, encode := codingOf(t.Type)
		t.F32 = convert(v, func(x float64) float32 { return decode(uint64(encode(x))) })
	case f64Family:
		t.F64 = append([]float64{}, v...)
	case i64Family:
		t.I64 = convert(v, func(x float64) int64 { return roundInt(t.Type, d, x) })
	default:
		return
	}
	t.Dims = append([]int{}, dims...)
}

// roundInt returns the integer of a type nearest to x; NaN becomes 0.
func roundInt(typ onnxpb.TensorProto_DataType, d dtype, x float64) int64 {
	if typ == onnxpb.TensorProto_BOOL {
		if x != 0 {
			return 1
		}
		return 0
	}
	if x != x {
		return 0
	}
	most, least := uint64(math.MaxUint64)>>(64-d.bits), 0.0
	if d.signed {
		most, least = most>>1, -math.Ldexp(1, d.bits-1)
	}
	switch x = math.RoundToEven(x); {
	case x >= float64(most):
		return int64(most)
	case x < 0:
		return int64(max(x, least))
	}
	return int64(uint64(x))
}

func (t *Tensor) dims() []int64 { return convert(t.Dims, func(d int) int64 { return int64(d) }) }

// Check reports whether the elements agree with type and dims.
func (t *Tensor) Check() error {
	d, err := dtypeOf(t.Type)
	if err != nil {
		return err
	}
	n, err := elements(t.dims())
	if err != nil {
		return err
	}
	have := [...]int{f32Family: len(t.F32), f64Family: len(t.F64), i64Family: len(t.I64),
		stringFamily: len(t.Strings), rawFamily: len(t.Raw)}[d.family]
	if d.family == rawFamily {
		n = d.bytes(n)
	}
	if int64(have) != n {
		return fmt.Errorf("%d values for dims %v of %v", have, t.Dims, t.Type)
	}
	return nil
}

// Proto encodes the tensor into raw_data (strings into string_data).
func (t *Tensor) Proto() *onnxpb.TensorProto {
	p := &onnxpb.TensorProto{DataType: ptr(int32(t.Type)), Dims: t.dims()}
	if t.Name != "" {
		p.Name = ptr(t.Name)
	}
	d, err := dtypeOf(t.Type)
	if err != nil {
		return p
	}
	switch d.family {
	case stringFamily:
		p.StringData = t.Strings
	case rawFamily:
		p.RawData = append([]byte{}, t.Raw...)
	default:
		p.RawData = t.encode(d)
	}
	return p
}

func ptr[T any](v T) *T { return &v }

func (t *Tensor) encode(d dtype) []byte {
	switch {
	case t.Type == Float:
		return encodeNumbers(t.F32)
	case d.family == f64Family:
		return encodeNumbers(t.F64)
	case d.family == i64Family:
		return packBits(t.I64, d.bits, func(x int64) uint64 { return uint64(x) })
	}
	_, encode := codingOf(t.Type)
	return packBits(t.F32, d.bits, func(x float32) uint64 { return uint64(encode(float64(x))) })
}

// packBits lays the codes of some width end to end, lowest bits first: for whole bytes that is
// little-endian, for less ONNX's packing of small types.
func packBits[T any](v []T, bits int, code func(T) uint64) []byte {
	raw := make([]byte, dtype{bits: bits}.bytes(int64(len(v))))
	if bits >= 8 {
		width := bits / 8
		for i, x := range v {
			c := code(x)
			for b := range width {
				raw[i*width+b] = byte(c >> (8 * b))
			}
		}
		return raw
	}
	mask := uint64(1)<<bits - 1
	for i, x := range v {
		at := i * bits
		c := (code(x) & mask) << (at % 8)
		raw[at/8] |= byte(c)
		if c > 0xff {
			raw[at/8+1] |= byte(c >> 8)
		}
	}
	return raw
}

// unpackBits is the inverse of packBits, for the codes from one on to before another.
func unpackBits[T any](raw []byte, bits, from, end int, value func(uint64) T) []T {
	v := make([]T, end-from)
	mask := uint64(1)<<bits - 1
	for i := range v {
		at := uint((from + i) * bits)
		code := uint64(raw[at/8]) >> (at % 8)
		for read := 8 - at%8; read < uint(bits); read += 8 {
			code |= uint64(raw[(at+read)/8]) << read
		}
		v[i] = value(code & mask)
	}
	return v
}
