package teach

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
)

// Kind says how the parents' values become a target.
type Kind int

const (
	// Inner activations are the sum of share·In·Y over the parents' Y.
	Inner Kind = iota
	// Output is the sum of vote·Y.
	Output
	// Probabilities are the sum of vote·softmax(Y/temperature); a Y that holds probabilities
	// already enters as it is.
	Probabilities
	// Scores are such that their softmax is the sum of vote·softmax(Y).
	Scores
)

// Closeness is what the squared error of scores that are a mixture of several parents', relative to
// their variance, counts against a nat of divergence. It settles what probabilities leave open (the
// sum over all classes, the scores of classes that are out of the question), and keeps rows of
// numbers that are no scores.
const Closeness = 0.3

// A Target is what the parents say that a tensor of the child should hold.
type Target struct {
	Kind Kind
	// Tensors names what each parent computes like it.
	Tensors []string
	// Classes is the number of probabilities or scores in a row, to be set where the kind is one of
	// these.
	Classes int
	// Temperature divides scores before they become probabilities; see Temper.
	Temperature float64

	axis    int
	rows    []edit.Rows // by parent: from its channels to the child's; nil: they stay
	weights []float64   // by parent
}

// Target returns what a tensor of the child should hold, whose channels are on an axis that is
// counted from the end if negative. It is nil where a parent computes nothing like the tensor.
func (p Parents) Target(kind Kind, tensor string, axis int) (*Target, error) {
	t := p.target(kind)
	for i := range p {
		s := p[i].Subject
		name := p[i].Counterpart(tensor)
		if name == "" {
			return nil, nil
		}
		if t.axis = axis; axis < 0 {
			t.axis += len(s.Analysis.Activations[name])
		}
		rows, err := s.TargetRows(name, t.axis, p[i].Maps, p[i].Share)
		if err != nil {
			return nil, err
		}
		if rows != nil && kind != Scores {
			t.weights[i] = 1 // they hold the share
		}
		t.Tensors, t.rows = append(t.Tensors, name), append(t.rows, rows)
	}
	return t, nil
}

// target is one without tensors.
func (p Parents) target(kind Kind) *Target {
	if kind == Inner {
		return &Target{Kind: kind, Temperature: 1, weights: p.shares()}
	}
	return &Target{Kind: kind, Temperature: 1, weights: p.Votes()}
}

// Of returns the target that values of the parents make, one for each.
func (t *Target) Of(values []*engine.Value) (*engine.Value, error) {
	said := make([][]float32, len(values))
	var dims []int
	for i, v := range values {
		x, shape := t.moved(i, v)
		if i == 0 {
			dims = shape
		}
		if len(x) != engine.Count(dims) {
			return nil, fmt.Errorf("the parents' shapes differ: %v and %v", dims, shape)
		}
		said[i] = x
	}
	return engine.Float32(t.mix(said), dims...), nil
}

// moved are values of the i-th parent in the child's channels.
func (t *Target) moved(i int, v *engine.Value) ([]float32, []int) {
	if t.rows == nil || t.rows[i] == nil {
		return v.Float32(), v.Dims
	}
	return t.rows[i].Apply(v.Float32(), v.Dims, t.axis)
}

// mix makes one of what the parents say.
func (t *Target) mix(said [][]float32) []float32 {
	if t.Kind == Scores {
		return mixture(said, t.weights, t.Classes)
	}
	if len(said) == 1 && t.rows != nil && t.rows[0] != nil && t.weights[0] == 1 {
		return said[0] // made for the child as it is
	}
	out := make([]float32, len(said[0]))
	for i, x := range said {
		if t.Kind == Probabilities {
			x = t.Probabilities(x)
		}
		weight := float32(t.weights[i])
		for j, v := range x {
			out[j] += weight * v
		}
	}
	return out
}

// Probabilities are those of scores, or the values themselves where every row is one of
// probabilities.
func (t *Target) Probabilities(x []float32) []float32 {
	if Distributions(x, t.Classes) {
		return x
	}
	return Softmax(x, t.Classes, t.Temperature)
}

// Temper sets the temperature by scores of the parents. It is one, unless scores are so far apart
// that their probabilities are zeros and ones, and say only which class is first. A model without
// normalisation, fed with pixels from 0 to 255, has scores in the thousands, and one mistake costs
// as many nats.
func (t *Target) Temper(said ...[]float32) {
	squares, n := 0.0, 0
	for _, x := range said {
		if t.Kind == Probabilities && !Distributions(x, t.Classes) {
			n += len(x)
			squares += sumSquares(x, t.Classes)
		}
	}
	t.Temperature = max(1, math.Sqrt(squares/float64(max(n, 1)))/typicalSpread)
}

// typicalSpread is the deviation among the scores of a row up to which their probabilities say
// something about all classes. That of networks trained with cross-entropy is 3 to 6.
const typicalSpread = 6

// sumSquares is the sum over rows of k numbers of Σ(x − x̄)².
func sumSquares(x []float32, k int) float64 {
	total := 0.0
	for at := 0; at+k <= len(x); at += k {
		mean := 0.0
		for _, v := range x[at : at+k] {
			mean += float64(v) / float64(k)
		}
		for _, v := range x[at : at+k] {
			total += (float64(v) - mean) * (float64(v) - mean)
		}
	}
	return total
}

// mixture returns, row by row, scores whose softmax is the mean of the parents' probabilities,
// weighted with shares: y = log Σ share·softmax(z), shifted so that its mean over the k classes is
// that of Σ share·z. A mean of scores would be a product of the parents' opinions, in which one
// that has never seen a class forbids it to all. Where the parents agree, y = z.
func mixture(scores [][]float32, shares []float64, k int) []float32 {
	out := make([]float32, len(scores[0]))
	y := make([]float64, k)
	norms, terms := make([]float64, len(scores)), make([]float64, len(scores))
	for at := 0; at+k <= len(out); at += k {
		// In logarithms, so that probabilities too small for a number count too.
		for i, z := range scores {
			for j, v := range z[at : at+k] {
				y[j] = float64(v)
			}
			norms[i] = math.Log(shares[i]) - floats.LogSumExp(y)
		}
		want, have := 0.0, 0.0
		for j := range y {
			for i, z := range scores {
				v := float64(z[at+j])
				terms[i] = norms[i] + v
				want += shares[i] * v / float64(k)
			}
			y[j] = floats.LogSumExp(terms)
			have += y[j] / float64(k)
		}
		for j, v := range y {
			out[at+j] = float32(v - have + want)
		}
	}
	return out
}
