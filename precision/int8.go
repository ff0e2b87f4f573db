package precision

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options say how scales are found.
type Options struct {
	// Fit gives the inputs that scales are chosen on.
	Fit *dataset.Data
	// Judge tells how far the predictions of a model are from what they should be.
	Judge func(ctx context.Context, m *onnxio.Model) (float64, error)
	// StreamOptions say how models are run.
	dataset.StreamOptions
}

// Int8 returns a model in which convolutions and products with constant matrices work on integers of
// eight bits, and what lies between them and only passes numbers on, adds or pools them, does too.
// Weights are rounded to −64…64 with a scale for each output channel, activations to 0…255, and tables
// out of which rows are taken, as of the words of a vocabulary, to −127…127 with a scale for each
// column.
//
// Scales are those of the range that is met on the data, or those of which squared errors are
// smallest, and with either the biases make up for the means that rounding has moved or not: of the
// four models the one is taken whose predictions are the nearest (Options.Judge). Biases are rounded
// to the product of the scales of weight and input, as onnxruntime asks for.
func Int8(ctx context.Context, m *onnxio.Model, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	r := &Report{Type: INT8, Samples: o.Fit.Len()}
	folded, _, err := edit.FoldBatchNorm(m, nil)
	if err != nil {
		return nil, nil, err
	}
	raised, err := r.raise(folded, 13)
	if err != nil {
		return nil, nil, err
	}
	if err := foldPads(ctx, raised, o); err != nil {
		return nil, nil, err
	}
	p, err := r.plan(raised)
	if err != nil {
		return nil, nil, err
	}
	if len(p.sites) == 0 {
		return nil, nil, m.InFile(fmt.Errorf("no operator has a weight that could be rounded to integers"))
	}
	if err := p.calibrate(ctx, o); err != nil {
		return nil, nil, err
	}
	var best *onnxio.Model
	least := math.Inf(1)
	for _, by := range []choice{inRange, bySquares} {
		plain, err := p.write(by, nil)
		if err != nil {
			return nil, nil, err
		}
		moved, err := p.shifts(ctx, by, o)
		if err != nil {
			return nil, nil, err
		}
		repaired, err := p.write(by, moved)
		if err != nil {
			return nil, nil, err
		}
		for i, made := range []*onnxio.Model{plain, repaired} {
			d, err := o.Judge(ctx, made)
			if err != nil {
				return nil, nil, err
			}
			c := Candidate{Name: string(by), Divergence: d}
			if i == 1 {
				c.Name += ", biases repaired"
			}
			if r.Candidates = append(r.Candidates, c); best == nil || d < least {
				best, least = made, d
			}
		}
	}
	for i := range r.Candidates {
		if r.Candidates[i].Divergence == least {
			r.Candidates[i].Taken = true
			break
		}
	}
	r.Weights, r.Operators, r.Activations = len(p.sites)+len(p.tables), len(p.sites), len(p.order)
	return best, r, nil
}

// A site is a linear operator that is to work on integers.
type site struct {
	*onnxio.Linear
	weight *onnxio.Tensor
}

// An activation is a tensor that is rounded. same names the one whose scale it shares, since it
// holds the same numbers, "" for its own.
type activation struct {
	name, same string
	low, high  float64
	counts     []float64 // of a histogram from low to high
	chosen     map[choice]scale
}

// A plan says what of a model works on integers.
type plan struct {
	model  *onnxio.Model
	graph  *onnxio.Graph
	sites  []*site
	tables []*onnxio.Tensor
	of     map[string]*activation
	order  []*activation
}

// plan finds what can work on integers.
func (r *Report) plan(m *onnxio.Model) (*plan, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	p := &plan{model: m, graph: g, of: map[string]*activation{}}
	for _, l := range g.Linears() {
		if why := p.unfit(l); why != "" {
			r.Stay = append(r.Stay, Stay{l.Weight.Name, why})
			continue
		}
		t, err := m.Tensor(g.Constant(l.Weight.Name))
		if err != nil {
			return nil, m.InFile(err)
		}
		if reaches(t, math.MaxFloat32) {
			r.Stay = append(r.Stay, Stay{l.Weight.Name, "it holds what is no number"})
			continue
		}
		p.sites = append(p.sites, &site{l, t})
		p.round(l.In.Tensor, "")
		if l.Kind == onnxio.Convolution {
			p.round(p.behind(l.Node.GetOutput()[0]), "")
		}
	}
	for _, n := range g.Nodes {
		p.follow(n)
	}
	return p, p.findTables()
}

// leastTable is the number of elements from which on a table is worth the node that makes rows of it
// real again.
const leastTable = 1 << 14

// findTables lists the matrices of which every reader takes rows, at places that are not constant.
func (p *plan) findTables() error {
	for _, name := range stored(p.graph) {
		c := p.graph.Constant(name)
		taken := func(r onnxio.Consumer) bool {
			return r.Input == 0 && onnxio.StandardOp(r.Node) == "Gather" && onnxio.AttrInt(r.Node, "axis", 0) == 0 && p.graph.Constant(r.Node.GetInput()[1]) == nil
		}
		other := func(r onnxio.Consumer) bool { return !taken(r) }
		readers := p.graph.Consumers(name)
		if len(c.GetDims()) != 2 || onnxio.Elements(c) < leastTable || len(readers) == 0 || slices.ContainsFunc(readers, other) {
			continue
		}
		t, err := p.model.Tensor(c)
		if err != nil {
			return p.model.InFile(err)
		}
		if !reaches(t, math.MaxFloat32) {
			p.tables = append(p.tables, t)
		}
	}
	return nil
}

// unfit says why an operator does not work on integers, or "".
func (p *plan) unfit(l *onnxio.Linear) string {
	t := p.graph.Constant(l.Weight.Name)
	switch {
	case onnxpb.TensorProto_DataType(t.GetDataType()) != onnxio.Float:
		return "it is not of float32"
	case l.Kind != onnxio.Convolution && l.Kind != onnxio.Product:
		return onnxio.StandardOp(l.Node) + " has no form on integers"
	case !l.Weight.Direct() || l.Out.Weight < 0:
		return "it is not read as it is stored"
	case l.Kind == onnxio.Product && (len(t.GetDims()) != 2 || l.Weight.Input != 1):
		return "it is not the second of two matrices"
	case l.Kind == onnxio.Product && (l.Alpha != 1 || l.Beta != 1 || onnxio.AttrInt(l.Node, "transA", 0) != 0):
		return "the product is scaled or transposed"
	case p.graph.Constant(l.In.Tensor) != nil:
		return "what it reads is constant"
	case l.Kind == onnxio.Convolution && p.graph.IsOutput(p.behind(l.Node.GetOutput()[0])):
		return "it makes an output of the model"
	case l.Kind == onnxio.Convolution && l.Bias.Tensor() != "" && !l.Bias.Direct():
		return "its bias is computed"
	}
	return ""
}

// behind is the tensor that a convolution's output is rounded at: behind a Relu or Clip that alone
// reads it. onnxruntime leaves those out, since integers end where they do.
func (p *plan) behind(out string) string {
	c, ok := p.graph.OnlyReader(out)
	if !ok || c.Input != 0 {
		return out
	}
	switch onnxio.StandardOp(c.Node) {
	case "Relu":
		return c.Node.GetOutput()[0]
	case "Clip":
		for _, bound := range c.Node.GetInput()[1:] {
			if bound != "" && p.graph.Constant(bound) == nil {
				return out
			}
		}
		return c.Node.GetOutput()[0]
	}
	return out
}

func (p *plan) round(tensor, same string) {
	if p.of[tensor] == nil {
		p.of[tensor] = &activation{name: tensor, same: same}
		p.order = append(p.order, p.of[tensor])
	}
}

// passes lists operators whose output holds numbers of their first input alone; computes those that
// onnxruntime has on integers beside the linear ones.
var (
	passes   = map[string]bool{"MaxPool": true, "Reshape": true, "Flatten": true, "Transpose": true, "Squeeze": true, "Unsqueeze": true}
	computes = map[string]bool{"Add": true, "AveragePool": true, "GlobalAveragePool": true, "Concat": true}
)

// follow rounds what a node makes of nothing but rounded tensors.
func (p *plan) follow(n *onnxpb.NodeProto) {
	op := onnxio.StandardOp(n)
	if !passes[op] && !computes[op] || len(n.GetOutput()) != 1 || p.graph.IsOutput(n.GetOutput()[0]) {
		return
	}
	inputs := n.GetInput()
	if passes[op] {
		inputs = inputs[:1]
	}
	for _, in := range inputs {
		if p.of[in] == nil {
			return
		}
	}
	out, same := n.GetOutput()[0], ""
	if passes[op] {
		same = cmp.Or(p.of[inputs[0]].same, inputs[0])
	} else {
		out = p.behind(out)
		if p.graph.IsOutput(out) {
			return
		}
	}
	p.round(out, same)
}

// A scale with its zero point makes real numbers of integers: scale·(q − zero).
type scale struct{ scale, zero float64 }

// write makes the model on integers. shifts, by the name of a site's output, is what its channels
// are moved by.
func (p *plan) write(by choice, shifts map[string][]float64) (*onnxio.Model, error) {
	m := p.model.Clone()
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	w := &writer{plan: p, graph: g, by: by, scales: map[string]scale{}, behind: map[string][]*onnxpb.NodeProto{}, rounded: map[string]string{}}
	for _, a := range p.order {
		if err := w.activation(a); err != nil {
			return nil, m.InFile(err)
		}
	}
	for _, s := range p.sites {
		if err := w.site(s, shifts[s.Node.GetOutput()[0]]); err != nil {
			return nil, m.InFile(fmt.Errorf("%s: %w", onnxio.Label(s.Node), err))
		}
	}
	for _, t := range p.tables {
		if err := w.table(t); err != nil {
			return nil, m.InFile(err)
		}
	}
	for _, n := range g.Nodes {
		for i, in := range n.GetInput() {
			if r, ok := w.rounded[in]; ok {
				n.Input[i] = r
			}
		}
	}
	for _, s := range p.sites { // weights have several readers at times
		n := g.Producer(s.Node.GetOutput()[0])
		n.Input[1] = w.weights[s.Weight.Name]
		if b := w.biases[n.GetOutput()[0]]; b != "" {
			onnxio.SetInput(n, 2, b)
		}
	}
	replace(g, w.first, w.behind)
	if err := g.Refresh(); err != nil {
		return nil, err
	}
	return m, unread(m)
}

// unread removes the constants that nobody reads any more.
func unread(m *onnxio.Model) error {
	g, err := m.Graph()
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, t := range g.Proto.Initializer {
		gone[t.GetName()] = len(g.Consumers(t.GetName())) == 0 && !g.IsOutput(t.GetName())
	}
	drop(g, gone)
	return g.Refresh()
}

// A writer writes one model on integers.
type writer struct {
	*plan
	graph   *onnxio.Graph
	by      choice
	scales  map[string]scale
	first   []*onnxpb.NodeProto            // what makes weights and biases
	behind  map[string][]*onnxpb.NodeProto // a tensor: what rounds it
	rounded map[string]string              // the tensor that it becomes
	weights map[string]string
	biases  map[string]string
}

// activation rounds a tensor.
func (w *writer) activation(a *activation) error {
	s := a.scale(w.by)
	if a.same != "" {
		s = w.scales[a.same]
	}
	w.scales[a.name] = s
	sc, zero, err := w.params(a.name, []float64{s.scale}, onnxpb.TensorProto_UINT8, []float64{s.zero}, false)
	if err != nil {
		return err
	}
	q, real := w.graph.Fresh(a.name+"_q"), w.graph.Fresh(a.name+"_rounded")
	w.behind[a.name] = []*onnxpb.NodeProto{
		{OpType: proto.String("QuantizeLinear"), Name: proto.String(q), Input: []string{a.name, sc, zero}, Output: []string{q}},
		{OpType: proto.String("DequantizeLinear"), Name: proto.String(real), Input: []string{q, sc, zero}, Output: []string{real}},
	}
	w.rounded[a.name] = real
	return nil
}

// table stores a table as integers, and makes rows real once they are taken.
func (w *writer) table(t *onnxio.Tensor) error {
	q, scales := rounded(t.Float64(), t.Dims, 1, w.by, mostStored, nil)
	table := w.graph.Fresh(t.Name + "_q")
	if err := w.graph.AddInitializer(onnxio.NewTensor(table, onnxpb.TensorProto_INT8, t.Dims, q)); err != nil {
		return err
	}
	sc, zero, err := w.params(t.Name, scales, onnxpb.TensorProto_INT8, make([]float64, len(scales)), true)
	if err != nil {
		return err
	}
	for _, c := range w.graph.Consumers(t.Name) {
		real := c.Node.GetOutput()[0]
		rows := w.graph.Fresh(real + "_rows")
		c.Node.Input[0], c.Node.Output[0] = table, rows
		w.behind[rows] = append([]*onnxpb.NodeProto{{
			OpType: proto.String("DequantizeLinear"), Name: proto.String(rows), Input: []string{rows, sc, zero}, Output: []string{real},
			Attribute: []*onnxpb.AttributeProto{onnxio.NewAttrInt("axis", -1)},
		}}, w.behind[real]...)
	}
	return nil
}

// params stores scales and zero points: scalars, or one for each channel.
func (w *writer) params(name string, scales []float64, typ onnxpb.TensorProto_DataType, zeros []float64, each bool) (sc, zero string, err error) {
	dims := []int{}
	if each {
		dims = []int{len(scales)}
	}
	sc = w.graph.Fresh(name + "_scale")
	if err := w.graph.AddInitializer(onnxio.NewTensor(sc, onnxio.Float, dims, scales)); err != nil {
		return "", "", err
	}
	zero = w.graph.Fresh(name + "_zero")
	return sc, zero, w.graph.AddInitializer(onnxio.NewTensor(zero, typ, dims, zeros))
}

// integers stores rounded numbers behind a DequantizeLinear that makes them real again.
func (w *writer) integers(name string, typ onnxpb.TensorProto_DataType, dims []int, q, scales []float64, axis int) (real string, err error) {
	stored := w.graph.Fresh(name + "_q")
	if err := w.graph.AddInitializer(onnxio.NewTensor(stored, typ, dims, q)); err != nil {
		return "", err
	}
	sc, zero, err := w.params(name, scales, typ, make([]float64, len(scales)), true)
	if err != nil {
		return "", err
	}
	real = w.graph.Fresh(name + "_rounded")
	w.first = append(w.first, &onnxpb.NodeProto{
		OpType: proto.String("DequantizeLinear"), Name: proto.String(real), Input: []string{stored, sc, zero}, Output: []string{real},
		Attribute: []*onnxpb.AttributeProto{onnxio.NewAttrInt("axis", axis)},
	})
	return real, nil
}
