package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/latency/latencytest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
	"github.com/monge-ml/monge/report"
)

// latencyTable is a file that says what the operators of cnn_a take on a machine that does not exist.
func latencyTable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table.json")
	if err := latencytest.Table(t, modeltest.Load(t, "cnn_a"), 4).Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// A budget of latency is a share or a time, and nothing else.
func TestLatencyFlag(t *testing.T) {
	for text, want := range map[string]compress.Latency{
		"0.5":   {Share: 0.5},
		"1":     {Share: 1},
		"2/3":   {Share: 2. / 3},
		"8ms":   {Time: 8 * time.Millisecond},
		"1.5 s": {Time: 1500 * time.Millisecond},
		"500us": {Time: 500 * time.Microsecond},
	} {
		var f latencyFlag
		if err := f.Set(text); err != nil || f.Latency != want || f.String() != text {
			t.Errorf("%s: %+v, %v", text, f, err)
		}
	}
	for _, text := range []string{"", "0", "1.5", "-0.5", "-3ms", "0ms", "8", "fast", "NaN", "50%"} {
		if err := new(latencyFlag).Set(text); err == nil {
			t.Errorf("%q is taken for a latency", text)
		}
	}
	var m multipleFlag
	for text, want := range map[string]multipleFlag{"auto": 0, "16": 16} {
		if err := m.Set(text); err != nil || m != want || m.String() != text {
			t.Errorf("%s: %d, %v", text, m, err)
		}
	}
	for _, text := range []string{"0", "-1", "x", ""} {
		if err := m.Set(text); err == nil {
			t.Errorf("%q is taken for a multiple", text)
		}
	}
}

// What was asked and what the table predicts is told, and where nothing was timed that too; a table
// that is printed is the one that is written.
func TestLatencyReports(t *testing.T) {
	table := latencyTable(t)
	r := run(t, "compress", model("cnn_a"), "-o", out(t), "--latency", "0.6", "--latency-table", table, "--data", "none", "--no-latency")
	if r.code != exitOK || !strings.Contains(r.stdout, "latency: 60.0% of the original's asked, ") || !strings.Contains(r.stdout, "predicted, not measured") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	saved := out(t) + ".json"
	var l report.Latency
	mustJSON(t, &l, "latency", model("cnn_a"), "--latency-table", table, "--save", saved)
	var again report.Latency
	mustJSON(t, &again, "latency", model("cnn_a"), "--latency-table", saved)
	if len(l.Operators) != 5 || len(l.Widths) != 7 || l.Multiple < 1 || l.Output != saved || len(again.Operators) != 5 || again.Operators[0] != l.Operators[0] {
		t.Errorf("%+v", l)
	}
	for i, w := range l.Widths {
		if i > 0 && (w.MS > l.Widths[i-1].MS || w.MACs > l.Widths[i-1].MACs) || w.Share > 1 {
			t.Errorf("%+v", l.Widths)
		}
	}
	r = run(t, "latency", model("cnn_a"), "--latency-table", table)
	if r.code != exitOK || !strings.Contains(r.stdout, "/conv2/Conv") || !strings.Contains(r.stdout, "channels") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

// Mistakes are found before anything is measured.
func TestLatencyMistakes(t *testing.T) {
	table := latencyTable(t)
	for want, c := range map[string]struct {
		code int
		args []string
	}{
		"without --latency":                        {exitUsage, []string{"compress", model("cnn_a"), "-o", out(t), "--macs", "0.5", "--latency-table", table}},
		"want a share above 0, up to 1, or a time": {exitUsage, []string{"compress", model("cnn_a"), "-o", out(t), "--latency", "2"}},
		"give exactly one of":                      {exitUsage, []string{"compress", model("cnn_a"), "-o", out(t), "--latency", "0.5", "--macs", "0.5"}},
		"has free sizes: --input-shape":            {exitUsage, []string{"compress", freeModel(t), "-o", out(t), "--latency", "0.5", "--data", "none"}},
		"no such file":                             {exitFailed, []string{"compress", model("cnn_a"), "-o", out(t), "--latency", "0.5", "--data", "none", "--latency-table", table + "x"}},
		"it has no row for a Gemm":                 {exitFailed, []string{"latency", model("mlp_a"), "--latency-table", convTable(t)}},
	} {
		if r := run(t, c.args...); r.code != c.code || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: exit code %d: %s", want, r.code, r.stderr)
		}
	}
}

// convTable is a table without products of matrices.
func convTable(t *testing.T) string {
	t.Helper()
	table := latencytest.Table(t, modeltest.Load(t, "cnn_a"), 4)
	rows := table.Operators[:0]
	for _, r := range table.Operators {
		if r.Op == "Conv" {
			rows = append(rows, r)
		}
	}
	table.Operators = rows
	path := filepath.Join(t.TempDir(), "conv.json")
	if err := table.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// freeModel is a file of a model that takes images of any size.
func freeModel(t *testing.T) string {
	t.Helper()
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3, "H", "W")), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Floats("w", []int{1, 3, 1, 1}, 1, 2, 3), onnxtest.Node("Conv", "x w", "y"),
	)
	path := filepath.Join(t.TempDir(), "free.onnx")
	if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}
