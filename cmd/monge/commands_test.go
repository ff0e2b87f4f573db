package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// correct evaluates models and returns how many images each gets right.
func correct(t *testing.T, models ...string) []int {
	t.Helper()
	var e report.Evaluation
	mustJSON(t, &e, with(data(t, "mnist_test"), with(models, "eval", "--no-latency")...)...)
	var out []int
	for _, m := range e.Models {
		out = append(out, int(*m.Top1*float64(e.Samples)+0.5))
	}
	return out
}

func TestEvalCountsAsRecorded(t *testing.T) {
	raw, err := os.ReadFile(modeltest.Dir("expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Images int
		Models map[string]struct{ Correct int }
	}
	if err := json.Unmarshal(raw, &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected.Models) == 0 {
		t.Fatal("nothing is expected")
	}
	var models []string
	var want []int
	for name, m := range expected.Models {
		models, want = append(models, modeltest.Dir(name)), append(want, m.Correct)
	}
	if diff := cmp.Diff(want, correct(t, models...)); diff != "" {
		t.Errorf("%v: %s", models, diff)
	}
}

func TestEval(t *testing.T) {
	var e report.Evaluation
	mustJSON(t, &e, with(data(t, "mnist_test"), "eval", model("mlp_a"), model("mlp_a"), model("mlp_b"), "--limit", "100", "--threads", "1")...)
	if e.Samples != 100 || e.Threads != 1 || len(e.Models) != 3 {
		t.Fatalf("%d samples, %d threads, %d models", e.Samples, e.Threads, len(e.Models))
	}
	first, same, other := e.Models[0], e.Models[1], e.Models[2]
	if first.Agreement != nil || first.MaxDiff != nil {
		t.Error("the first model is compared with itself")
	}
	if *same.Agreement != 1 || *same.MaxDiff != 0 {
		t.Errorf("the same model agrees by %g, differs by %g", *same.Agreement, *same.MaxDiff)
	}
	if *other.MaxDiff == 0 || *other.Agreement < 0.9 {
		t.Errorf("another model agrees by %g, differs by %g", *other.Agreement, *other.MaxDiff)
	}
	if first.Params != 52650 || *first.MACs != 784*64+64*32+32*10 || first.OpenDims {
		t.Errorf("%d params, %d MACs", first.Params, *first.MACs)
	}
	info, err := os.Stat(model("mlp_a"))
	if err != nil || first.Bytes != info.Size() {
		t.Errorf("%d bytes for a file of %v", first.Bytes, info)
	}
	if *first.LatencyMS <= 0 || first.LatencyRuns < 30 || first.LatencyBatch != 1 {
		t.Errorf("latency %g ms of %d runs of batch %d", *first.LatencyMS, first.LatencyRuns, first.LatencyBatch)
	}
	if e.PeakMemory <= 0 || e.Seconds <= 0 {
		t.Errorf("cost %+v", e.Cost)
	}
	table := must(t, with(data(t, "mnist_test"), "eval", model("mlp_a"), model("mlp_b"), "--limit", "100", "--quiet")...)
	for _, want := range []string{"top-1", "agreement", "latency", "thread", "peak memory"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}

func TestEvalWithoutData(t *testing.T) {
	data(t, "mnist_test")
	var e report.Evaluation
	mustJSON(t, &e, "eval", model("resnet_a"), "--data", "none")
	if m := e.Models[0]; m.Top1 != nil || *m.LatencyMS <= 0 || m.Params == 0 {
		t.Errorf("%+v", m)
	}
}

func TestFuse(t *testing.T) {
	path := out(t)
	var r report.Fusion
	mustJSON(t, &r, with(data(t, "mnist_calib"), "fuse", model("mlp_a"), model("mlp_b"), "-o", path, "--tune", "2", "--refit-samples", "250")...)
	if r.By != "activations" || r.Samples != 200 || r.Onto != 2 || r.Output != path {
		t.Errorf("%+v", r)
	}
	if got := correct(t, path); got[0] < 950 {
		t.Errorf("%d of 1,000 are right", got[0])
	}
	m, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := m.Metadata("monge.version"); v != "v0-test" {
		t.Errorf("version %q is recorded", v)
	}
	if c, _ := m.Metadata("monge.command"); !strings.HasPrefix(c, "monge fuse ") || !strings.Contains(c, path) {
		t.Errorf("command %q is recorded", c)
	}
	if diff := cmp.Diff(names(t, modeltest.Load(t, "mlp_b")), names(t, m)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != r.Result.Bytes {
		t.Errorf("%d bytes are reported for %v", r.Result.Bytes, info)
	}
}

// names lists inputs and outputs.
func names(t *testing.T, m *onnxio.Model) []string {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range slices.Concat(g.Inputs(), g.Outputs()) {
		out = append(out, v.GetName())
	}
	return out
}

func TestFuseOptions(t *testing.T) {
	path := out(t)
	var r report.Fusion
	mustJSON(t, &r, "fuse", model("mlp_wide"), model("mlp_a"), model("mlp_b"), "-o", path, "--weights", "0.2,0.3,0.5", "--onto", "1",
		"--cost", "cosine", "--mass", "l1", "--scaling", "sum", "--solver", "sinkhorn", "--epsilon", "0.01")
	if diff := cmp.Diff([]float64{0.2, 0.3, 0.5}, r.Weights); diff != "" || r.Onto != 1 || r.By != "weights" || r.Samples != 0 {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff([]int{128, 64, 64}, r.Spaces[0].Widths); diff != "" || r.Spaces[0].Width != 128 {
		t.Errorf("first space: %+v", r.Spaces[0])
	}
}

func TestCompress(t *testing.T) {
	path := out(t)
	var r report.Compression
	mustJSON(t, &r, with(data(t, "mnist_calib"), "compress", model("resnet_a"), "-o", path, "--keep", "0.75", "--tune", "2")...)
	for _, s := range r.Spaces {
		want, kept := s.Before*3/4, ""
		if s.Name == "/fc/Gemm" {
			want, kept = 10, `graph output "logits"`
		}
		if s.After != want || s.Kept != kept {
			t.Errorf("space %q: %d of %d, kept: %q", s.Name, s.After, s.Before, s.Kept)
		}
	}
	if r.After.Params >= r.Before.Params*2/3 || r.After.MACs >= r.Before.MACs*2/3 {
		t.Errorf("from %+v to %+v", r.Before, r.After)
	}
	// Loads and runs, with outputs of the same shape.
	var e report.Evaluation
	mustJSON(t, &e, with(data(t, "mnist_test"), "eval", model("resnet_a"), path, "--no-latency")...)
	if e.Models[1].Params != r.After.Params || *e.Models[1].MACs != r.After.MACs || e.Models[1].Bytes != r.After.Bytes {
		t.Errorf("reported %+v, evaluated %+v", r.After, e.Models[1])
	}
}

func TestCompressChoosesWhatMayChange(t *testing.T) {
	for _, c := range []struct {
		args []string
		kept map[string]string // why, by name
	}{
		{[]string{"--keep", "0.5", "--keep-residual"}, map[string]string{"/conv1/Conv": "keep-residual", "/block2/conv2/Conv": "keep-residual"}},
		{[]string{"--keep", "0.5", "--exclude", "/block1/*", "--exclude", "block3.conv1.weight"}, map[string]string{"/block1/conv1/Conv": "/block1/*", "/block3/conv1/Conv": "block3.conv1.weight", "/conv1/Conv": "/block1/*"}},
	} {
		var r report.Compression
		mustJSON(t, &r, with(c.args, "compress", model("resnet_a"), "--dry-run")...)
		for _, s := range r.Spaces {
			why, kept := c.kept[s.Name]
			switch {
			case s.Name == "/fc/Gemm":
			case kept && (s.After != s.Before || !strings.Contains(s.Kept, why)):
				t.Errorf("%v: space %q: %d of %d, kept: %q", c.args, s.Name, s.After, s.Before, s.Kept)
			case !kept && s.After != s.Before/2:
				t.Errorf("%v: space %q: %d of %d", c.args, s.Name, s.After, s.Before)
			}
		}
	}
}

func TestBudgets(t *testing.T) {
	for _, share := range []string{"0.3", "0.6"} {
		for _, budget := range []string{"--macs", "--params"} {
			var r report.Compression
			file := out(t)
			mustJSON(t, &r, "compress", model("cnn_a"), "-o", file, "--tune", "0", "--refit-samples", "125", "--no-latency", budget, share)
			left := float64(r.After.MACs) / float64(r.Before.MACs)
			if budget == "--params" {
				left = float64(r.After.Params) / float64(r.Before.Params)
			}
			want := map[string]float64{"0.3": 0.3, "0.6": 0.6}[share]
			if left > want || left < want-0.1 {
				t.Errorf("%s %s leaves %g", budget, share, left)
			}
			var have report.Inspection
			mustJSON(t, &have, "inspect", file)
			if is := have.Size; is.MACs != r.After.MACs || is.Params != r.After.Params {
				t.Errorf("%s %s: the report says %+v, the file has %+v", budget, share, r.After, is)
			}
		}
	}
	var r report.Compression
	mustJSON(t, &r, "compress", model("cnn_a"), "--dry-run", "--keep", "0.6", "--multiple", "8")
	for _, s := range r.Spaces {
		if s.Kept == "" && s.After%8 != 0 {
			t.Errorf("space %q has %d channels", s.Name, s.After)
		}
	}
}

func TestInto(t *testing.T) {
	path := out(t)
	var r report.Compression
	mustJSON(t, &r, with(data(t, "mnist_calib"), "compress", model("mlp_wide"), "-o", path, "--into", model("mlp_a"), "--tune", "2")...)
	if r.Into != model("mlp_a") || r.After.Params != 52650 || r.Spaces[0].Before != 128 || r.Spaces[0].After != 64 {
		t.Errorf("%+v", r)
	}
	if got := correct(t, path); got[0] < 700 {
		t.Errorf("%d of 1,000 are right", got[0])
	}
}

func TestKeepingAllChangesNoWeight(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		path := out(t)
		must(t, "compress", model(name), "-o", path, "--keep", "1", "--no-lossless", "--no-latency", "--refit-samples", "100")
		m, err := onnxio.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(modeltest.Floats(t, modeltest.Load(t, name)), modeltest.Floats(t, m)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	path := out(t)
	for _, args := range [][]string{
		{"compress", model("cnn_a"), "-o", path, "--keep", "0.5", "--dry-run"},
		{"compress", model("mlp_wide"), "--into", model("mlp_a"), "--dry-run"},
		{"fuse", model("mlp_wide"), model("mlp_a"), "-o", path, "--dry-run"},
	} {
		if got := must(t, args...); !strings.Contains(got, "nothing was written") {
			t.Errorf("%v: %s", args, got)
		}
	}
	empty(t, filepath.Dir(path))
}

func TestOutputIsAnInput(t *testing.T) {
	dir := t.TempDir()
	mine, link := filepath.Join(dir, "mine.onnx"), filepath.Join(dir, "link.onnx")
	original, err := os.ReadFile(model("mlp_a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(mine, original, 0o644), os.Symlink(mine, link)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"compress", mine, "-o", mine, "--keep", "0.5"},
		{"compress", link, "-o", mine, "--keep", "0.5"},
		{"compress", model("mlp_wide"), "--into", mine, "-o", mine},
		{"fuse", model("mlp_b"), mine, "-o", mine},
	} {
		r := run(t, args...)
		if r.code != exitUsage || !strings.Contains(r.stderr, "--force") {
			t.Errorf("%v: exit code %d, %s", args, r.code, r.stderr)
		}
	}
	if now, err := os.ReadFile(mine); err != nil || !bytes.Equal(now, original) {
		t.Errorf("the input was changed: %v", err)
	}
	must(t, "compress", mine, "-o", mine, "--keep", "0.5", "--data", "none", "--force")
	if now, err := os.ReadFile(mine); err != nil || bytes.Equal(now, original) {
		t.Errorf("--force changed nothing: %v", err)
	}
	// Another file that exists is replaced without more ado.
	must(t, "compress", model("mlp_b"), "-o", mine, "--keep", "0.5", "--data", "none")
	empty(t, dir, "mine.onnx", "link.onnx")
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	path := out(t)
	for _, args := range [][]string{
		{"compress", model("cnn_a"), "-o", path, "--keep", "0.5"},
		{"fuse", model("mlp_a"), model("mlp_b"), "-o", path},
	} {
		r := runWith(t, ctx, engine.Available, args...)
		if r.code != exitInterrupted || !strings.HasSuffix(r.stderr, "monge: interrupted; nothing was written\n") {
			t.Errorf("%v: exit code %d, %q", args, r.code, r.stderr)
		}
	}
	empty(t, filepath.Dir(path))
}

func TestWithoutRuntime(t *testing.T) {
	missing := func() (engine.Library, error) { return engine.Library{}, engine.ErrNoRuntime }
	calib := []string{"--data", modeltest.Dir("mnist_calib.npz"), "--scale", "0.0039"}

	// Without data it does what can be done without, and says so.
	r := runWith(t, context.Background(), missing, "compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--quiet", "--json")
	var c report.Compression
	if err := json.Unmarshal([]byte(r.stdout), &c); r.code != exitOK || err != nil || c.By != "weights" || c.Samples != 0 {
		t.Errorf("exit code %d, %v: %s", r.code, err, r.stdout)
	}
	if said := strings.Join(c.Warnings, "\n"); !strings.Contains(said, "monge runtime install") || !strings.Contains(said, "compared by their weights") {
		t.Errorf("said %q", said)
	}

	// Data that cannot be used are an error that says what to install.
	path := out(t)
	for _, args := range [][]string{
		with(calib, "compress", model("mlp_a"), "-o", path, "--keep", "0.5"),
		with(calib, "compress", model("mlp_a"), "-o", path, "--keep", "0.5", "--align", "activations"),
		with(calib, "compress", model("mlp_a"), "-o", path, "--lossless"),
		{"compress", model("mlp_a"), "-o", path, "--keep", "0.5", "--eval-data", modeltest.Dir("mnist_test.npz")},
		with(calib, "eval", model("mlp_a"), model("mlp_b")),
		with(calib, "fuse", model("mlp_a"), model("mlp_b"), "-o", path),
		with(calib, "fuse", model("mlp_a"), model("mlp_b"), "-o", path, "--align", "activations"),
		{"runtime"},
	} {
		r := runWith(t, context.Background(), missing, args...)
		if r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "monge runtime install") {
			t.Errorf("%v: exit code %d: %q", args, r.code, r.stderr)
		}
	}
	empty(t, filepath.Dir(path))
}

// A library that MONGE_ONNXRUNTIME names and that cannot be used fails every command that works on
// models, even where it would not be needed.
func TestNamedRuntime(t *testing.T) {
	broken := errors.New("MONGE_ONNXRUNTIME is /nowhere: there is no onnxruntime library")
	fails := func() (engine.Library, error) { return engine.Library{}, broken }
	t.Setenv(engine.EnvLibrary, "/nowhere")
	path := out(t)
	for _, args := range [][]string{
		{"compress", model("mlp_a"), "-o", path, "--keep", "0.5"},
		{"compress", model("mlp_a"), "-o", path, "--keep", "0.5", "--data", "none"},
		{"fuse", model("mlp_a"), model("mlp_b"), "-o", path},
		{"eval", model("mlp_a"), "--data", "none", "--no-latency"},
	} {
		if r := runWith(t, context.Background(), fails, args...); r.code != exitFailed || r.stderr != "monge: "+broken.Error()+"\n" {
			t.Errorf("%v: exit code %d: %q", args, r.code, r.stderr)
		}
	}
	empty(t, filepath.Dir(path))
}

func TestWithoutData(t *testing.T) {
	for _, args := range [][]string{{}, {"--data", "none"}} {
		r := run(t, with(args, "fuse", model("mlp_a"), model("mlp_b"), "-o", out(t))...)
		if r.code != exitOK || !strings.Contains(r.stderr, "compared by their weights") || !strings.Contains(r.stdout, "without data") {
			t.Errorf("%v: exit code %d, %q, %q", args, r.code, r.stderr, r.stdout)
		}
		r = run(t, with(args, "fuse", model("mlp_a"), model("mlp_b"), "-o", out(t), "--quiet")...)
		if r.code != exitOK || r.stderr != "" || r.stdout != "" {
			t.Errorf("--quiet %v: exit code %d, %q, %q", args, r.code, r.stderr, r.stdout)
		}
	}
}

func TestInputShape(t *testing.T) {
	var r report.Inspection
	mustJSON(t, &r, "inspect", model("cnn_a"), "--input-shape", "input=4x1x28x28")
	if r.OpenDims || r.MACs == 0 {
		t.Errorf("%d MACs, open: %v", r.MACs, r.OpenDims)
	}
	for _, shape := range []string{"input=1x3x28x28", "image=1x1x28x28", "input=1x28x28", "input=1x1xNx28", "1x1x28x28", "input=0x1x28x28"} {
		if r := run(t, "inspect", model("cnn_a"), "--input-shape", shape); r.code != exitUsage {
			t.Errorf("%s: exit code %d, %s", shape, r.code, r.stderr)
		}
	}
}

func TestInspect(t *testing.T) {
	text := must(t, "inspect", model("resnet_optiona"))
	for _, want := range []string{"pytorch", "input float [N,1,28,28]", "5 of 6 spaces", "/block2/conv2/Conv[0:8,24:32]", `no: graph output "logits"`, "residual stream", "BatchNormalization, Relu"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.TrimRight(line, " ") != line {
			t.Errorf("blanks at the end of %q", line)
		}
	}
}

func TestUsage(t *testing.T) {
	a, b := model("mlp_a"), model("mlp_b")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"there is no command compres; did you mean compress?", []string{"compres"}},
		{"there is no flag --keap; did you mean --keep?", []string{"compress", a, "--keap", "1"}},
		{"two models", []string{"fuse", a, "-o", "x"}},
		{"one model", []string{"compress", "-o", "x", "--keep", "1"}},
		{"one model", []string{"inspect", a, b}},
		{"one model", []string{"eval"}},
		{"-o is missing", []string{"compress", a, "--keep", "0.5"}},
		{"-o is missing", []string{"fuse", a, b}},
		{"--dry-run shows what a budget leads to", []string{"compress", a, "--dry-run"}},
		{"exactly one of", []string{"compress", a, "-o", "x", "--keep", "0.5", "--macs", "0.5"}},
		{"--keep is 0", []string{"compress", a, "-o", "x", "--keep", "0"}},
		{"--macs is 1.5", []string{"compress", a, "-o", "x", "--macs", "1.5"}},
		{"--params is NaN", []string{"compress", a, "-o", "x", "--params", "NaN"}},
		{"--multiple", []string{"compress", a, "-o", "x", "--keep", "1", "--multiple", "0"}},
		{"--floor is 2", []string{"compress", a, "-o", "x", "--macs", "0.5", "--floor", "2"}},
		{"--floor has no place beside --keep", []string{"compress", a, "-o", "x", "--keep", "0.5", "--floor", "0.1"}},
		{"beside --into", []string{"compress", a, "-o", "x", "--into", b, "--exclude", "fc*"}},
		{"without --into", []string{"compress", a, "-o", "x", "--keep", "1", "--solver", "emd"}},
		{"want weights or activations", []string{"compress", a, "-o", "x", "--keep", "1", "--align", "none"}},
		{"want euclidean, sqeuclidean or cosine", []string{"fuse", a, b, "-o", "x", "--cost", "manhattan"}},
		{"needs --data", []string{"fuse", a, b, "-o", "x", "--align", "activations"}},
		{"needs --data", []string{"fuse", a, b, "-o", "x", "--align", "activations", "--data", "none"}},
		{"--solver sinkhorn", []string{"fuse", a, b, "-o", "x", "--epsilon", "0.1"}},
		{"--epsilon is -1", []string{"fuse", a, b, "-o", "x", "--solver", "sinkhorn", "--epsilon", "-1"}},
		{"the 2 weights sum to 1.1", []string{"fuse", a, b, "-o", "x", "--weights", "0.5,0.6"}},
		{"3 weights for 2 models", []string{"fuse", a, b, "-o", "x", "--weights", "0.5,0.25,0.25"}},
		{"--onto is 3", []string{"fuse", a, b, "-o", "x", "--onto", "3"}},
		{"--onto is 0", []string{"fuse", a, b, "-o", "x", "--onto", "0"}},
		{"--data is missing", []string{"eval", a}},
		{"--limit", []string{"eval", a, "--data", "x", "--limit", "-1"}},
		{"--seed", []string{"eval", a, "--data", "x", "--seed", "-2"}},
		{"--scale", []string{"eval", a, "--data", "x", "--scale", "0"}},
		{"--threads", []string{"inspect", a, "--threads", "-1"}},
		{"no arguments", []string{"runtime", "instal"}},
	} {
		r := run(t, c.args...)
		if r.code != exitUsage {
			t.Errorf("%v: exit code %d, want %d", c.args, r.code, exitUsage)
		}
		if !strings.HasPrefix(r.stderr, "monge: ") || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%v: %q, want %q", c.args, r.stderr, c.want)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a file was written")
	}
}

func TestVersionAndRuntime(t *testing.T) {
	for _, ask := range []string{"version", "--version"} {
		if v := must(t, ask); !strings.HasPrefix(v, "monge v0-test (go") {
			t.Errorf("%s: %q", ask, v)
		}
	}
	data(t, "mnist_calib") // there is a library
	var r report.Runtime
	mustJSON(t, &r, "runtime")
	if r.Used == nil || r.Used.Version == "" || len(r.Candidates) == 0 {
		t.Errorf("%+v", r)
	}
}

// A model with weights in a second file is read, written, and may be replaced by its own result.
func TestExternalData(t *testing.T) {
	dir := t.TempDir()
	mine, half := filepath.Join(dir, "mine.onnx"), filepath.Join(dir, "half.onnx")
	if err := onnxio.Save(t.Context(), mine, modeltest.Load(t, "mlp_a"), onnxio.SaveOptions{External: onnxio.Always}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{half, mine} {
		var r report.Compression
		mustJSON(t, &r, "compress", mine, "-o", path, "--keep", "0.5", "--tune", "0", "--refit-samples", "125", "--force")
		if r.After.Params >= r.Before.Params {
			t.Errorf("%s: from %+v to %+v", path, r.Before, r.After)
		}
		var i report.Inspection
		mustJSON(t, &i, "inspect", path)
		if i.Params != r.After.Params || i.Spaces[len(i.Spaces)-1].Width != 10 {
			t.Errorf("%s: %+v after %+v", path, i, r.After)
		}
	}
	if diff := cmp.Diff(correct(t, half), correct(t, mine)); diff != "" {
		t.Error(diff)
	}
	if r := run(t, "compress", mine, "-o", modeltest.Dir("mnist_calib.npz"), "--keep", "0.5", "--data", modeltest.Dir("mnist_calib.npz")); r.code != exitUsage {
		t.Errorf("exit code %d for an output that is the data set: %s", r.code, r.stderr)
	}
}
