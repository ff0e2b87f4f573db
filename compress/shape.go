package compress

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A shape is what a model would be after some moves: how many channels its spaces have, which
// residual blocks are gone, and which of its operators are two, of what rank. The zero value is the
// model as it is.
type shape struct {
	widths coupling.Widths
	gone   removed
	blocks []*coupling.Block  // that are gone
	ranks  map[string]factors // by the operators' weights
}

// ofWidths is a shape with nothing but other widths.
func ofWidths(widths coupling.Widths) shape { return shape{widths: widths} }

// removed is what goes with some blocks.
type removed struct {
	nodes   map[*onnxpb.NodeProto]bool
	weights map[string]bool
}

// without says what goes with blocks of a model: their nodes, and weights that nobody else reads.
func without(a *coupling.Analysis, blocks []*coupling.Block) (r removed) {
	if len(blocks) == 0 {
		return r
	}
	r.nodes, r.weights = map[*onnxpb.NodeProto]bool{}, map[string]bool{}
	for _, b := range blocks {
		r.nodes[b.Add] = true
		for _, n := range b.Nodes {
			r.nodes[n] = true
		}
	}
	for _, b := range blocks {
		if second := repeated(a.Graph, b, r); second != nil {
			r.nodes[second] = true
		}
	}
	for name := range a.Weights {
		readers := a.Graph.Consumers(name)
		stays := func(c onnxio.Consumer) bool { return !r.nodes[c.Node] }
		if len(readers) > 0 && !a.Graph.IsOutput(name) && !slices.ContainsFunc(readers, stays) {
			r.weights[name] = true
		}
	}
	return r
}

// repeated is the Relu behind a block whose stream one has made, which goes with the block as edit.Drop
// does it; nil if there is none.
func repeated(g *onnxio.Graph, b *coupling.Block, r removed) *onnxpb.NodeProto {
	by, behind := g.Producer(b.Stream), g.Consumers(b.Add.GetOutput()[0])
	if by == nil || onnxio.StandardOp(by) != "Relu" || len(behind) != 1 || g.IsOutput(b.Stream) || g.IsOutput(b.Add.GetOutput()[0]) {
		return nil
	}
	stays := func(c onnxio.Consumer) bool { return !r.nodes[c.Node] || c.Input < 0 }
	if onnxio.StandardOp(behind[0].Node) != "Relu" || slices.ContainsFunc(g.Consumers(b.Stream), stays) {
		return nil
	}
	return behind[0].Node
}

// holds reports whether a space has gone: whatever makes or reads its channels has.
func (r removed) holds(s *coupling.Space) bool {
	return len(r.nodes) > 0 && !slices.ContainsFunc(s.Uses, func(u coupling.Use) bool { return !r.nodes[u.Node] })
}

// factors are those of a linear operator that becomes two: rank×inputs behind which stands
// outputs×rank, or a kernel's rows behind which stand its columns.
type factors struct {
	op      *coupling.LinearOp
	rank    int
	outputs *coupling.Axis // of the weight
	across  int            // columns of the kernel that the second one reads, see edit.Across
	weight  *coupling.Weight
	spread  *stats.Spread // of what it makes; it is not needed where the second reads columns
}

// factorsOf are those of an operator.
func factorsOf(a *coupling.Analysis, op *coupling.LinearOp, l *onnxio.Linear) factors {
	w := a.Weights[op.Weight]
	return factors{op: op, outputs: w.Axes[l.Out.Weight], across: edit.Across(l), weight: w}
}

// sides are the numbers of weights in the first operator and in the second for each channel between
// them.
func (f factors) sides(w coupling.Widths) (first, second int64) {
	second = int64(max(w.Size(f.outputs), 1) * f.across)
	return w.Elements(f.weight) / second, second
}

// full is the rank with which nothing is lost.
func (f factors) full(w coupling.Widths) int {
	first, second := f.sides(w)
	return int(min(first, second))
}

// large says why no rank is looked for, "" if one may be.
func (f factors) large() string {
	switch outputs := f.outputs.Size(); {
	case f.across == 1 && outputs > refit.MostFactored:
		return fmt.Sprintf("it has %d outputs, and %d are the most", outputs, refit.MostFactored)
	case f.across > 1 && f.full(coupling.Widths{}) > refit.MostFactored:
		return fmt.Sprintf("its kernel has a rank of %d, and %d is the most", f.full(coupling.Widths{}), refit.MostFactored)
	}
	return ""
}

// at is the same for another rank.
func (f factors) at(rank int) factors {
	f.rank = rank
	return f
}

// elements are those of both weights, or of the one where two would have no fewer.
func (f factors) elements(w coupling.Widths) int64 {
	first, second := f.sides(w)
	return min(w.Elements(f.weight), int64(f.rank)*(first+second))
}

// saves reports whether the two have fewer elements than the one.
func (f factors) saves(w coupling.Widths) bool { return f.elements(w) < w.Elements(f.weight) }

// rank is the number of channels between the two operators that one has become; 0 if it has not, as where
// that would save nothing.
func (s shape) rank(weight string) int {
	if f, ok := s.ranks[weight]; ok && f.saves(s.widths) {
		return f.rank
	}
	return 0
}

// timed is the shape as tables of latencies know it.
func (s shape) timed() latency.Shape {
	out := latency.Shape{Widths: s.widths, Gone: s.gone.nodes}
	for weight, f := range s.ranks {
		if out.Ranks == nil {
			out.Ranks = map[*onnxpb.NodeProto]int{}
		}
		out.Ranks[f.op.Node] = s.rank(weight)
	}
	return out
}

// macs are those of an operator.
func (s shape) macs(op *coupling.LinearOp) int64 {
	if s.gone.nodes[op.Node] {
		return 0
	}
	macs := op.MACs(s.widths)
	if f, ok := s.ranks[op.Weight]; ok && macs > 0 {
		macs = macs / s.widths.Elements(f.weight) * f.elements(s.widths)
	}
	return macs
}

// elements are those of a weight, or of both that stand in its place.
func (s shape) elements(wt *coupling.Weight) int64 {
	if s.gone.weights[wt.Name] {
		return 0
	}
	if f, ok := s.ranks[wt.Name]; ok && f.saves(s.widths) {
		return f.elements(s.widths) + int64(f.rank) // the first of the two may get a bias
	}
	return s.widths.Elements(wt)
}

// params is what a weight adds to the parameters.
func (s shape) params(a *coupling.Analysis, wt *coupling.Weight) int64 {
	if !onnxio.IsParameter(wt.Type) || !a.Stored(wt, s.widths) {
		return 0
	}
	return s.elements(wt)
}

// sizeOf is what a model of a shape costs.
func sizeOf(a *coupling.Analysis, s shape) Size {
	out := Size{Params: a.Params(s.widths)}
	for i := range a.Ops {
		op := &a.Ops[i]
		out.MACs += s.macs(op)
		out.Open = out.Open || op.Open && !s.gone.nodes[op.Node]
	}
	for name := range s.gone.weights {
		out.Params += s.params(a, a.Weights[name]) - ofWidths(s.widths).params(a, a.Weights[name])
	}
	for name, f := range s.ranks {
		if !s.gone.weights[name] {
			out.Params += s.params(a, f.weight) - ofWidths(s.widths).params(a, f.weight)
		}
	}
	return out
}
