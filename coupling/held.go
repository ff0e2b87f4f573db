package coupling

import (
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// unruled says of operators without a rule what they are, where that helps.
var unruled = map[string]string{
	"MatMulInteger ConvInteger":                   "quantised by quantize_dynamic, but not with a Cast and a Mul by the scales behind it",
	"DynamicQuantizeMatMul MatMulIntegerToFloat":  "fused by onnxruntime's optimiser: what it was made of can be narrowed",
	"DynamicQuantizeLSTM":                         "its two directions have scales for each output: narrow it before it is quantised",
	"QAttention":                                  "attention quantised by quantize_dynamic: narrow it before it is quantised",
	"QLinearConv QLinearMatMul QGemm":             "its scales are not all constant, or not one for each channel",
	"MatMulNBits MatMulBnb4 GatherBlockQuantized": "its weights are packed, a few bits each: narrow the model before it is quantised",
}

// noRule is the reason of an operator without a rule.
func noRule(op string) string {
	for names, what := range unruled {
		if slices.Contains(strings.Fields(names), op) {
			return "has no rule (" + what + ")"
		}
	}
	return "has no rule"
}

// Unruled returns the largest weight that an operator without a rule reads, and the reason why it
// is not followed; "" for other nodes.
func (a *Analysis) Unruled(n *onnxpb.NodeProto) (weight, reason string) {
	most := 1
	for _, in := range n.GetInput() {
		w := a.Weights[in]
		if w == nil || !onnxio.IsParameter(w.Type) || w.Len() <= most {
			continue
		}
		for _, axis := range w.Axes {
			for _, x := range axis.Atoms() {
				if why, ok := strings.CutPrefix(x.atom.frozen, onnxio.Label(n)+" has no rule"); ok {
					weight, reason, most = in, "no rule"+why, w.Len()
				}
			}
		}
	}
	return weight, reason
}

// Held says why no axis of a weight can get fewer channels; "" if one can. Where axes have several
// reasons it is the one that says most: ends of the graph stay in every model.
func (a *Analysis) Held(w *Weight) string {
	best, rank := "", 4
	for _, axis := range w.Axes {
		for _, x := range axis.Atoms() {
			if x.size == 1 {
				continue
			}
			why := x.atom.frozen
			if s := a.spaceOf[x]; s != nil {
				if s.Slimmable() {
					return ""
				}
				why = s.Reason + s.Rigid
			}
			if r := telling(why); why != "" && r < rank {
				best, rank = why, r
			}
		}
	}
	return best
}

// telling ranks reasons, the one that says most first.
func telling(why string) int {
	starts := func(p string) bool { return strings.HasPrefix(why, p) }
	return 1 + slices.IndexFunc([]string{"graph output", "graph input", "private to"}, starts)
}
