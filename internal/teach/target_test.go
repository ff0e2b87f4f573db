package teach

import (
	"math"
	"testing"
)

func TestMixture(t *testing.T) {
	// One parent has never seen the third class, the other is torn between the last two; a mean of
	// scores would rule the third out.
	a, b := []float32{0, 2, -30}, []float32{-4, 3, 3}
	y := mixture([][]float32{a, b}, []float64{0.5, 0.5}, 3)
	p, q, got := softmaxOf(a), softmaxOf(b), softmaxOf(y)
	mean := 0.0
	for k := range y {
		if want := (p[k] + q[k]) / 2; math.Abs(got[k]-want) > 1e-6 {
			t.Errorf("class %d has probability %g, want %g", k, got[k], want)
		}
		mean += float64(y[k]) - float64(a[k]+b[k])/2
	}
	if math.Abs(mean) > 1e-5 {
		t.Errorf("the mean score moved by %g", mean/3)
	}
	// Parents that agree are left alone, row by row.
	z := []float32{1, -2, 5, 40, 0, -7}
	for i, v := range mixture([][]float32{z, z}, []float64{0.3, 0.7}, 3) {
		if math.Abs(float64(v-z[i])) > 1e-4 {
			t.Errorf("score %d of equal parents: %g, want %g", i, v, z[i])
		}
	}
}

func softmaxOf(z []float32) []float64 {
	out, sum := make([]float64, len(z)), 0.0
	for i, v := range z {
		out[i] = math.Exp(float64(v))
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func TestDecided(t *testing.T) {
	p := []float64{0.5, 0.49, 0.01, 0, 0, 1}
	Decided(p, 3)
	for i, want := range []float64{0.75, 0.245, 0.005, 0, 0, 1} {
		if math.Abs(p[i]-want) > 1e-12 {
			t.Errorf("entry %d is %g, want %g", i, p[i], want)
		}
	}
}
