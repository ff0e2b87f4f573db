package refit

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// sample makes n rows of x (d values) and y = W·x + b + noise, and their moments.
func sample(seed uint64, n, d, o int, noise float64) (x, y *mat.Dense, truth fit, m *moments) {
	rng := rand.New(rand.NewPCG(seed, 5))
	x, y = mat.NewDense(n, d, nil), mat.NewDense(n, o, nil)
	truth = fit{w: make([]float64, o*d), b: make([]float64, o)}
	for i := range truth.w {
		truth.w[i] = rng.NormFloat64()
	}
	for i := range truth.b {
		truth.b[i] = 3 * rng.NormFloat64()
	}
	m = &moments{Rows: int64(n), D: d, O: o, SumX: make([]float64, d), SumY: make([]float64, o), XX: make([]float64, d*d), XY: make([]float64, d*o), YY: make([]float64, o)}
	for r := range n {
		for i := range d {
			x.Set(r, i, rng.NormFloat64()+float64(i%3))
		}
		for k := range o {
			v := truth.b[k] + noise*rng.NormFloat64()
			for i := range d {
				v += truth.w[k*d+i] * x.At(r, i)
			}
			y.Set(r, k, v)
			m.SumY[k] += v
			m.YY[k] += v * v
			for i := range d {
				m.XY[i*o+k] += x.At(r, i) * v
			}
		}
		for i := range d {
			m.SumX[i] += x.At(r, i)
			for j := range d {
				m.XX[i*d+j] += x.At(r, i) * x.At(r, j)
			}
		}
	}
	return x, y, truth, m
}

func zero(f fit) fit { return fit{w: make([]float64, len(f.w)), b: make([]float64, len(f.b))} }

func TestRidgeFindsTheTruth(t *testing.T) {
	_, _, truth, m := sample(1, 400, 7, 3, 0)
	got, err := m.ridge(1e-10, zero(truth))
	if err != nil {
		t.Fatal(err)
	}
	for i := range truth.w {
		if math.Abs(got.w[i]-truth.w[i]) > 1e-6 {
			t.Errorf("weight %d is %g, want %g", i, got.w[i], truth.w[i])
		}
	}
	for k := range truth.b {
		if math.Abs(got.b[k]-truth.b[k]) > 1e-5 {
			t.Errorf("bias %d is %g, want %g", k, got.b[k], truth.b[k])
		}
	}
}

func TestStrongRidgeKeepsThePrior(t *testing.T) {
	_, _, truth, m := sample(2, 200, 5, 2, 0.01)
	got, err := m.ridge(1e9, truth)
	if err != nil {
		t.Fatal(err)
	}
	for i := range truth.w {
		if math.Abs(got.w[i]-truth.w[i]) > 1e-2*math.Abs(truth.w[i]) {
			t.Errorf("weight %d went from %g to %g", i, truth.w[i], got.w[i])
		}
	}
}

func TestSquaredErrorFromSums(t *testing.T) {
	x, y, truth, m := sample(3, 150, 6, 4, 0.5)
	for _, f := range []fit{truth, zero(truth), {w: truth.w}} {
		want := 0.0
		for r := range 150 {
			for k := range 4 {
				e := y.At(r, k)
				if f.b != nil {
					e -= f.b[k]
				}
				for i := range 6 {
					e -= f.w[k*6+i] * x.At(r, i)
				}
				want += e * e
			}
		}
		if got := m.squaredError(f); math.Abs(got-want) > 1e-9*want {
			t.Errorf("error %g, summed over rows %g", got, want)
		}
	}
}

func TestMomentsAddUp(t *testing.T) {
	_, _, truth, a := sample(4, 80, 4, 2, 0.1)
	_, _, _, b := sample(5, 60, 4, 2, 0.1)
	want := a.squaredError(truth) + b.squaredError(truth)
	a.add(b)
	if got := a.squaredError(truth); math.Abs(got-want) > 1e-9*want {
		t.Errorf("error %g of the sum, %g of the parts", got, want)
	}
}

func TestChooseTakesThePriorWhereNothingIsBetter(t *testing.T) {
	_, _, truth, train := sample(7, 30, 20, 2, 0.5)
	// Held-out rows that the prior predicts exactly.
	held := &moments{Rows: train.Rows, D: 20, O: 2, SumX: train.SumX, XX: train.XX, SumY: make([]float64, 2), XY: make([]float64, 40), YY: make([]float64, 2)}
	for k := range 2 {
		held.SumY[k] = held.n() * truth.b[k]
		held.YY[k] = held.n() * truth.b[k] * truth.b[k]
		for i := range 20 {
			held.SumY[k] += truth.w[k*20+i] * held.SumX[i]
			held.YY[k] += 2 * truth.b[k] * truth.w[k*20+i] * held.SumX[i]
			held.XY[i*2+k] = truth.b[k] * held.SumX[i]
			for j := range 20 {
				held.XY[i*2+k] += truth.w[k*20+j] * held.XX[i*20+j]
				held.YY[k] += truth.w[k*20+i] * truth.w[k*20+j] * held.XX[i*20+j]
			}
		}
	}
	best, lambda, before, after := choose(train, held, truth)
	if lambda != 0 || before != after || &best.w[0] != &truth.w[0] {
		t.Errorf("strength %g, error %g → %g", lambda, before, after)
	}
}

// Inputs that hardly vary beside their means, summed in single precision, have second moments
// without a sign; the fit then stays near the prior.
func TestRidgeOfAGramMatrixThatIsNotPositive(t *testing.T) {
	m := &moments{Rows: 100, D: 2, O: 1, SumX: []float64{100, 100}, SumY: []float64{300}, XX: []float64{100 + 1e-6, 100 - 3e-6, 100 - 3e-6, 100 + 1e-6}, XY: []float64{300, 300}, YY: []float64{900}}
	prior := fit{w: []float64{1, 2}, b: []float64{0}}
	got, err := m.ridge(1e-5, prior)
	if err != nil {
		t.Fatal(err)
	}
	if y := got.w[0] + got.w[1] + got.b[0]; math.Abs(y-3) > 1e-6 {
		t.Errorf("at the mean of the inputs the fit is %g, want 3", y)
	}
}

// A group whose target is off in all held-out rows adds its error to the others', and is no reason
// for errors that are no numbers.
func TestErrorsOfTargetsThatDoNotVary(t *testing.T) {
	_, _, truth, train := sample(8, 60, 4, 1, 0.1)
	held := &moments{Rows: 10, D: 4, O: 1, SumX: make([]float64, 4), SumY: make([]float64, 1), XX: make([]float64, 16), XY: make([]float64, 4), YY: make([]float64, 1)}
	for i := range 4 {
		held.XX[i*5] = 10 // x varies, y = 0 does not
	}
	_, _, before, after := choose(train, held, truth)
	if !(before > 0) || math.IsInf(before, 0) || math.IsNaN(after) || math.IsInf(after, 0) {
		t.Errorf("error %g → %g", before, after)
	}
	for _, c := range []struct{ e, variation, size, want float64 }{{2, 4, 9, 0.5}, {2, 0, 8, 0.25}, {2, 1e-7, 8, 0.25}, {2, 0, 0, 0}} {
		if got := relative(c.e, c.variation, c.size); got != c.want {
			t.Errorf("error %g of variation %g and size %g is %g, want %g", c.e, c.variation, c.size, got, c.want)
		}
	}
}
