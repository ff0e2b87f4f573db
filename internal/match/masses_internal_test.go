package match

import (
	"testing"

	"github.com/monge-ml/monge/internal/channels"
)

// Groups of one model are compared with all groups of the other, which may have more of them and
// more numbers in each.
func TestQuantilesOfDifferentGroups(t *testing.T) {
	of := func(groups, rows, cols int) []channels.Features {
		out := make([]channels.Features, groups)
		for g := range out {
			out[g] = channels.Features{Rows: rows, Cols: cols, Parts: []channels.Part{{Cols: cols, Data: make([]float32, rows*cols)}}}
		}
		return out
	}
	for _, sizes := range [][2]int{{4, 2}, {2, 4}, {3, 3}} {
		x, y := of(sizes[0], 2, 8*sizes[0]), of(sizes[1], 2, 8*sizes[1])
		matchQuantiles(x, y)
		for _, f := range append(x, y...) {
			if want := 8 * min(sizes[0], sizes[1]); f.Cols != want || f.Parts[0].Cols != want || len(f.Parts[0].Data) != 2*want {
				t.Errorf("%v groups: %d columns of %d numbers, want %d", sizes, f.Cols, len(f.Parts[0].Data), want)
			}
		}
	}
}
