package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/modeltest"
)

// A bomb is a context that panics when it is asked for its error for the at-th time: in the midst
// of the work, and in goroutines that do part of it.
type bomb struct {
	context.Context
	asked *atomic.Int64
	at    int64
}

func (b bomb) Err() error {
	if b.asked.Add(1) == b.at {
		var list []int
		_ = list[b.at]
	}
	return b.Context.Err()
}

// Whatever goes wrong inside is one line and exit code 1, never a stack, and leaves no file.
func TestPanics(t *testing.T) {
	calib := data(t, "mnist_calib")
	limits := []string{"--limit", "30", "--tune", "1", "-q", "-o"}
	named := 0
	for name, args := range map[string][]string{
		"compress": with(calib, append([]string{"compress", model("mlp_a"), "--keep", "0.5"}, limits...)...),
		"fuse":     with(calib, append([]string{"fuse", model("mlp_a"), model("mlp_b"), "--weights", "0.5,0.5"}, limits...)...),
		"lossless": {"compress", model("mlp_a"), "--lossless", "-q", "-o"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.onnx")
			at := func(n int64) (result, int64) {
				full := args
				for i, a := range full {
					if a == "-o" {
						full = append(append(append([]string{}, args[:i+1]...), out), args[i+1:]...)
					}
				}
				b := bomb{context.Background(), &atomic.Int64{}, n}
				r := runWith(t, b, engine.Available, full...)
				return r, b.asked.Load()
			}
			r, times := at(-1)
			if r.code != exitOK {
				t.Fatalf("exit code %d: %s", r.code, r.stderr)
			}
			os.Remove(out)
			for i := range int64(4) {
				n := 1 + i*(times-2)/4
				r, _ := at(n)
				if r.code != exitFailed || !strings.Contains(r.stderr, "internal error") || strings.Count(r.stderr, "internal error") != 1 || strings.Contains(r.stderr, ".go:") {
					t.Errorf("panic %d of %d: exit code %d: %s", n, times, r.code, r.stderr)
				}
				if strings.Contains(r.stderr, "fc") || strings.Contains(r.stderr, "conv") {
					named++
				}
				if _, err := os.Stat(out); err == nil {
					t.Errorf("panic %d of %d left a file", n, times)
				}
			}
		})
	}
	if named == 0 {
		t.Error("no panic named the node that was worked on")
	}
}

// The same before and after the work: onnxruntime's search, and the printing.
func TestPanicsOutside(t *testing.T) {
	for _, args := range [][]string{
		with([]string{"--data", modeltest.Dir("mnist_calib.npz"), "-o", filepath.Join(t.TempDir(), "x.onnx")}, "compress", model("mlp_a"), "--keep", "0.5"),
		{"runtime"},
	} {
		r := runWith(t, context.Background(), func() (engine.Library, error) { panic(fmt.Sprintf("no %s", "idea")) }, args...)
		if r.code != exitFailed || !strings.Contains(r.stderr, "internal error") || !strings.Contains(r.stderr, "no idea") || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d: %s", args, r.code, r.stderr)
		}
	}
}
