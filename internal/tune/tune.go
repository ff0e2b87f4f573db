package tune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"gonum.org/v1/gonum/stat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

// Options are the settings of a distillation. Data is required; the zero value of everything else
// is useful.
type Options struct {
	// Options hold the number of samples per step as the batch; zero means one in 16 of the data,
	// at least 16 and at most 32.
	teach.Options
	// Data are the calibration inputs.
	Data *dataset.Data
	// HeldOut are inputs that tell whether the result is better than the child; neither the child's
	// weights nor the result's must have been fitted on them (job.Split.Teach). Nil means that both
	// are compared on variants of the data (teach.Variants).
	HeldOut *dataset.Data
	// Epochs is how often every input is seen; zero means as often as it takes mostSteps steps.
	Epochs int
	// Until is when the distillation shall end; zero: whenever all steps are taken. The schedule of
	// rates is complete then, with as many steps as fit; where fewer than leastSteps do, nothing is
	// trained.
	Until time.Time
	// Stop, once it is closed, ends the distillation after the step that is under way. The result
	// is judged and returned as any other. It may be nil.
	Stop <-chan struct{}
	// Rate is the largest step, relative to the root mean square of a weight; zero means 0.025.
	Rate float64
	// Closeness is what the squared error of an inner activation, relative to its variance, counts
	// at first against a nat of divergence at the outputs; zero means 3. It falls to zero over the
	// run: at first inner activations say more about each input than the outputs do, in the end
	// only the outputs matter.
	Closeness float64
	// Seed chooses the order of the samples and what is done to them.
	Seed int64
}

const (
	// mostSteps are taken where no number of epochs is given. A VGG at half its widths had 73.7 % of
	// the test images right after 500 steps, 74.1 % after 1,000 and 74.3 % after 2,000. With fewer
	// than leastSteps nothing is trained.
	mostSteps, leastSteps = 2000, 40
	// trainingRuns is what a run forwards and backwards costs, in runs forwards.
	trainingRuns = 3
)

// batchOf is the number of samples per step: many steps matter more than large ones as long as
// there are few. A VGG11 of an eighth of its widths on 900 images got 73.4 % of the test images right
// after 500 steps of 28, 72.9 % after 300 of 56 and 73.0 % after 1,000 of 16, for which a processor
// worked 21, 22 and 26 seconds.
func batchOf(samples int) int { return max(1, min(samples, max(16, min(32, samples/16)))) }

// A Report says what a distillation did.
type Report struct {
	Samples int `json:"samples"` // trained on
	// Epochs is how often they were seen, the last time perhaps not all of them, in Steps steps.
	Epochs int `json:"epochs"`
	Steps  int `json:"steps"`
	// Seconds is the time that all of this took, Ended why it did not take longer.
	Seconds float64 `json:"seconds"`
	Ended   Ending  `json:"ended,omitempty"`
	// Parameters is the number of values that were trained.
	Parameters int `json:"parameters"`
	// Taps is the number of activations that were kept close to the parents'.
	Taps int `json:"taps"`
	// HeldOut is the number of samples that Before and After were measured on, and on variants of
	// them. Zero means variants of those that were trained on. Before and After are what child and
	// result lose at the outputs: what teach.Judge.Divergence says, and for logits the squared
	// error beside it.
	HeldOut int     `json:"held_out"`
	Before  float64 `json:"loss_before"`
	After   float64 `json:"loss_after"`
	// Losses are what training lost at the outputs, the means over equal parts of the steps: at most
	// mostLosses of them. Inner activations, which count at first, are left out.
	Losses []float64 `json:"losses,omitempty"`
	// Rate is that of the largest steps: what was asked for, or what moves the outputs as far as a
	// step may, if that is less.
	Rate float64 `json:"rate"`
	// Confidence is what the logits of the result were multiplied by in the end, so that it is as
	// sure as the parents are in the mean; 0 where there are none that can be.
	Confidence float64 `json:"confidence,omitempty"`
	// Note says why nothing was trained, "" if something was.
	Note string `json:"note,omitempty"`
	// Kept is set where the result was no better, and the child was returned as it was.
	Kept bool `json:"reverted"`
}

const (
	// warmUp is the number of steps over which the rate rises.
	warmUp = 20
	// fullRate is the number of steps from which on the rate is used in full.
	fullRate = 400
)

func (o *Options) defaults() {
	o.Rate = cmp.Or(o.Rate, 0.025)
	o.Batch = cmp.Or(o.Batch, batchOf(o.Data.Len()))
	o.Closeness = cmp.Or(o.Closeness, 3)
}

// errUntrainable says that a model has no parameters that can be trained here.
var errUntrainable = errors.New("the model cannot be trained")

// Distill returns a copy of the child whose linear operators have been trained to predict what the
// parents predict, the mean of their probabilities or outputs weighted with their votes, and to
// compute on the way what they compute. Where that does not bring it nearer to the parents, or
// where gradients reach no parameters of the child, the copy is as the child, and the report says
// so. No labels are used.
func Distill(ctx context.Context, child *onnxio.Model, parents teach.Parents, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	if o.Data == nil {
		return nil, nil, fmt.Errorf("training needs data")
	}
	if len(parents) == 0 {
		return nil, nil, fmt.Errorf("training needs a parent")
	}
	began := time.Now()
	if !o.Until.IsZero() && !began.Before(o.Until) {
		return child.Clone(), &Report{Note: errHasty.Error()}, nil
	}
	o.defaults()
	r := &run{o: o, parents: parents, child: child, rng: rand.New(rand.NewPCG(uint64(o.Seed), 7))}
	defer r.close()
	out, report, err := r.distill(ctx)
	if errors.Is(err, errUntrainable) || errors.Is(err, errHasty) {
		out, report, err = child.Clone(), &Report{Note: err.Error()}, nil
	}
	if report != nil {
		report.Seconds = time.Since(began).Seconds()
	}
	return out, report, err
}

// distill is Distill without what goes wrong as foreseen.
func (r *run) distill(ctx context.Context) (*onnxio.Model, *Report, error) {
	if err := r.open(ctx); err != nil {
		return nil, nil, err
	}
	judge, err := r.judge(ctx)
	if err != nil {
		return nil, nil, err
	}
	report, judging := r.report(), time.Now()
	if report.Before, err = judge.Divergence(ctx, r.child); err != nil {
		return nil, nil, err
	}
	if !r.o.Until.IsZero() { // the result is judged too
		r.o.Until = r.o.Until.Add(-time.Since(judging))
	}
	if err := r.train(ctx, judge, report); err != nil {
		return nil, nil, err
	}
	out, err := r.trainer.stored(r.child)
	if err != nil {
		return nil, nil, err
	}
	if report.After, err = judge.Divergence(ctx, out); err != nil {
		return nil, nil, err
	}
	if report.Kept = !(report.After < report.Before); report.Kept {
		return r.child.Clone(), report, nil
	}
	if report.Confidence, err = r.calibrate(ctx, out, judge); err != nil {
		return nil, nil, err
	}
	out, err = r.trainer.stored(r.child)
	return out, report, err
}

// judge compares models with the parents on inputs that none was fitted on, at the outputs and at
// logits.
func (r *run) judge(ctx context.Context) (*teach.Judge, error) {
	data := teach.Variants(r.o.Data)
	if held := r.o.HeldOut; held != nil && held.Len() > 0 {
		data = teach.Judged(held)
	}
	var goals []*teach.Goal
	for _, g := range r.trainer.goals {
		if g.Kind != teach.Inner {
			goals = append(goals, &g.Goal)
		}
	}
	return teach.NewJudgeOf(ctx, r.parents, goals, data, teach.Options{Threads: r.o.Threads})
}

// report says what is going to be done.
func (r *run) report() *Report {
	out := &Report{Samples: r.o.Data.Len()}
	if r.o.HeldOut != nil {
		out.HeldOut = r.o.HeldOut.Len()
	}
	for _, g := range r.trainer.goals {
		if g.tap {
			out.Taps++
		}
	}
	for _, p := range r.trainer.params {
		out.Parameters += p.Len()
	}
	return out
}

// run is the state of one distillation.
type run struct {
	o        Options
	parents  teach.Parents
	child    *onnxio.Model
	rng      *rand.Rand
	reader   *reader
	sessions []*engine.Session // of the parents
	trainer  *trainer
	trainers []*trainer // for short sequences, shortest first, and the trainer itself
	adam     *adam
	muon     *muon // nil where nothing is moved by it
}

func (r *run) close() {
	for _, s := range r.sessions {
		s.Close()
	}
	if len(r.trainers) == 0 && r.trainer != nil {
		r.trainer.session.Close()
	}
	for _, t := range r.trainers {
		t.session.Close()
	}
	if r.muon != nil {
		r.muon.session.Close()
	}
}

// open prepares what training needs.
func (r *run) open(ctx context.Context) (err error) {
	if r.o.Outputs, err = r.parents.Tasks(ctx, r.o.Data, r.o.Options); err != nil {
		return err
	}
	g, err := r.child.Graph()
	if err != nil {
		return err
	}
	if r.reader, err = newReader(r.child, r.o.Data, r.o.Batch); err != nil {
		return err
	}
	seen, err := r.look(ctx, g)
	if err != nil {
		return err
	}
	examples, err := r.reader.examples(r.o.Data)
	if err != nil {
		return err
	}
	goals, err := r.goals(ctx, g, examples[0])
	if err != nil {
		return err
	}
	if err := r.openParents(goals); err != nil {
		return err
	}
	if err := r.weigh(ctx, goals, examples); err != nil {
		return err
	}
	if r.reader.units > 1 {
		if err := seen.resize(ctx, r.child, examples[0]); err != nil {
			return err
		}
	}
	if r.trainer, err = newTrainer(ctx, r.child, goals, seen, r.o.Threads); err != nil {
		return err
	}
	if err := r.shorten(ctx, seen); err != nil {
		return err
	}
	r.adam = newAdam()
	return r.openMuon(g)
}

// openMuon leaves to muon what it moves.
func (r *run) openMuon(g *onnxio.Graph) error {
	an, err := coupling.Analyze(r.child, coupling.Options{Opaque: true})
	if err != nil {
		return err
	}
	sample, _ := an.MACs(nil)
	sample *= trainingRuns
	for i := range r.parents {
		macs, _ := r.parents[i].Subject.Analysis.MACs(nil)
		sample += macs
	}
	step := r.share() * float64(sample) * float64(r.reader.samples())
	list := matricesOf(g, r.trainer.names, r.trainer.params, int64(step))
	if len(list) > 0 {
		r.muon, err = newMuon(list, r.o.Threads)
	}
	return err
}

// errHasty says that next to nothing could be learnt in the time.
var errHasty = fmt.Errorf("fewer than %d steps fit into the time that was left for them", leastSteps)

// train runs the epochs, and reports what it did.
func (r *run) train(ctx context.Context, judge *teach.Judge, report *Report) error {
	n := r.o.Data.Len()
	steps := r.reader.steps(n)
	most := mostSteps
	if r.o.Epochs > 0 {
		most = r.o.Epochs * steps
	}
	limit, err := r.restrain(ctx)
	if err != nil {
		return err
	}
	report.Rate = min(r.o.Rate, limit)
	s := newSchedule(most, r.o.Until, time.Now)
	var losses []float64
	variants := r.reader.starts(n, 2*n)
	for report.Ended == "" {
		report.Epochs++
		r.rng.Shuffle(len(variants), func(i, j int) { variants[i], variants[j] = variants[j], variants[i] })
		// The parents answer for variants too, so that a few calibration inputs go a longer way
		// (Beyer et al., Knowledge distillation: a good teacher is patient and consistent, CVPR
		// 2022).
		data := r.o.Data.Varied(1, r.rng.Int64())
		feed, err := data.For(r.reader.inputs)
		if err != nil {
			return err
		}
		for _, stage := range r.stages(data, variants, steps) {
			var loss float64
			if loss, report.Ended, err = r.step(ctx, s, limit, feed, stage); err != nil {
				return err
			}
			if report.Ended != Interrupted { // before the step
				losses = append(losses, loss)
			}
			if report.Ended != "" {
				break
			}
		}
	}
	report.Steps, report.Losses = s.done, condensed(losses)
	return nil
}

// mostLosses bounds the losses that are reported.
const mostLosses = 100

// condensed are the means over at most mostLosses equal parts of a list.
func condensed(list []float64) []float64 {
	parts := min(len(list), mostLosses)
	out := make([]float64, parts)
	for i := range out {
		out[i] = stat.Mean(list[i*len(list)/parts:(i+1)*len(list)/parts], nil)
	}
	return out
}

// step takes one step, at no more than a rate, on some of the samples of a feed. It returns what the
// model lost on them before, and why the step was the last, or "".
func (r *run) step(ctx context.Context, s *schedule, limit float64, feed *dataset.Feed, on stage) (float64, Ending, error) {
	select {
	case <-r.o.Stop:
		return 0, Interrupted, nil
	default:
	}
	on.trainer.closeness = float32(1 - s.progress())
	gradients, loss, err := r.gradients(ctx, feed, 2*r.o.Data.Len(), on)
	if err != nil {
		return 0, "", err
	}
	if err := r.move(ctx, gradients, s.rate(r.o.Rate, limit)); err != nil {
		return 0, "", err
	}
	s.step()
	if s.hopeless() {
		return 0, "", errHasty
	}
	if r.o.Progress != nil {
		r.o.Progress(s.told())
	}
	if s.over() {
		return loss, s.ending(), nil
	}
	return loss, "", nil
}

// gradients are the means over the runs of a step, each of some of so many samples, and so is loss,
// what the model loses at the outputs.
func (r *run) gradients(ctx context.Context, feed *dataset.Feed, samples int, on stage) (sum map[string][]float32, loss float64, err error) {
	sum = map[string][]float32{}
	if on.trainer.length > 0 {
		feed = feed.Padded(on.trainer.length)
	}
	for _, starts := range on.runs {
		in, err := r.reader.read(feed, samples, starts)
		if err != nil {
			return nil, 0, err
		}
		targets, err := r.targets(ctx, on.trainer.goals, in)
		if err != nil {
			return nil, 0, err
		}
		lost, err := on.trainer.run(ctx, in, targets, 1/float32(len(on.runs)), sum)
		if err != nil {
			return nil, 0, err
		}
		loss += lost / float64(len(on.runs))
	}
	return sum, loss, nil
}

// move moves all parameters along their gradients.
func (r *run) move(ctx context.Context, gradients map[string][]float32, rate float64) error {
	t := r.trainer
	size := func(name string) float64 { return rate * t.unit[name] }
	if r.muon != nil {
		if err := r.muon.update(ctx, t.params, gradients, size); err != nil {
			return err
		}
	}
	r.adam.begin()
	for _, name := range t.names {
		if r.muon == nil || !r.muon.moves(name) {
			r.adam.update(name, t.params[name].F32, gradients[name], size(name))
		}
	}
	return nil
}
