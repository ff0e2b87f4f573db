package refit

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// classes reports whether the layer's goal holds the scores of a classifier:
// rows of two or more that are an output of the model, or that a Softmax turns
// into one.
func (t *target) classes() bool {
	r := t.run
	if len(r.sources) < 2 || len(r.an.Activations[t.goal]) != 2 || t.layer.axis != 1 {
		return false
	}
	if r.graph.IsOutput(t.goal) {
		return true
	}
	readers := r.graph.Consumers(t.goal)
	if len(readers) != 1 || readers[0].Input != 0 {
		return false
	}
	switch readers[0].Node.GetOpType() {
	case "Softmax", "LogSoftmax":
		return r.graph.IsOutput(readers[0].Node.GetOutput()[0])
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
