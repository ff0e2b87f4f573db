package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// document is a text of the repository.
func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents is what a user reads: the README and what lies in docs.
func documents(t *testing.T) string {
	t.Helper()
	text := document(t, "README.md")
	files, err := os.ReadDir(filepath.Join("..", "..", "docs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Ext(f.Name()) == ".md" {
			text += "\n" + document(t, "docs/"+f.Name())
		}
	}
	return text
}

// The README is what a newcomer reads in ten minutes.
func TestReadmeIsShort(t *testing.T) {
	if n := strings.Count(document(t, "README.md"), "\n"); n > 200 {
		t.Errorf("%d lines, want 200 at most", n)
	}
}

// What make builds is not on the path: the README says how it gets there before it is called by
// name.
func TestReadmeFindsTheProgram(t *testing.T) {
	before, _, _ := strings.Cut(document(t, "README.md"), "\nmonge ")
	if !strings.Contains(before, `export PATH="$PWD/bin:$PATH"`) {
		t.Error("monge is called before it can be found")
	}
}

// Links between documents lead somewhere.
func TestLinks(t *testing.T) {
	files := []string{"README.md", "CONTRIBUTING.md", "python/README.md", "bench/README.md"}
	all, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		files = append(files, "docs/"+filepath.Base(f))
	}
	links := 0
	for _, f := range files {
		for _, l := range regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(document(t, f), -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join("..", "..", filepath.Dir(filepath.FromSlash(f)), filepath.FromSlash(l[1]))); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	}
	if links < 10 {
		t.Errorf("only %d links", links)
	}
}

// flat removes indentation.
func flat(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

func TestSnippetsAreExamples(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "..", "compress", "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(documents(t), -1)
	if len(blocks) == 0 {
		t.Fatal("no Go in the documents")
	}
	for _, b := range blocks {
		for _, part := range strings.Split(strings.TrimSpace(flat(b[1])), "\n\n") {
			if !strings.Contains(flat(string(example)), part) {
				t.Errorf("the example lacks\n%s", part)
			}
		}
	}
}

func TestDocumentsHaveTheDefinitions(t *testing.T) {
	_, list, _ := strings.Cut(flat(definitions), "\n")
	if !strings.Contains(flat(documents(t)), strings.TrimSpace(list)) {
		t.Error("definitions differ from those of --help")
	}
	if !strings.Contains(flat(rootHelp), strings.TrimSpace(list)) {
		t.Error("--help lacks the definitions")
	}
}

// words splits a command line as a shell does, as far as quotes go.
func words(line string) (out []string) {
	for _, w := range regexp.MustCompile(`'[^']*'|[^\s']+`).FindAllString(line, -1) {
		out = append(out, strings.Trim(w, "'"))
	}
	return out
}

// Command lines in documents and help have to exist.
func TestCommandLinesInText(t *testing.T) {
	a := &app{}
	demo := document(t, "demo.sh")
	if _, end, _ := strings.Cut(demo, "\nNext, "); !strings.Contains(end, "  bin/monge compress ") {
		t.Error("the demo does not say what to try next")
	}
	text := documents(t) + rootHelp + strings.ReplaceAll(demo, "bin/monge", "monge")
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
		args := words(line)
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
