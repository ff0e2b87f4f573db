package match

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
)

// moments are the inner products that every metric is made of: xx[p] = ‖x_p‖², yy[q] = ‖y_q‖²,
// xy[p·k+q] = ⟨x_p, y_q⟩. As long as there are fewer coordinates than vectors, of which there are
// many, the coordinates themselves take the place of xy.
type moments struct {
	n, k    int
	xx, yy  []float64
	xy      []float64
	samples []coordinates
	cols    int // coordinates in all samples
}

// coordinates are some of all vectors: x has n rows, y has k.
type coordinates struct{ x, y dense.Matrix[float32] }

func newMoments(n, k int) *moments {
	return &moments{n: n, k: k, xx: make([]float64, n), yy: make([]float64, k)}
}

// blocks calls f with some rows of the moments at a time, from from on.
func (m *moments) blocks(f func(from int, part *moments)) {
	if len(m.samples) == 0 {
		if m.xy == nil {
			m.xy = make([]float64, m.n*m.k)
		}
		f(0, m)
		return
	}
	for from := 0; from < m.n; from += costRows {
		n := min(costRows, m.n-from)
		part := &moments{n: n, k: m.k, xx: m.xx[from:][:n], yy: m.yy, xy: make([]float64, n*m.k)}
		for _, s := range m.samples {
			dense.AddMul(dense.New(n, m.k, part.xy), 1, s.x.Sub(from, 0, n, s.x.Cols), s.y.T())
		}
		f(from, part)
	}
}

// addMoments accumulates further coordinates: x has n rows, y has k.
func addMoments[T dense.Float](m *moments, x, y dense.Matrix[T]) {
	if x.Cols == 0 || m.n == 0 || m.k == 0 {
		return
	}
	channels.Squares(m.xx, x)
	channels.Squares(m.yy, y)
	least := min(m.n, m.k)
	if m.cols += x.Cols; m.xy == nil && least > channels.LeastSamples && m.cols < least {
		m.samples = append(m.samples, coordinates{copied(x), copied(y)})
		return
	}
	if m.xy == nil {
		m.xy = make([]float64, m.n*m.k)
		for _, s := range m.samples {
			dense.AddMul(dense.New(m.n, m.k, m.xy), 1, s.x, s.y.T())
		}
		m.samples = nil
	}
	dense.AddMul(dense.New(m.n, m.k, m.xy), 1, x, y.T())
}

// copied returns a copy of activations, which were single precision at first.
func copied[T dense.Float](x dense.Matrix[T]) dense.Matrix[float32] {
	out := dense.New[float32](x.Rows, x.Cols, nil)
	for i := range x.Rows {
		row := out.Data[i*x.Cols:][:x.Cols]
		for j := range row {
			row[j] = float32(x.Data[i*x.Row+j*x.Col])
		}
	}
	return out
}

// addCost adds the metric between all pairs to c. ‖x−y‖² = ‖x‖²+‖y‖²−2⟨x,y⟩ cancels where x and y
// nearly agree; exact, if given, then recomputes a pair.
func addCost[T dense.Float](m *moments, c []T, metric Metric, exact func(p, q int) float64) {
	for p := range m.n {
		row := c[p*len(m.yy):][:m.k]
		for q := range row {
			xy := m.xy[p*m.k+q]
			if metric == Cosine {
				row[q] += T(cosine(xy, m.xx[p], m.yy[q]))
				continue
			}
			d := m.xx[p] + m.yy[q] - 2*xy
			if scale := m.xx[p] + m.yy[q]; d < 1e-6*scale {
				switch {
				case exact != nil:
					d = exact(p, q)
				case d < 1e-13*scale:
					d = 0
				}
			}
			d = max(d, 0)
			if metric != SquaredEuclidean {
				d = math.Sqrt(d)
			}
			row[q] += T(d)
		}
	}
}

// cosine is 1 − cos; a zero vector is at distance 1 from all but another.
func cosine(xy, xx, yy float64) float64 {
	switch {
	case xx == 0 && yy == 0:
		return 0
	case xx == 0 || yy == 0:
		return 1
	}
	d := 1 - xy/math.Sqrt(xx*yy)
	if d < 1e-13 {
		return 0
	}
	return d
}

// costRows is how many sources are compared at a time: the inner products of all of them would take
// as much memory as the costs.
const costRows = 384

// addFeatureCost adds the metric between the rows of two feature matrices. For those of one matrix
// among themselves, half of it is calculated.
func addFeatureCost[T dense.Float](c []T, x, y channels.Features, metric Metric) {
	self := slices.EqualFunc(x.Parts, y.Parts, func(a, b channels.Part) bool {
		return len(a.Data) == len(b.Data) && (len(a.Data) == 0 || &a.Data[0] == &b.Data[0])
	})
	yy := make([]float64, y.Rows)
	for _, p := range y.Parts {
		channels.Squares(yy, dense.New(y.Rows, p.Cols, p.Data))
	}
	for from := 0; from < x.Rows; from += costRows {
		n, k := min(costRows, x.Rows-from), y.Rows
		if self {
			k = from + n
		}
		m := &moments{n: n, k: k, xx: make([]float64, n), yy: yy, xy: make([]float64, n*k)}
		for i, p := range x.Parts {
			part := dense.New(n, p.Cols, p.Data[from*p.Cols:])
			channels.Squares(m.xx, part)
			dense.AddMul(dense.New(n, k, m.xy), 1, part, dense.New(k, p.Cols, y.Parts[i].Data).T())
		}
		addCost(m, c[from*y.Rows:][:n*y.Rows], metric, func(p, q int) float64 {
			s := 0.0
			for i, a := range x.Parts {
				b := y.Parts[i].Data[q*a.Cols:][:a.Cols]
				for j, v := range a.Data[(from+p)*a.Cols:][:a.Cols] {
					d := float64(v) - float64(b[j])
					s += d * d
				}
			}
			return s
		})
	}
	if self {
		dense.Mirror(dense.New(x.Rows, y.Rows, c))
	}
}
