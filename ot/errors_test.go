package ot

import (
	"math"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	two := NewCost(2, 2, []float64{0, 1, 1, 0})
	half := []float64{0.5, 0.5}
	for _, test := range []struct {
		name string
		a, b []float64
		c    Costs
		want string
	}{
		{"empty", nil, nil, &Cost{}, "empty 0×0"},
		{"no targets", nil, nil, &Cost{N: 3}, "empty 3×0"},
		{"negative size", nil, nil, &Cost{N: -1, K: -1}, "empty -1×-1"},
		{"short data", nil, nil, &Cost{N: 2, K: 2, Data: make([]float64, 3)}, "3 numbers for a 2×2"},
		{"overflowing size", nil, nil, &Cost{N: 1 << 62, K: 4}, "numbers for a"},
		{"short data 32", nil, nil, &Cost32{N: 2, K: 2}, "0 numbers for a 2×2"},
		{"NaN cost", nil, nil, NewCost(1, 2, []float64{0, math.NaN()}), "cost NaN from 0 to 1"},
		{"infinite cost", nil, nil, NewCost(2, 1, []float64{0, math.Inf(1)}), "cost +Inf from 1 to 0"},
		{"NaN mass", []float64{math.NaN(), 1}, half, two, "mass NaN at source 0"},
		{"negative mass", half, []float64{2, -1}, two, "mass -1 at target 1"},
		{"infinite mass", []float64{0, math.Inf(1)}, half, two, "mass +Inf at source 1"},
		{"too few masses", []float64{1}, half, two, "1 source masses for 2 sources"},
		{"too many masses", half, []float64{1, 0, 0}, two, "3 target masses for 2 targets"},
		{"unequal totals", []float64{1, 2}, []float64{2, 2}, two, "source masses sum to 3, target masses to 4"},
		{"against uniform", []float64{1, 2}, nil, two, "source masses sum to 3, target masses to 1"},
		{"no mass", []float64{0, 0}, []float64{0, 0}, two, "no mass to move"},
		{"mass overflow", []float64{1e308, 1e308}, []float64{1e308, 1e308}, two, "masses overflow"},
	} {
		solvers := map[string]func() (*Result, error){
			"EMD":      func() (*Result, error) { return EMD(test.a, test.b, test.c) },
			"Sinkhorn": func() (*Result, error) { return Sinkhorn(test.a, test.b, test.c, SinkhornOptions{}) },
		}
		for solver, solve := range solvers {
			if _, err := solve(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: error %v, want one with %q", solver, test.name, err, test.want)
			}
		}
	}
	if _, err := Assignment(NewCost(2, 3, nil)); err == nil || !strings.Contains(err.Error(), "2×3") {
		t.Errorf("Assignment of 2×3: %v", err)
	}
	if _, err := EMD([]float64{1e20, 0}, []float64{1e20, 0}, NewCost(2, 2, []float64{1e300, 0, 0, 0})); err == nil {
		t.Error("an infinite objective is no error")
	}
	for _, o := range []SinkhornOptions{{Epsilon: -1}, {Epsilon: math.NaN()}, {Tol: -1}, {MaxIter: -1}, {Start: half[:1]}} {
		if _, err := Sinkhorn(nil, nil, two, o); err == nil {
			t.Errorf("Sinkhorn accepts %+v", o)
		}
	}
}

func TestCertifyRejects(t *testing.T) {
	c := gaussian(5, 4, 3, 1)
	a := []float64{1, 2, 3, 0, 2}
	b := []float64{2, 2, 2, 2}
	spoil := map[string]func(*Result){
		"source":      func(r *Result) { r.Plan.Entries[0].Mass *= 1.001 },
		"moved":       func(r *Result) { r.Plan.Entries[0].Mass = -1 },
		"potentials":  func(r *Result) { r.U[2] += 1e-6 },
		"reduced":     func(r *Result) { r.V[1] -= 1e-6 },
		"stated":      func(r *Result) { r.Objective *= 0.999 },
		"target":      func(r *Result) { r.Plan.Entries[0].J, r.Plan.Entries[1].J = 3, 3 },
		"potentials ": func(r *Result) { r.U = r.U[1:] },
	}
	for want, f := range spoil {
		r, err := EMD(a, b, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Certify(a, b, c, 0); err != nil {
			t.Fatal(err)
		}
		f(r)
		if err := r.Certify(a, b, c, 0); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%s: error %v", want, err)
		}
	}
	// A feasible plan that is not optimal is caught whatever its potentials.
	two := NewCost(2, 2, []float64{0, 1, 1, 0})
	bad := &Result{Plan: &Plan{N: 2, K: 2, Entries: []Entry{{0, 1, 0.5}, {1, 0, 0.5}}}, Objective: 1, U: []float64{0, 0}, V: []float64{0, 0}}
	if bad.Certify(nil, nil, two, 0) == nil {
		t.Error("a plan that is not optimal is certified")
	}
}
