package tune

import "math"

// adam is the optimiser of Kingma & Ba (2015) with their constants.
type adam struct {
	steps int
	m, v  map[string][]float64
}

const (
	adamMean   = 0.9
	adamSquare = 0.999
	adamFloor  = 1e-8
)

func newAdam() *adam { return &adam{m: map[string][]float64{}, v: map[string][]float64{}} }

// begin starts a step in which every parameter is updated once.
func (a *adam) begin() { a.steps++ }

// update moves a parameter along its gradient.
func (a *adam) update(name string, p, g []float32, rate float64) {
	if a.m[name] == nil {
		a.m[name], a.v[name] = make([]float64, len(p)), make([]float64, len(p))
	}
	m, v := a.m[name], a.v[name]
	c1, c2 := 1-math.Pow(adamMean, float64(a.steps)), 1-math.Pow(adamSquare, float64(a.steps))
	for i, x := range g {
		d := float64(x)
		m[i] += (1 - adamMean) * (d - m[i])
		v[i] += (1 - adamSquare) * (d*d - v[i])
		p[i] -= float32(rate * m[i] / c1 / (math.Sqrt(v[i]/c2) + adamFloor))
	}
}
