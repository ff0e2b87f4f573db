package refit

import "math"

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

// mixture returns, row by row, scores whose softmax is the mean of the parents'
// probabilities, weighted with shares: y = log Σ share·softmax(z), shifted so
// that its mean over the k classes is that of Σ share·z. A mean of scores would
// be a product of the parents' opinions, in which one that has never seen a
// class forbids it to all. Where the parents agree, y = z.
func mixture(scores [][]float32, shares []float64, k int) []float32 {
	out := make([]float32, len(scores[0]))
	y := make([]float64, k)
	for at := 0; at+k <= len(out); at += k {
		clear(y)
		want := 0.0
		for i, z := range scores {
			row := z[at : at+k]
			top, sum := float32(math.Inf(-1)), 0.0
			for _, v := range row {
				top = max(top, v)
				want += shares[i] * float64(v) / float64(k)
			}
			for _, v := range row {
				sum += math.Exp(float64(v - top))
			}
			for j, v := range row {
				y[j] += shares[i] * math.Exp(float64(v-top)) / sum
			}
		}
		have := 0.0
		for j, p := range y {
			y[j] = math.Log(max(p, math.SmallestNonzeroFloat32))
			have += y[j] / float64(k)
		}
		for j, v := range y {
			out[at+j] = float32(v - have + want)
		}
	}
	return out
}
