package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A page says what the command prints, and comes beside the result.
func TestPage(t *testing.T) {
	calib, test := data(t, "mnist_calib"), data(t, "mnist_test")
	small, fused := out(t), out(t)
	for name, c := range map[string]struct {
		args  []string
		wants []string
	}{
		"compress": {with(calib, "compress", model("cnn_a"), "-o", small, "--macs", "0.5", "--tune", "1", "--limit", "150"),
			[]string{"fewer multiply-accumulates", "held-out samples", "Ways to meet the budget", "Error by layer", "Loss of the distillation", "<svg"}},
		"fuse": {with(calib, "fuse", model("mlp_a"), model("mlp_b"), "-o", fused, "--tune", "1", "--limit", "60"),
			[]string{"2 models, ", "What each model gave", "Ways to fuse", "data:image/png"}},
		"eval": {with(test, "eval", model("mlp_a"), model("cnn_a"), "--limit", "300"),
			[]string{"Top-1 ", "Samples that changed their class", "data:image/png", "mlp_a.onnx is right"}},
		"diff": {[]string{"diff", model("resnet_a"), model("cnn_a")}, []string{"The network", "dropped"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "page.html")
			must(t, append(c.args, "--report", file)...)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			read := tag.ReplaceAll(text, nil)
			for _, want := range append(c.wants, "<!DOCTYPE html>", "v0-test", "monge "+name) {
				if !bytes.Contains(text, []byte(want)) && !bytes.Contains(read, []byte(want)) {
					t.Errorf("%q is missing", want)
				}
			}
			empty(t, filepath.Dir(file), "page.html")
		})
	}
}

// tag is one of HTML: what stands between them is what is read.
var tag = regexp.MustCompile(`<[^>]*>`)

// What cannot be is said before the work begins, and nothing is written.
func TestPageMistakes(t *testing.T) {
	dir := t.TempDir()
	own, to := filepath.Join(dir, "own.onnx"), filepath.Join(dir, "to.onnx")
	content, err := os.ReadFile(model("mlp_a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, content, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"compress " + own + " -o " + to + " --keep 0.5 --data none --report " + own, exitUsage, own + ": is an input"},
		{"compress " + own + " -o " + own + " --force --keep 0.5 --data none --report " + own, exitUsage, "--report and -o both name"},
		{"compress " + own + " -o " + to + " --keep 0.5 --data none --report " + to, exitUsage, "--report and -o both name"},
		{"compress " + own + " -o " + to + " --keep 0.5 --data none --report " + filepath.Join(dir, "no", "page.html"), exitFailed, "cannot be written"},
		{"compress " + own + " -o " + to + " --keep 0.5 --data none --report " + dir, exitFailed, "it is a folder"},
		{"compress " + own + " --dry-run --keep 0.5 --data none --report " + filepath.Join(dir, "page.html"), exitUsage, "--dry-run makes nothing"},
		{"fuse " + own + " " + own + " -o " + to + " --report " + own, exitUsage, "is an input"},
		{"diff " + own + " " + own + " --report " + own, exitUsage, "is an input"},
		{"eval " + own + " --data none --report " + own, exitUsage, "is an input"},
	} {
		r := run(t, strings.Fields(c.args)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) || strings.Contains(r.stderr, "--force") && !strings.Contains(c.args, "--force") {
			t.Errorf("%s: exit code %d: %s", c.args, r.code, r.stderr)
		}
	}
	after, err := os.ReadFile(own)
	if err != nil || !bytes.Equal(content, after) {
		t.Error("the input was changed")
	}
	empty(t, dir, "own.onnx")
}

// The original may be replaced: the page shows what it was.
func TestPageOfReplaced(t *testing.T) {
	dir := t.TempDir()
	own, file := filepath.Join(dir, "own.onnx"), filepath.Join(dir, "page.html")
	must(t, "convert", model("cnn_a"), "-o", own, "--external-data")
	must(t, "compress", own, "-o", own, "--force", "--keep", "0.5", "--data", "none", "--no-latency", "--report", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("12×1×3×3 → 6×1×3×3")) {
		t.Error("the page does not show what was narrowed")
	}
}
