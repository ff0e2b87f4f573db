package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
	"github.com/monge-ml/monge/report"
)

// Of every model of testdata, and every form in which models are written, compress narrows the
// spaces that inspect calls narrowable, and no others.
func TestInspectAgreesWithCompress(t *testing.T) {
	enginetest.Require(t)
	models := modeltest.Structures(t)
	for _, name := range modeltest.Names(t) {
		models[name] = modeltest.Load(t, name)
	}
	forms := slices.Concat(onnxtest.Forms(), onnxtest.Quantized())
	forms = append(forms, onnxtest.Form{Name: "weights scaled by their norm", Graph: `
		x: N 3 6 6
		n = ReduceL2(v[16 3 3 3]) axes=1,2,3 keepdims=1
		d = Div(v, n)
		w = Mul(d, g[16 1 1 1])
		a = Conv(x, w)
		b = Relu(a)
		y = Conv(b, w2[5 16 1 1])`})
	for _, f := range forms {
		m, err := f.Model()
		if err != nil {
			t.Fatal(err)
		}
		models[f.Name] = m
	}
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.onnx")
			if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{}); err != nil {
				t.Fatal(err)
			}
			agrees(t, path)
		})
	}
}

// agrees compares what the two commands say of a model.
func agrees(t *testing.T, path string) {
	t.Helper()
	var seen report.Inspection
	mustJSON(t, &seen, "inspect", path)
	narrow, grouped := map[string]bool{}, map[string]bool{}
	for _, s := range seen.Spaces {
		grouped[s.Name] = s.Groups > 1 // which may be removed whole
		if narrow[s.Name] = s.Narrowable; s.Narrowable != (s.Reason == "") {
			t.Errorf("space %q: narrowable %v, reason %q", s.Name, s.Narrowable, s.Reason)
		}
	}
	args := []string{"compress", path, "-o", out(t), "--keep", "0.5", "--multiple", "1", "--data", "none", "--dry-run", "--no-lossless"}
	if !slices.Contains(slices.Collect(maps.Values(narrow)), true) {
		if r := run(t, args...); r.code == exitOK || !strings.Contains(r.stderr, "nothing can be narrowed") {
			t.Errorf("inspect finds nothing narrowable, compress says: %s%s", r.stdout, r.stderr)
		}
		return
	}
	var done report.Compression
	mustJSON(t, &done, args...)
	for _, s := range done.Spaces {
		n, ok := narrow[s.Name]
		if smaller := s.After < s.Before; !ok || n != smaller && !(smaller && grouped[s.Name]) || n && s.Kept != "" {
			t.Errorf("space %q: from %d to %d (%q), inspect says narrowable %v", s.Name, s.Before, s.After, s.Kept, n)
		}
		delete(narrow, s.Name)
	}
	for name, n := range narrow { // what nothing makes is not listed
		if n {
			t.Errorf("space %q is narrowable, and compress does not know it", name)
		}
	}
}
