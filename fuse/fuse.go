package fuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/ot"
)

// Method says how the child's channels come about.
type Method string

const (
	// Auto measures both methods on held-out calibration inputs and takes the better; without data
	// it is OT.
	Auto Method = ""
	// OT moves every parent's channels onto those of one of them and averages.
	OT Method = "ot"
	// Union lets the parents' channels compete for the child's places. Needs data.
	Union Method = "union"
)

// Options are the settings of a fusion. The zero value averages all models onto the last one,
// aligned by weights; with data it measures how they are fused best.
type Options struct {
	// Options say which data are worked with, and how far. Tasks are by the names of the first
	// model's outputs. The result is not judged: EvalData are not used.
	job.Options
	// Method says how the child's channels come about.
	Method Method
	// Weights are the shares of the models; nil means shares chosen by measurement with a refit,
	// else equal ones. They must sum to one.
	Weights []float64
	// Onto is the model, counted from 1, whose structure and channel order the result has; zero
	// means the last.
	Onto int
	// Keep makes the result's spaces that much as wide as those of Onto; it may exceed one. Zero
	// means one. Other widths than Onto's need Union.
	Keep float64
	// Shape, if set, is a model whose widths the result has.
	Shape *onnxio.Model
}

// A Report says what a fusion did.
type Report struct {
	job.Report
	Method  Method    `json:"method"`
	Onto    int       `json:"onto"`    // the model whose structure the result has, from 1
	Weights []float64 `json:"weights"` // share of each model
	// Whole is the model, counted from 1, whose channels are all in the result, beside the best of
	// the others' (union); zero if there is none.
	Whole int `json:"whole,omitempty"`
	// Blind is set where channels were matched by their weights and nothing was refitted in spite of
	// data, since these were too few to serve better.
	Blind  bool    `json:"blind,omitempty"`
	Spaces []Space `json:"spaces"`
	// Kept lists the weights that are not averaged but those of Onto, since an axis of theirs could
	// not be aligned.
	Kept   []Kept `json:"kept,omitempty"`
	Sweeps int    `json:"sweeps"` // passes over all spaces, the most any model needed
	// Contribution is the share of the result's channels that each model gave (union), or its
	// weight (ot).
	Contribution []float64 `json:"contribution"`
	// Divergence is that of the result from the parents' mean prediction on held-out inputs, where
	// it was measured; Candidates lists all that was tried.
	Divergence float64     `json:"divergence,omitempty"`
	Candidates []Candidate `json:"candidates,omitempty"`
	// Lossless tells, for every model, what was removed first.
	Lossless []*lossless.Report `json:"-"`
}

// A Candidate is one method and balance that was measured. Only divergences after as many samples
// compare.
type Candidate struct {
	Method  Method    `json:"method"`
	Weights []float64 `json:"weights"`
	Whole   int       `json:"whole,omitempty"`
	// Blind: channels were matched by weights and nothing was refitted, as without data.
	Blind      bool    `json:"blind,omitempty"`
	Samples    int     `json:"samples"` // that it was fitted on
	Divergence float64 `json:"divergence"`
}

// A Space says how one space was aligned.
type Space struct {
	Name string `json:"name"`
	// Width is the result's, Widths the models' numbers of channels.
	Width  int   `json:"width"`
	Widths []int `json:"widths"`
	// Costs are the transport costs of the models' plans, zero for Onto.
	Costs []float64 `json:"costs"`
	// Moved are the shares of the result's channels that are not made of the same channel of the
	// model alone.
	Moved []float64 `json:"moved"`
	// From counts the channels that each model gave (union only).
	From []int `json:"from,omitempty"`
	// Plans say, for each model, of which of its channels (rows) each of the result's (columns) is
	// made, and to what share; nil where the model's channels are the result's, or nothing was moved.
	Plans []*ot.Plan `json:"-"`
}

// Models fuses two or more models. The error names the first nodes in which their architectures
// differ.
func Models(ctx context.Context, models []*onnxio.Model, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	shares, onto, err := o.check(len(models))
	if err != nil {
		return nil, nil, err
	}
	if !o.NoData {
		models, o.Batch = together(models, onto, o.Batch)
	}
	f := &fusion{o: o, onto: onto, votes: shares}
	if f.Run, err = pipeline.Start(ctx, models, o.Options, pipeline.Policy{}); err != nil {
		return nil, nil, err
	}
	all := slices.Clone(models)
	if o.Shape != nil {
		all = append(all, o.Shape)
	}
	if err := f.strip(ctx, all); err != nil {
		return nil, nil, err
	}
	if o.Shape != nil {
		f.o.Shape = all[len(models)]
		if o.Method == OT || o.Method == Auto && !f.Fits() {
			// Transport onto another shape: the shape is one more model, without a share.
			f.o.Shape, f.o.Method, f.o.Weights = nil, OT, append(slices.Clone(shares), 0)
			f.votes, f.onto = f.o.Weights, len(models)
			models = all
		}
	}
	if err := f.prepare(all[:len(models)]); err != nil {
		return nil, nil, err
	}
	f.Begins()
	method, err := f.method(ctx)
	if err != nil {
		return nil, nil, err
	}
	if o.DryRun {
		return nil, f.report(Candidate{Method: method, Weights: f.votes}), nil
	}
	f.Spend(&f.Run.Report.Spent.Preparation)
	finish := f.finish
	if method == Auto || f.o.Weights == nil && f.Fits() {
		finish = f.choose
	}
	out, report, err := finish(ctx, Candidate{Method: method, Weights: f.votes})
	if err == nil {
		err = f.target().Reshare(out)
	}
	return out, report, err
}

// strip removes what does not matter of the models, but for channels: widths are those of a model.
func (f *fusion) strip(ctx context.Context, models []*onnxio.Model) error {
	f.cleaned = make([]*lossless.Report, len(models))
	if f.o.Lossless == job.Off {
		return nil
	}
	o := lossless.Options{InputShapes: f.Report.Shapes, Threads: f.Threads, Trial: f.Trials, Keep: func(*coupling.Space) bool { return true }}
	if f.DryRun {
		o.NoCheck = true
	}
	for i, m := range models {
		f.Stage("lossless")(i, len(models))
		var err error
		if models[i], f.cleaned[i], err = lossless.Strip(ctx, m, o); err != nil {
			return m.InFile(err)
		}
	}
	return nil
}

// method decides how the child's channels come about, Auto where that is to be measured, and, where
// operators are refitted, what the outputs are for.
func (f *fusion) method(ctx context.Context) (Method, error) {
	method := f.o.Method
	switch {
	case method == Auto && !f.Fits():
		method = OT
	case method == Union && !f.HasData():
		return method, fmt.Errorf("the union of models needs data")
	case method == Auto && pipeline.Changes(f.widths):
		method = Union
	}
	if method == OT && pipeline.Changes(f.widths) {
		return method, fmt.Errorf("method ot takes the widths of model %d; other widths need data and method union", f.onto+1)
	}
	if f.DryRun || !f.Fits() {
		return method, nil
	}
	if err := f.FindTasks(ctx, f.models); err != nil {
		return method, err
	}
	if method == Auto && f.loose() {
		// Channels of all models cannot compete where it is not known which is which.
		how := Candidate{Method: OT, Weights: f.votes}
		if _, err := f.making(how, f.report(how))(ctx, nil); err != nil {
			return method, err
		}
		for _, apart := range f.apart {
			if len(apart) > 0 {
				return OT, nil
			}
		}
	}
	return method, nil
}

// fusion is the state of one call.
type fusion struct {
	*pipeline.Run
	o        Options
	onto     int
	models   []*onnxio.Model // as given
	subjects []*edit.Subject
	pairs    []*match.Pairing                      // of each model with onto; nil for onto itself
	spacesOf []map[*coupling.Space]*coupling.Space // by model, by onto's spaces
	cleaned  []*lossless.Report                    // by model
	// apart are, by model, the atoms of onto whose channels could not be aligned.
	apart  map[*edit.Subject]map[*coupling.Axis]bool
	plans  []*match.Result         // of transport, by model, once they are made
	blind  []*match.Result         // of transport by weights
	votes  []float64               // the models' shares in what the result shall predict
	widths map[*coupling.Space]int // of the result, by onto's spaces
}

func (f *fusion) target() *edit.Subject { return f.subjects[f.onto] }

func (f *fusion) prepare(models []*onnxio.Model) error {
	f.models = models
	f.subjects = make([]*edit.Subject, len(models))
	f.pairs = make([]*match.Pairing, len(models))
	f.plans, f.blind = make([]*match.Result, len(models)), make([]*match.Result, len(models))
	f.spacesOf = make([]map[*coupling.Space]*coupling.Space, len(models))
	var err error
	for i, m := range models {
		var folded int
		if f.subjects[i], folded, err = f.Subject(m); err != nil {
			return m.InFile(err)
		}
		if i == f.onto {
			f.Run.Report.Folded = folded
		}
	}
	for i, s := range f.subjects {
		if i == f.onto {
			continue
		}
		if f.pairs[i], err = match.Pair(s, f.target()); err != nil {
			return err
		}
		f.subjects[i] = f.pairs[i].Source()
		f.spacesOf[i] = map[*coupling.Space]*coupling.Space{}
		for own, onto := range f.pairs[i].Spaces {
			f.spacesOf[i][onto] = own
		}
	}
	return f.setWidths()
}

// setWidths decides the result's widths.
func (f *fusion) setWidths() error {
	f.widths = map[*coupling.Space]int{}
	for _, s := range f.target().Analysis.Spaces {
		if s.Frozen || !f.shared(s) {
			continue
		}
		k := s.Width
		if f.o.Keep != 0 && s.Rigid == "" {
			k = max(1, int(math.Round(f.o.Keep*float64(s.Width))))
		}
		f.widths[s] = k
	}
	if f.o.Shape == nil {
		return nil
	}
	shape, _, err := f.Subject(f.o.Shape)
	if err != nil {
		return f.o.Shape.InFile(err)
	}
	pair, err := match.Pair(f.target(), shape)
	if err != nil {
		return f.o.Shape.InFile(err)
	}
	if pair.Repeated {
		return f.o.Shape.InFile(errors.New("it has several attention heads where the models have one for all: fuse onto it instead"))
	}
	for s, k := range pair.Widths() {
		if f.shared(s) {
			f.widths[s] = k
		}
	}
	return nil
}

// shared reports whether every model has a counterpart of one of onto's spaces. What only the
// branches of an If read is not matched where there are data.
func (f *fusion) shared(s *coupling.Space) bool {
	for i := range f.models {
		if f.spaceOf(i, s) == nil {
			return false
		}
	}
	return true
}

// finish makes the result and distils the models into it.
func (f *fusion) finish(ctx context.Context, how Candidate) (*onnxio.Model, *Report, error) {
	report := f.report(how)
	distils := f.Distils() && (!how.Blind || f.Report.Split.Fit.Len() > 1)
	out, err := f.Finish(ctx, f.Fits() && !how.Blind, distils, f.making(how, report), &report.Report)
	return out, report, err
}

// making fuses as a candidate says.
func (f *fusion) making(how Candidate, report *Report) pipeline.Maker {
	return func(ctx context.Context, fit *dataset.Data) (made pipeline.Made, err error) {
		var maps []edit.Maps
		if how.Method == Union {
			maps, err = f.compete(ctx, how, fit, report)
		} else {
			maps, err = f.transport(ctx, how.Blind, report)
		}
		if err == nil {
			f.tell(maps, report)
			made.Child, err = f.average(how, maps, report)
		}
		if err == nil && f.Fits() {
			made.Parents = f.parents(how, maps)
		}
		return made, err
	}
}

// tell enters what the result's channels are made of.
func (f *fusion) tell(maps []edit.Maps, report *Report) {
	for k, t := range f.spaces() {
		plans := make([]*ot.Plan, len(f.models))
		for i := range f.models {
			if m := maps[i][f.spaceOf(i, t)]; m != nil {
				plans[i] = m.Plan(f.spaceOf(i, t))
			}
		}
		report.Spaces[k].Plans = plans
	}
}

// parents are the models that a result is taught by.
func (f *fusion) parents(how Candidate, maps []edit.Maps) teach.Parents {
	var out teach.Parents
	for i, s := range f.subjects {
		if how.Weights[i] == 0 && f.votes[i] == 0 {
			continue
		}
		src := teach.Parent{Subject: s, Share: how.Weights[i], Vote: f.votes[i], Maps: maps[i].Made()}
		if p := f.pairs[i]; p != nil {
			back := map[string]string{}
			for a, b := range p.Tensors {
				back[b] = a
			}
			src.Tensor = func(child string) string {
				if f.strays(s, child) {
					return "" // onto's weights stay as they are
				}
				return back[child]
			}
		}
		out = append(out, src)
	}
	return out
}

// strays reports whether an axis of one of onto's activations could not be aligned with that of a
// model.
func (f *fusion) strays(s *edit.Subject, tensor string) bool {
	return slices.ContainsFunc(f.target().Analysis.Activations[tensor], func(a *coupling.Axis) bool {
		return slices.ContainsFunc(a.Atoms(), func(x *coupling.Axis) bool { return f.apart[s][x] })
	})
}

func (f *fusion) report(how Candidate) *Report {
	r := &Report{Report: f.Run.Report, Blind: how.Blind, Method: how.Method, Onto: f.onto + 1, Weights: how.Weights, Whole: how.Whole, Contribution: how.Weights, Lossless: f.cleaned}
	if how.Blind {
		r.By, r.Samples, r.RefitSamples = string(match.Weights), 0, 0
	}
	n := len(f.models)
	for _, s := range f.spaces() {
		row := Space{Name: s.Name, Width: f.widths[s] * s.Groups, Widths: make([]int, n), Costs: make([]float64, n), Moved: make([]float64, n)}
		for i := range f.models {
			if own := f.spaceOf(i, s); own != nil {
				row.Widths[i] = own.Width * own.Groups
			}
		}
		r.Spaces = append(r.Spaces, row)
	}
	return r
}

// spaceOf is model i's counterpart of one of onto's spaces.
func (f *fusion) spaceOf(i int, s *coupling.Space) *coupling.Space {
	if i == f.onto {
		return s
	}
	return f.spacesOf[i][s]
}

// plan is the transport of a model onto onto, by weights if it is blind.
func (f *fusion) plan(ctx context.Context, i int, blind bool) (_ *match.Result, err error) {
	plans, how := f.plans, f.Matching
	if blind {
		plans, how.By = f.blind, match.Weights
	}
	if plans[i] == nil {
		plans[i], err = match.Onto(ctx, f.pairs[i], how)
	}
	return plans[i], f.models[i].InFile(err)
}

// transport moves every model onto one of them.
func (f *fusion) transport(ctx context.Context, blind bool, report *Report) ([]edit.Maps, error) {
	maps := make([]edit.Maps, len(f.models))
	for i := range f.models {
		if i == f.onto {
			continue
		}
		plan, err := f.plan(ctx, i, blind)
		if err != nil {
			return nil, err
		}
		maps[i] = plan.Maps
		report.Sweeps = max(report.Sweeps, plan.Sweeps)
		for k, t := range f.spaces() {
			if own := f.spaceOf(i, t); own != nil {
				report.Spaces[k].Costs[i], report.Spaces[k].Moved[i] = plan.Objective[own], plan.Maps[own].Moved()
			}
		}
	}
	return maps, nil
}

// average sums the models up under their maps, and keeps what it could not align.
func (f *fusion) average(how Candidate, maps []edit.Maps, report *Report) (_ *onnxio.Model, err error) {
	m := f.target().Model
	if how.Method == Union {
		if m, err = edit.Edit(f.target(), maps[f.onto]); err != nil {
			return nil, f.models[f.onto].InFile(err)
		}
	}
	sum, err := newAverage(f.target(), m, how.Weights[f.onto], maps[f.onto])
	if err != nil {
		return nil, f.models[f.onto].InFile(err)
	}
	if how.Method == OT {
		sum.inPlace, sum.byWeights = f.Matching.By == match.Unaligned, f.Matching.By != match.Activations
	}
	for i, s := range f.subjects {
		if i == f.onto {
			continue
		}
		if err := sum.add(s, maps[i], f.pairs[i], how.Weights[i]); err != nil {
			return nil, f.models[i].InFile(err)
		}
	}
	out, err := sum.model()
	report.Kept = sum.kept
	f.apart = map[*edit.Subject]map[*coupling.Axis]bool{}
	for _, p := range sum.parts {
		f.apart[p.subject] = p.apart
	}
	return out, err
}

// spaces lists onto's spaces in the order of the report.
func (f *fusion) spaces() []*coupling.Space {
	var out []*coupling.Space
	for _, s := range f.target().Analysis.Spaces {
		if _, ok := f.widths[s]; ok {
			out = append(out, s)
		}
	}
	return out
}

// check returns the shares of n models and the one to fuse onto, counted from 0.
func (o Options) check(n int) (shares []float64, onto int, err error) {
	shares, onto = o.Weights, cmp.Or(o.Onto, n)-1
	if shares == nil {
		shares = slices.Repeat([]float64{1 / float64(n)}, n)
	}
	switch at := slices.IndexFunc(shares, func(w float64) bool { return !(w >= 0) || math.IsInf(w, 0) }); {
	case n < 2:
		err = fmt.Errorf("fusing takes at least two models, got %d", n)
	case len(shares) != n:
		err = pipeline.Mistakef("weights: %d weights for %d models", len(shares), n)
	case at >= 0:
		err = pipeline.Mistakef("weights: %g is not a share", shares[at])
	case math.Abs(floats.Sum(shares)-1) > 1e-6:
		err = pipeline.Mistakef("weights: the %d weights sum to %.6g, not 1", n, floats.Sum(shares))
	case o.Method != Auto && o.Method != OT && o.Method != Union:
		err = pipeline.Mistakef("method is %q: want ot or union", o.Method)
	case o.Keep < 0:
		err = pipeline.Mistakef("keep is %g: want a positive factor", o.Keep)
	case o.Keep != 0 && o.Shape != nil:
		err = pipeline.Mistakef("keep has no place beside a model that gives the widths")
	case onto < 0 || onto >= n:
		err = pipeline.Mistakef("onto is %d: there is no model %[1]d, they count from 1 to %[2]d", o.Onto, n)
	}
	return shares, onto, err
}
