package stats

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// Channels name an activation and the axis of its channels, counted from the end if negative.
type Channels struct {
	Tensor string
	Axis   int
}

// A Spread says how the channels of an activation vary over samples and positions.
type Spread struct {
	Mean []float64
	Cov  *mat.SymDense // about the mean
}

// spreadRows is the number of positions for each channel that a Spread is made from, where there
// are as many, and mostSpreadRows that for all of them.
const spreadRows, mostSpreadRows = 50, 20_000

// Spreads runs a model over data and returns the spread of the channels of activations, in the order
// in which they are given. memory is the number of bytes to get by with, and size tells what an
// activation takes for one sample.
func Spreads(ctx context.Context, m *onnxio.Model, data *dataset.Data, of []Channels, size func(tensor string) int64, memory int64, o dataset.StreamOptions) (_ []*Spread, err error) {
	defer guard.Recover(&err)
	if len(of) == 0 {
		return nil, nil
	}
	var names []string
	bytes := int64(1)
	for _, c := range of {
		if !slices.Contains(names, c.Tensor) {
			names, bytes = append(names, c.Tensor), bytes+size(c.Tensor)
		}
	}
	if o.Batch == 0 {
		o.Batch = dataset.DefaultBatch
	}
	o.Batch = max(1, min(o.Batch, int(RoomIn(memory).Bytes/4/bytes)))
	sums := make([]spreadSum, len(of))
	rng := rand.New(rand.NewPCG(1, 3))
	err = dataset.Stream(ctx, m, data.Ragged(o.Batch), names, o, func(_, n int, values map[string]*engine.Value) error {
		for i, c := range of {
			if err := sums[i].take(values[c.Tensor], c.Axis, float64(n)/float64(data.Len()), rng); err != nil {
				return fmt.Errorf("activation %q: %w", c.Tensor, err)
			}
		}
		return nil
	})
	out := make([]*Spread, len(of))
	for i := range sums {
		out[i] = sums[i].spread()
	}
	return out, err
}

// spreadSum are the sums that a spread is made of.
type spreadSum struct {
	rows float64
	sum  []float64
	gram dense.Matrix[float64] // lower triangle
}

// take adds what a batch, which is a share of all, says about the channels on an axis.
func (s *spreadSum) take(v *engine.Value, axis int, share float64, rng *rand.Rand) error {
	if axis < 0 {
		axis += len(v.Dims)
	}
	if axis < 0 || axis >= len(v.Dims) {
		return fmt.Errorf("its shape %v has no axis %d", v.Dims, axis)
	}
	k := v.Dims[axis]
	if s.sum == nil {
		s.sum, s.gram = make([]float64, k), dense.New[float64](k, k, nil)
	}
	if len(s.sum) != k {
		return fmt.Errorf("it has %d channels in one batch and %d in another", len(s.sum), k)
	}
	a := dense.AlongAxis(v.Float32(), v.Dims, axis)
	places := a.Outer * a.Inner
	most := int(math.Ceil(share * float64(min(mostSpreadRows, spreadRows*k))))
	picked := rng.Perm(places)[:min(most, places)]
	x := dense.New[float64](k, len(picked), nil)
	for j, p := range picked {
		for c := range k {
			value := float64(a.Data[(p/a.Inner*k+c)*a.Inner+p%a.Inner])
			x.Data[c*x.Row+j] = value
			s.sum[c] += value
		}
	}
	s.rows += float64(len(picked))
	dense.AddGram(s.gram, 1, x)
	return nil
}

func (s *spreadSum) spread() *Spread {
	k := len(s.sum)
	if s.rows == 0 || k == 0 {
		return nil
	}
	out := &Spread{Mean: make([]float64, k), Cov: mat.NewSymDense(k, nil)}
	for i := range k {
		out.Mean[i] = s.sum[i] / s.rows
		for j := range i + 1 {
			out.Cov.SetSym(i, j, s.gram.Data[i*s.gram.Row+j]/s.rows-out.Mean[i]*out.Mean[j])
		}
	}
	return out
}

// Directions are those in which channels vary: values is how much, from most to least, and vectors
// holds the directions as columns. With about the means are taken off; without they count too.
func (s *Spread) Directions(centred bool) (values []float64, vectors *mat.Dense, err error) {
	k := len(s.Mean)
	c := s.Cov
	if !centred {
		c = mat.NewSymDense(k, nil)
		c.SymRankOne(s.Cov, 1, mat.NewVecDense(k, s.Mean))
	}
	var e mat.EigenSym
	if !e.Factorize(c, true) {
		return nil, nil, fmt.Errorf("the eigenvectors of its covariance cannot be computed")
	}
	var v mat.Dense
	e.VectorsTo(&v)
	values = e.Values(nil)
	slices.Reverse(values)
	vectors = mat.NewDense(k, k, nil)
	for j := range k {
		vectors.SetCol(j, mat.Col(nil, k-1-j, &v))
		values[j] = max(values[j], 0)
	}
	return values, vectors, nil
}

// Mapped is the spread of channels that a matrix makes of these, given row by row: entry i of the
// result of row(j) is what channel i counts in channel j.
func (s *Spread) Mapped(rows *mat.Dense) *Spread {
	k, n := rows.Dims()
	out := &Spread{Mean: make([]float64, k), Cov: mat.NewSymDense(k, nil)}
	mat.NewVecDense(k, out.Mean).MulVec(rows, mat.NewVecDense(n, s.Mean))
	var half, full mat.Dense
	half.Mul(rows, s.Cov)
	full.Mul(&half, rows.T())
	for i := range k {
		for j := range i + 1 {
			out.Cov.SetSym(i, j, full.At(i, j))
		}
	}
	return out
}
