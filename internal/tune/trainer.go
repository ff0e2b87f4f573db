package tune

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A trainer runs a model forwards and backwards.
type trainer struct {
	session *engine.Session
	graph   *onnxio.Graph // of the model as it was
	// params holds the parameters that are trained, by the name of the constant.
	params map[string]*engine.Value
	names  []string // of params, in the graph's order
	goals  []*goal
	grads  map[string]string // by parameter: the tensor that holds its gradient
	losses []string          // the tensors that hold what outputs add to the loss
	// unit is, by parameter, what is a large step.
	unit map[string]float64
	// closeness is what inner activations count now, relative to Options.Closeness.
	closeness float32
	// length is that of the sequences which it runs on; 0: as long as the data are.
	length int
}

// closeness is the graph's input of that name.
const closeness = "closeness"

// parameters lists the weights and biases that a node may read.
func parameters(g *onnxio.Graph, n *onnxpb.NodeProto) []onnxio.Param {
	if l, ok := g.Linear(n); ok && (l.Kind == onnxio.Convolution || l.Kind == onnxio.Product) {
		if l.Bias.Node == n {
			return []onnxio.Param{l.Weight, l.Bias}
		}
		return []onnxio.Param{l.Weight}
	}
	if n.GetOpType() == "Add" && n.GetDomain() == "" {
		return []onnxio.Param{{Node: n}, {Node: n, Input: 1}}
	}
	return nil
}

// trainable lists the constants that are weights or biases of linear operators. A single number
// that is added is no bias, but for instance what keeps the root of a normalisation from zero, and
// must stay positive.
func trainable(g *onnxio.Graph) []string {
	var out []string
	for _, n := range g.Nodes {
		for _, p := range parameters(g, n) {
			name := p.Tensor()
			c := g.Constant(name)
			if _, own := g.OnlyReader(name); !own || c.GetDataType() != int32(onnxpb.TensorProto_FLOAT) || n.GetOpType() == "Add" && onnxio.Elements(c) == 1 || slices.Contains(out, name) {
				continue
			}
			out = append(out, name)
		}
	}
	return out
}

// newTrainer writes the training graph of a model: its own nodes with the trained constants as
// inputs, the loss, and the nodes that compute gradients. seen is what the model showed.
func newTrainer(ctx context.Context, m *onnxio.Model, goals []*goal, seen *sights, threads int) (*trainer, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	params := trainable(g)
	if len(params) == 0 {
		return nil, fmt.Errorf("%w: no weight in single precision that only one node reads", errUntrainable)
	}
	block := probeBlocks(ctx)
	for {
		t, err := assemble(m, params, goals, seen, block)
		if err != nil {
			return nil, err
		}
		if len(t.missing) == 0 {
			if t.session, err = engine.Open(t.model, engine.Options{Threads: threads, Frugal: true}); err != nil {
				return nil, fmt.Errorf("%w: %w", errUntrainable, err)
			}
			t.graph, t.unit = g, units(g, t.params, seen)
			return &t.trainer, nil
		}
		// What lies before an operator without a rule cannot be trained.
		var stuck []string
		for _, n := range t.missing {
			stuck = append(stuck, n.GetOutput()...)
		}
		before := g.Ancestors(stuck...)
		params = slices.DeleteFunc(params, func(p string) bool {
			return slices.ContainsFunc(g.Consumers(p), func(c onnxio.Consumer) bool { return before[c.Node] })
		})
		if len(params) == 0 {
			return nil, fmt.Errorf("%w: no gradient passes %s", errUntrainable, onnxio.Label(t.missing[0]))
		}
	}
}

// biasUnit is the unit of a bias relative to the outputs it is added to.
const biasUnit = 0.05

// units returns the root mean square of every weight, and of the activations that a bias is added
// to a share: steps that are relative to these do not depend on the scale of inputs or activations
// (Shazeer & Stern, Adafactor, ICML 2018).
func units(g *onnxio.Graph, params map[string]*engine.Value, seen *sights) map[string]float64 {
	out := map[string]float64{}
	for name, p := range params {
		c := g.Consumers(name)[0]
		if op := c.Node.GetOpType(); op == "Add" || c.Input == 2 {
			out[name] = biasUnit * seen.rms[c.Node.GetOutput()[0]]
		} else {
			out[name] = rms(p.F32)
		}
	}
	return out
}

func rms(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s / float64(max(len(x), 1)))
}

// sights are what some runs of a model show.
type sights struct {
	dims   map[string][]int
	values map[string][]int   // of lists of integers
	rms    map[string]float64 // of floating-point activations
}

// activations lists the tensors that the nodes of a model compute.
func activations(g *onnxio.Graph) []string {
	var out []string
	for _, n := range g.Nodes {
		for _, o := range n.GetOutput() {
			if o != "" && g.Constant(o) == nil {
				out = append(out, o)
			}
		}
	}
	return out
}

// measure runs a model on some examples and looks at all tensors.
func measure(ctx context.Context, m *onnxio.Model, g *onnxio.Graph, examples []map[string]*engine.Value) (*sights, error) {
	s, err := engine.Open(m, engine.Options{Outputs: activations(g), Frugal: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUntrainable, err)
	}
	defer s.Close()
	seen := &sights{dims: map[string][]int{}, values: map[string][]int{}, rms: map[string]float64{}}
	for _, example := range examples {
		out, err := s.Run(ctx, example)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil { // there may be sequences, which cannot be looked at
			return nil, fmt.Errorf("%w: %w", errUntrainable, err)
		}
		seen.add(example, len(examples))
		seen.add(out, len(examples))
	}
	return seen, nil
}

// add takes in the tensors of one of so many runs.
func (s *sights) add(values map[string]*engine.Value, runs int) {
	for name, v := range values {
		s.dims[name] = v.Dims
		if v.I64 != nil && len(v.Dims) <= 1 {
			s.values[name] = ints(v.I64)
		}
		s.rms[name] = math.Hypot(s.rms[name], rms(v.F32)/math.Sqrt(float64(runs)))
	}
}

// resize takes sizes and lists of integers from a run on a larger example. No activation leaves
// onnxruntime, which can forget each as soon as it was read.
func (s *sights) resize(ctx context.Context, m *onnxio.Model, example map[string]*engine.Value) error {
	c := m.Clone()
	g, err := c.Graph()
	if err != nil {
		return err
	}
	var outputs []string
	for i, name := range activations(g) {
		size := fmt.Sprintf("size/%d/%s", i, name)
		g.Proto.Node = append(g.Proto.Node, &onnxpb.NodeProto{OpType: new("Shape"), Input: []string{name}, Output: []string{size}})
		outputs = append(outputs, size)
		if s.values[name] != nil {
			outputs = append(outputs, name)
		}
	}
	open, err := engine.Open(c, engine.Options{Outputs: outputs, Frugal: true})
	if err != nil {
		return fmt.Errorf("%w: %w", errUntrainable, err)
	}
	defer open.Close()
	out, err := open.Run(ctx, example)
	if err != nil {
		return err
	}
	for name, v := range example {
		s.dims[name] = v.Dims
	}
	for i, name := range activations(g) {
		s.dims[name] = ints(out[fmt.Sprintf("size/%d/%s", i, name)].I64)
		if v := out[name]; v != nil {
			s.values[name] = ints(v.I64)
		}
	}
	return nil
}

type assembled struct {
	trainer
	model   *onnxio.Model
	missing []*onnxpb.NodeProto
}

func assemble(m *onnxio.Model, params []string, goals []*goal, seen *sights, block int) (*assembled, error) {
	c := m.Clone()
	g, err := c.Graph()
	if err != nil {
		return nil, err
	}
	out := &assembled{trainer: trainer{params: map[string]*engine.Value{}, names: params, goals: goals, grads: map[string]string{}}, model: c}
	t := &tape{graph: g, proto: g.Proto, opset: c.Opset(""), dims: seen.dims, values: seen.values, live: map[string]bool{}, sums: map[string][]string{}, block: block, inBlocks: map[string]string{}}
	if err := t.foldPads(goals); err != nil {
		return nil, err
	}
	for _, name := range params {
		if out.params[name], err = c.Tensor(g.Constant(name)); err != nil {
			return nil, err
		}
		t.live[name] = true
	}
	for _, n := range g.Nodes {
		if !onnxio.FactsOf(n).Has(onnxio.Steps) && slices.ContainsFunc(n.GetInput(), func(in string) bool { return t.live[in] }) {
			for _, o := range n.GetOutput() {
				t.live[o] = true
			}
		}
	}
	nodes := g.Nodes
	p := g.Proto
	p.Output, p.ValueInfo = nil, nil
	if t.block > 0 {
		c.Proto.OpsetImport = append(c.Proto.OpsetImport, opsets(0)[1])
	}
	t.forward(nodes, goals)
	p.Input = append(p.Input, declare(closeness, nil))
	for i, l := range goals {
		l.input = fmt.Sprintf("target/%d", i)
		p.Input = append(p.Input, declare(l.input, l.dims))
		gradient, loss := l.gradient(t)
		t.give(l.Tensor, gradient)
		if loss != "" {
			out.losses = append(out.losses, loss)
			p.Output = append(p.Output, declare(loss, nil))
		}
	}
	if out.missing, err = t.backward(nodes); err != nil || len(out.missing) > 0 {
		return out, err
	}
	for _, name := range params {
		gradient := t.sum(name)
		if gradient == "" {
			delete(out.params, name)
			continue
		}
		out.grads[name] = gradient
		p.Output = append(p.Output, declare(gradient, out.params[name].Dims))
	}
	out.names = slices.DeleteFunc(slices.Clone(params), func(n string) bool { return out.params[n] == nil })
	return out, feedConstants(g, out.names)
}

// gradient writes what the loss says about the tensor it looks at: the Kullback-Leibler divergence
// between the target's and the tensor's distributions, or the squared error; the mean over the
// rows. Of an output it writes the loss too, a single number.
func (l *goal) gradient(t *tape) (gradient, loss string) {
	y, n := l.Tensor, float64(engine.Count(l.dims))
	if l.Kind == teach.Probabilities {
		y = t.node("Softmax", []string{t.scale(y, 1/l.Temperature)}, onnxio.NewAttrInt("axis", l.axis))
		rows := n / float64(l.Classes)
		by := l.Scale / (l.Temperature * rows)
		log := func(p string) string { return t.do("Log", t.do("Add", p, t.scalar(leastProbability))) }
		apart := t.mul(l.input, t.do("Sub", log(l.input), log(y)))
		return t.scale(t.do("Sub", y, l.input), by), t.scale(t.reduce(t.reshape(apart, -1), false, 0), l.Scale/rows)
	}
	apart := t.do("Sub", y, l.input)
	by := t.scalar(2 * l.Scale / n)
	if l.tap {
		return t.mul(apart, t.mul(by, closeness)), ""
	}
	return t.mul(apart, by), t.scale(t.reduce(t.reshape(t.mul(apart, apart), -1), false, 0), l.Scale/n)
}

// leastProbability is added to probabilities before their logarithm is taken.
const leastProbability = 1e-12

func declare(name string, dims []int) *onnxpb.ValueInfoProto {
	d := make([]any, len(dims))
	for i := range dims {
		d[i] = dims[i]
	}
	return onnxio.NewValueInfo(name, onnxpb.TensorProto_FLOAT, d...)
}

// feedConstants makes inputs of constants.
func feedConstants(g *onnxio.Graph, names []string) error {
	p := g.Proto
	for _, name := range names {
		p.Input = slices.DeleteFunc(p.Input, func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == name })
		p.Initializer = slices.DeleteFunc(p.Initializer, func(t *onnxpb.TensorProto) bool { return t.GetName() == name })
		p.Node = slices.DeleteFunc(p.Node, func(n *onnxpb.NodeProto) bool {
			return n.GetOpType() == "Constant" && n.GetOutput()[0] == name
		})
		t, err := g.Model.Tensor(g.Constant(name))
		if err != nil {
			return err
		}
		p.Input = append(p.Input, declare(name, t.Dims))
	}
	return g.Refresh()
}

// run computes gradients and adds them, times share, to sum. It returns the loss at the outputs.
func (t *trainer) run(ctx context.Context, in map[string]*engine.Value, targets []*engine.Value, share float32, sum map[string][]float32) (loss float64, err error) {
	feed := maps.Clone(in)
	for i, l := range t.goals {
		feed[l.input] = targets[i]
	}
	for _, name := range t.names {
		feed[name] = t.params[name]
	}
	feed[closeness] = engine.Float32([]float32{t.closeness})
	out, err := t.session.Run(ctx, feed)
	if err != nil {
		return 0, err
	}
	for _, name := range t.losses {
		loss += out[name].Float64()[0]
	}
	for _, name := range t.names {
		g := out[t.grads[name]].F32
		if sum[name] == nil {
			sum[name] = make([]float32, len(g))
		}
		total := sum[name]
		for i, x := range g {
			total[i] += share * x
		}
	}
	return loss, nil
}

// values are copies of the parameters' numbers.
func (t *trainer) values() map[string][]float32 {
	out := map[string][]float32{}
	for name, p := range t.params {
		out[name] = slices.Clone(p.F32)
	}
	return out
}

// stored returns a copy of a model with the parameters as they are now.
func (t *trainer) stored(m *onnxio.Model) (*onnxio.Model, error) {
	out := m.Clone()
	g, err := out.Graph()
	if err != nil {
		return nil, err
	}
	for _, name := range t.names {
		p := *t.params[name]
		p.Name = name
		if err := g.SetConstant(&p); err != nil {
			return nil, err
		}
	}
	return out, nil
}
