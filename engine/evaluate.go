package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// EvalOptions say how models are compared.
type EvalOptions struct {
	StreamOptions

	// Runs is the least number of timed runs per model; see [LatencyOptions]. 0: MinRuns. Negative: no timing.
	Runs int

	// Outputs say what the outputs of the first model are for. nil: what [FindTasks] says.
	Outputs []Output
}

// An Eval is what was measured about one model. Shares are between 0 and 1.
type Eval struct {
	Model   string `json:"model"`   // its path
	Samples int    `json:"samples"` // on which the figures below were measured
	Params  int64  `json:"params"`  // see [Size]
	Bytes   int64  `json:"bytes"`   // see [Size]

	Top1  *float64 `json:"top1,omitempty"` // share of samples whose label has the highest score; nil without labels
	Right int      `json:"-"`              // samples that Top1 counts
	Top5  *float64 `json:"top5,omitempty"` // among the five highest; nil without labels or with fewer than 5 classes

	// Agreement, Cosine and MaxDiff compare with the first model: the worst of Outputs. They are nil for the first.
	Agreement *float64     `json:"agreement,omitempty"`
	Cosine    *float64     `json:"cosine,omitempty"`
	MaxDiff   *float64     `json:"max_diff,omitempty"`
	Outputs   []OutputEval `json:"outputs,omitempty"`

	// Recorded compares with the outputs that a test_data_set folder holds; nil where there are none.
	Recorded []OutputEval `json:"recorded,omitempty"`

	Latency *Timing `json:"latency,omitempty"` // nil if not timed

	// Reduced: onnxruntime's optimiser fails on the model, which ran with fewer optimisations, or none.
	Reduced bool `json:"reduced_optimization,omitempty"`
}

// Evaluate runs models over a data set and measures accuracy, agreement with the first one, size and latency. All models
// read the same samples; their outputs are compared by position, since names may differ, as their tasks say. Labels are
// compared with the first output that has one row of class scores for each sample.
//
// A model that does not fit the data, or whose outputs have other shapes than those of the first one, is an error.
func Evaluate(ctx context.Context, models []*onnxio.Model, data *Data, o EvalOptions) (_ []Eval, err error) {
	defer guard.Recover(&err)
	if len(models) == 0 {
		return nil, nil
	}
	data = data.Sample(o.Samples, o.Seed)
	if o.Outputs == nil {
		var err error
		if o.Outputs, err = FindTasks(ctx, models[:1], data, nil, o.StreamOptions); err != nil {
			return nil, err
		}
	}
	runs := make([]*evalRun, 0, len(models))
	defer func() {
		for _, r := range runs {
			r.session.Close()
		}
	}()
	chunk := 0
	for _, m := range models {
		r, err := newEvalRun(ctx, m, data, o)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
		chunk = max(chunk, r.size)
	}
	labels := data.Labels()
	for from := 0; from < data.Len(); from += chunk {
		n := min(chunk, data.Len()-from)
		cache := batchCache{}
		var first []*Value
		for i, r := range runs {
			out, err := r.run(ctx, from, n, cache)
			if err != nil {
				return nil, err
			}
			if labels != nil {
				if err := r.score(out, labels[from:from+n]); err != nil {
					return nil, err
				}
			}
			if i == 0 {
				first = out
			} else if err := r.compare(&r.outputs, out, first, n, runs[0].name); err != nil {
				return nil, err
			}
			if recorded := data.recorded(from); recorded != nil {
				if err := r.compare(&r.recorded, out, recorded, n, data.name); err != nil {
					return nil, err
				}
			}
		}
		if o.Progress != nil {
			o.Progress(from+n, data.Len())
		}
	}
	out := make([]Eval, len(runs))
	for i, r := range runs {
		out[i] = r.eval(data.Len())
	}
	return out, nil
}

// recorded returns the outputs recorded for a sample; nil if there are none.
func (d *Data) recorded(i int) []*Value {
	if d.expected == nil || len(d.expected[d.order[i]]) == 0 {
		return nil
	}
	return d.expected[d.order[i]]
}

// An evalRun gathers the figures of one model.
type evalRun struct {
	name          string
	params, bytes int64
	session       *Session
	feed          *Feed
	size          int // samples per run
	tasks         []Output
	timing        *Timing

	top1, top5, scored int
	classes            int // of the scored output; 0 if nothing was scored
	outputs, recorded  []comparison
}

func newEvalRun(ctx context.Context, m *onnxio.Model, data *Data, o EvalOptions) (*evalRun, error) {
	r := &evalRun{name: nameOf(m), tasks: o.Outputs}
	r.params, r.bytes = m.Size()
	if o.Runs >= 0 {
		t, err := Latency(ctx, m, LatencyOptions{Threads: o.Threads, Runs: o.Runs, Data: data})
		if err != nil {
			return nil, err
		}
		r.timing = &t
	}
	s, err := Open(m, Options{Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	r.session = s
	if r.feed, err = data.For(s.inputs); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	r.size = o.Batch
	if r.size <= 0 {
		r.size = DefaultBatch
	}
	r.size = r.feed.BatchSize(r.size)
	if r.size > 1 && r.feed.batch == 0 && data.Len() > 1 && !r.batchable(ctx) {
		r.size = 1
	}
	return r, nil
}

// batchable says whether the model can take several samples at once and gives each its row of scores: exporters leave the
// batch axis free although a Reshape inside has its size built in.
func (r *evalRun) batchable(ctx context.Context) bool {
	in, err := r.feed.Batch(0, 2, 2)
	if err != nil {
		return true // shown by the run to come
	}
	out, err := r.session.Run(ctx, in)
	if err != nil {
		return false
	}
	for _, v := range out {
		if isScores(v) && v.Dims[0] != 2 {
			return false
		}
	}
	return true
}

// A batchCache holds the inputs of models with equal inputs, so that samples are decoded once.
type batchCache map[string]map[string]*Value

func (c batchCache) get(f *Feed, from, n, size int) (map[string]*Value, error) {
	key := fmt.Sprint(from, n, size)
	for _, s := range f.slots {
		key += fmt.Sprintf("|%q %v %v", s.in.Name, s.in.Type, s.in.Dims[min(1, len(s.in.Dims)):])
	}
	if v, ok := c[key]; ok {
		return v, nil
	}
	v, err := f.Batch(from, n, size)
	c[key] = v
	return v, err
}

// run returns the outputs for some samples, in batches of the model's own size, put together.
func (r *evalRun) run(ctx context.Context, from, n int, cache batchCache) ([]*Value, error) {
	pieces := make([][]*Value, len(r.session.outputs))
	for done := 0; done < n; done += r.size {
		k := min(r.size, n-done)
		size := r.size
		if r.feed.batch == 0 {
			size = k
		}
		in, err := cache.get(r.feed, from+done, k, size)
		if err != nil {
			return nil, err
		}
		out, err := r.session.Run(ctx, in)
		if err != nil {
			return nil, err
		}
		for i, info := range r.session.outputs {
			pieces[i] = append(pieces[i], trim(out[info.Name], k, size))
		}
	}
	joined := make([]*Value, len(pieces))
	for i, p := range pieces {
		joined[i] = join(p)
	}
	return joined, nil
}

// join puts values one after the other along their first axis; scalars become an axis.
func join(pieces []*Value) *Value {
	if len(pieces) == 1 {
		return pieces[0]
	}
	out := &Value{Name: pieces[0].Name, Type: pieces[0].Type, Dims: []int{0}}
	if len(pieces[0].Dims) > 0 {
		out.Dims = append(out.Dims, pieces[0].Dims[1:]...)
	}
	for _, p := range pieces {
		rows := 1
		if len(p.Dims) > 0 {
			rows = p.Dims[0]
		}
		out.Dims[0] += rows
		out.F32, out.F64, out.I64 = append(out.F32, p.F32...), append(out.F64, p.F64...), append(out.I64, p.I64...)
	}
	return out
}

// score compares the scores of classes with labels.
func (r *evalRun) score(out []*Value, labels []int) error {
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
			return fmt.Errorf("%s: output %q has %d classes, a label is %d", r.name, v.Name, k, label)
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

// scores finds the output that labels are compared with, the first that has a row of k scores for each of n samples; or
// one that has other rows, where there is none. nil: no output is about one decision a sample.
func (r *evalRun) scores(out []*Value, n int) (v *Value, k int) {
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

// isScores says whether an output has one row of K ≥ 2 numbers per sample. Trailing axes of size 1, as pooling leaves
// them, do not count.
func isScores(v *Value) bool {
	return len(v.Dims) >= 2 && v.Dims[1] >= 2 && count(v.Dims[2:]) == 1 && isFloat(v.Type)
}

// compare adds the difference between two models' outputs to the figures.
func (r *evalRun) compare(to *[]comparison, out, reference []*Value, n int, name string) error {
	if len(out) < len(reference) {
		return fmt.Errorf("%s has %d outputs, %s has %d", r.name, len(out), name, len(reference))
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
		if err := c.add(out[i], ref, n); err != nil {
			return fmt.Errorf("%s: output %q %s, in %s %q %s: %w", r.name, out[i].Name, dimString(out[i].Dims),
				name, ref.Name, dimString(ref.Dims), err)
		}
	}
	return nil
}

var errShapes = errors.New("shapes differ")

// eval sums up.
func (r *evalRun) eval(samples int) Eval {
	e := Eval{Model: r.name, Samples: samples, Params: r.params, Bytes: r.bytes, Latency: r.timing, Reduced: r.session.reduced}
	if r.scored > 0 {
		e.Top1 = ptr(float64(r.top1) / float64(r.scored))
		if r.classes >= 5 {
			e.Top5 = ptr(float64(r.top5) / float64(r.scored))
		}
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
			e.Agreement, e.Cosine, e.MaxDiff = ptr(o.Agreement), ptr(o.Cosine), ptr(o.MaxDiff)
			continue
		}
		*e.Agreement, *e.Cosine = min(*e.Agreement, o.Agreement), min(*e.Cosine, o.Cosine)
		*e.MaxDiff = max(*e.MaxDiff, o.MaxDiff)
	}
	return e
}
