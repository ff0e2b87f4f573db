package teach

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A prefix keeps what the first nodes of a model make of a judge's inputs: models that differ from it
// behind these alone are run from there on.
type prefix struct {
	flow  *stats.Flow
	of    *edit.Subject
	graph *onnxio.Graph
	room  int64 // bytes of what is kept
}

// Reuse makes it cheaper to judge models that are mostly a given one: what comes before the first node
// that differs is computed once for those that are judged one after another. What a Divergence tells
// stays the same, up to the order of additions. Close frees what it takes.
func (j *Judge) Reuse(s *edit.Subject) error {
	g, err := s.Model.Graph()
	if err != nil {
		return err
	}
	exact, err := rewire.WithoutBFloat16(s.Model)
	if err == nil {
		exact, err = rewire.Widen(exact, onnxpb.TensorProto_FLOAT16)
	}
	if err != nil || exact != s.Model {
		return err // a flow computes in float32
	}
	flow, err := stats.NewFlow(s.Model, j.data, dataset.StreamOptions{Batch: j.o.batch(), Threads: j.o.Threads})
	if err == nil && flow.Samples() == j.data.Len() { // of a fixed batch the last may be cut
		j.prefix = &prefix{flow: flow, of: s, graph: g, room: 4 * int64(j.room)}
	}
	return nil // what cannot be run in parts is run whole
}

// Close forgets what Reuse keeps.
func (j *Judge) Close() error {
	if j.prefix == nil {
		return nil
	}
	flow := j.prefix.flow
	j.prefix = nil
	return flow.Close()
}

// compute evaluates tensors of a model.
func (p *prefix) compute(ctx context.Context, m *onnxio.Model, names []string) error {
	g, err := m.Graph()
	if err != nil {
		return err
	}
	frontier := p.frontier(g, names)
	bytes := int64(0)
	for _, name := range frontier {
		bytes += stats.SizeOf(p.of.Analysis, name) * int64(p.flow.Samples())
	}
	if bytes > p.room {
		frontier = nil
	}
	if err := p.flow.SetModel(p.of.Model); err != nil {
		return err
	}
	if len(frontier) > 0 {
		if err := p.flow.Compute(ctx, frontier...); err != nil {
			return err
		}
	}
	for _, name := range p.flow.Keep() {
		if !slices.Contains(frontier, name) {
			if err := p.flow.Drop(name); err != nil {
				return err
			}
		}
	}
	if err := p.flow.SetModel(m); err != nil {
		return err
	}
	return p.flow.Compute(ctx, names...)
}

// stream hands over tensors that have been computed, the k-th ones batch by batch.
func (p *prefix) stream(names []string, do func(k int, v *engine.Value) error) error {
	for b := range p.flow.Batches() {
		values, err := p.flow.Batch(b, names...)
		if err != nil {
			return err
		}
		for k, name := range names {
			if err := do(k, values[name]); err != nil {
				return err
			}
		}
	}
	return p.flow.Drop(names...)
}

// frontier lists the tensors of a model that are what they are in the prefix's, and that others
// which are not, or the given ones, are made of.
func (p *prefix) frontier(g *onnxio.Graph, names []string) (frontier []string) {
	same := map[string]bool{"": true}
	known := func(name string) bool {
		if _, seen := same[name]; !seen {
			same[name] = g.IsInput(name) && p.graph.IsInput(name) || onnxio.SameTensor(g.Constant(name), p.graph.Constant(name))
		}
		return same[name]
	}
	keep := func(name string) {
		if name != "" && g.Producer(name) != nil && g.Constant(name) == nil && !slices.Contains(frontier, name) && !slices.Contains(names, name) {
			frontier = append(frontier, name)
		}
	}
	for _, n := range g.Nodes {
		unchanged := p.unchanged(n)
		for _, name := range rewire.Reads(n) {
			unchanged = known(name) && unchanged
		}
		for _, out := range n.GetOutput() {
			same[out] = unchanged || out == ""
		}
		if unchanged {
			continue
		}
		for _, name := range rewire.Reads(n) {
			if same[name] {
				keep(name)
			}
		}
	}
	return frontier
}

// unchanged reports whether the prefix's model has the same node.
func (p *prefix) unchanged(n *onnxpb.NodeProto) bool {
	if len(n.GetOutput()) == 0 {
		return false
	}
	was := p.graph.Producer(n.GetOutput()[0])
	return was != nil && was.GetOpType() == n.GetOpType() && was.GetDomain() == n.GetDomain() &&
		slices.Equal(was.GetInput(), n.GetInput()) && slices.Equal(was.GetOutput(), n.GetOutput()) &&
		slices.EqualFunc(was.GetAttribute(), n.GetAttribute(), func(a, b *onnxpb.AttributeProto) bool { return proto.Equal(a, b) })
}
