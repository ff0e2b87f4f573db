package onnxio

import (
	"fmt"
	"maps"
	"slices"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Graph is an index over one graph of a model: who makes a tensor, who reads it, and what is
// constant. It follows edits made through its methods; after others to Proto, call [Graph.Refresh].
type Graph struct {
	Model *Model
	Proto *onnxpb.GraphProto

	// Outer is the graph around a subgraph (the body of an If, Loop or Scan), whose tensors the
	// subgraph may read; Holder is the node that holds it. Both are nil at the top.
	Outer  *Graph
	Holder *onnxpb.NodeProto

	// Nodes is in topological order, which is the file's order where that is topological already.
	Nodes []*onnxpb.NodeProto

	producers    map[string]production
	consumers    map[string][]Consumer
	initializers map[string]*onnxpb.TensorProto
	sparse       map[string]*onnxpb.SparseTensorProto
	inputs       map[string]*onnxpb.ValueInfoProto
	outputs      map[string]*onnxpb.ValueInfoProto
	constants    map[string]*onnxpb.TensorProto // values of Constant nodes, nil where they are not dense
	subgraphs    map[*onnxpb.NodeProto][]*Graph
	captures     map[string]bool // names that this graph reads from the graphs around it
	flat         *flattening
}

// A production is a node that makes a tensor, and its place in the file.
type production struct {
	node *onnxpb.NodeProto
	at   int
}

// Consumer is one reading of a tensor.
type Consumer struct {
	Node *onnxpb.NodeProto
	// Input is the position among the node's inputs, -1 where a subgraph of the node reads the
	// tensor.
	Input int
}

// Graph indexes the model's top-level graph and the subgraphs of its nodes.
func (m *Model) Graph() (*Graph, error) {
	g, err := newGraph(m, m.Proto.GetGraph(), nil, nil)
	if err != nil {
		return nil, m.errorf("%w", err)
	}
	return g, nil
}

// Refresh builds the index anew after edits to Proto. Subgraphs must be refreshed through the
// top-level graph, which makes new ones.
func (g *Graph) Refresh() error {
	fresh, err := newGraph(g.Model, g.Proto, g.Outer, g.Holder)
	if err != nil {
		return g.Model.errorf("%w", err)
	}
	fresh.flat = g.flat
	*g = *fresh
	for _, subs := range g.subgraphs {
		for _, s := range subs {
			s.Outer = g
		}
	}
	return nil
}

func newGraph(m *Model, p *onnxpb.GraphProto, outer *Graph, holder *onnxpb.NodeProto) (*Graph, error) {
	if p == nil {
		return nil, fmt.Errorf("there is no graph")
	}
	g := &Graph{
		Model: m, Proto: p, Outer: outer, Holder: holder,
		producers:    make(map[string]production, len(p.Node)),
		consumers:    make(map[string][]Consumer, len(p.Node)),
		initializers: make(map[string]*onnxpb.TensorProto, len(p.Initializer)),
		sparse:       make(map[string]*onnxpb.SparseTensorProto, len(p.SparseInitializer)),
		inputs:       make(map[string]*onnxpb.ValueInfoProto, len(p.Input)),
		outputs:      make(map[string]*onnxpb.ValueInfoProto, len(p.Output)),
		constants:    make(map[string]*onnxpb.TensorProto),
		subgraphs:    make(map[*onnxpb.NodeProto][]*Graph),
		captures:     make(map[string]bool),
	}
	for _, step := range []func() error{g.indexValues, g.indexNodes, g.indexSubgraphs, g.indexConsumers, g.sort} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// indexValues enters inputs, outputs and initializers.
func (g *Graph) indexValues() error {
	for i, v := range g.Proto.Output {
		if v.GetName() == "" {
			return fmt.Errorf("graph output %d has no name", i)
		}
		g.outputs[v.GetName()] = v
	}
	if err := enter(g.inputs, g.Proto.Input, "graph input", (*onnxpb.ValueInfoProto).GetName); err != nil {
		return err
	}
	if err := enter(g.initializers, g.Proto.Initializer, "initializer", (*onnxpb.TensorProto).GetName); err != nil {
		return err
	}
	return enter(g.sparse, g.Proto.SparseInitializer, "sparse initializer", func(s *onnxpb.SparseTensorProto) string {
		return s.GetValues().GetName()
	})
}

// enter puts what has a name of its own into an index.
func enter[T any](index map[string]T, list []T, what string, name func(T) string) error {
	for i, x := range list {
		n := name(x)
		if n == "" {
			return fmt.Errorf("%s %d has no name", what, i)
		}
		if _, twice := index[n]; twice {
			return fmt.Errorf("%s %q is listed twice", what, n)
		}
		index[n] = x
	}
	return nil
}

// indexNodes enters the nodes' outputs, each of which may be made only once.
func (g *Graph) indexNodes() error {
	for i, n := range g.Proto.Node {
		if n.GetOpType() == "" {
			return fmt.Errorf("node %d (%q) has no operator", i, n.GetName())
		}
		for _, out := range n.Output {
			if out == "" {
				continue
			}
			if other := g.Producer(out); other != nil {
				return fmt.Errorf("%s: output %q is also made by %s", Label(n), out, Label(other))
			}
			if g.inputs[out] != nil || g.initializers[out] != nil || g.sparse[out] != nil {
				return fmt.Errorf("%s: output %q is also a graph input or initializer", Label(n), out)
			}
			g.producers[out] = production{n, i}
			if isConstant(n) {
				g.constants[out] = constantValue(n, out)
			}
		}
	}
	return nil
}

func (g *Graph) indexSubgraphs() error {
	for _, n := range g.Proto.Node {
		for _, a := range n.Attribute {
			for _, p := range attrGraphs(a) {
				s, err := newGraph(g.Model, p, g, n)
				if err != nil {
					return fmt.Errorf("%s: attribute %q: %w", Label(n), a.GetName(), err)
				}
				g.subgraphs[n] = append(g.subgraphs[n], s)
			}
		}
	}
	return nil
}

func attrGraphs(a *onnxpb.AttributeProto) []*onnxpb.GraphProto {
	if a.G != nil {
		return append([]*onnxpb.GraphProto{a.G}, a.Graphs...)
	}
	return a.Graphs
}

// indexConsumers enters who reads what, and sees to it that it exists.
func (g *Graph) indexConsumers() error {
	for _, n := range g.Proto.Node {
		for i, in := range n.Input {
			if in == "" {
				continue
			}
			if !g.finds(in) {
				return fmt.Errorf("%s: input %d, %q, is made by no node and is neither input nor initializer", Label(n), i, in)
			}
			g.consumers[in] = append(g.consumers[in], Consumer{n, i})
		}
		inner := make(map[string]bool)
		for _, s := range g.subgraphs[n] {
			maps.Copy(inner, s.captures)
		}
		for name := range inner {
			g.finds(name) // exists: the subgraph found it
			g.consumers[name] = append(g.consumers[name], Consumer{n, -1})
		}
	}
	for _, v := range g.Proto.Output {
		if !g.finds(v.GetName()) {
			return fmt.Errorf("graph output %q is made by no node and is neither input nor initializer", v.GetName())
		}
	}
	return nil
}

// finds reports whether a tensor exists, and notes it if it is of a graph around this one.
func (g *Graph) finds(name string) bool {
	if g.Defines(name) || g.captures[name] {
		return true
	}
	if g.scope(name) == nil {
		return false
	}
	g.captures[name] = true
	return true
}

// Defines reports whether a tensor is of this graph, not of one around it.
func (g *Graph) Defines(name string) bool {
	return g.Producer(name) != nil || g.inputs[name] != nil || g.initializers[name] != nil || g.sparse[name] != nil
}

// scope returns the graph that a name, as seen from g, belongs to; nil if none.
func (g *Graph) scope(name string) *Graph {
	for ; g != nil; g = g.Outer {
		if g.Defines(name) {
			return g
		}
	}
	return nil
}

// Producer returns the node of this graph that makes a tensor; nil for graph inputs, initializers
// and tensors of other graphs.
func (g *Graph) Producer(tensor string) *onnxpb.NodeProto { return g.producers[tensor].node }

// Consumers returns the readings of a tensor by nodes of this graph, in the file's order. That the
// graph may put it out is not among them: [Graph.IsOutput]. The slice belongs to the index.
func (g *Graph) Consumers(tensor string) []Consumer { return g.consumers[tensor] }

// OnlyReader returns the reading of a tensor by a node of this graph where there is no other and
// the tensor is no graph output.
func (g *Graph) OnlyReader(tensor string) (Consumer, bool) {
	c := g.consumers[tensor]
	if len(c) != 1 || c[0].Input < 0 || g.IsOutput(tensor) {
		return Consumer{}, false
	}
	return c[0], true
}

// Ancestors returns the nodes of this graph that tensors are computed from.
func (g *Graph) Ancestors(tensors ...string) map[*onnxpb.NodeProto]bool {
	nodes := map[*onnxpb.NodeProto]bool{}
	for todo := slices.Clone(tensors); len(todo) > 0; {
		n := g.Producer(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		if n != nil && !nodes[n] {
			nodes[n] = true
			todo = append(todo, n.Input...)
		}
	}
	return nodes
}

// Subgraphs returns the graphs held by a node, in the order of its attributes.
func (g *Graph) Subgraphs(n *onnxpb.NodeProto) []*Graph { return g.subgraphs[n] }

// Inputs returns the graph inputs proper, those without an initializer of the same name: old
// exporters list the weights as inputs too.
func (g *Graph) Inputs() []*onnxpb.ValueInfoProto {
	var in []*onnxpb.ValueInfoProto
	for _, v := range g.Proto.Input {
		if g.IsInput(v.GetName()) {
			in = append(in, v)
		}
	}
	return in
}

// Outputs returns the graph outputs.
func (g *Graph) Outputs() []*onnxpb.ValueInfoProto { return slices.Clone(g.Proto.Output) }

// IsInput reports whether a tensor is among [Graph.Inputs].
func (g *Graph) IsInput(name string) bool {
	return g.inputs[name] != nil && g.initializers[name] == nil && g.sparse[name] == nil
}

// IsOutput reports whether a tensor is a graph output.
func (g *Graph) IsOutput(name string) bool { return g.outputs[name] != nil }

// ValueInfo returns what the file says about a tensor's type: as graph input, output or
// intermediate value; nil if nothing.
func (g *Graph) ValueInfo(name string) *onnxpb.ValueInfoProto {
	if v := g.inputs[name]; v != nil {
		return v
	}
	if v := g.outputs[name]; v != nil {
		return v
	}
	for _, v := range g.Proto.ValueInfo {
		if v.GetName() == name {
			return v
		}
	}
	return nil
}

// Names returns all names of tensors in the model, but for those that functions have for
// themselves.
func (g *Graph) Names() map[string]bool {
	used := make(map[string]bool)
	m := g.Model.Proto
	for _, g := range contentsOf(&onnxpb.ModelProto{Graph: m.GetGraph(), TrainingInfo: m.GetTrainingInfo()}).graphs {
		for _, v := range slices.Concat(g.GetInput(), g.GetOutput(), g.GetValueInfo()) {
			used[v.GetName()] = true
		}
		for _, t := range g.GetInitializer() {
			used[t.GetName()] = true
		}
		for _, s := range g.GetSparseInitializer() {
			used[s.GetValues().GetName()] = true
		}
		for _, n := range g.GetNode() {
			for _, name := range slices.Concat(n.Input, n.Output) {
				used[name] = true
			}
		}
	}
	return used
}

// Fresh returns a tensor name that is used nowhere in the model: prefix itself or prefix with a
// number.
func (g *Graph) Fresh(prefix string) string { return g.Namer()(prefix) }

// Namer is Fresh for many names, each of which it gives once, as long as nobody else adds any.
func (g *Graph) Namer() func(prefix string) string {
	used := g.Names()
	return func(prefix string) string {
		name := prefix
		for i := 1; name == "" || used[name] || g.scope(name) != nil; i++ {
			name = fmt.Sprintf("%s_%d", prefix, i)
		}
		used[name] = true
		return name
	}
}

// AddInput adds a constant under a name that nothing has or reads yet, as [Graph.AddInitializer]
// does, and makes a node of this graph read it in the place of what it read there.
func (g *Graph) AddInput(n *onnxpb.NodeProto, input int, t *Tensor) error {
	if err := g.AddInitializer(t); err != nil {
		return err
	}
	if input < len(n.Input) {
		old, reading := n.Input[input], Consumer{n, input}
		g.consumers[old] = slices.DeleteFunc(slices.Clone(g.consumers[old]), func(c Consumer) bool { return c == reading })
	}
	SetInput(n, input, t.Name)
	g.consumers[t.Name] = append(g.consumers[t.Name], Consumer{n, input})
	return nil
}
