package teach

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A factor that logits were multiplied by is found again.
func TestConfidence(t *testing.T) {
	const n, k, temperature = 40, 5, 3
	rng := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, n*k)
	for i := range logits {
		logits[i] = float32(temperature * 3 * rng.NormFloat64())
	}
	for _, want := range []float64{0.2, 0.7, 1, 5} {
		got := Confidence(logits, Softmax(logits, k, temperature/want), k, temperature)
		if math.Abs(got/want-1) > 1e-3 {
			t.Errorf("%g, want %g", got, want)
		}
	}
	certain := make([]float32, n*k)
	for i := range n {
		certain[i*k] = 1
	}
	if got := Confidence(certain, certain, k, 1); math.Abs(got/mostConfidence-1) > 1e-3 {
		t.Errorf("%g where nothing is sure enough, want %d", got, mostConfidence)
	}
}
