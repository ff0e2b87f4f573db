package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/admit"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/memory"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/internal/tune"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// A Run is one compression or fusion: its settings, its data and what is to be told about them.
type Run struct {
	job.Options
	// Matching is how channels are matched.
	Matching match.Options
	// Report says what was done so far; its Split holds the data.
	Report job.Report

	bytes int64         // of the largest model
	unfit error         // why no model can be run on inputs that are made up
	usual time.Duration // job.DefaultTime of the models
	began time.Time
	lap   time.Time // when the last part ended that Spent counts
}

// Mistakef returns a job.Mistake.
func Mistakef(format string, args ...any) error {
	return &job.Mistake{Err: fmt.Errorf(format, args...)}
}

// Policy is what compressing and fusing do differently with their data.
type Policy struct {
	// Invent makes inputs up where there are none.
	Invent bool
	// HoldOut keeps samples to judge the result on; Always keeps the usual share of them, even where
	// NoEval is set: a search cannot do without.
	HoldOut, Always bool
}

// Start checks the settings and gets the data ready. The first model says what inputs they are for.
// Errors name the model or the data set.
func Start(ctx context.Context, models []*onnxio.Model, o job.Options, policy Policy) (*Run, error) {
	now := time.Now()
	r := &Run{Options: o, Report: job.Report{Split: &job.Split{}, Shapes: o.InputShapes, Spent: &job.Spent{}}, began: now, lap: now, usual: job.DefaultTime(models...)}
	for _, m := range models {
		_, bytes := m.Size()
		r.bytes = max(r.bytes, bytes)
	}
	if o.NoData {
		r.Data = nil
	}
	if r.Memory == 0 {
		r.Memory = memory.Default()
	}
	r.Matching = match.Options{
		By: match.Basis(o.Align), Cost: match.Metric(o.Cost), Mass: match.Mass(o.Mass), Scaling: edit.Scaling(o.Scaling),
		Solver: match.Solver(o.Solver), Epsilon: o.Epsilon, Threads: o.Threads, Batch: o.Batch, Progress: r.Stage("match"),
	}
	var err error
	if r.Data, err = r.finite(models[0], r.Data); err != nil {
		return nil, err
	}
	if o.EvalData, err = r.finite(models[0], o.EvalData); err != nil {
		return nil, err
	}
	if r.Report.Split.Judge, err = r.readable(o.EvalData); err != nil {
		return nil, err
	}
	if err := r.admit(ctx, models, policy); err != nil {
		return nil, err
	}
	for _, d := range []**dataset.Data{&r.Data, &r.Report.Split.Judge} {
		if *d, err = r.unpadded(ctx, models, *d); err != nil {
			return nil, err
		}
	}
	if err := r.open(ctx, models[0], policy); err != nil {
		return nil, err
	}
	r.Report.By = string(r.Matching.By)
	s := r.Report.Split
	for _, d := range []*dataset.Data{s.Fit, s.Judge} { // costs are counted at the sizes that samples have
		r.Report.Shapes = dataset.Shapes(models[0], d, r.Report.Shapes)
	}
	return r, cmp.Or(r.Matching.Check(), r.checkTime())
}

// Begins tells, once, that models, settings and data have been looked at.
func (r *Run) Begins() {
	if r.Checked != nil {
		r.Checked()
		r.Checked = nil
	}
}

func (r *Run) checkTime() error {
	if r.Time < 0 {
		return Mistakef("time is %s: want a positive one", r.Time)
	}
	return nil
}

// admit looks whether the models can be run, where they are to be, and on how many samples at once.
// Without data those that are too large need not be.
func (r *Run) admit(ctx context.Context, models []*onnxio.Model, policy Policy) error {
	data := cmp.Or(r.Data, r.EvalData)
	if _, err := r.Available(); err != nil || data == nil && !r.invents(policy) {
		return nil
	}
	for _, m := range models {
		switch err := admit.On(ctx, m, data, admit.Options{Shapes: r.InputShapes, Trial: r.Trials}); {
		case errors.Is(err, engine.ErrMemory) && data == nil:
			r.unfit = err
		case err != nil:
			return err
		}
		asked := cmp.Or(r.Batch, dataset.DefaultBatch)
		if n := admit.Batch(m, dataset.Shapes(m, data, r.InputShapes), asked); n < asked {
			r.Batch, r.Matching.Batch = n, n
		}
	}
	return nil
}

// Available finds onnxruntime.
func (r *Run) Available() (engine.Library, error) {
	if r.Runtime != nil {
		return r.Runtime()
	}
	return engine.Available()
}

// invents reports whether inputs are to be made up.
func (r *Run) invents(policy Policy) bool {
	return policy.Invent && r.Data == nil && !r.NoData && r.Align == "" && r.Refit != job.Off
}

// open finds the samples that are worked with, and what channels are compared by.
func (r *Run) open(ctx context.Context, m *onnxio.Model, policy Policy) error {
	invents := r.invents(policy)
	fits := r.Refit == job.On || r.Refit == job.Auto && r.Align == "" && (r.Data != nil || invents)
	by := match.Basis(r.Align)
	if by == "" {
		by = match.Weights
		if r.Data != nil {
			by = match.Activations
		}
	}
	r.Matching.By = match.Weights
	switch {
	case fits && r.Data == nil && !invents:
		return fmt.Errorf("a refit needs data")
	case r.DryRun && !fits:
		return nil // nothing is compared
	case by != match.Activations && !fits:
		r.Matching.By = by
		if r.Data != nil {
			r.note("the data are not used: channels are compared by %s", by)
		} else if r.Align == "" {
			r.note("no data: channels are compared by their weights")
		}
		return nil
	case r.Data == nil && by == match.Activations:
		return fmt.Errorf("aligning by activations needs data")
	case r.Data == nil:
		if err := r.invent(m); err != nil {
			return err
		}
	default:
		r.Matching.By = by
		if err := r.part(policy, fits); err != nil {
			return err
		}
	}
	return r.examine(ctx, m)
}

// part decides which samples do what.
func (r *Run) part(policy Policy, fits bool) (err error) {
	data, split := r.Data, r.Report.Split
	samples, refits := r.Wanted()
	if policy.HoldOut && r.EvalData == nil && (policy.Always || !r.NoEval) && !r.DryRun {
		data = holdOut(split, data, max(samples, refits), policy.Always)
		if policy.Always && (split.Judge == nil || split.Judge.Len() == 0) {
			if _, err := r.readable(r.Data); err != nil { // there may be none at all
				return err
			}
			return Mistakef("data %s has too few samples to hold some out: --eval-data gives others", r.Data.Name())
		}
		if split.Judge, err = r.readable(split.Judge); err != nil {
			return err
		}
	}
	// Of many samples only those that are used are read. They have been shuffled then.
	seed := r.Seed
	if most := max(samples, refits); most < data.Len() {
		data, seed = data.Sample(most, seed), dataset.FileOrder
	}
	if data, err = r.readable(data); err != nil {
		return err
	}
	var compared, fit *dataset.Data
	if r.Matching.By == match.Activations {
		compared = data.Sample(samples, seed)
	}
	if fits {
		fit = data.Sample(refits, seed)
	}
	r.use(compared, fit)
	return nil
}

func (r *Run) use(compared, fit *dataset.Data) {
	r.Matching.Data = compared
	r.Report.Split.Match, r.Report.Split.Fit = compared, fit
	if compared != nil {
		r.Report.Samples = compared.Len()
	}
	if fit != nil {
		r.Report.RefitSamples = fit.Len()
	}
}

// readable leaves out what of the data cannot be read. It may be nil.
func (r *Run) readable(data *dataset.Data) (*dataset.Data, error) {
	if data == nil {
		return nil, nil
	}
	out, err := data.Readable(r.Stage("read"))
	return r.remarked(out, data, err)
}

// finite looks for samples that are no numbers, which are an error unless they are to be left out.
func (r *Run) finite(m *onnxio.Model, data *dataset.Data) (*dataset.Data, error) {
	if data == nil {
		return nil, nil
	}
	out, err := data.Finite(m, r.DropBad)
	return r.remarked(out, data, err)
}

// unpadded leaves out padding that no model needs. The data may be nil.
func (r *Run) unpadded(ctx context.Context, models []*onnxio.Model, data *dataset.Data) (*dataset.Data, error) {
	if data == nil {
		return nil, nil
	}
	out, err := data.Unpadded(ctx, models, r.Threads)
	return r.remarked(out, data, err)
}

// remarked warns of what is new in the remarks of a part of some data.
func (r *Run) remarked(out, of *dataset.Data, err error) (*dataset.Data, error) {
	if err != nil {
		return nil, err
	}
	for _, remark := range out.Remarks()[len(of.Remarks()):] {
		r.Warnf("%s", remark)
	}
	return out, nil
}

// fewSamples are too few to be fitted on without a word.
const fewSamples = 32

// examine warns of what seems to be wrong with the data.
func (r *Run) examine(ctx context.Context, m *onnxio.Model) error {
	data := r.Report.Split.Fit
	if data == nil {
		data = r.Report.Split.Match
	}
	if data == nil || r.Report.Synthetic {
		return nil
	}
	remarks, err := dataset.Examine(ctx, m, data, r.Threads)
	if err != nil {
		return err
	}
	if n := data.Len(); n < fewSamples {
		samples := "samples"
		if n == 1 {
			samples = "sample"
		}
		r.Warnf("%s: %d %s to fit on; a few hundred make a better model", data.Name(), n, samples)
	}
	for _, remark := range remarks {
		r.Warnf("%s", remark)
	}
	return nil
}

const (
	// mostMadeUp samples are enough: more noise says nothing new. Large models, in which every
	// sample has many positions, get by with fewer, but no less than leastMadeUp.
	mostMadeUp, leastMadeUp = 500, 32
	// madeUpMACs is what running the model once on all made-up samples may cost.
	madeUpMACs = 5e11
	// mostTaught is the size in bytes from which on a model is not distilled on noise unless that
	// is asked for: what trains a perceptron of 400 MB takes five times its memory and minutes, and
	// was undone for being no better.
	mostTaught = 64 << 20
)

// invent makes inputs out of noise. Where that cannot be, channels are compared by their weights.
func (r *Run) invent(m *onnxio.Model) error {
	n := mostMadeUp
	if an, err := coupling.Analyze(m, coupling.Options{InputShapes: r.InputShapes}); err == nil {
		macs, _ := an.MACs(nil)
		n = int(min(mostMadeUp, max(leastMadeUp, madeUpMACs/max(float64(macs), 1))))
	}
	samples, refits := r.Wanted()
	_, err := r.Available()
	err = cmp.Or(err, r.unfit)
	var fit *dataset.Data
	if err == nil {
		fit, err = dataset.Synthetic(m, dataset.SyntheticOptions{
			Samples: min(n, refits), Seed: max(r.Seed, 0), Shapes: r.InputShapes, Preprocess: r.Preprocess,
		})
	}
	if err != nil {
		if r.Refit == job.On {
			return fmt.Errorf("a refit without data: %w", err)
		}
		r.note("no data, and no inputs could be made up (%s): channels are compared by their weights", strings.Join(strings.Fields(err.Error()), " "))
		return nil
	}
	r.Report.Synthetic = true
	r.Matching.By = match.Activations
	r.use(fit.Sample(samples, dataset.FileOrder), fit)
	r.note("no data: layers are refitted on %d made-up inputs (noise); a few hundred real ones make a better model", fit.Len())
	if r.Tune == job.Auto && r.bytes >= mostTaught && !r.DryRun {
		r.Tune = job.Off
		r.note("not distilled on made-up inputs: for a model of this size that takes long and much memory, and noise teaches it little")
	}
	return nil
}

// Fits reports whether channels are chosen by data and operators refitted.
func (r *Run) Fits() bool { return r.Report.Split.Fit != nil }

// HasData reports whether there are data of any use.
func (r *Run) HasData() bool { return r.Fits() || r.Matching.Data != nil }

// Coupling are the settings of the analysis. What is computed in the branches of an If cannot be
// measured, so that with data they stay as they are.
func (r *Run) Coupling() coupling.Options {
	return coupling.Options{InputShapes: r.Report.Shapes, Opaque: r.HasData()}
}

// Subject analyses a model. Its normalisations are folded into the layers before them, unless they
// are to stay.
func (r *Run) Subject(m *onnxio.Model) (s *edit.Subject, folded int, err error) {
	if !r.KeepBatchNorm {
		var names []string
		if m, names, err = edit.FoldBatchNorm(m, nil); err != nil {
			return nil, 0, err
		}
		folded = len(names)
	}
	s, err = edit.NewSubject(m, r.Coupling())
	return s, folded, err
}

// Changes reports whether any space gets another width.
func Changes(widths map[*coupling.Space]int) bool {
	for s, k := range widths {
		if k != s.Width {
			return true
		}
	}
	return false
}

// FindTasks decides what the outputs are for, on the data with labels if there are any.
func (r *Run) FindTasks(ctx context.Context, models []*onnxio.Model) (err error) {
	data, judge := r.Report.Split.Fit, r.Report.Split.Judge
	if judge != nil && (data == nil || r.EvalData != nil && judge.Labels() != nil) {
		data = judge
	}
	if data != nil {
		r.Stage("tasks")(0, 0)
	}
	r.Report.Outputs, err = eval.FindTasks(ctx, models, data, r.Tasks, dataset.StreamOptions{Batch: r.Batch, Threads: r.Threads})
	return err
}

// Made is an edited model with the models that it was made of.
type Made struct {
	Child   *onnxio.Model
	Parents teach.Parents
}

// A Maker makes a model, choosing its channels on some samples.
type Maker func(ctx context.Context, fit *dataset.Data) (Made, error)

// A Contest compares models that are made on some samples, Fit, by how far their predictions are
// from their parents' on others.
type Contest struct {
	Fit   *dataset.Data
	run   *Run
	judge *teach.Judge
}

// Contest returns one judged on held samples by the parents, which count by their shares.
func (r *Run) Contest(ctx context.Context, parents teach.Parents, fit, held *dataset.Data) (*Contest, error) {
	judge, err := teach.NewJudge(ctx, parents, held, teach.Options{Threads: r.Threads, Batch: r.Batch, Memory: r.Memory, Outputs: r.Report.Outputs})
	return &Contest{fit, r, judge}, err
}

// Reuse makes it cheaper to judge models that are mostly a given one, see teach.Judge.
func (c *Contest) Reuse(s *edit.Subject) error { return c.judge.Reuse(s) }

// Close frees what Reuse takes.
func (c *Contest) Close() error { return c.judge.Close() }

// Try makes a model, refits it if that is wanted, and returns how far its predictions are from the
// parents': infinitely far if they are no numbers.
func (c *Contest) Try(ctx context.Context, refits bool, make Maker) (divergence float64, err error) {
	made, err := make(ctx, c.Fit)
	if err == nil && refits {
		made.Child, err = c.run.refit(ctx, made, c.Fit, &job.Report{})
	}
	if err != nil {
		return 0, err
	}
	return c.Divergence(ctx, made.Child)
}

// Divergence is how far the predictions of a model are from the parents'.
func (c *Contest) Divergence(ctx context.Context, m *onnxio.Model) (float64, error) {
	return c.judge.Divergence(ctx, m)
}

// TryIf is Try of a model that is refitted only if it is promising as it was made.
func (c *Contest) TryIf(ctx context.Context, promising func(divergence float64) bool, make Maker) (divergence float64, refitted bool, err error) {
	made, err := make(ctx, c.Fit)
	if err != nil {
		return 0, false, err
	}
	if divergence, err = c.Divergence(ctx, made.Child); err != nil || !promising(divergence) {
		return divergence, false, err
	}
	if made.Child, err = c.run.refit(ctx, made, c.Fit, &job.Report{}); err != nil {
		return 0, false, err
	}
	divergence, err = c.Divergence(ctx, made.Child)
	return divergence, true, err
}

// Finish makes the result: edited, refitted if that is wanted, and distilled if that is.
func (r *Run) Finish(ctx context.Context, refits, distils bool, make Maker, report *job.Report) (*onnxio.Model, error) {
	made, err := make(ctx, r.fit(distils))
	if err != nil {
		return nil, err
	}
	r.Spend(&r.Report.Spent.Statistics)
	if refits {
		if made.Child, err = r.Refitted(ctx, made, distils, report); err != nil {
			return nil, err
		}
	}
	if !distils {
		return made.Child, nil
	}
	return r.Distilled(ctx, made, report)
}

// fit are the samples that a result is fitted on: where it is to be distilled, some are held out
// that tell whether that helped.
func (r *Run) fit(distils bool) *dataset.Data {
	if distils {
		return r.Teach().Fit
	}
	return r.Report.Split.Fit
}

// Refitted is a result with its operators refitted, on samples that leave some to judge a distillation
// where one follows.
func (r *Run) Refitted(ctx context.Context, made Made, distils bool, report *job.Report) (*onnxio.Model, error) {
	out, err := r.refit(ctx, made, r.fit(distils), report)
	r.Spend(&r.Report.Spent.Refits)
	return out, err
}

// Distilled is a result that its parents have been distilled into, if that helped.
func (r *Run) Distilled(ctx context.Context, made Made, report *job.Report) (*onnxio.Model, error) {
	tell := r.Stage(job.Distilling)
	tell(0, 0)
	out, done, err := tune.Distill(ctx, made.Child, made.Parents, tune.Options{
		Options: teach.Options{Threads: r.Threads, Memory: r.Memory, Outputs: r.Report.Outputs, Progress: tell},
		Data:    r.fit(true), HeldOut: r.Teach().Held, Epochs: r.Epochs, Until: r.until(time.Now(), report), Stop: r.Stop,
	})
	r.Spend(&r.Report.Spent.Distillation)
	report.Tune = done
	return out, err
}

// until is when a distillation that begins now shall end; zero where epochs decide. What a report
// says about it becomes a note.
func (r *Run) until(now time.Time, report *job.Report) time.Time {
	least := r.usual / 2
	end := r.began.Add(cmp.Or(r.Time, r.usual))
	switch {
	case r.Time == 0 && r.Epochs > 0:
		return time.Time{}
	case r.Time == 0 && end.Sub(now) < least:
		report.Notes = append(slices.Clip(report.Notes), fmt.Sprintf("what came before the distillation took %s, so that all takes longer than %s", now.Sub(r.began).Round(time.Second), r.usual))
		return now.Add(least)
	}
	return end
}

// Spend adds the time since it was last called to a part.
func (r *Run) Spend(part *float64) {
	now := time.Now()
	*part += now.Sub(r.lap).Seconds()
	r.lap = now
}

func (r *Run) refit(ctx context.Context, made Made, fit *dataset.Data, report *job.Report) (out *onnxio.Model, err error) {
	out, report.Refit, err = refit.Refit(ctx, made.Child, made.Parents, r.refitting(fit))
	return out, err
}

// FittedNear is a model of which only what makes some tensors, or reads them first, is fitted.
func (r *Run) FittedNear(ctx context.Context, made Made, tensors []string, fit *dataset.Data) (_ Made, err error) {
	o := r.refitting(fit)
	o.Near, o.Progress = tensors, nil
	made.Child, _, err = refit.Refit(ctx, made.Child, made.Parents, o)
	return made, err
}

func (r *Run) refitting(fit *dataset.Data) refit.Options {
	return refit.Options{
		Options: teach.Options{Threads: r.Threads, Batch: r.Batch, Memory: r.Memory, Outputs: r.Report.Outputs, Progress: r.Stage("refit")}, Data: fit,
	}
}

// Distils reports whether results are distilled.
func (r *Run) Distils() bool { return r.Tune != job.Off && r.Fits() }

// Inside runs what follows as part of one stage: tell says how far that is, and nothing else is
// told until end.
func (r *Run) Inside(stage string) (tell func(done, total int), end func()) {
	progress := r.Progress
	r.Progress = nil
	tell = func(done, total int) {
		if progress != nil {
			progress(stage, done, total)
		}
	}
	return tell, func() { r.Progress = progress }
}

func (r *Run) note(format string, args ...any) {
	r.Report.Notes = append(r.Report.Notes, fmt.Sprintf(format, args...))
}

// Warnf tells whoever asked for the run of something that they have to know.
func (r *Run) Warnf(format string, args ...any) {
	if r.Warn != nil {
		r.Warn(fmt.Sprintf(format, args...))
	}
}
