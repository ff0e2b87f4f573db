package ot

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/mat"
)

// exactDistance2 returns |x−y|² calculated with 200 bits.
func exactDistance2(x, y []float64) float64 {
	sum := new(big.Float).SetPrec(200)
	for f := range x {
		d := new(big.Float).SetPrec(200).Sub(big.NewFloat(x[f]), big.NewFloat(y[f]))
		sum.Add(sum, d.Mul(d, d))
	}
	s, _ := sum.Float64()
	return s
}

func cloud(r *rand.Rand, n, d int, offset float64) *mat.Dense {
	x := mat.NewDense(n, d, nil)
	for i := range n {
		for f := range d {
			x.Set(i, f, r.NormFloat64()+offset)
		}
	}
	return x
}

func TestPointsAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, d := range []int{1, 2, 3, 4, 5, 7, 8, 33, 64} {
		for _, offset := range []float64{0, 100, 1e6} {
			n, k := 21, 37
			x, y := cloud(r, n, d, offset), cloud(r, k, d, offset)
			for i := range 10 {
				y.SetRow(2*i, x.RawRowView(i)) // the same point
				if i%2 == 0 {
					y.Set(2*i, 0, y.At(2*i, 0)*(1+1e-9)) // nearly
				}
			}
			p, err := NewPoints(x, y, Euclidean)
			if err != nil {
				t.Fatal(err)
			}
			c := p.Dense()
			squared := distances(t, x, y, SquaredEuclidean)
			row := make([]float64, k)
			for i := range n {
				if diff := cmp.Diff(c.Row(i, nil), p.Row(i, row)); diff != "" {
					t.Fatal(diff)
				}
				for j := range k {
					want := exactDistance2(x.RawRowView(i), y.RawRowView(j))
					if got := squared.At(i, j); math.Abs(got-want) > 1e-10*want {
						t.Fatalf("d=%d offset %g: |x%d−y%d|² = %g, want %g", d, offset, i, j, got, want)
					}
					if got := c.At(i, j); math.Abs(got-math.Sqrt(want)) > 1e-10*got {
						t.Fatalf("|x%d−y%d| = %g, want %g", i, j, got, math.Sqrt(want))
					}
					if p.At(i, j) != c.At(i, j) {
						t.Fatalf("At(%d,%d) = %g, Dense %g", i, j, p.At(i, j), c.At(i, j))
					}
				}
			}
		}
	}
}

func TestCosine(t *testing.T) {
	x := mat.NewDense(4, 2, []float64{1, 0, 3, 4, 0, 0, -2, 0})
	c := distances(t, x, x, Cosine)
	want := []float64{
		0, 0.4, 1, 2,
		0.4, 0, 1, 1.6,
		1, 1, 0, 1,
		2, 1.6, 1, 0,
	}
	for i, w := range want {
		if math.Abs(c.Data[i]-w) > 1e-15 {
			t.Errorf("entry %d: %g, want %g", i, c.Data[i], w)
		}
	}
	for i := range 4 {
		if c.At(i, i) != 0 {
			t.Errorf("distance of point %d to itself: %g", i, c.At(i, i))
		}
	}
}

func TestPointsErrors(t *testing.T) {
	x, y := mat.NewDense(2, 2, nil), mat.NewDense(2, 3, nil)
	if _, err := NewPoints(x, y, Euclidean); err == nil {
		t.Error("features may differ")
	}
	if _, err := NewPoints(x, x, Metric(7)); err == nil {
		t.Error("unknown metric")
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), 1e200} {
		x.Set(1, 1, bad)
		if _, err := NewPoints(x, x, Euclidean); err == nil {
			t.Errorf("coordinate %g is no error", bad)
		}
	}
}

// TestPointsWithoutMatrix: the plan is that of the matrix.
func TestPointsWithoutMatrix(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, k := range []int{333, 250} {
		x, y := cloud(r, 333, 9, 0), cloud(r, k, 9, 0)
		p, err := NewPoints(x, y, Euclidean)
		if err != nil {
			t.Fatal(err)
		}
		dense, err := EMD(nil, nil, p.Dense())
		if err != nil {
			t.Fatal(err)
		}
		free, err := EMD(nil, nil, p)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(dense, free); diff != "" {
			t.Error(diff)
		}
	}
}

func BenchmarkPoints(b *testing.B) {
	r := rand.New(rand.NewPCG(2, 2))
	x, y := cloud(r, 1024, 64, 0), cloud(r, 1024, 64, 0)
	b.Run("Euclidean", func(b *testing.B) {
		for b.Loop() {
			distances(b, x, y, Euclidean)
		}
	})
	b.Run("gonum product alone", func(b *testing.B) {
		c := mat.NewDense(1024, 1024, nil)
		for b.Loop() {
			c.Mul(x, y.T())
		}
	})
}

// distances are the costs between points as a matrix.
func distances(t testing.TB, x, y mat.Matrix, m Metric) *Cost {
	t.Helper()
	p, err := NewPoints(x, y, m)
	if err != nil {
		t.Fatal(err)
	}
	return p.Dense()
}
