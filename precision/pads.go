package precision

import (
	"context"
	"maps"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// foldPads lets convolutions pad on their own (see [edit.FoldPad]), in place. onnxruntime does so
// with real numbers only: between integers a Pad stays, with a conversion before it and one behind,
// which took as long as the convolutions of a MobileNet. Pads that exporters compute when the model
// runs, though nothing of the inputs goes into them, are looked at in one run.
func foldPads(ctx context.Context, m *onnxio.Model, o Options) error {
	g, err := m.Graph()
	if err != nil {
		return err
	}
	pads := map[*onnxpb.NodeProto][]int{}
	computed := map[string]bool{}
	for _, n := range g.Proto.Node {
		if onnxio.StandardOp(n) != "Pad" || len(n.GetInput()) < 2 {
			continue
		}
		name := n.GetInput()[1]
		switch t := g.Constant(name); {
		case !zeroPad(m, g, n):
		case t != nil:
			if v, err := m.Tensor(t); err == nil {
				pads[n] = integers(v.I64)
			}
		case !fromInputs(g, name):
			pads[n], computed[name] = nil, true
		}
	}
	if len(computed) > 0 {
		o.Batch = 1
		err := dataset.Stream(ctx, m, o.Fit.Range(0, 1), slices.Sorted(maps.Keys(computed)), o.StreamOptions, func(_, _ int, values map[string]*engine.Value) error {
			for n, p := range pads {
				if p == nil {
					pads[n] = integers(values[n.GetInput()[1]].I64)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	left := map[string]bool{}
	for n, p := range pads {
		if edit.FoldPad(g, n, p) {
			for _, name := range n.GetInput()[1:] {
				left[name] = true
			}
		}
	}
	if err := g.Refresh(); err != nil {
		return err
	}
	return edit.DropUnread(g, left)
}

// zeroPad reports whether a Pad's value is zero.
func zeroPad(m *onnxio.Model, g *onnxio.Graph, n *onnxpb.NodeProto) bool {
	if in := n.GetInput(); len(in) > 2 && in[2] != "" {
		c := g.Constant(in[2])
		if c == nil {
			return false
		}
		t, err := m.Tensor(c)
		return err == nil && t.Len() == 1 && t.Float64()[0] == 0
	}
	return true
}

// fromInputs reports whether something of the model's inputs goes into a tensor.
func fromInputs(g *onnxio.Graph, name string) bool {
	if g.IsInput(name) {
		return true
	}
	for n := range g.Ancestors(name) {
		for _, in := range n.GetInput() {
			if g.IsInput(in) {
				return true
			}
		}
	}
	return false
}

func integers(x []int64) []int {
	out := make([]int, len(x))
	for i, v := range x {
		out[i] = int(v)
	}
	return out
}
