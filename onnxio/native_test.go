package onnxio

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

// TestNativeNumbers compares copies of whole tensors with numbers coded one by one, and turns their
// bytes around as machines of the other order do.
func TestNativeNumbers(t *testing.T) {
	native := littleEndian
	defer func() { littleEndian = native }()
	testNative(t, native, float32(math.Copysign(0, -1)), 1.5, -3e38, 1e-45, float32(math.Inf(1)))
	testNative(t, native, math.Copysign(0, -1), 1.5, -1e308, 5e-324, math.Inf(-1))
	testNative(t, native, int64(-2), 1<<62)
}

func testNative[T native](t *testing.T, native bool, v ...T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		littleEndian = native == (order == binary.LittleEndian)
		var want []byte
		for _, x := range v {
			want, _ = binary.Append(want, order.(binary.ByteOrder), x)
		}
		raw := encodeNumbers(v)
		if !bytes.Equal(raw, want) {
			t.Errorf("%T: % x, want % x", v, raw, want)
		}
		if got := decodeNumbers[T](raw); !slices.Equal(got, v) || !bytes.Equal(encodeNumbers(got), raw) {
			t.Errorf("decoded %v", got)
		}
		if got := encodeNumbers([]T{}); got == nil || len(got) != 0 || len(decodeNumbers[T](nil)) != 0 {
			t.Errorf("no numbers are %v", got)
		}
	}
}
