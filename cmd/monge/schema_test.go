package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/monge-ml/monge/report"
)

// docs/schema holds the schema of every command's JSON, as the types of package report have it.
func TestJSONSchemas(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "schema")
	for name, s := range report.Schemas() {
		var want bytes.Buffer
		if err := report.JSON(&want, s); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".json")
		if *update {
			if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s is not up to date (%v): go test ./cmd/monge -run TestJSONSchemas -update", path, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(report.Schemas()) {
		t.Errorf("%d files for %d schemas: %v", len(files), len(report.Schemas()), err)
	}
}

// What commands print, as the golden files have it, fits the schemas, and has no names that they
// lack.
func TestJSONFitsSchemas(t *testing.T) {
	of := map[string]string{"moves": "compress", "search": "compress", "int8": "compress", "lossless": "compress", "into": "compress", "timed": "compress"}
	schemas, seen := report.Schemas(), map[string]bool{}
	goldens, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range goldens {
		name := filepath.Base(path[:len(path)-len(".json")])
		if of[name] != "" {
			name = of[name]
		}
		s := schemas[name]
		if s == nil {
			t.Errorf("%s: no schema", path)
			continue
		}
		seen[name] = true
		raw, err := os.ReadFile(path)
		var v any
		if err == nil {
			err = json.Unmarshal(raw, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range misfits(s, v, "") {
			t.Errorf("%s: %s", path, wrong)
		}
	}
	if len(seen) != len(schemas) {
		t.Errorf("goldens of %d commands, schemas of %d", len(seen), len(schemas))
	}
}

// misfits says where the skeleton of a value does not fit a schema.
func misfits(s *report.Schema, v any, at string) (out []string) {
	is := func(names ...string) bool {
		switch have := s.Type.(type) {
		case nil:
			return true
		case string:
			return slices.Contains(names, have)
		case []string:
			return slices.ContainsFunc(have, func(n string) bool { return slices.Contains(names, n) })
		}
		return false
	}
	wrong := func(what string) []string {
		return append(out, fmt.Sprintf("%s is %s, the schema says %v", at, what, s.Type))
	}
	switch v := v.(type) {
	case nil:
		if !is("null") {
			return wrong("null")
		}
	case map[string]any:
		if !is("object") {
			return wrong("an object")
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			p := s.Properties[k]
			if p == nil {
				p = s.Values
			}
			if p == nil {
				out = append(out, at+"/"+k+" is not in the schema")
				continue
			}
			out = append(out, misfits(p, v[k], at+"/"+k)...)
		}
		for _, k := range s.Required {
			// The skeleton of a list is the union of its elements, and the test of the goldens leaves
			// out what a machine has of its own.
			if _, ok := v[k]; !ok && k != "candidates" {
				out = append(out, at+"/"+k+" is missing")
			}
		}
	case []any:
		if !is("array") {
			return wrong("a list")
		}
		for _, x := range v {
			out = append(out, misfits(s.Items, x, at+"[]")...)
		}
	case string:
		if at == "/metadata" || at == "/opsets" {
			return nil // whose names are the file's own, and not in the golden
		}
		kinds := map[string][]string{"number": {"number", "integer"}, "string": {"string"}, "bool": {"boolean"}, "object": {"object"}}[v]
		if !is(kinds...) {
			return wrong(v)
		}
	}
	return out
}

// What does not fit is found.
func TestMisfits(t *testing.T) {
	s := report.Schemas()["version"]
	for text, want := range map[string]int{
		`{"version": "string", "go": "string", "platform": "string"}`:                    0,
		`{"version": "number", "go": "string", "platform": "string"}`:                    1,
		`{"version": "string", "go": "string"}`:                                          1,
		`{"version": "string", "go": "string", "platform": "string", "other": "string"}`: 1,
		`[]`: 1,
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := misfits(s, v, ""); len(got) != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}
