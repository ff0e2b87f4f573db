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

// visitTensors calls f for every tensor in the model, wherever it is stored:
// initializers, attributes and sparse tensors of the graph, of subgraphs, of
// functions and of training graphs. where names it for a message.
func visitTensors(m *onnxpb.ModelProto, f func(t *onnxpb.TensorProto, at place, where string) error) error {
	v := tensorVisitor(f)
	if err := v.graph(m.GetGraph()); err != nil {
		return err
	}
	for i, t := range m.GetTrainingInfo() {
		for _, g := range []*onnxpb.GraphProto{t.GetInitialization(), t.GetAlgorithm()} {
			if err := v.graph(g); err != nil {
				return fmt.Errorf("training info %d: %w", i, err)
			}
		}
	}
	for _, fn := range m.GetFunctions() {
		if err := v.nodes(fn.Node); err != nil {
			return fmt.Errorf("function %q: %w", fn.GetName(), err)
		}
		if err := v.attributes(fn.AttributeProto, otherPlace); err != nil {
			return fmt.Errorf("function %q: %w", fn.GetName(), err)
		}
	}
	return nil
}

type tensorVisitor func(t *onnxpb.TensorProto, at place, where string) error

func (v tensorVisitor) graph(g *onnxpb.GraphProto) error {
	for _, t := range g.GetInitializer() {
		if err := v(t, initializerPlace, fmt.Sprintf("initializer %q", t.GetName())); err != nil {
			return err
		}
	}
	for _, s := range g.GetSparseInitializer() {
		if err := v.sparse(s, fmt.Sprintf("sparse initializer %q", s.GetValues().GetName())); err != nil {
			return err
		}
	}
	return v.nodes(g.GetNode())
}

func (v tensorVisitor) nodes(nodes []*onnxpb.NodeProto) error {
	for _, n := range nodes {
		at := otherPlace
		if isConstant(n) {
			at = constantPlace
		}
		if err := v.attributes(n.Attribute, at); err != nil {
			return fmt.Errorf("%s: %w", Label(n), err)
		}
	}
	return nil
}

func (v tensorVisitor) attributes(attrs []*onnxpb.AttributeProto, at place) error {
	for _, a := range attrs {
		where := fmt.Sprintf("attribute %q", a.GetName())
		if a.T != nil {
			if err := v(a.T, at, where); err != nil {
				return err
			}
		}
		for _, t := range a.Tensors {
			if err := v(t, otherPlace, where); err != nil {
				return err
			}
		}
		if a.SparseTensor != nil {
			if err := v.sparse(a.SparseTensor, where); err != nil {
				return err
			}
		}
		for _, s := range a.SparseTensors {
			if err := v.sparse(s, where); err != nil {
				return err
			}
		}
		for _, g := range attrGraphs(a) {
			if err := v.graph(g); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
		}
	}
	return nil
}

func (v tensorVisitor) sparse(s *onnxpb.SparseTensorProto, where string) error {
	if s.Values != nil {
		if err := v(s.Values, otherPlace, where+" values"); err != nil {
			return err
		}
	}
	if s.Indices != nil {
		return v(s.Indices, otherPlace, where+" indices")
	}
	return nil
}

// visitNames enters every tensor name of the model's graphs into used.
func visitNames(m *onnxpb.ModelProto, used map[string]bool) {
	nameGraph(m.GetGraph(), used)
	for _, t := range m.GetTrainingInfo() {
		nameGraph(t.GetInitialization(), used)
		nameGraph(t.GetAlgorithm(), used)
	}
}

func nameGraph(g *onnxpb.GraphProto, used map[string]bool) {
	for _, values := range [][]*onnxpb.ValueInfoProto{g.GetInput(), g.GetOutput(), g.GetValueInfo()} {
		for _, v := range values {
			used[v.GetName()] = true
		}
	}
	for _, t := range g.GetInitializer() {
		used[t.GetName()] = true
	}
	for _, s := range g.GetSparseInitializer() {
		used[s.GetValues().GetName()] = true
	}
	for _, n := range g.GetNode() {
		for _, name := range n.Input {
			used[name] = true
		}
		for _, name := range n.Output {
			used[name] = true
		}
		for _, a := range n.Attribute {
			for _, s := range attrGraphs(a) {
				nameGraph(s, used)
			}
		}
	}
}
