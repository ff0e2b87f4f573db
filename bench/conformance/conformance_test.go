//go:build cgo

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio"
)

// The models of testdata pass, and all checks are made.
func TestTestdata(t *testing.T) {
	enginetest.Require(t)
	var table strings.Builder
	file := filepath.Join(t.TempDir(), "r.json")
	failures, err := run([]string{"../../testdata"}, options{keep: 0.5}, file, &table, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if failures != 0 {
		t.Errorf("failures:\n%s", table.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../testdata/*.onnx")
	if err != nil {
		t.Fatal(err)
	}
	g := r.Groups[0]
	for name, n := range map[string]int{"models": g.Models, "equal": g.Equal, "moved": g.Moved, "load": g.Loads,
		"copies load": g.LoadsToo, "run": g.Runs, "same": g.Same, "narrowed": g.Narrowed} {
		if n < len(files) {
			t.Errorf("%s: %d of %d models", name, n, len(files))
		}
	}
}

// A file that nobody can read is no failure; a difference is found.
func TestCheckFinds(t *testing.T) {
	enginetest.Require(t)
	text := filepath.Join(t.TempDir(), "text.onnx")
	if err := os.WriteFile(text, []byte("not a model"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := check(text, options{})
	if err != nil || r.Failure != "" || r.Loads || r.LoadError == "" || r.Equal {
		t.Errorf("%+v, %v", r, err)
	}
	a, err := onnxio.Load("../../testdata/mlp_a.onnx")
	if err != nil {
		t.Fatal(err)
	}
	b := a.Clone()
	if same, err := equalValues(a, b); err != nil || !same {
		t.Errorf("a copy differs: %v", err)
	}
	w := b.Proto.Graph.Initializer[0]
	w.RawData = append([]byte{}, w.RawData...)
	w.RawData[0] ^= 1
	if same, err := equalValues(a, b); err != nil || same {
		t.Errorf("a changed bit was not seen: %v", err)
	}
	in, _, err := inputs("../../testdata/mlp_a.onnx", a, options{})
	if err != nil {
		t.Fatal(err)
	}
	defer destroy(in)
	changed := filepath.Join(t.TempDir(), "changed.onnx")
	w.RawData[3] ^= 0x40
	if err := onnxio.Save(t.Context(), changed, b, onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	x, err := outputs("../../testdata/mlp_a.onnx", a, in)
	if err != nil {
		t.Fatal(err)
	}
	y, err := outputs(changed, a, in)
	if err != nil {
		t.Fatal(err)
	}
	if x == y {
		t.Error("other weights give the same digest")
	}
}
