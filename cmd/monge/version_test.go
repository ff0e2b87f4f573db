package main

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	module := func(version string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}}
	}
	tests := []struct {
		name   string
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		{"linked", "0.1.0-dev+1a2b3c4", module("v0.2.0"), "0.1.0-dev+1a2b3c4"},
		{"go install", "", module("v0.2.0"), "0.2.0"},
		{"go build without version control", "", module("(devel)"), "devel"},
		{"no module", "", module(""), "devel"},
		{"no build information", "", nil, "devel"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := versionOf(test.linked, test.info); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// What is released is a semantic version, and the changelog speaks of it.
func TestVersionFile(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	version := strings.TrimSuffix(read("VERSION"), "\n")
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(version) {
		t.Errorf("VERSION is %q: want three numbers", version)
	}
	if !strings.Contains(read("CHANGELOG.md"), version) {
		t.Errorf("CHANGELOG.md does not speak of %s", version)
	}
}
