package choose

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"gonum.org/v1/gonum/mat"
)

// randomReader is a consumer with a random covariance and sensitivity.
func randomReader(rng *rand.Rand, n int) *sight {
	r := &sight{moments: moments{n: n, rows: 200, sum: make([]float64, n), gram: make([]float64, n*n)}, affine: true}
	mix := mat.NewDense(n, n, nil)
	w := mat.NewDense(n, n+2, nil)
	for i := range n {
		for j := range n {
			mix.Set(i, j, rng.NormFloat64()/float64(1+j))
		}
		for j := range n + 2 {
			w.Set(i, j, rng.NormFloat64()/float64(1+j))
		}
	}
	x := mat.NewDense(n, int(r.rows), nil)
	x.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() }, x)
	x.Mul(mix, x)
	r.add(dense.New(n, int(r.rows), x.RawMatrix().Data))
	r.sens.whole = mat.NewSymDense(n, nil)
	r.sens.whole.SymOuterK(1, w)
	return r
}

// lost is tr S(I − Out·In)C(I − Out·In)ᵀ over tr S·C.
func (c *sight) lost(t edit.Transfer) float64 {
	p := mat.NewDense(c.n, c.n, nil)
	for i := range c.n {
		p.Set(i, i, 1)
	}
	for j := range t.In {
		for _, o := range t.OutT[j] {
			for _, i := range t.In[j] {
				p.Set(o.Col, i.Col, p.At(o.Col, i.Col)-o.Val*i.Val)
			}
		}
	}
	cov := c.covariance()
	var e, all mat.Dense
	e.Product(c.sens.whole, p, cov, p.T())
	all.Mul(c.sens.whole, cov)
	return mat.Trace(&e) / mat.Trace(&all)
}

func TestSubspaceLosesLeast(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	for _, n := range []int{2, 7, 24} {
		c := randomReader(rng, n)
		e := &Evidence{seen: [][]*sight{{c}}}
		before := math.Inf(1)
		for k := 1; k < n; k++ {
			got, lost, err := e.subspace(0, k)
			if err != nil {
				t.Fatal(err)
			}
			if d := math.Abs(c.lost(got) - lost); d > 1e-4*(lost+1e-3) {
				t.Errorf("%d of %d: %g is said to be lost, %g is", k, n, lost, c.lost(got))
			}
			if lost > before {
				t.Errorf("%d of %d: more is lost than with one less", k, n)
			}
			before = lost
			keep := e.choose(0, k, []int{0})
			chosen, err := e.recover(0, keep)
			if err != nil {
				t.Fatal(err)
			}
			if other := c.lost(chosen); lost > other*(1+1e-6) {
				t.Errorf("%d of %d: the subspace loses %g, a choice of channels %g", k, n, lost, other)
			}
		}
	}
}

// A direction that nobody reads goes first, even if it varies most.
func TestSubspaceDropsWhatIsNotRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	c := randomReader(rng, 6)
	for i := range 6 {
		c.sens.whole.SetSym(2, i, 0)
	}
	e := &Evidence{seen: [][]*sight{{c}}}
	_, lost, err := e.subspace(0, 5)
	if err != nil {
		t.Fatal(err)
	}
	if lost > 1e-5 {
		t.Errorf("%g is lost", lost)
	}
}
