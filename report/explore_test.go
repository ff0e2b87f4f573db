package report_test

import (
	"strings"
	"testing"

	"github.com/monge-ml/monge/report"
)

// Explorations of one model on the same data become one: the largest share first, each once, with the
// front and the knee of all; different machines are told of, and what is of another model is refused.
func TestMerge(t *testing.T) {
	piece := func(ms float64, shares ...float64) *report.Exploration {
		r := &report.Exploration{Model: "a.onnx", Output: "there", ModelSHA256: "m", DataSHA256: "d", Settings: "--seed 1"}
		r.Before = report.Explored{Size: report.Size{MACs: 1000}, Quality: report.Quality{Top1: new(0.9), LatencyMS: &ms}}
		for _, s := range shares {
			r.Points = append(r.Points, report.Point{Share: s, Explored: report.Explored{Size: report.Size{MACs: int64(1000 * s)}, Quality: report.Quality{Top1: new(0.9 - 0.4*(1-s)*(1-s))}}})
		}
		return r
	}
	r, err := report.Merge([]string{"x", "y"}, []*report.Exploration{piece(1, 0.5), piece(2, 0.25, 0.75, 0.5)})
	if err != nil {
		t.Fatal(err)
	}
	var shares []float64
	knees := 0
	for _, p := range r.Points {
		shares = append(shares, p.Share)
		if p.Knee {
			knees++
		}
	}
	if len(shares) != 3 || shares[0] != 0.75 || shares[2] != 0.25 || knees != 1 || !r.Points[2].Front || r.Output != "" || len(r.Merged) != 2 {
		t.Errorf("%+v", r)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "1 and 2 ms") {
		t.Errorf("%q", r.Warnings)
	}
	for what, change := range map[string]func(*report.Exploration){
		"different models": func(r *report.Exploration) { r.ModelSHA256 = "n" }, "different data": func(r *report.Exploration) { r.DataSHA256 = "" }, "different settings": func(r *report.Exploration) { r.Settings = "" },
	} {
		other := piece(1, 0.5)
		change(other)
		if _, err := report.Merge([]string{"x", "y"}, []*report.Exploration{piece(1, 0.5), other}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
