package teach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// Options are the settings of a Judge, and of whatever teaches. The zero value is useful.
type Options struct {
	// Threads limits onnxruntime's threads; zero means all cores.
	Threads int
	// Batch is the number of samples run at once; zero means what fits.
	Batch int
	// Memory is the number of bytes to get by with, as far as it goes; zero means 4 GB.
	Memory int64
	// Outputs say what the outputs are for. Nil means what eval.FindTasks says of the parents.
	Outputs []eval.Output
	// Progress, if set, is told how much of how much is done, steps or milliseconds; judging is
	// none.
	Progress func(done, total int)
}

// batch is the number of samples run at once.
func (o Options) batch() int { return cmp.Or(o.Batch, dataset.DefaultBatch) }

func (o Options) stream() dataset.StreamOptions {
	return dataset.StreamOptions{Batch: o.batch(), Threads: o.Threads}
}

// A Judge measures how far models are from the mean prediction of some parents on fixed inputs,
// without labels.
type Judge struct {
	data  *dataset.Data
	o     Options
	goals []*Goal
	means [][]float32 // by goal
	// decided says that probabilities are Decided before they are aimed at.
	decided bool
	room    int     // for so many numbers of what all parents say, and of their mean
	prefix  *prefix // nil where nothing is kept
}

// mostRoom is 512 MB.
const mostRoom = 128 << 20

// room is for so many numbers: an eighth of the memory.
func (o Options) room() int {
	if o.Memory == 0 {
		return mostRoom
	}
	return min(mostRoom, int(o.Memory/32))
}

// NewJudge runs the parents. The mean of several is Decided where outputs are class scores: logits,
// or probabilities where every row is one already.
func NewJudge(ctx context.Context, parents Parents, data *dataset.Data, o Options) (_ *Judge, err error) {
	defer guard.Recover(&err)
	if o.Outputs, err = parents.Tasks(ctx, data, o); err != nil {
		return nil, err
	}
	goals, err := parents.Outputs()
	if err != nil {
		return nil, err
	}
	j := &Judge{data: data.Ragged(o.batch()), o: o, goals: goals, decided: len(parents) > 1, room: o.room()}
	said, err := j.hear(ctx, parents)
	if err != nil {
		return nil, err
	}
	for k, g := range goals {
		if k < len(o.Outputs) {
			g.SetTask(o.Outputs[k], said[k].dims)
		}
		g.Temper(said[k].by...)
		j.means = append(j.means, g.mix(said[k].by))
		g.Scale = Scale(j.means[k], g.Classes, said[k].rows(j.data.Len()))
	}
	return j, nil
}

// NewJudgeOf is NewJudge for given goals: outputs, and scores behind them.
func NewJudgeOf(ctx context.Context, parents Parents, goals []*Goal, data *dataset.Data, o Options) (_ *Judge, err error) {
	defer guard.Recover(&err)
	j := &Judge{data: data.Ragged(o.batch()), o: o, goals: goals, decided: len(parents) > 1, room: o.room()}
	said, err := j.hear(ctx, parents)
	if err != nil {
		return nil, err
	}
	for k, g := range goals {
		j.means = append(j.means, g.mix(said[k].by))
	}
	return j, nil
}

// said is what the parents say about a goal on all inputs.
type said struct {
	dims []int       // of the first batch
	by   [][]float32 // parent
	row  int         // numbers in a row that all inputs have, where inputs differ in size; else 0
}

// see takes in the sizes of a batch.
func (s *said) see(dims []int) {
	if s.dims == nil {
		s.dims = dims
	}
	for i := len(dims) - 1; i > 0 && len(dims) == len(s.dims); i-- {
		if dims[i] != s.dims[i] {
			size := engine.Count(dims[i+1:])
			if s.row == 0 || size < s.row {
				s.row = size
			}
			break
		}
	}
}

// rows is the number of rows of so many inputs, over which numbers vary: the inputs themselves, or
// their words where some have more than others.
func (s *said) rows(inputs int) int {
	if s.row == 0 {
		return inputs
	}
	return len(s.by[0]) / s.row
}

// hear runs the parents, and returns what they say about each goal. Where that is much for each
// input, as of boxes and maps, the first inputs have to do.
func (j *Judge) hear(ctx context.Context, parents Parents) ([]said, error) {
	all := make([]said, len(j.goals))
	for i, m := range parents.Models() {
		var names []string
		for k, g := range j.goals {
			names = append(names, g.Tensors[i])
			all[k].by = append(all[k].by, nil)
		}
		inputs, numbers := 0, 0
		err := dataset.Stream(ctx, m, j.data, names, j.o.stream(), func(_, n int, values map[string]*engine.Value) error {
			for k, name := range names {
				x, dims := j.goals[k].moved(i, values[name])
				all[k].see(dims)
				all[k].by[i] = append(all[k].by[i], x...)
				numbers += len(x)
			}
			if inputs += n; numbers*(len(parents)+1) > j.room && inputs < j.data.Len() {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			j.data, err = j.data.Range(0, inputs), nil
		}
		if err != nil {
			return nil, err
		}
		for k, s := range all {
			if a, b := len(s.by[0]), len(s.by[i]); a != b {
				return nil, fmt.Errorf("%q has %d values in one model and %d in another", names[k], a, b)
			}
		}
	}
	return all, nil
}

var errEnough = errors.New("there is room for no more")

// stream hands over tensors of a model, the k-th ones batch by batch.
func (j *Judge) stream(ctx context.Context, m *onnxio.Model, names []string, do func(k int, v *engine.Value) error) error {
	if j.prefix != nil {
		err := j.prefix.compute(ctx, m, names)
		if err == nil {
			return j.prefix.stream(names, do)
		}
		if ctx.Err() != nil {
			return err
		}
		if err := j.Close(); err != nil { // it may be a model that cannot be run in parts
			return err
		}
	}
	return dataset.Stream(ctx, m, j.data, names, j.o.stream(), func(_, _ int, values map[string]*engine.Value) error {
		for k, name := range names {
			if err := do(k, values[name]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Said is what the parents say about the k-th goal in the mean, for all inputs, and not Decided.
func (j *Judge) Said(k int) []float32 { return j.means[k] }

// Values are what a model makes of the k-th goal, for all inputs.
func (j *Judge) Values(ctx context.Context, m *onnxio.Model, k int) ([]float32, error) {
	var out []float32
	names, err := j.names(m)
	if err != nil {
		return nil, err
	}
	err = j.stream(ctx, m, names[k:k+1], func(_ int, v *engine.Value) error {
		out = append(out, v.Float32()...)
		return nil
	})
	return out, err
}

// Divergence is the mean over outputs of what their tasks say: of class scores the mean over rows
// of KL(mean ‖ model) in nats (of scores divided by their temperature, Target.Temper; where a
// sample has several rows, relative to what these tell), of embeddings one minus the mean cosine,
// of others the squared error relative to the variance over the samples. It is infinite where that
// is no number.
func (j *Judge) Divergence(ctx context.Context, m *onnxio.Model) (_ float64, err error) {
	defer guard.Recover(&err)
	names, err := j.names(m)
	if err != nil {
		return 0, err
	}
	at, far := make([]int, len(names)), make([]float64, len(names))
	err = j.stream(ctx, m, names, func(k int, v *engine.Value) error {
		from := at[k]
		if at[k] += v.Len(); at[k] > len(j.means[k]) {
			return errOutputs
		}
		far[k] += j.distance(k, v.Float32(), j.means[k][from:at[k]])
		return nil
	})
	if err != nil {
		return 0, err
	}
	total, outputs := 0.0, 0
	for k, g := range j.goals {
		if at[k] != len(j.means[k]) {
			return 0, errOutputs
		}
		total += far[k] * g.unit(at[k])
		if g.Kind != Scores {
			outputs++
		}
	}
	if total /= float64(outputs); math.IsNaN(total) {
		total = math.Inf(1)
	}
	return total, nil
}

// names are the tensors of a model that the goals are about.
func (j *Judge) names(m *onnxio.Model) (out []string, err error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	outputs := g.Outputs()
	for k, goal := range j.goals {
		switch {
		case goal.Tensor != "":
			out = append(out, goal.Tensor)
		case len(outputs) != len(j.goals):
			return nil, errOutputs
		default:
			out = append(out, outputs[k].GetName())
		}
	}
	return out, nil
}

var errOutputs = errors.New("the outputs differ in number or size from the parents'")

// distance compares values of the k-th goal with what the parents said, and adds up divergences,
// one minus cosines, or squares.
func (j *Judge) distance(k int, x, said []float32) float64 {
	g := j.goals[k]
	switch {
	case g.Kind == Probabilities:
		if j.decided {
			said = slices.Clone(said)
			Decided(said, g.Classes)
		}
		return floats.Sum(Divergences(said, g.Probabilities(x), g.Classes))
	case g.Vector > 0:
		return turned(x, said, g.Vector)
	}
	total := 0.0
	for i, v := range x {
		d := float64(said[i]) - float64(v)
		total += d * d
	}
	return total
}

// Divergences are KL(p ‖ q) in nats, row by row of k probabilities.
func Divergences(p, q []float32, k int) []float64 {
	out := make([]float64, len(p)/k)
	for i, v := range p {
		if p := float64(v); p > 0 {
			out[i/k] += p * math.Log(p/max(float64(q[i]), leastProbability))
		}
	}
	return out
}

// leastProbability bounds what ruling a class out by mistake costs.
const leastProbability = 1e-12

// turned is the sum of one minus the cosine between vectors of k numbers.
func turned(x, y []float32, k int) float64 {
	total := 0.0
	a, b := make([]float64, k), make([]float64, k)
	for at := 0; at+k <= len(x); at += k {
		for i := range k {
			a[i], b[i] = float64(x[at+i]), float64(y[at+i])
		}
		total += 1 - eval.Cosine(a, b)
	}
	return total
}

const (
	// variants is the number of variants of each sample held out that count, and seed chooses them.
	variants, seed = 2, 11
	// mostVariants is the number of variants that judge where nothing is held out.
	mostVariants = 200
)

// Judged returns inputs to judge a result on: what is held out, and variants of it
// (dataset.Data.Varied). The variants count because calibration inputs are often of those that the
// parents were trained on and know by heart, and what a child has kept of that flatters it.
func Judged(held *dataset.Data) *dataset.Data { return held.Varied(variants, seed) }

// Variants returns inputs to judge a result on where nothing is held out: some 200 variants of the
// data, which no model has seen. On the data themselves a refit makes no error at all where they
// are few.
func Variants(data *dataset.Data) *dataset.Data {
	n := data.Len()
	return data.Varied((mostVariants-1)/n+1, seed).Range(n, n+mostVariants)
}
