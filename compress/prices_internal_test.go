package compress

import (
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/pipeline"
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
