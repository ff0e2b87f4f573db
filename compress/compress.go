package compress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/precision"
)

// Options are the settings of a compression. Of Keep, MACs, Params, Size, Latency, MaxDrop and Plan
// at most one is set for Model, none for Into. With none of them Model does what loses nothing much:
// with data it searches for MaxDrop [DefaultDrop], if that is cheap (else the error is an
// [*Undecided]), without it removes what does not matter (Lossless) and no more.
type Options struct {
	// Options say which data are worked with, and how far.
	job.Options
	// Keep gives every space that may change max(1, round(Keep·n)) of its n channels, in (0, 1].
	Keep float64
	// MACs is the share of multiply-accumulates that may remain, Params of parameters, in (0, 1].
	// With data, widths are allocated by measured error for cost saved, unless an equal share of
	// every space, or widths halfway between, serve held-out samples better; without, or if Uniform
	// is set, every space keeps an equal share of its channels.
	MACs, Params float64
	// Size is the most bytes that the model may occupy in its file and external data. Widths are
	// allocated as for Params.
	Size int64
	// Latency is how long one run may take at most. Widths are allocated as for MACs, at what the
	// table says that operators take.
	Latency Latency
	// LatencyTable says what operators take. nil: what they take on this machine, which is measured,
	// unless that has been done before (latency.Cached); what it predicts is then corrected by what
	// narrowed models take.
	LatencyTable *latency.Table
	// NoLatency leaves the result, and what leads to it, untimed under a budget of latency, and the
	// model of a sensitivity.
	NoLatency bool
	// MaxDrop asks for the fewest multiply-accumulates with which accuracy falls by at most this
	// share of the samples that the result is judged on, in (0, 1); where there are no labels,
	// agreement with the original. It needs data. With a Metric it is by what share of the original's
	// number that of the result may be worse, and needs none. No trial is distilled unless Tune is on.
	MaxDrop float64
	// Metric judges under MaxDrop, and in an exploration: a person's own measure.
	Metric eval.Metric
	// Floor is the share of the channels it came with that every space keeps at least, whatever
	// MACs, Params, Size, Latency or MaxDrop ask for, and a single channel at any rate. Zero means
	// 1/8.
	Floor float64
	// DType is what numbers of the result are stored as; "" leaves them as they are. With it no budget
	// need be given: widths stay then. Integers need data.
	DType precision.Type
	// Arithmetic: with float16 as DType, operators compute with it too, but for those whose numbers do
	// not fit it and those that KeepFloat names: patterns for operator types, nodes or their outputs.
	Arithmetic bool
	KeepFloat  []string

	explores bool // several budgets are met, and judged on held-out samples
	// Plan gives spaces their widths, and perhaps their channels.
	Plan *Plan
	// Moves are those that may be made under MACs, Params, Size, Latency and MaxDrop; nil: all. Depth and Rank
	// need a refit on a hundred samples or more, and have no place beside Keep or Uniform.
	Moves []Move
	// Uniform gives every space an equal share under a budget too.
	Uniform bool
	// Exclude lists patterns of node or weight names, in which * stands for any text and ? for any
	// character: a space one of whose producers matches keeps its width.
	Exclude []string
	// KeepResidual leaves every residual stream whole.
	KeepResidual bool
	// Multiple rounds widths to multiples of it where the space is wide enough: channels over all
	// groups, as a kernel sees them; attention heads are counted one by one. Zero means 1, but where
	// a depthwise convolution carries a space, whose width stays a multiple of 16 (below 32 channels
	// of 8) if it is one: onnxruntime is many times slower with others; under Latency, what the table
	// says is fast.
	Multiple int
}

// A Report says what a compression did.
type Report struct {
	job.Report
	Before Size    `json:"before"`
	After  Size    `json:"after"`
	Spaces []Space `json:"spaces"`
	// Blocks are the residual blocks that were dropped, and Ranks the operators that became two.
	Blocks []Block  `json:"blocks,omitempty"`
	Ranks  []Ranked `json:"ranks,omitempty"`
	// Lossless tells what was removed first; nil where that was off.
	Lossless *lossless.Report `json:"lossless,omitempty"`
	// Candidates are the ways to meet the budget that were compared; none where there was only one.
	Candidates []Candidate `json:"candidates,omitempty"`
	// Blind is set where channels were merged by their weights in spite of data, since these were
	// too few to serve better.
	Blind bool `json:"blind,omitempty"`
	// Precision tells what is stored with fewer bits; nil where nothing was asked for.
	Precision *precision.Report `json:"precision,omitempty"`
	// Plan tells what became of the spaces that can be narrowed, in a form to be changed.
	Plan *Plan `json:"-"`
	// Search tells how MaxDrop was met; nil under other budgets.
	Search *Search `json:"search,omitempty"`
	// Latency tells how Latency was met; nil under other budgets.
	Latency *Timing `json:"latency,omitempty"`
}

// Size is what a model costs.
type Size struct {
	Params int64 `json:"params"`
	MACs   int64 `json:"macs"` // per sample
	// Open is set where free dimensions were counted as one.
	Open bool `json:"open_dims"`
}

// A Space says what became of one space.
type Space struct {
	Name   string `json:"name"`
	Before int    `json:"before"` // channels, over all groups
	After  int    `json:"after"`  // 0 where it has gone with its blocks
	// Kept says why the width stayed, "" where it changed or could have.
	Kept string `json:"kept,omitempty"`
	// Cost is the transport cost of the plan.
	Cost float64 `json:"cost"`
	// Stream says what was done to a stream over whose channels normalisations take statistics:
	// "rotated", "nearly rotated" (where a scale acts on the stream itself) or "selected".
	Stream string `json:"stream,omitempty"`
}

// A Block is a residual block that was dropped.
type Block struct {
	Name string `json:"name"`
	// Divergence is how far predictions move without this block alone; see teach.Judge. nil: a plan
	// asked for it, and nobody has measured that.
	Divergence *float64 `json:"divergence,omitempty"`
}

// Ranked is an operator that became two, of Rank channels between them instead of the Of that its
// weight may need.
type Ranked struct {
	Name string `json:"name"`
	Rank int    `json:"rank"`
	Of   int    `json:"of"`
	// Spatial: the first operator reads the rows of a kernel, the second its columns.
	Spatial bool `json:"spatial,omitempty"`
	// Divergence is an estimate of how far predictions move on account of this alone; nil: a plan
	// asked for it.
	Divergence *float64 `json:"divergence,omitempty"`
}

// Model compresses a model by merging channels of its own.
func Model(ctx context.Context, m *onnxio.Model, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	searches := o.settle()
	b, err := o.budget()
	if err != nil {
		return nil, nil, err
	}
	c, err := start(ctx, m, o, false)
	if err == nil {
		err = c.checkMoves(b)
	}
	if err == nil && searches {
		err = c.undecided(ctx, m)
	}
	if err != nil {
		return nil, nil, err
	}
	if b.unit == inLatency {
		c.Begins()
		if err := c.startClock(ctx, m); err != nil {
			return nil, nil, err
		}
	}
	out, report, err := c.narrowed(ctx, b)
	if err != nil || o.DryRun {
		return out, report, err
	}
	c.timeResult(ctx, out, report.Latency)
	_, before := m.Size()
	if _, after := out.Size(); after > before {
		if o.DType == "" && !report.changes() {
			return m.Clone(), report, nil
		}
		return nil, nil, fmt.Errorf("%w: %d bytes for %d", ErrLarger, after, before)
	}
	return out, report, nil
}

// changes reports whether anything became of the model.
func (r *Report) changes() bool {
	return len(r.Blocks)+len(r.Ranks) > 0 || slices.ContainsFunc(r.Spaces, func(s Space) bool { return s.After != s.Before })
}

// ErrLarger says that the file of the narrow model would be larger than that of the wide one: what
// a refit adds, or shapes that are stored, outweigh a few channels of a very small model.
var ErrLarger = errors.New("there is too little to narrow: the file would be larger")

// A compression is the state of one call.
type compression struct {
	*pipeline.Run
	o Options
	baseline
	exclude []glob
	// keepFloat names operators that go on with float32.
	keepFloat []glob
	// model is the model to narrow, in ordinary operators.
	model *onnxio.Model
	// seen is what allocation learnt from the data; nil before.
	seen *observed
	// selects holds streams of which channels are selected though they could be rotated; nil before
	// that was decided.
	selects map[*coupling.Space]bool
	// taken is the candidate that was best at the first attempt at a size; nil before.
	taken *allocation
	// clock tells the time under a budget of latency; nil under others.
	clock *clock
	// metric is what Options.Metric says of the original; nil before it was asked.
	metric *float64
}

// start gets data ready, takes the baseline of the model, and removes what does not matter, but no
// channels of spaces that stay whole: those that are kept, or all.
func start(ctx context.Context, m *onnxio.Model, o Options, whole bool) (_ *compression, err error) {
	c := &compression{o: o}
	if c.exclude, err = compileGlobs("exclude", o.Exclude); err != nil {
		return nil, err
	}
	if c.keepFloat, err = compileGlobs("keep-float", o.KeepFloat); err != nil {
		return nil, err
	}
	judges := o.MaxDrop > 0 || o.explores
	if judges && o.Tune == job.Auto {
		o.Options.Tune = job.Off // every trial would be distilled
	}
	if c.Run, err = pipeline.Start(ctx, []*onnxio.Model{m}, o.Options, pipeline.Policy{Invent: true, HoldOut: true, Always: judges && (o.explores || !o.Metric.Given())}); err != nil {
		return nil, err
	}
	if err := c.strip(ctx, m, func(s *coupling.Space) bool { return whole || c.kept(s) != "" || c.o.Plan.keeps(s) }); err != nil {
		return nil, err
	}
	if o.DryRun || c.Report.Split.Judge == nil && !c.Fits() {
		return c, nil // no predictions are compared
	}
	return c, c.FindTasks(ctx, []*onnxio.Model{c.model})
}

// narrowed meets the budget.
func (c *compression) narrowed(ctx context.Context, b budget) (*onnxio.Model, *Report, error) {
	switch {
	case b.unit == inBytes && c.bytes <= c.o.Size:
		s, err := edit.NewSubject(c.model, c.Coupling())
		if err != nil {
			return nil, nil, err
		}
		c.see(s.Analysis)
		return c.unchanged(ctx, s, c.report())
	case c.o.MaxDrop > 0:
		return c.search(ctx, b)
	case b.unit == inBytes:
		return c.toSize(ctx, b)
	}
	ratio := c.ratio
	if b.unit == inLatency {
		ratio = none // widths are chosen anew after a correction
	}
	s, folded, err := c.prepare(b, ratio)
	if err == nil && c.o.Plan != nil {
		_, _, err = c.resolve(s.Analysis)
	}
	if err != nil {
		return nil, nil, err
	}
	return c.meet(ctx, s, folded, b)
}

// prepare analyses the model, and folds normalisations into the producers of all spaces that would
// change with the ratio. Folding is exact, so that several attempts can start from one subject.
func (c *compression) prepare(b budget, ratio func(*coupling.Analysis, budget) (float64, error)) (*edit.Subject, int, error) {
	s, err := edit.NewSubject(c.model, c.Coupling())
	if err != nil {
		return nil, 0, err
	}
	c.see(s.Analysis)
	if err := c.nothing(s.Analysis, b); err != nil {
		return nil, 0, err
	}
	if c.o.DryRun {
		return s, 0, nil
	}
	r, err := ratio(s.Analysis, b)
	if err != nil && !(errors.Is(err, ErrUnmet) && c.moving(b)) {
		return nil, 0, err
	}
	c.Begins()
	folded := 0
	if !c.o.KeepBatchNorm {
		if s, folded, err = foldChanged(s, c.touched(s.Analysis, b, r), c.Coupling()); err != nil {
			return nil, 0, err
		}
		c.see(s.Analysis)
	}
	if s, err = foldScales(s, c.touched(s.Analysis, b, r), c.Coupling()); err != nil {
		return nil, 0, err
	}
	c.see(s.Analysis)
	return s, folded, nil
}

// foldScales folds what normalisations scale and shift their channels by into the readers of
// streams that change, so that these can be rotated.
func foldScales(s *edit.Subject, widths map[*coupling.Space]int, o coupling.Options) (*edit.Subject, error) {
	var streams []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if k, ok := widths[sp]; ok && k != sp.Width && sp.Stream != nil {
			streams = append(streams, sp)
		}
	}
	if len(streams) == 0 {
		return s, nil
	}
	m, n, err := edit.FoldScales(s, streams)
	if err != nil || n == 0 {
		return s, err
	}
	return edit.NewSubject(m, o)
}

// none is the ratio at which all spaces change that can.
func none(*coupling.Analysis, budget) (float64, error) { return 0, nil }

// meet compresses a model to a budget.
func (c *compression) meet(ctx context.Context, s *edit.Subject, folded int, b budget) (*onnxio.Model, *Report, error) {
	report := c.report()
	report.Folded = folded
	b, err := c.believed(ctx, s, b)
	if err != nil {
		return nil, nil, err
	}
	chosen, short := c.settled(ctx, s, b, func(b budget) (*allocation, error) { return c.even(s.Analysis, b) })
	if short != nil {
		if !errors.Is(short, ErrUnmet) || !c.moving(b) {
			return nil, nil, short
		}
		chosen = &allocation{kind: Even, widths: c.widths(s.Analysis, b, 0)} // as narrow as may be
	}
	if c.Fits() && c.o.Plan == nil {
		c.Spend(&report.Spent.Preparation)
		if chosen, err = c.choose(ctx, s, b, chosen, report); err != nil {
			return nil, nil, err
		}
		if chosen == nil || short != nil && chosen.none() {
			return nil, nil, cmp.Or(short, c.unmet(s.Analysis, b, c.leastCost(s.Analysis, b)))
		}
		c.Spend(&report.Spent.Candidates)
		report.tell(c.seen, chosen)
	}
	if c.o.Plan != nil {
		if chosen.moves, err = c.planned(ctx, s); err != nil {
			return nil, nil, err
		}
		report.tellPlan(s.Analysis, chosen)
	}
	report.Latency = c.timing(s.Analysis, b, chosen.shaped(s.Analysis))
	if c.o.DryRun {
		report.describe(s.Analysis, c, chosen.shaped(s.Analysis), nil)
		return nil, report, nil
	}
	if !chosen.changes() {
		return c.unchanged(ctx, s, report)
	}
	if report.Blind = chosen.kind == Blind; report.Blind {
		report.By, report.Samples, report.RefitSamples = string(match.Weights), 0, 0
	}
	return c.finish(ctx, s, !report.Blind, c.plan(s, chosen), &chosen.moves, report)
}

// unchanged is the result where every space keeps its width.
func (c *compression) unchanged(ctx context.Context, s *edit.Subject, report *Report) (*onnxio.Model, *Report, error) {
	report.describe(s.Analysis, c, shape{}, nil)
	if c.o.DryRun {
		return nil, report, nil
	}
	report.RefitSamples = 0
	return c.written(ctx, s.Given(), report)
}

// selection are the options of choose.Select on some samples.
func (c *compression) selection(data *dataset.Data) choose.Options {
	return choose.Options{Data: data, StreamOptions: c.Stream("select"), Memory: c.Memory, Selects: c.selects, Merge: c.Matching}
}

// A planner decides how the channels of a subject move, on some samples.
type planner func(ctx context.Context, fit *dataset.Data) (*match.Result, error)

// making carries a plan out, and moves beside it.
func (c *compression) making(s *edit.Subject, plan planner, m *moves, report *Report) pipeline.Maker {
	return func(ctx context.Context, fit *dataset.Data) (made pipeline.Made, err error) {
		p, err := plan(ctx, fit)
		if err != nil {
			return made, err
		}
		if made.Child, err = edit.Edit(s, p.Maps); err != nil {
			return made, err
		}
		report.describe(s.Analysis, c, m.shape(s.Analysis, p.Maps.Widths()), p.Objective)
		report.streams(p.Maps)
		report.Plan.selects(c, p.Maps)
		made.Parents = teach.Parents{{Subject: s, Share: 1, Maps: p.Maps.Made()}}
		if err := refit.Recentre(made.Child, made.Parents[0], p.Lost); err != nil {
			return made, err
		}
		return c.carryOut(ctx, made, m, fit)
	}
}

// finish makes the result and fits it. Channels are chosen on all samples, whatever is held out from
// the refit for the distillation.
func (c *compression) finish(ctx context.Context, s *edit.Subject, fits bool, plan planner, m *moves, report *Report) (*onnxio.Model, *Report, error) {
	made, err := c.making(s, plan, m, report)(ctx, c.Report.Split.Fit)
	if err == nil && c.Fits() && report.After != sizeOf(s.Analysis, shape{}) {
		c.Spend(&report.Spent.Statistics)
		made.Child, err = c.fit(ctx, s, fits, made, report)
	}
	if err == nil {
		err = s.Reshare(made.Child)
	}
	if err != nil {
		return nil, nil, err
	}
	return c.written(ctx, made.Child, report)
}

// fit refits a result, if that is wanted, and distils it, unless there is a single sample, or its
// file would be too large all the same.
func (c *compression) fit(ctx context.Context, s *edit.Subject, refits bool, made pipeline.Made, report *Report) (_ *onnxio.Model, err error) {
	distils := c.Distils() && (refits || c.Report.Split.Fit.Len() > 1)
	if refits {
		if made.Child, err = c.Refitted(ctx, made, distils, &report.Report); err != nil {
			return nil, err
		}
	}
	if distils && c.o.Size > 0 {
		file := made.Child.Clone()
		if err := s.Reshare(file); err != nil {
			return nil, err
		}
		if file, err = c.form.Restore(file); err != nil {
			return nil, err
		}
		_, bytes := file.Size()
		distils = bytes <= c.o.Size
	}
	if !distils {
		return made.Child, nil
	}
	return c.Distilled(ctx, made, &report.Report)
}

// Into moves a wide model into the widths of a narrow one of the same architecture. The narrow
// model serves as the target of the alignment; none of its weights enter the result.
func Into(ctx context.Context, wide, narrow *onnxio.Model, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	if err := o.storable(); err != nil {
		return nil, nil, err
	}
	if o.Keep != 0 || o.MACs != 0 || o.Params != 0 || o.Size != 0 || o.Latency != (Latency{}) || o.MaxDrop != 0 || o.Plan != nil {
		return nil, nil, fmt.Errorf("the narrow model gives the widths: keep, macs, params, size, latency, max-drop and plan have no place beside it")
	}
	c, err := start(ctx, wide, o, true)
	if err != nil {
		return nil, nil, err
	}
	if narrow, _, err = qdq.Expand(narrow); err != nil {
		return nil, nil, err
	}
	if narrow, err = lossless.Compute(ctx, narrow, c.computing()); err != nil {
		return nil, nil, err
	}
	s, folded, err := c.Subject(c.model)
	if err != nil {
		return nil, nil, err
	}
	shape, _, err := c.Subject(narrow)
	if err != nil {
		return nil, nil, err
	}
	pair, err := match.Pair(s, shape)
	if err != nil {
		return nil, nil, err
	}
	report := c.report()
	report.Folded = folded
	widths := pair.Widths()
	if s != pair.Source() && (pair.Repeated || !c.Fits() || grows(widths)) { // with as many heads
		s, widths = pair.Source(), map[*coupling.Space]int{}
		for a, b := range pair.Spaces {
			widths[a] = b.Width
		}
	}
	if o.DryRun {
		report.describe(s.Analysis, c, ofWidths(coupling.WidthsOf(widths)), nil)
		return nil, report, nil
	}
	c.Begins()
	c.Spend(&report.Spent.Preparation)
	return c.finish(ctx, s, true, c.into(s, pair, widths), &moves{}, report)
}

// grows reports whether a space gets more channels than it has.
func grows(widths map[*coupling.Space]int) bool {
	for s, k := range widths {
		if k > s.Width {
			return true
		}
	}
	return false
}

// into plans the move into another shape: with a refit, and where no space has to grow, by
// selection, since nothing of the narrow model's weights enters the result and channels that
// explain most serve better than averages of several.
func (c *compression) into(wide *edit.Subject, pair *match.Pairing, widths map[*coupling.Space]int) planner {
	return func(ctx context.Context, fit *dataset.Data) (*match.Result, error) {
		if c.Fits() && !grows(widths) {
			return choose.Select(ctx, wide, widths, nil, c.selection(fit))
		}
		return match.Onto(ctx, pair, c.Matching)
	}
}

// foldChanged folds normalisations into the producers of spaces that change.
func foldChanged(s *edit.Subject, widths map[*coupling.Space]int, o coupling.Options) (*edit.Subject, int, error) {
	outputs := map[string]bool{} // nodes are told apart by their first output
	for sp, k := range widths {
		if k == sp.Width {
			continue
		}
		for _, u := range sp.Producers() {
			outputs[u.Node.GetOutput()[0]] = true
		}
	}
	m, folded, err := edit.FoldBatchNorm(s.Given(), func(n *onnxpb.NodeProto) bool { return outputs[n.GetOutput()[0]] })
	if err != nil || len(folded) == 0 {
		return s, 0, err
	}
	s, err = edit.NewSubject(m, o)
	return s, len(folded), err
}

// kept says why a space keeps its width whatever the budget, or "".
func (c *compression) kept(s *coupling.Space) string {
	switch {
	case s.Frozen:
		return s.Reason
	case !s.Slimmable():
		return s.Rigid
	case c.o.KeepResidual && s.Residual:
		return "residual stream (keep-residual)"
	}
	return c.excluded(s)
}

// excluded says by which pattern a space keeps its width, or "".
func (c *compression) excluded(s *coupling.Space) string {
	for _, g := range c.exclude {
		for _, u := range s.Producers() {
			if g.MatchString(u.Tensor) || g.MatchString(u.Node.GetName()) {
				return fmt.Sprintf("excluded by %q", g.pattern)
			}
		}
	}
	return ""
}
