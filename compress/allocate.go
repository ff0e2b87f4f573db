package compress

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/pipeline"
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
		if _, ok := even.widths[sp]; ok || c.inner(sp) {
			free = append(free, sp)
		}
	}
	seen, err := c.observe(ctx, s, free)
	if err != nil {
		return nil, err
	}
	g := c.greedy(s.Analysis, b, seen, even.widths)
	for g.cost > g.limit {
		if !g.move(free, false) {
			return &allocation{kind: Allocated, widths: even.widths, evidence: seen.evidence}, nil
		}
	}
	for g.move(free, true) {
	}
	return &allocation{kind: Allocated, widths: g.widths, evidence: seen.evidence}, nil
}

// inner reports whether the dimensions of attention heads may be narrowed beside the heads: an equal
// share of both would be taken twice.
func (c *compression) inner(sp *coupling.Space) bool {
	return sp.Inner && !sp.Frozen && sp.Width > 1 && c.excluded(sp) == ""
}

// greedy changes the widths of observed spaces one by one.
type greedy struct {
	*compression
	b           budget
	seen        *observed
	widths      map[*coupling.Space]int
	w           coupling.Widths // the same
	cost, limit float64
	ledger      *ledger
	known       map[step]float64 // by how much steps change the cost
}

// A step is a space and the width that it gets.
type step struct {
	space *coupling.Space
	to    int
}

// greedy starts with observed spaces as they are, and others as given.
func (c *compression) greedy(a *coupling.Analysis, b budget, seen *observed, others map[*coupling.Space]int) *greedy {
	g := &greedy{compression: c, b: b, seen: seen, widths: maps.Clone(others), limit: c.limit(b), known: map[step]float64{}}
	for sp := range seen.curves {
		g.widths[sp] = sp.Width
	}
	g.w = coupling.WidthsOf(g.widths)
	g.cost = c.cost(a, b, g.w)
	g.ledger = c.ledger(a, b, slices.Collect(maps.Keys(seen.curves)))
	return g
}

// change is by how much a step changes the cost.
func (g *greedy) change(s step) float64 {
	d, ok := g.known[s]
	if !ok {
		d = g.ledger.change(g.w, s.space, g.widths[s.space], s.to)
		g.known[s] = d
	}
	return d
}

// move makes the step that serves predictions best for its cost: one space narrower, or wider
// within the budget. It reports whether there is one.
func (g *greedy) move(spaces []*coupling.Space, wider bool) bool {
	var best step
	bestWorth := math.Inf(-1)
	if wider {
		bestWorth = 0
	}
	for _, sp := range spaces {
		curve, k := g.seen.curves[sp], g.widths[sp]
		next := step{sp, g.step(sp, k, g.b)}
		if wider {
			next.to = g.wider(sp, k)
		}
		if curve == nil || next.to > sp.Width || wider && next.to == k || !wider && next.to >= k {
			continue
		}
		change := g.change(next)
		if wider && (change <= 0 || g.cost+change > g.limit) || !wider && change >= 0 {
			continue
		}
		if worth := (curve[k] - curve[next.to]) / math.Abs(change); worth > bestWorth {
			best, bestWorth = next, worth
		}
	}
	if best.space == nil {
		return false
	}
	g.cost += g.change(best)
	g.forget(best.space)
	g.widths[best.space] = best.to
	g.w.Set(best.space, best.to)
	return true
}

// forget what depends on the width of a space, which is about to change.
func (g *greedy) forget(s *coupling.Space) {
	g.ledger.beside(s, func(other *coupling.Space) {
		k := g.widths[other]
		delete(g.known, step{other, g.step(other, k, g.b)})
		delete(g.known, step{other, g.wider(other, k)})
	})
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

// mostProbed is how many spaces are tried, times the nodes of the model, of which each trial runs
// all: it bounds work that would grow with the square of the depth. A vision transformer of 24 layers
// has 72 spaces and some 600 nodes.
const mostProbed = 50_000

// observe looks at the data, once for all attempts at one subject, and estimates, for every space
// that can be observed and every number of channels it may keep, how far the model's predictions
// move (teach.Judge). How much of what consumers compute is lost is known for every number
// (choose.Evidence.Lost); what that does to the predictions is measured for some, by
// narrowing the space alone, and interpolated. Where there are too many spaces to try all, the
// others are taken to be like those before and behind them.
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
	var shown []*coupling.Space
	lost := map[*coupling.Space][]float64{}
	for _, sp := range free {
		if evidence[sp].Observed() {
			shown = append(shown, sp)
			if lost[sp], err = evidence[sp].Lost(sp, c.selects[sp]); err != nil {
				return nil, fmt.Errorf("space %q: %w", sp.Name, err)
			}
		}
	}
	seen := &observed{s, evidence, map[*coupling.Space][]float64{}}
	kinds := sampled(shown, max(1, mostProbed/max(1, len(s.Graph.Nodes))))
	tell, tried, all := c.Stage("allocate"), 0, 0
	for _, alike := range kinds {
		all += len(alike.tried)
	}
	for _, alike := range kinds {
		var known []response
		for _, sp := range alike.tried {
			r, err := c.probe(ctx, contest, seen, sp, lost[sp])
			if err != nil {
				return nil, err
			}
			known = append(known, r)
			tried++
			tell(tried, all)
		}
		for i, sp := range alike.all {
			curve := make([]float64, len(lost[sp]))
			for k, x := range lost[sp] {
				curve[k] = alike.at(known, i, x)
			}
			seen.curves[sp] = curve
		}
	}
	c.seen = seen
	return seen, nil
}

// probe narrows a space alone, and measures how far predictions move; lost is what is lost by the
// number of its channels.
func (c *compression) probe(ctx context.Context, contest *pipeline.Contest, seen *observed, sp *coupling.Space, lost []float64) (response, error) {
	known := response{{0, 0}}
	for _, share := range probes {
		k := c.probed(sp, share)
		last := known[len(known)-1]
		if k >= sp.Width || lost[k] <= last[0] {
			continue
		}
		alone := &allocation{widths: map[*coupling.Space]int{sp: k}, evidence: seen.evidence}
		moved, err := contest.Try(ctx, false, c.making(seen.subject, c.plan(seen.subject, alone), c.report()))
		if err != nil {
			return nil, err
		}
		known = append(known, [2]float64{lost[k], max(moved, last[1])})
	}
	return known, nil
}

// A response tells how far predictions move when of what the consumers of a space compute a share is
// lost: the piecewise linear function through points with growing abscissae, continued beyond the
// last.
type response [][2]float64

func (points response) at(x float64) float64 {
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

// A sample is some of the spaces of a kind, evenly spread, in the order of the model.
type sample struct {
	all, tried []*coupling.Space
	places     []int // of those tried among all
}

// sampled parts spaces by kind, residual streams from others, and takes so many of them, no less than
// one of each kind: all if they are no more.
func sampled(spaces []*coupling.Space, most int) []*sample {
	type kind struct{ residual, linear, groups bool }
	var out []*sample
	by := map[kind]*sample{}
	for _, sp := range spaces {
		k := kind{sp.Residual, sp.Linear, sp.Groups > 1}
		if by[k] == nil {
			by[k] = &sample{}
			out = append(out, by[k])
		}
		by[k].all = append(by[k].all, sp)
	}
	every := (len(spaces) + most - 1) / most
	for _, s := range out {
		for i := min(every, len(s.all)) / 2; i < len(s.all); i += every {
			s.tried, s.places = append(s.tried, s.all[i]), append(s.places, i)
		}
	}
	return out
}

// at is what the i-th space would answer: something between the responses of those tried before and
// behind it.
func (s *sample) at(known []response, i int, x float64) float64 {
	next, found := slices.BinarySearch(s.places, i)
	switch {
	case found || next == 0:
		return known[next].at(x)
	case next == len(known):
		return known[next-1].at(x)
	}
	before, behind := s.places[next-1], s.places[next]
	t := float64(i-before) / float64(behind-before)
	return (1-t)*known[next-1].at(x) + t*known[next].at(x)
}

// step is the next smaller width that is tried: a sixteenth of the space less, in multiples, down
// to its floor.
func (c *compression) step(s *coupling.Space, k int, b budget) int {
	if c.clock != nil {
		return max(atMost(c.grid(s), k-max(1, s.Width/16)), c.least(s, b), len(s.Pieces))
	}
	m := c.multiple(s)
	d := max(1, s.Width/16/m) * m
	return max(k-d, c.least(s, b), len(s.Pieces))
}
