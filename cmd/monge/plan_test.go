package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// A plan is written, edited and carried out, as by the library.
func TestPlan(t *testing.T) {
	calib := data(t, "mnist_calib")
	dir := t.TempDir()
	plan, first, second := filepath.Join(dir, "plan.yaml"), filepath.Join(dir, "first.onnx"), filepath.Join(dir, "second.onnx")
	must(t, with(calib, "compress", model("mlp_a"), "-o", first, "--keep", "0.5", "--tune", "0", "--limit", "100", "--eval-data", "none", "--no-latency", "--save-plan", plan)...)
	text, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), "width: 16", "width: 20", 1)
	edited = edited[:strings.LastIndex(edited, "    keep:")] // of /fc2/Gemm the channels are chosen anew
	if err := os.WriteFile(plan, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again.yaml")
	must(t, with(calib, "compress", model("mlp_a"), "-o", second, "--plan", plan, "--tune", "0", "--limit", "100", "--eval-data", "none", "--no-latency", "--save-plan", again)...)
	carried, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"width: 32", "width: 20", "fc3.weight: [1]"} {
		if !bytes.Contains(carried, []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, carried)
		}
	}
	empty(t, dir, "plan.yaml", "again.yaml", "first.onnx", "second.onnx")

	p, err := compress.ReadPlan(plan, strings.NewReader(edited))
	if err != nil {
		t.Fatal(err)
	}
	o := compress.Options{Plan: p, Options: job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100}), Tune: job.Off, NoEval: true}}
	want, _, err := compress.Model(context.Background(), modeltest.Load(t, "mlp_a"), o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := onnxio.Load(second)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want.Proto.GetGraph().GetInitializer() {
		if !bytes.Equal(w.GetRawData(), got.Proto.GetGraph().GetInitializer()[i].GetRawData()) {
			t.Errorf("%s differs from the library's", w.GetName())
		}
	}
}

// Mistakes name the file, and nothing is written.
func TestPlanMistakes(t *testing.T) {
	dir := t.TempDir()
	plan, to := filepath.Join(dir, "plan.yaml"), filepath.Join(dir, "to.onnx")
	if err := os.WriteFile(plan, []byte("spaces:\n  /fc9/Gemm: {width: 3}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	own := model("mlp_a")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--plan " + plan, exitFailed, plan + `:2: space "/fc9/Gemm": the model has none of that name: perhaps /fc1/Gemm`},
		{"--plan " + plan + " --keep 0.5", exitUsage, "give exactly one of"},
		{"--plan " + plan + " --multiple 8", exitUsage, "--multiple has no place beside --plan"},
		{"--plan " + plan + " --save-plan " + plan, exitUsage, plan + ": is an input"},
		{"--keep 0.5 --save-plan " + own, exitUsage, own + ": is an input"},
		{"--keep 0.5 --save-plan " + to, exitUsage, "--save-plan and -o both name"},
		{"--lossless --save-plan " + filepath.Join(dir, "x"), exitUsage, "there is no plan"},
		{"--plan " + filepath.Join(dir, "nowhere"), exitFailed, "no such file"},
	} {
		r := run(t, append([]string{"compress", own, "-o", to, "--data", "none"}, strings.Fields(c.args)...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s: exit code %d: %s", c.args, r.code, r.stderr)
		}
	}
	empty(t, dir, "plan.yaml")
}
