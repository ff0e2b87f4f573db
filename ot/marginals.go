package ot

import (
	"fmt"
	"math"
	"slices"
)

// totalsTolerance is the relative difference of Σa and Σb that is put down to rounding: the column
// masses are then scaled by Σa/Σb. Masses may have been normalised in single precision, of which a
// sum of many equal numbers loses up to about a quarter of a unit of 2⁻²⁴ with each of them.
func totalsTolerance(n, k int) float64 {
	const unit = 0x1p-24
	return min((16+float64(n+k)/4)*unit, 1e-3)
}

// marginals are checked source and target masses; nil slices stand for uniform ones.
type marginals struct {
	av, bv []float64
	n, k   int
	total  float64 // Σ a
	ratio  float64 // Σ a / Σ b, 1 up to totalsTolerance
}

func (m *marginals) a(i int) float64 {
	if m.av == nil {
		return 1 / float64(m.n)
	}
	return m.av[i]
}

func (m *marginals) b(j int) float64 {
	if m.bv == nil {
		return 1 / float64(m.k)
	}
	return m.bv[j]
}

// newMarginals checks the masses of an n×k problem.
func newMarginals(a, b []float64, n, k int) (*marginals, error) {
	ta, err := totalMass("source", a, n)
	if err != nil {
		return nil, err
	}
	tb, err := totalMass("target", b, k)
	if err != nil {
		return nil, err
	}
	if !(math.Abs(ta-tb) <= totalsTolerance(n, k)*max(ta, tb)) {
		return nil, fmt.Errorf("ot: source masses sum to %g, target masses to %g", ta, tb)
	}
	if ta == 0 || tb == 0 {
		return nil, fmt.Errorf("ot: no mass to move")
	}
	return &marginals{av: a, bv: b, n: n, k: k, total: ta, ratio: ta / tb}, nil
}

// totalMass checks the masses of one side and returns their sum.
func totalMass(side string, m []float64, n int) (float64, error) {
	if m == nil {
		return 1, nil
	}
	if len(m) != n {
		return 0, fmt.Errorf("ot: %d %s masses for %d %ss", len(m), side, n, side)
	}
	var sum float64
	for i, x := range m {
		if !(x >= 0) || math.IsInf(x, 1) {
			return 0, fmt.Errorf("ot: mass %g at %s %d", x, side, i)
		}
		sum += x
	}
	if math.IsInf(sum, 1) {
		return 0, fmt.Errorf("ot: %s masses overflow", side)
	}
	return sum, nil
}

// units are masses as whole numbers, Σ rows = Σ cols, each worth unit·2^exp.
type units struct {
	rows, cols []int64
	unit       float64
	exp        int
	least      int64 // units of each row or of each column, whichever is less; large where they differ
}

// total returns what all units of one side weigh.
func (u *units) total() float64 {
	var sum float64
	for _, m := range u.rows {
		sum += u.mass(m)
	}
	return sum
}

// mass returns what n units weigh.
func (u *units) mass(n int64) float64 {
	m := float64(n) * u.unit
	if u.exp == 0 {
		return m
	}
	return math.Ldexp(m, u.exp)
}

// inUnits counts the masses. Uniform masses become the least whole numbers in the right ratio, k/g
// and n/g with g = gcd(n, k), so that their plans are made of few and equal pieces. All others are
// rounded to 2⁻⁶⁰ of the total; a smaller mass counts as none.
func (m *marginals) inUnits() units {
	if allEqual(m.av) && allEqual(m.bv) {
		g := gcd(m.n, m.k)
		rows, cols := make([]int64, m.n), make([]int64, m.k)
		for i := range rows {
			rows[i] = int64(m.k / g)
		}
		for j := range cols {
			cols[j] = int64(m.n / g)
		}
		return units{rows: rows, cols: cols, unit: m.a(0) / float64(m.k/g), least: int64(min(m.n, m.k) / g)}
	}
	u, sa, sb := m.round(m.total)
	// The sums differ by what rounding lost: the largest mass of one side takes it.
	if sa > sb {
		u.cols[slices.Index(u.cols, slices.Max(u.cols))] += sa - sb
	} else {
		u.rows[slices.Index(u.rows, slices.Max(u.rows))] += sb - sa
	}
	return u
}

// round counts the masses in units of 2⁻⁶⁰ of size, and sums each side.
func (m *marginals) round(size float64) (u units, rows, cols int64) {
	const bits = 60
	_, exp := math.Frexp(size)
	count := func(n int, at func(int) float64, ratio float64) ([]int64, int64) {
		c := make([]int64, n)
		var sum int64
		for i := range c {
			c[i] = int64(math.Round(math.Ldexp(at(i)*ratio, bits-exp)))
			sum += c[i]
		}
		return c, sum
	}
	u = units{unit: 1, exp: exp - bits, least: math.MaxInt64}
	u.rows, rows = count(m.n, m.a, 1)
	u.cols, cols = count(m.k, m.b, m.ratio)
	return u, rows, cols
}

func allEqual(m []float64) bool {
	return !slices.ContainsFunc(m, func(x float64) bool { return x != m[0] })
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
