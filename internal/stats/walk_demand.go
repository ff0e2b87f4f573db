package stats

import (
	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A demand knows what tensors of a graph are wanted for: goals, and nodes that have to be run for
// them. Tensors that are kept are at hand, and what lies behind them is not wanted for their sake.
// Wants only become fewer, so that all of a walk takes as long as the graph is large.
type demand struct {
	graph *onnxio.Graph
	size  func(tensor string) int64
	wants map[string]int            // goals and reads of nodes that have to be run
	live  map[*onnxpb.NodeProto]int // outputs that are wanted and not kept, of nodes that have to be run
	kept  map[string]bool
	bytes int64 // of what is kept
}

func newDemand(g *onnxio.Graph, goals []string, size func(tensor string) int64) *demand {
	d := &demand{graph: g, size: size, wants: map[string]int{}, live: map[*onnxpb.NodeProto]int{}, kept: map[string]bool{}}
	for work := goals; len(work) > 0; {
		name := work[len(work)-1]
		work = work[:len(work)-1]
		if d.wants[name]++; d.wants[name] > 1 || name == "" {
			continue
		}
		if n := d.graph.Producer(name); n != nil {
			if d.live[n]++; d.live[n] == 1 {
				work = append(work, rewire.Reads(n)...)
			}
		}
	}
	return d
}

// keep has a tensor at hand from now on.
func (d *demand) keep(tensor string) {
	if d.kept[tensor] {
		return
	}
	d.kept[tensor] = true
	d.bytes += d.size(tensor)
	if d.wants[tensor] > 0 {
		d.release(d.done(tensor))
	}
}

// release takes wants back, one for each name, and all that they were the last reason for.
func (d *demand) release(work []string) {
	for len(work) > 0 {
		name := work[len(work)-1]
		work = work[:len(work)-1]
		if d.wants[name]--; d.wants[name] > 0 || name == "" {
			continue
		}
		if d.kept[name] {
			delete(d.kept, name)
			d.bytes -= d.size(name)
			continue
		}
		work = append(work, d.done(name)...)
	}
}

// done returns what the node that makes a tensor reads, if it needs not be run for another.
func (d *demand) done(tensor string) []string {
	n := d.graph.Producer(tensor)
	if n == nil {
		return nil
	}
	if d.live[n]--; d.live[n] > 0 {
		return nil
	}
	return rewire.Reads(n)
}
