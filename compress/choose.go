package compress

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/teach"
)

// A Candidate is a way to narrow the model that was made and judged whole, on samples that it was
// neither chosen by nor fitted on, and variants of them.
type Candidate struct {
	Name Kind `json:"name"`
	// Size is that of the model.
	Size Size `json:"size"`
	// Divergence from the original's predictions; see teach.Judge.
	Divergence float64 `json:"divergence"`
	// Refitted is set where the model was refitted before it was judged: not one by weights, nor one
	// that was many times further off than another before any refit.
	Refitted bool `json:"refitted"`
	// Blocks is the number of residual blocks that are dropped, and Ranks that of operators that become
	// two.
	Blocks int  `json:"blocks,omitempty"`
	Ranks  int  `json:"ranks,omitempty"`
	Taken  bool `json:"taken"`
}

// Kind says how a candidate's widths and channels were chosen.
type Kind string

const (
	// Allocated widths are chosen by measured predictions, space by space, perhaps beside other moves.
	Allocated Kind = "allocated"
	// Mixed widths lie halfway between allocated and uniform ones.
	Mixed Kind = "mixed"
	// Even widths are an equal share of every space.
	Even Kind = "uniform"
	// Blind is an equal share of every space too; channels are merged by weights, and nothing is
	// refitted, since the data are few.
	Blind Kind = "by weights"
)

const (
	// mostJudged is how many samples at most candidates are judged on.
	mostJudged = 100
	// quickSamples is the number of samples that candidates are refitted on.
	quickSamples = 100
	// hopeless is how many times further from the original than a candidate before it another may be
	// before any refit, to be refitted at all: a refit takes longer than all other things that are
	// done with a candidate. Of twelve contests (two ResNets, a VGG, a perceptron, two small networks
	// for digits, at a quarter to three quarters of their multiply-accumulates) the best after a
	// refit was 1.22 times further off than the best before it in one, and 1.04 in the next.
	hopeless = 2
)

// choose makes the candidates of a budget, of which even is one with equal shares, judges them as whole models, and returns the widths of
// the best. What moves predictions when a space is narrowed alone does not add up over spaces, so
// that an allocation may be worse than equal shares. Where there is one candidate only, nothing is
// measured. The result is nil where none meets the budget.
func (c *compression) choose(ctx context.Context, s *edit.Subject, b budget, even *allocation, report *Report) (*allocation, error) {
	if !pipeline.Changes(even.widths) && b.unit == inChannels {
		return even, nil
	}
	data := c.Report.Split.Fit
	same, err := pipeline.AllAlike(s.Model, data)
	if err != nil || same {
		even.kind = Blind
		return even, err
	}
	if err := c.decide(ctx, s, even.widths); err != nil {
		return nil, err
	}
	few, allocates := data.Len() < pipeline.FewSamples, b.unit != inChannels && !c.o.Uniform
	if !few && !allocates {
		return even, nil
	}
	all := []*allocation{even}
	if allocates {
		if all, err = c.allocations(ctx, s, b, even); err != nil {
			return nil, err
		}
	}
	if few {
		all = append(all, &allocation{kind: Blind, widths: even.widths})
	}
	if c.taken != nil { // another attempt at the same size
		if i := slices.IndexFunc(all, c.taken.like); i >= 0 {
			return all[i], nil
		}
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	best, err := c.judge(ctx, s, all, report)
	if err == nil && b.unit == inBytes {
		c.taken = best
	}
	return best, err
}

// decide finds out of which streams channels are selected though they could nearly be rotated: each
// is narrowed alone, both ways, refitted on some samples and judged on others.
func (c *compression) decide(ctx context.Context, s *edit.Subject, widths map[*coupling.Space]int) error {
	if c.selects != nil {
		return nil
	}
	c.selects = map[*coupling.Space]bool{}
	for _, sp := range s.Analysis.Spaces {
		if k, ok := widths[sp]; !ok || k == sp.Width || !sp.Stream.Rotates() || sp.Stream.Skewed == "" {
			continue
		}
		price := c.Price()
		contest, err := c.Contest(ctx, teach.Parents{{Subject: s, Share: 1}}, price.Fit.Sample(c.tried(quickSamples), 1), price.Held.Sample(c.tried(mostJudged), dataset.FileOrder))
		if err != nil {
			return err
		}
		var moved [2]float64
		for i, selects := range []bool{false, true} {
			c.selects[sp] = selects
			alone := &allocation{widths: map[*coupling.Space]int{sp: widths[sp]}}
			if moved[i], err = contest.Try(ctx, true, c.making(s, c.plan(s, alone), &moves{}, c.report())); err != nil {
				return err
			}
		}
		c.selects[sp] = moved[1] < moved[0]
	}
	return nil
}

// allocations are the ways to meet a budget that what the data say leads to, and an equal share if
// that meets it.
func (c *compression) allocations(ctx context.Context, s *edit.Subject, b budget, even *allocation) ([]*allocation, error) {
	var free []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if _, ok := even.widths[sp]; ok || c.may(Width) && c.inner(sp) {
			free = append(free, sp)
		}
	}
	seen, err := c.observe(ctx, s, free)
	if err != nil {
		return nil, err
	}
	var all []*allocation
	timed := even.took > 0 && even.took <= 1+late // whatever the table says
	if timed || c.cost(s.Analysis, b, even.shaped(s.Analysis)) <= c.limit(b) || !c.moving(b) {
		all = append(all, even)
		a, err := c.settled(ctx, s, b, func(b budget) (*allocation, error) { return c.allocate(b, even, seen, free), nil })
		if err != nil {
			return nil, err
		}
		if !maps.Equal(a.widths, even.widths) {
			even.evidence = seen.evidence
			mixed, err := c.settled(ctx, s, b, func(b budget) (*allocation, error) { return c.mixture(s, b, a, even), nil })
			if err != nil {
				return nil, err
			}
			all = []*allocation{a, mixed, even}
		}
	}
	if !c.moving(b) {
		return within(all), nil
	}
	if err := c.observeMoves(ctx, b, seen); err != nil {
		return nil, err
	}
	a, err := c.settled(ctx, s, b, func(b budget) (*allocation, error) { return c.allocateAll(ctx, b, even, seen, free) })
	if err != nil {
		return nil, err
	}
	if a != nil {
		all = append(all, a)
	}
	return within(all), nil
}

// judge refits every candidate on some samples, but for those that are far off, and returns the one
// whose predictions are nearest to the original's on others. Few samples are parted several ways,
// and the mean counts.
func (c *compression) judge(ctx context.Context, s *edit.Subject, all []*allocation, report *Report) (*allocation, error) {
	tell, end := c.Inside("compare")
	defer end()
	out := make([]Candidate, len(all))
	folds, judged := c.Folds(), 0
	for k, fold := range folds {
		held := fold.Held.Sample(c.tried(mostJudged), dataset.FileOrder)
		judged += held.Len()
		contest, err := c.Contest(ctx, teach.Parents{{Subject: s, Share: 1}}, fold.Fit.Sample(c.tried(quickSamples), 1), teach.Judged(held))
		if err != nil {
			return nil, err
		}
		nearest := math.Inf(1)
		for n, i := range c.inTurn(all) {
			a, made := all[i], c.report()
			d, refitted, err := contest.TryIf(ctx, func(edited float64) bool {
				nearest = min(nearest, edited)
				return a.kind != Blind && (len(folds) > 1 || edited <= hopeless*nearest)
			}, c.making(s, c.plan(s, a.within(len(folds) > 1)), &a.moves, made))
			if err != nil {
				return nil, err
			}
			out[i] = Candidate{Name: a.kind, Size: made.After, Divergence: out[i].Divergence + d/float64(len(folds)), Refitted: refitted, Blocks: len(a.blocks), Ranks: len(a.ranks)}
			tell(k*len(all)+n+1, len(folds)*len(all))
		}
	}
	best, least := 0, math.Inf(1)
	for i, a := range all {
		d := out[i].Divergence
		if a.kind == Blind && judged < pipeline.FewJudged {
			d *= pipeline.Doubt
		}
		if d < least {
			best, least = i, d
		}
	}
	out[best].Taken = true
	report.Candidates = append(report.Candidates, out...)
	return all[best], nil
}

// inTurn is the order in which allocations are judged. Of a large model those with other moves than
// widths come first: they are mostly the nearest, and others that are far off are not refitted then.
func (c *compression) inTurn(all []*allocation) (order []int) {
	for i := range all {
		order = append(order, i)
	}
	if !c.large() {
		return order
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch a, b := all[i].none(), all[j].none(); {
		case a == b:
			return 0
		case b:
			return -1
		}
		return 1
	})
	return order
}

// within is an allocation as it is judged. Where every sample judges once, the channels are chosen
// anew: what is known of them is of samples that judge.
func (a *allocation) within(folds bool) *allocation {
	if !folds {
		return a
	}
	return &allocation{kind: a.kind, widths: a.widths, moves: a.moves}
}

// plan narrows a model to the widths of an allocation.
func (c *compression) plan(s *edit.Subject, a *allocation) planner {
	if c.o.Plan != nil {
		return c.carry(s, a.widths)
	}
	return func(ctx context.Context, fit *dataset.Data) (*match.Result, error) {
		if c.Fits() && a.kind != Blind {
			return choose.Select(ctx, s, a.widths, a.evidence, c.selection(fit))
		}
		by := c.Matching
		if a.kind == Blind {
			by.By = match.Weights
		}
		return merged(ctx, s, a.widths, by)
	}
}

// merged narrows a model by its weights, or by what channels are compared by: streams that can be
// are rotated, since no channels of theirs are alike.
func merged(ctx context.Context, s *edit.Subject, widths map[*coupling.Space]int, by match.Options) (*match.Result, error) {
	turned, err := choose.Rotations(s, widths)
	if err != nil {
		return nil, err
	}
	rest := maps.Clone(widths)
	for sp := range turned {
		delete(rest, sp)
	}
	res, err := match.Merge(ctx, s, rest, by)
	if err != nil {
		return nil, err
	}
	maps.Copy(res.Maps, turned)
	return res, nil
}

// mixture lies halfway between two allocations that meet a budget: products of widths do not, so
// that it is taken towards fewer equal shares until it does.
func (c *compression) mixture(s *edit.Subject, b budget, a, even *allocation) *allocation {
	between := func(ratio float64) map[*coupling.Space]int {
		out := map[*coupling.Space]int{}
		for sp, k := range a.widths {
			equal := sp.Width // the dimensions of heads have no equal share
			if _, ok := even.widths[sp]; ok {
				equal = min(even.widths[sp], c.share(ratio, sp, b))
			}
			half := c.rounded(sp, float64(k+equal)/2)
			out[sp] = min(max(half, c.least(sp, b)), sp.Width)
		}
		return out
	}
	ratio := largest(20, func(ratio float64) bool {
		return c.cost(s.Analysis, b, ofWidths(coupling.WidthsOf(between(ratio)))) <= c.limit(b)
	})
	return &allocation{kind: Mixed, widths: between(ratio), evidence: a.evidence}
}
