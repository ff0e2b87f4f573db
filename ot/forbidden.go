package ot

import (
	"errors"
	"fmt"
	"math"
)

// changed are costs of which each is a function of another.
type changed struct {
	Costs
	to func(float64) float64
}

func (c changed) At(i, j int) float64 { return c.to(c.Costs.At(i, j)) }

func (c changed) Row(i int, dst []float64) []float64 {
	for j, x := range c.Costs.Row(i, dst) {
		dst[j] = c.to(x)
	}
	return dst
}

// capped are costs of which those above limit are most.
func capped(c Costs, limit, most float64) Costs {
	return changed{c, func(x float64) float64 {
		if x > limit {
			return most
		}
		return x
	}}
}

// errClosed says that there are costs too large to calculate with, or infinite: arcs that a plan
// must not use, closed ones for short.
var errClosed = errors.New("ot: closed arcs")

// survey returns the least and the largest cost of the arcs that are open, those of at most limit;
// 0 and 0 where there are none. It reports costs that are NaN or too far below 0.
func survey(c Costs, limit float64) (lo, hi float64, err error) {
	n, k := c.Dims()
	buf := make([]float64, k)
	lo, hi = math.Inf(1), math.Inf(-1)
	for i := range n {
		for j, x := range c.Row(i, buf) {
			switch {
			case math.IsNaN(x) || x < -limit:
				return 0, 0, fmt.Errorf("ot: cost %g from %d to %d", x, i, j)
			case x <= limit:
				lo, hi = min(lo, x), max(hi, x)
			}
		}
	}
	if lo > hi {
		return 0, 0, nil
	}
	return lo, hi, nil
}

// separation is a cost so far above hi that no optimal plan uses arcs of it if one can do without:
// on a cycle, one such arc is exchanged for at most min(n, k) others, each of which costs at most
// hi − lo more than what it replaces.
func separation(c Costs, lo, hi float64) float64 {
	n, k := c.Dims()
	span := hi - lo
	if span == 0 {
		span = math.Abs(lo)
	}
	if span == 0 {
		span = 1
	}
	return lo + 2*float64(min(n, k)+1)*span
}

// solveClosed solves a problem with closed arcs, those of costs above limit. It returns the largest
// cost that was calculated with.
func (s Solver) solveClosed(u *units, c Costs, limit float64) (r *Result, lo, hi float64, err error) {
	if lo, hi, err = survey(c, limit); err != nil {
		return nil, 0, 0, err
	}
	hi = min(separation(c, lo, hi), limit)
	if r, _, _, err = s.attempt(u, capped(c, limit, hi)); err != nil {
		return nil, 0, 0, err
	}
	return r, lo, hi, r.open(c, u, limit)
}

// open takes the arcs out of a plan that cost more than limit. They hold what rounding of the
// masses left over (that of single precision, if they are forbidden altogether); more than that is
// an error: the masses have no other way to go.
func (r *Result) open(c Costs, u *units, limit float64) error {
	var all, closed float64
	var worst Entry
	kept := r.Plan.Entries[:0]
	for _, e := range r.Plan.Entries {
		all += e.Mass
		if c.At(e.I, e.J) <= limit {
			kept = append(kept, e)
			continue
		}
		closed += e.Mass
		if e.Mass > worst.Mass {
			worst = e
		}
	}
	why, tol := "costs times masses overflow", 1e-13
	if worst.Mass > 0 && math.IsInf(c.At(worst.I, worst.J), 1) {
		why, tol = "infinite costs", totalsTolerance(len(u.rows), len(u.cols))
	}
	if closed > tol*all {
		return fmt.Errorf("ot: %s: no plan avoids the cost %g from %d to %d", why, c.At(worst.I, worst.J), worst.I, worst.J)
	}
	r.Plan.Entries = kept
	r.Objective = r.Plan.Cost(c)
	return nil
}

// coarse is how much larger than needed the costs may be that set the grid before the problem is
// solved once more on a finer one.
const coarse = 64

// refine solves a problem again where its grid was set by costs that the plan does not use: far
// larger ones are capped, so high that they stay unused.
func (s Solver) refine(u *units, c Costs, r *Result, lo, hi float64) (*Result, error) {
	for {
		used := r.used(c)
		enough := separation(c, lo, used)
		if used <= lo || !(enough-lo < (hi-lo)/coarse) {
			return r, nil
		}
		next, _, _, err := s.attempt(u, capped(c, enough, enough))
		if err != nil {
			return nil, err
		}
		if err := next.open(c, u, enough); err != nil {
			return nil, err
		}
		r, hi = next, enough
	}
}

// used is the largest cost at which the plan moves mass.
func (r *Result) used(c Costs) float64 {
	most := math.Inf(-1)
	for _, e := range r.Plan.Entries {
		most = max(most, c.At(e.I, e.J))
	}
	return most
}

// feasible reports an error if no plan between the masses avoids infinite costs.
func feasible(m *marginals, c Costs) error {
	infinite := changed{c, func(x float64) float64 { // 1 where costs are infinite, 0 elsewhere
		if math.IsInf(x, 1) {
			return 1
		}
		return 0
	}}
	u := m.inUnits()
	r, _, _, err := Solver{}.attempt(&u, infinite)
	if err != nil {
		return err
	}
	return r.open(c, &u, math.MaxFloat64)
}
