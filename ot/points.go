package ot

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Metric is a way to measure how far two points are apart.
type Metric int

const (
	// Euclidean is |x−y|.
	Euclidean Metric = iota
	// SquaredEuclidean is |x−y|².
	SquaredEuclidean
	// Cosine is 1 − x·y/(|x||y|). It is 1 between a zero and any other vector, and 0 between two
	// zeros.
	Cosine
)

// String returns the name of the metric.
func (m Metric) String() string {
	if names := []string{"euclidean", "sqeuclidean", "cosine"}; m >= 0 && int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("Metric(%d)", int(m))
}

// Points are costs that are calculated from n source and k target points when asked for. A solver
// that is given Points holds no n×k matrix, only a list of candidates per source. Each cost has a
// relative error below 1e-10, and points that are equal number by number are exactly 0 apart.
type Points struct {
	n, k, d int
	metric  Metric
	x, y    []float64 // points, row-major; of length 1 or 0 for Cosine
	xx, yy  []float64 // their squared lengths
	dots    func(x, y, out []float64, d int)
}

// NewPoints returns the costs between the rows of x (n×d) and those of y (k×d).
func NewPoints(x, y mat.Matrix, m Metric) (*Points, error) {
	n, d := x.Dims()
	k, dy := y.Dims()
	if d != dy {
		return nil, fmt.Errorf("ot: source points have %d features, target points %d", d, dy)
	}
	if m < Euclidean || m > Cosine {
		return nil, fmt.Errorf("ot: unknown %v", m)
	}
	p := &Points{n: n, k: k, d: d, metric: m, dots: fastest().dots}
	var err error
	if p.x, p.xx, err = p.store("source", x, n); err != nil {
		return nil, err
	}
	if p.y, p.yy, err = p.store("target", y, k); err != nil {
		return nil, err
	}
	return p, nil
}

// store copies points and measures them.
func (p *Points) store(side string, x mat.Matrix, n int) (points, squares []float64, err error) {
	points, squares = make([]float64, n*p.d), make([]float64, n)
	for i := range n {
		row := points[i*p.d : (i+1)*p.d]
		mat.Row(row, i, x)
		s := p.square(row)
		if math.IsNaN(s) || math.IsInf(s, 1) {
			return nil, nil, fmt.Errorf("ot: %s point %d is not finite, or too large", side, i)
		}
		if p.metric == Cosine && s > 0 {
			for f := range row {
				row[f] /= math.Sqrt(s)
			}
			s = p.square(row)
		}
		squares[i] = s
	}
	return points, squares, nil
}

// square returns |x|², summed like all products.
func (p *Points) square(x []float64) float64 {
	var s [1]float64
	p.dots(x, x, s[:], p.d)
	return s[0]
}

// Dims returns n and k.
func (p *Points) Dims() (n, k int) { return p.n, p.k }

// At returns the cost from source i to target j.
func (p *Points) At(i, j int) float64 {
	var c [1]float64
	p.fill(i, j, c[:])
	return c[0]
}

// Row fills dst with the costs of source i.
func (p *Points) Row(i int, dst []float64) []float64 {
	p.fill(i, 0, dst[:p.k])
	return dst[:p.k]
}

// cancelled is the share of |x|²+|y|² below which |x−y|² is calculated from the differences, since
// too much of |x|²+|y|²−2x·y would be rounding error.
const cancelled = 1e-4

// fill calculates the costs from source i to the targets from j on.
func (p *Points) fill(i, j int, dst []float64) {
	x := p.x[i*p.d : (i+1)*p.d]
	p.dots(x, p.y[j*p.d:(j+len(dst))*p.d], dst, p.d)
	xx := p.xx[i]
	yy := p.yy[j:]
	for t, dot := range dst {
		sum := xx + yy[t]
		s := sum - 2*dot
		if s < cancelled*sum {
			s = squaredDistance(x, p.y[(j+t)*p.d:(j+t+1)*p.d])
		}
		switch p.metric {
		case Euclidean:
			s = math.Sqrt(s)
		case Cosine:
			s /= 2
			if xx == 0 || yy[t] == 0 {
				s = 1
				if xx == yy[t] {
					s = 0
				}
			}
		}
		dst[t] = s
	}
}

func squaredDistance(x, y []float64) float64 {
	y = y[:len(x)]
	var s float64
	for f, v := range x {
		v -= y[f]
		s += v * v
	}
	return s
}

// Rows of targets and of sources that are worked on together, so that both stay in the cache.
const (
	tileTargets = 128
	tileSources = 16
)

// rows fills dst with the costs of the sources from … to−1, row by row.
func (p *Points) rows(from, to int, dst []float64) {
	for j := 0; j < p.k; j += tileTargets {
		end := min(j+tileTargets, p.k)
		for i := from; i < to; i++ {
			at := (i - from) * p.k
			p.fill(i, j, dst[at+j:at+end])
		}
	}
}

// Dense calculates all costs.
func (p *Points) Dense() *Cost {
	c := NewCost(p.n, p.k, nil)
	share(p.n, Solver{}.workers(p.n*p.k), func(_, from, to int) {
		for i := from; i < to; i += tileSources {
			end := min(i+tileSources, to)
			p.rows(i, end, c.Data[i*p.k:end*p.k])
		}
	})
	return c
}
