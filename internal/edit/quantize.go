package edit

import (
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A quantizer holds the scales and zero points of a weight's slices along an axis, or of the whole
// weight.
type quantizer struct {
	scale, zero []float64
	// of maps a position (row-major) to its slice.
	of func(i int) int
}

// newQuantizer reads a weight's parameters as the graph holds them now.
func newQuantizer(g *onnxio.Graph, q *coupling.Quantization, dims []int) (*quantizer, error) {
	z := &quantizer{of: func(int) int { return 0 }}
	scale, err := stored(g, q.Scale)
	if err != nil {
		return nil, err
	}
	z.scale = scale.Float64()
	n := 1
	if q.Axis >= 0 {
		n = dims[q.Axis]
		z.of = dense.AlongAxis[float64](nil, dims, q.Axis).Position
	}
	z.zero = make([]float64, n)
	if q.Zero != "" {
		zero, err := stored(g, q.Zero)
		if err != nil {
			return nil, err
		}
		z.zero = zero.Float64()
	}
	if len(z.scale) != n || len(z.zero) != n {
		return nil, fmt.Errorf("%d scales and %d zero points, want %d", len(z.scale), len(z.zero), n)
	}
	return z, nil
}

// Dequantized returns the real numbers that integers stand for.
func Dequantized(g *onnxio.Graph, q *coupling.Quantization, v []float64, dims []int) ([]float64, error) {
	z, err := newQuantizer(g, q, dims)
	if err != nil {
		return nil, err
	}
	for i, x := range v {
		k := z.of(i)
		v[i] = (x - z.zero[k]) * z.scale[k]
	}
	return v, nil
}

// requantize stores an edited weight as integers again. A slice that is a whole multiple of its
// scale keeps it, so that a mere choice of channels keeps every integer; any other gets the scale
// that its largest number asks for, of which integers reach as far as the original's.
func requantize(g *onnxio.Graph, w *coupling.Weight, dims []int, v []float64, reach float64) error {
	z, err := newQuantizer(g, w.Quant, dims)
	if err != nil {
		return fmt.Errorf("weight %q: %w", w.Name, err)
	}
	low, high, err := integerRange(w.Type)
	if err != nil {
		return fmt.Errorf("weight %q: %w", w.Name, err)
	}
	scale := z.fit(v, func(zero float64, negative bool) float64 {
		if negative {
			return min(zero-low, reach)
		}
		return min(high-zero, reach)
	})
	if !slices.Equal(scale, z.scale) {
		if err := rescale(g, w.Quant, scale); err != nil {
			return err
		}
	}
	for i, x := range v {
		k := z.of(i)
		if x != 0 {
			x = math.RoundToEven(x / scale[k])
		}
		v[i] = min(max(x+z.zero[k], low), high)
	}
	return g.SetConstant(onnxio.NewTensor(w.Name, w.Type, dims, v))
}

// fit returns the scales for numbers; room is how far integers reach from a zero point, on either
// side.
func (z *quantizer) fit(v []float64, room func(zero float64, negative bool) float64) []float64 {
	least := make([]float64, len(z.scale)) // scale that the largest number asks for
	whole := slices.Repeat([]bool{true}, len(z.scale))
	for i, x := range v {
		k := z.of(i)
		room, q := room(z.zero[k], x < 0), x/z.scale[k]
		whole[k] = whole[k] && math.Abs(q) <= room*(1+1e-6) && math.Abs(q-math.Round(q)) <= 1e-3
		least[k] = max(least[k], math.Abs(x)/max(room, 0.5))
	}
	scale := slices.Clone(z.scale)
	for k, f := range least {
		if !whole[k] && f > 0 {
			scale[k] = f
		}
	}
	return scale
}

// reach is how far a weight's integers lie from their zero points at most, and at least 1. A weight
// that leaves the last of eight bits alone does so on purpose: sums of products overflow on some
// processors.
func (s *Subject) reach(w *coupling.Weight) (float64, error) {
	t, err := s.tensor(w.Name)
	if err != nil {
		return 0, err
	}
	z, err := newQuantizer(s.Graph, w.Quant, t.Dims)
	if err != nil {
		return 0, fmt.Errorf("weight %q: %w", w.Name, err)
	}
	most := 1.0
	for i, q := range t.Float64() {
		most = max(most, math.Abs(q-z.zero[z.of(i)]))
	}
	return most, nil
}

// rescale gives the weight's readers scales of their own: in place where nobody else reads the old
// ones.
func rescale(g *onnxio.Graph, q *coupling.Quantization, scale []float64) error {
	old, err := g.Model.Tensor(g.Constant(q.Scale))
	if err != nil {
		return err
	}
	if ours := len(g.Consumers(q.Scale)); ours == len(q.Nodes) && !g.IsOutput(q.Scale) {
		return g.SetConstant(onnxio.NewTensor(q.Scale, old.Type, old.Dims, scale))
	}
	name := g.Fresh(q.Scale)
	if err := g.AddInitializer(onnxio.NewTensor(name, old.Type, old.Dims, scale)); err != nil {
		return err
	}
	for _, n := range q.Nodes {
		g.Producer(n.GetOutput()[0]).Input[1] = name
	}
	return g.Refresh()
}

func integerRange(t onnxpb.TensorProto_DataType) (low, high float64, err error) {
	switch t {
	case onnxpb.TensorProto_INT8:
		return math.MinInt8, math.MaxInt8, nil
	case onnxpb.TensorProto_UINT8:
		return 0, math.MaxUint8, nil
	case onnxpb.TensorProto_INT16:
		return math.MinInt16, math.MaxInt16, nil
	case onnxpb.TensorProto_UINT16:
		return 0, math.MaxUint16, nil
	case onnxpb.TensorProto_INT32:
		return math.MinInt32, math.MaxInt32, nil
	}
	return 0, 0, fmt.Errorf("integers of type %v are not known", t)
}
