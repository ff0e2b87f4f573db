package onnxio

import (
	"errors"
	"fmt"

	"gonum.org/v1/gonum/graph/simple"
	"gonum.org/v1/gonum/graph/topo"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// sort fills g.Nodes, or names a node on a cycle.
func (g *Graph) sort() error {
	if g.fileOrderHolds() {
		g.Nodes = append([]*onnxpb.NodeProto{}, g.Proto.Node...)
		return nil
	}
	d := simple.NewDirectedGraph()
	id := make(map[*onnxpb.NodeProto]int64, len(g.Proto.Node))
	for i, n := range g.Proto.Node {
		id[n] = int64(i)
		d.AddNode(simple.Node(i))
	}
	for name, readers := range g.consumers {
		p := g.producers[name]
		if p == nil {
			continue
		}
		for _, c := range readers {
			if c.Node == p {
				return fmt.Errorf("%s: reads its own output %q", Label(p), name)
			}
			d.SetEdge(simple.Edge{F: simple.Node(id[p]), T: simple.Node(id[c.Node])})
		}
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

// fileOrderHolds reports whether every node comes after those it reads from.
func (g *Graph) fileOrderHolds() bool {
	at := make(map[*onnxpb.NodeProto]int, len(g.Proto.Node))
	for i, n := range g.Proto.Node {
		at[n] = i
	}
	for name, readers := range g.consumers {
		p := g.producers[name]
		if p == nil {
			continue
		}
		for _, c := range readers {
			if at[c.Node] <= at[p] {
				return false
			}
		}
	}
	return true
}
