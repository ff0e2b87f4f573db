package onnxio

import (
	"math"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// special says which codes of a small float type are not finite numbers.
type special uint8

const (
	ieee    special = iota // highest exponent: infinities and NaNs
	allOnes                // no infinities; NaN where all bits but the sign are set
	negZero                // no infinities; the code of -0 is the only NaN
	finite                 // neither
)

// minifloat is a binary floating-point format of at most 16 bits: a sign, an exponent and a
// mantissa, with subnormals.
type minifloat struct {
	exp, man int // bits
	bias     int
	special  special
	saturate bool // finite numbers that are too large become the largest, as ONNX Cast does by default
}

var minifloats = map[onnxpb.TensorProto_DataType]minifloat{
	onnxpb.TensorProto_FLOAT16:        {5, 10, 15, ieee, false},
	onnxpb.TensorProto_BFLOAT16:       {8, 7, 127, ieee, false},
	onnxpb.TensorProto_FLOAT8E4M3FN:   {4, 3, 7, allOnes, true},
	onnxpb.TensorProto_FLOAT8E4M3FNUZ: {4, 3, 8, negZero, true},
	onnxpb.TensorProto_FLOAT8E5M2:     {5, 2, 15, ieee, true},
	onnxpb.TensorProto_FLOAT8E5M2FNUZ: {5, 2, 16, negZero, true},
	onnxpb.TensorProto_FLOAT4E2M1:     {2, 1, 1, finite, true},
	onnxpb.TensorProto_FLOAT6E2M3:     {2, 3, 1, finite, true},
	onnxpb.TensorProto_FLOAT6E3M2:     {3, 2, 3, finite, true},
}

// codingOf returns how the codes of a type that [Tensor.F32] holds become numbers, and numbers the
// nearest codes.
func codingOf(t onnxpb.TensorProto_DataType) (decode func(uint64) float32, encode func(float64) uint32) {
	switch f, ok := minifloats[t]; {
	case ok:
		return f.decode, f.encode
	case t == Float:
		return func(code uint64) float32 { return math.Float32frombits(uint32(code)) }, func(v float64) uint32 { return math.Float32bits(float32(v)) }
	}
	return decodeE8M0, encodeE8M0
}

func (f minifloat) signBit() uint32 { return 1 << (f.exp + f.man) }

// largest returns the code of the largest finite number.
func (f minifloat) largest() uint32 {
	switch all := f.signBit() - 1; f.special {
	case ieee:
		return all - 1<<f.man
	case allOnes:
		return all - 1
	default:
		return all
	}
}

// decode returns the number that a code stands for, exactly.
func (f minifloat) decode(wide uint64) float32 {
	code := uint32(wide)
	sign, mag := code&f.signBit(), code&(f.signBit()-1)
	if f.special == negZero && code == f.signBit() {
		return float32(math.NaN())
	}
	bits := uint32(0)
	if sign != 0 {
		bits = 1 << 31
	}
	e, m := int(mag>>f.man), mag&(1<<f.man-1)
	switch {
	case mag > f.largest():
		// Infinity (m = 0) or NaN, whose payload moves along.
		bits |= 0xff<<23 | m<<(23-f.man)
	case e == 0:
		bits |= math.Float32bits(float32(math.Ldexp(float64(m), 1-f.bias-f.man)))
	default:
		bits |= uint32(e-f.bias+127)<<23 | m<<(23-f.man)
	}
	return math.Float32frombits(bits)
}

// encode returns the code of the number nearest to v, ties to even.
func (f minifloat) encode(v float64) uint32 {
	sign := uint32(0)
	if math.Signbit(v) {
		sign = f.signBit()
	}
	switch {
	case v != v:
		return f.encodeNaN(sign, v)
	case v == 0:
		return f.zero(sign)
	case math.IsInf(v, 0):
		if f.special == ieee {
			return sign | (f.largest() + 1)
		}
		return sign | f.overflow()
	}
	_, e := math.Frexp(v)
	e = max(e-1, 1-f.bias)
	// v in units of the last place. A carry out of the mantissa moves into the exponent by itself,
	// since the fields are adjacent.
	q := math.RoundToEven(math.Ldexp(math.Abs(v), f.man-e))
	mag := uint32(e+f.bias-1)<<f.man + uint32(q)
	switch {
	case mag == 0:
		return f.zero(sign)
	case mag > f.largest():
		return sign | f.overflow()
	}
	return sign | mag
}

func (f minifloat) zero(sign uint32) uint32 {
	if f.special == negZero {
		return 0
	}
	return sign
}

func (f minifloat) overflow() uint32 {
	if f.saturate {
		return f.largest()
	}
	return f.largest() + 1
}

func (f minifloat) encodeNaN(sign uint32, v float64) uint32 {
	switch f.special {
	case negZero:
		return f.signBit()
	case allOnes:
		return sign | (f.signBit() - 1)
	case finite:
		return f.largest() // as ONNX Cast does
	}
	m := (math.Float32bits(float32(v)) & (1<<23 - 1)) >> (23 - f.man)
	if m == 0 {
		m = 1 << (f.man - 1)
	}
	return sign | (1<<f.exp-1)<<f.man | m
}

// FLOAT8E8M0 is no minifloat in the above sense: powers of two from 2^-127 to 2^127, no sign, no
// zero.

func decodeE8M0(code uint64) float32 {
	if code == 0xff {
		return float32(math.NaN())
	}
	return float32(math.Ldexp(1, int(code)-127))
}

// encodeE8M0 returns the code of the nearest power of two; midpoints go up.
func encodeE8M0(v float64) uint32 {
	if v != v {
		return 0xff
	}
	if v <= 0 {
		return 0
	}
	m, e := math.Frexp(v) // v = m·2^e, ½ ≤ m < 1
	if math.IsInf(v, 1) {
		return 0xfe
	}
	e--
	if m >= 0.75 {
		e++
	}
	return uint32(min(max(e+127, 0), 0xfe))
}
