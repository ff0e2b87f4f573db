package ot

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ordered are costs of sorted numbers: every row wants the same columns, which is the worst that
// can happen to methods that begin with the nearest ones. The first is Machol and Wien's (A hard
// assignment problem, Operations Research 24, 1976).
var ordered = map[string]func(i, j float64) float64{
	"products":          func(i, j float64) float64 { return (i + 1) * (j + 1) },
	"negative products": func(i, j float64) float64 { return -math.Sqrt((i + 1) * (j + 1)) },
	"distances":         func(i, j float64) float64 { return math.Abs(i - 1.7*j) },
	"squares":           func(i, j float64) float64 { return (i - 2*j) * (i - 2*j) },
	"logarithms":        func(i, j float64) float64 { return math.Log(i + j + 1) },
	"minima":            math.Min,
	"maxima":            math.Max,
}

func orderedCost(n, k int, f func(i, j float64) float64) *Cost {
	c := NewCost(n, k, nil)
	for i := range n {
		for j := range k {
			c.Set(i, j, f(float64(i), float64(j)))
		}
	}
	return c
}

func randomMasses(rng *rand.Rand, n int) []float64 {
	m := make([]float64, n)
	var sum float64
	for i := range m {
		m[i] = rng.Float64()
		sum += m[i]
	}
	for i := range m {
		m[i] /= sum
	}
	return m
}

func TestOrderedCosts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for name, f := range ordered {
		for _, size := range [][2]int{{200, 200}, {180, 120}, {120, 180}, {151, 150}} {
			c := orderedCost(size[0], size[1], f)
			for _, masses := range []bool{false, true} {
				var a, b []float64
				if masses {
					a, b = randomMasses(rng, size[0]), randomMasses(rng, size[1])
				}
				for _, listed := range []bool{false, true} {
					r, err := Solver{listed: listed}.EMD(a, b, c)
					if err != nil {
						t.Fatal(err)
					}
					if err := r.Certify(a, b, c, 0); err != nil {
						t.Errorf("%s, %v, masses %v, listed %v: %v", name, size, masses, listed, err)
					}
					if n := len(r.Plan.Entries); n >= size[0]+size[1] {
						t.Errorf("%s, %v: %d entries", name, size, n)
					}
				}
			}
		}
	}
}

// Simplex from nothing takes one step for each row and column of an ordered matrix, however its
// rows and columns are shuffled.
func TestOrderedCostsTakeFewSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	const n = 300
	rows, cols := rng.Perm(n), rng.Perm(n)
	for _, name := range []string{"products", "negative products", "logarithms"} {
		c := orderedCost(n, n, func(i, j float64) float64 { return ordered[name](float64(rows[int(i)]), float64(cols[int(j)])) })
		r, err := EMD(nil, nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Stats.Pivots > 4*n {
			t.Errorf("%s: %d steps", name, r.Stats.Pivots)
		}
	}
}

// Simplex gives the same objective, with proof, whether it begins with a plan or without.
func TestSimplexAfresh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, k := rapid.IntRange(1, 30).Draw(t, "n"), rapid.IntRange(1, 30).Draw(t, "k")
		c := drawCost(t, n, k)
		a, b := drawMasses(t, n, 1), drawMasses(t, k, 1)
		if rapid.Bool().Draw(t, "uniform") {
			a, b = nil, nil
		}
		var objectives []float64
		for _, how := range []string{"plan", "nothing"} {
			m, err := newMarginals(a, b, n, k)
			if err != nil {
				t.Fatal(err)
			}
			u := m.inUnits()
			s := drawSolver(t).newTransport(n, k, c)
			lift, err := s.reduceColumns()
			if err != nil {
				t.Fatal(err)
			}
			s.start(&u)
			done := false
			if how == "plan" {
				s.fill()
				s.breakCycles()
				done = s.improve()
			} else {
				done = s.afresh(&u)
			}
			if !done && (how == "plan" || s.stats.Pivots >= s.pivotLimit) {
				t.Fatalf("from %s: no end after %d steps", how, s.stats.Pivots)
			}
			if !done {
				// Costs that fill the whole grid leave no room for potentials that count from the
				// hub: shortest paths are searched for instead.
				s.start(&u)
				s.paths(math.MaxInt, math.MaxInt)
				s.breakCycles()
			}
			r := s.result(&u, c, lift)
			if err := r.certify(a, b, c, 0, max(math.Abs(slices.Max(c.Data)), math.Abs(slices.Min(c.Data)))); err != nil {
				t.Fatalf("from %s: %v", how, err)
			}
			objectives = append(objectives, r.Objective)
		}
		scale := slices.Max(c.Data) - min(0, slices.Min(c.Data))
		if d := math.Abs(objectives[0] - objectives[1]); d > 1e-11*scale+4*math.SmallestNonzeroFloat64 {
			t.Fatalf("objectives differ: %v", objectives)
		}
	})
}

func BenchmarkOrdered(b *testing.B) {
	for _, name := range []string{"products", "distances", "minima"} {
		c := orderedCost(1024, 1024, ordered[name])
		b.Run(fmt.Sprint(name, " 1024"), func(b *testing.B) {
			for b.Loop() {
				if _, err := EMD(nil, nil, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
