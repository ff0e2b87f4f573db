package onnxio

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// TestNativeNumbers compares copies of whole tensors with numbers coded one by
// one, as machines of the other byte order do it.
func TestNativeNumbers(t *testing.T) {
	defer func(was bool) { littleEndian = was }(littleEndian)
	v32 := []float32{0, float32(math.Copysign(0, -1)), 1.5, -3e38, 1e-45, float32(math.Inf(1))}
	v64 := []float64{0, math.Copysign(0, -1), 1.5, -1e308, 5e-324, math.Inf(-1)}
	native := littleEndian
	littleEndian = false
	raw32, raw64 := encodeNumbers(v32, encode32), encodeNumbers(v64, encode64)
	if !bytes.Equal(raw32[8:12], []byte{0, 0, 0xc0, 0x3f}) || len(raw64) != 48 {
		t.Errorf("1.5 is % x; 6 doubles take %d bytes", raw32[8:12], len(raw64))
	}
	for _, littleEndian = range []bool{false, native} {
		if got := encodeNumbers(v32, encode32); !bytes.Equal(got, raw32) {
			t.Errorf("float32: % x, want % x", got, raw32)
		}
		if got := encodeNumbers(v64, encode64); !bytes.Equal(got, raw64) {
			t.Errorf("float64: % x, want % x", got, raw64)
		}
		got32, got64 := make([]float32, len(v32)), make([]float64, len(v64))
		decodeNumbers(got32, raw32, decode32)
		decodeNumbers(got64, raw64, decode64)
		if !slices.Equal(got32, v32) || !slices.Equal(got64, v64) || !math.Signbit(got64[1]) {
			t.Errorf("decoded %v and %v", got32, got64)
		}
		decodeNumbers([]float32{}, nil, decode32)
		if got := encodeNumbers([]float64{}, encode64); got == nil || len(got) != 0 {
			t.Errorf("no numbers are %v", got)
		}
	}
}
