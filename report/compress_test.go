package report

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/job"
)

// refitted is the part of a report about so many layers, the later the farther off, and one that
// the original has no counterpart for.
type refitted int

func (n refitted) Print(w io.Writer) {
	r := &refit.Report{Layers: []refit.Layer{{Name: "new_rank", Note: refit.NoteNew}}}
	for i := range int(n) {
		r.Layers = append(r.Layers, refit.Layer{Name: fmt.Sprintf("layer%02d", i), Inputs: 9, Before: 1, After: float64(i) / 100})
	}
	printRefit(w, r)
}

// A person is told of the layers that stay farthest off where there are many, and of none that
// there is nothing to compare with.
func TestRefitTable(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, 16: 16, 17: 10, 60: 10} {
		var b strings.Builder
		refitted(n).Print(&b)
		text := b.String()
		if rows := strings.Count(text, "\nlayer"); rows != want || strings.Contains(text, "new_rank") {
			t.Errorf("%d layers: %d rows\n%s", n, rows, text)
		}
		more := fmt.Sprintf("and %s that came nearer: --json and --report list all\n", plural(n-10, "layer"))
		if strings.Contains(text, more) != (n > 16) {
			t.Errorf("%d layers:\n%s", n, text)
		}
		if n > 16 && strings.Index(text, fmt.Sprintf("layer%02d", n-1)) > strings.Index(text, fmt.Sprintf("layer%02d", n-2)) {
			t.Errorf("not by error:\n%s", text)
		}
		for _, p := range Parts(refitted(n)) { // a page has room
			if len(p.Rows) != n || strings.Contains(strings.Join(p.Text, ""), "--json") {
				t.Errorf("%d layers: %d rows on a page: %q", n, len(p.Rows), p.Text)
			}
		}
	}
}

func TestMovesTable(t *testing.T) {
	x := 0.25
	r := &compress.Report{Report: job.Report{}, Blocks: []compress.Block{{Name: "block2", Divergence: &x}}, Ranks: []compress.Ranked{{Name: "fc", Rank: 8, Of: 1027}}}
	var b strings.Builder
	printMoves(&b, r)
	want := "block or operator  what was done        rank  divergence\n" +
		"block2             dropped                        0.2500\n" +
		"fc                 split in two   8 of 1,027\n"
	if !strings.HasPrefix(b.String(), want) {
		t.Error(b.String())
	}
}

// Why a result takes longer than its multiply-accumulates tell is said.
func TestTimeBehindMACs(t *testing.T) {
	for _, c := range []struct {
		time    float64
		spatial bool
		want    string
	}{
		{0.6, true, ""}, {0.75, false, ""}, {0.75, true, "rows and columns take longer"}, {1.1, true, "rows and columns take longer"}, {1.1, false, "slower than the original"},
	} {
		before, after := 1.0, c.time
		r := &Compression{Report: &compress.Report{Ranks: []compress.Ranked{{Name: "c", Rank: 8, Of: 48, Spatial: c.spatial}}}}
		r.Before, r.After = Size{Params: 10, MACs: 100}, Size{Params: 5, MACs: 50}
		r.Evaluation = &Comparison{}
		r.Evaluation.Before.LatencyMS, r.Evaluation.After.LatencyMS = &before, &after
		var b strings.Builder
		r.printVerdict(&b)
		for _, text := range []string{"rows and columns take longer", "slower than the original"} {
			if strings.Contains(b.String(), text) != (text == c.want) {
				t.Errorf("%+v:\n%s", c, b.String())
			}
		}
	}
}
