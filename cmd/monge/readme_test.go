package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// flat removes indentation.
func flat(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

func TestReadmeSnippetIsAnExample(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "..", "compress", "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(blocks) == 0 {
		t.Fatal("no Go in the README")
	}
	for _, b := range blocks {
		for _, part := range strings.Split(strings.TrimSpace(flat(b[1])), "\n\n") {
			if !strings.Contains(flat(string(example)), part) {
				t.Errorf("the example lacks\n%s", part)
			}
		}
	}
}

func TestReadmeHasTheDefinitions(t *testing.T) {
	_, list, _ := strings.Cut(flat(definitions), "\n")
	if !strings.Contains(flat(readme(t)), strings.TrimSpace(list)) {
		t.Error("definitions differ from those of --help")
	}
	if !strings.Contains(flat(rootHelp), strings.TrimSpace(list)) {
		t.Error("--help lacks the definitions")
	}
}

// Command lines in README and help have to exist.
func TestCommandLinesInText(t *testing.T) {
	a := &app{}
	text := readme(t) + rootHelp
	for _, c := range a.root().Commands() {
		text += "\n" + c.Example + "\n"
	}
	text = strings.ReplaceAll(text, "\\\n", " ")
	lines := regexp.MustCompile(`(?m)^(?:\$| ) *monge (.*)$`).FindAllStringSubmatch(text, -1)
	if len(lines) < 10 {
		t.Fatalf("only %d command lines found", len(lines))
	}
	for _, l := range lines {
		line, _, _ := strings.Cut(l[1], " | ")
		args := strings.Fields(strings.ReplaceAll(line, "'", ""))
		cmd, rest, err := a.root().Find(args)
		if err != nil {
			t.Errorf("monge %s: %v", line, err)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("monge %s: %v", line, err)
		} else if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			t.Errorf("monge %s: %v", line, err)
		}
	}
}

// Every flag says what it does, and takes a value that help can name.
func TestFlagsAreDescribed(t *testing.T) {
	for _, c := range (&app{}).root().Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no description", c.Name(), f.Name)
			}
		})
	}
}
