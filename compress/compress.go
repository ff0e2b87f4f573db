package compress

import (
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
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/internal/tune"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options are the settings of a compression. Of Keep, MACs, Params, Size and
// MaxDrop exactly one is set for Model, none for Into.
type Options struct {
	// Keep gives every space that may change max(1, round(Keep·n)) of its n
	// channels, in (0, 1].
	Keep float64
	// MACs is the share of multiply-accumulates that may remain, Params of
	// parameters, in (0, 1]. With data, widths are allocated by measured error
	// for cost saved, unless an equal share of every space, or widths halfway
	// between, serve held-out samples better; without, or if Uniform is set, every
	// space keeps an equal share of its channels.
	MACs, Params float64
	// Size is the most bytes that the model may occupy in its file and external
	// data. Widths are allocated as for Params.
	Size int64
	// Floor is the share of the channels it came with that every space keeps at
	// least, whatever MACs, Params, Size or MaxDrop ask for. Zero means 1/8; a
	// negative one leaves a single channel. Keep goes below.
	Floor float64
	// MaxDrop asks for the fewest multiply-accumulates with which accuracy falls
	// by at most this share of the samples, in (0, 1); where there are no labels,
	// agreement with the original. It needs data.
	MaxDrop float64
	// EvalData are the inputs that MaxDrop is measured on. Nil means every fifth
	// sample of the data, which is then not used for anything else.
	EvalData *dataset.Data
	// Uniform gives every space an equal share under a budget too.
	Uniform bool
	// Exclude lists patterns of node or weight names, in which * stands for any
	// text and ? for any character: a space one of whose producers matches keeps
	// its width.
	Exclude []string
	// KeepResidual leaves every residual stream whole.
	KeepResidual bool
	// Multiple rounds widths to multiples of it where the space is wide enough:
	// channels over all groups, as a kernel sees them; attention heads are counted
	// one by one. Zero means 1.
	Multiple int
	// Align says how channels are compared.
	Align match.Options
	// InputShapes gives sizes to free dimensions of inputs, by name.
	InputShapes map[string][]int
	// KeepBatchNorm leaves BatchNormalization nodes in place; by default they
	// are folded exactly into the operator before them where its space changes.
	KeepBatchNorm bool
	// Lossless says whether channels that do not matter are removed first, where
	// no narrow model gives the widths. Shares and budgets are still those of the
	// model as it came.
	Lossless Lossless
	// LosslessRuns is the number of random inputs on which the model without them
	// is compared with the original, by onnxruntime; zero means 3 where there are
	// data and none without, negative none.
	LosslessRuns int
	// DryRun chooses widths and stops: no model is made.
	DryRun bool
	// Refit says whether channels are chosen by what they explain and operators
	// refitted in closed form. Without it channels are merged by transport alone.
	Refit Refit
	// RefitData are the inputs for selection and refit; nil means Align.Data.
	RefitData *dataset.Data
	// Tune is the number of epochs that the refitted model is distilled for
	// (package tune). Zero means as many as tune.Affordable says, negative none.
	// Where it is distilled, a tenth of the data is kept from the refit, to tell
	// whether distillation helped.
	Tune int
	// Tasks are given for outputs, by name (of "": of all others). For outputs
	// without one, eval.FindTasks says what they are for.
	Tasks eval.Tasks
	// Progress, if set, is told what is being done, and how far it is.
	Progress func(stage string, done, total int)

	base *baseline
}

// Refit says whether operators are refitted in closed form.
type Refit string

const (
	// RefitAuto refits where there are data.
	RefitAuto Refit = ""
	// RefitOff merges by transport and leaves the weights as that made them.
	RefitOff Refit = "off"
)

// data are the inputs for selection and refit.
func (o Options) data() *dataset.Data {
	if o.RefitData != nil {
		return o.RefitData
	}
	return o.Align.Data
}

// coupling are the settings of the analysis. What is computed in the branches of
// an If cannot be measured, so that with data they stay as they are.
func (o Options) coupling() coupling.Options {
	return coupling.Options{InputShapes: o.InputShapes, Opaque: o.data() != nil}
}

// fits reports whether operators are refitted.
func (o Options) fits() bool { return o.Refit != RefitOff && o.data() != nil }

func (o Options) progress(stage string) func(done, total int) {
	return func(done, total int) {
		if o.Progress != nil {
			o.Progress(stage, done, total)
		}
	}
}

// A Report says what a compression did.
type Report struct {
	Before Size    `json:"before"`
	After  Size    `json:"after"`
	Folded int     `json:"folded_batchnorms"`
	Spaces []Space `json:"spaces"`
	// Lossless tells what was removed first; nil where that was off.
	Lossless *lossless.Report `json:"lossless,omitempty"`
	// Candidates are the ways to meet the budget that were compared; none where
	// there was only one.
	Candidates []Candidate `json:"candidates,omitempty"`
	// Blind is set where channels were merged by their weights in spite of data,
	// since these were too few to serve better.
	Blind bool `json:"blind,omitempty"`
	// Outputs say what the outputs are for, so how predictions were compared; nil
	// where none were.
	Outputs []eval.Output `json:"tasks,omitempty"`
	// Search tells how MaxDrop was met; nil under other budgets.
	Search *Search `json:"search,omitempty"`
	// Refit tells about every refitted operator; nil without a refit.
	Refit *refit.Report `json:"refit,omitempty"`
	// Tune tells about the distillation; nil without one.
	Tune *tune.Report `json:"tune,omitempty"`
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
	After  int    `json:"after"`
	// Kept says why the width stayed, "" where it changed or could have.
	Kept string `json:"kept,omitempty"`
	// Cost is the transport cost of the plan.
	Cost float64 `json:"cost"`
}

// Model compresses a model by merging channels of its own.
func Model(ctx context.Context, m *onnxio.Model, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	out, report, err := o.narrowed(ctx, m)
	if err != nil || o.DryRun {
		return out, report, err
	}
	_, before := m.Size()
	if _, after := out.Size(); after > before {
		if !report.changed() {
			return m.Clone(), report, nil
		}
		return nil, nil, fmt.Errorf("%w: %d bytes for %d", ErrLarger, after, before)
	}
	return out, report, nil
}

// ErrLarger says that the file of the narrow model would be larger than that of
// the wide one: what a refit adds, or shapes that are stored, outweigh a few
// channels of a very small model.
var ErrLarger = errors.New("there is too little to narrow: the file would be larger")

// narrowed carries the options out.
func (o Options) narrowed(ctx context.Context, m *onnxio.Model) (*onnxio.Model, *Report, error) {
	m, err := o.strip(ctx, m, func(s *coupling.Space) bool { return o.kept(s) != "" })
	if err != nil {
		return nil, nil, err
	}
	if err := o.findTasks(ctx, m); err != nil {
		return nil, nil, err
	}
	switch {
	case o.Size > 0 && o.base.bytes <= o.Size:
		return o.whole(m)
	case o.MaxDrop > 0:
		return o.search(ctx, m)
	case o.Size > 0:
		return o.toSize(ctx, m)
	}
	s, folded, err := o.prepare(m, o.ratio)
	if err != nil {
		return nil, nil, err
	}
	return o.model(ctx, s, folded)
}

// changed reports whether any space has another width than at first.
func (r *Report) changed() bool {
	return slices.ContainsFunc(r.Spaces, func(s Space) bool { return s.After != s.Before })
}

// prepare analyses a model that was stripped already, and folds normalisations
// into the producers of all spaces that would change with the ratio. Folding is
// exact, so that several attempts can start from one subject.
func (o Options) prepare(m *onnxio.Model, ratio func(*coupling.Analysis) (float64, error)) (*edit.Subject, int, error) {
	s, err := edit.NewSubject(m, o.coupling())
	if err != nil {
		return nil, 0, err
	}
	o.base.see(s.Analysis)
	if err := o.nothing(s.Analysis); err != nil {
		return nil, 0, err
	}
	if o.KeepBatchNorm || o.DryRun {
		return s, 0, nil
	}
	r, err := ratio(s.Analysis)
	if err != nil {
		return nil, 0, err
	}
	s, folded, err := foldChanged(s, o.widths(s.Analysis, r), o.coupling())
	if err == nil {
		o.base.see(s.Analysis)
	}
	return s, folded, err
}

// none is the ratio at which all spaces change that can.
func none(*coupling.Analysis) (float64, error) { return 0, nil }

// model compresses a model to a share.
func (o Options) model(ctx context.Context, s *edit.Subject, folded int) (*onnxio.Model, *Report, error) {
	ratio, err := o.ratio(s.Analysis)
	if err != nil {
		return nil, nil, err
	}
	report := o.base.report()
	report.Folded = folded
	chosen := &allocation{widths: o.widths(s.Analysis, ratio)}
	if o.fits() {
		if chosen, err = o.choose(ctx, s, ratio, report); err != nil {
			return nil, nil, err
		}
	}
	if o.DryRun {
		after := coupling.Widths{}
		for sp, k := range chosen.widths {
			after.Set(sp, k)
		}
		report.describe(s.Analysis, o, after, nil)
		return nil, report, nil
	}
	if !changes(chosen.widths) {
		report.describe(s.Analysis, o, nil, nil)
		return o.base.written(s.Given(), report)
	}
	out, err := o.make(ctx, s, chosen, report)
	if err == nil {
		err = s.Reshare(out)
	}
	if err != nil {
		return nil, nil, err
	}
	return o.base.written(out, report)
}

// changes reports whether any space gets another width.
func changes(widths map[*coupling.Space]int) bool {
	for s, k := range widths {
		if k != s.Width {
			return true
		}
	}
	return false
}

// selection are the options of choose.Select.
func (o Options) selection() match.Options {
	a := o.Align
	a.Data, a.Progress = o.data(), o.progress("select")
	return a
}

// finish carries the plan out, and where there are data refits, if that is wanted,
// and distils, unless there is a single sample.
func (o Options) finish(ctx context.Context, s *edit.Subject, plan *match.Result, fits bool, report *Report) (*onnxio.Model, error) {
	out, err := edit.Edit(s, plan.Maps)
	if err != nil {
		return nil, err
	}
	report.describe(s.Analysis, o, plan.Maps.Widths(), plan.Objective)
	if !o.fits() || report.After == sizeOf(s.Analysis, nil) {
		return out, nil
	}
	if !fits && o.data().Len() < 2 {
		o.Tune = min(o.Tune, 0) - 1
	}
	fit, held := o.data(), (*dataset.Data)(nil)
	epochs := o.epochs(report)
	if epochs > 0 {
		fit, held = teach.HoldOut(fit)
	}
	plan.Maps = plan.Maps.Made()
	parents := []teach.Parent{{Subject: s, Share: 1, Maps: plan.Maps}}
	if fits {
		out, report.Refit, err = refit.Refit(ctx, out, parents, refit.Options{
			Data: fit, Threads: o.Align.Threads, Batch: o.Align.Batch, Outputs: o.base.outputs, Progress: o.progress("refit"),
		})
	}
	if err != nil || epochs == 0 {
		return out, err
	}
	tuned, done, err := tune.Distill(ctx, out, parents, tune.Options{
		Data: fit, HeldOut: held, Epochs: epochs, Threads: o.Align.Threads, Outputs: o.base.outputs, Progress: o.progress("tune"),
	})
	report.Tune = done
	return tuned, err
}

// epochs is the number of epochs of distillation after the refit.
func (o Options) epochs(r *Report) int {
	if o.Tune != 0 || r.After.Open {
		return max(o.Tune, 0)
	}
	return tune.Affordable(o.data().Len(), r.Before.MACs, r.After.MACs)
}

// Into moves a wide model into the widths of a narrow one of the same
// architecture. The narrow model serves as the target of the alignment; none
// of its weights enter the result.
func Into(ctx context.Context, wide, narrow *onnxio.Model, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	if o.Keep != 0 || o.MACs != 0 || o.Params != 0 || o.Size != 0 || o.MaxDrop != 0 {
		return nil, nil, fmt.Errorf("the narrow model gives the widths: keep, macs, params, size and max-drop have no place beside it")
	}
	wide, err = o.strip(ctx, wide, func(*coupling.Space) bool { return true })
	if err != nil {
		return nil, nil, err
	}
	if narrow, _, err = qdq.Expand(narrow); err != nil {
		return nil, nil, err
	}
	if err := o.findTasks(ctx, wide); err != nil {
		return nil, nil, err
	}
	report := o.base.report()
	var subjects [2]*edit.Subject
	for i, m := range []*onnxio.Model{wide, narrow} {
		var folded []string
		var err error
		if !o.KeepBatchNorm {
			if m, folded, err = edit.FoldBatchNorm(m, nil); err != nil {
				return nil, nil, err
			}
		}
		if i == 0 {
			report.Folded = len(folded)
		}
		if subjects[i], err = edit.NewSubject(m, o.coupling()); err != nil {
			return nil, nil, err
		}
	}
	pair, err := match.Pair(subjects[0], subjects[1])
	if err != nil {
		return nil, nil, err
	}
	if o.DryRun {
		after := coupling.Widths{}
		for a, b := range pair.Spaces {
			after.Set(a, b.Width)
		}
		report.describe(subjects[0].Analysis, o, after, nil)
		return nil, report, nil
	}
	plan, err := o.into(ctx, subjects[0], subjects[1], pair)
	if err != nil {
		return nil, nil, err
	}
	out, err := o.finish(ctx, subjects[0], plan, true, report)
	if err == nil {
		err = subjects[0].Reshare(out)
	}
	if err != nil {
		return nil, nil, err
	}
	return o.base.written(out, report)
}

// into plans the move into another shape: with a refit, and where no space has
// to grow, by selection, since nothing of the narrow model's weights enters the
// result and channels that explain most serve better than averages of several.
func (o Options) into(ctx context.Context, wide, narrow *edit.Subject, pair *match.Pairing) (*match.Result, error) {
	widths := map[*coupling.Space]int{}
	grows := false
	for a, b := range pair.Spaces {
		widths[a] = b.Width
		grows = grows || b.Width > a.Width
	}
	if o.fits() && !grows {
		return choose.Select(ctx, wide, widths, nil, o.selection())
	}
	return match.Onto(ctx, wide, narrow, pair, o.Align)
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
func (o Options) kept(s *coupling.Space) string {
	switch {
	case s.Frozen:
		return s.Reason
	case s.Rigid != "":
		return s.Rigid
	case o.KeepResidual && s.Residual:
		return "residual stream (keep-residual)"
	}
	for _, p := range o.Exclude {
		re, err := compileGlob(p)
		if err != nil {
			continue // check has refused it already
		}
		for _, u := range s.Producers() {
			if re.MatchString(u.Tensor) || re.MatchString(u.Node.GetName()) {
				return fmt.Sprintf("excluded by %q", p)
			}
		}
	}
	return ""
}
