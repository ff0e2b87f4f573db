package teach

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// Options are the settings of a Judge. The zero value is useful.
type Options struct {
	// Threads limits onnxruntime's threads; zero means all cores.
	Threads int
	// Batch is the number of samples run at once; zero means dataset.DefaultBatch.
	Batch int
	// Outputs say what the outputs are for. Nil means what eval.FindTasks says of
	// the parents.
	Outputs []eval.Output
}

func (o Options) stream() dataset.StreamOptions {
	return dataset.StreamOptions{Batch: o.Batch, Threads: o.Threads}
}

// A Goal is a tensor of a child that has a target.
type Goal struct {
	*Target
	// Tensor is the child's; "" stands for an output in the place of the goal.
	Tensor string
	// Vector is the number of numbers of an embedding; 0 where the tensor holds none.
	Vector int
	// Scale multiplies the mean squared error or divergence.
	Scale float64
}

// A Judge measures how far models are from the mean prediction of some parents
// on fixed inputs, without labels.
type Judge struct {
	// Data are the inputs.
	Data *dataset.Data

	o     Options
	goals []*Goal
	means [][]float32 // by goal
	// decided says that probabilities are Decided before they are aimed at.
	decided bool
}

// NewJudge runs the parents. The mean of several is Decided where outputs are
// class scores: logits, or probabilities where every row is one already.
func NewJudge(ctx context.Context, parents Parents, data *dataset.Data, o Options) (_ *Judge, err error) {
	defer guard.Recover(&err)
	if o.Outputs == nil {
		if o.Outputs, err = eval.FindTasks(ctx, parents.Models(), data, nil, o.stream()); err != nil {
			return nil, err
		}
	}
	goals, err := parents.outputs()
	if err != nil {
		return nil, err
	}
	j := &Judge{Data: data, o: o, goals: goals, decided: len(parents) > 1}
	said, err := j.hear(ctx, parents, func(k int, dims []int) {
		if k < len(o.Outputs) {
			goals[k].SetTask(o.Outputs[k], dims)
		}
	})
	if err != nil {
		return nil, err
	}
	for k, g := range goals {
		g.Temper(said[k]...)
		j.means = append(j.means, g.mix(said[k]))
		g.Scale = Scale(j.means[k], g.Classes, data.Len())
	}
	return j, nil
}

// NewJudgeOf is NewJudge for given goals: outputs, and scores behind them.
func NewJudgeOf(ctx context.Context, parents Parents, goals []*Goal, data *dataset.Data, o Options) (_ *Judge, err error) {
	defer guard.Recover(&err)
	j := &Judge{Data: data, o: o, goals: goals, decided: len(parents) > 1}
	said, err := j.hear(ctx, parents, func(int, []int) {})
	if err != nil {
		return nil, err
	}
	for k, g := range goals {
		j.means = append(j.means, g.mix(said[k]))
	}
	return j, nil
}

// outputs are the goals of all outputs, as numbers.
func (p Parents) outputs() ([]*Goal, error) {
	var goals []*Goal
	for i, m := range p.Models() {
		names, err := outputsOf(m)
		if err != nil {
			return nil, err
		}
		for len(goals) < len(names) && i == 0 {
			goals = append(goals, &Goal{Target: p.Output()})
		}
		if len(names) != len(goals) {
			return nil, fmt.Errorf("%d outputs against %d", len(names), len(goals))
		}
		for k, name := range names {
			goals[k].Tensors = append(goals[k].Tensors, name)
		}
	}
	return goals, nil
}

func outputsOf(m *onnxio.Model) ([]string, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range g.Outputs() {
		names = append(names, o.GetName())
	}
	return names, nil
}

// SetTask says what an output of these sizes is for.
func (g *Goal) SetTask(task eval.Output, dims []int) {
	g.Vector = task.Vector(dims)
	if g.Classes = task.Classes(dims); g.Classes > 0 {
		g.Kind = Probabilities
	}
}

// hear runs the parents, and returns what they say on all inputs: by goal, by
// parent. first is told the sizes of a goal's values before anything else is done
// with them.
func (j *Judge) hear(ctx context.Context, parents Parents, first func(k int, dims []int)) ([][][]float32, error) {
	said := make([][][]float32, len(j.goals))
	for i, m := range parents.Models() {
		names := make([]string, len(j.goals))
		for k, g := range j.goals {
			names[k] = g.Tensors[i]
			said[k] = append(said[k], nil)
		}
		err := j.stream(ctx, m, names, func(k int, v *engine.Value) error {
			if i == 0 && said[k][0] == nil {
				first(k, v.Dims)
			}
			x, _ := j.goals[k].moved(i, v)
			said[k][i] = append(said[k][i], x...)
			return nil
		})
		if err != nil {
			return nil, err
		}
		for k := range said {
			if a, b := len(said[k][0]), len(said[k][i]); a != b {
				return nil, fmt.Errorf("%q has %d values in one model and %d in another", names[k], a, b)
			}
		}
	}
	return said, nil
}

// stream hands over tensors of a model, the k-th ones batch by batch.
func (j *Judge) stream(ctx context.Context, m *onnxio.Model, names []string, do func(k int, v *engine.Value) error) error {
	return dataset.Stream(ctx, m, j.Data, names, j.o.stream(), func(_, _ int, values map[string]*engine.Value) error {
		for k, name := range names {
			if err := do(k, values[name]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Said is what the parents say about the k-th goal in the mean, for all inputs,
// and not Decided.
func (j *Judge) Said(k int) []float32 { return j.means[k] }

// Values are what a model makes of the k-th goal, for all inputs.
func (j *Judge) Values(ctx context.Context, m *onnxio.Model, k int) ([]float32, error) {
	var out []float32
	err := j.stream(ctx, m, []string{j.goals[k].Tensor}, func(_ int, v *engine.Value) error {
		out = append(out, v.Float32()...)
		return nil
	})
	return out, err
}

// Divergence is the mean over outputs of what their tasks say: of class scores the
// mean over rows of KL(mean ‖ model) in nats (of scores divided by their
// temperature, Target.Temper; where a sample has several rows, relative to what
// these tell), of embeddings one minus the mean cosine, of others the squared error
// relative to the variance over the samples.
func (j *Judge) Divergence(ctx context.Context, m *onnxio.Model) (_ float64, err error) {
	defer guard.Recover(&err)
	names, err := outputsOf(m)
	if err != nil {
		return 0, err
	}
	for k, g := range j.goals {
		if k == len(names) {
			names = append(names, "")
		}
		if g.Tensor != "" {
			names[k] = g.Tensor
		}
	}
	if len(names) != len(j.goals) || slices.Contains(names, "") {
		return 0, errOutputs
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
	return total / float64(outputs), nil
}

var errOutputs = errors.New("the outputs differ in number or size from the parents'")

// unit is what the distance of n numbers is multiplied by.
func (g *Goal) unit(n int) float64 {
	switch {
	case g.Kind == Probabilities:
		return g.Scale * float64(g.Classes) / float64(n)
	case g.Vector > 0:
		return float64(g.Vector) / float64(n)
	}
	return g.Scale / float64(n)
}

// distance compares values of the k-th goal with what the parents said, and adds
// up divergences, one minus cosines, or squares.
func (j *Judge) distance(k int, x, said []float32) float64 {
	g := j.goals[k]
	switch {
	case g.Kind == Probabilities:
		if j.decided {
			said = slices.Clone(said)
			Decided(said, g.Classes)
		}
		return divergence(said, g.Probabilities(x))
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

// divergence is the sum over rows of KL(p ‖ q) in nats.
func divergence(p, q []float32) float64 {
	total := 0.0
	for i, v := range p {
		if p := float64(v); p > 0 {
			total += p * math.Log(p/max(float64(q[i]), leastProbability))
		}
	}
	return total
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

// Scale is what the mean distance from values of some samples is multiplied by,
// so that outputs of all kinds count alike: of squares one over the variance of
// each number over the samples, of divergences one, or where a sample has several
// rows, one over what these tell.
func Scale(x []float32, classes, samples int) float64 {
	if classes > 0 {
		if len(x) > classes*samples {
			return scarcity(x, classes)
		}
		return 1
	}
	var s eval.Spread
	v := make([]float64, len(x))
	for i := range x {
		v[i] = float64(x[i])
	}
	s.Add(v, samples)
	return float64(len(x)) / max(s.Squares(), math.SmallestNonzeroFloat32)
}

const (
	// leastHeldOut is the number of samples from which on HoldOut takes some, one
	// in heldEvery, at most mostHeldOut.
	leastHeldOut = 200
	heldEvery    = 10
	mostHeldOut  = 200
	// variants is the number of variants of each sample held out that count, and
	// seed chooses them.
	variants, seed = 2, 11
)

// HoldOut takes inputs aside to judge a result on, a tenth and no more than 200;
// none of fewer than 200, of which a tenth would say little.
func HoldOut(data *dataset.Data) (fit, held *dataset.Data) {
	n := data.Len()
	if n < leastHeldOut {
		return data, nil
	}
	return data.Split(max(heldEvery, (n+mostHeldOut-1)/mostHeldOut))
}

// Judged returns inputs to judge a result on: what is held out, and variants of it
// (dataset.Data.Varied). The variants count because calibration inputs are often of
// those that the parents were trained on and know by heart, and what a child has
// kept of that flatters it.
func Judged(held *dataset.Data) *dataset.Data { return held.Varied(variants, seed) }

// Variants returns inputs to judge a result on where nothing is held out: some
// 200 variants of the data, which no model has seen. On the data themselves a refit
// makes no error at all where they are few.
func Variants(data *dataset.Data) *dataset.Data {
	n := data.Len()
	return data.Varied((mostHeldOut-1)/n+1, seed).Range(n, n+mostHeldOut)
}
