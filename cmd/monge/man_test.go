package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every command has a page, which names all of its flags.
func TestMan(t *testing.T) {
	dir := t.TempDir()
	if r := run(t, "man", dir); r.code != exitOK {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	pages := 0
	for _, c := range (&app{}).root().Commands() {
		if c.Hidden {
			continue
		}
		page, err := os.ReadFile(filepath.Join(dir, "monge-"+c.Name()+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		pages++
		for line := range strings.Lines(c.Long) { // tables keep their columns
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "--") && !strings.Contains(string(page), line) {
				t.Errorf("%s: %q is broken", c.Name(), line)
			}
		}
		text := strings.ReplaceAll(string(page), `\-`, "-")
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(text, "--"+f.Name) {
				t.Errorf("%s: no --%s", c.Name(), f.Name)
			}
		})
	}
	if pages < 7 {
		t.Errorf("only %d pages", pages)
	}
}
