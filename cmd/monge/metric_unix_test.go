//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/report"
)

// The number is the one at the end of the last line, however it is written; what is none is an error
// that shows what was printed.
func TestLastNumber(t *testing.T) {
	for text, want := range map[string]float64{
		"0.5\n": 0.5, "epoch 3\nmAP: 0.731\n\n": 0.731, "WER = 12.5 %": 12.5, "f1=-.5e-2": -0.005, "{\"map\": 0.25}\n": 0.25,
		"\x1b[32macc 91\x1b[0m\n": 91, "10%\r50%\rdone 3": 3, "(1, 0.75)": 0.75, "'7.'": 7,
	} {
		if x, err := lastNumber(text); err != nil || x != want {
			t.Errorf("%q: %g, %v, want %g", text, x, err, want)
		}
	}
	for text, says := range map[string]string{"": "printed nothing", "\n \n": "printed nothing", "0.5\ndone\n": "no number last: done", "model2": "no number last", "1.2.3": "no number last", "0.5 points": "0.5 points"} {
		if x, err := lastNumber(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %g, %v", text, x, err)
		}
	}
}

// script is a command that prints the size of a model's file as a share of the original's, and counts its calls.
func script(t *testing.T, own string) (command, count string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a b")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(own)
	if err != nil {
		t.Fatal(err)
	}
	path, count := filepath.Join(dir, "m.sh"), filepath.Join(dir, "count")
	text := fmt.Sprintf("echo call >> '%s'\necho warning >&2\necho size $(( $(wc -c < \"$1\") * 1000 / %d ))e-3\n", count, info.Size())
	if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
		t.Fatal(err)
	}
	return "sh '" + path + "' {model}", count
}

// asked is how often the command of a script was called.
func asked(t *testing.T, count string) int {
	t.Helper()
	text, err := os.ReadFile(count)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "call")
}

// A metric judges what compress makes and what eval compares, and bounds what --max-drop may lose, with
// one call for each model.
func TestMetric(t *testing.T) {
	own := model("mlp_a")
	command, count := script(t, own)
	dir := t.TempDir()
	to := filepath.Join(dir, "to.onnx")
	var made report.Compression
	mustJSON(t, &made, "compress", own, "-o", to, "--keep", "0.5", "--data", "none", "--metric", command, "--no-latency")
	e := made.Evaluation
	if e == nil || e.Before.Metric == nil || *e.Before.Metric != 1 || *e.After.Metric > 0.6 || made.Metric.Calls != 2 || made.Metric.Command != command {
		t.Errorf("%+v, %+v", made.Metric, e)
	}
	if n := asked(t, count); n != 2 {
		t.Errorf("%d calls", n)
	}
	mustJSON(t, &made, "compress", own, "-o", to, "--max-drop", "0.3", "--data", "none", "--metric", command, "--no-latency")
	s := made.Search
	if s == nil || s.Measure != "metric" || *s.Original != 1 || *s.After < 0.7 || *s.After > 0.85 || made.Metric.Calls != 1+len(s.Trials) || *made.Evaluation.After.Metric != *s.After {
		t.Errorf("%+v, %+v", made.Metric, s)
	}
	if n := asked(t, count); n != 2+made.Metric.Calls {
		t.Errorf("%d calls", n)
	}
	mustJSON(t, &made, "compress", own, "-o", to, "--metric", command, "--no-latency") // without a budget
	if s := made.Search; s == nil || s.Measure != "metric" || s.Limit != compress.DefaultDrop || *s.After < 0.99 || made.Metric.Calls != 1+len(s.Trials) {
		t.Errorf("%+v, %+v", made.Metric, s)
	}
	mustJSON(t, &made, "compress", own, "-o", to, "--keep", "0.5", "--data", "none", "--no-latency")
	var judged report.Evaluation
	mustJSON(t, &judged, "eval", own, to, "--data", "none", "--no-latency", "--metric", command, "--metric-lower")
	if len(judged.Models) != 2 || *judged.Models[0].Metric != 1 || *judged.Models[1].Metric >= 1 || !judged.Metric.Lower {
		t.Errorf("%+v", judged)
	}
	if r := run(t, "eval", own, to, "--data", "none", "--no-latency", "--metric", command); r.code != exitOK || !strings.Contains(r.stdout, "2 calls") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
}

// What is wrong with a metric is said with what it printed, and nothing is written.
func TestMetricMistakes(t *testing.T) {
	own, dir := model("mlp_a"), t.TempDir()
	to := filepath.Join(dir, "to.onnx")
	for _, c := range []struct {
		metric, more string
		code         int
		says         string
	}{
		{"echo 1", "", exitUsage, "write {model} where its path belongs"},
		{"", "", exitUsage, "--metric has no value"},
		{"echo {model} 1", "--dry-run", exitUsage, "--dry-run makes none"},
		{"echo {model} 1", "--metric-time 0s", exitUsage, "want a positive one"},
		{"echo {model} 0", "", exitFailed, "it is 0 for the original"},
		{"echo {model} nan", "", exitFailed, "no number to compare"},
		{"echo {model}; echo nothing", "", exitFailed, "printed no number last: nothing"},
		{"true {model}", "", exitFailed, "printed nothing"},
		{"echo 0.5; echo no such file >&2; false {model}", "", exitFailed, "exit status 1: no such file"},
		{"not-a-program {model}", "", exitFailed, "exit status 127: "},
		{"sleep 60; echo {model}", "--metric-time 300ms", exitFailed, "it took longer than 300ms"},
	} {
		args := append([]string{"compress", own, "-o", to, "--max-drop", "0.1", "--data", "none", "--no-latency", "--metric", c.metric}, strings.Fields(c.more)...)
		began := time.Now()
		r := run(t, args...)
		if r.code != c.code || !strings.Contains(strings.ToLower(r.stderr), strings.ToLower(c.says)) {
			t.Errorf("%s: exit code %d: %s", c.metric, r.code, r.stderr)
		}
		if time.Since(began) > 30*time.Second {
			t.Errorf("%s: %s", c.metric, time.Since(began))
		}
	}
	if r := run(t, "compress", own, "-o", to, "--keep", "0.5", "--metric-lower"); r.code != exitUsage || !strings.Contains(r.stderr, "has no place without --metric") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	empty(t, dir)
}

// An exploration that was stopped goes on where it was, several of one model are merged, and each
// refuses what does not belong to it.
func TestExplorePieces(t *testing.T) {
	own, calib := model("mlp_a"), data(t, "mnist_calib")
	command, count := script(t, own)
	top := t.TempDir()
	first, second, page := filepath.Join(top, "first"), filepath.Join(top, "second"), filepath.Join(top, "page.html")
	explore := func(dir, at string, more ...string) report.Exploration {
		t.Helper()
		var r report.Exploration
		mustJSON(t, &r, with(calib, append([]string{"explore", own, "-o", dir, "--at", at, "--limit", "150", "--metric", command}, more...)...)...)
		return r
	}
	was := explore(first, "0.75")
	now := explore(first, "0.75,0.5", "--no-latency", "--report", page)
	if asked(t, count) != 3 || now.Metric.Calls != 1 || *now.Points[0].Metric != *was.Points[0].Metric || *now.Before.Metric != 1 || now.Points[0].PointSeconds != was.Points[0].PointSeconds {
		t.Errorf("%d calls, %+v", asked(t, count), now)
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "metric against multiply-accumulates") {
		t.Errorf("%v: %.200s", err, text)
	}
	explore(second, "0.6,0.5", "--no-latency")
	var all report.Exploration
	mustJSON(t, &all, "explore", "--merge", first, second, "-o", filepath.Join(top, "all"))
	if len(all.Points) != 3 || all.Points[1].Share != 0.6 || !strings.HasPrefix(all.Points[2].Model, first) || len(all.Merged) != 2 || all.Metric.Calls != now.Metric.Calls+3 {
		t.Errorf("%+v", all)
	}
	empty(t, filepath.Join(top, "all"), "explore.json")

	other := filepath.Join(top, "other")
	mustJSON(t, &all, with(calib, "explore", own, "-o", other, "--at", "0.5", "--limit", "140", "--no-latency")...)
	third := filepath.Join(top, "third")
	mustJSON(t, &all, with(calib, "explore", model("mlp_b"), "-o", third, "--at", "0.5", "--limit", "150", "--no-latency", "--metric", command)...)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{first, other}, "of different settings"},
		{[]string{first, third}, "of different models"},
		{[]string{first, top}, "there is no explore.json"},
		{[]string{first}, "--merge takes two folders or more"},
		{[]string{first, second, "-o", first}, "is an input"},
		{[]string{first, second, "--at", "0.5"}, "--at has no place beside --merge"},
	} {
		if r := run(t, append([]string{"explore", "--merge"}, c.args...)...); r.code == exitOK || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%v: exit code %d: %s", c.args, r.code, r.stderr)
		}
	}
}
