package ot

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// drawForbidding draws costs of an ordinary size among which some are far larger or infinite.
func drawForbidding(t *rapid.T, n, k int) *Cost {
	c := NewCost(n, k, nil)
	base := rapid.SampledFrom([]float64{1, 1e-3, 1e6, -2}).Draw(t, "base")
	huge := rapid.SampledFrom([]float64{1e9, 1e18, 1e20, 1e32, 1e300, math.MaxFloat64, math.Inf(1)}).Draw(t, "huge")
	often := rapid.IntRange(1, 9).Draw(t, "often")
	for x := range c.Data {
		c.Data[x] = base * rapid.Float64Range(0, 3000).Draw(t, "cost")
		if rapid.IntRange(0, 10).Draw(t, "forbid") < often {
			c.Data[x] = huge
		}
	}
	return c
}

// exact compares an exact result with the best cost that brute force has found: as near as the
// costs that are used allow.
func exact(t *rapid.T, c *Cost, r *Result, err error, want float64) {
	if want > 1e305 && !math.IsInf(want, 1) {
		return // too much to calculate with, which may be an error or not
	}
	if math.IsInf(want, 0) {
		if err == nil {
			t.Fatalf("objective %g where every plan is forbidden", r.Objective)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v, but there is a plan of cost %g", err, want)
	}
	if tol := 1e-11 * max(math.Abs(r.used(c)), math.Abs(want)); !(math.Abs(r.Objective-want) <= tol) {
		t.Fatalf("objective %.15g, want %.15g", r.Objective, want)
	}
}

func TestForbiddenAssignment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "n")
		c := drawForbidding(t, n, n)
		r, err := drawSolver(t).Assignment(c)
		exact(t, c, r, err, bruteForce(c)/float64(n))
		if err == nil {
			if err := r.Certify(nil, nil, c, 0); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// drawParts draws n whole masses that sum to total.
func drawParts(t *rapid.T, n, total int) (masses []float64, owner []int) {
	masses = make([]float64, n)
	for range total {
		i := rapid.IntRange(0, n-1).Draw(t, "owner")
		masses[i]++
		owner = append(owner, i)
	}
	return masses, owner
}

// split is the assignment problem of units of mass.
func split(c *Cost, rows, cols []int) *Cost {
	s := NewCost(len(rows), len(cols), nil)
	for x, i := range rows {
		for y, j := range cols {
			s.Set(x, y, c.At(i, j))
		}
	}
	return s
}

func TestForbiddenEMD(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, k := rapid.IntRange(1, 5).Draw(t, "n"), rapid.IntRange(1, 5).Draw(t, "k")
		c := drawForbidding(t, n, k)
		total := rapid.IntRange(1, 7).Draw(t, "total")
		a, rows := drawParts(t, n, total)
		b, cols := drawParts(t, k, total)
		want := bruteForce(split(c, rows, cols))
		// Masses that are no whole multiples of anything, and equal up to rounding.
		unit := rapid.SampledFrom([]float64{1, 0.1, 1.0 / 3}).Draw(t, "unit")
		for i := range a {
			a[i] *= unit
		}
		for j := range b {
			b[j] *= unit
		}
		r, err := drawSolver(t).EMD(a, b, c)
		exact(t, c, r, err, want*unit)
		if err == nil {
			if err := r.Certify(a, b, c, 0); err != nil {
				t.Fatal(err)
			}
		}
		if math.IsInf(want, 0) {
			return
		}
		o := SinkhornOptions{Epsilon: 0.01, MaxIter: 200}
		for _, x := range c.Data {
			if !math.IsInf(x, 1) && x > 1e8 {
				return // the mean cost, and so ε, is that of such costs
			}
		}
		s, err := Sinkhorn(a, b, c, o)
		if err != nil {
			t.Fatalf("sinkhorn: %v", err)
		}
		if s.Status == Converged && !(s.Objective >= want*unit-1e-3*(math.Abs(want*unit)+math.Abs(s.used(c)))) || math.IsNaN(s.Objective) {
			t.Fatalf("sinkhorn: objective %g, least %g", s.Objective, want*unit)
		}
		for _, e := range s.Plan.Entries {
			if math.IsInf(c.At(e.I, e.J), 1) {
				t.Fatalf("sinkhorn moves %g from %d to %d, which is forbidden", e.Mass, e.I, e.J)
			}
		}
	})
}

// Where arcs are forbidden, dropping mass is a way out.
func TestForbiddenPartial(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, k := rapid.IntRange(1, 6).Draw(t, "n"), rapid.IntRange(1, 6).Draw(t, "k")
		c := drawForbidding(t, n, k)
		price := rapid.Float64Range(1, 5000).Draw(t, "price")
		drop := Drop{Source: make([]float64, n), Target: make([]float64, k)}
		dense := c
		for i := range drop.Source {
			drop.Source[i] = price
		}
		// The same with forbidden arcs that cost just more than dropping.
		capped := NewCost(n, k, nil)
		for x, y := range dense.Data {
			capped.Data[x] = min(y, price+1)
		}
		got, err := PartialEMD(nil, nil, c, drop)
		if err != nil {
			t.Fatal(err)
		}
		want, err := PartialEMD(nil, nil, capped, drop)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(got.Objective-want.Objective) > 1e-9*(math.Abs(want.Objective)+price) {
			t.Fatalf("objective %.15g, want %.15g", got.Objective, want.Objective)
		}
		if err := got.CertifyPartial(nil, nil, c, drop, 0); err != nil {
			t.Fatal(err)
		}
	})
}

// Costs that are to forbid arcs are never so large that the others lose digits.
func TestHugeCostsDoNotSetTheGrid(t *testing.T) {
	const b = math.MaxFloat64
	d := []float64{210, 330, 2200, b, 0.01, 250, 310, 2100, b, 0.2, 190, 300, 2000, b, 3, b, b, b, 5, b / 4, 40, 80, 330, b / 4, 0}
	a := []float64{.125, .125, .125, .125, .5}
	for _, huge := range []float64{1e6, 1e9, 1e15, 1e16, 1e17, 1e18, 1e20, 1e32, 1e300, math.MaxFloat64, math.Inf(1)} {
		c := NewCost(5, 5, nil)
		for x, y := range d {
			c.Data[x] = y
			if y > 1e9 {
				c.Data[x] = huge
			}
		}
		r, err := EMD(a, a, c)
		if err != nil || math.Abs(r.Objective-57.27625) > 1e-9 {
			t.Errorf("%g: %v, %v", huge, r, err)
			continue
		}
		if err := r.Certify(a, a, c, 0); err != nil {
			t.Errorf("%g: %v", huge, err)
		}
	}
}

// Masses that were normalised in single precision are no different totals.
func TestSinglePrecisionMasses(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{1, 5, 100, 625, 2000} {
		for name, draw := range map[string]func() float32{"random": g.Float32, "equal": func() float32 { return 0.1 }} {
			var sum float32
			a := make([]float64, k)
			for i := range a {
				x := draw()
				a[i] = float64(x)
				sum += x
			}
			for i := range a {
				a[i] = float64(float32(a[i]) / sum)
			}
			x := NewCost(k, 3, nil)
			for i := range x.Data {
				x.Data[i] = g.Float64()
			}
			r, err := EMD(a, nil, x)
			if err != nil {
				t.Errorf("%s, k = %d: %v", name, k, err)
				continue
			}
			if err := r.Certify(a, nil, x, 0); err != nil {
				t.Errorf("%s, k = %d: %v", name, k, err)
			}
			if _, err := Sinkhorn(a, nil, x, SinkhornOptions{MaxIter: 10}); err != nil {
				t.Errorf("%s, k = %d: %v", name, k, err)
			}
		}
	}
}
