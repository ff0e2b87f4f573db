package compress

import (
	"maps"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A ledger knows which items of a cost depend on the width of which space, so that what a step
// saves is found without a look at the whole model.
type ledger struct {
	items map[*coupling.Space][]*item
}

// An item is a part of a cost, and the spaces whose widths decide how large it is.
type item struct {
	cost   func() float64
	spaces []*coupling.Space
}

// ledger lists what a budget counts, as far as it depends on some spaces, of the model of a shape
// that may change, but for its widths.
func (c *compression) ledger(a *coupling.Analysis, b budget, spaces []*coupling.Space, now *shape) *ledger {
	owner := map[*coupling.Axis]*coupling.Space{}
	for _, s := range spaces {
		for _, p := range s.Pieces {
			for _, atom := range p.Atoms() {
				owner[atom] = s
			}
		}
	}
	l := &ledger{map[*coupling.Space][]*item{}}
	enter := func(axes []*coupling.Axis, cost func() float64) {
		it := &item{cost: cost}
		for _, axis := range axes {
			for _, atom := range axis.Atoms() {
				if s := owner[atom]; s != nil && !slices.Contains(it.spaces, s) {
					it.spaces = append(it.spaces, s)
					l.items[s] = append(l.items[s], it)
				}
			}
		}
	}
	if b.unit == inMACs {
		for i := range a.Ops {
			enter(a.Ops[i].Axes, func() float64 { return float64(now.macs(&a.Ops[i])) })
		}
		return l
	}
	if b.unit == inLatency {
		p, weights := c.clock.predictor(c, a), map[*onnxpb.NodeProto]string{}
		for _, op := range a.Ops {
			weights[op.Node] = op.Weight
		}
		p.Each(func(n *onnxpb.NodeProto, axes []*coupling.Axis) {
			enter(axes, func() float64 {
				if now.gone.nodes[n] {
					return 0
				}
				return p.Node(n, now.widths, now.rank(weights[n]))
			})
		})
		return l
	}
	for _, name := range slices.Sorted(maps.Keys(a.Weights)) {
		wt := a.Weights[name]
		axes := wt.Axes
		if of := a.CopyOf(wt); of != nil {
			axes = slices.Concat(axes, of.Axes)
		}
		switch {
		case b.unit == inBytes:
			enter(axes, func() float64 { return float64(c.storedBytes(a, wt, *now)) })
		case onnxio.IsParameter(wt.Type):
			enter(axes, func() float64 { return float64(now.params(a, wt)) })
		}
	}
	return l
}

// change is by how much the cost grows where a space of k channels gets others.
func (l *ledger) change(w coupling.Widths, s *coupling.Space, k, to int) (grows float64) {
	for _, it := range l.items[s] {
		grows -= it.cost()
	}
	w.Set(s, to)
	for _, it := range l.items[s] {
		grows += it.cost()
	}
	w.Set(s, k)
	return grows
}

// beside calls do for the spaces whose changes cost something else once the width of one is another,
// itself among them, some more than once.
func (l *ledger) beside(s *coupling.Space, do func(*coupling.Space)) {
	do(s)
	for _, it := range l.items[s] {
		for _, other := range it.spaces {
			do(other)
		}
	}
}
