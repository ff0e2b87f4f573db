package compress_test

import (
	"context"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// FuzzModel changes valid models and compresses what is left of them, without data. No model may
// cause a panic or memory out of proportion to its size; the result, where there is one, has to be
// a model that can be read again, and analysed, with the widths that were reported.
func FuzzModel(f *testing.F) {
	forms := onnxtest.Forms()
	var bases [][]byte
	for i, form := range forms {
		m, err := form.Model()
		if err != nil {
			f.Fatal(err)
		}
		data, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, data)
		f.Add(uint8(i), uint8(2), []byte{})
		for step := range byte(16) {
			f.Add(uint8(i), uint8(step), []byte{step, byte(i), step + 3, 7, 1})
		}
	}
	for i, name := range []string{"cnn_a", "resnet_optiona", "vit_a"} {
		data, err := modeltest.Load(f, name).Encode()
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, data)
		for step := range byte(16) {
			f.Add(uint8(len(forms)+i), uint8(step), []byte{step, 3, step + 3, 7, 1})
		}
	}
	f.Fuzz(func(t *testing.T, base, how uint8, program []byte) {
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
		o := compress.Options{Keep: [...]float64{0.5, 0.25, 0, 0}[how%4], MACs: [...]float64{0, 0, 0.5, 0}[how%4], Params: [...]float64{0, 0, 0, 0.5}[how%4], Multiple: int(how/4) % 4, KeepResidual: how/16%2 == 1, Options: job.Options{NoData: true, KeepBatchNorm: how/32%2 == 1, Lossless: job.Off}}
		compressed(t, m, o)
	})
}

// memory is what the compression of a small model may allocate in all, in bytes: a fixed part, and
// a multiple of the size of the model.
const memory, perByte = 64 << 20, 4096

func compressed(t *testing.T, m *onnxio.Model, o compress.Options) {
	t.Helper()
	size := proto.Size(m.Proto)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, report, err := compress.Model(context.Background(), m, o)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(memory+perByte*size) {
		t.Fatalf("a model of %d bytes took %d bytes of memory", size, used)
	}
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
	a, err := coupling.Analyze(back, coupling.Options{})
	if err != nil {
		t.Fatalf("the result cannot be analysed: %v", err)
	}
	if params := a.Params(nil); params != report.After.Params {
		t.Fatalf("the result has %d parameters, %d are reported", params, report.After.Params)
	}
}
