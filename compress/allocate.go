package compress

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/pipeline"
)

// A plan of widths, and of moves beside them, with what was learnt on the way.
type allocation struct {
	kind     Kind
	widths   map[*coupling.Space]int
	evidence map[*coupling.Space]*choose.Evidence
	moves
	// took is what the model takes, in times of what was asked; 0: it was not timed.
	took float64
}

// like reports whether another allocation is of the same kind.
func (a *allocation) like(b *allocation) bool { return a.kind == b.kind && a.none() == b.none() }

// changes reports whether anything becomes of the model.
func (a *allocation) changes() bool { return pipeline.Changes(a.widths) || !a.none() }

// same reports whether another allocation leads to the same model.
func (a *allocation) same(b *allocation) bool {
	equal := func(f, g factors) bool { return f.rank == g.rank }
	return maps.Equal(a.widths, b.widths) && slices.Equal(a.blocks, b.blocks) && maps.EqualFunc(a.ranks, b.ranks, equal)
}

// key tells allocations of a model apart.
func (a *allocation) key(an *coupling.Analysis) string {
	var parts []string
	for _, sp := range an.Spaces {
		if k, ok := a.widths[sp]; ok && k != sp.Width {
			parts = append(parts, fmt.Sprint(sp.Name, k))
		}
	}
	for weight, f := range a.ranks {
		parts = append(parts, fmt.Sprint(weight, f.rank))
	}
	slices.Sort(parts)
	return strings.Join(parts, "\x00") + "\x00\x00" + keyOf(a.blocks)
}

// shaped is the shape of a model under the allocation.
func (a *allocation) shaped(an *coupling.Analysis) shape {
	return a.shape(an, coupling.WidthsOf(a.widths))
}

// allocate chooses widths that meet the budget: every space loses channels in steps, each time the
// space whose narrowing changes the model's predictions least for each unit of cost saved. Then
// channels are given back where they are worth most, while the budget allows it: the last step down
// may have saved more than was needed. Spaces that cannot be observed keep an equal share, and so
// do all where the others alone cannot give way enough.
func (c *compression) allocate(b budget, even *allocation, seen *observed, free []*coupling.Space) *allocation {
	g := c.greedy(seen.subject.Analysis, b, seen, even.widths)
	if !g.run(free) {
		return &allocation{kind: Allocated, widths: even.widths, evidence: seen.evidence}
	}
	return g.allocation()
}

// allocateAll is allocate with further moves: the cheapest step may be to drop a block too, or to
// make two operators of one. What blocks move together when they are gone is measured for the plan
// that comes out, until no measurement changes it. The result is nil where no such move is worth its
// price, or the budget cannot be met.
func (c *compression) allocateAll(ctx context.Context, b budget, even *allocation, seen *observed, free []*coupling.Space) (*allocation, error) {
	for {
		g := c.greedy(seen.subject.Analysis, b, seen, even.widths)
		g.all = true
		if !g.run(free) || g.none() {
			return nil, nil
		}
		news, err := c.measureTogether(ctx, seen, g.blocks)
		if err != nil {
			return nil, err
		}
		if !news {
			return g.allocation(), nil
		}
	}
}

// inner reports whether the dimensions of attention heads may be narrowed beside the heads: an equal
// share of both would be taken twice.
func (c *compression) inner(sp *coupling.Space) bool {
	return sp.Inner && !sp.Frozen && sp.Width > 1 && c.excluded(sp) == ""
}

// greedy changes the shape of a model step by step.
type greedy struct {
	*compression
	b           budget
	seen        *observed
	widths      map[*coupling.Space]int
	w           coupling.Widths // the same
	cost, limit float64
	ledger      *ledger
	known       map[step]float64 // by how much steps change the cost
	// all: blocks and ranks count too, not widths alone.
	all bool
	moves
	now *shape // of the same widths and moves
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
	g.ranks = map[string]factors{}
	g.now = &shape{widths: g.w, ranks: g.ranks}
	g.cost = c.cost(a, b, *g.now)
	g.ledger = c.ledger(a, b, slices.Collect(maps.Keys(seen.curves)), g.now)
	return g
}

// run makes steps until the budget is met, and reports whether it is.
func (g *greedy) run(spaces []*coupling.Space) bool {
	for g.cost > g.limit {
		if !g.move(spaces, false) {
			return false
		}
	}
	for g.move(spaces, true) {
	}
	maps.DeleteFunc(g.ranks, func(_ string, f factors) bool { return g.now.gone.nodes[f.op.Node] || !f.saves(g.w) })
	return true
}

func (g *greedy) allocation() *allocation {
	return &allocation{kind: Allocated, widths: g.widths, evidence: g.seen.evidence, moves: g.moves}
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

// An option is a step, or another move, that could be made: how much further predictions move and
// by how much the cost changes.
type option struct {
	moved, change float64
	step
	block *blockPrice // which goes, or comes back where the cost grows
	rank  *rankPrice  // which gets the rank to
}

// move makes the step that serves predictions best for its cost, of several that move none the one
// that changes the cost most: one space narrower, a block less or an operator of a lower rank, or one
// space wider or an operator of a higher rank within the budget. It reports whether there is one.
func (g *greedy) move(spaces []*coupling.Space, larger bool) bool {
	var best option
	bestWorth := math.Inf(-1)
	offer := func(o option) {
		if larger && !(o.change > 0 && g.cost+o.change <= g.limit && o.moved < 0) || !larger && o.change >= 0 {
			return
		}
		counts := math.Abs(o.change)
		if !larger {
			counts = min(counts, g.cost-g.limit) // a block may save more than has to be saved
		}
		worth := -o.moved / counts
		if worth > bestWorth || worth == bestWorth && math.Abs(o.change) > math.Abs(best.change) {
			best, bestWorth = o, worth
		}
	}
	g.resizings(spaces, larger, offer)
	if g.all {
		if larger {
			g.returns(offer)
		} else {
			g.drops(offer)
		}
		g.rankings(larger, offer)
	}
	if math.IsInf(bestWorth, -1) {
		return false
	}
	g.take(best)
	return true
}

// resizings offers every space narrower or wider.
func (g *greedy) resizings(spaces []*coupling.Space, wider bool, offer func(option)) {
	for _, sp := range spaces {
		curve, k := g.seen.curves[sp], g.widths[sp]
		next := step{sp, g.step(sp, k, g.b)}
		if wider {
			next.to = g.wider(sp, k)
		}
		if curve == nil || next.to > sp.Width || wider && next.to == k || !wider && next.to >= k || g.now.gone.holds(sp) {
			continue
		}
		offer(option{moved: curve[next.to] - curve[k], change: g.change(next), step: next})
	}
}

// drops offers to do without a block. What was lost inside of it is lost no more then.
func (g *greedy) drops(offer func(option)) {
	an := g.seen.subject.Analysis
	for _, p := range g.seen.blocks {
		if g.now.gone.nodes[p.block.Add] {
			continue
		}
		then := shape{widths: g.w, gone: without(an, append(slices.Clone(g.blocks), p.block)), ranks: g.ranks}
		moved := g.seen.marginal(p, g.blocks)
		for sp, curve := range g.seen.curves {
			if then.gone.holds(sp) && !g.now.gone.holds(sp) {
				moved -= curve[g.widths[sp]]
			}
		}
		for _, q := range g.seen.ranks {
			if then.gone.nodes[q.op.Node] && !g.now.gone.nodes[q.op.Node] {
				moved -= q.curve[g.ranks[q.op.Weight].rank]
			}
		}
		offer(option{moved: moved, change: g.compression.cost(an, g.b, then) - g.cost, block: p})
	}
}

// returns offers to take a block back: what was dropped later may have made up for it.
func (g *greedy) returns(offer func(option)) {
	an := g.seen.subject.Analysis
	for _, p := range g.seen.blocks {
		i := slices.Index(g.blocks, p.block)
		if i < 0 {
			continue
		}
		rest := slices.Delete(slices.Clone(g.blocks), i, i+1)
		then := shape{widths: g.w, gone: without(an, rest), ranks: g.ranks}
		offer(option{moved: -g.seen.marginal(p, rest), change: g.compression.cost(an, g.b, then) - g.cost, block: p})
	}
}

// rankings offers to make two of an operator, with fewer or with more channels between them, or one
// again.
func (g *greedy) rankings(higher bool, offer func(option)) {
	for _, p := range g.seen.ranks {
		has := g.ranks[p.op.Weight]
		if g.now.gone.nodes[p.op.Node] || higher && has.rank == 0 {
			continue
		}
		for _, r := range append(slices.Clone(p.steps), 0) {
			if higher == (r == 0 || has.rank > 0 && r > has.rank) && r != has.rank {
				offer(option{
					moved: p.curve[r] - p.curve[has.rank], change: g.saved(has) - g.saved(p.at(r)), step: step{to: r}, rank: p,
				})
			}
		}
	}
}

// saved is what factors of an operator save.
func (g *greedy) saved(f factors) float64 {
	if f.rank == 0 {
		return 0
	}
	one, two := *g.now, *g.now
	one.ranks, two.ranks = nil, map[string]factors{f.op.Weight: f}
	an := g.seen.subject.Analysis
	switch g.b.unit {
	case inLatency:
		p := g.clock.predictor(g.compression, an)
		return p.Node(f.op.Node, g.w, 0) - p.Node(f.op.Node, g.w, two.rank(f.op.Weight))
	case inMACs:
		return float64(one.macs(f.op) - two.macs(f.op))
	case inBytes:
		return float64(g.storedBytes(an, f.weight, one) - g.storedBytes(an, f.weight, two))
	}
	return float64(one.params(an, f.weight) - two.params(an, f.weight))
}

// take makes a step or move.
func (g *greedy) take(o option) {
	g.cost += o.change
	switch {
	case o.space != nil:
		g.forget(o.space)
		g.widths[o.space] = o.to
		g.w.Set(o.space, o.to)
		return
	case o.block != nil && o.change > 0:
		g.blocks = slices.DeleteFunc(g.blocks, func(b *coupling.Block) bool { return b == o.block.block })
		g.now.gone = without(g.seen.subject.Analysis, g.blocks)
	case o.block != nil:
		g.blocks = append(g.blocks, o.block.block)
		g.now.gone = without(g.seen.subject.Analysis, g.blocks)
		for sp := range g.seen.curves {
			if g.now.gone.holds(sp) {
				g.widths[sp] = sp.Width
				g.w.Set(sp, sp.Width)
			}
		}
	default:
		if delete(g.ranks, o.rank.op.Weight); o.to > 0 {
			g.ranks[o.rank.op.Weight] = o.rank.at(o.to)
		}
	}
	clear(g.known)
}

// forget what depends on the width of a space, which is about to change.
func (g *greedy) forget(s *coupling.Space) {
	g.ledger.beside(s, func(other *coupling.Space) {
		k := g.widths[other]
		delete(g.known, step{other, g.step(other, k, g.b)})
		delete(g.known, step{other, g.wider(other, k)})
	})
}

// step is the next smaller width that is tried: a sixteenth of the space less, in multiples, down
// to its floor.
func (c *compression) step(s *coupling.Space, k int, b budget) int {
	if c.clock != nil {
		return max(atMost(c.grid(s), k-max(1, s.Width/16)), c.least(s, b), len(s.Pieces))
	}
	m := c.grain(s, k-1)
	d := max(1, s.Width/16/m) * m
	return max(k-d, c.least(s, b), len(s.Pieces))
}
