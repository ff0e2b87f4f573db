package diff

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/internal/screen"
)

// Rounding is the relative change up to which weights are equal but for rounding to single
// precision.
const Rounding = 1e-5

// leastCommon is the share of the nodes below which two models are no variants of one network.
const leastCommon = 0.5

// verdict says in one line what differs.
func (r *Report) verdict() string {
	if r.Identical {
		return "identical"
	}
	n := &r.Nodes
	if !r.Related {
		return fmt.Sprintf("different networks: %d of %s have a counterpart", n.paired, screen.Plural(n.most, "node"))
	}
	graph := r.sameEnds() && n.regrown && len(n.Removed)+len(n.Added) == 0
	parts := []string{"the same network"}
	exactly := graph && len(n.Changed)+r.Narrower+r.Wider == 0 && !r.reshaped()
	if exactly {
		parts[0] = "the same graph"
	}
	if r.Quantized > 0 {
		parts = append(parts, "quantised")
	}
	if r.Dequantized > 0 {
		parts = append(parts, "no longer quantised")
	}
	if r.Folded > 0 {
		parts = append(parts, screen.Plural(r.Folded, "BatchNormalization")+" folded")
	}
	if !graph {
		parts = append(parts, r.changes()...)
	}
	for _, w := range []struct {
		n    int
		what string
	}{{r.Narrower, "narrower"}, {r.Wider, "wider"}} {
		if w.n > 0 {
			parts = append(parts, fmt.Sprintf("%d of %s %s", w.n, screen.Plural(r.Layers, "layer"), w.what))
		}
	}
	if s := r.weightsText(); s != "" {
		parts = append(parts, s)
	}
	if r.renamed() {
		parts = append(parts, "other names")
	}
	if n.Reordered && graph {
		parts = append(parts, "nodes in another order")
	}
	if exactly && len(r.File)+len(r.Other) > 0 {
		parts = append(parts, "other metadata")
	}
	return strings.Join(parts, ", ")
}

// sameEnds reports whether the graphs have inputs and outputs of the same types; names may differ.
func (r *Report) sameEnds() bool {
	return !slices.ContainsFunc(slices.Concat(r.Inputs, r.Outputs), func(e End) bool { return !e.sameType() })
}

// reshaped reports whether a weight has another shape.
func (r *Report) reshaped() bool {
	return slices.ContainsFunc(r.Weights, func(w Weight) bool {
		return w.Before != nil && w.After != nil && !slices.Equal(w.Before.Dims, w.After.Dims)
	})
}

// renamed reports whether what is the same has another name. Weights that were made anew do not
// count.
func (r *Report) renamed() bool {
	remade := r.Quantized+r.Dequantized+r.Folded > 0
	return r.Nodes.Renamed+r.Nodes.Tensors > 0 && len(r.Nodes.Removed)+len(r.Nodes.Added) == 0 ||
		!remade && slices.ContainsFunc(r.Weights, func(w Weight) bool { return w.renamed() })
}

// changes says how the graph itself differs.
func (r *Report) changes() []string {
	var out []string
	changed := 0
	for _, n := range r.Nodes.Changed {
		if n.Rewired || slices.ContainsFunc(n.Changes, func(c Change) bool { return !c.Follows }) {
			changed++
		}
	}
	for _, x := range []struct {
		n    int
		what string
	}{{r.unexplained(r.Nodes.Removed), "removed"}, {r.unexplained(r.Nodes.Added), "added"}, {changed, "changed"}} {
		if x.n > 0 {
			out = append(out, screen.Plural(x.n, "node")+" "+x.what)
		}
	}
	if !r.sameEnds() {
		out = append(out, "other inputs or outputs")
	}
	return out
}

// Explains reports whether a node was removed or added since normalisations are folded or numbers
// quantised, which the verdict says.
func (r *Report) Explains(n Node) bool {
	return r.Folded > 0 && n.Op == "BatchNormalization" ||
		r.Quantized+r.Dequantized > 0 && (n.Op == "QuantizeLinear" || n.Op == "DequantizeLinear")
}

func (r *Report) unexplained(list []Node) int {
	n := 0
	for _, x := range list {
		if !r.Explains(x) {
			n++
		}
	}
	return n
}

// weightsText says how many weights differ, and by how much.
func (r *Report) weightsText() string {
	all, changed, rounded, most := 0, 0, 0, 0.0
	for _, w := range r.Weights {
		if w.Before == nil || w.After == nil || !w.Before.parameter {
			continue
		}
		all++
		switch {
		case w.Equal || w.Change != nil && *w.Change == 0:
		case w.Change == nil:
			changed++
			most = math.Inf(1)
		case *w.Change <= Rounding:
			rounded++
		default:
			changed++
			most = max(most, *w.Change)
		}
	}
	by := ""
	if !math.IsInf(most, 0) && !math.IsNaN(most) {
		by = fmt.Sprintf(" by up to %.3g%%", 100*most)
	}
	switch {
	case all == 0:
		return ""
	case changed == all:
		return "all weights changed" + by
	case changed > 0:
		return fmt.Sprintf("%d of %s changed%s", changed, screen.Plural(all, "weight"), by)
	case rounded > 0:
		return "weights equal but for rounding"
	}
	return "the same weights"
}
