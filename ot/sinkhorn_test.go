package ot

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestSinkhornMarginalsAndLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		k := rapid.IntRange(1, 12).Draw(t, "k")
		c := NewCost(n, k, nil)
		for x := range c.Data {
			c.Data[x] = rapid.Float64Range(1, 2).Draw(t, "cost")
		}
		a, b := drawMasses(t, n, 2), drawMasses(t, k, 2)
		r, err := Sinkhorn(a, b, c, SinkhornOptions{Epsilon: 0.05, MaxIter: 100_000})
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != Converged {
			t.Fatalf("status %v after %d iterations", r.Status, r.Stats.Iterations)
		}
		var off float64
		for i, s := range r.Plan.RowSums() {
			off += math.Abs(s - a[i])
		}
		for j, s := range r.Plan.ColSums() {
			off += math.Abs(s - b[j])
		}
		if off > 2*1.1e-6 {
			t.Fatalf("marginals off by %g", off)
		}
		// The entropic plan costs at most ε times the mass times log(nk) more.
		exact, err := EMD(a, b, c)
		if err != nil {
			t.Fatal(err)
		}
		const eps, mass = 0.05 * 2, 2 // the mean cost is at most 2
		if r.Objective < exact.Objective-1e-5 || r.Objective > exact.Objective+eps*mass*math.Log(float64(n*k))+1e-5 {
			t.Fatalf("objective %g, exact %g", r.Objective, exact.Objective)
		}
	})
}

func TestSinkhornSmallEpsilon(t *testing.T) {
	c := gaussian(40, 30, 8, 7)
	exact, err := EMD(nil, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Sinkhorn(nil, nil, c, SinkhornOptions{Epsilon: 1e-3, MaxIter: 200_000})
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != Converged || math.Abs(r.Objective-exact.Objective) > 1e-3*exact.Objective {
		t.Errorf("%v after %d iterations: objective %g, exact %g", r.Status, r.Stats.Iterations, r.Objective, exact.Objective)
	}
}

func BenchmarkSinkhorn(b *testing.B) {
	for _, n := range []int{256, 1024, 2048} {
		c := gaussian(n, n, 64, 1)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			iterations := 0
			for b.Loop() {
				r, err := Sinkhorn(nil, nil, c, SinkhornOptions{Epsilon: 0.01})
				if err != nil {
					b.Fatal(err)
				}
				iterations = r.Stats.Iterations
			}
			b.ReportMetric(float64(iterations), "iterations")
		})
	}
}
