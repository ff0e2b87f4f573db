package ot

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPartialIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		k := rapid.IntRange(1, 12).Draw(t, "k")
		c := drawCost(t, n, k)
		var scale float64
		for _, x := range c.Data {
			scale = max(scale, math.Abs(x))
		}
		a := drawMasses(t, n, rapid.Float64Range(0.5, 2).Draw(t, "total a"))
		b := drawMasses(t, k, rapid.Float64Range(0.5, 2).Draw(t, "total b"))
		prices := func(n int) []float64 {
			if rapid.Bool().Draw(t, "free") {
				return nil
			}
			p := make([]float64, n)
			for i := range p {
				p[i] = scale * float64(rapid.IntRange(0, 4).Draw(t, "price")) / 4
			}
			return p
		}
		drop := Drop{prices(n), prices(k)}
		r, err := PartialEMD(a, b, c, drop)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.CertifyPartial(a, b, c, drop, 0); err != nil {
			t.Fatal(err)
		}
		full, err := newPartial(a, b, c, drop)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Plan.Entries {
			if price := full.drop.Source[e.I] + full.drop.Target[e.J]; c.At(e.I, e.J) > price+1e-12*scale {
				t.Fatalf("%+v costs %g, dropping %g", e, c.At(e.I, e.J), price)
			}
		}
	})
}

func TestPartialByHand(t *testing.T) {
	c := NewCost(2, 1, []float64{1, 5})
	r, err := PartialEMD([]float64{1, 1}, []float64{3}, c, Drop{Source: []float64{2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	// Source 0 moves at 1 rather than stay at 2, source 1 stays at 3; the target may lack mass for
	// nothing.
	if len(r.Plan.Entries) != 1 || r.Plan.Entries[0] != (Entry{0, 0, 1}) || r.Objective != 4 {
		t.Errorf("%+v, objective %g", r.Plan.Entries, r.Objective)
	}
	if err := r.CertifyPartial([]float64{1, 1}, []float64{3}, c, Drop{}, 0); err == nil {
		t.Error("certified for other prices")
	}
	for want, drop := range map[string]Drop{
		"1 drop prices for 2": {Source: []float64{1}},
		"2 drop prices for 1": {Target: []float64{1, 2}},
		"drop price NaN":      {Source: []float64{1, math.NaN()}},
		"drop price +Inf":     {Target: []float64{math.Inf(1)}},
	} {
		if _, err := PartialEMD(nil, nil, c, drop); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, masses := range [][2][]float64{{{0, 0}, {0}}, {{-1, 1}, {1}}, {{1, 1}, {1, 1}}} {
		if _, err := PartialEMD(masses[0], masses[1], c, Drop{}); err == nil {
			t.Errorf("PartialEMD accepts %v", masses)
		}
	}
}
