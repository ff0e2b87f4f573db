package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// What a model says about its pixels is done to them, and said; flags win.
func TestStatedPreprocessing(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Load(t, "cnn_a").Clone()
	m.SetMetadata("mean", "[0.1307]")
	m.SetMetadata("std", "[0.3081]")
	says := filepath.Join(t.TempDir(), "says.onnx")
	if err := onnxio.Save(context.Background(), says, m, onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	data := modeltest.Dir("mnist_test.npz")
	top1 := func(path string, flags ...string) (float64, string) {
		var e report.Evaluation
		mustJSON(t, &e, append([]string{"eval", path, "--data", data, "--limit", "200", "--no-latency"}, flags...)...)
		return *e.Models[0].Top1, strings.Join(e.Warnings, "\n")
	}
	want, _ := top1(model("cnn_a"), "--preset", "mnist")
	got, said := top1(says)
	if got != want || !strings.Contains(said, "preprocessing: scale 1/255, mean 0.1307, std 0.3081, found in the model's metadata") {
		t.Errorf("right %g, want %g; %s", got, want, said)
	}
	if _, said := top1(says, "--scale", "1/128"); strings.Contains(said, "preprocessing") {
		t.Errorf("with --scale: %s", said)
	}
	// Made-up inputs are such pixels too.
	r := run(t, "compress", says, "-o", out(t), "--keep", "0.75", "--tune", "0", "--no-latency")
	if r.code != exitOK || !strings.Contains(r.stderr, "preprocessing: scale 1/255") {
		t.Errorf("made up: %d, %s", r.code, r.stderr)
	}
	if r := run(t, "compress", says, "-o", out(t), "--keep", "0.75", "--tune", "0", "--no-latency", "-q"); strings.Contains(r.stderr, "preprocessing") {
		t.Errorf("quiet: %s", r.stderr)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Without a budget there is a search, or a choice.
func TestNoBudget(t *testing.T) {
	enginetest.Require(t)
	data := []string{"--data", modeltest.Dir("mnist_calib.npz"), "--preset", "mnist", "--limit", "150", "--no-latency"}
	file := out(t)
	r := run(t, append([]string{"compress", model("mlp_a"), "-o", file, "--time", "1ms"}, data...)...)
	if r.code != exitUsage || exists(file) {
		t.Errorf("no time: exit code %d", r.code)
	}
	// The reason is first, and what could be done is whole command lines.
	if !strings.HasPrefix(r.stderr, "monge: no budget is given, and a search for one would take about ") {
		t.Error(r.stderr)
	}
	lines := regexp.MustCompile(`(?m)^  monge (compress .*)$`).FindAllStringSubmatch(r.stderr, -1)
	if len(lines) != 3 {
		t.Fatal(r.stderr)
	}
	given := "compress " + model("mlp_a") + " -o " + file
	for i, end := range []string{"--time 1ms " + strings.Join(data, " ") + " --macs 0.75", strings.Join(data, " ") + " --max-drop 0.01", "--time 1ms " + strings.Join(data, " ") + " --latency 0.6"} {
		if want := given + " " + end; lines[i][1] != want {
			t.Errorf("%q, want %q", lines[i][1], want)
		}
	}
	if r := run(t, words(lines[0][1])...); r.code != exitOK || !exists(file) {
		t.Errorf("%s: exit code %d: %s", lines[0][1], r.code, r.stderr)
	}
	r = run(t, append([]string{"compress", model("mlp_a"), "-o", file}, data...)...)
	if r.code != exitOK || !strings.Contains(r.stderr, "no budget: --max-drop 0.01") || !strings.Contains(r.stderr, "30 samples tell little") || !exists(file) {
		t.Errorf("a search: exit code %d, %s", r.code, r.stderr)
	}
	r = run(t, "compress", model("mlp_wide"), "-o", out(t), "--no-latency")
	if r.code != exitOK || !strings.Contains(r.stdout, "outputs differ by 0") || !strings.Contains(r.stderr, "no budget and no data") {
		t.Errorf("without data: exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}
