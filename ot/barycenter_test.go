package ot

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// TestBarycenterOfTranslates: the barycentre of shifted copies is the copy shifted by the mean.
func TestBarycenterOfTranslates(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	x := cloud(r, 30, 3, 0)
	shifts := []float64{-2, 1, 6}
	var measures []Measure
	for _, s := range shifts {
		y := mat.DenseCopyOf(x)
		for i := range 30 {
			y.Set(i, 0, y.At(i, 0)+s)
		}
		measures = append(measures, Measure{X: y})
	}
	b, err := FreeSupport(measures, measures[0].X, FreeSupportOptions{Weights: []float64{0.5, 0.25, 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	if b.Status != Converged {
		t.Errorf("%v after %d rounds", b.Status, b.Rounds)
	}
	mean := 0.5*-2 + 0.25*1 + 0.25*6
	for i := range 30 {
		if d := b.X.At(i, 0) - x.At(i, 0) - mean; math.Abs(d) > 1e-12 {
			t.Fatalf("point %d is off by %g", i, d)
		}
	}
	var want float64
	for m, s := range shifts {
		want += []float64{0.5, 0.25, 0.25}[m] * (s - mean) * (s - mean)
	}
	if math.Abs(b.Objective-want) > 1e-12 {
		t.Errorf("objective %g, want %g", b.Objective, want)
	}
}

// TestBarycenterFalls: more rounds never cost more, and the stated objective is that of the points.
func TestBarycenterFalls(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	measures := []Measure{{X: cloud(r, 40, 2, 0)}, {X: cloud(r, 25, 2, 3)}, {X: cloud(r, 33, 2, -1)}}
	start := cloud(r, 20, 2, 0)
	last := math.Inf(1)
	for rounds := 1; rounds < 12; rounds++ {
		b, err := FreeSupport(measures, start, FreeSupportOptions{MaxIter: rounds})
		if err != nil {
			t.Fatal(err)
		}
		if b.Objective > last*(1+1e-12) {
			t.Fatalf("round %d: objective %g after %g", rounds, b.Objective, last)
		}
		last = b.Objective
		var sum float64
		for m, plan := range b.Plans {
			sum += plan.Cost(distances(t, b.X, measures[m].X, SquaredEuclidean)) / 3
		}
		if math.Abs(sum-b.Objective) > 1e-12*sum {
			t.Fatalf("round %d: objective %g, plans cost %g", rounds, b.Objective, sum)
		}
	}
}

func TestBarycenterErrors(t *testing.T) {
	x, y := mat.NewDense(2, 2, []float64{1, 2, 3, 4}), mat.NewDense(2, 3, nil)
	one := []Measure{{X: x}}
	for name, f := range map[string]func() (*Barycenter, error){
		"none":     func() (*Barycenter, error) { return FreeSupport(nil, x, FreeSupportOptions{}) },
		"features": func() (*Barycenter, error) { return FreeSupport(one, y, FreeSupportOptions{}) },
		"weights":  func() (*Barycenter, error) { return FreeSupport(one, x, FreeSupportOptions{Weights: []float64{0.5}}) },
		"negative": func() (*Barycenter, error) { return FreeSupport(one, x, FreeSupportOptions{Weights: []float64{-1}}) },
		"count":    func() (*Barycenter, error) { return FreeSupport(one, x, FreeSupportOptions{Weights: []float64{}}) },
		"mass":     func() (*Barycenter, error) { return FreeSupport(one, x, FreeSupportOptions{Mass: []float64{1, 1}}) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
