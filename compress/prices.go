package compress

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

// An observed is what the data say about the moves of a subject, whatever the budget.
type observed struct {
	subject  *edit.Subject
	evidence map[*coupling.Space]*choose.Evidence
	// curves say how far predictions move where a space keeps so many of its channels, and answers how
	// far where of what the consumers compute a share is lost.
	curves  map[*coupling.Space][]float64
	answers map[*coupling.Space]func(lost float64) float64
	blocks  []*blockPrice
	ranks   []*rankPrice
	// together says how far predictions move without several blocks, by their names.
	together map[string]float64
	all      bool // blocks and ranks have been looked at
}

// A blockPrice says how far predictions move without a block.
type blockPrice struct {
	block *coupling.Block
	moved float64
}

// A rankPrice says how far predictions move where an operator becomes two.
type rankPrice struct {
	factors
	// loses is the share of what it computes that is lost, by rank: an estimate where the second of the
	// two reads columns of a kernel.
	loses []float64
	// steps are the ranks that are tried, and curve has a number for each rank; for 0, one operator, it
	// is 0.
	steps []int
	curve []float64
}

// judgeSamples is the number of samples on which, and on variants of which, predictions are compared.
// What a model knows by heart of its calibration inputs survives moves that variants do not: on
// digits a layer of a small ResNet could lose most of its directions, and a block could go, at a
// tenth of the price that is paid on others.
const judgeSamples = 67

// judgedMACs is the number of multiply-accumulates in one comparison of predictions from which on fewer
// samples are compared, but leastJudged at least: a comparison of a large model would take seconds,
// and a hundred and more are made. Where every output decides many things of a sample, as maps and
// lists of boxes do, mapsJudged are as many decisions.
// One sample in mapsEvery is looked at of such a model.
const judgedMACs, leastJudged, mapsJudged, mapsEvery, many = 40e9, 34, 8, 4, 1000

// large reports whether it takes long to compare predictions of the model.
func (c *compression) large() bool { return c.compared() < judgeSamples }

// compared is the number of samples on which predictions of a model are compared, and on variants of
// which.
func (c *compression) compared() int {
	least := leastJudged
	if c.decisions() >= many {
		least = mapsJudged
	}
	return min(max(int(judgedMACs/(judgedEach*max(c.size.MACs, 1))), least), judgeSamples)
}

// tried is how many of so many samples are enough while moves and candidates are compared: of a large
// model whose outputs decide many things each, a few.
func (c *compression) tried(samples int) int {
	if c.large() && c.decisions() >= many {
		return (samples + mapsEvery - 1) / mapsEvery
	}
	return samples
}

// priced are the samples that moves are chosen by while they are priced.
func (c *compression) priced() *dataset.Data {
	fit := c.Price().Fit
	return fit.Sample(c.tried(fit.Len()), 1)
}

// decisions is how many things an output decides of one sample, of the output that decides fewest:
// a class, a vector or a number each.
func (c *compression) decisions() int {
	if c.analysis == nil || len(c.Report.Outputs) == 0 {
		return 1
	}
	fewest := math.MaxInt
	for _, o := range c.Report.Outputs {
		n := 1
		for k, a := range c.analysis.Activations[o.Name] {
			if k > 0 && (k != o.Axis || o.Task == eval.Regress) {
				n *= max(a.Size(), 1)
			}
		}
		fewest = min(fewest, n)
	}
	return fewest
}

// probes are the shares of its channels at which a space is tried: of a large model under a budget
// that leaves most of it, under which hardly a space gets so narrow, not at the smallest.
func (c *compression) probes() []float64 {
	all := []float64{0.75, 0.5, 0.25}
	if most := max(c.o.MACs, c.o.Params, c.o.Latency.Share); most >= mildBudget && c.large() {
		return all[:2]
	}
	return all
}

// mildBudget is the share that a budget leaves most of a model from.
const mildBudget = 0.6

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
	evidence, err := choose.Observe(ctx, []choose.Parent{{Subject: s}}, free, c.selection(c.priced()))
	if err != nil {
		return nil, err
	}
	contest, err := c.pricing(ctx, s)
	if err != nil {
		return nil, err
	}
	defer contest.Close()
	tell := c.Stage("allocate")
	tell(0, 0)
	shown := slices.DeleteFunc(slices.Clone(free), func(sp *coupling.Space) bool { return !evidence[sp].Observed() })
	lost, err := c.losses(ctx, shown, evidence)
	if err != nil {
		return nil, err
	}
	seen := &observed{
		subject: s, evidence: evidence, curves: map[*coupling.Space][]float64{}, answers: map[*coupling.Space]func(float64) float64{}, together: map[string]float64{},
	}
	kinds := sampled(shown, seen.most())
	tried, all := 0, 0
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
			seen.answers[sp] = func(x float64) float64 { return alike.at(known, i, x) }
			curve := make([]float64, len(lost[sp]))
			for k, x := range lost[sp] {
				curve[k] = seen.answers[sp](x)
			}
			seen.curves[sp] = curve
		}
	}
	c.seen = seen
	return seen, nil
}

// losses says of every space, and every number of channels that it may keep, how much of what its
// consumers compute is lost. Spaces are worked on side by side, as far as there is memory.
func (c *compression) losses(ctx context.Context, spaces []*coupling.Space, evidence map[*coupling.Space]*choose.Evidence) (map[*coupling.Space][]float64, error) {
	room := stats.RoomIn(c.Memory).Bytes
	memory := semaphore.NewWeighted(room)
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(cmp.Or(c.Threads, runtime.GOMAXPROCS(0)))
	all := make([][]float64, len(spaces))
	for i, sp := range spaces {
		bytes := min(evidence[sp].LossBytes(), room)
		if err := memory.Acquire(work, bytes); err != nil {
			break // another has failed, or all is to end
		}
		group.Go(func() (err error) {
			defer memory.Release(bytes)
			defer guard.At(&err, func() string { return fmt.Sprintf("space %q", sp.Name) })
			if all[i], err = evidence[sp].Lost(sp, c.selects[sp]); err != nil {
				return fmt.Errorf("space %q: %w", sp.Name, err)
			}
			return nil
		})
	}
	if err := cmp.Or(group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	out := map[*coupling.Space][]float64{}
	for i, sp := range spaces {
		out[sp] = all[i]
	}
	return out, nil
}

// probe narrows a space alone, and measures how far predictions move; lost is what is lost by the
// number of its channels.
func (c *compression) probe(ctx context.Context, contest *pipeline.Contest, seen *observed, sp *coupling.Space, lost []float64) (response, error) {
	known := response{{0, 0}}
	for _, share := range c.probes() {
		k := c.probed(sp, share)
		last := known[len(known)-1]
		if k >= sp.Width || lost[k] <= last[0] {
			continue
		}
		alone := &allocation{widths: map[*coupling.Space]int{sp: k}, evidence: seen.evidence}
		moved, err := contest.Try(ctx, false, c.making(seen.subject, c.plan(seen.subject, alone), &moves{}, c.report()))
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

// pricing is the contest that moves are measured in, one by one, on samples that no channel was
// chosen by. What is fitted for that is fitted on few.
func (c *compression) pricing(ctx context.Context, s *edit.Subject) (*pipeline.Contest, error) {
	price := c.Price()
	contest, err := c.Contest(ctx, teach.Parents{{Subject: s, Share: 1}}, price.Fit.Sample(c.tried(quickSamples), 1), teach.Judged(price.Held.Sample(c.compared(), 0)))
	if err != nil {
		return nil, err
	}
	return contest, contest.Reuse(s)
}

// rounding is a divergence that single precision alone may bring about.
const rounding = 1e-7

// try measures how far predictions move after some moves alone.
func (seen *observed) try(ctx context.Context, c *compression, contest *pipeline.Contest, m *moves) (float64, error) {
	moved, err := contest.Try(ctx, false, c.making(seen.subject, c.plan(seen.subject, &allocation{}), m, c.report()))
	if moved < rounding {
		moved = 0
	}
	return moved, err
}

// observeMoves measures what blocks and ranks cost, once.
func (c *compression) observeMoves(ctx context.Context, b budget, seen *observed) error {
	if seen.all {
		return nil
	}
	contest, err := c.pricing(ctx, seen.subject)
	if err != nil {
		return err
	}
	defer contest.Close()
	if c.may(Depth) {
		if err := c.priceBlocks(ctx, contest, seen); err != nil {
			return err
		}
	}
	if c.may(Rank) {
		if err := c.priceRanks(ctx, contest, b, seen); err != nil {
			return err
		}
	}
	seen.all = true
	return nil
}

// most is how many moves of a kind are tried.
func (seen *observed) most() int { return max(1, mostProbed/max(1, len(seen.subject.Graph.Nodes))) }

// spaced are so many of a list, evenly spread, or all if they are no more.
func spaced[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	out := make([]T, most)
	for i := range out {
		out[i] = list[i*len(list)/most]
	}
	return out
}

func (c *compression) priceBlocks(ctx context.Context, contest *pipeline.Contest, seen *observed) error {
	blocks := spaced(seen.subject.Analysis.Blocks(), seen.most())
	for i, b := range blocks {
		if slices.ContainsFunc(b.Nodes, c.excludes) {
			continue
		}
		moved, err := seen.try(ctx, c, contest, &moves{blocks: []*coupling.Block{b}})
		if err != nil {
			return err
		}
		if !math.IsInf(moved, 0) {
			seen.blocks = append(seen.blocks, &blockPrice{b, moved})
		}
		c.Stage("price blocks")(i+1, len(blocks))
	}
	return nil
}

// mostTogether is the number of sets of blocks that are measured.
const mostTogether = 8

// measureTogether measures how far predictions move without the first two, three… of some blocks, and
// reports whether anything is new: two neighbours may cost more than both alone, since what makes up
// for the one has gone with the other.
func (c *compression) measureTogether(ctx context.Context, seen *observed, blocks []*coupling.Block) (news bool, err error) {
	var contest *pipeline.Contest
	for n := 2; n <= len(blocks) && len(seen.together) < mostTogether; n++ {
		key := keyOf(blocks[:n])
		if _, known := seen.together[key]; known {
			continue
		}
		if contest == nil {
			if contest, err = c.pricing(ctx, seen.subject); err != nil {
				return false, err
			}
			defer contest.Close()
		}
		if seen.together[key], err = seen.try(ctx, c, contest, &moves{blocks: blocks[:n]}); err != nil {
			return false, err
		}
		news = true
		c.Stage("price blocks together")(n-1, min(len(blocks)-1, mostTogether))
	}
	return news, nil
}

func keyOf(blocks []*coupling.Block) string {
	var names []string
	for _, b := range blocks {
		names = append(names, b.Add.GetOutput()[0])
	}
	slices.Sort(names)
	return strings.Join(names, "\x00")
}

// marginal is how much further predictions move without a block where others have gone: as was
// measured, or else as much as alone, in proportion to what the others move together.
func (seen *observed) marginal(p *blockPrice, gone []*coupling.Block) float64 {
	without, known := seen.without(gone)
	if all, ok := seen.without(append(slices.Clone(gone), p.block)); ok && known {
		return max(all-without, 0)
	}
	sum := 0.0
	for _, q := range seen.blocks {
		if slices.Contains(gone, q.block) {
			sum += q.moved
		}
	}
	if known && without > sum && sum > 0 {
		return p.moved * without / sum
	}
	return p.moved
}

// without is how far predictions move without some blocks, if that is known.
func (seen *observed) without(blocks []*coupling.Block) (moved float64, known bool) {
	switch len(blocks) {
	case 0:
		return 0, true
	case 1:
		for _, p := range seen.blocks {
			if p.block == blocks[0] {
				return p.moved, true
			}
		}
	}
	moved, known = seen.together[keyOf(blocks)]
	return moved, known
}

// priceRanks estimates what it costs to make two of every operator for which that may pay. How much
// of what it computes is lost at every rank is known from how its outputs vary; what that does to
// the predictions is measured where it seems to pay best.
func (c *compression) priceRanks(ctx context.Context, contest *pipeline.Contest, b budget, seen *observed) error {
	s := seen.subject
	var all []*rankPrice
	var linear []*onnxio.Linear
	for i := range s.Analysis.Ops {
		op := &s.Analysis.Ops[i]
		l, why := edit.Factorable(s.Graph, s.Analysis, op.Node)
		if why != "" || c.excludes(op.Node) {
			continue
		}
		p := &rankPrice{factors: factorsOf(s.Analysis, op, l)}
		if p.steps = c.rankSteps(p, b, s); len(p.steps) > 0 && p.large() == "" {
			all, linear = append(all, p), append(linear, l)
		}
	}
	all, linear = spaced(all, seen.most()), spaced(linear, seen.most())
	var of []stats.Channels
	for _, l := range linear {
		if edit.Across(l) == 1 {
			of = append(of, refit.Made(l))
		}
	}
	spreads, err := c.spreads(ctx, s, of)
	if err != nil {
		return err
	}
	var tries []rankTry
	tell, most := c.Stage("price ranks"), c.ranked()
	for i, p := range all {
		tell(i+1, len(all)+most)
		if p.across == 1 {
			p.spread, spreads = spreads[0], spreads[1:]
		}
		if !p.estimate(s.Graph, linear[i]) {
			continue
		}
		if at, price := seen.promising(p); at > 0 {
			tries = append(tries, rankTry{p, at, price / float64(max(p.op.MACs(nil), 1))})
		}
	}
	// Those that seem to pay best, in the order of the model.
	best := slices.Clone(tries)
	slices.SortStableFunc(best, func(x, y rankTry) int { return cmp.Compare(x.worth, y.worth) })
	best = best[:min(most, len(best))]
	for i, t := range tries {
		if t.worth == 0 || slices.Contains(best, t) {
			tell(len(all)+most*i/len(tries), len(all)+most)
			if err := c.priceRank(ctx, contest, seen, t.rankPrice, t.rank); err != nil {
				return err
			}
		}
	}
	return nil
}

// spreads looks at how the channels of activations vary.
func (c *compression) spreads(ctx context.Context, s *edit.Subject, of []stats.Channels) ([]*stats.Spread, error) {
	if len(of) == 0 {
		return nil, nil
	}
	size := func(tensor string) int64 { return stats.SizeOf(s.Analysis, tensor) }
	return stats.Spreads(ctx, s.Model, c.priced(), of, size, c.Memory, dataset.StreamOptions{Batch: c.Batch, Threads: c.Threads})
}

// mostRanked bounds the number of operators whose ranks are measured, fewRanked that of a large model,
// of which each costs as much as a space.
const mostRanked, fewRanked = 40, 10

// ranked is the number of operators whose ranks are measured.
func (c *compression) ranked() int {
	if c.large() {
		return fewRanked
	}
	return mostRanked
}

// A rankTry is an operator at a rank that may pay; worth is what it seems to cost for what is saved, 0
// where nothing is known.
type rankTry struct {
	*rankPrice
	rank  int
	worth float64
}

// priceRank measures what an operator costs at a rank and, since a little that is lost may not be
// seen in the predictions, at about half of it.
func (c *compression) priceRank(ctx context.Context, contest *pipeline.Contest, seen *observed, p *rankPrice, rank int) error {
	known := response{{0, 0}}
	for _, r := range []int{rank, max(rank/2, p.steps[0])} {
		last := known[len(known)-1]
		if p.lost(r) <= last[0] {
			continue
		}
		moved, err := seen.try(ctx, c, contest, p.alone(r))
		if err != nil {
			return err
		}
		if !math.IsInf(moved, 0) {
			known = append(known, [2]float64{p.lost(r), max(moved, last[1])})
		}
	}
	// Further down predictions may move ever faster.
	p.steps = slices.DeleteFunc(p.steps, func(r int) bool { return p.lost(r) > known[len(known)-1][0] })
	p.curve = make([]float64, len(p.loses))
	for r := 1; r < len(p.curve); r++ {
		p.curve[r] = known.at(p.lost(r))
	}
	seen.ranks = append(seen.ranks, p)
	return nil
}

// leastSaved is the share of an operator that has to be saved for it to become two, since two take
// longer to run than one that costs as much.
const leastSaved = 0.2

// operatorMACs is the number of multiply-accumulates in whose time onnxruntime begins and ends one
// operator more, on two threads some microseconds: a kernel that becomes rows and columns has to save
// as many. A small network for digits took longer at half of its multiply-accumulates than whole
// without that.
const operatorMACs = 250e3

// rankSteps are the ranks that an operator may have as two, from the lowest: multiples at which
// enough is saved, of weights and of time where that is asked for, a sixteenth of the full rank apart,
// and not below the floor.
func (c *compression) rankSteps(p *rankPrice, b budget, s *edit.Subject) (out []int) {
	given := c.o.Multiple
	if c.clock != nil {
		given = c.fine()
	}
	m := channels.MultipleOfRank(p.op.Node, p.full(coupling.Widths{}), given)
	saves := func(rank int) bool { return true }
	switch {
	case b.unit == inMACs && p.across > 1:
		saves = func(rank int) bool {
			left := float64(p.at(rank).elements(nil)) / float64(p.weight.Len())
			return (1-left)*float64(p.op.MACs(nil)) >= operatorMACs
		}
	case b.unit == inLatency:
		node, p := p.op.Node, c.clock.predictor(c, s.Analysis)
		saves = func(rank int) bool { return p.Node(node, nil, rank) <= (1-leastSaved)*p.Node(node, nil, 0) }
	}
	full := p.full(coupling.Widths{})
	d := max(1, full/16/m) * m
	least := max(1, int(math.Ceil(b.floor*float64(full))))
	for r := (least + m - 1) / m * m; r < full; r += d {
		if float64(p.at(r).elements(nil)) <= (1-leastSaved)*float64(p.weight.Len()) && saves(r) {
			out = append(out, r)
		}
	}
	return out
}

// alone is an operator of a rank as the only move.
func (p *rankPrice) alone(rank int) *moves {
	return &moves{ranks: map[string]factors{p.op.Weight: p.at(rank)}}
}

// lost is the share of what the operator computes that is lost at a rank.
func (p *rankPrice) lost(rank int) float64 { return p.loses[min(rank, len(p.loses)-1)] }

// kernelLoss and kernelPower tell what a convolution loses of what it computes where its kernel loses a
// share of its squares: times the first, to the power of the second, since neighbouring pixels are
// alike and the second operator is refitted. For twenty layers of a ResNet-20 and a VGG11 at 75, 50 and
// 30 % of their cost that is right within a factor of four.
const kernelLoss, kernelPower = 0.6, 1.5

// estimate finds out what is lost by rank, and reports whether that is known.
func (p *rankPrice) estimate(g *onnxio.Graph, l *onnxio.Linear) bool {
	var values []float64
	var err error
	switch {
	case p.across > 1:
		values, err = refit.KernelValues(g, l)
	case p.spread == nil || len(p.spread.Mean) != p.outputs.Size():
		return false
	default:
		values, _, err = p.spread.Directions(true)
	}
	if err != nil {
		return false // the numbers are none, or beyond all measure
	}
	total := floats.Sum(values)
	p.loses = make([]float64, len(values)+1)
	rest := 0.0
	for r, v := range slices.Backward(values) {
		if rest += v; !(total > 0) {
			continue
		}
		p.loses[r] = rest / total
		if p.across > 1 {
			p.loses[r] = kernelLoss * math.Pow(p.loses[r], kernelPower)
		}
	}
	return true
}

// promising is the rank at which an operator as two may serve better than narrower spaces: what the
// operator loses moves predictions as it does where its inputs are narrowed, as far as is known, and
// for what is saved that has to be less than what narrowing its inputs or its outputs costs. It is 0
// where there is none, and one in the middle where neither can be narrowed. price is how far
// predictions seem to move for all of the operator's cost.
func (seen *observed) promising(p *rankPrice) (rank int, price float64) {
	best, known := math.Inf(1), false
	for _, sp := range seen.subject.Analysis.Spaces {
		answer := seen.answers[sp]
		touches := slices.ContainsFunc(sp.Uses, func(u coupling.Use) bool { return u.Node == p.op.Node })
		if answer == nil || !touches {
			continue
		}
		known = true
		for _, r := range p.steps {
			left := float64(p.at(r).elements(nil)) / float64(p.weight.Len())
			k := int(left * float64(sp.Width)) // channels with which the operator costs as much
			price := answer(p.lost(r))
			if narrow := seen.curves[sp][max(k, 1)]; price <= narrow && price/(1-left) < best {
				best, rank = price/(1-left), r
			}
		}
	}
	if !known {
		return p.steps[len(p.steps)/2], 0
	}
	return rank, best
}
