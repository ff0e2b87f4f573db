package ot

import "math"

// A grid turns costs into whole numbers, held in float64: below 2⁵³ these are added, subtracted and
// compared without error. Costs become at most 2⁵¹, or 2⁴⁹ where some are negative. The potentials
// of the solver stay between the least cost minus twice the span of the costs and the largest, and
// path lengths within three spans, so that no sum ever leaves the exact range.
type grid struct {
	scale float64 // a power of two: units of cost → steps of the grid
	inv   float64 // 1/scale
}

// roundMagic is 1.5·2⁵²: adding and subtracting it rounds |x| ≤ 2⁵¹ to the nearest whole number.
const roundMagic = 1.5 * (1 << 52)

// newGrid returns the grid for costs between lo and hi. The larger of their sizes must be at least
// tinyCost, or 0.
func newGrid(lo, hi float64) grid {
	bits := 51
	if lo < 0 {
		bits = 49
	}
	size := max(math.Abs(lo), math.Abs(hi))
	if size == 0 {
		return grid{1, 1}
	}
	_, exp := math.Frexp(size) // size < 2^exp
	return grid{math.Ldexp(1, bits-exp), math.Ldexp(1, exp-bits)}
}

// coarser returns a grid on which potentials may be 2¹¹ times as large.
func (g grid) coarser() grid { return grid{g.scale * 0x1p-11, g.inv * 0x1p+11} }

// steps rounds a cost to the grid.
func (g grid) steps(c float64) float64 { return (c*g.scale + roundMagic) - roundMagic }

// cost is the inverse of steps.
func (g grid) cost(steps float64) float64 { return steps * g.inv }

// tinyCost is the size below which a grid would need a scale beyond float64. Smaller costs are
// lifted by liftFactor before they are solved.
const (
	tinyCost   = 0x1p-900
	liftFactor = 0x1p+400
)
