package ot

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Measure is a point cloud with masses.
type Measure struct {
	X    mat.Matrix // points as rows
	Mass []float64  // of each point; nil means uniform, total 1
}

// FreeSupportOptions control FreeSupport. The zero value is a good start.
type FreeSupportOptions struct {
	// Weights are those of the measures, with sum 1. Nil means equal ones.
	Weights []float64
	// Mass is that of each point of the barycentre, with the total of the measures. Nil means
	// uniform, total 1.
	Mass []float64
	// MaxIter limits the rounds of transport and averaging. Zero means 100.
	MaxIter int
	// Tol is the decrease of the objective, relative to it, at which to stop. Zero means 1e-9.
	Tol float64
}

// Barycenter is the result of FreeSupport.
type Barycenter struct {
	X         *mat.Dense // k×d: the points
	Objective float64    // Σ_m weight_m · squared 2-Wasserstein distance to measure m
	Plans     []*Plan    // from the points to each measure
	Rounds    int
	Status    Status // Converged or IterationLimit
}

// FreeSupport moves k points, given by their start (k×d), so that the weighted sum of squared
// 2-Wasserstein distances to the measures falls: every point goes to the mean of where exact plans
// send it, until no plan changes (Cuturi and Doucet, Fast Computation of Wasserstein Barycenters,
// ICML 2014, algorithm 2 with fixed masses). The objective never rises; what is found is a local
// minimum.
func FreeSupport(measures []Measure, start mat.Matrix, o FreeSupportOptions) (*Barycenter, error) {
	if len(measures) == 0 {
		return nil, errors.New("ot: barycentre of no measure")
	}
	weights, err := o.weights(len(measures))
	if err != nil {
		return nil, err
	}
	if o.MaxIter == 0 {
		o.MaxIter = 100
	}
	if o.Tol == 0 {
		o.Tol = 1e-9
	}
	b := &Barycenter{X: mat.DenseCopyOf(start), Objective: math.Inf(1), Status: IterationLimit}
	for b.Rounds < o.MaxIter {
		b.Rounds++
		var objective float64
		plans := make([]*Plan, len(measures))
		next := mat.NewDense(b.X.RawMatrix().Rows, b.X.RawMatrix().Cols, nil)
		for m, measure := range measures {
			r, image, err := measure.pull(b.X, o.Mass)
			if err != nil {
				return nil, fmt.Errorf("ot: barycentre: measure %d: %w", m, err)
			}
			plans[m] = r.Plan
			objective += weights[m] * r.Objective
			image.Scale(weights[m], image)
			next.Add(next, image)
		}
		fell := b.Objective - objective
		b.Plans, b.Objective = plans, objective
		if fell <= o.Tol*objective {
			b.Status = Converged
			break
		}
		if b.Rounds < o.MaxIter {
			b.X = next
		}
	}
	return b, nil
}

// pull transports points to a measure and returns where each goes in the mean.
func (m Measure) pull(x mat.Matrix, mass []float64) (*Result, *mat.Dense, error) {
	costs, err := NewPoints(x, m.X, SquaredEuclidean)
	if err != nil {
		return nil, nil, err
	}
	r, err := EMD(mass, m.Mass, costs.Dense())
	if err != nil {
		return nil, nil, err
	}
	image, err := Barycentric(r.Plan, m.X)
	return r, image, err
}

// weights returns the weights of n measures.
func (o *FreeSupportOptions) weights(n int) ([]float64, error) {
	if o.Weights == nil {
		w := make([]float64, n)
		for m := range w {
			w[m] = 1 / float64(n)
		}
		return w, nil
	}
	if len(o.Weights) != n {
		return nil, fmt.Errorf("ot: %d weights for %d measures", len(o.Weights), n)
	}
	var sum float64
	for m, w := range o.Weights {
		if !(w >= 0) {
			return nil, fmt.Errorf("ot: weight %g of measure %d", w, m)
		}
		sum += w
	}
	if math.Abs(sum-1) > 1e-9 {
		return nil, fmt.Errorf("ot: weights of measures sum to %g", sum)
	}
	return o.Weights, nil
}
