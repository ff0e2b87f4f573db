package coupling_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
)

// What the analysis calls narrowable is what compress narrows: of every rule's graph the weights
// along such spaces get smaller, and no others; where there are none that is an error.
func TestCompressNarrowsWhatIsNarrowable(t *testing.T) {
	for _, c := range rules {
		t.Run(c.name, func(t *testing.T) {
			m, err := lossless.Compute(context.Background(), graph(t, c.graph), lossless.Options{})
			if err != nil {
				t.Fatal(err)
			}
			s := subject(t, m)
			free := map[string]bool{}
			for name, w := range s.Analysis.Weights {
				for _, axis := range w.Axes {
					for _, x := range axis.Atoms() {
						sp := s.Analysis.SpaceOf(x)
						free[name] = free[name] || sp != nil && sp.Slimmable() && sp.Width > 1
					}
				}
			}
			some := false
			for _, f := range free {
				some = some || f
			}
			out, _, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true, Lossless: job.Off, KeepBatchNorm: true}})
			if (err == nil) != some {
				t.Fatalf("narrowable: %v; compress says %v", some, err)
			}
			if err != nil {
				return
			}
			g, err := out.Graph()
			if err != nil {
				t.Fatal(err)
			}
			for name, w := range s.Analysis.Weights {
				have := g.Constant(name)
				if have == nil || !onnxio.IsFloat(w.Type) { // shared again, or a shape
					continue
				}
				if smaller := onnxio.Elements(have) < coupling.Widths(nil).Elements(w); smaller != free[name] {
					t.Errorf("weight %q: narrowable %v, %v elements of %d left", name, free[name], onnxio.Elements(have), w.Len())
				}
			}
		})
	}
}
