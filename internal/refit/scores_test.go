package refit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"
)

// problemOf makes n samples whose scores are a linear map of what is read, plus noise.
func problemOf(rng *rand.Rand, n, d, o int, truth fit, noise float64) *scores {
	s := &scores{d: d, o: o}
	for range n {
		x, y := make([]float32, d), make([]float32, o)
		for i := range x {
			x[i] = float32(rng.NormFloat64() + 1)
		}
		for k := range y {
			v := truth.b[k] + noise*rng.NormFloat64()
			for i := range x {
				v += truth.w[k*d+i] * float64(x[i])
			}
			y[k] = float32(v)
		}
		s.add(x, y)
	}
	s.prepare()
	return s
}

func random(rng *rand.Rand, d, o int) fit {
	f := fit{w: make([]float64, d*o), b: make([]float64, o)}
	for i := range f.w {
		f.w[i] = rng.NormFloat64()
	}
	for k := range f.b {
		f.b[k] = rng.NormFloat64()
	}
	return f
}

func TestScoresGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	s := problemOf(rng, 30, 4, 3, random(rng, 4, 3), 0.5)
	f := random(rng, 4, 3)
	residuals := make([]float64, s.n*s.o)
	s.evaluate(f, residuals)
	for k := range s.o {
		want := 0.0
		for i := k; i < len(residuals); i += s.o {
			want += residuals[i]
		}
		const h = 1e-5
		up, down := slices.Clone(f.b), slices.Clone(f.b)
		up[k] += h
		down[k] -= h
		got := (stat.Mean(s.losses(fit{f.w, up}), nil) - stat.Mean(s.losses(fit{f.w, down}), nil)) / (2 * h)
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("class %d: slope %g, gradient %g", k, got, want)
		}
	}
}

// The solution is stationary: no small step in any direction lowers the loss and its ridge. A
// strong ridge leaves the prior where it is.
func TestScoresMinimise(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 2))
	truth := random(rng, 6, 4)
	s := problemOf(rng, 300, 6, 4, truth, 0.3)
	prior := random(rng, 6, 4)
	const strength = 1e-3
	total := func(f fit) float64 {
		away := 0.0
		for i, v := range f.w {
			away += (v - prior.w[i]) * (v - prior.w[i])
		}
		return stat.Mean(s.losses(f), nil) + strength*s.scale*away
	}
	got := s.minimise(strength, prior, prior)
	least := total(got)
	if start := total(prior); least > start/2 {
		t.Errorf("loss %g, at the start %g", least, start)
	}
	for range 50 {
		step := random(rng, 6, 4)
		f := fit{slices.Clone(got.w), slices.Clone(got.b)}
		for i, v := range step.w {
			f.w[i] += 1e-2 * v
		}
		for k, v := range step.b {
			f.b[k] += 1e-2 * v
		}
		if e := total(f); e < least-1e-9 {
			t.Fatalf("a step leads from %.9f to %.9f", least, e)
		}
	}
	far := s.minimise(1e9, prior, prior)
	for i, v := range far.w {
		if math.Abs(v-prior.w[i]) > 1e-3 {
			t.Errorf("weight %d moved from %g to %g against all ridge", i, prior.w[i], v)
		}
	}
}

func TestWithinOneStandardError(t *testing.T) {
	y := []float64{1, 2, 3, 4}
	for _, c := range []struct {
		x    []float64
		want bool
	}{
		{y, true},
		{[]float64{0, 2, 3, 4}, true},  // better
		{[]float64{2, 3, 4, 5}, false}, // surely worse
		{[]float64{2, 1, 4, 4}, true},  // worse by 0.25, give or take 0.48
	} {
		if got := within(c.x, y); got != c.want {
			t.Errorf("%v against %v: %v", c.x, y, got)
		}
	}
}

// Scores that do not vary leave nothing to learn, and nothing that is no number.
func TestScoresThatDoNotVary(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for _, level := range []float64{0, 3} {
		truth := fit{w: make([]float64, 12), b: []float64{level, level, level}}
		s := problemOf(rng, 30, 4, 3, truth, 0)
		if loss := stat.Mean(s.losses(random(rng, 4, 3)), nil); math.IsNaN(loss) || math.IsInf(loss, 0) {
			t.Errorf("scores of %g: loss %g", level, loss)
		}
	}
}
