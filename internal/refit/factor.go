package refit

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Factoring makes two operators of one.
type Factoring struct {
	// Rank is the number of channels between the two.
	Rank int
	// Spread is that of what the operator makes in the parent. It is not needed where the second
	// operator reads columns of a kernel (edit.Across).
	Spread *stats.Spread
}

// MostFactored bounds the outputs of an operator that becomes two, or the rank of its kernel, since the
// directions of n outputs take n³ operations.
const MostFactored = 1024

// Ranks says, for every operator of a subject that could become two, in how many directions lies a
// share of what its outputs vary.
func Ranks(ctx context.Context, s *edit.Subject, data *dataset.Data, share float64, memory int64, o dataset.StreamOptions) (_ map[*onnxpb.NodeProto]int, err error) {
	defer guard.Recover(&err)
	var nodes []*onnxpb.NodeProto
	var of []stats.Channels
	for _, op := range s.Analysis.Ops {
		l, why := edit.Factorable(s.Graph, s.Analysis, op.Node)
		if why == "" && !s.Graph.InBranch(op.Node) && s.Analysis.Weights[l.Weight.Name].Axes[l.Out.Weight].Size() <= MostFactored {
			nodes, of = append(nodes, op.Node), append(of, Made(l))
		}
	}
	spreads, err := stats.Spreads(ctx, s.Model, data, of, func(tensor string) int64 { return stats.SizeOf(s.Analysis, tensor) }, memory, o)
	if err != nil {
		return nil, err
	}
	out := map[*onnxpb.NodeProto]int{}
	for i, n := range nodes {
		if spreads[i] == nil {
			continue
		}
		values, _, err := spreads[i].Directions(true)
		if err != nil {
			continue // the outputs are no numbers, or beyond all measure
		}
		kept, total := 0.0, floats.Sum(values)
		for r := 0; r < len(values) && kept < share*total; r++ {
			kept += values[r]
			out[n] = r + 1
		}
		if total == 0 {
			out[n] = 0
		}
	}
	return out, nil
}

// Made is where an operator has its outputs before a bias that stands behind it.
func Made(l *onnxio.Linear) stats.Channels {
	return stats.Channels{Tensor: l.Node.GetOutput()[0], Axis: l.Out.Axis}
}

// Factor makes two operators of some of a child's, which are given by the names of what their nodes
// make. With U the directions in which an operator's outputs vary most in the parent, W becomes
// U·(Uᵀ·W): of all maps of that rank the one whose outputs are nearest in the mean of the squares,
// the singular value decomposition of W in the metric of its inputs' second moments (Zhang et al.,
// Accelerating very deep convolutional networks, 2016). A bias makes up for the mean of what is
// lost; without one the outputs' second moments count instead of their covariance.
//
// A kernel of rows and columns (edit.Across) is a matrix of inputs and rows by outputs and columns,
// of which the singular value decomposition is taken, whatever the inputs are: a refit of the second
// operator, which makes up for most of what is lost, is to follow. Twenty convolutions of a ResNet-20
// and a VGG11 lost 1 to 10 % of what they make at half their cost so, 3 to 18 % by directions of the
// outputs. The best rows and columns that were found lost 0.4 to 0.9 times as much.
//
// The second operator keeps the name of node, weight and output. kernels names what stands between
// the two where they read rows and columns.
func Factor(child *onnxio.Model, parent teach.Parent, all map[string]Factoring) (kernels []string, err error) {
	defer guard.Recover(&err)
	if len(all) == 0 {
		return nil, nil
	}
	g, layers, err := layersIn(child)
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		f, ok := all[l.Node.GetOutput()[0]]
		if !ok || l.Kind == onnxio.NotLinear {
			continue
		}
		before := l.In.Tensor
		across := edit.Across(l.Linear)
		if err := l.factor(g, parent, f, across); err != nil {
			return nil, fmt.Errorf("%s: %w", onnxio.Label(l.Node), err)
		}
		if between := l.Node.GetInput()[0]; across > 1 && between != before {
			kernels = append(kernels, between)
		}
	}
	return kernels, nil
}

// factor makes two operators of a layer, unless they would have as many weights as the one.
func (l *layer) factor(g *onnxio.Graph, parent teach.Parent, f Factoring, across int) error {
	w, err := read(g, l.Linear)
	if err != nil {
		return err
	}
	if f.Rank*(w.outputs*across+w.inputs/across) >= w.outputs*w.inputs {
		return nil
	}
	if across > 1 {
		return l.factorKernel(g, w, f.Rank)
	}
	spread, err := l.spread(parent, f.Spread)
	if err != nil {
		return err
	}
	if len(spread.Mean) != w.outputs {
		return fmt.Errorf("%d outputs, of which %d were seen", w.outputs, len(spread.Mean))
	}
	_, directions, err := spread.Directions(w.b != nil)
	if err != nil {
		return err
	}
	u := directions.Slice(0, w.outputs, 0, f.Rank)
	inner := &weights{outputs: f.Rank, inputs: w.inputs, groups: 1, w: make([]float64, f.Rank*w.inputs), typ: w.typ, dims: slices.Clone(w.dims), transposed: w.transposed, alpha: 1}
	inner.dims[l.Out.Weight] = f.Rank
	mat.NewDense(f.Rank, w.inputs, inner.w).Mul(u.T(), mat.NewDense(w.outputs, w.inputs, w.w))
	outer := &weights{outputs: w.outputs, inputs: f.Rank, groups: 1, w: mat.DenseCopyOf(u).RawMatrix().Data, b: w.b, typ: w.typ, transposed: w.transposed, alpha: w.alpha, beta: w.beta}
	if w.b != nil {
		l.makeUp(w, spread.Mean, u)
	}
	if _, outer.dims, err = edit.Before(g, l.Linear, inner.tensor("")); err != nil {
		return err
	}
	return outer.write(g, l.Linear)
}

// factorKernel makes two convolutions of one, of the rows and of the columns of its kernel.
func (l *layer) factorKernel(g *onnxio.Graph, w *weights, rank int) error {
	matrix, err := kernelMatrix(w)
	if err != nil {
		return err
	}
	rows, columns := w.dims[2], w.dims[3]
	_, left, err := directionsOf(matrix)
	if err != nil {
		return err
	}
	var u, v mat.Dense
	u.CloneFrom(left.Slice(0, w.inputs/columns, 0, rank))
	v.Mul(u.T(), matrix) // [rank, outputs·columns]
	inner := &weights{outputs: rank, inputs: w.inputs / columns, groups: 1, w: make([]float64, rank*w.inputs/columns), typ: w.typ, dims: []int{rank, w.dims[1], rows, 1}, alpha: 1}
	mat.NewDense(rank, inner.inputs, inner.w).Copy(u.T())
	outer := &weights{outputs: w.outputs, inputs: rank * columns, groups: 1, w: make([]float64, w.outputs*rank*columns), b: w.b, typ: w.typ, alpha: w.alpha, beta: w.beta}
	for o := range w.outputs {
		for r := range rank {
			for c := range columns {
				outer.w[(o*rank+r)*columns+c] = v.At(r, o*columns+c)
			}
		}
	}
	if _, outer.dims, err = edit.Before(g, l.Linear, inner.tensor("")); err != nil {
		return err
	}
	return outer.write(g, l.Linear)
}

// kernelMatrix is a kernel [O, I, rows, columns] as a matrix of inputs and rows by outputs and columns.
func kernelMatrix(w *weights) (*mat.Dense, error) {
	if len(w.dims) != 4 || w.groups != 1 || w.transposed {
		return nil, fmt.Errorf("a weight of dimensions %v is no kernel", w.dims)
	}
	columns := w.dims[3]
	out := mat.NewDense(w.inputs/columns, w.outputs*columns, nil)
	for o := range w.outputs {
		for i := range w.inputs {
			out.Set(i/columns, o*columns+i%columns, w.w[o*w.inputs+i])
		}
	}
	return out, nil
}

// noValue is the share of the largest squared singular value up to which others are of rounding.
const noValue = 1e-14

// directionsOf are the squared singular values of a matrix, from most to least, and its left singular
// vectors, by the eigenvectors of the smaller of its products with itself.
func directionsOf(m *mat.Dense) (values []float64, left *mat.Dense, err error) {
	var of mat.Matrix = m
	rows, cols := m.Dims()
	if cols < rows {
		of = m.T()
	}
	n, _ := of.Dims()
	product := mat.NewSymDense(n, nil)
	product.SymOuterK(1, of)
	values, left, err = (&stats.Spread{Mean: make([]float64, n), Cov: product}).Directions(true)
	if err != nil || n == rows {
		return values, left, err
	}
	right := left
	left = mat.NewDense(rows, n, nil)
	left.Mul(m, right)
	left.Apply(func(_, j int, v float64) float64 {
		if values[j] <= noValue*values[0] {
			return 0 // nothing but rounding
		}
		return v / math.Sqrt(values[j])
	}, left)
	return values, left, nil
}

// KernelValues are the squared singular values of the matrix that the kernel of a convolution is where it
// becomes rows and columns, from most to least.
func KernelValues(g *onnxio.Graph, l *onnxio.Linear) ([]float64, error) {
	w, err := read(g, l)
	if err != nil {
		return nil, err
	}
	matrix, err := kernelMatrix(w)
	if err != nil {
		return nil, err
	}
	values, _, err := directionsOf(matrix)
	return values, err
}

// spread is that of what the child's operator makes: the parent's channels as the maps move them.
func (l *layer) spread(parent teach.Parent, s *stats.Spread) (*stats.Spread, error) {
	name := parent.Counterpart(l.Node.GetOutput()[0])
	rows, err := parent.Subject.TargetRows(name, l.axis, parent.Maps, 1)
	if err != nil || rows == nil {
		return s, err
	}
	m := mat.NewDense(len(rows), len(s.Mean), nil)
	for j, row := range rows {
		for _, e := range row {
			m.Set(j, e.Col, e.Val)
		}
	}
	return s.Mapped(m), nil
}

// makeUp adds to the bias of w what is lost in the mean of outputs of which only the directions u
// are kept: (I − U·Uᵀ)·m, of the outputs m before the bias.
func (l *layer) makeUp(w *weights, mean []float64, u mat.Matrix) {
	m := mat.NewVecDense(len(mean), slices.Clone(mean))
	if l.Bias.Node == l.Node {
		m.SubVec(m, mat.NewVecDense(len(w.b), w.b))
	}
	var kept, back mat.VecDense
	kept.MulVec(u.T(), m)
	back.MulVec(u, &kept)
	for i := range w.b {
		w.b[i] += m.AtVec(i) - back.AtVec(i)
	}
}
