package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
)

// A result is what a command line did.
type result struct {
	code           int
	stdout, stderr string
}

// run executes a command line in this process.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t, context.Background(), engine.Available, args...)
}

func runWith(t *testing.T, ctx context.Context, runtime func() (engine.Library, error), args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{stdout: &stdout, stderr: &stderr, runtime: runtime, version: "v0-test"}
	code := a.run(ctx, args)
	return result{code, stdout.String(), stderr.String()}
}

// must executes a command line that has to succeed, and returns what it printed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := run(t, args...)
	if r.code != exitOK {
		t.Fatalf("monge %s: exit code %d: %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// mustJSON is must with --json, decoded into v.
func mustJSON(t *testing.T, v any, args ...string) {
	t.Helper()
	out := must(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("monge %s: %v in %s", strings.Join(args, " "), err, out)
	}
}

// model is the path of a network of testdata.
func model(name string) string { return modeltest.Dir(name + ".onnx") }

// data is the flags for a data set of testdata; the test is skipped without onnxruntime.
func data(t *testing.T, name string) []string {
	t.Helper()
	enginetest.Require(t)
	return []string{"--data", modeltest.Dir(name + ".npz"), "--scale", "0.00392156862745098", "--mean", "0.1307", "--std", "0.3081"}
}

// with puts the arguments of a command before the flags that it shares with others.
func with(shared []string, args ...string) []string { return slices.Concat(args, shared) }

// out is a path in a new folder.
func out(t *testing.T) string { return filepath.Join(t.TempDir(), "out.onnx") }

// empty fails if a folder holds anything but the given files.
func empty(t *testing.T, dir string, but ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, b := range but {
		known[b] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}
