package ot

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Entry is a positive amount of mass that a plan moves from source I to target J.
type Entry struct {
	I, J int
	Mass float64
}

// Plan is an n×k transport plan in sparse form: its entries are sorted by I, then J, and no pair
// occurs twice. Plans of the exact solvers are vertices of the transport polytope: they have at
// most n+k−1 entries, which form no cycle.
type Plan struct {
	N, K    int
	Entries []Entry
}

// Dense returns the plan as an n×k matrix in row-major order.
func (p *Plan) Dense() []float64 {
	t := make([]float64, p.N*p.K)
	for _, e := range p.Entries {
		t[e.I*p.K+e.J] += e.Mass
	}
	return t
}

// RowSums returns the n masses that leave the sources.
func (p *Plan) RowSums() []float64 {
	s := make([]float64, p.N)
	for _, e := range p.Entries {
		s[e.I] += e.Mass
	}
	return s
}

// ColSums returns the k masses that reach the targets.
func (p *Plan) ColSums() []float64 {
	s := make([]float64, p.K)
	for _, e := range p.Entries {
		s[e.J] += e.Mass
	}
	return s
}

// Cost returns Σ T[i,j]·C[i,j].
func (p *Plan) Cost(c Costs) float64 {
	var sum, lost float64 // Kahan summation: the certificate compares to 1e-9
	for _, e := range p.Entries {
		x := e.Mass*c.At(e.I, e.J) - lost
		s := sum + x
		lost = (s - sum) - x
		sum = s
	}
	return sum
}

// Transpose returns the plan of the opposite direction, from targets to sources.
func (p *Plan) Transpose() *Plan {
	t := &Plan{N: p.K, K: p.N, Entries: make([]Entry, len(p.Entries))}
	for x, e := range p.Entries {
		t.Entries[x] = Entry{I: e.J, J: e.I, Mass: e.Mass}
	}
	t.sort()
	return t
}

// sort brings entries that come by target into the order of their sources.
func (p *Plan) sort() {
	slices.SortStableFunc(p.Entries, func(a, b Entry) int { return cmp.Compare(a.I, b.I) })
}

// Barycentric maps every source to the mean of the targets it is moved to: row i of the n×d result
// is Σ_j T[i,j]·x[j] / Σ_j T[i,j], where x holds the k targets as rows. For the opposite direction
// pass p.Transpose() and the sources. A source without mass has no image and is an error.
func Barycentric(p *Plan, x mat.Matrix) (*mat.Dense, error) {
	k, d := x.Dims()
	if k != p.K {
		return nil, fmt.Errorf("ot: barycentric map of a %d×%d plan needs %d targets, got %d", p.N, p.K, p.K, k)
	}
	if p.N == 0 || d == 0 {
		return nil, errors.New("ot: barycentric map of nothing")
	}
	sums := p.RowSums()
	for i, s := range sums {
		if s <= 0 {
			return nil, fmt.Errorf("ot: barycentric map: source %d has no mass", i)
		}
	}
	y := mat.NewDense(p.N, d, nil)
	point := make([]float64, d)
	for _, e := range p.Entries {
		mat.Row(point, e.J, x)
		w := e.Mass / sums[e.I]
		for c, v := range point {
			y.Set(e.I, c, y.At(e.I, c)+w*v)
		}
	}
	return y, nil
}
