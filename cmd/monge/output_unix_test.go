//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/monge-ml/monge/onnxio"
)

// A model goes to standard output whole, and everything else then to standard error.
func TestOutputToStdout(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, args := range [][]string{
		{"compress", model("mlp_a"), "--keep", "0.5", "--data", "none"},
		{"fuse", model("mlp_a"), model("mlp_b")},
		{"convert", model("mlp_a")},
	} {
		for _, format := range [][]string{nil, {"--json"}, {"--quiet"}} {
			r := run(t, append(append(args, "-o", "-"), format...)...)
			if r.code != exitOK {
				t.Fatalf("%v %v: exit code %d: %s", args, format, r.code, r.stderr)
			}
			path := filepath.Join(t.TempDir(), "stdout.onnx")
			if err := os.WriteFile(path, []byte(r.stdout), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := onnxio.Load(path); err != nil {
				t.Errorf("%v %v: %v", args, format, err)
			}
			if format == nil && !strings.Contains(r.stderr, "- written") {
				t.Errorf("%v: stderr has no table: %s", args, r.stderr)
			}
			if len(format) > 0 && format[0] == "--json" && !strings.Contains(r.stderr, `"output": "-"`) {
				t.Errorf("%v: stderr has no JSON: %s", args, r.stderr)
			}
		}
	}
	empty(t, os.Getenv("TMPDIR"))
}

// Devices and pipes are written to; a file never takes their place.
func TestOutputToDevices(t *testing.T) {
	before, err := os.Stat(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	must(t, "compress", model("mlp_a"), "--keep", "0.5", "--data", "none", "-o", os.DevNull)
	after, err := os.Stat(os.DevNull)
	if err != nil || after.Mode() != before.Mode() || !os.SameFile(before, after) {
		t.Errorf("%s was replaced: %v, %v", os.DevNull, after.Mode(), err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	read := make(chan []byte)
	go func() {
		all, _ := os.ReadFile(pipe)
		read <- all
	}()
	must(t, "convert", model("mlp_a"), "-o", pipe)
	want := []byte(must(t, "convert", model("mlp_a"), "-o", "-", "--quiet"))
	if got := <-read; !bytes.Equal(got, want) {
		t.Errorf("%d bytes came through the pipe, want %d", len(got), len(want))
	}
}
