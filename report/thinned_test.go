package report

import (
	"testing"

	"github.com/monge-ml/monge/internal/refit"
)

func TestThinned(t *testing.T) {
	layers := func(samples ...int) *refit.Report {
		r := &refit.Report{Samples: 450}
		for i, n := range samples {
			r.Layers = append(r.Layers, refit.Layer{Name: string(rune('a' + i)), Samples: n})
		}
		return r
	}
	for _, c := range []struct {
		report *refit.Report
		want   string
	}{
		{layers(450, 0, 450), ""},
		{layers(450, 64, 450), "memory: 1 layer of 3, from b on, fitted on 64 of 450 samples (--memory)\n"},
		{layers(64, 120, 450), "memory: 2 layers of 3, from a on, fitted on 64 to 120 of 450 samples (--memory)\n"},
	} {
		if got := thinned(c.report); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
