package lossless_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// FuzzStrip changes valid models and strips what is left of them, without a check by onnxruntime:
// there is no panic, and the result is a model that can be read again and analysed.
func FuzzStrip(f *testing.F) {
	var bases [][]byte
	for i, form := range onnxtest.Forms() {
		m, err := form.Model()
		if err != nil {
			f.Fatal(err)
		}
		data, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, data)
		f.Add(uint8(i), []byte{})
		for step := range byte(16) {
			f.Add(uint8(i), []byte{step, byte(i), step + 3, 7, 1})
		}
	}
	f.Fuzz(func(t *testing.T, base uint8, program []byte) {
		if len(program) > 64 {
			return // many changes leave nothing of a model
		}
		m, err := onnxio.Decode(bases[int(base)%len(bases)], "")
		if err != nil {
			t.Fatal(err)
		}
		onnxtest.Mutate(m.Proto, program)
		if m.Validate() != nil {
			return
		}
		out, _, err := lossless.Strip(context.Background(), m, lossless.Options{NoCheck: true})
		if err != nil {
			return
		}
		encoded, err := out.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := onnxio.Decode(encoded, "")
		if err != nil {
			t.Fatalf("the result is no model: %v", err)
		}
		// What could be analysed before can be after.
		if _, err := coupling.Analyze(m, coupling.Options{}); err != nil {
			return
		}
		if _, err := coupling.Analyze(back, coupling.Options{}); err != nil {
			t.Fatalf("the result cannot be analysed: %v", err)
		}
	})
}
