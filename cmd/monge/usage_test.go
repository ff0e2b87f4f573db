package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/screen"
)

// commands are all commands of the program, itself included.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	root := (&app{}).root()
	list := []*cobra.Command{root}
	for i := 0; i < len(list); i++ {
		list = append(list, list[i].Commands()...)
	}
	if len(list) < 8 {
		t.Fatalf("only %d commands", len(list))
	}
	return list
}

// path is how a command is called, without the program's name.
func path(c *cobra.Command) []string { return strings.Fields(c.CommandPath())[1:] }

func TestHelpFitsTheTerminal(t *testing.T) {
	for _, c := range commands(t) {
		for _, columns := range []int{0, 60, 80, 200} {
			var stdout bytes.Buffer
			a := &app{stdout: &stdout, stderr: &stdout, columns: columns}
			if code := a.run(context.Background(), append(path(c), "--help")); code != exitOK {
				t.Fatalf("%s --help: exit code %d: %s", c.CommandPath(), code, &stdout)
			}
			text := stdout.String()
			if columns == 60 { // command lines are not broken
				text, _, _ = strings.Cut(text, "\nUsage")
				text = regexp.MustCompile(`(?m)^ +(monge|--data) .*$`).ReplaceAllString(text, "")
			}
			for line := range strings.Lines(text) {
				if n := screen.Width(strings.TrimRight(line, "\n")); n > helpWidth(columns) {
					t.Errorf("%s: %d columns of %d: %s", c.CommandPath(), n, helpWidth(columns), line)
				}
			}
			if strings.Contains(text, "=true|false") {
				t.Errorf("%s: flags that are on or off are shown with values", c.CommandPath())
			}
		}
	}
}

// Every flag of the commands that have many stands under a heading.
func TestFlagsHaveGroups(t *testing.T) {
	for _, c := range commands(t) {
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if c.HasParent() && f.Name != "help" && groupOf(f) == generalGroup {
				t.Errorf("%s --%s has no group", c.Name(), f.Name)
			}
		})
	}
}

// What is wrong with a flag's value is said of the flag, in words of the command line: not in those
// of Go, of its packages or of the code.
func TestBadValuesOfFlags(t *testing.T) {
	speaksGo := regexp.MustCompile(`strconv|parsing|syntax|invalid argument|\(layout|%!|panic|runtime error|nil|\[\]`)
	args := map[string][]string{
		"inspect":     {model("mlp_a")},
		"sensitivity": {model("mlp_a")},
		"latency":     {model("mlp_a")},
		"explore":     {model("mlp_a"), "-o", t.TempDir(), "--data", modeltest.Dir("mnist_calib.npz")},
		"fuse":        {model("mlp_a"), model("mlp_b"), "--dry-run", "--data", "none"},
		"compress":    {model("mlp_a"), "--dry-run", "--data", "none"},
		"eval":        {model("mlp_a"), "--data", "none", "--no-latency"},
		"convert":     {model("mlp_a"), "-o", out(t)},
		"diff":        {model("mlp_a"), model("mlp_b")},
	}
	values := map[string][]string{
		"bool":         {"x"},
		"int":          {"", "x", "1e3", "0.5", "-7", "99999999999999999999"},
		"int64":        {"", "x", "0.5", "-7", "99999999999999999999"},
		"float64":      {"", "x", "NaN", "Inf", "-Inf", "1e999", "0x"},
		"float64Slice": {"x", "0.5,x", "0.5,,1", "NaN", "Inf"},
	}
	budgets := []string{"keep", "macs", "params", "size", "max-drop", "into"}
	for _, c := range commands(t) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			given := args[c.Name()]
			if c.Name() == "compress" && !slices.Contains(budgets, f.Name) {
				given = append(slices.Clone(given), "--keep", "0.5")
			}
			bad, ok := values[f.Value.Type()]
			if !ok && f.Value.Type() != "string" && f.Value.Type() != "stringArray" {
				bad = []string{"", "x"}
			}
			for _, v := range bad {
				line := append(append(path(c), given...), fmt.Sprintf("--%s=%s", f.Name, v))
				r := run(t, line...)
				switch {
				case r.code != exitUsage:
					t.Errorf("monge %s: exit code %d, want %d: %s", strings.Join(line, " "), r.code, exitUsage, r.stderr)
				case strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "--"+f.Name):
					t.Errorf("monge %s: not a line about the flag: %s", strings.Join(line, " "), r.stderr)
				case speaksGo.MatchString(r.stderr):
					t.Errorf("monge %s: speaks of Go: %s", strings.Join(line, " "), r.stderr)
				}
			}
		})
	}
}

func TestMistypedNames(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"compress m.onnx --kep 0.5", "did you mean --keep?"},
		{"compress m.onnx --max_drop 0.5", "did you mean --max-drop?"},
		{"eval m.onnx --no-latenzy", "did you mean --no-latency?"},
		{"eval m.onnx --keep 0.5", "there is no flag --keep "},
		{"eval m.onnx -x", "there is no flag -x "},
		{"inspect m.onnx --Json", "did you mean --json?"},
		{"fuse a b --weights", "--weights has no value: want LIST"},
		{"compress m.onnx --keep", "--keep has no value: want F"},
		{"comprss m.onnx", "monge: there is no command comprss; did you mean compress? (see monge --help)"},
		{"--threads 2 foo", "monge: there is no command foo (see monge --help)"},
		{"m.onnx", "a command is missing: did you mean monge inspect m.onnx, or monge compress m.onnx?"},
		{"m.onnx -o small.onnx --macs 0.5", "a command is missing: did you mean monge inspect m.onnx, "},
		{"usage_test.go --json", "a command is missing: did you mean monge inspect usage_test.go, "},
		{"compress m.onnx --macs 80%", `--macs "80%": want a number; did you mean 0.8?`},
		{"compress m.onnx --keep 80%", "did you mean 0.8?"},
		{"compress m.onnx --latency 80%", "did you mean 0.8?"},
		{"compress m.onnx --macs 80", "--macs is 80: want a share above 0, up to 1; did you mean 0.8?"},
		{"compress m.onnx --max-drop 2 --data x.npz", "did you mean 0.02?"},
		{"explore m.onnx -o x --data x.npz --at 80,60", "did you mean 0.8?"},
		{"compress m.onnx --tune 5%", `--tune "5%": want a whole number` + "\n"},
		{"runtime instal", "monge runtime install"},
	} {
		r := run(t, strings.Fields(c.line)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("monge %s: exit code %d: %s", c.line, r.code, r.stderr)
		}
	}
}
