package coupling_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/onnxio"
)

// envModels names a folder of models to try the analysis on, beyond those that the repository
// holds:
//
//	MONGE_MODELS=folder go test ./coupling -run TestModelFolder -v
const envModels = "MONGE_MODELS"

// Every model of the folder is analysed; permuting all its spaces is exact; and merged to 90, 75
// and 50 % of every width it loads and runs.
func TestModelFolder(t *testing.T) {
	folder := os.Getenv(envModels)
	if folder == "" {
		t.Skip(envModels + " names no folder of models")
	}
	var files []string
	err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if filepath.Ext(path) == ".onnx" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			m, err := onnxio.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			s := subject(t, m)
			report(t, s.Analysis)
			feeds := randomFeeds(t, m)
			want := run(t, m, feeds)
			all := edit.Maps{}
			for _, sp := range s.Analysis.Spaces {
				if !sp.Frozen {
					all[sp] = permutation(sp)
				}
			}
			if d := distance(t, want, run(t, edited(t, s, all), feeds)); !(d <= 1e-3) {
				t.Errorf("permuting all spaces changes outputs by %.2g", d)
			}
			for _, keep := range []float64{0.9, 0.75, 0.5} {
				widths := map[*coupling.Space]int{}
				for _, sp := range s.Analysis.Spaces {
					if sp.Narrowable() {
						widths[sp] = max(1, int(math.Round(keep*float64(sp.Width))))
					}
				}
				r, err := match.Merge(context.Background(), s, widths, match.Options{})
				if err != nil {
					t.Fatal(err)
				}
				narrow := edited(t, s, r.Maps)
				macs, _ := s.Analysis.MACs(r.Maps.Widths())
				t.Logf("keep %.2f: %d params, %d MACs, cosine %.4f", keep, s.Analysis.Params(r.Maps.Widths()), macs, cosine(want, run(t, narrow, feeds)))
			}
		})
	}
}

// report logs what can be narrowed, and why not the rest.
func report(t *testing.T, a *coupling.Analysis) {
	t.Helper()
	macs, _ := a.MACs(nil)
	t.Logf("%d params, %d MACs, narrowable share %.3f", a.Params(nil), macs, a.NarrowableShare())
	for _, l := range describe(a) {
		t.Log("  ", l)
	}
}

// cosine is the smallest cosine between two sets of outputs.
func cosine(want, have map[string]*engine.Value) float64 {
	worst := 1.0
	for name, w := range want {
		x, y := w.Float64(), have[name].Float64()
		if !slices.Equal(w.Dims, have[name].Dims) {
			return math.NaN()
		}
		var xy, xx, yy float64
		for i := range x {
			xy, xx, yy = xy+x[i]*y[i], xx+x[i]*x[i], yy+y[i]*y[i]
		}
		if xx > 0 && yy > 0 {
			worst = min(worst, xy/math.Sqrt(xx*yy))
		}
	}
	return worst
}
