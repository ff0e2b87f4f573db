package onnxio_test

import (
	"path/filepath"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Changed external weights are not held in memory, can be read, changed again, cloned, and saved;
// no file stays behind.
func TestScratch(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 200)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Weights("w", []int{200, 100}, rng()), onnxtest.Weights("v", []int{100, 4}, rng()),
		onnxtest.Node("MatMul", "x w", "h"), onnxtest.Node("MatMul", "h v", "y"))
	dir := t.TempDir()
	ext := reload(t, filepath.Join(dir, "m.onnx"), m, onnxio.SaveOptions{External: onnxio.Always})
	original := reload(t, filepath.Join(dir, "copy.onnx"), ext, onnxio.SaveOptions{})

	set := func(m *onnxio.Model, by float64) {
		g, err := m.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"w", "v"} {
			w, err := m.Tensor(g.Constant(name))
			if err != nil {
				t.Fatal(err)
			}
			v := w.Float64()
			for i := range v {
				v[i] *= by
			}
			w.SetFloat64(w.Dims, v)
			if err := g.SetConstant(w); err != nil {
				t.Fatal(err)
			}
			if n := len(g.Constant(name).GetRawData()); name == "w" && n != 0 {
				t.Errorf("%d bytes are held in memory", n)
			}
		}
	}
	edited := ext.Clone()
	set(edited, 2)
	again := edited.Clone()
	set(again, 0.5) // what it was at first
	samePayloads(t, original, again)
	if _, err := again.Encode(); err == nil {
		t.Error("encoded without the changed weights")
	}
	if err := again.Validate(); err != nil {
		t.Error(err)
	}
	saved := reload(t, filepath.Join(dir, "again.onnx"), again, onnxio.SaveOptions{})
	samePayloads(t, original, saved)
	whole := reload(t, filepath.Join(dir, "whole.onnx"), edited, onnxio.SaveOptions{External: onnxio.Never})
	samePayloads(t, edited, whole)
	data := func(m *onnxio.Model) string { return dataFiles(t, m)[0] }
	onlyFiles(t, dir, "again.onnx", data(saved), "copy.onnx", data(original), "m.onnx", data(ext), "whole.onnx")
	onlyFiles(t, temp)
}
