package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// An exploration leaves a model for each share, and a table that says what --json says.
func TestExplore(t *testing.T) {
	calib := data(t, "mnist_calib")
	dir := filepath.Join(t.TempDir(), "new")
	var told, kept report.Exploration
	mustJSON(t, &told, with(calib, "explore", model("mlp_a"), "-o", dir, "--at", "0.5,0.75,0.5", "--limit", "150")...)
	empty(t, dir, "mlp_a-0.75.onnx", "mlp_a-0.5.onnx", "explore.json")
	text, err := os.ReadFile(filepath.Join(dir, "explore.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	if len(told.Points) != 2 || len(kept.Points) != 2 || told.Points[0].Share != 0.75 || told.Before.LatencyMS == nil || told.Points[1].LatencyMS == nil {
		t.Fatalf("%+v", told)
	}
	for i, p := range kept.Points {
		m, err := onnxio.Load(p.Model)
		if err != nil {
			t.Fatal(err)
		}
		if params, bytes := m.Size(); params != p.Params || bytes != p.Bytes || p.Agreement == nil || *p.Agreement != *told.Points[i].Agreement {
			t.Errorf("%s: %d parameters, %d bytes, but %+v", p.Model, params, bytes, p)
		}
	}
}

// Mistakes are said before the work begins, and leave no folder behind.
func TestExploreMistakes(t *testing.T) {
	calib := data(t, "mnist_calib")
	top := t.TempDir()
	dir := filepath.Join(top, "new")
	own := filepath.Join(top, "m.onnx")
	content, err := os.ReadFile(model("mlp_a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, content, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(top, "m-0.5.onnx") // what is written there would replace the model
	if err := os.Symlink(own, link); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{with(calib, "explore", own), exitUsage, "-o is missing"},
		{[]string{"explore", own, "-o", dir}, exitUsage, "--data is missing"},
		{with(calib, "explore", own, "-o", dir, "--at", "0.5,2"), exitUsage, "--at has 2"},
		{with(calib, "explore", own, "-o", own), exitFailed, "cannot be written"},
		{with(calib, "explore", filepath.Join(top, "no.onnx"), "-o", dir), exitFailed, "no such file"},
		{with(calib, "explore", own, "-o", top, "--at", "0.5"), exitUsage, link + ": is an input"},
		{with(calib, "explore", own, "-o", dir, "--limit", "1"), exitUsage, "too few samples to hold some out"},
	} {
		r := run(t, c.args...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%v: exit code %d: %s", c.args, r.code, r.stderr)
		}
	}
	empty(t, top, "m-0.5.onnx", "m.onnx")
}
