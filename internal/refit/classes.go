package refit

import (
	"math"

	"github.com/monge-ml/monge/eval"
	"gonum.org/v1/gonum/floats"
)

// classes reports whether the layer's goal holds the scores of a classifier, side
// by side along its last axis: an output that is for that, or what a Softmax turns
// into one.
func (t *target) classes() bool {
	r := t.run
	last := len(r.an.Activations[t.goal]) - 1
	if len(r.sources) < 2 || last < 1 || t.layer.axis != last {
		return false
	}
	for i, out := range r.graph.Outputs() {
		if i >= len(r.o.Outputs) || r.o.Outputs[i].Task != eval.Classify || r.o.Outputs[i].Axis != last {
			continue
		}
		if out.GetName() == t.goal {
			return true
		}
		n := r.graph.Producer(out.GetName())
		switch n.GetOpType() {
		case "Softmax", "LogSoftmax":
			if n.GetInput()[0] == t.goal && len(r.graph.Consumers(t.goal)) == 1 {
				return true
			}
		}
	}
	return false
}

// Mixture returns, row by row, scores whose softmax is the mean of the parents'
// probabilities, weighted with shares: y = log Σ share·softmax(z), shifted so
// that its mean over the k classes is that of Σ share·z. A mean of scores would
// be a product of the parents' opinions, in which one that has never seen a
// class forbids it to all. Where the parents agree, y = z.
func Mixture(scores [][]float32, shares []float64, k int) []float32 {
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
