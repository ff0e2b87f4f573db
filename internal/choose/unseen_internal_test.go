package choose

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/internal/dense"
)

// A population is a distribution of channels of which the covariance is known: some strong common
// factors, and noise of its own for each.
type population struct {
	n    int
	mix  *mat.Dense // n×factors
	own  []float64
	w    *mat.Dense // what the consumer reads: outputs×n
	covs *mat.SymDense
}

func newPopulation(rng *rand.Rand, n int) *population {
	p := &population{n: n, mix: mat.NewDense(n, 6, nil), own: make([]float64, n), w: mat.NewDense(20, n, nil), covs: mat.NewSymDense(n, nil)}
	for i := range n {
		p.own[i] = math.Exp(rng.NormFloat64())
		for j := range 6 {
			p.mix.Set(i, j, 0.4*rng.NormFloat64()*math.Exp(-float64(j)/2))
		}
		for o := range 20 {
			p.w.Set(o, i, rng.NormFloat64())
		}
	}
	p.covs.SymOuterK(1, p.mix)
	for i := range n {
		p.covs.SetSym(i, i, p.covs.At(i, i)+p.own[i]*p.own[i])
	}
	return p
}

func (p *population) row(rng *rand.Rand) []float64 {
	out := make([]float64, p.n)
	var z [6]float64
	for j := range z {
		z[j] = rng.NormFloat64()
	}
	for i := range out {
		out[i] = 3 + p.own[i]*rng.NormFloat64()
		for j, v := range z {
			out[i] += p.mix.At(i, j) * v
		}
	}
	return out
}

// observed is a reader that has seen rows, a fifth of them held out.
func (p *population) observed(rng *rand.Rand, rows int) *sight {
	r := &sight{moments: moments{n: p.n, sum: make([]float64, p.n)}, affine: true, sens: sensitivity{whole: mat.NewSymDense(p.n, nil)}}
	r.sens.whole.SymOuterK(1, p.w.T())
	r.held = &moments{n: p.n, sum: make([]float64, p.n)}
	for i := range rows {
		if heldOut(i, rows) {
			r.held.add(dense.New(p.n, 1, p.row(rng)))
		} else {
			r.add(dense.New(p.n, 1, p.row(rng)))
		}
	}
	return r
}

// lost is what is lost of the population's rows where channels are read out of those that are kept
// as the evidence has it.
func (p *population) lost(t *testing.T, e *Evidence, keep []int) float64 {
	t.Helper()
	m, err := e.recover(0, keep)
	if err != nil {
		t.Fatal(err)
	}
	off := mat.NewDense(p.n, p.n, nil) // I − Out·In
	for i := range p.n {
		off.Set(i, i, 1)
	}
	rows := m.OutT
	if m.Rest != nil {
		rows = m.Rest.Add(rows)
	}
	for j, row := range rows {
		for _, v := range row {
			off.Set(v.Col, keep[j], off.At(v.Col, keep[j])-v.Val)
		}
	}
	return p.share(off)
}

// share is tr S·off·C·offᵀ relative to tr S·C.
func (p *population) share(off mat.Matrix) float64 {
	var x, y, z mat.Dense
	x.Mul(p.w, off)
	y.Mul(&x, p.covs)
	z.Mul(&y, x.T())
	lost := mat.Trace(&z)
	y.Mul(p.w, p.covs)
	z.Mul(&y, p.w.T())
	return lost / mat.Trace(&z)
}

// What is said to be lost is what is lost of inputs that were not seen, however few rows there
// were, never less with fewer channels; and a choice by few rows is no worse than one by weights.
func TestWhatIsLostOfInputsNotSeen(t *testing.T) {
	const n = 120
	for _, rows := range []int{n / 4, n / 2, n, 3 * n, 10 * n} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			var told, truth, byWeights float64
			const trials = 4
			for seed := range trials {
				rng := rand.New(rand.NewPCG(uint64(seed), 3))
				p := newPopulation(rng, n)
				e := &Evidence{seen: [][]*sight{{p.observed(rng, rows)}}}
				curve := e.Unexplained(nil)
				for k := range n {
					if curve[k+1] > curve[k]+1e-12 {
						t.Errorf("%g is lost with %d channels, %g with %d", curve[k+1], k+1, curve[k], k)
					}
				}
				for _, k := range []int{n / 4, n / 2, 3 * n / 4} {
					told += curve[k] / (3 * trials)
					truth += p.lost(t, e, e.choose(0, k, nil)) / (3 * trials)
					blind := &Evidence{seen: [][]*sight{{p.observed(rng, 1)}}}
					byWeights += p.lost(t, e, blind.choose(0, k, nil)) / (3 * trials)
				}
			}
			t.Logf("said to be lost %.3f, lost %.3f, of a choice by weights %.3f", told, truth, byWeights)
			if math.Abs(told-truth) > 0.12*max(truth, 0.3) {
				t.Errorf("%g is said to be lost, %g is", told, truth)
			}
			if truth > byWeights {
				t.Errorf("%g is lost, of a choice by weights %g", truth, byWeights)
			}
		})
	}
}
