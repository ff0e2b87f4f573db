package refit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/monge-ml/monge/internal/stats"
)

// half splits samples in two, and returns them as rows and as sums. Without a bias the truth has
// none.
func half(seed uint64, n, d, o int, bias bool, noise float64) (r [2]*rows, m [2]*moments, truth fit) {
	x, y, truth, _ := sample(seed, n, d, o, noise)
	if !bias {
		y.Apply(func(_, k int, v float64) float64 { return v - truth.b[k] }, y)
		truth.b = nil
	}
	for part := range r {
		r[part] = &rows{RowSet: &stats.RowSet{D: d, O: o}}
		m[part] = &moments{D: d, O: o, SumX: make([]float64, d), SumY: make([]float64, o), XX: make([]float64, d*d), XY: make([]float64, d*o), YY: make([]float64, o)}
		for i := part * n / 2; i < (part+1)*n/2; i++ {
			r[part].add(m[part], x.RawRowView(i), y.RawRowView(i))
		}
	}
	return r, m, truth
}

func (r *rows) add(m *moments, x, y []float64) {
	r.N++
	m.Rows++
	for _, v := range x {
		r.X = append(r.X, float32(v))
	}
	for _, v := range y {
		r.Y = append(r.Y, float32(v))
	}
	rx, ry := r.X[len(r.X)-r.D:], r.Y[len(r.Y)-r.O:]
	for i, v := range rx {
		m.SumX[i] += float64(v)
		for j, u := range rx {
			m.XX[i*m.D+j] += float64(v) * float64(u)
		}
		for k, u := range ry {
			m.XY[i*m.O+k] += float64(v) * float64(u)
		}
	}
	for k, v := range ry {
		m.SumY[k] += float64(v)
		m.YY[k] += float64(v) * float64(v)
	}
}

// Rows and sums are two ways to the same fit.
func TestRowsAgreeWithSums(t *testing.T) {
	for _, c := range []struct {
		name  string
		n, d  int
		bias  bool
		noise float64
	}{
		{"fewer samples than inputs", 40, 60, true, 0.1},
		{"fewer, without a bias", 40, 60, false, 0.1},
		{"more", 80, 20, true, 0.5},
		{"more, without a bias", 80, 20, false, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, m, truth := half(11, c.n, c.d, 5, c.bias, c.noise)
			prior := fit{w: slices.Clone(truth.w), b: truth.b}
			for i := range prior.w {
				prior.w[i] += 2 * math.Sin(float64(i))
			}
			want, lambda, before, after := choose(m[0], m[1], prior)
			got, l, b, a := chooseOnRows(r[0], r[1], fit{w: slices.Clone(prior.w), b: prior.b}, false)
			if l != lambda || l == 0 {
				t.Errorf("strength %g, from sums %g", l, lambda)
			}
			if math.Abs(b-before) > 1e-5*before || math.Abs(a-after) > 1e-5*after {
				t.Errorf("error %g → %g, from sums %g → %g", b, a, before, after)
			}
			closeTo(t, "weight", got.w, want.w)
			closeTo(t, "bias", got.b, want.b)
		})
	}
}

func closeTo(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d of %s, want %d", len(got), what, len(want))
	}
	for i, v := range want {
		if math.Abs(got[i]-v) > 2e-5*max(1, math.Abs(v)) {
			t.Errorf("%s %d is %g, want %g", what, i, got[i], v)
		}
	}
}

func TestRowsThatDoNotVary(t *testing.T) {
	r := &rows{RowSet: &stats.RowSet{N: 2, D: 3, O: 1, X: []float32{1, 2, 3, 1, 2, 3}, Y: []float32{1, 2}}}
	prior := fit{w: []float64{1, 0, 0}, b: []float64{0}}
	best, lambda, before, after := chooseOnRows(r, &rows{RowSet: &stats.RowSet{N: 2, D: 3, O: 1, X: slices.Clone(r.X), Y: slices.Clone(r.Y)}}, prior, false)
	if lambda != 0 || before != after || best.w[0] != 1 {
		t.Errorf("strength %g, error %g → %g, weights %v", lambda, before, after, best.w)
	}
}

// What the prior predicts up to rounding is not fitted.
func TestRowsOfAnExactPrior(t *testing.T) {
	r, _, truth := half(13, 40, 60, 4, true, 0)
	before := slices.Clone(truth.w)
	best, lambda, _, _ := chooseOnRows(r[0], r[1], truth, false)
	if lambda != 0 || !slices.Equal(best.w, before) {
		t.Errorf("strength %g", lambda)
	}
}

// Scores that are too small decide alike: what is fitted of few samples would only blur them. They
// are made as large as they should be.
func TestFewScoresAreJudgedByDecisions(t *testing.T) {
	const d, o, n, scale = 40, 6, 15, 1.5
	rng := rand.New(rand.NewPCG(7, 2))
	prior := fit{w: make([]float64, o*d)}
	for i := range prior.w {
		prior.w[i] = rng.NormFloat64()
	}
	samples := func() *rows {
		r := &rows{RowSet: &stats.RowSet{N: n, D: d, O: o}}
		for range n * d {
			r.X = append(r.X, float32(rng.NormFloat64()))
		}
		for _, v := range r.times(prior.w).Data {
			r.Y = append(r.Y, float32(scale*v+0.1*rng.NormFloat64()))
		}
		return r
	}
	for _, classes := range []bool{false, true} {
		train, held := samples(), samples()
		got, lambda, _, _ := chooseOnRows(train, held, fit{w: slices.Clone(prior.w)}, classes)
		if kept := lambda == 0; kept != classes {
			t.Errorf("classes: %v, a ridge of %g", classes, lambda)
		} else if kept {
			for i, w := range prior.w {
				if got := got.w[i] / w; math.Abs(got/scale-1) > 0.1 {
					t.Fatalf("weight %d is %g times what it was, want %g", i, got, scale)
				}
			}
		}
	}
}
