package ot

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// bruteForce returns the least total cost of a permutation, by trying all.
func bruteForce(c *Cost) float64 {
	used := make([]bool, c.N)
	var try func(i int, sum float64) float64
	try = func(i int, sum float64) float64 {
		if i == c.N {
			return sum
		}
		best := math.Inf(1)
		for j := range c.N {
			if !used[j] {
				used[j] = true
				best = min(best, try(i+1, sum+c.At(i, j)))
				used[j] = false
			}
		}
		return best
	}
	return try(0, 0)
}

// drawCost draws costs of the kinds that have broken solvers before: few distinct values, huge and
// tiny scales, negative numbers, a few forbidding entries.
func drawCost(t *rapid.T, n, k int) *Cost {
	entry := rapid.SampledFrom([]*rapid.Generator[float64]{
		rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(0, 3).Draw(t, "c")) }),
		rapid.Float64Range(0, 1),
		rapid.Float64Range(-5, 5),
		rapid.Custom(func(t *rapid.T) float64 { return 1e300 * rapid.Float64Range(0, 1).Draw(t, "c") }),
		rapid.Custom(func(t *rapid.T) float64 { return 1e-300 * rapid.Float64Range(0, 1).Draw(t, "c") }),
		rapid.Custom(func(t *rapid.T) float64 { return 5e-324 * float64(rapid.IntRange(0, 9).Draw(t, "c")) }),
		rapid.Custom(func(t *rapid.T) float64 {
			return math.Pow(10, float64(rapid.IntRange(-6, 6).Draw(t, "exp")))
		}),
	}).Draw(t, "kind")
	c := NewCost(n, k, nil)
	for x := range c.Data {
		c.Data[x] = entry.Draw(t, "cost")
	}
	return c
}

// drawSolver draws a solver that reads short rows whole or lists candidates of all.
func drawSolver(t *rapid.T) Solver {
	return Solver{Portable: rapid.Bool().Draw(t, "portable"), listed: rapid.Bool().Draw(t, "listed")}
}

func TestAssignmentIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "n")
		c := drawCost(t, n, n)
		r, err := drawSolver(t).Assignment(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Certify(nil, nil, c, 0); err != nil {
			t.Fatal(err)
		}
		seen := make([]bool, n)
		var sum, scale float64
		for i, j := range r.Perm {
			if seen[j] {
				t.Fatalf("%v is no permutation", r.Perm)
			}
			seen[j] = true
			sum += c.At(i, j)
		}
		for _, x := range c.Data {
			scale = max(scale, math.Abs(x))
		}
		if want := bruteForce(c); math.Abs(sum-want) > 1e-14*float64(n)*scale {
			t.Fatalf("cost %g, best permutation %g", sum, want)
		}
	})
}

// drawMasses draws n masses, zeros among them, of the given total.
func drawMasses(t *rapid.T, n int, total float64) []float64 {
	m := make([]float64, n)
	var sum float64
	for i := range m {
		if rapid.IntRange(0, 3).Draw(t, "zero") > 0 {
			m[i] = rapid.Float64Range(1e-9, 1).Draw(t, "mass")
		}
		sum += m[i]
	}
	if sum == 0 {
		m[n-1], sum = 1, 1
	}
	for i := range m {
		m[i] *= total / sum
	}
	return m
}

func TestEMDIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		k := rapid.IntRange(1, 40).Draw(t, "k")
		c := drawCost(t, n, k)
		var a, b []float64
		total := 1.0
		if rapid.Bool().Draw(t, "a") {
			total = rapid.SampledFrom([]float64{1, 1e-200, 3e5}).Draw(t, "total")
			a = drawMasses(t, n, total)
		}
		if a != nil || rapid.Bool().Draw(t, "b") {
			b = drawMasses(t, k, total)
		}
		r, err := drawSolver(t).EMD(a, b, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Certify(a, b, c, 0); err != nil {
			t.Fatal(err)
		}
		if len(r.Plan.Entries) > n+k-1 {
			t.Fatalf("%d entries in a %d×%d plan", len(r.Plan.Entries), n, k)
		}
	})
}

// gaussian returns the Euclidean costs between two sets of points.
func gaussian(n, k, d int, seed uint64) *Cost {
	r := rand.New(rand.NewPCG(seed, 1))
	x, y := make([]float64, n*d), make([]float64, k*d)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	for i := range y {
		y[i] = r.NormFloat64()
	}
	c := NewCost(n, k, nil)
	for i := range n {
		for j := range k {
			var s float64
			for f := range d {
				s += (x[i*d+f] - y[j*d+f]) * (x[i*d+f] - y[j*d+f])
			}
			c.Set(i, j, math.Sqrt(s))
		}
	}
	return c
}

func TestLargeEMD(t *testing.T) {
	for _, s := range [][2]int{{300, 300}, {300, 200}, {200, 300}, {256, 64}, {1, 300}, {300, 1}, {700, 700}} {
		for _, masses := range []bool{false, true} {
			n, k := s[0], s[1]
			c := gaussian(n, k, 16, 1)
			var a, b []float64
			if masses {
				r := rand.New(rand.NewPCG(3, 4))
				a, b = make([]float64, n), make([]float64, k)
				var sa, sb float64
				for i := range a {
					a[i] = r.Float64()
					sa += a[i]
				}
				for j := range b {
					b[j] = r.Float64()
					sb += b[j]
				}
				for j := range b {
					b[j] *= sa / sb
				}
			}
			for _, s := range []Solver{{}, {listed: true}, {Portable: true}} {
				r, err := s.EMD(a, b, c)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Certify(a, b, c, 0); err != nil {
					t.Errorf("%d×%d, %+v: %v", n, k, s, err)
				}
			}
		}
	}
}

// TestSimplexGivesUp: the plan is as good where simplex stops early and paths start over.
func TestSimplexGivesUp(t *testing.T) {
	c := gaussian(60, 50, 4, 1)
	a, b := make([]float64, 60), make([]float64, 50)
	for i := range a {
		a[i] = float64(5 * (i % 11))
		b[i%50] += a[i]
	}
	m, err := newMarginals(a, b, 60, 50)
	if err != nil {
		t.Fatal(err)
	}
	u := m.inUnits()
	want, err := Solver{}.solve(&u, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, 1, 10} {
		tr := Solver{}.newTransport(60, 50, c)
		tr.pivotLimit = limit
		if _, err := tr.reduceColumns(); err != nil {
			t.Fatal(err)
		}
		tr.run(&u)
		r := tr.result(&u, c, 1)
		if err := r.Certify(a, b, c, 0); err != nil {
			t.Errorf("limit %d: %v", limit, err)
		}
		if r.Stats.Pivots != limit || r.Stats.Paths <= want.Stats.Paths {
			t.Errorf("limit %d: %+v", limit, r.Stats)
		}
	}
}

// TestSettings: neither threads nor kernels change a plan, threads not even its proof.
func TestSettings(t *testing.T) {
	for _, k := range []int{400, 300} {
		c := gaussian(400, k, 8, 5)
		want, err := Solver{Threads: 1}.EMD(nil, nil, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []Solver{{}, {Threads: 2}, {Threads: 7}, {Portable: true}} {
			got, err := s.EMD(nil, nil, c)
			if err != nil {
				t.Fatal(err)
			}
			if s.Portable {
				if err := got.Certify(nil, nil, c, 0); err != nil {
					t.Errorf("portable, k=%d: %v", k, err)
				}
				want.U, want.V, want.Stats = got.U, got.V, got.Stats
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%+v, k=%d: %s", s, k, d)
			}
		}
	}
}
