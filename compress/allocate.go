package compress

import (
	"context"
	"maps"
	"math"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/teach"
)

// A plan of widths with what was learnt on the way.
type allocation struct {
	kind     Kind
	widths   map[*coupling.Space]int
	evidence map[*coupling.Space]*choose.Evidence
}

// allocate chooses widths that meet the budget: every space loses channels in steps, each time the
// space whose narrowing changes the model's predictions least for each unit of cost saved. Then
// channels are given back where they are worth most, while the budget allows it: the last step down
// may have saved more than was needed. Spaces that cannot be observed keep an equal share, and so
// do all where the others alone cannot give way enough.
func (c *compression) allocate(ctx context.Context, s *edit.Subject, b budget, even *allocation) (*allocation, error) {
	var free []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if _, ok := even.widths[sp]; ok {
			free = append(free, sp)
		}
	}
	seen, err := c.observe(ctx, s, free)
	if err != nil {
		return nil, err
	}
	g := &greedy{compression: c, b: b, seen: seen, widths: maps.Clone(even.widths)}
	for sp := range seen.curves {
		g.widths[sp] = sp.Width
	}
	g.w = coupling.WidthsOf(g.widths)
	for g.cost() > c.limit(b) {
		if !g.move(free, false) {
			return &allocation{kind: Allocated, widths: even.widths, evidence: seen.evidence}, nil
		}
	}
	for g.move(free, true) {
	}
	return &allocation{kind: Allocated, widths: g.widths, evidence: seen.evidence}, nil
}

// greedy changes the widths of observed spaces one by one.
type greedy struct {
	*compression
	b      budget
	seen   *observed
	widths map[*coupling.Space]int
	w      coupling.Widths // the same
}

func (g *greedy) cost() float64 {
	return g.compression.cost(g.seen.subject.Analysis, g.b, g.w)
}

// move makes the step that serves predictions best for its cost: one space narrower, or wider
// within the budget. It reports whether there is one.
func (g *greedy) move(spaces []*coupling.Space, wider bool) bool {
	now, limit := g.cost(), g.limit(g.b)
	var best *coupling.Space
	bestTo, bestWorth := 0, math.Inf(-1)
	if wider {
		bestWorth = 0
	}
	for _, sp := range spaces {
		curve, k := g.seen.curves[sp], g.widths[sp]
		to := g.step(sp, k, g.b)
		if wider {
			to = k + g.multiple(sp)
		}
		if curve == nil || to > sp.Width || !wider && to >= k {
			continue
		}
		g.w.Set(sp, to)
		cost := g.cost()
		g.w.Set(sp, k)
		if wider && (cost <= now || cost > limit) || !wider && cost >= now {
			continue
		}
		if worth := (curve[k] - curve[to]) / math.Abs(cost-now); worth > bestWorth {
			best, bestTo, bestWorth = sp, to, worth
		}
	}
	if best != nil {
		g.widths[best] = bestTo
		g.w.Set(best, bestTo)
	}
	return best != nil
}

// An observed is what the data say about the spaces of a subject, whatever the budget.
type observed struct {
	subject  *edit.Subject
	evidence map[*coupling.Space]*choose.Evidence
	curves   map[*coupling.Space][]float64
}

// judgeSamples is the number of inputs on which predictions are compared.
const judgeSamples = 200

// probes are the shares of its channels at which a space is tried.
var probes = []float64{0.75, 0.5, 0.25}

// observe looks at the data, once for all attempts at one subject, and estimates, for every space
// that can be observed and every number of channels it may keep, how far the model's predictions
// move (teach.Judge). How much of what consumers compute is lost is known for every number
// (choose.Evidence.Unexplained); what that does to the predictions is measured for some, by
// narrowing the space alone, and interpolated.
func (c *compression) observe(ctx context.Context, s *edit.Subject, free []*coupling.Space) (*observed, error) {
	if c.seen != nil && c.seen.subject == s {
		return c.seen, nil
	}
	// Predictions are judged on samples that no channel was chosen by.
	price := c.Price()
	evidence, err := choose.Observe(ctx, []choose.Parent{{Subject: s}}, free, c.selection(price.Fit))
	if err != nil {
		return nil, err
	}
	contest, err := c.Contest(ctx, teach.Parents{{Subject: s, Share: 1}}, price.Fit, price.Held.Sample(judgeSamples, 0))
	if err != nil {
		return nil, err
	}
	out := map[*coupling.Space][]float64{}
	for i, sp := range free {
		ev := evidence[sp]
		if !ev.Observed() {
			continue
		}
		lost := ev.Unexplained(sp.Starts())
		known := [][2]float64{{0, 0}} // what is lost, how far predictions move
		for _, share := range probes {
			m := c.multiple(sp)
			k := max(1, int(math.Round(share*float64(sp.Width)/float64(m)))) * m
			last := known[len(known)-1]
			if k >= sp.Width || lost[k] <= last[0] {
				continue
			}
			alone := &allocation{widths: map[*coupling.Space]int{sp: k}, evidence: evidence}
			moved, err := contest.Try(ctx, false, c.making(s, c.plan(s, alone), c.report()))
			if err != nil {
				return nil, err
			}
			known = append(known, [2]float64{lost[k], max(moved, last[1])})
		}
		curve := make([]float64, len(lost))
		for k, x := range lost {
			curve[k] = interpolate(known, x)
		}
		out[sp] = curve
		c.Stage("allocate")(i+1, len(free))
	}
	c.seen = &observed{s, evidence, out}
	return c.seen, nil
}

// interpolate is the piecewise linear function through points with growing abscissae, continued
// beyond the last.
func interpolate(points [][2]float64, x float64) float64 {
	if len(points) == 1 {
		return 0
	}
	i := 1
	for i+1 < len(points) && x > points[i][0] {
		i++
	}
	a, b := points[i-1], points[i]
	return a[1] + (x-a[0])*(b[1]-a[1])/(b[0]-a[0])
}

// step is the next smaller width that is tried: a sixteenth of the space less, in multiples, down
// to its floor.
func (c *compression) step(s *coupling.Space, k int, b budget) int {
	m := c.multiple(s)
	d := max(1, s.Width/16/m) * m
	return max(k-d, c.least(s, b), len(s.Pieces))
}
