package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/onnxio"
)

// Options say how models are compared.
type Options struct {
	dataset.StreamOptions

	// Runs is the least number of timed runs per model; see [LatencyOptions]. 0: MinRuns.
	Runs int

	// NoLatency leaves models untimed.
	NoLatency bool

	// Outputs say what the outputs of the first model are for. nil: what [FindTasks] says.
	Outputs []Output
}

// A Result is what was measured about one model. Shares are between 0 and 1.
type Result struct {
	Model   string `json:"model"`   // its path
	Samples int    `json:"samples"` // on which the figures below were measured
	Params  int64  `json:"params"`  // see [Size]
	Bytes   int64  `json:"bytes"`   // see [Size]

	Top1  *float64 `json:"top1,omitempty"` // share of samples whose label has the highest score; nil without labels
	Right int      `json:"-"`              // samples that Top1 counts
	Top5  *float64 `json:"top5,omitempty"` // among the five highest; nil without labels or with fewer than 5 classes

	// Doubt says why the labels of the data were not used: a class that the first model does not
	// have, or that they are right no more often than by chance. It is the same for all models, and ""
	// where they were used or there are none.
	Doubt string `json:"-"`

	// Decided is the class with the highest score of each sample, -1 where all scores are NaN; nil
	// where no output is one decision a sample. Labels of Top1 are compared with it.
	Decided []int `json:"-"`

	// Agreement, Cosine and MaxDiff compare with the first model: the worst of Outputs. They are
	// nil for the first.
	Agreement *float64       `json:"agreement,omitempty"`
	Cosine    *float64       `json:"cosine,omitempty"`
	MaxDiff   *float64       `json:"max_diff,omitempty"`
	Outputs   []OutputResult `json:"outputs,omitempty"`

	// NonFinite counts the numbers of the outputs that are NaN or infinite.
	NonFinite int `json:"non_finite,omitempty"`

	// Recorded compares with the outputs that a test_data_set folder holds; nil where there are
	// none.
	Recorded []OutputResult `json:"recorded,omitempty"`

	// Metric is what a person's own measure says; Models leaves it nil.
	Metric *float64 `json:"metric,omitempty"`

	Latency *Timing `json:"latency,omitempty"` // nil if not timed

	// Reduced: onnxruntime's optimiser fails on the model, which ran with fewer optimisations, or
	// none.
	Reduced bool `json:"reduced_optimization,omitempty"`
}

// Models runs models over a data set and measures accuracy, agreement with the first one, size and
// latency. All models read the same samples; their outputs are compared by position, since names
// may differ, as their tasks say. Labels are compared with the first output that has one row of
// class scores for each sample.
//
// A model that does not fit the data, or whose outputs have other shapes than those of the first
// one, is an error.
func Models(ctx context.Context, models []*onnxio.Model, data *dataset.Data, o Options) (_ []Result, err error) {
	defer guard.Recover(&err)
	if len(models) == 0 {
		return nil, nil
	}
	whole := data.Sample(o.Samples, o.Seed)
	if data, err = whole.Unpadded(ctx, models, o.Threads); err != nil {
		return nil, err
	}
	o.Batch = batchOf(models, data, o.Batch)
	if o.Outputs == nil {
		var err error
		if o.Outputs, err = FindTasks(ctx, models[:1], data, nil, o.StreamOptions); err != nil {
			return nil, err
		}
	}
	var runs []*evalRun
	defer func() {
		for _, r := range runs {
			r.session.Close()
		}
	}()
	var timings []Timing
	if !o.NoLatency {
		if timings, err = Latencies(ctx, models, LatencyOptions{Threads: o.Threads, Runs: o.Runs, Data: whole}); err != nil {
			return nil, err
		}
	}
	chunk := 0
	for i, m := range models {
		r, err := newEvalRun(ctx, m, data, o)
		if err != nil {
			return nil, err
		}
		if timings != nil {
			r.timing = &timings[i]
		}
		runs, chunk = append(runs, r), max(chunk, r.size)
	}
	labels, lengths := data.Labels(), data.Lengths()
	for from := 0; from < data.Len(); from += chunk {
		n := min(chunk, data.Len()-from)
		for _, r := range runs {
			if lengths != nil { // of all models the same, whatever batches they take
				r.length = slices.Max(lengths[from : from+n])
			}
		}
		if err := addSamples(ctx, runs, data, labels, from, n); err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(from+n, data.Len())
		}
	}
	out := make([]Result, len(runs))
	doubt := runs[0].doubts(labels, data)
	for i, r := range runs {
		if out[i] = r.eval(data.Len()); doubt != "" {
			out[i].Top1, out[i].Top5, out[i].Right, out[i].Doubt = nil, nil, 0, doubt
		}
	}
	return out, nil
}

// addSamples runs all models on some samples and adds what comes out to their figures.
func addSamples(ctx context.Context, runs []*evalRun, data *dataset.Data, labels []int, from, n int) error {
	cache := batchCache{}
	var first []*engine.Value
	for i, r := range runs {
		out, err := r.run(ctx, from, n, cache)
		if err != nil {
			return err
		}
		for _, v := range out {
			r.nonFinite += nonFinite(v)
		}
		r.decide(out, n)
		if labels != nil {
			if err := r.score(out, labels[from:from+n]); err != nil {
				return err
			}
		}
		if i == 0 {
			first = out
		} else if err := r.compare(&r.outputs, out, first, n, runs[0].name); err != nil {
			return err
		}
		if recorded := data.Recorded(from); recorded != nil {
			if err := r.compare(&r.recorded, out, recorded, n, data.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// nonFinite counts the numbers of a value that are NaN or infinite.
func nonFinite(v *engine.Value) int {
	n := 0
	if !onnxio.IsFloat(v.Type) {
		return n
	}
	for _, x := range v.Float64() {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			n++
		}
	}
	return n
}

// An evalRun gathers the figures of one model.
type evalRun struct {
	name          string
	params, bytes int64
	session       *engine.Session
	feed          *dataset.Feed
	size          int // samples per run
	length        int // of the sequences that are run now; 0: as the data are
	tasks         []Output
	timing        *Timing

	nonFinite          int
	top1, top5, scored int
	classes            int    // of the scored output; 0 if nothing was scored
	doubt              string // about the labels
	decided            []int  // the classes of samples
	outputs, recorded  []comparison
}

func newEvalRun(ctx context.Context, m *onnxio.Model, data *dataset.Data, o Options) (*evalRun, error) {
	r := &evalRun{name: m.Title(), tasks: o.Outputs}
	r.params, r.bytes = m.Size()
	s, err := engine.Open(m, engine.Options{Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	r.session = s
	if r.feed, err = data.For(s.Inputs()); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	r.size = r.feed.BatchSize(o.Batch)
	if r.size > 1 && !r.feed.Fixed() && data.Len() > 1 && !r.batchable(ctx) {
		r.size = 1
	}
	return r, nil
}

// batchable says whether the model can take several samples at once and gives each its row of
// scores: exporters leave the batch axis free although a Reshape inside has its size built in.
func (r *evalRun) batchable(ctx context.Context) bool {
	in, err := r.feed.Batch(0, 2)
	if err != nil {
		return true // shown by the run to come
	}
	out, err := r.session.Run(ctx, in)
	if err != nil {
		return false
	}
	for _, v := range out {
		// Trailing axes of size 1, as pooling leaves them, do not count.
		scores := len(v.Dims) >= 2 && v.Dims[1] >= 2 && engine.Count(v.Dims[2:]) == 1 && onnxio.IsFloat(v.Type)
		if scores && v.Dims[0] != 2 {
			return false
		}
	}
	return true
}

// A batchCache holds the inputs of models with equal inputs, so that samples are decoded once.
type batchCache map[string]map[string]*engine.Value

func (c batchCache) get(f *dataset.Feed, from, n int) (map[string]*engine.Value, error) {
	key := fmt.Sprint(from, n, f.Rows(n))
	for _, in := range f.Inputs() {
		key += fmt.Sprintf("|%q %v %v", in.Name, in.Type, in.Dims[min(1, len(in.Dims)):])
	}
	if v, ok := c[key]; ok {
		return v, nil
	}
	v, err := f.Batch(from, n)
	c[key] = v
	return v, err
}

// run returns the outputs for some samples, in batches of the model's own size, put together.
func (r *evalRun) run(ctx context.Context, from, n int, cache batchCache) ([]*engine.Value, error) {
	pieces := make([][]*engine.Value, len(r.session.Outputs()))
	for done := 0; done < n; done += r.size {
		k := min(r.size, n-done)
		in, err := cache.get(r.feed.Padded(r.length), from+done, k)
		if err != nil {
			return nil, err
		}
		out, err := r.session.Run(ctx, in)
		if err != nil {
			return nil, err
		}
		for i, info := range r.session.Outputs() {
			pieces[i] = append(pieces[i], r.feed.Trim(out[info.Name], k))
		}
	}
	joined := make([]*engine.Value, len(pieces))
	for i, p := range pieces {
		joined[i] = engine.Join(p)
	}
	return joined, nil
}

// decide notes the classes that n samples are given, where one of the outputs says so.
func (r *evalRun) decide(out []*engine.Value, n int) {
	v, k := r.scores(out, n)
	if v == nil || v.Len() != n*k {
		return
	}
	scores := v.Float64()
	for row := range n {
		r.decided = append(r.decided, argMax(scores[row*k:(row+1)*k]))
	}
}

// score compares the scores of classes with labels.
func (r *evalRun) score(out []*engine.Value, labels []int) error {
	v, k := r.scores(out, len(labels))
	if v == nil {
		return nil
	}
	if n := v.Len() / k; n != len(labels) {
		return fmt.Errorf("%s: output %q has %d rows for %d samples with labels", r.name, v.Name, n, len(labels))
	}
	r.classes = k
	scores := v.Float64()
	for row, label := range labels {
		if label < 0 || label >= k {
			r.doubt = fmt.Sprintf("output %q of %s has %d classes, a label is %d", v.Name, r.name, k, label)
			continue
		}
		rank := rankOf(scores[row*k:(row+1)*k], label)
		if rank < 1 {
			r.top1++
		}
		if rank < 5 {
			r.top5++
		}
		r.scored++
	}
	return nil
}

// doubted is the share of labels that are right from which on nobody asks whether that is by chance:
// where nearly all samples are of one class, chance is right nearly always.
const doubted = 2.0 / 3

// doubts says why labels seem not to be those of the model, "" if they may be.
func (r *evalRun) doubts(labels []int, data *dataset.Data) string {
	why := r.doubt
	if n := len(r.decided); why == "" && r.scored == n && n >= leastRows && float64(r.top1) < doubted*float64(n) {
		if hits, chance := byChance(r.decided, labels, r.classes); float64(hits) <= chance {
			why = fmt.Sprintf("%d of %d are what %s says, no more than by chance", hits, n, r.name)
		}
	}
	if folders := len(data.Classes()); why != "" && folders > 0 {
		why += fmt.Sprintf("; the folders are %d, numbered in sorted order, and the model has %d classes: --classes names them in its order", folders, r.classes)
	}
	return why
}

// byChance is how often the same class is said and given, and how often it would be at most, by two
// standard errors, if one did not know of the other (Cohen, A coefficient of agreement for nominal
// scales, 1960). Classes are below k, or none (-1).
func byChance(said, given []int, k int) (hits int, most float64) {
	of, labels := make([]float64, k), make([]float64, k)
	for i, class := range said {
		labels[given[i]]++
		if class < 0 {
			continue
		}
		if of[class]++; class == given[i] {
			hits++
		}
	}
	n := float64(len(said))
	chance := 0.0
	for i := range of {
		chance += of[i] / n * labels[i] / n
	}
	return hits, chance*n + 2*math.Sqrt(chance*n*(1-chance))
}

// scores finds the output that labels are compared with, the first that has a row of k scores for
// each of n samples; or one that has other rows, where there is none. nil: no output is about one
// decision a sample.
func (r *evalRun) scores(out []*engine.Value, n int) (v *engine.Value, k int) {
	for i, o := range r.tasks[:min(len(r.tasks), len(out))] {
		c := o.Classes(out[i].Dims)
		if c == 0 || o.Axis != 1 && out[i].Len() != n*c {
			continue
		}
		if v == nil || out[i].Len() == n*c {
			v, k = out[i], c
		}
		if v.Len() == n*k {
			break
		}
	}
	return v, k
}

// compare adds the difference between two models' outputs to the figures.
func (r *evalRun) compare(to *[]comparison, out, reference []*engine.Value, n int, name string) error {
	if len(out) < len(reference) {
		return fmt.Errorf("%s has %s, %s has %d", r.name, screen.Plural(len(out), "output"), name, len(reference))
	}
	if *to == nil {
		*to = make([]comparison, len(reference))
	}
	for i, ref := range reference {
		c := &(*to)[i]
		c.name, c.output = out[i].Name, Output{Task: Regress}
		if i < len(r.tasks) {
			c.output = r.tasks[i]
		}
		if err := c.add(out[i], ref, n, r.length); err != nil {
			return fmt.Errorf("%s: output %q %s, in %s %q %s: %w", r.name, out[i].Name, engine.DimString(out[i].Dims),
				name, ref.Name, engine.DimString(ref.Dims), err)
		}
	}
	return nil
}

var errShapes = errors.New("shapes differ")

// eval sums up.
func (r *evalRun) eval(samples int) Result {
	e := Result{
		Model: r.name, Samples: samples, Params: r.params, Bytes: r.bytes, Latency: r.timing, Reduced: r.session.Reduced(),
		NonFinite: r.nonFinite,
	}
	if r.scored > 0 {
		e.Top1 = new(float64(r.top1) / float64(r.scored))
		if r.classes >= 5 {
			e.Top5 = new(float64(r.top5) / float64(r.scored))
		}
	}
	if len(r.decided) == samples {
		e.Decided = r.decided
	}
	for _, c := range r.outputs {
		e.Outputs = append(e.Outputs, c.result())
	}
	for _, c := range r.recorded {
		e.Recorded = append(e.Recorded, c.result())
	}
	e.Right = r.top1
	for i, o := range e.Outputs {
		if i == 0 {
			e.Agreement, e.Cosine, e.MaxDiff = new(o.Agreement), new(o.Cosine), new(o.MaxDiff)
			continue
		}
		*e.Agreement, *e.Cosine = min(*e.Agreement, o.Agreement), min(*e.Cosine, o.Cosine)
		*e.MaxDiff = max(*e.MaxDiff, o.MaxDiff)
	}
	return e
}
