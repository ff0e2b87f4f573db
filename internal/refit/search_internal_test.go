package refit

import (
	"math"
	"slices"
	"testing"
)

// Of errors that fall to one least and rise behind it the least is found, without a look at all of
// them; those that cannot be had are passed over.
func TestSearch(t *testing.T) {
	inf := math.Inf(1)
	for _, x := range []struct {
		errors []float64 // by strength
		least  float64
		best   float64
		tries  int
	}{
		{[]float64{8, 7, 6, 5, 4, 3, 2, 1}, 9, 100, 5},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8}, 9, 1e-5, 5},
		{[]float64{8, 7, 6, 5, 4, 5, 6, 7}, 9, 1e-1, 3},
		{[]float64{8, 7, 6, 5, 6, 7, 8, 9}, 9, 1e-2, 3},
		{[]float64{8, 7, 6, 5, 6, 7, 8, 9}, 5, 0, 3},
		{[]float64{inf, inf, inf, inf, inf, 3, 2, 4}, 9, 10, 5},
		{[]float64{inf, inf, 4, 5, 6, 7, 8, 9}, 9, 1e-3, 5},
		{[]float64{inf, inf, inf, inf, inf, inf, inf, inf}, inf, 0, 8},
		{[]float64{math.NaN(), 1, 1, 1, 1, 1, 1, 1}, 9, 1e-2, 3},
	} {
		tries := 0
		best := search(x.least, func(strength float64) float64 {
			tries++
			return x.errors[slices.Index(strengths, strength)]
		})
		if best != x.best || tries != x.tries {
			t.Errorf("%v below %g: strength %g after %d tries, want %g after %d", x.errors, x.least, best, tries, x.best, x.tries)
		}
	}
}
