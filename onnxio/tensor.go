package onnxio

import (
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Tensor is a constant tensor with its elements decoded, row-major. Exactly
// one of the slices holds them, chosen by the type.
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

// Float64 returns the elements as a new []float64; nil for strings and complex
// numbers. Integers beyond 2^53 are rounded.
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

// Float32 returns the elements in single precision: F32 itself where that is what
// the tensor holds, else what Float64 says, rounded.
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

// SetFloat64 replaces shape and elements. The values are rounded once, to the
// nearest number of the tensor's type, ties to even; integers saturate. It
// does nothing to a tensor of strings or complex numbers.
func (t *Tensor) SetFloat64(dims []int, v []float64) {
	d, err := dtypeOf(t.Type)
	if err != nil {
		return
	}
	switch d.family {
	case f32Family:
		f, small := minifloatOf(t.Type)
		t.F32 = make([]float32, len(v))
		for i, x := range v {
			switch {
			case small:
				t.F32[i] = f.decode(f.encode(x))
			case t.Type == onnxpb.TensorProto_FLOAT8E8M0:
				t.F32[i] = decodeE8M0(encodeE8M0(x))
			default:
				t.F32[i] = float32(x)
			}
		}
	case f64Family:
		t.F64 = append([]float64{}, v...)
	case i64Family:
		t.I64 = make([]int64, len(v))
		for i, x := range v {
			t.I64[i] = roundInt(t.Type, d, x)
		}
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
	x = math.RoundToEven(x)
	if d.signed {
		limit := math.Ldexp(1, d.bits-1)
		switch {
		case x >= limit:
			return math.MaxInt64 >> (64 - d.bits)
		case x < -limit:
			return math.MinInt64 >> (64 - d.bits)
		}
		return int64(x)
	}
	switch {
	case x >= math.Ldexp(1, d.bits):
		return int64(uint64(math.MaxUint64) >> (64 - d.bits))
	case x < 0:
		return 0
	}
	return int64(uint64(x))
}

// Check reports whether the elements agree with type and dims.
func (t *Tensor) Check() error {
	d, err := dtypeOf(t.Type)
	if err != nil {
		return err
	}
	dims := make([]int64, len(t.Dims))
	for i, x := range t.Dims {
		dims[i] = int64(x)
	}
	n, err := elements(dims)
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
	p := &onnxpb.TensorProto{DataType: ptr(int32(t.Type))}
	if t.Name != "" {
		p.Name = ptr(t.Name)
	}
	for _, d := range t.Dims {
		p.Dims = append(p.Dims, int64(d))
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
	case t.Type == onnxpb.TensorProto_FLOAT:
		return encodeNumbers(t.F32, encode32)
	case d.family == f64Family:
		return encodeNumbers(t.F64, encode64)
	case d.family == i64Family:
		return packBits(len(t.I64), d.bits, func(i int) uint64 { return uint64(t.I64[i]) })
	}
	return packBits(len(t.F32), d.bits, floatCoder(t.Type, t.F32))
}

// floatCoder returns the function from an index to the code of that element.
func floatCoder(typ onnxpb.TensorProto_DataType, v []float32) func(int) uint64 {
	if f, ok := minifloatOf(typ); ok {
		return func(i int) uint64 { return uint64(f.encode(float64(v[i]))) }
	}
	return func(i int) uint64 { return uint64(encodeE8M0(float64(v[i]))) }
}

// packBits lays n codes of some width end to end, lowest bits first: for whole
// bytes that is little-endian, for less ONNX's packing of small types.
func packBits(n, bits int, code func(int) uint64) []byte {
	raw := make([]byte, dtype{bits: bits}.bytes(int64(n)))
	if bits >= 8 {
		width := bits / 8
		for i := range n {
			c := code(i)
			for b := range width {
				raw[i*width+b] = byte(c >> (8 * b))
			}
		}
		return raw
	}
	mask := uint64(1)<<bits - 1
	for i := range n {
		at := i * bits
		c := (code(i) & mask) << (at % 8)
		raw[at/8] |= byte(c)
		if c > 0xff {
			raw[at/8+1] |= byte(c >> 8)
		}
	}
	return raw
}

// unpackBits is the inverse of packBits, element by element.
func unpackBits(raw []byte, i, bits int) uint64 {
	if bits >= 8 {
		width := bits / 8
		c := uint64(0)
		for b := range width {
			c |= uint64(raw[i*width+b]) << (8 * b)
		}
		return c
	}
	at := i * bits
	c := uint64(raw[at/8])
	if at%8+bits > 8 {
		c |= uint64(raw[at/8+1]) << 8
	}
	return c >> (at % 8) & (1<<bits - 1)
}
