package refit

import (
	"context"
	"fmt"
	"math"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// JudgeOptions are the settings of a Judge.
type JudgeOptions struct {
	// Threads limits onnxruntime's threads; zero means all cores.
	Threads int
	// Batch is the number of samples run at once; zero means engine's choice.
	Batch int
}

// A Judge measures how far models are from the mean prediction of some parents
// on fixed inputs, without labels.
type Judge struct {
	o       JudgeOptions
	data    *engine.Data
	mean    [][]float64 // by output: samples × classes probabilities, or raw values
	columns []int       // by output: number of classes; 0 where it is no classifier's
}

// NewJudge runs the parents. Outputs [N, K ≥ 2] count as classifiers': logits,
// or probabilities where every row is one already.
func NewJudge(ctx context.Context, parents []*onnxio.Model, shares []float64, data *engine.Data, o JudgeOptions) (*Judge, error) {
	j := &Judge{o: o, data: data}
	for i, m := range parents {
		out, columns, err := j.predict(ctx, m)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			j.columns = columns
			for _, v := range out {
				j.mean = append(j.mean, make([]float64, len(v)))
			}
		}
		if len(out) != len(j.mean) {
			return nil, fmt.Errorf("%d outputs against %d", len(out), len(j.mean))
		}
		for k, v := range out {
			if len(v) != len(j.mean[k]) {
				return nil, fmt.Errorf("output %d has %d values in one model and %d in another", k, len(j.mean[k]), len(v))
			}
			for t, x := range v {
				j.mean[k][t] += shares[i] * x
			}
		}
	}
	return j, nil
}

// Divergence is the mean over samples and outputs of KL(mean ‖ model) in nats,
// or for outputs that are no classifier's the squared error relative to the
// variance.
func (j *Judge) Divergence(ctx context.Context, m *onnxio.Model) (float64, error) {
	out, _, err := j.predict(ctx, m)
	if err != nil {
		return 0, err
	}
	for k := range out {
		if len(out) != len(j.mean) || len(out[k]) != len(j.mean[k]) {
			return 0, fmt.Errorf("the outputs differ in number or size from the parents'")
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
			total += kl / float64(len(v)/c)
			continue
		}
		mean := 0.0
		for _, x := range j.mean[k] {
			mean += x / float64(len(v))
		}
		e, spread := 0.0, 0.0
		for t, x := range j.mean[k] {
			e += (x - v[t]) * (x - v[t])
			spread += (x - mean) * (x - mean)
		}
		total += e / max(spread, math.SmallestNonzeroFloat64)
	}
	return total / float64(len(out))
}

// predict returns a model's outputs, classifiers' as probabilities.
func (j *Judge) predict(ctx context.Context, m *onnxio.Model) (out [][]float64, columns []int, err error) {
	g, err := m.Graph()
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, o := range g.Outputs() {
		names = append(names, o.GetName())
	}
	out, columns = make([][]float64, len(names)), make([]int, len(names))
	err = engine.Stream(ctx, m, j.data, names, engine.StreamOptions{Batch: j.o.Batch, Threads: j.o.Threads}, func(_, n int, values map[string]*engine.Value) error {
		for k, name := range names {
			v := values[name]
			x := v.Float64()
			if len(v.Dims) == 2 && v.Dims[0] == n && v.Dims[1] >= 2 {
				columns[k] = v.Dims[1]
				probabilities(x, v.Dims[1])
			}
			out[k] = append(out[k], x...)
		}
		return nil
	})
	return out, columns, err
}

// probabilities applies softmax to every row that is no distribution yet.
func probabilities(x []float64, k int) {
	for r := 0; r+k <= len(x); r += k {
		row := x[r : r+k]
		sum, low, top := 0.0, 0.0, math.Inf(-1)
		for _, v := range row {
			sum += v
			low, top = min(low, v), max(top, v)
		}
		if low >= 0 && math.Abs(sum-1) < 1e-3 {
			continue
		}
		sum = 0
		for i, v := range row {
			row[i] = math.Exp(v - top)
			sum += row[i]
		}
		for i := range row {
			row[i] /= sum
		}
	}
}
