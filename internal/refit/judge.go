package refit

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// JudgeOptions are the settings of a Judge.
type JudgeOptions struct {
	// Threads limits onnxruntime's threads; zero means all cores.
	Threads int
	// Batch is the number of samples run at once; zero means engine's choice.
	Batch int
	// Outputs say what the outputs are for. Nil means what eval.FindTasks says of
	// the parents.
	Outputs []eval.Output
}

// A Judge measures how far models are from the mean prediction of some parents
// on fixed inputs, without labels.
type Judge struct {
	o       JudgeOptions
	data    *dataset.Data
	mean    [][]float64 // by output: rows of probabilities, or raw values
	columns []int       // by output: number of classes; 0 where it is no classifier's
	vectors []int       // by output: numbers of a vector; 0 where it is no embedding
	// scale is what divergences are multiplied by, by output: one, but where a sample
	// has many decisions (Scarcity).
	scale []float64
	// temperature divides the logits, by output.
	temperature []float64
}

// NewJudge runs the parents. The mean of several is Decided where outputs are class
// scores: logits, or probabilities where every row is one already.
func NewJudge(ctx context.Context, parents []*onnxio.Model, shares []float64, data *dataset.Data, o JudgeOptions) (_ *Judge, err error) {
	defer guard.Recover(&err)
	if o.Outputs == nil {
		if o.Outputs, err = eval.FindTasks(ctx, parents, data, nil, dataset.StreamOptions{Batch: o.Batch, Threads: o.Threads}); err != nil {
			return nil, err
		}
	}
	j := &Judge{o: o, data: data}
	var outs [][][]float64
	for _, m := range parents {
		out, columns, vectors, err := j.predict(ctx, m)
		if err != nil {
			return nil, err
		}
		if len(outs) == 0 {
			j.columns, j.vectors = columns, vectors
		}
		if len(out) != len(j.columns) {
			return nil, fmt.Errorf("%d outputs against %d", len(out), len(j.columns))
		}
		outs = append(outs, out)
	}
	for k, c := range j.columns {
		var logits []float64
		mean := make([]float64, len(outs[0][k]))
		for _, out := range outs {
			if len(out[k]) != len(mean) {
				return nil, fmt.Errorf("output %d has %d values in one model and %d in another", k, len(mean), len(out[k]))
			}
			if c > 0 && !distributions(out[k], c) {
				logits = append(logits, out[k]...)
			}
		}
		j.temperature = append(j.temperature, Temperature(logits, c))
		for i, out := range outs {
			if c > 0 {
				probabilities(out[k], c, j.temperature[k])
			}
			for t, x := range out[k] {
				mean[t] += shares[i] * x
			}
		}
		j.mean = append(j.mean, mean)
	}
	for k, c := range j.columns {
		j.scale = append(j.scale, 1)
		if c > 0 && len(j.mean[k]) > c*data.Len() {
			j.scale[k] = Scarcity(j.mean[k], c)
		}
		if c > 0 && len(parents) > 1 {
			Decided(j.mean[k], c)
		}
	}
	return j, nil
}

// Divergence is the mean over outputs of what their tasks say: of class scores the
// mean over rows of KL(mean ‖ model) in nats (of logits divided by their
// Temperature; where a sample has several rows, times Scarcity), of embeddings one
// minus the mean cosine, of others the squared error relative to the variance over
// the samples.
func (j *Judge) Divergence(ctx context.Context, m *onnxio.Model) (_ float64, err error) {
	defer guard.Recover(&err)
	out, _, _, err := j.predict(ctx, m)
	if err != nil {
		return 0, err
	}
	for k := range out {
		if len(out) != len(j.mean) || len(out[k]) != len(j.mean[k]) {
			return 0, fmt.Errorf("the outputs differ in number or size from the parents'")
		}
		if c := j.columns[k]; c > 0 {
			probabilities(out[k], c, j.temperature[k])
		}
	}
	return j.distance(out), nil
}

func (j *Judge) distance(out [][]float64) float64 {
	total := 0.0
	for k, v := range out {
		if c := j.columns[k]; c > 0 {
			kl := 0.0
			for t, p := range j.mean[k] {
				if p > 0 {
					kl += p * math.Log(p/max(v[t], 1e-12))
				}
			}
			total += j.scale[k] * kl / float64(len(v)/c)
			continue
		}
		if c := j.vectors[k]; c > 0 {
			total += Turned(v, j.mean[k], c)
			continue
		}
		e := 0.0
		for t, x := range j.mean[k] {
			e += (x - v[t]) * (x - v[t])
		}
		total += e / max(Spread(j.mean[k], j.data.Len()), math.SmallestNonzeroFloat64)
	}
	return total / float64(len(out))
}

// Spread is Σ(x − x̄)² over the values of n samples, each around its own mean over
// the samples; of one sample, or where all are equal, around the mean of all.
func Spread[T float32 | float64](x []T, n int) float64 {
	v := make([]float64, len(x))
	for i, a := range x {
		v[i] = float64(a)
	}
	if n > 1 && len(v)%n == 0 {
		if s := variation(v, len(v)/n); s > 0 {
			return s
		}
	}
	return variation(v, 1)
}

// Turned is one minus the mean cosine between vectors of k numbers.
func Turned[T float32 | float64](x, y []T, k int) float64 {
	total, n := 0.0, 0
	a, b := make([]float64, k), make([]float64, k)
	for at := 0; at+k <= len(x); at += k {
		for i := range k {
			a[i], b[i] = float64(x[at+i]), float64(y[at+i])
		}
		total += 1 - eval.Cosine(a, b)
		n++
	}
	return total / float64(max(n, 1))
}

// leastInformation bounds Scarcity, in nats.
const leastInformation = 0.01

// Scarcity is one over what rows of k probabilities tell, in nats: the divergence
// of a row from the mean of all, in the mean over all rows. Where most of a
// sample's decisions are the same, as on a picture with few things in it, the
// others hardly count in a mean over all; relative to that, nothing said is one.
func Scarcity[T float32 | float64](p []T, k int) float64 {
	mean, rows := make([]float64, k), float64(len(p)/k)
	told := 0.0
	for i, v := range p {
		mean[i%k] += float64(v) / rows
		if v > 0 {
			told += float64(v) * math.Log(float64(v)) / rows
		}
	}
	for _, v := range mean {
		if v > 0 {
			told -= v * math.Log(v)
		}
	}
	return 1 / max(told, leastInformation)
}

// predict returns a model's outputs, and the number of classes, or of the numbers
// of a vector, of each.
func (j *Judge) predict(ctx context.Context, m *onnxio.Model) (out [][]float64, columns, vectors []int, err error) {
	g, err := m.Graph()
	if err != nil {
		return nil, nil, nil, err
	}
	var names []string
	for _, o := range g.Outputs() {
		names = append(names, o.GetName())
	}
	out, columns, vectors = make([][]float64, len(names)), make([]int, len(names)), make([]int, len(names))
	err = dataset.Stream(ctx, m, j.data, names, dataset.StreamOptions{Batch: j.o.Batch, Threads: j.o.Threads}, func(_, _ int, values map[string]*engine.Value) error {
		for k, name := range names {
			v := values[name]
			x := v.Float64()
			if k < len(j.o.Outputs) {
				columns[k], vectors[k] = j.o.Outputs[k].Classes(v.Dims), j.o.Outputs[k].Vector(v.Dims)
			}
			out[k] = append(out[k], x...)
		}
		return nil
	})
	return out, columns, vectors, err
}

// typicalSpread is the deviation among a classifier's logits up to which their
// probabilities say something about all classes. That of networks trained with
// cross-entropy is 3 to 6.
const typicalSpread = 6

// Temperature is what logits, k in a row, are divided by before their
// probabilities are compared: one, unless they are so far apart that those are
// zeros and ones and say only which class is first. A model without
// normalisation, fed with pixels from 0 to 255, has logits in the thousands, and
// one mistake costs as many nats.
func Temperature[T float32 | float64](logits []T, k int) float64 {
	squares := 0.0
	for r := 0; r+k <= len(logits) && k > 0; r += k {
		mean := 0.0
		for _, v := range logits[r : r+k] {
			mean += float64(v) / float64(k)
		}
		for _, v := range logits[r : r+k] {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
	}
	return max(1, math.Sqrt(squares/float64(max(len(logits), 1)))/typicalSpread)
}

// distributions reports whether all rows of k values are probabilities.
func distributions(x []float64, k int) bool {
	for r := 0; r+k <= len(x); r += k {
		sum, low := 0.0, 0.0
		for _, v := range x[r : r+k] {
			sum += v
			low = min(low, v)
		}
		if low < 0 || math.Abs(sum-1) >= 1e-3 {
			return false
		}
	}
	return true
}

// probabilities applies softmax to every row that is no distribution yet.
func probabilities(x []float64, k int, temperature float64) {
	for r := 0; r+k <= len(x); r += k {
		row := x[r : r+k]
		if distributions(row, k) {
			continue
		}
		sum, top := 0.0, slices.Max(row)
		for i, v := range row {
			row[i] = math.Exp((v - top) / temperature)
			sum += row[i]
		}
		for i := range row {
			row[i] /= sum
		}
	}
}
