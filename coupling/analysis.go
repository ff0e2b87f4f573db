package coupling

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options are the settings of an analysis. The zero value is useful.
type Options struct {
	// InputShapes gives sizes to free dimensions of graph inputs, by input name; it is used where
	// the model leaves a dimension open. Entries below two stay open: a batch of one is counted as
	// one in any case, and would be hard to find again in products.
	InputShapes map[string][]int
	// Opaque leaves the branches of If nodes alone: what they read is frozen, and their weights are
	// not looked at.
	Opaque bool
	// Copies names constants that hold what another one does, and are stored only where an edit
	// makes them differ in shape.
	Copies map[string]string
}

// An Analysis says which axes of a model move together.
type Analysis struct {
	// Spaces lists every set of channels that some weight produces or consumes, in topological
	// order of first production, frozen ones included.
	Spaces []*Space
	// Graph is what was analysed: [onnxio.Model.FlatGraph], so that nodes and weights in the
	// branches of If nodes are among those that Uses name.
	Graph *onnxio.Graph
	// Weights holds the axis structure of every constant the graph uses, by tensor name.
	Weights map[string]*Weight
	// Refs lists the stored shapes that follow the widths of spaces.
	Refs []ShapeRef
	// Ops lists the linear operators with what their cost depends on.
	Ops []LinearOp
	// Activations holds the axes of every activation tensor whose rank is known.
	Activations map[string][]*Axis

	// Computed lists what nodes compute with when the model runs, though it is a number: 1/√d of the
	// size d of a head. Stored, it would be no reason for a size to stay.
	Computed []Computed
	// Copied lists the Gathers that take the elements of a list one after the other.
	Copied []Copied

	// Roots says for every constant tensor which weights it is made of, itself included.
	Roots map[string][]string

	spaceOf map[*Axis]*Space
	// otherParams are parameters that are in no weight: in bodies of Loop nodes, in functions, in
	// sparse tensors.
	otherParams int64
	copies      map[string]string
}

// A Weight is a constant tensor: an initializer or the value of a Constant node.
type Weight struct {
	Name string
	Type onnxpb.TensorProto_DataType
	Axes []*Axis
	// Quant says how integers stand for real numbers; nil for other weights.
	Quant *Quantization
}

// Dims are the sizes of the axes.
func (w *Weight) Dims() []int { return sizesOf(w.Axes) }

// Len is the number of elements.
func (w *Weight) Len() int { return int(Widths(nil).Elements(w)) }

// A ShapeRef is a stored shape, a list of pads, slice bounds, split sizes or an attribute that
// follows widths: after an edit element j is Elems[j].
type ShapeRef struct {
	Node  *onnxpb.NodeProto
	Input int    // input index, or -1 for an attribute
	Attr  string // attribute name when Input is -1
	Elems []ShapeElem
	// follows lists axes from whose sizes the shape is computed at run time. They need not be those
	// that the elements mean: where one changes the shape has to be written anew.
	follows []*Axis
}

// Computed is an input of a node that comes to Value whenever the model runs as it is: it is
// computed from sizes, which an edit could change.
type Computed struct {
	Node  *onnxpb.NodeProto
	Input int
	Value *onnxio.Tensor
}

// Copied is a Gather whose output holds what its data does, in the same order: a Reshape to Shape,
// with a -1 in it where a size is not known.
type Copied struct {
	Node  *onnxpb.NodeProto
	Shape []int64
}

// A ShapeElem is an element of a stored shape, of which [Widths.Elem] gives the value: a number
// plus the sizes of axes.
type ShapeElem struct {
	value int64
	sizes []*Axis
	// open is the axis whose size, not known before run time, the element is: a batch times heads.
	// value stands for it, as -1, once the shape has to be written anew, which is when some factor
	// of the axis changes.
	open *Axis
}

// A LinearOp is a linear operator; its multiply-accumulates per sample are Positions times the
// product of the sizes of Axes. Those of all branches of an If are listed, though only one runs.
type LinearOp struct {
	Node      *onnxpb.NodeProto
	Weight    string // "" when both operands are live
	Axes      []*Axis
	Positions int
	// Open is set where free dimensions were counted as one.
	Open bool
}

type analyzer struct {
	model   *onnxio.Model
	graph   *onnxio.Graph
	opts    Options
	sys     *system
	ops     map[string]op
	values  map[string]*value
	order   []*value // every value, in order of creation
	params  map[string]*Axis
	records []record
	// spreads are records that hold for atoms which nothing else makes.
	spreads []record
	refs    []ShapeRef
	linear  []LinearOp

	contractions []contraction
	bends        []bend
	computed     []Computed
	copied       []Copied
}

// Analyze finds the spaces of a model. It fails where the graph contradicts itself (a weight that
// does not fit its input); whatever it does not understand is frozen, with the reason kept in the
// space.
func Analyze(m *onnxio.Model, opts Options) (_ *Analysis, err error) {
	defer guard.Recover(&err)
	an, err := newAnalyzer(m, opts)
	if err != nil {
		return nil, err
	}
	if err := an.run(); err != nil {
		return nil, err
	}
	return an.finish(), nil
}

func newAnalyzer(m *onnxio.Model, opts Options) (*analyzer, error) {
	graph := m.FlatGraph
	if opts.Opaque {
		graph = m.Graph
	}
	g, err := graph()
	if err != nil {
		return nil, err
	}
	return &analyzer{model: m, graph: g, opts: opts, sys: &system{}, ops: table(), values: map[string]*value{}, params: map[string]*Axis{}}, nil
}

// run follows the axes through the whole graph.
func (an *analyzer) run() error {
	g := an.graph
	for _, tp := range g.Proto.GetInitializer() {
		v, err := an.constant(tp.GetName(), tp)
		if err != nil {
			return err
		}
		an.define(tp.GetName(), v)
	}
	for _, vi := range g.Inputs() {
		v := an.declared(vi, fmt.Sprintf("graph input %q", vi.GetName()))
		for _, a := range v.axes {
			a.anchor()
		}
		an.define(vi.GetName(), v)
	}
	for _, n := range g.Nodes {
		if err := an.node(n); err != nil {
			return err
		}
	}
	for _, vi := range g.Outputs() {
		if v := an.values[vi.GetName()]; v != nil {
			for _, a := range v.axes {
				a.freeze(fmt.Sprintf("graph output %q", vi.GetName()))
				a.anchor()
			}
			for _, a := range v.follows {
				a.stiffen(fmt.Sprintf("graph output %q is made of its size", vi.GetName()))
			}
		}
	}
	return nil
}

func (an *analyzer) define(name string, v *value) {
	v.name = name
	an.values[name] = v
	an.order = append(an.order, v)
}

func (an *analyzer) node(n *onnxpb.NodeProto) (err error) {
	defer guard.At(&err, func() string { return onnxio.Label(n) })
	domain := n.GetDomain()
	if domain == "ai.onnx" {
		domain = ""
	}
	c := &call{an: an, node: n, opset: an.model.Opset(domain)}
	for _, name := range n.GetInput() {
		if name == "" {
			c.in = append(c.in, nil)
			continue
		}
		v := an.values[name]
		if v == nil { // a sparse initializer, or captured from nowhere
			v = &value{name: name, konst: true, learnt: true}
			an.values[name] = v
		}
		c.in = append(c.in, v)
	}
	defer an.learn(c, slices.Clone(c.in))
	an.captured(c)
	an.enliven(c)
	op, ok := an.ops[strings.TrimPrefix(domain+"/"+n.GetOpType(), "/")]
	if !ok {
		an.unknown(c, noRule(n.GetOpType()))
		return nil
	}
	c.op = &op
	inputs := slices.Clone(c.in)
	outs, err := c.apply()
	c.in = inputs
	var why refusal
	if !errors.As(err, &why) && err != nil && an.graph.InBranch(n) { // perhaps it is not meant for these inputs
		why = refusal(strings.TrimPrefix(err.Error(), c.label()+": "))
	}
	switch {
	case why != "":
		an.unknown(c, string(why))
		return nil
	case err != nil:
		return err
	}
	if c.op.cost != nil && len(c.in) > 1 && c.in[0] != nil && c.in[1] != nil && c.anyLive() {
		c.op.cost(c, outs)
	}
	c.onWeights(outs)
	c.follow(outs)
	for i, name := range n.GetOutput() {
		if name == "" {
			continue
		}
		o := &value{konst: false}
		if i < len(outs) {
			// Tensors that pass unchanged share axes, never the value itself.
			cp := *outs[i]
			o = &cp
		} else if i > 0 && len(outs) > 0 {
			o = an.described(name)
		}
		an.define(name, o)
	}
	return nil
}

// learn tells of what a node makes whether numbers of weights flow into it.
func (an *analyzer) learn(c *call, in []*value) {
	sizes := c.node.GetOpType() == "Shape" || c.node.GetOpType() == "Size"
	learnt := len(an.graph.Subgraphs(c.node)) > 0 ||
		!sizes && slices.ContainsFunc(in, func(v *value) bool { return v != nil && v.learnt })
	for _, name := range c.node.GetOutput() {
		if v := an.values[name]; v != nil {
			v.learnt = v.learnt || learnt
		}
	}
}

// enliven lets a constant that is no plain weight for a linear operator, since its other operands
// are constants too, be what other operators read from activations: a table whose rows are all
// looked up, such as embeddings of relative positions before they are projected to keys.
func (an *analyzer) enliven(c *call) {
	if c.anyLive() || len(c.in) < 2 {
		return
	}
	switch kind := onnxio.LinearKindOf(c.node); {
	case kind == onnxio.Recurrent:
		return
	case kind == onnxio.NotLinear && c.node.GetOpType() != "LayerNormalization":
		return
	}
	x, w := c.in[0], c.in[1]
	some := func(v *value) bool { n := v.elements(); return n < 0 || n > 1 } // as many as the batch has, perhaps
	if x == nil || w == nil || !x.ranked || x.rank() < 2 || !some(x) || w.elements() < 2 || x.quant != nil {
		return
	}
	live := *x
	live.konst, live.ints, live.reals = false, nil, nil
	for k, a := range x.axes {
		r := record{c.node, x, k, a, Carried}
		an.records = append(an.records, r)
		r.role = Produced
		an.spreads = append(an.spreads, r)
	}
	c.in[0] = &live
}

// follow passes on which axes' sizes a folded value depends on. Where such a value meets an
// activation, and the rule does not rewrite it, none of these sizes may change.
func (c *call) follow(outs []*value) {
	for _, o := range outs {
		if o.ints != nil && len(o.ints) != o.elements() {
			o.ints = nil // a rule lost count of a shape that contradicts itself
		}
	}
	live := slices.ContainsFunc(outs, (*value).live)
	c.numbers(outs)
	for i, v := range c.in {
		if v == nil || len(v.follows) == 0 {
			continue
		}
		for _, o := range outs {
			if o.konst && !c.shapedBy(i) {
				o.follow(v.follows)
			}
		}
		if live && !c.claimed[i] {
			c.computed(i)
			c.computesWith(v)
		}
	}
}

// follow notes that a constant depends on the sizes of axes: on those that it consists of, where it
// does.
func (v *value) follow(axes []*Axis) {
	if sizes := sizesIn(v.ints); sizes != nil {
		v.follows = sizes
		return
	}
	v.follows = appendNew(v.follows, axes...)
}

// computesWith keeps the sizes that a value is made of, on account of this node.
func (c *call) computesWith(v *value) {
	for _, a := range v.follows {
		a.stiffen(c.label() + " computes with its size")
	}
}

// shapedBy reports whether of an input only the output's axes depend, not its elements: their
// dependence is a matter of those axes.
func (c *call) shapedBy(i int) bool {
	switch c.node.GetOpType() {
	case "Shape", "Size": // of a shape: its rank
		return true
	case "ConstantOfShape": // all elements are alike
		return true
	case "Expand", "Reshape", "Tile", "Slice": // bounds are written anew with the axis that they cut
		return i > 0 && c.claimed[i]
	}
	return false
}

// sizesIn lists the axes whose sizes the integers are; nil where one is anything else.
func sizesIn(ints []elem) []*Axis {
	var out []*Axis
	for _, e := range ints {
		if e.size == nil {
			return nil
		}
		out = appendNew(out, e.size)
	}
	return out
}

// onWeights looks at arithmetic among constants. What merely moves elements, or scales all of them
// alike, leaves a weight that can be edited at its root; everything else (a norm over the inputs, a
// product of two weights) does not commute with an edit.
func (c *call) onWeights(outs []*value) {
	if c.anyLive() || c.op.moves {
		return
	}
	if len(outs) == 1 && outs[0].rounded {
		return
	}
	many := func(v *value) bool { return v == nil || !v.ranked || v.elements() != 1 }
	if op := c.node.GetOpType(); (op == "Mul" || op == "Div") && !slices.ContainsFunc(c.in[1:], many) {
		return
	}
	if f := onnxio.FactsOf(c.node); f&(onnxio.Pointwise|onnxio.Broadcasts) != 0 && len(outs) == 1 {
		if outs[0].even = !slices.ContainsFunc(c.in, func(v *value) bool { return v != nil && !v.even }); outs[0].even {
			return // whatever there is of it
		}
	}
	if c.op.cost != nil && c.op.acts&nonlinear == 0 && len(outs) == 1 {
		c.product(outs[0])
		return
	}
	for _, v := range slices.Concat(c.in, outs) {
		c.freeze(v, "computes with weights")
	}
}

// product is one of two weights by one another, such as of positions by a projection: what only one
// of them brings into it may be edited there.
func (c *call) product(o *value) {
	of := func(v *value) []*Axis {
		var atoms []*Axis
		for _, a := range v.axes {
			atoms = appendNew(atoms, a.Atoms()...)
		}
		return atoms
	}
	have := map[*Axis]int{} // in how many of the factors
	for _, v := range c.in[:min(2, len(c.in))] {
		if v == nil || !v.ranked {
			c.freeze(o, "computes with weights")
			continue
		}
		for _, x := range of(v) {
			have[x]++
		}
	}
	out := of(o)
	for _, v := range slices.Concat(c.in, []*value{o}) {
		if v == nil {
			continue
		}
		for _, x := range of(v) {
			if have[x] != 1 || !slices.Contains(out, x) {
				c.freezeAxis(x, "computes with weights")
			}
		}
	}
}

func (c *call) apply() ([]*value, error) {
	for i := range c.op.needs {
		if v := c.input(i); v == nil || !v.ranked {
			return nil, errUnranked
		}
	}
	switch {
	case c.op.apply != nil:
		return c.op.apply(c)
	case c.op.axesOf == nil:
		return c.axes(c.op.axes)
	}
	expr, err := c.op.axesOf(c)
	if err != nil {
		return nil, err
	}
	return c.axes(expr)
}

// described makes a value from value_info, with every axis frozen.
func (an *analyzer) described(name string) *value {
	vi := an.graph.ValueInfo(name)
	switch {
	case vi == nil:
		return &value{name: name}
	case an.graph.IsOutput(name):
		return an.declared(vi, fmt.Sprintf("graph output %q", name))
	}
	v := an.declared(vi, "only its declared shape is known")
	for _, a := range v.axes {
		if a.Size() >= 0 { // whatever made it may be in any order
			a.find().atom.common = false
		}
	}
	return v
}

// unknown freezes whatever a node touches.
func (an *analyzer) unknown(c *call, why string) {
	for _, v := range c.in {
		c.freeze(v, why)
		if v != nil {
			c.computesWith(v)
		}
	}
	for _, name := range c.node.GetOutput() {
		if name != "" {
			an.define(name, an.described(name))
		}
	}
}

// captured freezes outer tensors that a node's subgraphs read.
func (an *analyzer) captured(c *call) {
	if len(an.graph.Subgraphs(c.node)) == 0 {
		return
	}
	for name, v := range an.values {
		if slices.Contains(an.graph.Consumers(name), onnxio.Consumer{Node: c.node, Input: -1}) {
			c.freeze(v, "reads it in a subgraph")
			c.computesWith(v)
		}
	}
}
