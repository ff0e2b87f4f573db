package onnxio

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// littleEndian says that this machine keeps numbers in memory as raw_data does.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// A native number is one that is copied between memory and raw_data as it is, whole tensors at
// once: ten times as fast as one by one.
type native interface{ float32 | float64 | int64 }

// bytesOf returns the memory of v.
func bytesOf[T native](v []T) []byte {
	var x T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(x)))
}

func decodeNumbers[T native](raw []byte) []T {
	var x T
	v := make([]T, len(raw)/int(unsafe.Sizeof(x)))
	copy(bytesOf(v), raw)
	swap[T](bytesOf(v))
	return v
}

// encodeNumbers is the inverse of decodeNumbers.
func encodeNumbers[T native](v []T) []byte {
	raw := append([]byte{}, bytesOf(v)...)
	swap[T](raw)
	return raw
}

// swap turns the bytes of each number around on machines of the other order.
func swap[T native](raw []byte) {
	if littleEndian {
		return
	}
	var x T
	for number := range slices.Chunk(raw, int(unsafe.Sizeof(x))) {
		slices.Reverse(number)
	}
}
