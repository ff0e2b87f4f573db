package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/report"
)

// The exit code says whether models differ where it is asked to, as that of diff(1) does: so errors
// have another one then.
func TestDiffExitCode(t *testing.T) {
	a, b, nowhere := model("mlp_a"), model("mlp_b"), filepath.Join(t.TempDir(), "no.onnx")
	moved := out(t)
	must(t, "convert", a, "-o", moved, "--external-data")
	broken := filepath.Join(t.TempDir(), "broken.onnx")
	if err := os.WriteFile(broken, []byte("no model"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
	}{
		{a + " " + a, exitOK},
		{a + " " + b, exitOK},
		{a + " " + nowhere, exitFailed},
		{a + " " + a + " --exit-code", exitOK},
		{a + " " + moved + " --exit-code", exitOK},
		{a + " " + b + " --exit-code", exitDiffers},
		{a + " " + nowhere + " --exit-code", exitTrouble},
		{broken + " " + a + " --exit-code", exitTrouble},
		{a + " --exit-code", exitUsage},
	} {
		r := run(t, append([]string{"diff"}, strings.Fields(c.args)...)...)
		if r.code != c.code || (r.stderr != "") != (c.code == exitFailed && !strings.Contains(c.args, b) || c.code == exitTrouble) {
			t.Errorf("%s: exit code %d, want %d; %q", c.args, r.code, c.code, r.stderr)
		}
	}
	if r := run(t, "diff", a, b, "--exit-code", "--quiet"); r.code != exitDiffers || r.stdout+r.stderr != "" {
		t.Errorf("--quiet: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

// The verdict is the first line, and tables tell what matters most.
func TestDiffPrints(t *testing.T) {
	small := out(t)
	must(t, "compress", model("resnet_a"), "-o", small, "--keep", "0.5", "--data", "none", "--no-latency", "--no-lossless")
	text := must(t, "diff", model("resnet_a"), small)
	first, rest, _ := strings.Cut(text, "\n")
	if !strings.HasPrefix(first, "the same network, ") || !strings.Contains(first, "layers narrower") {
		t.Error(first)
	}
	for _, want := range []string{"\nspace ", "metadata monge.command", "\nMACs "} {
		if !strings.Contains(rest, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	// A command line is not cut, and can be run again.
	if want := "\nmetadata monge.command, after: monge compress " + model("resnet_a") + " -o " + small + " --keep 0.5 --data none --no-latency --no-lossless\n"; !strings.Contains(rest, want) {
		t.Errorf("%q is missing in\n%s", want, text)
	}
	if all := must(t, "diff", model("resnet_a"), small, "--all"); strings.Count(all, "\n") <= strings.Count(text, "\n") || strings.Contains(all, "more: --all") {
		t.Errorf("--all prints\n%s", all)
	}
	if text := must(t, "diff", model("mlp_a"), model("mlp_a")); !strings.HasPrefix(text, "identical\n") || strings.Contains(text, "layer") {
		t.Error(text)
	}
	moved := out(t)
	must(t, "convert", model("mlp_a"), "-o", moved, "--external-data")
	if text := must(t, "diff", model("mlp_a"), moved); !strings.HasPrefix(text, "identical, stored differently\n") || !strings.Contains(text, "in data files") {
		t.Error(text)
	}
	if text := must(t, "diff", model("mlp_a"), model("resnet_a")); !strings.HasPrefix(text, "different networks: ") || strings.Contains(text, "\nspace") {
		t.Error(text)
	}
}

// The JSON's figures are those of the models.
func TestDiffJSON(t *testing.T) {
	var r report.Difference
	mustJSON(t, &r, "diff", model("mlp_a"), model("mlp_wide"))
	if r.Models != [2]string{modeltest.Dir("mlp_a.onnx"), modeltest.Dir("mlp_wide.onnx")} || r.Before.Params != 52650 || *r.Before.MACs != 784*64+64*32+32*10 {
		t.Errorf("%+v", r)
	}
	if r.Layers != 3 || r.Wider != 2 || r.Narrower != 0 || r.Identical || !r.Related || len(r.Inputs) != 1 || !r.Inputs[0].Same {
		t.Errorf("%d layers, %d wider, %d narrower, %q", r.Layers, r.Wider, r.Narrower, r.Verdict)
	}
}
