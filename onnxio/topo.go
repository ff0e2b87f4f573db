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
	at := make(map[*onnxpb.NodeProto]int, len(g.Proto.Node))
	for i, n := range g.Proto.Node {
		at[n] = i
	}
	var edges [][2]int
	sorted := true // in the file
	for name, readers := range g.consumers {
		p := g.producers[name]
		if p == nil {
			continue
		}
		for _, c := range readers {
			if c.Node == p {
				return fmt.Errorf("%s: reads its own output %q", Label(p), name)
			}
			edges = append(edges, [2]int{at[p], at[c.Node]})
			sorted = sorted && at[p] < at[c.Node]
		}
	}
	if sorted {
		g.Nodes = slices.Clone(g.Proto.Node)
		return nil
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
