package onnxio

import (
	"iter"
	"maps"
	"slices"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Either is the operator that stands for an If in a flat graph: its inputs are the condition, the
// outputs of the then branch and those of the else branch.
const (
	Either       = "Either"
	EitherDomain = "monge"
)

// A flattening remembers how a flat graph was made.
type flattening struct {
	graphs []*onnxpb.GraphProto // the top-level graph first
	known  map[string]bool      // initializers that they held
	inner  map[*onnxpb.NodeProto]bool
}

// FlatGraph is like [Model.Graph], but the branches of If nodes are part of the graph: their nodes
// stand in it one after the other, their initializers among its initializers, and an [Either] in
// the place of every If. Nodes, tensors and declarations are those of the model itself, not copies;
// [Graph.Commit] brings edits of the lists that hold them back into the model.
//
// Such a graph is a view to reason about and to edit by; no engine runs it. Bodies of Loop and Scan
// stay subgraphs. Where two graphs of the model use one name for two tensors, FlatGraph is Graph.
func (m *Model) FlatGraph() (*Graph, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	top := g.Proto
	if !slices.ContainsFunc(top.GetNode(), isIf) || !g.namesAreNew(map[string]bool{}) {
		return g, nil
	}
	f := &flattening{known: map[string]bool{}, inner: map[*onnxpb.NodeProto]bool{}}
	flat := &onnxpb.GraphProto{Name: top.Name, Input: slices.Clone(top.Input), Output: top.Output}
	f.add(flat, g)
	g, err = newGraph(m, flat, nil, nil)
	if err != nil {
		return nil, m.errorf("%w", err)
	}
	g.flat = f
	return g, nil
}

func isIf(n *onnxpb.NodeProto) bool { return StandardOp(n) == "If" }

// namesAreNew reports whether no two graphs, from g inwards, define the same tensor, nor one that
// is seen already.
func (g *Graph) namesAreNew(seen map[string]bool) bool {
	for _, names := range []iter.Seq[string]{maps.Keys(g.producers), maps.Keys(g.inputs), maps.Keys(g.initializers), maps.Keys(g.sparse)} {
		for name := range names {
			if seen[name] && g.inputs[name] == nil {
				return false
			}
			seen[name] = true
		}
	}
	for _, n := range g.Proto.Node {
		for _, s := range g.subgraphs[n] {
			if len(s.Proto.Input) > 0 && isIf(n) || !s.namesAreNew(seen) {
				return false
			}
		}
	}
	return true
}

// add appends a graph's parts, branches of its If nodes in their places.
func (f *flattening) add(flat *onnxpb.GraphProto, g *Graph) {
	p := g.Proto
	for _, t := range p.Initializer {
		f.known[t.GetName()] = true
	}
	f.graphs = append(f.graphs, p)
	flat.Initializer = append(flat.Initializer, p.Initializer...)
	flat.SparseInitializer = append(flat.SparseInitializer, p.SparseInitializer...)
	flat.ValueInfo = append(flat.ValueInfo, p.ValueInfo...)
	if g.Outer != nil {
		flat.ValueInfo = append(flat.ValueInfo, p.Output...)
	}
	for _, n := range g.Nodes {
		f.inner[n] = g.Outer != nil
		branches := g.subgraphs[n]
		if !isIf(n) || len(branches) != 2 {
			flat.Node = append(flat.Node, n)
			continue
		}
		op, domain := Either, EitherDomain
		either := &onnxpb.NodeProto{OpType: &op, Domain: &domain, Name: n.Name, Output: n.Output, Input: slices.Clone(n.Input)}
		if Attr(n, "else_branch").GetG() == branches[0].Proto {
			branches = []*Graph{branches[1], branches[0]}
		}
		for _, b := range branches {
			f.add(flat, b)
			for _, o := range b.Proto.Output {
				either.Input = append(either.Input, o.GetName())
			}
		}
		flat.Node = append(flat.Node, either)
	}
}

// InBranch reports whether a node of a flat graph stands in a branch of an If, and may never run.
func (g *Graph) InBranch(n *onnxpb.NodeProto) bool { return g.flat != nil && g.flat.inner[n] }

func setOf[T comparable](list []T) map[T]bool {
	set := make(map[T]bool, len(list))
	for _, x := range list {
		set[x] = true
	}
	return set
}

// Commit brings edits of a flat graph back into the model: changed and new initializers, removed
// nodes and declarations. Of any other graph nothing needs to be brought back.
func (g *Graph) Commit() {
	if g.flat == nil {
		return
	}
	now := map[string]*onnxpb.TensorProto{}
	var fresh []*onnxpb.TensorProto
	for _, t := range g.Proto.Initializer {
		now[t.GetName()] = t
		if !g.flat.known[t.GetName()] {
			fresh = append(fresh, t)
		}
	}
	nodes, values := setOf(g.Proto.Node), setOf(g.Proto.ValueInfo)
	for i, p := range g.flat.graphs {
		p.Initializer = slices.DeleteFunc(p.Initializer, func(t *onnxpb.TensorProto) bool { return now[t.GetName()] == nil })
		for k, t := range p.Initializer {
			p.Initializer[k] = now[t.GetName()]
		}
		p.Node = slices.DeleteFunc(slices.Clone(p.Node), func(n *onnxpb.NodeProto) bool { return !nodes[n] && !isIf(n) })
		p.ValueInfo = slices.DeleteFunc(slices.Clone(p.ValueInfo), func(v *onnxpb.ValueInfoProto) bool { return !values[v] })
		if i == 0 {
			p.Initializer = append(p.Initializer, fresh...)
			p.Input = g.Proto.Input
			continue
		}
		for _, o := range p.Output {
			if t := o.GetType().GetTensorType(); t != nil && !values[o] {
				t.Shape = nil
			}
		}
	}
	for _, t := range fresh {
		g.flat.known[t.GetName()] = true
	}
}
