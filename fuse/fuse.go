package fuse

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/internal/tune"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Method says how the child's channels come about.
type Method string

const (
	// Auto measures both methods on held-out calibration inputs and takes the
	// better; without data it is OT.
	Auto Method = ""
	// OT moves every parent's channels onto those of one of them and averages.
	OT Method = "ot"
	// Union lets the parents' channels compete for the child's places. Needs data.
	Union Method = "union"
)

// Options are the settings of a fusion. The zero value averages all models
// equally onto the last one, aligned by weights.
type Options struct {
	// Method says how the child's channels come about.
	Method Method
	// Weights are the shares of the models; nil means shares chosen by measurement
	// with a refit, else equal ones. They must sum to one.
	Weights []float64
	// Onto is the model, counted from 1, whose structure and channel order the
	// result has; zero means the last.
	Onto int
	// Keep makes the result's spaces that much as wide as those of Onto; it may
	// exceed one. Zero means one. Other widths than Onto's need Union.
	Keep float64
	// Shape, if set, is a model whose widths the result has.
	Shape *onnxio.Model
	// Align says how channels are matched. Its Data also feed the refit.
	Align match.Options
	// Refit says whether the child's operators are refitted to the parents.
	Refit Refit
	// RefitData are the inputs for refit and choice; nil means Align.Data.
	RefitData *dataset.Data
	// Tune is the number of epochs that the refitted result is distilled for
	// (package tune). Zero means as many as tune.Affordable says, negative none.
	// Where it is distilled, a tenth of the data is kept from the refit, to tell
	// whether distillation helped.
	Tune int
	// KeepBatchNorm leaves BatchNormalization nodes in place and averages their
	// parameters; by default they are folded into the linear operators before
	// them, exactly, since averaged statistics fit nothing.
	KeepBatchNorm bool
	// InputShapes gives sizes to free dimensions of inputs, by name.
	InputShapes map[string][]int
	// Tasks are given for outputs, by their names in the first model (of "": of all
	// others). For outputs without one, eval.FindTasks says what they are for.
	Tasks eval.Tasks
	// DryRun checks that the models fit together and stops: no model is made.
	DryRun bool
	// Progress, if set, is told what is being done, and how far it is.
	Progress func(stage string, done, total int)
}

// Refit says whether operators are refitted in closed form.
type Refit string

const (
	// RefitAuto refits where there are data.
	RefitAuto Refit = ""
	// RefitOff leaves the transported weights as they are.
	RefitOff Refit = "off"
)

// A Report says what a fusion did.
type Report struct {
	Method  Method    `json:"method"`
	Onto    int       `json:"onto"`    // the model whose structure the result has, from 1
	Weights []float64 `json:"weights"` // share of each model
	// Whole is the model, counted from 1, whose channels are all in the result,
	// beside the best of the others' (union); zero if there is none.
	Whole  int     `json:"whole,omitempty"`
	Folded int     `json:"folded_batchnorms"`
	Spaces []Space `json:"spaces"`
	// Kept lists the weights that are not averaged but those of Onto, since an axis
	// of theirs could not be aligned.
	Kept   []Kept `json:"kept,omitempty"`
	Sweeps int    `json:"sweeps"` // passes over all spaces, the most any model needed
	// Contribution is the share of the result's channels that each model gave
	// (union), or its weight (ot).
	Contribution []float64 `json:"contribution"`
	// Divergence is that of the result from the parents' mean prediction on
	// held-out inputs, where it was measured; Candidates lists all that was tried.
	Divergence float64     `json:"divergence,omitempty"`
	Candidates []Candidate `json:"candidates,omitempty"`
	// Outputs say what the outputs are for, so how predictions were compared and
	// mixed; nil without a refit.
	Outputs []eval.Output `json:"tasks,omitempty"`
	// Refit tells about every refitted operator; nil without a refit.
	Refit *refit.Report `json:"refit,omitempty"`
	// Tune tells about the distillation; nil without one.
	Tune *tune.Report `json:"tune,omitempty"`
}

// A Candidate is one method and balance that was measured. Only divergences after
// as many samples compare.
type Candidate struct {
	Method     Method    `json:"method"`
	Weights    []float64 `json:"weights"`
	Whole      int       `json:"whole,omitempty"`
	Samples    int       `json:"samples"` // that it was fitted on
	Divergence float64   `json:"divergence"`
}

// A Space says how one space was aligned.
type Space struct {
	Name string `json:"name"`
	// Width is the result's, Widths the models' numbers of channels.
	Width  int   `json:"width"`
	Widths []int `json:"widths"`
	// Costs are the transport costs of the models' plans, zero for Onto.
	Costs []float64 `json:"costs"`
	// Moved are the shares of the result's channels that are not made of the
	// same channel of the model alone.
	Moved []float64 `json:"moved"`
	// From counts the channels that each model gave (union only).
	From []int `json:"from,omitempty"`
}

// Models fuses two or more models. The error names the first nodes in which
// their architectures differ.
func Models(ctx context.Context, models []*onnxio.Model, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	shares, onto, err := o.check(len(models))
	if err != nil {
		return nil, nil, err
	}
	f := &fusion{o: o, onto: onto}
	if o.Shape != nil && o.Method != Union && (o.Method == OT || !f.fits()) {
		// Transport onto another shape: the shape is one more model, without a share.
		o.Onto, o.Weights, o.Method = 0, append(slices.Clone(shares), 0), OT
		models = append(slices.Clone(models), o.Shape)
		o.Shape = nil
		return Models(ctx, models, o)
	}
	if err := f.prepare(models); err != nil {
		return nil, nil, err
	}
	method := o.Method
	switch {
	case method == Auto && !f.fits():
		method = OT
	case method == Union && o.data() == nil:
		return nil, nil, fmt.Errorf("the union of models needs data")
	case method == Auto && f.otherWidths():
		method = Union
	}
	if method == OT && f.otherWidths() {
		return nil, nil, fmt.Errorf("method ot takes the widths of model %d; other widths need data and method union", onto+1)
	}
	if o.DryRun {
		report := f.report(method, shares)
		return nil, report, nil
	}
	f.votes = shares
	if f.fits() {
		if f.outputs, err = eval.FindTasks(ctx, models, o.data(), o.Tasks, dataset.StreamOptions{Batch: o.Align.Batch, Threads: o.Align.Threads}); err != nil {
			return nil, nil, err
		}
	}
	if method == Auto && f.loose() {
		// Channels of all models cannot compete where it is not known which is which.
		if _, _, err := f.transport(ctx, shares, f.report(OT, shares)); err != nil {
			return nil, nil, err
		}
		for _, apart := range f.apart {
			if len(apart) > 0 {
				method = OT
			}
		}
	}
	var out *onnxio.Model
	var report *Report
	if method == Auto || (o.Weights == nil && f.fits()) {
		out, report, err = f.choose(ctx, method)
	} else {
		out, report, err = f.finish(ctx, recipe{method: method, shares: shares})
	}
	if err == nil {
		err = f.target().Reshare(out)
	}
	return out, report, err
}

// A recipe says how a child is made.
type recipe struct {
	method Method
	shares []float64
	whole  int // the model, counted from 1, whose channels all stay (union), or 0
}

func (r recipe) String() string {
	if r.whole > 0 {
		return fmt.Sprintf("%s with all of model %d", r.method, r.whole)
	}
	return fmt.Sprintf("%s at %.2g", r.method, r.shares)
}

// data are the inputs for refit and choice.
func (o Options) data() *dataset.Data {
	if o.RefitData != nil {
		return o.RefitData
	}
	return o.Align.Data
}

// fusion is the state of one call.
type fusion struct {
	o        Options
	onto     int
	models   []*onnxio.Model // as given
	subjects []*edit.Subject
	pairs    []*match.Pairing // of each model with onto; nil for onto itself
	folded   int
	// apart are, by model, the atoms of onto whose channels could not be aligned.
	apart   map[*edit.Subject]map[*coupling.Axis]bool
	plans   []*match.Result         // of transport, by model, once they are made
	outputs []eval.Output           // what they are for; nil without a refit
	votes   []float64               // the models' shares in what the result shall predict
	widths  map[*coupling.Space]int // of the result, by onto's spaces
}

// fits reports whether operators are refitted.
func (f *fusion) fits() bool { return f.o.Refit != RefitOff && f.o.data() != nil }

func (f *fusion) target() *edit.Subject { return f.subjects[f.onto] }

func (f *fusion) prepare(models []*onnxio.Model) error {
	f.models = models
	f.subjects = make([]*edit.Subject, len(models))
	f.pairs = make([]*match.Pairing, len(models))
	f.plans = make([]*match.Result, len(models))
	var err error
	for i, m := range models {
		if f.subjects[i], err = f.subject(m, i == f.onto); err != nil {
			return m.InFile(err)
		}
	}
	for i, s := range f.subjects {
		if i == f.onto {
			continue
		}
		if f.pairs[i], err = match.Pair(s, f.target()); err != nil {
			return err
		}
	}
	return f.setWidths()
}

func (f *fusion) subject(m *onnxio.Model, onto bool) (*edit.Subject, error) {
	if !f.o.KeepBatchNorm {
		folded, names, err := edit.FoldBatchNorm(m, nil)
		if err != nil {
			return nil, err
		}
		if onto {
			f.folded = len(names)
		}
		m = folded
	}
	return edit.NewSubject(m, coupling.Options{InputShapes: f.o.InputShapes, Opaque: f.o.data() != nil})
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
	shape, err := f.subject(f.o.Shape, false)
	if err != nil {
		return f.o.Shape.InFile(err)
	}
	pair, err := match.Pair(f.target(), shape)
	if err != nil {
		return f.o.Shape.InFile(err)
	}
	for a, b := range pair.Spaces {
		if f.shared(a) {
			f.widths[a] = b.Width
		}
	}
	return nil
}

// shared reports whether every model has a counterpart of one of onto's spaces.
// What only the branches of an If read is not matched where there are data.
func (f *fusion) shared(s *coupling.Space) bool {
	for i := range f.models {
		if f.spaceOf(i, s) == nil {
			return false
		}
	}
	return true
}

func (f *fusion) otherWidths() bool {
	for s, k := range f.widths {
		if k != s.Width {
			return true
		}
	}
	return false
}

// finish makes the result and distils the models into it.
func (f *fusion) finish(ctx context.Context, how recipe) (*onnxio.Model, *Report, error) {
	fit, held, epochs := f.o.data(), (*dataset.Data)(nil), 0
	if f.fits() {
		if epochs = f.epochs(); epochs > 0 {
			fit, held = teach.HoldOut(fit)
		}
	}
	out, parents, report, err := f.make(ctx, how, fit)
	if err != nil || epochs == 0 {
		return out, report, err
	}
	tuned, done, err := tune.Distill(ctx, out, parents, tune.Options{
		Data: fit, HeldOut: held, Epochs: epochs, Threads: f.o.Align.Threads, Outputs: f.outputs,
		Progress: func(done, total int) { f.progress("distil", done, total) },
	})
	report.Tune = done
	return tuned, report, err
}

// epochs is the number of epochs of distillation of the result.
func (f *fusion) epochs() int {
	if f.o.Tune != 0 {
		return max(f.o.Tune, 0)
	}
	w := coupling.Widths{}
	for s, k := range f.widths {
		w.Set(s, k)
	}
	own, open := f.target().Analysis.MACs(w)
	parents := int64(0)
	for _, s := range f.subjects {
		n, free := s.Analysis.MACs(nil)
		parents, open = parents+n, open || free
	}
	if open {
		return 0
	}
	return tune.Affordable(f.o.data().Len(), parents, own)
}

// make fuses by a recipe, and refits on data if asked to.
func (f *fusion) make(ctx context.Context, how recipe, data *dataset.Data) (*onnxio.Model, teach.Parents, *Report, error) {
	report := f.report(how.method, how.shares)
	report.Whole = how.whole
	var child *onnxio.Model
	var maps []edit.Maps
	var err error
	if how.method == Union {
		child, maps, err = f.union(ctx, how, data, report)
	} else {
		child, maps, err = f.transport(ctx, how.shares, report)
	}
	if err != nil || !f.fits() {
		return child, nil, report, err
	}
	var parents teach.Parents
	for i, s := range f.subjects {
		if how.shares[i] == 0 && f.votes[i] == 0 {
			continue
		}
		src := teach.Parent{Subject: s, Share: how.shares[i], Vote: f.votes[i], Maps: maps[i].Made()}
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
		parents = append(parents, src)
	}
	child, report.Refit, err = refit.Refit(ctx, child, parents, refit.Options{
		Data: data, Threads: f.o.Align.Threads, Batch: f.o.Align.Batch, Outputs: f.outputs,
		Progress: func(done, total int) { f.progress("refit", done, total) },
	})
	return child, parents, report, err
}

// strays reports whether an axis of one of onto's activations could not be
// aligned with that of a model.
func (f *fusion) strays(s *edit.Subject, tensor string) bool {
	return slices.ContainsFunc(f.target().Analysis.Activations[tensor], func(a *coupling.Axis) bool {
		return slices.ContainsFunc(a.Atoms(), func(x *coupling.Axis) bool { return f.apart[s][x] })
	})
}

func (f *fusion) progress(stage string, done, total int) {
	if f.o.Progress != nil {
		f.o.Progress(stage, done, total)
	}
}

func (f *fusion) report(method Method, shares []float64) *Report {
	r := &Report{Method: method, Onto: f.onto + 1, Weights: shares, Folded: f.folded, Contribution: shares, Outputs: f.outputs}
	for _, s := range f.target().Analysis.Spaces {
		k, ok := f.widths[s]
		if !ok {
			continue
		}
		row := Space{Name: s.Name, Width: k * s.Groups, Costs: make([]float64, len(f.models)), Moved: make([]float64, len(f.models))}
		for i := range f.models {
			own := f.spaceOf(i, s)
			if own == nil {
				row.Widths = append(row.Widths, 0)
				continue
			}
			row.Widths = append(row.Widths, own.Width*own.Groups)
		}
		r.Spaces = append(r.Spaces, row)
	}
	return r
}

// spaceOf is model i's counterpart of one of onto's spaces.
func (f *fusion) spaceOf(i int, s *coupling.Space) *coupling.Space {
	if f.pairs[i] == nil {
		return s
	}
	for a, b := range f.pairs[i].Spaces {
		if b == s {
			return a
		}
	}
	return nil
}

// plan is the transport of a model onto onto.
func (f *fusion) plan(ctx context.Context, i int) (_ *match.Result, err error) {
	if f.plans[i] == nil {
		f.plans[i], err = match.Onto(ctx, f.subjects[i], f.target(), f.pairs[i], f.o.Align)
	}
	return f.plans[i], f.models[i].InFile(err)
}

// fixed are the maps of a model's spaces of which only permutations are exact: in
// a union too they are moved onto onto's.
func (f *fusion) fixed(ctx context.Context, i int) (edit.Maps, error) {
	out := edit.Maps{}
	for own, s := range f.pairs[i].Spaces {
		if _, ok := f.widths[s]; !ok || !own.Paired && !s.Paired {
			continue
		}
		plan, err := f.plan(ctx, i)
		if err != nil {
			return nil, err
		}
		out[own] = plan.Maps[own]
	}
	return out, nil
}

// transport moves every model onto one of them and averages the weights.
func (f *fusion) transport(ctx context.Context, shares []float64, report *Report) (*onnxio.Model, []edit.Maps, error) {
	sum, err := newAverage(f.target(), f.target().Model, shares[f.onto], nil)
	if err != nil {
		return nil, nil, f.models[f.onto].InFile(err)
	}
	maps := make([]edit.Maps, len(f.models))
	for i, s := range f.subjects {
		if i == f.onto {
			continue
		}
		plan, err := f.plan(ctx, i)
		if err != nil {
			return nil, nil, err
		}
		maps[i] = plan.Maps
		if err := sum.add(s, plan.Maps, f.pairs[i], shares[i]); err != nil {
			return nil, nil, f.models[i].InFile(err)
		}
		report.Sweeps = max(report.Sweeps, plan.Sweeps)
		for k, t := range f.spaces() {
			if a := f.spaceOf(i, t); a != nil {
				report.Spaces[k].Costs[i], report.Spaces[k].Moved[i] = plan.Objective[a], plan.Maps[a].Moved()
			}
		}
	}
	sum.inPlace, sum.byWeights = f.o.Align.By == match.Unaligned, f.o.Align.By != match.Activations
	out, err := sum.model()
	f.note(sum, report)
	return out, maps, err
}

// note keeps what an average could not align.
func (f *fusion) note(sum *average, report *Report) {
	report.Kept = sum.kept
	f.apart = map[*edit.Subject]map[*coupling.Axis]bool{}
	for _, p := range sum.parts {
		f.apart[p.subject] = p.apart
	}
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

// union lets the models' channels compete for the child's places, beside those
// of the model that stays whole.
func (f *fusion) union(ctx context.Context, how recipe, data *dataset.Data, report *Report) (*onnxio.Model, []edit.Maps, error) {
	shares := how.shares
	// Onto goes first: its spaces name the others'.
	order := []int{f.onto}
	for i := range f.models {
		if i != f.onto {
			order = append(order, i)
		}
	}
	var parties []choose.Party
	for _, i := range order {
		p := choose.Party{Subject: f.subjects[i], Energy: max(shares[i], 1e-9), Whole: i == how.whole-1}
		if i != f.onto {
			p.Spaces = map[*coupling.Space]*coupling.Space{}
			for a, b := range f.pairs[i].Spaces {
				p.Spaces[b] = a
			}
			var err error
			if p.Fixed, err = f.fixed(ctx, i); err != nil {
				return nil, nil, err
			}
		}
		parties = append(parties, p)
	}
	ao := f.o.Align
	ao.Data = data
	byParty, from, err := choose.Union(ctx, parties, f.widths, ao)
	if err != nil {
		return nil, nil, err
	}
	maps := make([]edit.Maps, len(f.models))
	for k, i := range order {
		maps[i] = byParty[k]
	}
	moved, err := edit.Edit(f.target(), maps[f.onto])
	if err != nil {
		return nil, nil, f.models[f.onto].InFile(err)
	}
	sum, err := newAverage(f.target(), moved, shares[f.onto], maps[f.onto])
	if err != nil {
		return nil, nil, err
	}
	for _, i := range order[1:] {
		if err := sum.add(f.subjects[i], maps[i], f.pairs[i], shares[i]); err != nil {
			return nil, nil, f.models[i].InFile(err)
		}
	}
	given, total := make([]float64, len(f.models)), 0.0
	for k, s := range f.spaces() {
		if from[s] == nil {
			continue
		}
		counts := make([]int, len(f.models))
		for j, i := range order {
			counts[i] = from[s][j]
			given[i] += float64(from[s][j])
			total += float64(from[s][j])
		}
		report.Spaces[k].From = counts
	}
	for i := range given {
		given[i] /= max(total, 1)
	}
	report.Contribution = given
	out, err := sum.model()
	f.note(sum, report)
	return out, maps, err
}

func (o Options) check(n int) (shares []float64, onto int, err error) {
	if n < 2 {
		return nil, 0, fmt.Errorf("fusing takes at least two models, got %d", n)
	}
	shares = o.Weights
	if shares == nil {
		for range n {
			shares = append(shares, 1/float64(n))
		}
	}
	if len(shares) != n {
		return nil, 0, fmt.Errorf("%d weights for %d models", len(shares), n)
	}
	total := 0.0
	for _, w := range shares {
		if !(w >= 0) || math.IsInf(w, 0) {
			return nil, 0, fmt.Errorf("weight %g is not a share", w)
		}
		total += w
	}
	if math.Abs(total-1) > 1e-6 {
		return nil, 0, fmt.Errorf("weights sum to %g, not 1", total)
	}
	onto = o.Onto - 1
	if o.Onto == 0 {
		onto = n - 1
	}
	if o.Method != Auto && o.Method != OT && o.Method != Union {
		return nil, 0, fmt.Errorf("method %q: want ot or union", o.Method)
	}
	if o.Keep < 0 || (o.Keep != 0 && o.Shape != nil) {
		return nil, 0, fmt.Errorf("keep is %g: want a positive factor, and no shape beside it", o.Keep)
	}
	if onto < 0 || onto >= n {
		return nil, 0, fmt.Errorf("there is no model %d to fuse onto: models count from 1 to %d", o.Onto, n)
	}
	return shares, onto, nil
}

// An average is a weighted sum of models in the channels of one of them.
type average struct {
	target *edit.Subject
	out    *onnxio.Model
	graph  *onnxio.Graph
	share  float64
	// whole, where set, are maps of a union: along the channels they make, every
	// model gives some and shares do not count.
	whole edit.Maps
	parts []part
	// inPlace says that channels shall be averaged as they stand, aligned or not;
	// byWeights that they were compared by their weights.
	inPlace, byWeights bool
	// kept are the weights that no part, or not every part, enters.
	kept []Kept
}

type part struct {
	subject *edit.Subject
	model   *onnxio.Model
	moved   *edit.Moved
	sources map[string]string
	share   float64
	// out are the target's weights that it does not enter, apart the atoms whose
	// channels are in another order there, for all that is known.
	out   map[string]bool
	apart map[*coupling.Axis]bool
}

func newAverage(target *edit.Subject, m *onnxio.Model, share float64, whole edit.Maps) (*average, error) {
	out := m.Clone()
	g, err := target.GraphOf(out)
	if err != nil {
		return nil, err
	}
	return &average{target: target, out: out, graph: g, share: share, whole: whole}, nil
}

// add adds a model under maps, whose weights are made when they are needed.
func (a *average) add(s *edit.Subject, maps edit.Maps, pair *match.Pairing, share float64) error {
	moved, err := edit.NewMoved(s, maps)
	if err != nil {
		return err
	}
	a.parts = append(a.parts, part{subject: s, model: s.Model, moved: moved, sources: pair.Sources, share: share})
	return nil
}

// made reports whether single models give channels along an axis of a weight.
func (a *average) made(name string) bool {
	_, given := a.target.Alone(name, a.whole)
	return given != nil
}

// model carries out the sum, weight by weight. Weights without a counterpart
// (constants that are no part of the architecture) stay the target's.
func (a *average) model() (*onnxio.Model, error) {
	if err := a.keep(); err != nil {
		return nil, err
	}
	for name := range a.target.Analysis.Weights {
		if _, ok := a.parts[0].sources[name]; !ok || len(a.entering(name)) == 0 {
			continue
		}
		sum, err := a.sum(name)
		if err != nil {
			return nil, fmt.Errorf("weight %q: %w", name, err)
		}
		sum.Name = name
		if err := a.graph.SetConstant(sum); err != nil {
			return nil, err
		}
	}
	a.graph.Commit()
	return a.out, nil
}

// largeWeight is the number of elements from which on the models' tensors are
// not made at the same time, and largePart how many of the target's are read at
// once.
const largeWeight, largePart = 16 << 20, 1 << 20

// sum is the weighted sum of the target's tensor of a name and those of the
// parts. Positions that one model alone gives count whole.
func (a *average) sum(name string) (_ *onnxio.Tensor, err error) {
	defer guard.Recover(&err)
	axis, given := a.target.Alone(name, a.whole)
	mixed := slices.Contains(given, true) && slices.Contains(given, false)
	share := func(s float64) float64 {
		if given != nil {
			return 1
		}
		return s
	}
	large := a.target.Analysis.Weights[name].Len() >= largeWeight && !mixed
	parts := a.entering(name)
	moved, err := a.moved(name, parts, !large)
	if err != nil {
		return nil, err
	}
	terms := make([]term, 1+len(moved))
	for i, t := range moved {
		terms[1+i] = term{t, share(parts[i].share)}
	}
	terms[0].share = share(a.share)
	if len(parts) < len(a.parts) && given == nil { // the shares are those of all models
		rescale(terms)
	}
	tp := a.graph.Constant(name)
	if large && tp.GetDataType() == int32(onnxio.Float) && !slices.ContainsFunc(moved, func(t *onnxio.Tensor) bool { return t.Type != onnxio.Float }) {
		return a.sumByParts(tp, terms, largePart)
	}
	if terms[0].tensor, err = a.out.Tensor(tp); err != nil {
		return nil, err
	}
	if mixed {
		terms[0].spread(a.share, axis, given)
		for i, p := range parts {
			terms[1+i].spread(p.share, axis, given)
		}
	}
	return total(terms)
}

// entering lists the parts whose weight enters the sum for the target's.
func (a *average) entering(name string) []part {
	return slices.DeleteFunc(slices.Clone(a.parts), func(p part) bool { return p.out[name] })
}

// rescale makes the shares sum to one. Where no model that is left has a share
// the target has it.
func rescale(terms []term) {
	sum := 0.0
	for _, t := range terms {
		sum += t.share
	}
	for i := range terms {
		if sum == 0 {
			terms[0].share, sum = 1, 1
		}
		terms[i].share /= sum
	}
}

// spread multiplies the term by a share, except for the positions of an axis that
// are given.
func (t *term) spread(share float64, axis int, given []bool) {
	inner := 1
	for _, d := range t.tensor.Dims[axis+1:] {
		inner *= d
	}
	v := t.tensor.Float64()
	for i := range v {
		if !given[i/inner%len(given)] {
			v[i] *= share
		}
	}
	t.tensor = onnxio.NewTensor(t.tensor.Name, t.tensor.Type, t.tensor.Dims, v)
}

// sumByParts is total for large weights. The first term's tensor is read size
// elements at a time, and the second's is written over.
func (a *average) sumByParts(tp *onnxpb.TensorProto, terms []term, size int) (*onnxio.Tensor, error) {
	out := terms[1].tensor
	out.Dims = nil
	for _, d := range tp.Dims {
		out.Dims = append(out.Dims, int(d))
	}
	row := out.Len() / out.Dims[0]
	part := slices.Clone(terms)
	n := max(1, size/row)
	for from := 0; from < out.Dims[0]; from += n {
		own, err := a.out.Rows(tp, from, min(n, out.Dims[0]-from))
		if err != nil {
			return nil, err
		}
		part[0].tensor = own
		for i, t := range terms[1:] {
			part[1+i].tensor = &onnxio.Tensor{Type: onnxio.Float, Dims: own.Dims, F32: t.tensor.F32[from*row:][:own.Len()]}
		}
		sum, err := total(part)
		if err != nil {
			return nil, fmt.Errorf("from element %d on: %w", from*row, err)
		}
		copy(out.F32[from*row:], sum.F32)
	}
	return out, nil
}

// moved returns the tensors of parts for the target's of a name.
func (a *average) moved(name string, parts []part, atOnce bool) ([]*onnxio.Tensor, error) {
	out, errs := make([]*onnxio.Tensor, len(parts)), make([]error, len(parts))
	var wait guard.Group
	for i, p := range parts {
		src, ok := p.sources[name]
		if !ok {
			return nil, fmt.Errorf("weight %q has no counterpart in %q", name, p.model.Path)
		}
		one := func() { out[i], errs[i] = p.moved.Tensor(src) }
		if atOnce {
			wait.Go(one)
		} else {
			one()
		}
	}
	wait.Wait()
	want := elements(a.graph.Constant(name).Dims)
	for i, p := range parts {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if int64(out[i].Len()) != want {
			return nil, fmt.Errorf("weight %q: %v elements of %q against %v", name, out[i].Dims, p.sources[name], a.graph.Constant(name).Dims)
		}
	}
	return out, nil
}

func elements(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

// A term is a tensor times its share.
type term struct {
	tensor *onnxio.Tensor
	share  float64
}

// total adds terms of equal sizes up, in float64, and rounds to the type of the
// first, whose elements it may write over. NaN is an error.
func total(terms []term) (*onnxio.Tensor, error) {
	t := terms[0].tensor
	if !slices.ContainsFunc(terms, func(x term) bool { return x.tensor.Type != onnxio.Float }) {
		const block = 512 // a block at a time stays in the cache
		var acc [block]float64
		for from := 0; from < len(t.F32); from += block {
			dst := t.F32[from:min(from+block, len(t.F32))]
			sum := acc[:len(dst)]
			for i, v := range dst {
				sum[i] = terms[0].share * float64(v)
			}
			for _, x := range terms[1:] {
				for i, v := range x.tensor.F32[from:][:len(sum)] {
					sum[i] += x.share * float64(v)
				}
			}
			for i, v := range sum {
				if math.IsNaN(v) {
					return nil, fmt.Errorf("element %d is NaN", from+i)
				}
				dst[i] = float32(v)
			}
		}
		return t, nil
	}
	sum := t.Float64()
	for i := range sum {
		sum[i] *= terms[0].share
	}
	for _, x := range terms[1:] {
		for i, v := range x.tensor.Float64() {
			sum[i] += x.share * v
		}
	}
	if i := slices.IndexFunc(sum, math.IsNaN); i >= 0 {
		return nil, fmt.Errorf("element %d is NaN", i)
	}
	return onnxio.NewTensor(t.Name, t.Type, t.Dims, sum), nil
}
