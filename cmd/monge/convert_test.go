package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// Out to a data file and in again, nothing of the model has changed.
func TestConvert(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			original := modeltest.Load(t, name)
			moved, whole, copied := out(t), out(t), out(t)
			var r report.Conversion
			mustJSON(t, &r, "convert", model(name), "-o", moved, "--external-data")
			if r.Model != model(name) || r.Output != moved || r.Before.ExternalTensors != 0 || r.Before.Tensors != r.After.Tensors {
				t.Errorf("%+v", r)
			}
			if len(r.After.DataFiles) != 1 || !strings.HasPrefix(r.After.DataFiles[0], moved+".") || r.After.ExternalTensors == 0 ||
				r.After.ExternalBytes < r.Before.FileBytes/2 || r.After.FileBytes >= r.Before.FileBytes/2 {
				t.Errorf("weights were not moved: %+v, %+v", r.Before, r.After)
			}
			for path, want := range map[string]int64{model(name): r.Before.FileBytes, moved: r.After.FileBytes} {
				if info, err := os.Stat(path); err != nil || info.Size() != want {
					t.Errorf("%s: %v, %d bytes are reported", path, info, want)
				}
			}
			must(t, "convert", moved, "-o", whole, "--inline")
			must(t, "convert", moved, "-o", copied)     // stays outside
			data := filepath.Base(r.After.DataFiles[0]) // after the content, so that it is the same twice
			empty(t, filepath.Dir(moved), "out.onnx", data)
			empty(t, filepath.Dir(copied), "out.onnx", data)
			empty(t, filepath.Dir(whole), "out.onnx")
			back, err := onnxio.Load(whole)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(original.Proto, back.Proto) {
				t.Error("the model has changed")
			}
		})
	}
}

// onnxruntime sees no difference.
func TestConvertRuns(t *testing.T) {
	moved := out(t)
	must(t, "convert", model("resnet_a"), "-o", moved, "--external-data")
	var e report.Evaluation
	mustJSON(t, &e, with(data(t, "mnist_test"), "eval", model("resnet_a"), moved, "--limit", "50", "--no-latency")...)
	if d := e.Models[1].MaxDiff; d == nil || *d != 0 {
		t.Errorf("outputs differ by %v", d)
	}
}

func TestConvertFlags(t *testing.T) {
	whole, err := os.ReadFile(model("mlp_a"))
	if err != nil {
		t.Fatal(err)
	}
	own := file(t, "own.onnx", whole)
	for _, c := range []struct {
		says string
		args []string
	}{
		{"one of", []string{"convert", own, "-o", out(t), "--inline", "--external-data"}},
		{"-o is missing: where shall the result go?\n", []string{"convert", own}},
		{"--force", []string{"convert", own, "-o", own}},
		{"one model", []string{"convert", own, own, "-o", out(t)}},
		{"dry-run", []string{"convert", own, "-o", out(t), "--dry-run"}},
	} {
		if r := run(t, c.args...); r.code != exitUsage || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%v: exit code %d, %q", c.args, r.code, r.stderr)
		}
	}
	if s := must(t, "convert", own, "-o", own, "--force", "--external-data", "--quiet"); s != "" {
		t.Errorf("--quiet printed %q", s)
	}
	var r report.Conversion
	mustJSON(t, &r, "convert", own, "-o", own, "--force")
	empty(t, filepath.Dir(own), "own.onnx", filepath.Base(r.After.DataFiles[0]))
	must(t, "convert", own, "-o", own, "--force", "--inline") // its data file goes
	empty(t, filepath.Dir(own), "own.onnx")
	text := must(t, "convert", own, "-o", out(t), "--inline")
	for _, want := range []string{"model file", "data files", "before", "after", "written"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
