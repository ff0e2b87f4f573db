package compress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Latency is how long one run of the result may take: a share of what the original takes, in (0, 1],
// or a time. The zero value asks for nothing.
type Latency struct {
	Share float64
	Time  time.Duration
}

// A Timing tells how a budget of latency was met. Shares are of what the original takes.
type Timing struct {
	Asked float64 `json:"asked"`
	// Predicted is what the table says of the result.
	Predicted float64 `json:"predicted"`
	// Measured is the share of the result, timed by turns with the original; nil where nothing was
	// timed. BeforeMS and AfterMS are what both took in all but one of ten runs at least, in
	// milliseconds.
	Measured *float64 `json:"measured,omitempty"`
	BeforeMS *float64 `json:"before_ms,omitempty"`
	AfterMS  *float64 `json:"after_ms,omitempty"`
	// Threads worked on one operator.
	Threads int `json:"threads"`
	// Given is set where the table was given, and may be of another machine: predictions were not
	// corrected by what smaller models take on this one.
	Given bool `json:"given_table"`
	// Multiple is the number of channels that the table says kernels work on at once.
	Multiple int `json:"multiple"`
	// Trials are the smaller models that were timed before they were fitted.
	Trials int `json:"trials"`
}

// check finds budgets that cannot be.
func (l Latency) check() error {
	switch {
	case l.Share != 0 && l.Time != 0:
		return pipeline.Mistakef("latency is %g and %s: want one of them", l.Share, l.Time)
	case l.Time < 0:
		return pipeline.Mistakef("latency is %s: want a positive time", l.Time)
	}
	return nil
}

// A clock tells the time that models take.
type clock struct {
	table  *latency.Table
	given  bool
	model  *onnxio.Model // as it came
	whole  float64       // what the table says that it takes, in milliseconds
	asks   eval.LatencyOptions
	of     map[*coupling.Analysis]*latency.Predictor
	grids  map[*coupling.Space][]int
	timed  map[string]float64 // measured shares, by allocations
	silent bool               // models are not timed
	// compare times models side by side.
	compare func(context.Context, []*onnxio.Model, eval.LatencyOptions) ([]eval.Timing, error)
}

// startClock gets a table for the model as it came: what was given, or one of this machine.
func (c *compression) startClock(ctx context.Context, m *onnxio.Model) (err error) {
	k := &clock{
		table: c.o.LatencyTable, given: c.o.LatencyTable != nil, model: m, silent: c.o.NoLatency,
		compare: eval.Latencies, of: map[*coupling.Analysis]*latency.Predictor{}, grids: map[*coupling.Space][]int{}, timed: map[string]float64{},
	}
	k.asks = eval.LatencyOptions{Threads: c.Threads, Data: c.Report.Split.Fit, Shapes: c.Report.Shapes, Within: time.Second}
	if k.asks.Data == nil {
		k.asks.Data = c.Report.Split.Judge
	}
	if k.table == nil {
		o := latency.Options{Threads: c.Threads, Data: k.asks.Data, Shapes: k.asks.Shapes, Trial: c.Trials, Progress: c.Stage("time operators")}
		if k.table, err = latency.Cached(ctx, m, o); err != nil {
			return fmt.Errorf("latency: %w", err)
		}
	} else if _, err := c.Available(); err != nil {
		k.silent = true
	}
	if err := k.table.Covers(c.analysis, c.operator); err != nil {
		return err
	}
	k.whole = k.predict(c, c.analysis, shape{})
	if !(k.whole > 0) {
		return fmt.Errorf("latency table: it says that the model takes no time")
	}
	if ms := k.table.MS; ms > 0 && math.Abs(k.whole/ms-1) > mistaken {
		c.Warnf("the latency table says that the model takes %.3g ms, and that its operators take %.3g: is it of another model?", ms, k.whole)
	}
	if k.table.Doubtful() {
		c.Warnf("the latency table is %.0f%% off even for the models that it was made from: other work on the machine may be why", 100*k.table.Error)
	}
	c.clock = k
	return nil
}

// mistaken is by how much a table and its operators may differ before a word is said.
const mistaken = 0.3

// limit is what a model may be predicted to take, in milliseconds.
func (k *clock) limit(b budget) float64 {
	limit := b.share * k.whole
	if b.ms > 0 {
		limit = b.ms
		if k.table.MS > 0 { // what operators take does not quite add up to what the model takes
			limit *= k.whole / k.table.MS
		}
	}
	return limit / cmp.Or(b.correction, 1)
}

// asked is the share of its time that a budget leaves a model, whatever the table has to be corrected
// by.
func (k *clock) asked(b budget) float64 {
	b.correction = 0
	return k.limit(b) / k.whole
}

// see takes in the analysis of an edited model.
func (c *compression) see(a *coupling.Analysis) {
	c.baseline.see(a)
	if c.clock != nil {
		c.clock.predictor(c, a)
	}
}

// operator is how a node of the analysed model was written.
func (c *compression) operator(n *onnxpb.NodeProto) string { return c.form.Operator(n) }

// predictor tells the time of an analysed model.
func (k *clock) predictor(c *compression, a *coupling.Analysis) *latency.Predictor {
	p := k.of[a]
	if p == nil {
		p = k.table.For(a, c.operator)
		k.of[a] = p
	}
	return p
}

// predict is what an analysed model takes in a shape, in milliseconds.
func (k *clock) predict(c *compression, a *coupling.Analysis, s shape) float64 {
	return k.predictor(c, a).MS(s.timed())
}

// grid lists the widths of a space, ascending, that are worth having: multiples of what is given, or
// of a quarter of the channels that kernels work on at once, but of those with which the model takes the same time the largest alone, and none
// with which it takes longer than with a larger one. Kernels work on blocks of channels.
func (c *compression) grid(s *coupling.Space) []int {
	if g := c.clock.grids[s]; g != nil {
		return g
	}
	m := s.Step(c.fine())
	out := []int{s.Width}
	if an := c.clock.analysisOf(s); an != nil {
		w := coupling.Widths{}
		took := func(k int) float64 {
			w.Set(s, k)
			return c.clock.predict(c, an, ofWidths(w))
		}
		full, first := took(s.Width), min(m, s.Width)
		tell := 0.05 * (full - took(first)) * float64(m) / float64(s.Width) // a part of what a step saves in the mean
		last := full
		for k := (s.Width - 1) / m * m; k > 0; k -= m {
			if t := took(k); t < last-tell {
				out, last = append(out, k), t
			}
		}
	}
	slices.Reverse(out)
	c.clock.grids[s] = out
	return out
}

// fine is the number of channels in whose multiples widths and ranks are tried under a budget of
// latency.
func (c *compression) fine() int {
	return cmp.Or(c.o.Multiple, max(c.clock.table.Multiple()/4, 1))
}

// analysisOf is the analysis that a space is one of.
func (k *clock) analysisOf(s *coupling.Space) *coupling.Analysis {
	for a := range k.of {
		if slices.Contains(a.Spaces, s) {
			return a
		}
	}
	return nil
}

// inGrid is the width of a grid that is nearest to a number of channels, and the larger of two.
func inGrid(grid []int, k float64) int {
	best := grid[0]
	for _, g := range grid[1:] {
		if math.Abs(float64(g)-k) <= math.Abs(float64(best)-k) {
			best = g
		}
	}
	return best
}

// atLeast is the smallest width of a grid that is not below a number of channels, or the largest.
func atLeast(grid []int, k int) int {
	i, _ := slices.BinarySearch(grid, k)
	return grid[min(i, len(grid)-1)]
}

// atMost is the largest width of a grid that is not above a number of channels, or the smallest.
func atMost(grid []int, k int) int {
	i, found := slices.BinarySearch(grid, k)
	if !found {
		i--
	}
	return grid[max(i, 0)]
}

// even gives spaces an equal share. Since widths come in large steps, spaces that a somewhat larger
// share would give one more get it one by one, while the budget allows it.
func (c *compression) even(a *coupling.Analysis, b budget) (*allocation, error) {
	ratio, err := c.ratio(a, b)
	if err != nil {
		return nil, err
	}
	out := &allocation{kind: Even, widths: c.widths(a, b, ratio)}
	if b.unit == inChannels {
		return out, nil // the share is what was asked for
	}
	var order []*coupling.Space
	for _, s := range a.Spaces {
		if k, ok := out.widths[s]; ok && k < s.Width {
			order = append(order, s)
		}
	}
	due := func(s *coupling.Space) float64 {
		return float64(out.widths[s]+c.wider(s, out.widths[s])) / 2 / float64(c.width(s))
	}
	slices.SortStableFunc(order, func(s, t *coupling.Space) int { return cmp.Compare(due(s), due(t)) })
	w, limit := coupling.WidthsOf(out.widths), c.limit(b)
	for _, s := range order {
		k := c.wider(s, out.widths[s])
		if w.Set(s, k); c.cost(a, b, ofWidths(w)) > limit {
			w.Set(s, out.widths[s])
			continue
		}
		out.widths[s] = k
	}
	return out, nil
}

const (
	// over is by how much a model may miss what was asked, under by how much it may do better, and
	// trusted how near to what was predicted it has to come for that not to be corrected.
	over, under, trusted = 0.005, 0.05, 0.01
	// margin is how much less is asked for after a correction: another timing may tell a little more.
	margin = 0.01
	// late is by how much a candidate may take longer than was asked: as much as two timings differ.
	late = 0.03
	// corrections is how often a prediction is corrected by what a model took.
	corrections = 5
)

// settled makes an allocation that meets a budget, or nil. Of one of latency, what it says is checked:
// the small model is timed before anything is fitted, since the values of weights do not matter to
// that, and if it misses what was asked the prediction is corrected, and the allocation made again.
func (c *compression) settled(ctx context.Context, s *edit.Subject, b budget, choose func(budget) (*allocation, error)) (*allocation, error) {
	best, err := choose(b)
	if err != nil || best == nil || b.unit != inLatency || c.clock.silent || c.clock.given {
		return best, err
	}
	asked := c.clock.asked(b)
	a, least := best, math.Inf(1)
	for range corrections {
		if !a.changes() {
			return best, nil
		}
		share, err := c.time(ctx, s, a)
		if err != nil {
			return nil, err
		}
		a.took = share / asked
		if off := missed(a.took); off < least {
			best, least = a, off
		}
		predicted := c.cost(s.Analysis, b, a.shaped(s.Analysis)) / c.clock.whole
		if off := a.took - 1; off <= over && off >= -under || off < 0 && math.Abs(share/predicted-1) <= trusted {
			break
		}
		b.correction = share / predicted * (1 + margin)
		next, err := choose(b)
		switch {
		case errors.Is(err, ErrUnmet): // as it seems now
			return best, nil
		case err != nil:
			return nil, err
		case next == nil || next.same(a):
			return best, nil
		}
		a = next
	}
	return best, nil
}

// believed corrects what the table says where that would be that a budget cannot be met: the narrowest
// model is timed, which may be faster.
func (c *compression) believed(ctx context.Context, s *edit.Subject, b budget) (budget, error) {
	if b.unit != inLatency || c.clock.silent || c.clock.given {
		return b, nil
	}
	least := c.leastCost(s.Analysis, b)
	if least <= c.limit(b) {
		return b, nil
	}
	share, err := c.time(ctx, s, &allocation{kind: Even, widths: c.widths(s.Analysis, b, 0)})
	if err != nil {
		return b, err
	}
	whole, asked := c.clock.whole, c.clock.asked(b)
	if share > asked*(1+late) {
		b.correction = share * whole / least
		return b, nil
	}
	// Between the model as it is and the narrowest one the table is taken to be right in proportion.
	share = min(share, asked)
	b.correction = (1 - 1e-9) * asked * whole / (whole - (whole-least)*(1-asked)/(1-share))
	return b, nil
}

// within leaves out allocations that were timed and take longer than was asked, if others do not.
func within(all []*allocation) []*allocation {
	slow := func(a *allocation) bool { return a.took > 1+late }
	if !slices.ContainsFunc(all, func(a *allocation) bool { return !slow(a) }) {
		return all
	}
	return slices.DeleteFunc(all, slow)
}

// missed is how far a model is from what was asked, in times of that: too slow is worse than too fast.
func missed(share float64) float64 {
	if share > 1+over {
		return 10 * (share - 1)
	}
	return math.Abs(1 - share)
}

// time is the share that a model takes after an allocation, unfitted.
func (c *compression) time(ctx context.Context, s *edit.Subject, a *allocation) (float64, error) {
	key := a.key(s.Analysis)
	if share, known := c.clock.timed[key]; known {
		return share, nil
	}
	child, err := a.unfitted(s)
	if err != nil {
		return 0, err
	}
	if err := s.Reshare(child); err != nil {
		return 0, err
	}
	if child, err = c.form.Restore(child); err != nil {
		return 0, err
	}
	c.Stage("time")(0, 0)
	t, err := c.clock.compare(ctx, []*onnxio.Model{c.clock.model, child}, c.clock.asks)
	if err != nil {
		return 0, err
	}
	share := t[1].QuickMS / t[0].QuickMS
	c.clock.timed[key] = share
	return share, nil
}

// timing starts what is told about a budget of latency; nil for others.
func (c *compression) timing(a *coupling.Analysis, b budget, s shape) *Timing {
	if b.unit != inLatency {
		return nil
	}
	k := c.clock
	return &Timing{
		Asked: k.asked(b), Predicted: k.predict(c, a, s) / k.whole,
		Threads: k.table.Threads, Given: k.given, Multiple: k.table.Multiple(), Trials: len(k.timed),
	}
}

// timeResult times the result by turns with the original. That it cannot be timed takes nothing from
// it.
func (c *compression) timeResult(ctx context.Context, out *onnxio.Model, t *Timing) {
	if t == nil || c.clock.silent {
		return
	}
	o := c.clock.asks
	o.Within = 0
	all, err := c.clock.compare(ctx, []*onnxio.Model{c.clock.model, out}, o)
	if err != nil {
		c.Warnf("the result was not timed: %v", err)
		return
	}
	share := all[1].QuickMS / all[0].QuickMS
	t.Measured, t.BeforeMS, t.AfterMS, t.Threads = &share, &all[0].QuickMS, &all[1].QuickMS, all[0].Threads
}
