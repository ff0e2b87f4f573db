package main

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// digits writes n samples of noise for the networks on digits into an .npy file; change may change
// their numbers.
func digits(t *testing.T, n int, change func(x []float32)) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n*28*28)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	change(x)
	path := filepath.Join(t.TempDir(), "digits.npy")
	if err := os.WriteFile(path, npyFile([]int{n, 1, 28, 28}, x), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Samples that are no numbers end every command that reads them with their numbers, before any
// work; with --drop-bad the others are worked with, and the JSON says how many were left out.
func TestBadSamples(t *testing.T) {
	enginetest.Require(t)
	bad := digits(t, 60, func(x []float32) {
		x[7*784+5], x[41*784], x[42*784+783] = float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))
	})
	good := digits(t, 60, func([]float32) {})
	for name, args := range map[string][]string{
		"compress":  {"compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--tune", "0", "--no-latency", "--data", bad},
		"eval data": {"compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--tune", "0", "--no-latency", "--data", good, "--eval-data", bad},
		"search":    {"compress", model("mlp_a"), "-o", out(t), "--max-drop", "0.5", "--no-latency", "--data", bad},
		"fuse":      {"fuse", model("mlp_a"), model("mlp_b"), "-o", out(t), "--tune", "0", "--data", bad},
		"eval":      {"eval", model("mlp_a"), model("mlp_b"), "--no-latency", "--data", bad},
	} {
		r := run(t, args...)
		if r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, bad) ||
			!strings.Contains(r.stderr, "3 of 60 samples have NaN or infinite numbers in them, number 7,41-42, counted from 0") {
			t.Errorf("%s: exit code %d: %s", name, r.code, r.stderr)
		}
		var j struct{ Warnings []string }
		mustJSON(t, &j, append(args, "--drop-bad")...)
		if !strings.Contains(strings.Join(j.Warnings, "\n"), "3 of 60 samples") {
			t.Errorf("%s: warnings %q", name, j.Warnings)
		}
	}
}

// nanModel writes a network whose scores are all NaN, as those of the networks on digits would be.
func nanModel(t *testing.T) string {
	t.Helper()
	m, err := onnxtest.Parse("x: N 1 28 28\nf = Flatten(x)\nh = Gemm(f, w[784 10])\nl = Log(k<-1>)\ny = Add(h, l)")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nan.onnx")
	if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// A model whose outputs are no numbers does not look like a good one, alone or beside another.
func TestEvalNaN(t *testing.T) {
	enginetest.Require(t)
	on, nan := digits(t, 20, func([]float32) {}), nanModel(t)
	for name, models := range map[string][]string{"beside a good one": {model("mlp_a"), nan}, "first": {nan, model("mlp_a")}, "twice": {nan, nan}, "alone": {nan}} {
		args := append([]string{"eval", "--no-latency", "--data", on}, models...)
		if text := must(t, args...); !strings.Contains(text, "NaN, ±Inf") || !strings.Contains(text, "200") || strings.Contains(text, "1.000000") || strings.Contains(text, "100.00%") {
			t.Errorf("%s:\n%s", name, text)
		}
		var j struct {
			Models []struct {
				Agreement, Cosine, MaxDiff *float64
				NonFinite                  int `json:"non_finite"`
			}
		}
		mustJSON(t, &j, args...)
		for i, m := range j.Models {
			if want := 200 * strings.Count(models[i], "nan.onnx"); m.NonFinite != want || m.Cosine != nil || m.MaxDiff != nil || m.Agreement != nil && *m.Agreement != 0 {
				t.Errorf("%s: %+v", name, j.Models)
			}
		}
	}
}
