package ot

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/mat"
)

func TestPlanViews(t *testing.T) {
	p := &Plan{N: 2, K: 3, Entries: []Entry{{0, 0, 1}, {0, 2, 3}, {1, 1, 3}, {1, 2, 1}}}
	check := func(name string, got, want any) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	check("dense", p.Dense(), []float64{1, 0, 3, 0, 3, 1})
	check("rows", p.RowSums(), []float64{4, 4})
	check("columns", p.ColSums(), []float64{1, 3, 4})
	check("cost", p.Cost(NewCost(2, 3, []float64{1, 9, 2, 9, 3, 4})), 20.0)
	check("cost32", p.Cost(&Cost32{N: 2, K: 3, Data: []float32{1, 9, 2, 9, 3, 4}}), 20.0)
	check("transpose", p.Transpose(), &Plan{N: 3, K: 2, Entries: []Entry{{0, 0, 1}, {1, 1, 3}, {2, 0, 3}, {2, 1, 1}}})
	x := mat.NewDense(3, 2, []float64{4, 0, 3, 3, 0, 8})
	y, err := Barycentric(p, x)
	if err != nil {
		t.Fatal(err)
	}
	check("barycentric", y.RawMatrix().Data, []float64{1, 6, 2.25, 4.25})
	if _, err := Barycentric(p, y); err == nil {
		t.Error("barycentric map accepts two targets for three")
	}
	p.Entries = p.Entries[:2]
	if _, err := Barycentric(p, x); err == nil {
		t.Error("barycentric map of a source without mass")
	}
}

// TestIdentityIsKept: points that coincide must not be swapped.
func TestIdentityIsKept(t *testing.T) {
	c := gaussian(60, 60, 3, 9)
	for i := range 60 {
		for j := range 60 {
			c.Set(i, j, float64((i/3-j/3)*(i/3-j/3))) // triples at the same place
		}
	}
	r, err := EMD(nil, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range r.Perm {
		if i != j {
			t.Fatalf("source %d moved to %d", i, j)
		}
	}
	a := make([]float64, 60)
	for i := range a {
		a[i] = float64(i % 7)
	}
	if r, err = EMD(a, a, c); err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Plan.Entries {
		if e.I != e.J || e.Mass != a[e.I] {
			t.Fatalf("entry %+v", e)
		}
	}
}

func TestDeterministic(t *testing.T) {
	c := gaussian(200, 150, 2, 3)
	for x := range c.Data {
		c.Data[x] = float64(int(3 * c.Data[x])) // many ties
	}
	first, err := EMD(nil, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, err := EMD(nil, nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(first, again); d != "" {
			t.Fatal(d)
		}
	}
}
