package dataset

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"os"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// mostExamined samples tell what the numbers of a data set are like.
const mostExamined = 64

// Examine looks for what is most often wrong with a data set and the way it is fed to a model:
// pixels that are not scaled, or scaled twice, and samples that repeat one another. It returns what
// it suspects, in a line each. What cannot work is an error: a data set that does not fit the
// model, or integers beyond the table from which they pick rows.
//
// To judge pixels of 0…255 that nothing scales, the model, unless its first operators do it, is run
// on a few of them and on 1/255 of them.
func Examine(ctx context.Context, m *onnxio.Model, d *Data, threads int) ([]string, error) {
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	feed, err := d.For(inputs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Title(), err)
	}
	remarks := append(feed.remarks(), d.repeated()...)
	for i, in := range inputs {
		c, err := d.column(i, in, len(inputs))
		if err != nil {
			return nil, err
		}
		if err := inTable(g, in, c, d); err != nil {
			return nil, err
		}
		text, suspect := misscaled(in, c, d)
		if suspect && (ownScale(m, g, in.Name) || !prefersScaled(ctx, m, g, feed, in.Name, threads)) {
			continue
		}
		if text != "" {
			remarks = append(remarks, fmt.Sprintf("%s: input %q: %s", d.name, in.Name, text))
		}
	}
	return remarks, nil
}

// repeated says if most samples are copies of others.
func (d *Data) repeated() []string {
	seed := maphash.MakeSeed()
	seen := map[uint64]bool{}
	for _, s := range d.order {
		var h maphash.Hash
		h.SetSeed(seed)
		for _, c := range d.columns {
			p, ok := c.(interface {
				print(h *maphash.Hash, sample int) error
			})
			if !ok || p.print(&h, s) != nil {
				return nil
			}
		}
		seen[h.Sum64()] = true
	}
	switch n := len(d.order); {
	case n < 2 || 2*len(seen) > n:
		return nil
	case len(seen) == 1:
		return []string{fmt.Sprintf("%s: all %d samples are the same: they say as much as one", d.name, n)}
	default:
		return []string{fmt.Sprintf("%s: of %d samples only %d are different", d.name, n, len(seen))}
	}
}

// print adds a sample to a hash.
func (a *array) print(h *maphash.Hash, sample int) error {
	if len(a.dims) == 0 {
		return nil
	}
	row := len(a.raw) / a.dims[0]
	_, err := h.Write(a.raw[sample*row:][:row])
	return err
}

func (s *sequence) print(h *maphash.Hash, sample int) error {
	_, err := h.Write(s.tensors[sample].raw)
	return err
}

func (c *images) print(h *maphash.Hash, sample int) error {
	f, err := os.Open(c.files[sample])
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(h, f)
	return err
}

// A span is what the numbers of some samples are like.
type span struct {
	low, high float64
	whole     bool // all are integers
}

// spanOf looks at some samples of an array, or at most as many as there are.
func (a *array) spanOf(samples []int) (span, error) {
	raw := a.raw
	if len(a.dims) > 0 {
		raw = a.gather(samples)
	}
	v, err := plain(a.typ, raw, []int{len(raw) / a.width()})
	if err != nil {
		return span{}, err
	}
	s := span{math.Inf(1), math.Inf(-1), true}
	for _, x := range v.Float64() {
		s.low, s.high, s.whole = min(s.low, x), max(s.high, x), s.whole && x == math.Trunc(x)
	}
	return s, nil
}

// inTable checks integers that pick rows of a table.
func inTable(g *onnxio.Graph, in engine.IOInfo, c column, d *Data) error {
	a, ok := c.(*array)
	if !ok || !onnxio.IsInteger(in.Type) {
		return nil
	}
	rows, known := meaning(g, in.Name, true)
	if !known || rows == 0 {
		return nil
	}
	s, err := a.spanOf(d.order)
	if err != nil {
		return err
	}
	for _, x := range []float64{s.low, s.high} {
		if x >= float64(rows) || x < -float64(rows) {
			return fmt.Errorf("%s: array %q has %g, but input %q picks rows of a table of %d", d.name, a.title, x, in.Name, rows)
		}
	}
	return nil
}

// misscaled says what is odd about the range of an image input. suspect: only the model can tell
// whether it is.
func misscaled(in engine.IOInfo, c column, d *Data) (text string, suspect bool) {
	if len(in.Dims) != 4 || !onnxio.IsFloat(in.Type) {
		return "", false
	}
	s := span{0, 255, true}
	switch c := c.(type) {
	case *images:
	case *array:
		var err error
		if s, err = c.spanOf(d.Sample(mostExamined, 0).order); err != nil {
			return "", false
		}
	default:
		return "", false
	}
	pixels := s.low >= 0 && s.high > 16 && s.high <= 255
	small := func(list []float64) bool {
		return len(list) > 0 && !slices.ContainsFunc(list, func(x float64) bool { return math.Abs(x) > 1 })
	}
	unscaled := d.pre.Scale == 0 || d.pre.Scale == 1
	switch {
	case pixels && !d.pre.changes():
		return "pixels of 0…255 are fed as they are, and the model seems to be made for smaller numbers: --scale 1/255, or --preset, makes them so", true
	case pixels && unscaled && small(d.pre.Mean) && small(d.pre.Std):
		return "--mean and --std are those of numbers from 0 to 1, but pixels are 0…255: --scale 1/255 is missing", false
	case s.low >= 0 && s.high <= 1 && !s.whole && d.pre.Scale > 0 && d.pre.Scale < 0.01:
		return fmt.Sprintf("the numbers are from 0 to 1 already, and --scale makes them %g at most", s.high*d.pre.Scale), false
	}
	return "", false
}

// passing are operators that leave pixels as they are.
var passing = []string{"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Pad", "Slice", "Split", "Gather", "Concat", "Resize", "QuantizeLinear", "DequantizeLinear"}

// ownScale reports whether a model is known to take pixels as they are: since the first operators
// behind the input scale or normalise it, or since it was made with CNTK, which was trained on
// pixels of 0…255.
func ownScale(m *onnxio.Model, g *onnxio.Graph, input string) bool {
	if m.Proto.GetProducerName() == "CNTK" {
		return true
	}
	scales := false
	follow(g, input, func(c onnxio.Consumer) bool {
		op := c.Node.GetOpType()
		scales = scales || slices.Contains(scaling, op)
		return slices.Contains(passing, op)
	})
	return scales
}

// scaling are operators that change the scale of pixels.
var scaling = []string{"Mul", "Div", "Sub", "Add", "BatchNormalization", "InstanceNormalization", "LayerNormalization", "Scaler", "MeanVarianceNormalization"}

// follow walks from a tensor to what is made of it, past the nodes of which on says so.
func follow(g *onnxio.Graph, tensor string, on func(onnxio.Consumer) bool) {
	seen := map[string]bool{tensor: true}
	for queue := []string{tensor}; len(queue) > 0; queue = queue[1:] {
		for _, c := range g.Consumers(queue[0]) {
			if !on(c) {
				continue
			}
			for _, out := range c.Node.GetOutput() {
				if !seen[out] {
					seen[out] = true
					queue = append(queue, out)
				}
			}
		}
	}
}

const (
	// probes images are enough to see how a model's answers depend on the scale.
	probes = 8
	// sensitive is how many times as much the answers have to depend on the scale of 1/255 of the
	// numbers as on that of the numbers themselves, and leastSensitive how much at least (1 −
	// cosine), before these are said to be too large.
	sensitive, leastSensitive = 4, 2e-4
)

// prefersScaled reports whether a model seems to be made for 1/255 of what an input gets. A network
// that was trained with biases or normalisations does something else with twice its usual input;
// one whose input is far too large only says the same twice as loud, since biases no longer matter,
// or the same, since everything is saturated. The direction of its outputs, before a last Softmax,
// is therefore compared between an input and its double. What goes wrong is no answer: it is told
// when the model has to run.
func prefersScaled(ctx context.Context, m *onnxio.Model, g *onnxio.Graph, feed *Feed, input string, threads int) bool {
	s, err := engine.Open(m, engine.Options{Threads: threads, Outputs: scoresOf(g), Unpacked: true})
	if err != nil {
		return false
	}
	defer s.Close()
	f := *feed
	f.data = feed.data.Sample(probes, 0)
	asIs, scaled := 0.0, 0.0
	n := f.data.Len()
	for i := range n {
		values, err := f.Batch(i, 1)
		if err != nil {
			return false
		}
		for factor, sum := range map[float64]*float64{1: &asIs, 1. / 255: &scaled} {
			turn, err := turns(ctx, s, values, input, factor)
			if err != nil {
				return false
			}
			*sum += turn / float64(n)
		}
	}
	return scaled >= leastSensitive && scaled >= sensitive*asIs
}

// turns is 1 − cosine, the mean over the outputs, between the outputs for a factor times an input
// and for twice that.
func turns(ctx context.Context, s *engine.Session, values map[string]*engine.Value, input string, factor float64) (float64, error) {
	var out [2]map[string]*engine.Value
	for k := range out {
		fed := make(map[string]*engine.Value, len(values))
		for name, v := range values {
			fed[name] = v
		}
		fed[input] = times(values[input], factor*float64(1+k))
		var err error
		if out[k], err = s.Run(ctx, fed); err != nil {
			return 0, err
		}
	}
	sum, n := 0.0, 0
	for name, v := range out[0] {
		w := out[1][name]
		if !onnxio.IsFloat(v.Type) || len(v.Float64()) != len(w.Float64()) {
			continue
		}
		dot, vv, ww := 0.0, 0.0, 0.0
		b := w.Float64()
		for i, x := range v.Float64() {
			dot, vv, ww = dot+x*b[i], vv+x*x, ww+b[i]*b[i]
		}
		if norm := math.Sqrt(vv * ww); norm > 0 {
			sum, n = sum+1-dot/norm, n+1
		}
	}
	return sum / float64(max(n, 1)), nil
}

// times returns a multiple of a value.
func times(v *engine.Value, factor float64) *engine.Value {
	out := *v
	out.F32, out.F64 = slices.Clone(v.F32), slices.Clone(v.F64)
	for i := range out.F32 {
		out.F32[i] *= float32(factor)
	}
	for i := range out.F64 {
		out.F64[i] *= factor
	}
	return &out
}

// scoresOf returns the outputs of a graph, those of a Softmax or Sigmoid replaced by what goes into
// it.
func scoresOf(g *onnxio.Graph) []string {
	var names []string
	for _, v := range g.Outputs() {
		name := v.GetName()
		if n := g.Producer(name); n != nil && slices.Contains([]string{"Softmax", "LogSoftmax", "Sigmoid"}, n.GetOpType()) {
			name = n.GetInput()[0]
		}
		names = append(names, name)
	}
	return names
}
