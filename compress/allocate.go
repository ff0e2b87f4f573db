package compress

import (
	"context"
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

// allocate chooses widths that meet the budget: every space loses channels in
// steps, each time the space whose narrowing changes the model's predictions
// least for each unit of cost saved. Spaces that cannot be observed keep an
// equal share.
func (c *compression) allocate(ctx context.Context, s *edit.Subject, b budget) (*allocation, error) {
	a := &allocation{kind: Allocated, widths: map[*coupling.Space]int{}}
	var free []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if c.kept(sp) == "" {
			a.widths[sp] = sp.Width
			free = append(free, sp)
		}
	}
	seen, err := c.observe(ctx, s, free)
	if err != nil {
		return nil, err
	}
	curves := seen.curves
	a.evidence = seen.evidence
	for _, sp := range free {
		if curves[sp] == nil {
			ratio, err := c.ratio(s.Analysis, b)
			if err != nil {
				return nil, err
			}
			a.widths[sp] = c.share(ratio, sp, b)
		}
	}
	w, limit := coupling.WidthsOf(a.widths), c.limit(b)
	for now := c.cost(s.Analysis, b, w); now > limit; now = c.cost(s.Analysis, b, w) {
		var best *coupling.Space
		bestTo, bestPrice := 0, math.Inf(1)
		for _, sp := range free {
			curve := curves[sp]
			to := c.step(sp, a.widths[sp], b)
			if curve == nil || to >= a.widths[sp] {
				continue
			}
			w.Set(sp, to)
			saved := now - c.cost(s.Analysis, b, w)
			w.Set(sp, a.widths[sp])
			if saved <= 0 {
				continue
			}
			price := (curve[to] - curve[a.widths[sp]]) / saved
			if price < bestPrice {
				best, bestTo, bestPrice = sp, to, price
			}
		}
		if best == nil { // what could not be observed must give way as well
			ratio, err := c.ratio(s.Analysis, b)
			if err != nil {
				return nil, err
			}
			a.widths = c.widths(s.Analysis, b, ratio)
			return a, nil
		}
		a.widths[best] = bestTo
		w.Set(best, bestTo)
	}
	c.refill(s, b, a, w, curves)
	return a, nil
}

// refill gives channels back while the budget allows it, where they are worth
// most: the last step down may have saved more than was needed.
func (c *compression) refill(s *edit.Subject, b budget, a *allocation, w coupling.Widths, curves map[*coupling.Space][]float64) {
	for {
		now := c.cost(s.Analysis, b, w)
		var best *coupling.Space
		bestTo, bestWorth := 0, 0.0
		for _, sp := range s.Analysis.Spaces {
			curve, k := curves[sp], a.widths[sp]
			to := k + c.multiple(sp)
			if curve == nil || to > sp.Width {
				continue
			}
			w.Set(sp, to)
			more := c.cost(s.Analysis, b, w)
			w.Set(sp, k)
			if more > c.limit(b) || more <= now {
				continue
			}
			if worth := (curve[k] - curve[to]) / (more - now); worth > bestWorth {
				best, bestTo, bestWorth = sp, to, worth
			}
		}
		if best == nil {
			return
		}
		a.widths[best] = bestTo
		w.Set(best, bestTo)
	}
}

// An observed is what the data say about the spaces of a subject, whatever the
// budget.
type observed struct {
	subject  *edit.Subject
	evidence map[*coupling.Space]*choose.Evidence
	curves   map[*coupling.Space][]float64
}

// observe looks at the data once for all attempts at one subject.
func (c *compression) observe(ctx context.Context, s *edit.Subject, free []*coupling.Space) (*observed, error) {
	if c.seen != nil && c.seen.subject == s {
		return c.seen, nil
	}
	evidence, err := choose.Observe(ctx, []choose.Parent{{Subject: s}}, free, c.selection(c.Report.Split.Price().Fit))
	if err != nil {
		return nil, err
	}
	curves, err := c.curves(ctx, s, free, evidence)
	if err != nil {
		return nil, err
	}
	c.seen = &observed{s, evidence, curves}
	return c.seen, nil
}

// judgeSamples is the number of inputs on which predictions are compared.
const judgeSamples = 200

// probes are the shares of its channels at which a space is tried.
var probes = []float64{0.75, 0.5}

// curves estimates, for every space that can be observed and every number of
// channels it may keep, how far the model's predictions move (teach.Judge).
// How much of what consumers compute is lost is known for every number
// (choose.Evidence.Unexplained); what that does to the predictions is measured
// for some, by narrowing the space alone, and interpolated.
func (c *compression) curves(ctx context.Context, s *edit.Subject, free []*coupling.Space, evidence map[*coupling.Space]*choose.Evidence) (map[*coupling.Space][]float64, error) {
	// Predictions are judged on samples that no channel was chosen by.
	price := c.Report.Split.Price()
	judge, err := c.Judge(ctx, teach.Parents{{Subject: s, Share: 1}}, price.Held.Sample(judgeSamples, 0))
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
			k := max(1, int(math.Round(share*float64(sp.Width))))
			if k == sp.Width || lost[k] <= known[len(known)-1][0] {
				continue
			}
			plan, err := choose.Select(ctx, s, map[*coupling.Space]int{sp: k}, evidence, c.selection(price.Fit))
			if err != nil {
				return nil, err
			}
			m, err := edit.Edit(s, plan.Maps)
			if err != nil {
				return nil, err
			}
			moved, err := judge.Divergence(ctx, m)
			if err != nil {
				return nil, err
			}
			known = append(known, [2]float64{lost[k], max(moved, known[len(known)-1][1])})
		}
		curve := make([]float64, len(lost))
		for k, x := range lost {
			curve[k] = interpolate(known, x)
		}
		out[sp] = curve
		c.Stage("allocate")(i+1, len(free))
	}
	return out, nil
}

// interpolate is the piecewise linear function through points with growing
// abscissae, continued beyond the last.
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

// step is the next smaller width that is tried: a sixteenth of the space less,
// in multiples, down to its floor.
func (c *compression) step(s *coupling.Space, k int, b budget) int {
	m := c.multiple(s)
	d := max(1, s.Width/16/m) * m
	return max(k-d, c.least(s, b), len(s.Pieces))
}
