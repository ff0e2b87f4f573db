package engine

import (
	"math"
	"slices"
)

// An OutputEval compares one output of a model with that of another, over all samples.
type OutputEval struct {
	Name string `json:"name"`

	// Agreement is the share of samples with the same arg-max for outputs [N, K ≥ 2], and 1 − ‖y − y₀‖/‖y₀‖ (Euclidean
	// norms over all samples) for others: at most 1, and negative where the difference is larger than y₀.
	Agreement float64 `json:"agreement"`

	Cosine  float64 `json:"cosine"`   // ⟨y, y₀⟩/(‖y‖·‖y₀‖); 1 if both are 0, 0 if one is
	MaxDiff float64 `json:"max_diff"` // largest |y − y₀|

	// NonFinite counts pairs of numbers that differ and of which one is NaN or infinite. They are left out of the other
	// figures, but for the arg-max, which they cannot be.
	NonFinite int `json:"non_finite,omitempty"`
}

// A comparison gathers an OutputEval batch by batch.
type comparison struct {
	name              string
	scores            bool // outputs [N, K ≥ 2]
	rows, same        int
	yy, yy0, y0y0, dd float64 // ‖y‖², ⟨y, y₀⟩, ‖y₀‖², ‖y − y₀‖²
	maxDiff           float64
	nonFinite         int
}

// add takes in a batch of outputs and the outputs to compare them with.
func (c *comparison) add(out, reference *Value) error {
	if !slices.Equal(out.Dims, reference.Dims) {
		return errShapes
	}
	y, y0 := out.Float64(), reference.Float64()
	for i, a := range y {
		b := y0[i]
		d := a - b
		switch {
		case a == b && math.IsInf(a, 0), math.IsNaN(a) && math.IsNaN(b):
			continue // equal, and nothing to add up
		case math.IsNaN(d) || math.IsInf(d, 0):
			c.nonFinite++
			continue
		}
		c.yy += a * a
		c.yy0 += a * b
		c.y0y0 += b * b
		c.dd += d * d
		c.maxDiff = max(c.maxDiff, math.Abs(d))
	}
	if c.scores = isScores(out) && isScores(reference); c.scores {
		k := out.Dims[1]
		for row := range out.Dims[0] {
			c.rows++
			if argMax(y[row*k:(row+1)*k]) == argMax(y0[row*k:(row+1)*k]) {
				c.same++
			}
		}
	}
	return nil
}

func (c *comparison) result() OutputEval {
	o := OutputEval{Name: c.name, MaxDiff: c.maxDiff, NonFinite: c.nonFinite}
	switch {
	case c.scores && c.rows > 0:
		o.Agreement = float64(c.same) / float64(c.rows)
	case c.dd == 0:
		o.Agreement = 1
	case c.y0y0 > 0:
		o.Agreement = 1 - math.Sqrt(c.dd/c.y0y0)
	}
	switch {
	case c.yy == 0 && c.y0y0 == 0:
		o.Cosine = 1
	case c.yy > 0 && c.y0y0 > 0:
		o.Cosine = c.yy0 / math.Sqrt(c.yy) / math.Sqrt(c.y0y0)
	}
	return o
}

// argMax is the index of the largest number, the first one of equals; NaN is never the largest. It is -1 if all are NaN.
func argMax(v []float64) int {
	best := -1
	for i, x := range v {
		if !math.IsNaN(x) && (best < 0 || x > v[best]) {
			best = i
		}
	}
	return best
}

// rankOf counts the classes that come before label: with a higher score, or the same score and a lower index. A label
// whose score is NaN comes last.
func rankOf(scores []float64, label int) int {
	s := scores[label]
	if math.IsNaN(s) {
		return len(scores)
	}
	rank := 0
	for i, x := range scores {
		if x > s || x == s && i < label {
			rank++
		}
	}
	return rank
}
