package compress

import (
	"context"
	"fmt"
	"math"

	"github.com/monge-ml/monge/align"
	"github.com/monge-ml/monge/coupling"
)

// A plan of widths with what was learnt on the way.
type allocation struct {
	widths   map[*coupling.Space]int
	evidence map[*coupling.Space]*align.Evidence
}

// allocate chooses widths that meet the budget: every space loses channels in
// steps, each time the space whose consumers lose least of what they compute
// for each unit of cost saved. How much they lose is read off the greedy choice
// of channels itself (align.Evidence.Unexplained); spaces that cannot be
// observed keep an equal share.
func (o Options) allocate(ctx context.Context, s *align.Subject) (*allocation, error) {
	a := &allocation{widths: map[*coupling.Space]int{}}
	var free []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if o.kept(sp) == "" {
			a.widths[sp] = sp.Width
			free = append(free, sp)
		}
	}
	var err error
	if a.evidence, err = align.Observe(ctx, []align.Party{{Subject: s}}, free, o.selection()); err != nil {
		return nil, err
	}
	left := map[*coupling.Space][]float64{}
	for _, sp := range free {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if ev := a.evidence[sp]; ev.Observed() {
			left[sp] = ev.Unexplained(sp.Starts())
		} else {
			ratio, err := o.ratio(s.Analysis)
			if err != nil {
				return nil, err
			}
			a.widths[sp] = o.share(ratio, sp)
		}
	}
	w := coupling.Widths{}
	for sp, k := range a.widths {
		w.Set(sp, k)
	}
	budget := o.budget()
	for now := o.cost(s.Analysis, w); now > budget; now = o.cost(s.Analysis, w) {
		var best *coupling.Space
		bestTo, bestPrice := 0, math.Inf(1)
		for _, sp := range free {
			curve := left[sp]
			to := o.step(sp, a.widths[sp])
			if curve == nil || to >= a.widths[sp] {
				continue
			}
			w.Set(sp, to)
			saved := now - o.cost(s.Analysis, w)
			w.Set(sp, a.widths[sp])
			if saved <= 0 {
				continue
			}
			price := (curve[to] - curve[a.widths[sp]]) / saved
			if price < bestPrice {
				best, bestTo, bestPrice = sp, to, price
			}
		}
		if best == nil {
			return nil, fmt.Errorf("the budget cannot be met: %.4g of %.4g remain", now, o.cost(o.base.analysis, nil))
		}
		a.widths[best] = bestTo
		w.Set(best, bestTo)
	}
	return a, nil
}

// step is the next smaller width that is tried: a sixteenth of the space less,
// in multiples.
func (o Options) step(s *coupling.Space, k int) int {
	m := max(o.Multiple, 1)
	d := max(1, s.Width/16/m) * m
	return max(k-d, min(m, s.Width), len(s.Pieces))
}
