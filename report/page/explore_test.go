package page_test

import (
	"strings"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
	"github.com/monge-ml/monge/report"
	"github.com/monge-ml/monge/report/page"
)

// A page of an exploration says which models there are, where the knee is, and draws what they are
// worth against what they cost: by a metric where there is one, else accuracy, else agreement.
func TestExploration(t *testing.T) {
	explored := func(macs int64, q report.Quality) report.Explored {
		return report.Explored{Size: report.Size{Params: macs / 2, MACs: macs, Bytes: macs * 4}, Quality: q}
	}
	for name, c := range map[string]struct {
		quality func(x float64) report.Quality
		metric  *report.Metric
		wants   []string
		plots   int
	}{
		"a metric":  {func(x float64) report.Quality { return report.Quality{Metric: &x} }, &report.Metric{Command: "map.py {model}", Calls: 3, Seconds: 1.5}, []string{"metric 0.45, of 0.5", "map.py {model}", "3 calls"}, 1},
		"accuracy":  {func(x float64) report.Quality { return report.Quality{Top1: &x, LatencyMS: new(2 * x)} }, nil, []string{"top-1 45.00%, of 50.00%", "90.0% of the time"}, 2},
		"agreement": {func(x float64) report.Quality { return report.Quality{Agreement: new(x + 0.4)} }, nil, []string{"agreement 85.00%"}, 1},
	} {
		r := &report.Exploration{Model: "a.onnx", Output: "models", Data: "images", Judged: 40, Metric: c.metric, Before: explored(1000, c.quality(0.5))}
		r.Points = []report.Point{
			{Share: 0.75, Model: "models/a-0.75.onnx", Explored: explored(740, c.quality(0.45)), Front: true, Knee: true, PointSeconds: 2},
			{Share: 0.5, Model: "models/a-0.5.onnx", Explored: explored(490, c.quality(0.2)), Front: true, PointSeconds: 1},
		}
		p, err := page.Exploration(r, about)
		all, text := rendered(t, p, err)
		wants(t, text, append(c.wants, "the knee is at ×0.75", "74.0% of the MACs", "models/a-0.5.onnx", "judged on 40 samples of images", about.Command)...)
		if plots := len(all["figure"]); plots != c.plots {
			t.Errorf("%s: %d plots", name, plots)
		}
	}
}

// Without a knee the page says which is the smallest model that loses nothing, or which loses
// least, and speaks of no knee, and of no line where none is drawn.
func TestVerdict(t *testing.T) {
	explored := func(macs int64, top1 float64) report.Explored {
		return report.Explored{Size: report.Size{MACs: macs}, Quality: report.Quality{Top1: &top1, Agreement: &top1}}
	}
	for _, c := range []struct {
		top1 [2]float64
		want string
	}{
		{[2]float64{0.96, 0.95}, "the smallest that loses nothing measurable is ×0.5: top-1 95.00%, of 95.00%."},
		{[2]float64{0.94, 0.6}, "all lose something, least ×0.75: top-1 94.00%, of 95.00%."},
	} {
		r := &report.Exploration{Model: "a.onnx", Judged: 40, Before: explored(1000, 0.95)}
		r.Points = []report.Point{{Share: 0.75, Explored: explored(740, c.top1[0])}, {Share: 0.5, Explored: explored(490, c.top1[1])}}
		p, err := page.Exploration(r, about)
		_, text := rendered(t, p, err)
		wants(t, text, c.want, "on 40 samples")
		if strings.Contains(text, "knee") {
			t.Error("there is no knee")
		}
		if low := strings.Contains(text, "low agreement: ×0.5 agrees with the original to 60.00% only"); low != (c.top1[1] == 0.6) {
			t.Errorf("low agreement: %v", low)
		}
	}
	r := &report.Exploration{Before: explored(1000, 0.95), Points: []report.Point{{Share: 0.5, Explored: explored(490, 0.96)}}}
	p, err := page.Exploration(r, about)
	if _, text := rendered(t, p, err); strings.Contains(text, "line:") {
		t.Error("there is no line")
	}
}

// What a plan or an allocation split in two is drawn as such.
func TestDrawnRank(t *testing.T) {
	parsed := func(text string) *onnxio.Model {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	n := page.Drawn(stages(t, parsed("x: N 6\na = Gemm(x, w[6 8])\ny = Relu(a)"), parsed("x: N 6\nlow = Gemm(x, w_low[6 2])\na = Gemm(low, w[2 8])\ny = Relu(a)")))
	for _, r := range n.Rows {
		if r.Kind == "layer" && (r.State != "split in two, rank 2" || r.Mark != "◆") {
			t.Errorf("%+v", r)
		}
	}
}
