package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/onnxio"
)

// Options are the settings of a distillation. Data is required; the zero value
// of everything else is useful.
type Options struct {
	// Data are the calibration inputs.
	Data *dataset.Data
	// HeldOut are inputs that tell whether the result is better than the child;
	// neither the child's weights nor the result's must have been fitted on them
	// (see HoldOut). Nil means that both are compared on variants of the data
	// (dataset.Data.Varied), which neither has seen; on the data themselves a refit
	// makes no error at all where they are few.
	HeldOut *dataset.Data
	// Epochs is how often every input is seen; zero means 10.
	Epochs int
	// Rate is the largest step, relative to the root mean square of a weight; zero
	// means 0.025.
	Rate float64
	// Batch is the number of samples per step; zero means one in 16 of the data,
	// at least 16 and at most 64.
	Batch int
	// Closeness is what the relative squared error of an inner activation counts
	// at first, against a nat of divergence at the outputs; zero means 3. It falls
	// to nothing: inner activations say much about each input, but in the end a
	// narrow model has more important things to do than to copy them.
	Closeness float64
	// Threads limits onnxruntime's threads; zero means all cores.
	Threads int
	// Seed chooses the order of the samples and what is done to them.
	Seed int64
	// Outputs say what the outputs are for. Nil means what eval.FindTasks says of
	// the sources.
	Outputs []eval.Output
	// Progress, if set, is told how many steps of how many are done.
	Progress func(done, total int)
}

const (
	// mostSteps bounds the steps that Affordable gives. Fewer than leastSteps, or
	// than leastEpochs, are not worth their while.
	mostSteps, leastSteps, leastEpochs = 2000, 40, 3
	// affordable is what a distillation may cost, in multiply-accumulates: two or
	// three minutes on two cores.
	affordable = 4e12
	// trainingRuns is what a run forwards and backwards costs, in runs forwards.
	trainingRuns = 3
)

// Affordable is the number of epochs that take 2,000 steps, or fewer where that
// would cost more than 4e12 multiply-accumulates, which are two or three minutes
// on two cores; 0 where little could be learnt in what is left. Sources and child
// are multiply-accumulates for one sample, of all sources together and of the
// child.
func Affordable(samples int, sources, child int64) int {
	epoch := float64(samples) * (float64(sources) + trainingRuns*float64(child))
	steps := max(1, samples/batchOf(samples))
	n := int(min(float64(mostSteps/steps), affordable/max(epoch, 1)))
	if n < leastEpochs || n*steps < leastSteps {
		return 0
	}
	return n
}

// batchOf is the number of samples per step: many steps matter more than large
// ones as long as there are few.
func batchOf(samples int) int { return max(1, min(samples, max(16, min(64, samples/16)))) }

// HoldOut takes inputs aside to judge a distillation on, a tenth and no more than
// 200; none of fewer than 200, of which a tenth would say little.
func HoldOut(data *dataset.Data) (fit, held *dataset.Data) {
	n := data.Len()
	if n < leastHeldOut {
		return data, nil
	}
	return data.Split(max(heldEvery, (n+mostHeldOut-1)/mostHeldOut))
}

// A Report says what a distillation did.
type Report struct {
	Samples int `json:"samples"` // trained on
	Epochs  int `json:"epochs"`
	Steps   int `json:"steps"`
	// Parameters is the number of values that were trained.
	Parameters int `json:"parameters"`
	// Taps is the number of activations that were kept close to the sources'.
	Taps int `json:"taps"`
	// HeldOut is the number of samples that Before and After were measured on, the
	// loss of child and result at the outputs, and on variants of them. Zero means
	// variants of those that were trained on.
	HeldOut int     `json:"held_out"`
	Before  float64 `json:"loss_before"`
	After   float64 `json:"loss_after"`
	// Confidence is what the logits of the result were multiplied by in the end, so
	// that it is as sure as several sources are in the mean; 0 of one source.
	Confidence float64 `json:"confidence,omitempty"`
	// Note says why nothing was trained, "" if something was.
	Note string `json:"note,omitempty"`
	// Kept is set where the result was no better, and the child was returned as it
	// was.
	Kept bool `json:"reverted"`
}

const (
	defaultEpochs    = 10
	defaultRate      = 0.025
	defaultCloseness = 3
	// mixtureCloseness stands for Closeness where logits aim at a mixture of several
	// sources', as package refit has it: they would hold the decision back.
	mixtureCloseness = 0.3

	// leastHeldOut is the number of samples from which on HoldOut takes some, one
	// in heldEvery, at most mostHeldOut.
	leastHeldOut = 200
	heldEvery    = 10
	mostHeldOut  = 200
	// judgedVariants is the number of variants of each sample held out that count,
	// and judgeSeed chooses them.
	judgedVariants = 2
	judgeSeed      = 11

	// warmUp is the number of steps over which the rate rises.
	warmUp = 20
	// fullRate is the number of steps from which on the rate is used in full.
	fullRate = 400
)

func (o *Options) defaults() {
	if o.Epochs == 0 {
		o.Epochs = defaultEpochs
	}
	if o.Rate == 0 {
		o.Rate = defaultRate
	}
	if o.Batch == 0 {
		o.Batch = batchOf(o.Data.Len())
	}
	if o.Closeness == 0 {
		o.Closeness = defaultCloseness
	}
}

// errUntrainable says that a model has no parameters that can be trained here.
var errUntrainable = errors.New("cannot be trained")

// Distill returns a copy of the child whose linear operators have been trained
// to predict what the sources predict, the mean of their probabilities or
// outputs weighted with their shares, and to compute on the way what they
// compute (see the package's comment). Where that does not bring it nearer to
// the sources, or where gradients reach no parameters of the
// child, the copy is as the child, and the report says so. No labels are used.
func Distill(ctx context.Context, child *onnxio.Model, sources []refit.Source, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	if o.Data == nil {
		return nil, nil, fmt.Errorf("training needs data")
	}
	if len(sources) == 0 {
		return nil, nil, fmt.Errorf("training needs a source")
	}
	o.defaults()
	r := &run{o: o, sources: sources, child: child, rng: rand.New(rand.NewPCG(uint64(o.Seed), 7))}
	defer r.close()
	err = r.open(ctx, child)
	if errors.Is(err, errUntrainable) {
		return child.Clone(), &Report{Note: err.Error()}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	report := &Report{}
	if o.HeldOut != nil {
		report.HeldOut = o.HeldOut.Len()
	}
	if report.Before, err = r.judge(ctx); err != nil {
		return nil, nil, err
	}
	if err := r.train(ctx, report); err != nil {
		return nil, nil, err
	}
	if report.After, err = r.judge(ctx); err != nil {
		return nil, nil, err
	}
	report.Kept = !(report.After < report.Before)
	out := child.Clone()
	if report.Kept {
		return out, report, nil
	}
	if report.Confidence, err = r.calibrate(ctx); err != nil {
		return nil, nil, err
	}
	return out, report, r.trainer.store(out)
}

// Judged are the inputs that results are judged on: what is held out, and variants
// of it.
func Judged(held *dataset.Data) *dataset.Data { return held.Varied(judgedVariants, judgeSeed) }

// judge is what the loss says about the outputs, in the mean over judged inputs.
func (r *run) judge(ctx context.Context) (float64, error) {
	total, n := 0.0, 0
	err := r.judged(func(in map[string]*engine.Value) error {
		l, err := r.loss(ctx, in)
		total += l
		n++
		return err
	})
	return total / float64(n), err
}

// judged reads what is held out and variants of it, batch by batch. The variants
// count because calibration inputs are often
// of those that the sources were trained on and know by heart, and what the child
// has kept of that flatters it. Nothing held out: over variants of the data, the
// same ones every time, which none has seen.
func (r *run) judged(do func(in map[string]*engine.Value) error) error {
	var data *dataset.Data
	first := 0
	if r.o.HeldOut != nil && r.o.HeldOut.Len() > 0 {
		data = Judged(r.o.HeldOut)
	} else {
		first = r.o.Data.Len()
		data = r.o.Data.Varied((mostHeldOut-1)/first+1, judgeSeed)
	}
	inputs, err := engine.Inputs(r.child)
	if err != nil {
		return err
	}
	feed, err := data.For(inputs)
	if err != nil {
		return err
	}
	units := r.starts(first, data.Len())
	if first > 0 {
		units = units[:min(len(units), max(1, mostHeldOut/r.unit))]
	}
	for from := 0; from < len(units); from += r.units {
		some := make([]int, r.units)
		for i := range some {
			some[i] = units[(from+i)%len(units)] // the first fill up the last batch
		}
		in, err := r.read(feed, data.Len(), some)
		if err != nil {
			return err
		}
		if err := do(in); err != nil {
			return err
		}
	}
	return nil
}

// loss is what the loss says about the outputs for some inputs.
func (r *run) loss(ctx context.Context, in map[string]*engine.Value) (float64, error) {
	targets, err := r.targets(ctx, r.trainer.goals, in)
	if err != nil {
		return 0, err
	}
	y, err := r.trainer.run(ctx, in, targets, 0, map[string][]float32{})
	if err != nil {
		return 0, err
	}
	total := 0.0
	for i, l := range r.trainer.goals {
		if l.output {
			total += l.loss(y[i].F32, targets[i].F32)
		}
	}
	return total, nil
}

// loss is, in the mean, the divergence of rows of class scores, one minus the cosine
// of embeddings, or the relative squared error.
func (l *goal) loss(y, target []float32) float64 {
	total := 0.0
	switch {
	case l.vector > 0:
		return refit.Turned(y, target, l.vector)
	case l.classes == 0:
		for i, v := range y {
			d := float64(v - target[i])
			total += d * d * l.scale
		}
		return total / float64(len(y))
	}
	p := softmaxed(y, l.classes, l.temperature)
	for i, q := range target {
		if q > 0 {
			total += float64(q) * (math.Log(float64(q)) - math.Log(max(float64(p[i]), math.SmallestNonzeroFloat32)))
		}
	}
	return total * l.scale * float64(l.classes) / float64(len(y))
}

// run is the state of one distillation.
type run struct {
	o       Options
	sources []refit.Source
	rng     *rand.Rand
	unit    int // samples that are read at once
	units   int // read for one run
	runs    int // per step
	parents []*engine.Session
	outputs [][]string // by parent
	child   *onnxio.Model
	trainer *trainer
	adam    *adam
	muon    *muon // nil where nothing is moved by it
}

func (r *run) close() {
	for _, s := range r.parents {
		s.Close()
	}
	if r.trainer != nil {
		r.trainer.session.Close()
	}
	if r.muon != nil {
		r.muon.session.Close()
	}
}

func (r *run) open(ctx context.Context, child *onnxio.Model) error {
	inputs, err := engine.Inputs(child)
	if err != nil {
		return err
	}
	if r.o.Outputs == nil {
		if r.o.Outputs, err = eval.FindTasks(ctx, refit.Models(r.sources), r.o.Data, nil, dataset.StreamOptions{Threads: r.o.Threads}); err != nil {
			return err
		}
	}
	feed, err := r.o.Data.For(inputs)
	if err != nil {
		return err
	}
	batch := min(r.o.Batch, r.o.Data.Len())
	r.unit, r.units, r.runs = 1, batch, 1
	if fixed := feed.BatchSize(1); fixed > 1 || feed.BatchSize(2) == 1 {
		r.unit, r.units, r.runs = fixed, 1, max(1, batch/fixed)
	}
	var examples []map[string]*engine.Value
	all := r.starts(0, r.o.Data.Len())
	for k := range min(r.runs, max(1, len(all)/r.units)) {
		example, err := r.read(feed, r.o.Data.Len(), all[k*r.units:(k+1)*r.units])
		if err != nil {
			return err
		}
		examples = append(examples, example)
	}
	g, err := child.Graph()
	if err != nil {
		return err
	}
	goals, err := r.goals(ctx, child, g, examples[0])
	if err != nil {
		return err
	}
	if err := r.openParents(g, goals); err != nil {
		return err
	}
	if err := r.temperatures(ctx, goals, examples); err != nil {
		return err
	}
	seen := make([][]float32, len(goals))
	for _, example := range examples {
		targets, err := r.targets(ctx, goals, example)
		if err != nil {
			return err
		}
		for i, v := range targets {
			seen[i] = append(seen[i], v.F32...)
		}
	}
	samples := r.unit * r.units * len(examples)
	for i, l := range goals {
		switch {
		case l.classes > 0 && len(seen[i]) > l.classes*samples:
			l.scale = refit.Scarcity(seen[i], l.classes)
		case l.classes > 0:
			l.scale = 1
		case !l.tap:
			l.scale = float64(len(seen[i])) / max(refit.Spread(seen[i], samples), math.SmallestNonzeroFloat32)
		default:
			l.scale = 1 / max(variance(seen[i]), math.SmallestNonzeroFloat32)
			switch {
			case l.logits > 0 && len(r.sources) > 1:
				l.scale *= mixtureCloseness
			default:
				l.scale *= r.o.Closeness
			}
		}
	}
	if r.trainer, err = newTrainer(ctx, child, goals, examples, r.o.Threads); err != nil {
		return err
	}
	r.adam = &adam{m: map[string][]float64{}, v: map[string][]float64{}}
	return r.openMuon(child, g)
}

// openMuon leaves to muon what it moves.
func (r *run) openMuon(child *onnxio.Model, g *onnxio.Graph) error {
	an, err := coupling.Analyze(child, coupling.Options{Opaque: true})
	if err != nil {
		return err
	}
	sample, _ := an.MACs(nil)
	sample *= trainingRuns
	for i := range r.sources {
		macs, _ := r.sources[i].Subject.Analysis.MACs(nil)
		sample += macs
	}
	list := matricesOf(g, r.trainer.names, r.trainer.params, sample*int64(r.unit*r.units*r.runs))
	if len(list) > 0 {
		r.muon, err = newMuon(list, r.o.Threads)
	}
	return err
}

// openParents loads the sources, to return what the goals name; logits where the
// child's goal are logits and the source has them.
func (r *run) openParents(g *onnxio.Graph, goals []*goal) error {
	for i := range r.sources {
		parent := r.sources[i].Subject
		var names []string
		for k, out := range parent.Graph.Outputs() {
			name := out.GetName()
			if n := parent.Graph.Producer(name); n.GetOpType() == "Softmax" && k < len(goals) && goals[k].classes > 0 {
				name = n.GetInput()[0]
			}
			names = append(names, name)
		}
		if n := len(g.Outputs()); len(names) != n {
			return fmt.Errorf("%d outputs against %d", len(names), n)
		}
		for _, l := range goals[len(names):] {
			names = append(names, counterpart(&r.sources[i], l.tensor))
		}
		s, err := engine.Open(parent.Model, engine.Options{Threads: r.o.Threads, Outputs: names})
		if err != nil {
			return err
		}
		r.parents = append(r.parents, s)
		r.outputs = append(r.outputs, names)
	}
	return nil
}

// temperatures finds what the logits of every classifier are divided by.
func (r *run) temperatures(ctx context.Context, goals []*goal, examples []map[string]*engine.Value) error {
	logits := make([][]float32, len(goals))
	for _, example := range examples {
		for k := range r.parents {
			values, err := r.ask(ctx, k, example)
			if err != nil {
				return err
			}
			for i, g := range goals {
				x := values[r.outputs[k][i]].F32
				if g.classes > 0 && !distributions(x, g.classes) {
					logits[i] = append(logits[i], x...)
				}
			}
		}
	}
	for i, g := range goals {
		g.temperature = refit.Temperature(logits[i], g.classes)
	}
	return nil
}

// ask runs a source.
func (r *run) ask(ctx context.Context, parent int, in map[string]*engine.Value) (map[string]*engine.Value, error) {
	s := r.parents[parent]
	feed := map[string]*engine.Value{}
	for _, info := range s.Inputs() {
		feed[info.Name] = in[info.Name]
		if v := in[info.Name]; v == nil && len(in) == 1 {
			for _, only := range in {
				feed[info.Name] = only
			}
		}
	}
	return s.Run(ctx, feed)
}

// counterpart is the source's activation for one of the child's, or "".
func counterpart(s *refit.Source, tensor string) string {
	if s.Tensor != nil {
		return s.Tensor(tensor)
	}
	if s.Subject.Graph.Defines(tensor) {
		return tensor
	}
	return ""
}

// goals lists the outputs, with what kind each is, and the taps.
func (r *run) goals(ctx context.Context, child *onnxio.Model, g *onnxio.Graph, example map[string]*engine.Value) ([]*goal, error) {
	var goals []*goal
	var names []string
	for _, out := range g.Outputs() {
		names = append(names, out.GetName())
		goals = append(goals, &goal{output: true, tensor: out.GetName()})
	}
	for _, l := range r.taps(g) {
		names = append(names, l.tensor)
		goals = append(goals, l)
	}
	s, err := engine.Open(child, engine.Options{Outputs: names})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out, err := s.Run(ctx, example)
	if err != nil {
		return nil, err
	}
	for i, l := range slices.Clone(goals) {
		v := out[l.tensor]
		if v.F32 == nil {
			return nil, fmt.Errorf("%w: %q is not of single precision", errUntrainable, l.tensor)
		}
		l.dims = v.Dims
		if !l.tap && i < len(r.o.Outputs) {
			task := r.o.Outputs[i]
			l.classes, l.vector, l.axis = task.Classes(v.Dims), task.Vector(v.Dims), task.Axis
		}
		if l.classes > 0 {
			if distributions(v.F32, l.classes) {
				n := g.Producer(l.tensor)
				if n == nil || n.GetOpType() != "Softmax" {
					l.classes = 0 // probabilities of an unknown making are matched as numbers
				} else {
					l.tensor = n.GetInput()[0]
				}
			}
		}
		if l.classes > 0 {
			if logits := r.tap(l.tensor, l.axis); logits != nil {
				logits.output, logits.logits, logits.dims = true, l.classes, l.dims
				goals = append(goals, logits)
			}
		}
	}
	return goals, nil
}

// taps are the activations that trained operators read, where every source has
// a counterpart.
func (r *run) taps(g *onnxio.Graph) []*goal {
	var out []*goal
	params := trainable(g)
	depends := map[string]bool{}
	for _, n := range g.Nodes {
		trained := slices.ContainsFunc(n.GetInput(), func(in string) bool { return slices.Contains(params, in) })
		if read, ok := g.Linear(n); ok && trained && depends[read.In.Tensor] {
			if l := r.tap(read.In.Tensor, read.In.Axis); l != nil && !slices.ContainsFunc(out, func(o *goal) bool { return o.tensor == l.tensor }) {
				out = append(out, l)
			}
		}
		if trained || slices.ContainsFunc(n.GetInput(), func(in string) bool { return depends[in] }) {
			for _, o := range n.GetOutput() {
				depends[o] = true
			}
		}
	}
	return out
}

func (r *run) tap(tensor string, axis int) *goal {
	l := &goal{tensor: tensor, tap: true}
	for i := range r.sources {
		s := &r.sources[i]
		name := counterpart(s, tensor)
		if name == "" {
			return nil
		}
		a := axis
		if a < 0 {
			a += len(s.Subject.Analysis.Activations[name])
		}
		rows, err := s.Subject.TargetRows(name, a, s.Maps, s.Share)
		if err != nil {
			return nil // of unknown rank
		}
		l.rows, l.axis = append(l.rows, rows), a
	}
	return l
}

// distributions reports whether all rows of k values are probabilities.
func distributions(x []float32, k int) bool {
	for i := 0; i+k <= len(x); i += k {
		s := float32(0)
		for _, v := range x[i : i+k] {
			if v < 0 {
				return false
			}
			s += v
		}
		if math.Abs(float64(s)-1) > 1e-3 {
			return false
		}
	}
	return true
}

// targets are the means of the parents, Decided where they are several.
func (r *run) targets(ctx context.Context, goals []*goal, in map[string]*engine.Value) ([]*engine.Value, error) {
	out, err := r.means(ctx, goals, in)
	for i, g := range goals {
		if err == nil && g.classes > 0 && len(r.parents) > 1 {
			refit.Decided(out[i].F32, g.classes)
		}
	}
	return out, err
}

// means are the parents' mean predictions and activations. Logits aim at the same
// mean of probabilities as what is made of them.
func (r *run) means(ctx context.Context, goals []*goal, in map[string]*engine.Value) ([]*engine.Value, error) {
	out := make([]*engine.Value, len(goals))
	scores := make([][][]float32, len(goals))
	votes := refit.Votes(r.sources)
	for k := range r.parents {
		values, err := r.ask(ctx, k, in)
		if err != nil {
			return nil, err
		}
		for i, g := range goals {
			v := values[r.outputs[k][i]]
			x, share := v.F32, float32(r.sources[k].Share)
			if g.output {
				share = float32(votes[k])
			}
			if g.tap && g.rows[k] != nil {
				x, _ = g.rows[k].Apply(x, v.Dims, g.axis)
				share = 1 // the rows hold it
			}
			if len(x) != product(g.dims) {
				return nil, fmt.Errorf("%q has another size than the sources'", g.tensor)
			}
			if g.classes > 0 && !distributions(x, g.classes) {
				x = softmaxed(x, g.classes, g.temperature)
			}
			if g.logits > 0 {
				scores[i] = append(scores[i], x)
				if k == len(r.parents)-1 {
					out[i] = engine.Float32(refit.Mixture(scores[i], votes, g.logits), g.dims...)
				}
				continue
			}
			if out[i] == nil {
				out[i] = engine.Float32(make([]float32, len(x)), g.dims...)
			}
			for j := range x {
				out[i].F32[j] += share * x[j]
			}
		}
	}
	return out, nil
}

// softmaxed are the probabilities of logits divided by a temperature, k in a row.
func softmaxed(x []float32, k int, temperature float64) []float32 {
	out := make([]float32, len(x))
	for i := 0; i+k <= len(x); i += k {
		top, s := slices.Max(x[i:i+k]), 0.0
		for j := i; j < i+k; j++ {
			e := math.Exp(float64(x[j]-top) / temperature)
			out[j] = float32(e)
			s += e
		}
		for j := i; j < i+k; j++ {
			out[j] = float32(float64(out[j]) / s)
		}
	}
	return out
}

func variance(x []float32) float64 {
	mean, squares := 0.0, 0.0
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		squares += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	return squares
}

// starts are the first samples of all whole units from one sample to another, or
// the first of a unit that is to be filled up.
func (r *run) starts(from, to int) []int {
	out := []int{from}
	for from += r.unit; from+r.unit <= to; from += r.unit {
		out = append(out, from)
	}
	return out
}

// read reads the units that start at some of so many samples and lays them behind
// each other.
func (r *run) read(feed *dataset.Feed, samples int, starts []int) (map[string]*engine.Value, error) {
	out := map[string]*engine.Value{}
	for _, from := range starts {
		in, err := feed.Batch(from, min(r.unit, samples-from), r.unit)
		if err != nil {
			return nil, err
		}
		for name, v := range in {
			if out[name] == nil {
				c := *v
				c.Dims = slices.Clone(v.Dims)
				out[name] = &c
				if len(starts) > 1 && len(c.Dims) > 0 {
					c.Dims[0] *= len(starts)
				}
				continue
			}
			out[name].F32 = append(out[name].F32, v.F32...)
			out[name].F64 = append(out[name].F64, v.F64...)
			out[name].I64 = append(out[name].I64, v.I64...)
		}
	}
	return out, nil
}

// train runs the epochs.
func (r *run) train(ctx context.Context, report *Report) error {
	t := r.trainer
	report.Samples, report.Epochs = r.o.Data.Len(), r.o.Epochs
	for _, g := range t.goals {
		if g.tap {
			report.Taps++
		}
	}
	for _, p := range t.params {
		report.Parameters += p.Len()
	}
	all := r.starts(r.o.Data.Len(), 2*r.o.Data.Len())
	perEpoch := max(1, len(all)/(r.units*r.runs))
	total := r.o.Epochs * perEpoch
	report.Steps = total
	inputs, err := engine.Inputs(r.child)
	if err != nil {
		return err
	}
	for epoch := range r.o.Epochs {
		r.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		// The sources answer for variants too, so that a few calibration inputs go a
		// longer way (Beyer et al., Knowledge distillation: a good teacher is patient and
		// consistent, CVPR 2022).
		data := r.o.Data.Varied(1, r.rng.Int64())
		feed, err := data.For(inputs)
		if err != nil {
			return err
		}
		for s := range perEpoch {
			if err := ctx.Err(); err != nil {
				return err
			}
			sum := map[string][]float32{}
			step := epoch*perEpoch + s
			t.closeness = float32(1 - float64(step)/float64(total))
			for k := range r.runs {
				at := (s*r.runs + k) * r.units % len(all)
				in, err := r.read(feed, data.Len(), all[at:min(at+r.units, len(all))])
				if err != nil {
					return err
				}
				if err := r.one(ctx, in, sum); err != nil {
					return err
				}
			}
			rate := r.o.rate(step, total)
			if err := r.step(ctx, sum, rate); err != nil {
				return err
			}
			if r.o.Progress != nil {
				r.o.Progress(step+1, total)
			}
		}
	}
	return nil
}

// rate is that of one of so many steps: it rises over the first few and falls as
// a cosine. Few steps would not make good for what large ones stir up at first.
func (o *Options) rate(step, total int) float64 {
	rate := o.Rate * 0.5 * (1 + math.Cos(math.Pi*float64(step)/float64(total)))
	rate *= min(1, float64(step+1)/float64(min(warmUp, 1+total/4)))
	return rate * min(1, math.Sqrt(float64(total)/fullRate))
}

// step moves all parameters.
func (r *run) step(ctx context.Context, gradients map[string][]float32, rate float64) error {
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

// one adds the gradients of one run.
func (r *run) one(ctx context.Context, in map[string]*engine.Value, sum map[string][]float32) error {
	targets, err := r.targets(ctx, r.trainer.goals, in)
	if err != nil {
		return err
	}
	_, err = r.trainer.run(ctx, in, targets, 1/float32(r.runs), sum)
	return err
}
