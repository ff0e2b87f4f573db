package compress

import (
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Of large models fewer samples are compared, and fewer widths tried where most of them stays; what is
// likely to be best is judged first.
func TestLargeModelsArePricedOnLess(t *testing.T) {
	moving := &allocation{moves: moves{blocks: []*coupling.Block{{}}}}
	all := []*allocation{{kind: Allocated}, {kind: Even}, moving}
	for _, x := range []struct {
		macs             int64
		share            float64
		compared, widths int
		first, second    int
	}{
		{40e6, 0.75, judgeSamples, 3, 0, 1},
		{300e6, 0.75, 44, 2, 2, 0},
		{300e6, 0.5, 44, 3, 2, 0},
		{4e9, 0.5, leastJudged, 3, 2, 0},
		{0, 0.5, judgeSamples, 3, 0, 1},
	} {
		c := &compression{Run: &pipeline.Run{}, o: Options{MACs: x.share}}
		c.size.MACs = x.macs
		order := c.inTurn(all)
		if c.compared() != x.compared || len(c.probes()) != x.widths || !slices.Equal(order[:2], []int{x.first, x.second}) {
			t.Errorf("%d multiply-accumulates, of which %g stay: %d samples, widths %v, order %v", x.macs, x.share, c.compared(), c.probes(), order)
		}
	}
}

// Maps, and lists of boxes, decide many things of a sample: of a large model that makes nothing else
// fewer samples are compared.
func TestMapsArePricedOnLess(t *testing.T) {
	m, err := onnxtest.Parse("x: N 3 40 40\nm = Conv(x, w1[5 3 1 1])\ng = GlobalAveragePool(m)\ny = Flatten(g)")
	if err != nil {
		t.Fatal(err)
	}
	an, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	classes, pixels := eval.Output{Name: "y", Task: eval.Classify, Axis: 1}, eval.Output{Name: "m", Task: eval.Classify, Axis: 1}
	numbers := eval.Output{Name: "m", Task: eval.Regress, Axis: 1}
	for _, x := range []struct {
		outputs   []eval.Output
		decisions int
		compared  int
		tried     int // of a hundred
	}{
		{nil, 1, leastJudged, 100},
		{[]eval.Output{classes}, 1, leastJudged, 100},
		{[]eval.Output{pixels}, 1600, mapsJudged, 25},
		{[]eval.Output{numbers}, 8000, mapsJudged, 25},
		{[]eval.Output{pixels, classes}, 1, leastJudged, 100},
	} {
		c := &compression{Run: &pipeline.Run{Report: job.Report{Outputs: x.outputs}}}
		c.analysis, c.size.MACs = an, 9e9
		if c.decisions() != x.decisions || c.compared() != x.compared || c.tried(100) != x.tried {
			t.Errorf("%v: %d decisions, %d samples, %d of 100; want %d, %d, %d", x.outputs, c.decisions(), c.compared(), c.tried(100), x.decisions, x.compared, x.tried)
		}
	}
}
