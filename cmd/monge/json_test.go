package main

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// skeleton replaces all values by their types, and arrays by the union of their elements: what is
// left is the interface.
func skeleton(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = skeleton(x)
		}
		return v
	case []any:
		var one any
		for _, x := range v {
			one = join(one, skeleton(x))
		}
		if one == nil {
			return []any{}
		}
		return []any{one}
	case float64:
		return "number"
	case bool:
		return "bool"
	case string:
		return "string"
	}
	return v
}

// join adds the keys of b to a.
func join(a, b any) any {
	ma, aIs := a.(map[string]any)
	mb, bIs := b.(map[string]any)
	if !aIs || !bIs {
		return b
	}
	for k, v := range mb {
		ma[k] = join(ma[k], v)
	}
	return ma
}

// keys collects all object keys.
func keys(v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			into[k] = true
			keys(x, into)
		}
	case []any:
		for _, x := range v {
			keys(x, into)
		}
	}
}

// jsonCommands are command lines that between them print every JSON key.
func jsonCommands(t *testing.T) map[string][]string {
	calib, test := data(t, "mnist_calib"), data(t, "mnist_test")
	return map[string][]string{
		"inspect":     {"inspect", model("resnet_a")},
		"fuse":        with(calib, "fuse", model("mlp_a"), model("mlp_b"), "--method", "union", "-o", out(t), "--tune", "1", "--limit", "60"),
		"compress":    with(calib, "compress", model("resnet_a"), "-o", out(t), "--keep", "0.5", "--tune", "1", "--limit", "150"),
		"moves":       with(calib, "compress", model("resnet_a"), "-o", out(t), "--macs", "0.25", "--moves", "depth,rank", "--tune", "0", "--no-latency"),
		"search":      with(calib, "compress", model("mlp_a"), "-o", out(t), "--max-drop", "0.05", "--limit", "100", "--moves", "width", "--eval-data", modeltest.Dir("mnist_test.npz")),
		"int8":        with(calib, "compress", model("resnet_a"), "-o", out(t), "--int8", "--limit", "60"),
		"lossless":    {"compress", model("mlp_wide"), "-o", out(t), "--lossless"},
		"into":        with(calib, "compress", model("mlp_wide"), "-o", out(t), "--into", model("mlp_a"), "--tune", "2"),
		"eval":        with(test, "eval", model("mlp_a"), model("mlp_b"), "--limit", "10"),
		"sensitivity": with(calib, "sensitivity", model("mlp_a"), "--limit", "60"),
		"explore":     with(test, "explore", model("mlp_a"), "-o", t.TempDir(), "--at", "0.5", "--limit", "150"),
		"diff":        {"diff", model("resnet_a"), model("cnn_a"), "--input-shape", "input=1x1x28x28"},
		"convert":     {"convert", model("mlp_a"), "-o", out(t), "--external-data"},
		"latency":     {"latency", model("cnn_a"), "--latency-table", latencyTable(t), "--save", out(t) + ".json"},
		"timed":       {"compress", model("cnn_a"), "-o", out(t), "--latency", "0.6", "--latency-table", latencyTable(t), "--data", "none"},
		"runtime":     {"runtime"},
		"version":     {"version"},
	}
}

// The JSON is an interface: a change of it has to be meant, and documented.
func TestJSON(t *testing.T) {
	text := document(t, "docs/json.md")
	for name, args := range jsonCommands(t) {
		t.Run(name, func(t *testing.T) {
			var v any
			mustJSON(t, &v, args...)
			all := map[string]bool{}
			keys(v, all)
			for _, k := range slices.Sorted(maps.Keys(all)) {
				if !strings.Contains(text, "`"+k+"`") && k != "" {
					t.Errorf("docs/json.md does not document %q", k)
				}
			}
			// Metadata and opsets have keys of the file's own; what a machine has of places to look
			// for a library is its own too.
			if m, ok := v.(map[string]any); ok {
				for _, k := range []string{"metadata", "opsets"} {
					if m[k] != nil {
						m[k] = "object"
					}
				}
				delete(m, "candidates")
				delete(m, "whole") // there if the candidate that wins has one
			}
			got, err := json.MarshalIndent(skeleton(v), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// inspect's figures for one model, by value.
func TestInspectJSON(t *testing.T) {
	var r report.Inspection
	mustJSON(t, &r, "inspect", model("mlp_a"))
	if r.Params != 784*64+64+64*32+32+32*10+10 || r.MACs != 784*64+64*32+32*10 || r.NarrowableShare != 1 {
		t.Errorf("%d params, %d MACs, share %g", r.Params, r.MACs, r.NarrowableShare)
	}
	want := []report.Space{
		{Name: "/fc1/Gemm", Width: 64, Groups: 1, Narrowable: true, Producers: []report.Use{{Node: "/fc1/Gemm", Op: "Gemm", Weight: "fc1.weight"}}, Consumers: []report.Use{{Node: "/fc2/Gemm", Op: "Gemm", Weight: "fc2.weight", Axis: 1}}},
		{Name: "/fc2/Gemm", Width: 32, Groups: 1, Narrowable: true, Producers: []report.Use{{Node: "/fc2/Gemm", Op: "Gemm", Weight: "fc2.weight"}}, Consumers: []report.Use{{Node: "/fc3/Gemm", Op: "Gemm", Weight: "fc3.weight", Axis: 1}}},
		{Name: "/fc3/Gemm", Width: 10, Groups: 1, Frozen: true, Linear: true, Reason: `graph output "logits"`, Producers: []report.Use{{Node: "/fc3/Gemm", Op: "Gemm", Weight: "fc3.weight"}}, Consumers: []report.Use{}},
	}
	made := slices.DeleteFunc(r.Spaces, func(s report.Space) bool { return len(s.Producers) == 0 }) // not the input
	if diff := cmp.Diff(want, made); diff != "" {
		t.Error(diff)
	}
	layers := []report.Layer{
		{Name: "/fc1/Gemm", Op: "Gemm", Weight: "fc1.weight", Bias: "fc1.bias", Dims: []int64{64, 784}, Params: 50240, MACs: 50176, Followers: []string{"Relu"}},
		{Name: "/fc2/Gemm", Op: "Gemm", Weight: "fc2.weight", Bias: "fc2.bias", Dims: []int64{32, 64}, Params: 2080, MACs: 2048, Followers: []string{"Relu"}},
		{Name: "/fc3/Gemm", Op: "Gemm", Weight: "fc3.weight", Bias: "fc3.bias", Dims: []int64{10, 32}, Params: 330, MACs: 320, Followers: []string{}},
	}
	if diff := cmp.Diff(layers, r.Layers); diff != "" {
		t.Error(diff)
	}
}
