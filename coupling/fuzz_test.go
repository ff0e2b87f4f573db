package coupling_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
)

// FuzzAnalyze analyses whatever decodes: no model may cause a panic or an endless loop, and what
// the analysis says must be consistent in itself.
func FuzzAnalyze(f *testing.F) {
	for _, c := range rules {
		data, err := graph(f, c.graph).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*.onnx"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil && len(data) < 32<<10 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnxio.Decode(data, "")
		if err != nil {
			return
		}
		a, err := coupling.Analyze(m, coupling.Options{})
		if err != nil {
			return
		}
		widths := coupling.Widths{}
		for _, s := range a.Spaces {
			total := 0
			for _, p := range s.Pieces {
				total += max(p.Size(), 0)
				if a.SpaceOf(p) != s {
					t.Fatalf("space %q does not own its piece %v", s.Name, p)
				}
			}
			// A frozen axis that is only read is one space, of whatever it is made.
			if total != s.Width && !s.Frozen {
				t.Fatalf("space %q is %d wide, its pieces %d", s.Name, s.Width, total)
			}
			if s.Frozen != (s.Reason != "") {
				t.Fatalf("space %q: frozen is %v, reason %q", s.Name, s.Frozen, s.Reason)
			}
			if len(s.Uses) == 0 {
				t.Fatalf("space %q has no use", s.Name)
			}
			for _, u := range s.Uses {
				if w := a.Weights[u.Tensor]; w != nil && (u.Axis < 0 || u.Axis >= len(w.Axes)) {
					t.Fatalf("space %q: %v has axis %d of %d", s.Name, u, u.Axis, len(w.Axes))
				}
			}
			if s.Narrowable() && s.Width > 0 {
				k := (s.Width + 1) / 2
				if widths.Set(s, k); widths.Of(s) != k {
					t.Fatalf("space %q set to %d is %d", s.Name, k, widths.Of(s))
				}
			}
		}
		a.MACs(widths)
		a.Params(widths)
		if share := a.NarrowableShare(); !(share >= 0 && share <= 1) {
			t.Fatalf("narrowable share is %g", share)
		}
	})
}
