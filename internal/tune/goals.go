package tune

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

// A goal is an output or an inner activation of the child that has a target.
type goal struct {
	// Tensor is an inner activation, an output, or the logits that a Softmax makes an output of.
	teach.Goal
	dims []int
	axis int // of the classes, where there are any
	// tap says that the tensor's values count, not their probabilities, and less and less.
	tap   bool
	input string // the training graph's input that takes the target
}

// goals lists the outputs, and behind them the taps.
func (r *run) goals(ctx context.Context, g *onnxio.Graph, example map[string]*engine.Value) ([]*goal, error) {
	said, err := r.parents.Outputs()
	if err != nil {
		return nil, err
	}
	if n := len(g.Outputs()); n != len(said) {
		return nil, fmt.Errorf("%d outputs against %d", len(said), n)
	}
	var goals []*goal
	for k, out := range g.Outputs() {
		l := &goal{Goal: *said[k]}
		l.Tensor = out.GetName()
		goals = append(goals, l)
	}
	outputs := slices.Clone(goals)
	goals = append(goals, r.taps(g)...)
	var names []string
	for _, l := range goals {
		names = append(names, l.Tensor)
	}
	s, err := engine.Open(r.child, engine.Options{Outputs: names})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	values, err := s.Run(ctx, example)
	if err != nil {
		return nil, err
	}
	for _, l := range goals {
		v := values[l.Tensor]
		if v.F32 == nil {
			return nil, fmt.Errorf("%w: %q is not of single precision", errUntrainable, l.Tensor)
		}
		l.dims = v.Dims
	}
	for i, l := range outputs {
		if logits := r.output(g, i, l, values[l.Tensor]); logits != nil {
			goals = append(goals, logits)
		}
	}
	return goals, nil
}

// output finds what the i-th output aims at, and of a classifier's what its logits do; nil of
// others.
func (r *run) output(g *onnxio.Graph, i int, l *goal, v *engine.Value) (logits *goal) {
	if i < len(r.o.Outputs) {
		l.SetTask(r.o.Outputs[i], v.Dims)
		l.axis = r.o.Outputs[i].Axis
	}
	if l.Kind != teach.Probabilities {
		return nil
	}
	if teach.Distributions(v.F32, l.Classes) {
		name := logitsOf(g, l.Tensor)
		if name == l.Tensor { // of an unknown making: matched as numbers
			l.Kind, l.Classes = teach.Output, 0
			return nil
		}
		l.Tensor = name
	}
	for k, name := range l.Tensors {
		l.Tensors[k] = logitsOf(r.parents[k].Subject.Graph, name)
	}
	if logits = r.tap(teach.Scores, l.Tensor, l.axis); logits != nil {
		logits.Classes, logits.dims = l.Classes, l.dims
	}
	return logits
}

// logitsOf is what a Softmax makes probabilities of; a tensor itself where none makes it.
func logitsOf(g *onnxio.Graph, tensor string) string {
	if n := g.Producer(tensor); n.GetOpType() == "Softmax" {
		return n.GetInput()[0]
	}
	return tensor
}

// taps are the activations that trained operators read, where every parent has a counterpart.
func (r *run) taps(g *onnxio.Graph) []*goal {
	var out []*goal
	params := trainable(g)
	depends := map[string]bool{} // on something that is trained
	for _, n := range g.Nodes {
		trained := slices.ContainsFunc(n.GetInput(), func(in string) bool { return slices.Contains(params, in) })
		if read, ok := g.Linear(n); ok && trained && depends[read.In.Tensor] && !apart(g, read) {
			if l := r.tap(teach.Inner, read.In.Tensor, read.In.Axis); l != nil && !slices.ContainsFunc(out, func(o *goal) bool { return o.Tensor == l.Tensor }) {
				out = append(out, l)
			}
		}
		if trained || slices.ContainsFunc(n.GetInput(), func(in string) bool { return depends[in] }) {
			for _, o := range n.GetOutput() {
				depends[o] = true
			}
		}
	}
	return out
}

// apart says that an operator reads every channel on its own, as a depthwise convolution does: what
// it makes says as much as what it reads. EfficientNet-Lite0, narrowed, came to a held-out loss of
// 3.008 from 5.704 with and without such taps, in the mean of two runs, and half of what targets
// take is saved.
func apart(g *onnxio.Graph, l *onnxio.Linear) bool {
	c := g.Constant(l.Weight.Name)
	return c != nil && depthwise(ints(c.GetDims()), l.Groups)
}

// tap is the goal of an activation, or nil where the parents compute nothing like it, or something
// of unknown rank.
func (r *run) tap(kind teach.Kind, tensor string, axis int) *goal {
	target, err := r.parents.Target(kind, tensor, axis)
	if target == nil || err != nil {
		return nil
	}
	return &goal{Goal: teach.Goal{Target: target, Tensor: tensor}, tap: true}
}

const (
	// trainedBytes and targetBytes are what training takes for each byte of the child's activations,
	// and for each of targets: the parents' values, those handed on, and what waits to be freed. They
	// were measured as the resident memory that each sample of EfficientNet-Lite0 added.
	trainedBytes = 2.5
	targetBytes  = 5
)

// mostRoom is what activations take at most, in bytes. More gains little: two samples at once of
// EfficientNet-Lite0, as it allows, took 7 % less time for each than one.
const mostRoom = 800e6

// room is for so many bytes of activations: half of the memory. Models, data and what was needed
// before stay in the other half.
func (o *Options) room() float64 {
	if o.Memory == 0 {
		return mostRoom
	}
	return min(mostRoom, float64(o.Memory)/2)
}

// unitsSeen is the number of units whose activations are looked at.
const unitsSeen = 8

// look runs the child on single units, and makes runs of as many units as there is memory for.
func (r *run) look(ctx context.Context, g *onnxio.Graph) (*sights, error) {
	units, err := r.reader.singly(r.o.Data, unitsSeen)
	if err != nil {
		return nil, err
	}
	seen, err := measure(ctx, r.child, g, units)
	if err != nil {
		return nil, err
	}
	all, targets := 0, 0
	for _, dims := range seen.dims {
		all += engine.Count(dims)
	}
	for _, l := range r.taps(g) {
		targets += engine.Count(seen.dims[l.Tensor])
	}
	bytes := 4 * (trainedBytes*float64(all) + targetBytes*float64(targets))
	r.reader.limit(int(min(r.o.room()/max(bytes, 1), math.MaxInt32)))
	return seen, nil
}

// openParents loads the parents, to return what the goals name.
func (r *run) openParents(goals []*goal) error {
	for i, m := range r.parents.Models() {
		var names []string
		for _, l := range goals {
			names = append(names, l.Tensors[i])
		}
		s, err := engine.Open(m, engine.Options{Threads: r.o.Threads, Outputs: names, Frugal: true})
		if err != nil {
			return err
		}
		r.sessions = append(r.sessions, s)
	}
	return nil
}

// weigh finds temperatures and scales of the goals by what the parents say about some examples. Of
// inner activations, which are many, nothing but their variance is kept.
func (r *run) weigh(ctx context.Context, goals []*goal, examples []map[string]*engine.Value) error {
	kept := make([][][]*engine.Value, len(goals))
	inner := make([]variance, len(goals))
	for _, example := range examples {
		said, err := r.ask(ctx, goals, example)
		if err != nil {
			return err
		}
		for i, l := range goals {
			if l.Kind != teach.Inner {
				kept[i] = append(kept[i], said[i])
				continue
			}
			target, err := l.of(said[i])
			if err != nil {
				return err
			}
			inner[i].add(target.F32)
		}
	}
	for i, l := range goals {
		if l.Kind == teach.Inner {
			l.Scale = r.o.Closeness / max(inner[i].value(), math.SmallestNonzeroFloat32)
		} else if err := r.settle(l, kept[i]); err != nil {
			return err
		}
	}
	return nil
}

// settle finds the temperature and scale of an output or logits by what the parents say, by example.
func (r *run) settle(l *goal, said [][]*engine.Value) error {
	var scores [][]float32
	for _, values := range said {
		for _, v := range values {
			scores = append(scores, v.F32)
		}
	}
	l.Temper(scores...)
	var seen []float32
	for _, values := range said {
		target, err := l.of(values)
		if err != nil {
			return err
		}
		seen = append(seen, target.F32...)
	}
	l.Scale = r.scale(l, seen, len(said)*r.reader.unit*r.reader.units)
	return nil
}

// A variance is that of numbers that are seen part by part, around one mean.
type variance struct {
	spread eval.Spread
	n      int
}

func (v *variance) add(x []float32) {
	v.spread.Add(engine.Float32(x, len(x)).Float64(), len(x))
	v.n += len(x)
}

func (v *variance) value() float64 { return v.spread.Squares() / float64(max(v.n, 1)) }

// scale makes goals of all kinds comparable, by targets for so many samples.
func (r *run) scale(l *goal, seen []float32, samples int) float64 {
	if !l.tap {
		return teach.Scale(seen, l.Classes, samples)
	}
	counts := r.o.Closeness
	if len(r.parents) > 1 {
		counts = teach.Closeness // more would hold the decision back
	}
	var v variance
	v.add(seen)
	return counts / max(v.value(), math.SmallestNonzeroFloat32)
}

// ask runs the parents, and returns what they compute: by goal, by parent.
func (r *run) ask(ctx context.Context, goals []*goal, in map[string]*engine.Value) ([][]*engine.Value, error) {
	out := make([][]*engine.Value, len(goals))
	for k, s := range r.sessions {
		feed := map[string]*engine.Value{}
		for _, info := range s.Inputs() {
			feed[info.Name] = in[info.Name]
			for _, only := range in {
				if len(in) == 1 {
					feed[info.Name] = only
				}
			}
		}
		values, err := s.Run(ctx, feed)
		if err != nil {
			return nil, err
		}
		for i, l := range goals {
			out[i] = append(out[i], values[l.Tensors[k]])
		}
	}
	return out, nil
}

// targets are what goals should hold for some inputs.
func (r *run) targets(ctx context.Context, goals []*goal, in map[string]*engine.Value) ([]*engine.Value, error) {
	said, err := r.ask(ctx, goals, in)
	if err != nil {
		return nil, err
	}
	out := make([]*engine.Value, len(goals))
	for i, l := range goals {
		if out[i], err = l.of(said[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// of is the target that the parents' values make, probabilities Decided where there are several.
func (l *goal) of(values []*engine.Value) (*engine.Value, error) {
	v, err := l.Of(values)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", l.Tensor, err)
	}
	if v.Len() != engine.Count(l.dims) {
		return nil, fmt.Errorf("%q has another size than the parents'", l.Tensor)
	}
	if l.Kind == teach.Probabilities && len(values) > 1 {
		teach.Decided(v.F32, l.Classes)
	}
	return engine.Float32(v.F32, l.dims...), nil
}
