package precision

import (
	"context"
	"math"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// choice says how scales are chosen.
type choice string

const (
	// inRange scales reach as far as what is met.
	inRange choice = "range"
	// bySquares scales make the sum of squared errors the smallest: large numbers that are rare are
	// cut off.
	bySquares choice = "squares"
)

// bins is the number of bins of a histogram: eight for each integer.
const bins = 2048

// calibrate runs the data through the model twice, and finds the range of each activation, and a
// histogram of it.
func (p *plan) calibrate(ctx context.Context, o Options) error {
	var names []string
	var own []*activation
	for _, a := range p.order {
		a.low, a.high = 0, 0 // zero has to be a number that is met: padding is
		if a.same == "" {
			names, own = append(names, a.name), append(own, a)
		}
	}
	stream := o.few()
	err := dataset.Stream(ctx, p.model, o.Fit, names, stream, func(_, _ int, values map[string]*engine.Value) error {
		for _, a := range own {
			for _, x := range values[a.name].Float32() {
				if v := float64(x); v < a.low {
					a.low = v
				} else if v > a.high {
					a.high = v
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return dataset.Stream(ctx, p.model, o.Fit, names, stream, func(_, _ int, values map[string]*engine.Value) error {
		for _, a := range own {
			a.count(values[a.name].Float32())
		}
		return nil
	})
}

// few are the options for running a model whose activations are all looked at: a few samples at
// once.
func (o Options) few() dataset.StreamOptions {
	s := o.StreamOptions
	if s.Batch == 0 {
		s.Batch = 4
	}
	return s
}

func (a *activation) count(v []float32) {
	if a.counts == nil {
		a.counts = make([]float64, bins)
	}
	width := (a.high - a.low) / bins
	if !(width > 0) {
		return
	}
	for _, x := range v {
		i := int((float64(x) - a.low) / width)
		a.counts[min(max(i, 0), bins-1)]++
	}
}

// scale chooses the scale of an activation.
func (a *activation) scale(by choice) scale {
	if s, ok := a.chosen[by]; ok {
		return s
	}
	if a.chosen == nil {
		a.chosen = map[choice]scale{}
	}
	a.chosen[by] = a.choose(by)
	return a.chosen[by]
}

func (a *activation) choose(by choice) scale {
	best := scaleOf(a.low, a.high)
	if by == inRange || a.counts == nil {
		return best
	}
	least := a.error(best)
	const steps = 24
	try := func(low, high float64) bool {
		s := scaleOf(low, high)
		e := a.error(s)
		if e >= least {
			return false
		}
		best, least = s, e
		return true
	}
	low, high := a.low, a.high
	for i := range steps { // the upper end, then the lower one
		if h := a.high * (1 - float64(i+1)/(steps+8)); try(low, h) {
			high = h
		}
	}
	for i := range steps {
		try(a.low*(1-float64(i+1)/(steps+8)), high)
	}
	return best
}

func scaleOf(low, high float64) scale {
	s := (high - low) / 255
	if !(s > 1e-30) {
		return scale{1, 0}
	}
	s = float64(float32(s))
	return scale{s, min(max(math.RoundToEven(-low/s), 0), 255)}
}

// round is the number that stands for x.
func (s scale) round(x float64) float64 {
	return s.scale * (min(max(math.RoundToEven(x/s.scale)+s.zero, 0), 255) - s.zero)
}

// error is the sum of squared errors of rounding.
func (a *activation) error(s scale) float64 {
	width, total := (a.high-a.low)/bins, 0.0
	for i, n := range a.counts {
		if n == 0 {
			continue
		}
		x := a.low + (float64(i)+0.5)*width
		d := x - s.round(x)
		total += n * d * d
	}
	return total
}

// site rounds the weight and the bias of an operator.
func (w *writer) site(s *site, shift []float64) error {
	if w.weights == nil {
		w.weights, w.biases = map[string]string{}, map[string]string{}
	}
	axis, dims := s.Out.Weight, s.weight.Dims
	bias, err := w.bias(s, dims[axis], shift)
	if err != nil {
		return err
	}
	input := w.scales[s.In.Tensor].scale
	fits := make([]float64, dims[axis]) // with a smaller scale of its weights a channel's bias would be cut off
	for c := range bias {
		fits[c] = math.Abs(bias[c]) / input / (1 << 30)
	}
	q, scales := rounded(s.weight.Float64(), dims, axis, w.by, mostWeight, fits)
	if w.weights[s.Weight.Name] == "" {
		name, err := w.integers(s.Weight.Name, onnxpb.TensorProto_INT8, dims, q, scales, axis)
		if err != nil {
			return err
		}
		w.weights[s.Weight.Name] = name
	}
	if bias == nil {
		return nil
	}
	for c := range scales { // of the bias
		scales[c] = float64(float32(scales[c] * input))
		bias[c] = math.RoundToEven(bias[c] / scales[c])
	}
	out := s.Node.GetOutput()[0]
	w.biases[out], err = w.integers(out+"_bias", onnxpb.TensorProto_INT32, []int{len(bias)}, bias, scales, 0)
	return err
}

// bias is what an operator adds to its channels, moved by a shift; nil where it takes none and
// none is needed. The bias behind a MatMul is moved where it stands.
func (w *writer) bias(s *site, n int, shift []float64) ([]float64, error) {
	var v []float64
	var t *onnxio.Tensor
	if s.Bias.Name != "" {
		var err error
		if t, err = w.model.Tensor(w.plan.graph.Constant(s.Bias.Name)); err != nil {
			return nil, err
		}
		v = t.Float64()
	}
	own := s.Bias.Node == nil || s.Bias.Node == s.Node
	switch {
	case len(v) != 0 && len(v) != n: // one number for all
		return nil, nil
	case v == nil && shift == nil, !own && shift == nil, onnxio.StandardOp(s.Node) == "MatMul" && (own || len(w.plan.graph.Consumers(s.Bias.Name)) > 1):
		return nil, nil
	case v == nil:
		v = make([]float64, n)
	}
	for c := range shift {
		v[c] += shift[c]
	}
	if own {
		return v, nil
	}
	return nil, w.graph.SetConstant(onnxio.NewTensor(s.Bias.Name, t.Type, t.Dims, v))
}

// Weights are rounded to −mostWeight…mostWeight, seven bits, and what only stores numbers to eight.
// Processors without VNNI add two products of an activation and a weight in sixteen bits, and cut off
// what is more: 2·255·64 is not. With −127…127 there, 94.7 % of the classes of a ResNet-20 and 86.5 %
// of EfficientNet-Lite0's stayed, with −64…64 99.1 % and 97.0 % (with −63…63, 99.0 % and 98.5 %), and
// with unsigned weights, which take a fifth to a half longer, 99.2 % and 99.0 %.
const mostWeight, mostStored = 64, 127

// rounded rounds a weight to −most…most, with a scale for each slice along an axis, no smaller than
// the slice's least, if any are given.
func rounded(v []float64, dims []int, axis int, by choice, most float64, least []float64) (q, scales []float64) {
	of := dense.AlongAxis[float64](nil, dims, axis).Position
	n := dims[axis]
	slices := make([][]float64, n)
	for i, x := range v {
		slices[of(i)] = append(slices[of(i)], x)
	}
	scales = make([]float64, n)
	for k, s := range slices {
		if scales[k] = weightScale(s, by, most); least != nil {
			scales[k] = float64(float32(max(scales[k], least[k])))
		}
	}
	q = make([]float64, len(v))
	for i, x := range v {
		q[i] = min(max(math.RoundToEven(x/scales[of(i)]), -most), most)
	}
	return q, scales
}

// weightScale is the scale of one slice.
func weightScale(v []float64, by choice, most float64) float64 {
	largest := 0.0
	for _, x := range v {
		largest = max(largest, math.Abs(x))
	}
	if !(largest > 1e-30) {
		return 1
	}
	best, least := largest/most, math.Inf(1)
	if by == bySquares {
		for i := range 16 {
			s := largest / most * (1 - 0.03*float64(i))
			e := 0.0
			for _, x := range v {
				d := x - s*min(max(math.RoundToEven(x/s), -most), most)
				e += d * d
			}
			if e < least {
				best, least = s, e
			}
		}
	}
	return float64(float32(best))
}

// shifts returns what the channels of each operator lack in the mean once its weight and what it
// reads are rounded, by the operator's output: W·E[x] − Ŵ·E[x̂] (bias correction, Nagel et al., 2019,
// eq. 17, with the rounding of activations). What operators before it are off by is theirs to repair.
// Padding counts as what it pads.
func (p *plan) shifts(ctx context.Context, by choice, o Options) (map[string][]float64, error) {
	was, is, err := p.means(ctx, by, o)
	if err != nil {
		return nil, err
	}
	out := map[string][]float64{}
	for _, s := range p.sites {
		v, dims := s.weight.Float64(), s.weight.Dims
		q, scales := rounded(v, dims, s.Out.Weight, by, mostWeight, nil)
		to, from := dense.AlongAxis[float64](nil, dims, s.Out.Weight), dense.AlongAxis[float64](nil, dims, s.In.Weight)
		a, b := was[s.In.Tensor], is[s.In.Tensor]
		shift := make([]float64, len(scales))
		for i, w := range v {
			c := to.Position(i)
			k := from.Position(i) + c/(len(scales)/s.Groups)*dims[s.In.Weight] // of all groups
			shift[c] += w*a[k%len(a)] - scales[c]*q[i]*b[k%len(b)]
		}
		out[s.Node.GetOutput()[0]] = shift
	}
	return out, nil
}

// means are those of the channels that operators read, before and after they are rounded.
func (p *plan) means(ctx context.Context, by choice, o Options) (was, is map[string][]float64, err error) {
	was, is = map[string][]float64{}, map[string][]float64{}
	counts := map[string]float64{}
	axes := map[string]int{}
	var names []string
	for _, s := range p.sites {
		if _, ok := axes[s.In.Tensor]; !ok {
			names = append(names, s.In.Tensor)
			axes[s.In.Tensor] = s.In.Axis
		}
	}
	err = dataset.Stream(ctx, p.model, o.Fit, names, o.few(), func(_, _ int, values map[string]*engine.Value) error {
		for _, name := range names {
			v := values[name]
			axis := axes[name]
			if axis < 0 {
				axis += len(v.Dims)
			}
			n := v.Dims[axis]
			if was[name] == nil {
				was[name], is[name] = make([]float64, n), make([]float64, n)
			}
			a := p.of[name]
			if a.same != "" {
				a = p.of[a.same]
			}
			sc, x, along := a.scale(by), v.Float32(), dense.AlongAxis[float64](nil, v.Dims, axis)
			for i, y := range x {
				k := along.Position(i)
				was[name][k] += float64(y)
				is[name][k] += sc.round(float64(y))
			}
			counts[name] += float64(len(x) / n)
		}
		return nil
	})
	for name := range was {
		for c := range was[name] {
			was[name][c] /= max(counts[name], 1)
			is[name][c] /= max(counts[name], 1)
		}
	}
	return was, is, err
}
