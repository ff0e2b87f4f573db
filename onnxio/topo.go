package onnxio

import (
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/graph/simple"
	"gonum.org/v1/gonum/graph/topo"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// sort fills g.Nodes, or names a node on a cycle.
func (g *Graph) sort() error {
	if sorted, err := g.inOrder(); err != nil {
		return err
	} else if sorted {
		g.Nodes = slices.Clone(g.Proto.Node)
		return nil
	}
	at := make(map[*onnxpb.NodeProto]int, len(g.Proto.Node))
	for i, n := range g.Proto.Node {
		at[n] = i
	}
	var edges [][2]int
	for name, readers := range g.consumers {
		if p, ok := g.producers[name]; ok {
			for _, c := range readers {
				edges = append(edges, [2]int{p.at, at[c.Node]})
			}
		}
	}
	d := simple.NewDirectedGraph()
	for i := range g.Proto.Node {
		d.AddNode(simple.Node(i))
	}
	for _, e := range edges {
		d.SetEdge(simple.Edge{F: simple.Node(e[0]), T: simple.Node(e[1])})
	}
	// A nil order is that of the ids, here the file's.
	order, err := topo.SortStabilized(d, nil)
	var cycles topo.Unorderable
	if errors.As(err, &cycles) {
		return fmt.Errorf("%s: is part of a cycle of %d nodes", Label(g.Proto.Node[cycles[0][0].ID()]), len(cycles[0]))
	}
	for _, n := range order {
		g.Nodes = append(g.Nodes, g.Proto.Node[n.ID()])
	}
	return nil
}

// inOrder reports whether no node of the file reads what a later one makes; that one reads what it
// makes itself is an error.
func (g *Graph) inOrder() (bool, error) {
	sorted := true
	reads := func(n *onnxpb.NodeProto, at int, name string) error {
		p, ok := g.producers[name]
		if ok && p.node == n {
			return fmt.Errorf("%s: reads its own output %q", Label(n), name)
		}
		sorted = sorted && (!ok || p.at < at)
		return nil
	}
	for i, n := range g.Proto.Node {
		for _, name := range n.Input {
			if err := reads(n, i, name); err != nil {
				return false, err
			}
		}
		for _, s := range g.subgraphs[n] {
			for name := range s.captures {
				if err := reads(n, i, name); err != nil {
					return false, err
				}
			}
		}
	}
	return sorted, nil
}
