package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/report"
)

// labelled is a data set for --eval-data.
var labelled = []string{"--eval-data", modeltest.Dir("mnist_test.npz")}

func TestLosslessAlone(t *testing.T) {
	path := out(t)
	var r report.Compression
	mustJSON(t, &r, "compress", model("mlp_wide"), "-o", path, "--lossless", "--no-latency")
	l := r.Lossless
	if l == nil || !l.Changed() || l.Check == nil || l.Check.Diff > 1e-5 {
		t.Fatalf("lossless: %+v", l)
	}
	if r.Refit != nil || r.RefitSamples != 0 || r.Synthetic {
		t.Errorf("more was done than asked: %+v", r.Report.Report)
	}
	text := must(t, "compress", model("mlp_wide"), "-o", path, "--lossless", "--no-latency")
	for _, want := range []string{"checked on 3 random inputs", "set to zero: 1 subnormal number", path + " written"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	again := must(t, "compress", path, "-o", out(t), "--lossless", "--no-latency")
	if !strings.Contains(again, "there is nothing to remove") {
		t.Errorf("a second pass:\n%s", again)
	}
	var off report.Compression
	mustJSON(t, &off, "compress", model("mlp_wide"), "-o", out(t), "--keep", "1", "--lossless=false", "--no-latency")
	if off.Lossless != nil {
		t.Errorf("with --lossless=false: %+v", off.Lossless)
	}
}

// Two timings of one model differ by chance: what stays as it is is not timed.
func TestUnchangedIsNotTimed(t *testing.T) {
	enginetest.Require(t)
	for _, args := range [][]string{{}, {"--keep", "1", "--data", modeltest.Dir("mnist_calib.npz"), "--preset", "mnist"}} {
		if text := must(t, with(args, "compress", model("resnet_a"), "-o", out(t))...); strings.Contains(text, "latency") {
			t.Errorf("%v: timed:\n%s", args, text)
		}
	}
	if text := must(t, "compress", model("mlp_wide"), "-o", out(t)); !strings.Contains(text, "latency") {
		t.Errorf("not timed:\n%s", text)
	}
}

func TestFuseCleansItsParents(t *testing.T) {
	var r report.Fusion
	mustJSON(t, &r, "fuse", model("mlp_wide"), model("mlp_a"), "-o", out(t))
	if l := r.Models[0].Lossless; l == nil || l.FlushedValues() == 0 || len(l.Spaces) > 0 {
		t.Errorf("the first model: %+v", l)
	}
	var off report.Fusion
	mustJSON(t, &off, "fuse", model("mlp_wide"), model("mlp_a"), "-o", out(t), "--no-lossless")
	if off.Models[0].Lossless != nil {
		t.Errorf("with --no-lossless: %+v", off.Models[0].Lossless)
	}
}

func TestSizeFlag(t *testing.T) {
	for text, want := range map[string]int64{
		"5MB": 5e6, "5mb": 5e6, "500kB": 500e3, "1.5GiB": 3 << 29, "2 MiB": 2 << 20, "10KiB": 10 << 10, "200000": 200000, "7B": 7, "1e3kB": 1e6,
	} {
		var s sizeFlag
		if err := s.Set(text); err != nil || s.bytes != want {
			t.Errorf("%s: %d bytes, %v; want %d", text, s.bytes, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-5MB", "5MG", "0", "5 M B", "NaN", "1e30GB", "five", "5iB"} {
		var s sizeFlag
		if err := s.Set(text); err == nil {
			t.Errorf("%q: %d bytes, want an error", text, s.bytes)
		}
	}
}

func TestSize(t *testing.T) {
	calib := data(t, "mnist_calib")
	for _, more := range [][]string{{"--data", "none"}, with(calib, "--tune", "0", "--refit-samples", "125")} {
		path := out(t)
		must(t, with(more, "compress", model("resnet_a"), "-o", path, "--size", "80kB", "--no-latency")...)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 80e3 || info.Size() < 70e3 {
			t.Errorf("%d bytes, want at most 80,000 and not much less", info.Size())
		}
	}
	r := run(t, "compress", model("resnet_a"), "-o", out(t), "--size", "2kB", "--data", "none")
	if r.code != exitFailed || !strings.Contains(r.stderr, "cannot be met") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}

func TestMaxDrop(t *testing.T) {
	calib := data(t, "mnist_calib")
	var r report.Compression
	mustJSON(t, &r, with(calib, "compress", model("cnn_a"), "-o", out(t), "--max-drop", "0.05", "--no-latency", "--limit", "125")...)
	s := r.Search
	if s == nil || s.Measure != "agreement" || !s.HeldOut || s.Samples != 25 || s.Drop > 0.05 || r.RefitSamples != 100 {
		t.Fatalf("search %+v, refit on %d", s, r.RefitSamples)
	}
	if r.Evaluation == nil || !r.Evaluation.HeldOut || r.Evaluation.Samples != 25 || *r.Evaluation.After.Agreement < 0.95 {
		t.Errorf("evaluation %+v", r.Evaluation)
	}
	// Labels elsewhere, and no data to fit.
	text := must(t, with(with(labelled, "compress", model("mlp_a"), "-o", out(t), "--max-drop", "0.03", "--no-latency", "--refit-samples", "125"), calib[2:]...)...)
	for _, want := range []string{"MACs asked", "within the limit", "drop: in top-1, on 1,000 samples", "at most 3.00%", "judged on 1,000 samples", "made-up samples"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestMadeUpInputs(t *testing.T) {
	data(t, "mnist_calib") // needs onnxruntime
	var made, none report.Compression
	mustJSON(t, &made, "compress", model("cnn_a"), "-o", out(t), "--keep", "0.5", "--no-latency", "--tune", "1")
	if !made.Synthetic || made.RefitSamples != 500 || made.By != "activations" || made.Refit == nil || made.Tune == nil || made.Tune.Steps == 0 {
		t.Errorf("%+v, distilled: %+v", made.Report.Report, made.Tune)
	}
	mustJSON(t, &none, "compress", model("cnn_a"), "-o", out(t), "--keep", "0.5", "--no-latency", "--data", "none")
	if none.Synthetic || none.RefitSamples != 0 || none.By != "weights" || none.Refit != nil || none.Tune != nil {
		t.Errorf("--data none: %+v", none.Report.Report)
	}
	r := run(t, "compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--no-latency", "--tune", "0")
	if !strings.Contains(r.stderr, "500 made-up inputs (noise)") || !strings.Contains(r.stdout, "refitted on 500 made-up samples") {
		t.Errorf("said %q and %q", r.stderr, r.stdout)
	}
}

// Where nothing is said of it, the result is distilled after the refit, for as long as that is
// worth it, on made-up inputs too.
func TestDistilsByDefault(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Perceptron(t)
	raw, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var r report.Compression
	mustJSON(t, &r, "compress", file(t, "small.onnx", raw), "-o", out(t), "--keep", "0.3")
	if x := r.Tune; !r.Synthetic || r.RefitSamples != 500 || x == nil || x.Steps < 1500 || x.Steps > 2000 || x.HeldOut != 50 || x.After >= x.Before {
		t.Errorf("made-up: %v, refitted on %d, distilled: %+v", r.Synthetic, r.RefitSamples, x)
	}
}

func TestVerdict(t *testing.T) {
	calib := data(t, "mnist_calib")
	compress := func(args ...string) *report.Compression {
		var r report.Compression
		mustJSON(t, &r, with(args, "compress", model("cnn_a"), "-o", out(t), "--keep", "0.75", "--tune", "0")...)
		return &r
	}
	r := compress(calib...) // of 500 samples a tenth, since all may be used
	e := r.Evaluation
	if e == nil || !e.HeldOut || e.Samples != 50 || e.After.Agreement == nil || e.Before.LatencyMS == nil || e.After.LatencyMS == nil || e.Threads == 0 {
		t.Fatalf("%+v", e)
	}
	if r.RefitSamples != 450 {
		t.Errorf("refitted on %d samples", r.RefitSamples)
	}
	e = compress(with(calib, labelled...)...).Evaluation
	if e.HeldOut || e.Samples != 1000 || e.Before.Top1 == nil || e.After.Top1 == nil || e.Data != labelled[1] {
		t.Errorf("--eval-data: %+v", e)
	}
	r = compress(with(calib, "--eval-data", "none", "--no-latency")...)
	if r.Evaluation != nil || r.RefitSamples != 500 {
		t.Errorf("--eval-data none: %+v, refitted on %d", r.Evaluation, r.RefitSamples)
	}
	text := must(t, with(with(calib, labelled...), "compress", model("cnn_a"), "-o", out(t), "--keep", "0.75", "--tune", "0", "--refit-samples", "125")...)
	for _, want := range []string{"latency", "top-1", "agreement", "judged on 1,000 samples of " + labelled[1]} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestCompressUsage(t *testing.T) {
	a := model("mlp_a")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"nothing is left to do", []string{"--lossless=false"}},
		{"without a budget and data", []string{"--multiple", "8"}},
		{"exactly one of", []string{"--size", "5MB", "--keep", "0.5"}},
		{"one of --lossless and --no-lossless", []string{"--lossless", "--no-lossless", "--keep", "0.5"}},
		{"beside --lossless alone", []string{"--lossless", "--multiple", "8"}},
		{"want a number of bytes", []string{"--size", "5MX"}},
		{"--size 10B is less than a file without weights\n", []string{"--size", "10B", "--data", "none"}},
		{"--size 5 is in bytes, less than a file without weights; did you mean 5MB?", []string{"--size", "5", "--data", "none"}},
		{"--max-drop is 0", []string{"--max-drop", "0"}},
		{"--max-drop is 2", []string{"--max-drop", "2"}},
		{"--max-drop needs --data, --eval-data or --metric", []string{"--max-drop", "0.1"}},
		{"--max-drop measures models", []string{"--max-drop", "0.1", "--data", "x.npz", "--dry-run"}},
		{"--refit on needs --data", []string{"--keep", "0.5", "--refit", "on", "--data", "none"}},
	} {
		r := run(t, with(c.args, "compress", a, "-o", out(t))...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q, want %q", c.args, r.code, r.stderr, c.want)
		}
	}
}

// A folder with an image that cannot be read does its work without that image, and says so on
// stderr and in the JSON; one in which none can be read fails.
func TestMessyFolder(t *testing.T) {
	enginetest.Require(t)
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, class := range []string{"a", "b", "c d"} {
		for i := range 15 {
			p := image.NewGray(image.Rect(0, 0, 28, 28))
			for k := range p.Pix {
				p.Pix[k] = uint8(rng.IntN(256))
			}
			var raw bytes.Buffer
			if err := png.Encode(&raw, p); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, class, fmt.Sprintf("%02d.png", i))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, raw.Bytes(), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	bad := filepath.Join(dir, "b", "bad.png")
	if err := errors.Join(os.WriteFile(bad, []byte("no image"), 0o644), os.Mkdir(filepath.Join(dir, "nothing"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"compress", model("cnn_a"), "-o", out(t), "--keep", "0.75", "--tune", "0", "--no-latency"},
		{"fuse", model("mlp_a"), model("mlp_b"), "-o", out(t), "--tune", "0"},
		{"eval", model("cnn_a"), "--no-latency"},
	} {
		args = append(args, "--data", dir, "--preset", "mnist", "--json")
		r := run(t, args...)
		var got struct {
			Warnings     []string
			Samples      int
			RefitSamples int `json:"refit_samples"`
		}
		if err := json.Unmarshal([]byte(r.stdout), &got); r.code != exitOK || err != nil {
			t.Fatalf("%v: exit code %d, %v: %s", args, r.code, err, r.stderr)
		}
		if got.Samples != 45 {
			t.Errorf("%v: %d samples", args, got.Samples)
		}
		for _, want := range []string{bad + ": image: unknown format", "1 folder has no image"} {
			if !strings.Contains(strings.Join(got.Warnings, "\n"), want) || !strings.Contains(r.stderr, want) {
				t.Errorf("%v: warned of %q and said %q, want %q", args, got.Warnings, r.stderr, want)
			}
		}
		if lines := strings.Count(r.stderr, "\n"); lines != len(got.Warnings) {
			t.Errorf("%v: %d lines for the warnings %q", args, lines, got.Warnings)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	if err := errors.Join(os.Mkdir(none, 0o755), os.WriteFile(filepath.Join(none, "x.jpg"), []byte("no image"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, budget := range []string{"--no-latency", "--macs=0.8", "--max-drop=0.1"} {
		want := none + ": no image can be read: " + filepath.Join(none, "x.jpg") + ": image: unknown format"
		if r := run(t, "compress", model("cnn_a"), "-o", out(t), "--data", none, budget); r.code != exitFailed || !strings.Contains(r.stderr, want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s, without an image: exit code %d: %s", budget, r.code, r.stderr)
		}
	}
	few := []string{"compress", model("cnn_a"), "-o", out(t), "--data", filepath.Join(dir, "a"), "--limit", "1", "--max-drop", "0.1"}
	if r := run(t, few...); r.code != exitUsage || !strings.Contains(r.stderr, "--data "+filepath.Join(dir, "a")+" has too few samples") {
		t.Errorf("one image: exit code %d: %s", r.code, r.stderr)
	}
	if r := run(t, "eval", model("cnn_a"), "--data", filepath.Join(dir, "nothing")); r.code != exitFailed || !strings.Contains(r.stderr, "no images") {
		t.Errorf("an empty folder: exit code %d: %s", r.code, r.stderr)
	}
	if r := run(t, "eval", model("cnn_a"), "--data", filepath.Dir(dir)); r.code != exitFailed || !strings.Contains(r.stderr, "two folders down") {
		t.Errorf("the folder above: exit code %d: %s", r.code, r.stderr)
	}
}

// What seems to be wrong with the data is said on stderr, a line each, and in the JSON; with the
// right flags nothing is.
func TestDataWarnings(t *testing.T) {
	enginetest.Require(t)
	calib := []string{"--data", modeltest.Dir("mnist_calib.npz"), "--no-latency"}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{with(calib, "eval", model("cnn_a"), "--limit", "40"), []string{"--scale 1/255"}},
		{with(calib, "eval", model("vit_a"), "--limit", "40"), []string{"--scale 1/255"}},
		{with(calib, "eval", model("resnet_a"), "--limit", "40", "--mean", "0.13", "--std", "0.3"), []string{"--scale 1/255"}},
		{with(calib, "eval", model("resnet_a"), "--limit", "40", "--preset", "mnist"), nil},
		{with(calib, "compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--tune", "0", "--limit", "40"), []string{"--scale 1/255"}},
		{with(calib, "compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--tune", "0", "--limit", "9", "--preset", "mnist"), []string{"9 samples to fit on; a few hundred"}},
		{with(calib, "compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--tune", "0", "--limit", "1", "--preset", "mnist"), []string{"1 sample to fit on"}},
		{with(calib, "compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--tune", "0", "--preset", "mnist"), nil},
	} {
		r := run(t, append(c.args, "--json")...)
		var got struct{ Warnings []string }
		if err := json.Unmarshal([]byte(r.stdout), &got); r.code != exitOK || err != nil {
			t.Errorf("%v: exit code %d, %v: %s", c.args, r.code, err, r.stderr)
		}
		lines := strings.Count(r.stderr, "\n")
		if lines != len(got.Warnings) || lines < len(c.want) || c.want == nil && lines > 0 {
			t.Errorf("%v: warned of %q and said %q", c.args, got.Warnings, r.stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(strings.Join(got.Warnings, "\n"), want) || !strings.Contains(r.stderr, want) {
				t.Errorf("%v: warned of %q, want %q", c.args, got.Warnings, want)
			}
		}
	}
}
