package stats

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Extract returns the part of a model that computes the tensors to from the tensors from: a model
// with the inputs from, and those of m that are still needed, and the outputs to. Both name tensors
// of the main graph. Inputs and outputs have their element type where m says it, and no shape. What
// m says about tensors in between is left out, so that the part stays valid whatever becomes of
// their shapes. Payloads are shared with m.
func Extract(m *onnxio.Model, from, to []string) (*onnxio.Model, error) {
	inputs := make([]*onnxpb.ValueInfoProto, len(from))
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	for i, name := range from {
		inputs[i] = rewire.OutputInfo(name, rewire.ElemType(g, name))
	}
	return extract(m, inputs, to)
}

// extract is Extract with declared inputs.
func extract(m *onnxio.Model, from []*onnxpb.ValueInfoProto, to []string) (*onnxio.Model, error) {
	c := m.Clone()
	g, err := c.Graph()
	if err != nil {
		return nil, err
	}
	given := map[string]bool{}
	for _, v := range from {
		name := v.GetName()
		if !g.Defines(name) {
			return nil, fmt.Errorf("%s: no tensor %q in the main graph", m.Title(), name)
		}
		if given[name] {
			continue
		}
		given[name] = true
		if err := release(g, name); err != nil {
			return nil, err
		}
		c.Proto.Graph.Input = append(c.Proto.Graph.Input, v)
	}
	c.Proto.Graph.ValueInfo = nil
	c.Proto.Graph.Output = slices.DeleteFunc(c.Proto.Graph.Output, func(v *onnxpb.ValueInfoProto) bool {
		return !slices.Contains(to, v.GetName())
	})
	for i, v := range c.Proto.Graph.Output {
		c.Proto.Graph.Output[i] = rewire.OutputInfo(v.GetName(), onnxio.ElemType(v))
	}
	if c, err = rewire.Cut(c, to); err != nil {
		return nil, err
	}
	dropInputs(c, given)
	return c, nil
}

// release takes a name from what makes the tensor, for an input to have it.
func release(g *onnxio.Graph, name string) error {
	p := g.Proto
	p.Input = slices.DeleteFunc(p.Input, func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == name })
	p.Initializer = slices.DeleteFunc(p.Initializer, func(t *onnxpb.TensorProto) bool { return t.GetName() == name })
	p.SparseInitializer = slices.DeleteFunc(p.SparseInitializer, func(t *onnxpb.SparseTensorProto) bool {
		return t.GetValues().GetName() == name
	})
	if n := g.Producer(name); n != nil {
		// The node may be needed for its other outputs.
		n.Output[slices.Index(n.Output, name)] = g.Fresh(name + "_unused")
	}
	return nil
}

// dropInputs removes the inputs of the old model that nothing reads, and those that named an
// initializer now gone. Where that leaves none, the first is kept: onnxruntime takes no model
// without inputs.
func dropInputs(m *onnxio.Model, given map[string]bool) {
	g := m.Proto.GetGraph()
	var outputs []string
	for _, o := range g.Output {
		outputs = append(outputs, o.GetName())
	}
	needed := rewire.NeededBy(g, outputs)
	all := g.Input
	g.Input = slices.DeleteFunc(slices.Clone(all), func(v *onnxpb.ValueInfoProto) bool {
		return !given[v.GetName()] && !needed[v.GetName()]
	})
	if len(g.Input) == 0 && len(all) > 0 {
		g.Input = all[:1]
	}
}
