package choose

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
)

// fewRows is a reader of many channels that has seen few rows, and the same with sums in their
// place.
func fewRows(rng *rand.Rand, n, rows int, affine bool) (c, sums *sight) {
	c = &sight{moments: moments{n: n, sum: make([]float64, n)}, affine: affine}
	mix := mat.NewDense(n, 12, nil)
	mix.Apply(func(i, _ int, _ float64) float64 { return rng.NormFloat64() * float64(1+i%5) }, mix)
	for rest := rows; rest > 0; rest -= 16 {
		d := min(16, rest)
		z := mat.NewDense(12, d, nil)
		z.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() + 0.3 }, z)
		x := mat.NewDense(n, d, nil)
		x.Mul(mix, z)
		x.Apply(func(_, _ int, v float64) float64 { return float64(float32(max(v, 0) + 0.1*rng.NormFloat64())) }, x)
		c.add(dense.New(n, d, x.RawMatrix().Data))
	}
	sums = &sight{moments: moments{n: n, rows: c.rows, sum: c.sum, gram: make([]float64, n*n)}, affine: affine}
	for _, s := range c.samples {
		dense.AddGram(dense.New(n, n, sums.gram), 1, s)
	}
	return c, sums
}

// Samples and sums of them are two forms of the same evidence.
func TestSamplesAgreeWithSums(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	n := channels.LeastSamples + 40
	for _, affine := range []bool{true, false} {
		c, sums := fewRows(rng, n, 70, affine)
		d, other := fewRows(rng, n, 50, affine)
		if c.gram != nil || len(c.samples) != 5 {
			t.Fatalf("%d parts of samples", len(c.samples))
		}
		want := sums.covariance()
		got := c.covariance()
		a, ok := c.factor()
		if !ok {
			t.Fatal("no factor")
		}
		var product mat.SymDense
		product.SymOuterK(1, mat.NewDense(a.Rows, n, a.Data).T())
		scale := mat.Trace(want) / float64(n)
		for p := range n {
			if v := want.At(p, p); math.Abs(c.variance(p)-v) > 1e-9*scale || math.Abs(sums.variance(p)-v) > 1e-9*scale {
				t.Errorf("channel %d varies by %g, from sums %g, of the matrix %g", p, c.variance(p), sums.variance(p), v)
			}
			for q := range n {
				if v := want.At(p, q); math.Abs(got.At(p, q)-v) > 1e-9*scale || math.Abs(product.At(p, q)-v) > 1e-9*scale {
					t.Fatalf("covariance of %d and %d is %g, of the factor %g, of sums %g", p, q, got.At(p, q), product.At(p, q), v)
				}
			}
		}
		var keep []int
		for p := range n {
			if p%3 > 0 {
				keep = append(keep, p)
			}
		}
		few := &Evidence{seen: [][]*sight{{c, d}}}
		summed := &Evidence{seen: [][]*sight{{sums, other}}}
		x, err := few.recover(0, keep)
		if err != nil {
			t.Fatal(err)
		}
		y, err := summed.recover(0, keep)
		if err != nil {
			t.Fatal(err)
		}
		if x.Rest == nil || y.Rest != nil {
			t.Fatal("not the forms that were meant")
		}
		// Two positions by n channels by three of another axis.
		data := make([]float64, 2*n*3)
		for i := range data {
			data[i] = rng.NormFloat64()
		}
		for _, dims := range [][]int{{2, n, 3}, {6, n}} {
			out, after := edit.ApplyTransfer(slices.Clone(data), dims, 1, &x)
			full, _ := edit.ApplyTransfer(data, dims, 1, &y)
			written, _ := edit.ApplyTransfer(data, dims, 1, &edit.Transfer{OutT: x.Rest.Add(x.OutT)})
			if after[1] != len(keep) || len(out) != len(full) {
				t.Fatalf("%v of %d", after, len(out))
			}
			for i := range full {
				if math.Abs(out[i]-full[i]) > 1e-6*max(1, math.Abs(full[i])) || math.Abs(out[i]-written[i]) > 1e-9*max(1, math.Abs(out[i])) {
					t.Fatalf("element %d is %g, written out %g, of sums %g", i, out[i], written[i], full[i])
				}
			}
		}
	}
}

// More rows than channels are summed.
func TestManySamplesAreSummed(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	n := channels.LeastSamples + 1
	c := &sight{moments: moments{n: n, sum: make([]float64, n)}}
	all := mat.NewSymDense(n, nil)
	for range 3 {
		x := mat.NewDense(n, 400, nil)
		x.Apply(func(_, _ int, _ float64) float64 { return float64(float32(rng.NormFloat64())) }, x)
		c.add(dense.New(n, 400, x.RawMatrix().Data))
		all.SymRankK(all, 1, x)
	}
	if c.gram == nil || c.samples != nil {
		t.Fatal("1,200 samples were kept")
	}
	for p := range n {
		if v := all.At(p, p/2); math.Abs(c.gram[p*n+p/2]-v) > 1e-9*1200 {
			t.Fatalf("sum of %d and %d is %g, want %g", p, p/2, c.gram[p*n+p/2], v)
		}
	}
}

// The diagonal of a sensitivity is the same whether the rest is known or not.
func TestWeightsOfChannels(t *testing.T) {
	s, err := edit.NewSubject(modeltest.Load(t, "cnn_a"), coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, sp := range s.Analysis.Spaces {
		alone, all := consumersOf(s, sp), consumersOf(s, sp)
		for i, c := range all {
			if err := errors.Join(alone[i].weigh(s, diagonal), c.weigh(s, whole)); err != nil {
				t.Fatal(err)
			}
			for g := range c.sens {
				for p := range sp.Width {
					x, y, z := alone[i].sens[g].own[p], c.sens[g].own[p], c.sens[g].whole.At(p, p)
					if math.Abs(x-z) > 1e-12*z || math.Abs(y-z) > 1e-12*z {
						t.Errorf("%s: channel %d counts %g, %g and %g", sp.Name, p, x, y, z)
					}
					seen++
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no consumer was seen")
	}
}

// Channels that do not vary, of which single precision leaves variances of any sign, and
// activations that are no numbers end no selection.
func TestRecoverWithoutACovariance(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	const n = 12
	for name, x := range map[string]func(p, row int) float64{
		"constant":      func(p, _ int) float64 { return 3 + float64(p)*(1+1e-7*rng.NormFloat64()) },
		"one row":       func(p, _ int) float64 { return math.Sqrt(float64(p)) },
		"some constant": func(p, row int) float64 { return float64(p) + float64(p%2)*rng.NormFloat64() },
		"not finite":    func(p, row int) float64 { return math.NaN() },
	} {
		c := &sight{moments: moments{n: n, sum: make([]float64, n), gram: make([]float64, n*n)}, affine: true, sens: sensitivity{whole: mat.NewSymDense(n, nil)}}
		for p := range n {
			c.sens.whole.SetSym(p, p, 1)
			for q := range p + 1 {
				for row := range 9 {
					c.gram[p*n+q] += float64(float32(x(p, row))) * float64(float32(x(q, row)))
				}
			}
			for row := range 9 {
				c.sum[p] += float64(float32(x(p, row)))
			}
		}
		c.rows = 9
		e := &Evidence{seen: [][]*sight{{c}}}
		keep := e.choose(0, 6, nil)
		m, err := e.recover(0, keep)
		if err != nil || len(keep) != 6 || len(m.OutT) != 6 {
			t.Fatalf("%s: %v, %v", name, keep, err)
		}
		for j, row := range m.OutT {
			own := 0.0
			for _, v := range row {
				if math.IsNaN(v.Val) || math.Abs(v.Val) > 10 {
					t.Errorf("%s: channel %d reads %g times channel %d", name, v.Col, v.Val, keep[j])
				}
				if v.Col == keep[j] {
					own = v.Val
				}
			}
			if own != 1 {
				t.Errorf("%s: kept channel %d counts %g", name, keep[j], own)
			}
		}
	}
}

// A union orders kept channels by piece: their order says nothing about which are gone.
func TestRecoverOfChannelsInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	const n = 12
	for _, keep := range [][]int{{0, 1, 2, 5, 8, 11}, {8, 0, 11, 2, 5, 1}} {
		c := newPopulation(rng, n).observed(rng, 60)
		m, err := (&Evidence{seen: [][]*sight{{c}}}).recover(0, keep)
		if err != nil {
			t.Fatal(err)
		}
		for j, row := range m.OutT {
			for _, v := range row {
				if at := slices.Index(keep, v.Col); at >= 0 && (at != j || v.Val != 1) {
					t.Errorf("%v: kept channel %d reads %g times kept channel %d", keep, keep[j], v.Val, v.Col)
				}
			}
		}
	}
}
