package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// TestTooLarge: a model of a few bytes that asks for more memory than there is ends with one line, or
// is worked on without being run.
func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.onnx")
	m, err := onnxtest.Parse("x: N 1 40000 40000\nc = Conv(x, w[8 1 3 3]) pads=1,1,1,1\ny = Conv(c, v[2 8 1 1])")
	if err != nil {
		t.Fatal(err)
	}
	if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	r := run(t, "eval", path, "--data", "none")
	if r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "large.onnx: too large to run") {
		t.Errorf("eval: exit code %d, %q", r.code, r.stderr)
	}
	r = run(t, "compress", path, "-o", out(t), "--keep", "0.5", "--quiet")
	if r.code != exitOK {
		t.Errorf("compress: exit code %d, %q", r.code, r.stderr)
	}
}
