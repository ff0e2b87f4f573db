package onnxio

import (
	"fmt"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// place says what role a tensor has in the file.
type place uint8

const (
	initializerPlace place = iota
	constantPlace          // value of a Constant node
	otherPlace             // any other attribute, and the parts of sparse tensors
)

// A where leads to something in a model, for messages; nil is the model itself.
type where struct {
	outer  *where
	format string // of arg
	arg    any
}

func (w *where) in(format string, arg any) *where { return &where{w, format, arg} }

// wrap names the place in an error.
func (w *where) wrap(err error) error {
	if w == nil || err == nil {
		return err
	}
	return w.outer.wrap(fmt.Errorf(w.format+": %w", w.arg, err))
}

// nodeLabel puts off to make a [Label].
type nodeLabel struct{ n *onnxpb.NodeProto }

func (l nodeLabel) String() string { return Label(l.n) }

// contents lists all graphs and all tensors of a model: the graph, its subgraphs, functions and
// training graphs; initializers, attributes and sparse tensors.
type contents struct {
	graphs  []graphAt
	tensors []tensorAt
}

type graphAt struct {
	*onnxpb.GraphProto
	*where
}

type tensorAt struct {
	*onnxpb.TensorProto
	place place
	*where
}

func contentsOf(m *onnxpb.ModelProto) *contents {
	c := new(contents)
	c.graph(m.GetGraph(), nil)
	for i, t := range m.GetTrainingInfo() {
		at := (*where)(nil).in("training info %d", i)
		c.graph(t.GetInitialization(), at)
		c.graph(t.GetAlgorithm(), at)
	}
	for _, fn := range m.GetFunctions() {
		at := (*where)(nil).in("function %q", fn.GetName())
		c.graph(&onnxpb.GraphProto{Node: fn.Node}, at)
		c.attributes(fn.AttributeProto, otherPlace, at)
	}
	return c
}

func (c *contents) graph(g *onnxpb.GraphProto, at *where) {
	c.graphs = append(c.graphs, graphAt{g, at})
	for _, t := range g.GetInitializer() {
		c.tensor(t, initializerPlace, at, "initializer %q", t.GetName())
	}
	for _, s := range g.GetSparseInitializer() {
		c.sparse(s, at, "sparse initializer %q", s.GetValues().GetName())
	}
	for _, n := range g.GetNode() {
		role := otherPlace
		if isConstant(n) {
			role = constantPlace
		}
		c.attributes(n.Attribute, role, at.in("%s", nodeLabel{n}))
	}
}

func (c *contents) attributes(attrs []*onnxpb.AttributeProto, role place, at *where) {
	const format = "attribute %q"
	for _, a := range attrs {
		name := a.GetName()
		c.tensor(a.T, role, at, format, name)
		for _, t := range a.Tensors {
			c.tensor(t, otherPlace, at, format, name)
		}
		c.sparse(a.SparseTensor, at, format, name)
		for _, s := range a.SparseTensors {
			c.sparse(s, at, format, name)
		}
		for _, g := range attrGraphs(a) {
			c.graph(g, at.in(format, name))
		}
	}
}

func (c *contents) sparse(s *onnxpb.SparseTensorProto, at *where, format, name string) {
	c.tensor(s.GetValues(), otherPlace, at, format+" values", name)
	c.tensor(s.GetIndices(), otherPlace, at, format+" indices", name)
}

func (c *contents) tensor(t *onnxpb.TensorProto, role place, at *where, format, name string) {
	if t != nil {
		c.tensors = append(c.tensors, tensorAt{t, role, at.in(format, name)})
	}
}
