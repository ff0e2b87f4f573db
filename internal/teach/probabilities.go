package teach

import (
	"math"
	"slices"
)

// Softmax returns the probabilities of scores divided by a temperature, k in a row.
func Softmax(x []float32, k int, temperature float64) []float32 {
	out := make([]float32, len(x))
	for at := 0; at+k <= len(x); at += k {
		top, sum := slices.Max(x[at:at+k]), 0.0
		for j, v := range x[at : at+k] {
			e := math.Exp(float64(v-top) / temperature)
			out[at+j] = float32(e)
			sum += e
		}
		for j := at; j < at+k; j++ {
			out[j] = float32(float64(out[j]) / sum)
		}
	}
	return out
}

// Distributions reports whether all rows of k values are probabilities.
func Distributions(x []float32, k int) bool {
	for at := 0; at+k <= len(x); at += k {
		sum := float32(0)
		for _, v := range x[at : at+k] {
			if v < 0 {
				return false
			}
			sum += v
		}
		if math.Abs(float64(sum)-1) > 1e-3 {
			return false
		}
	}
	return true
}

// decided is the part of a target that is all for its likeliest class.
const decided = 0.5

// Decided turns rows of k probabilities into targets that say more clearly which class it is: half
// of each is all for its likeliest class. Where parents are at odds and both are certain, their
// mean is a tie that a hair decides; a child that comes as near to it as it can would toss a coin.
func Decided[T float32 | float64](p []T, k int) {
	for at := 0; at+k <= len(p); at += k {
		row := p[at : at+k]
		top := 0
		for j, v := range row {
			if v > row[top] {
				top = j
			}
		}
		for j := range row {
			row[j] *= 1 - decided
		}
		row[top] += decided
	}
}

// leastInformation bounds scarcity, in nats.
const leastInformation = 0.01

// scarcity is one over what rows of k probabilities tell, in nats: the divergence of a row from the
// mean of all, in the mean over all rows. Where most of a sample's decisions are the same, as on a
// picture with few things in it, the others hardly count in a mean over all; relative to that,
// nothing said is one.
func scarcity(p []float32, k int) float64 {
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

// mostConfidence bounds what scores are multiplied and divided by.
const mostConfidence = 8

// Confidence is the factor t between 1/mostConfidence and mostConfidence that minimises Σ KL(p ‖
// softmax(t·z/temperature)) over rows z of k logits and p of k probabilities. Its derivative
// Σ⟨softmax(t·z) − p, z⟩ grows with t.
func Confidence(logits, means []float32, k int, temperature float64) float64 {
	slope := func(t float64) (sum float64) {
		q := Softmax(logits, k, temperature/t)
		for i, z := range logits {
			sum += float64(q[i]-means[i]) * float64(z)
		}
		return sum
	}
	low, high := -math.Log(mostConfidence), math.Log(mostConfidence)
	for range 40 {
		if mid := (low + high) / 2; slope(math.Exp(mid)) > 0 {
			high = mid
		} else {
			low = mid
		}
	}
	return math.Exp((low + high) / 2)
}
