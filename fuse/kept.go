package fuse

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Kept weight is that of the model that the others were fused onto, since it could not be told
// which channels of the others correspond.
type Kept struct {
	Tensor string `json:"tensor"`
	Reason string `json:"reason"`
}

// unaligned returns why the channels along a weight's axes need not correspond to those of a part's
// weight, and the atoms, of the target, that this is about.
func (a *average) unaligned(w *coupling.Weight, p part) (reason string, atoms []*coupling.Axis) {
	note := func(atom *coupling.Axis, why string) {
		if why != "" {
			reason = cmp.Or(reason, why)
			atoms = append(atoms, atom)
		}
	}
	src := p.sources[w.Name]
	theirs := p.subject.Analysis.Weights[src.Name]
	for k, axis := range w.Axes {
		mine := axis.Atoms()
		for _, x := range mine {
			note(x, a.target.Analysis.Unaligned(x))
		}
		if theirs == nil || reason != "" || src.Axis(k) < 0 {
			continue
		}
		for _, x := range theirs.Axes[src.Axis(k)].Atoms() {
			note(mine[0], p.subject.Analysis.Unaligned(x))
		}
	}
	return reason, atoms
}

// keep finds the weights of parts that stay out of the sum, since an axis of theirs is not aligned
// and the weights do not show that it need not be.
func (a *average) keep() error {
	reasons := map[string]string{}
	for i := range a.parts {
		p := &a.parts[i]
		p.out, p.apart = map[string]bool{}, map[*coupling.Axis]bool{}
		for name, why := range p.missing {
			reasons[name] = cmp.Or(reasons[name], why)
		}
		if a.inPlace {
			continue
		}
		if err := a.compare(p, reasons); err != nil {
			return err
		}
		a.spread(p, reasons)
	}
	if err := a.bodies(reasons); err != nil {
		return err
	}
	for name, why := range reasons {
		a.kept = append(a.kept, Kept{name, why})
	}
	slices.SortFunc(a.kept, func(x, y Kept) int { return cmp.Compare(x.Tensor, y.Tensor) })
	return nil
}

// compare finds the weights of a part of which an axis is not aligned, by what is known of the
// graphs and by the weights themselves.
func (a *average) compare(p *part, reasons map[string]string) (err error) {
	alike := map[*coupling.Axis]bool{}
	for name, w := range a.target.Analysis.Weights {
		_, shared := p.sources[name]
		if _, given := a.target.Alone(name, a.whole); !shared || given != nil {
			continue // single models give channels along an axis of it
		}
		reason, atoms := a.unaligned(w, *p)
		for _, x := range atoms {
			if _, known := alike[x]; !known {
				if alike[x], err = a.alike(x, *p); err != nil {
					return err
				}
			}
			if !alike[x] {
				p.out[name], p.apart[x], reasons[name] = true, true, reason
			}
		}
	}
	return nil
}

// spread finds the spaces whose plan was made by nothing but weights that read channels which are
// not aligned: such a plan means nothing, and what the space runs along stays out as well.
func (a *average) spread(p *part, reasons map[string]string) {
	analysis := a.target.Analysis
	blind := func(u coupling.Use) bool { return !p.reads(analysis, u) }
	for more := a.byWeights && len(p.apart) > 0; more; {
		more = false
		for _, s := range analysis.Spaces {
			if s.Frozen || p.apart[s.Pieces[0]] || slices.ContainsFunc(s.Producers(), blind) {
				continue
			}
			more = true
			for _, x := range s.Pieces {
				p.apart[x.Canonical()] = true
			}
			for _, u := range s.Uses {
				if _, ok := p.sources[u.Tensor]; ok {
					p.out[u.Tensor] = true
					reasons[u.Tensor] = cmp.Or(reasons[u.Tensor], fmt.Sprintf("what %q is made of is not aligned", s.Name))
				}
			}
		}
	}
}

// reads reports whether a weight reads channels that are not aligned.
func (p *part) reads(a *coupling.Analysis, u coupling.Use) bool {
	for k, axis := range a.Weights[u.Tensor].Axes {
		if k != u.Axis && slices.ContainsFunc(axis.Atoms(), func(x *coupling.Axis) bool { return p.apart[x] }) {
			return true
		}
	}
	return false
}

// loose reports whether some axis of a weight of onto's is not aligned by what is known of the
// graph.
func (f *fusion) loose() bool {
	a := f.target().Analysis
	for _, w := range a.Weights {
		for _, axis := range w.Axes {
			if slices.ContainsFunc(axis.Atoms(), func(x *coupling.Axis) bool { return a.Unaligned(x) != "" }) {
				return true
			}
		}
	}
	return false
}

// alike reports whether the weights themselves show that the channels of an atom are in the same
// order in a part: those of a fine-tuned copy are. One weight that tells the channels apart is
// enough, for two orders never agree by chance. No channels at all have no order.
func (a *average) alike(x *coupling.Axis, p part) (bool, error) {
	if x.Size() < 1 {
		return true, nil
	}
	for name, w := range a.target.Analysis.Weights {
		if src, ok := p.sources[name]; !ok || src.Name == "" {
			continue
		}
		for k, axis := range w.Axes {
			if !axis.Holds(x) {
				continue
			}
			at := placesOf(axis, x)
			mine, err := a.out.Tensor(a.graph.Constant(name))
			if err != nil {
				return false, err
			}
			theirs, err := a.movedTensor(p, name)
			if err != nil {
				return false, err
			}
			if mine.Len() == theirs.Len() && inPlace(channelsOf(mine, k, at), channelsOf(theirs, k, at)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// testified bounds the channels, and the numbers of each, that two models are compared by.
const testified, perChannel = 128, 4096

// placesOf lists for every channel of an atom its positions along an axis.
func placesOf(axis, atom *coupling.Axis) [][]int {
	out := make([][]int, atom.Size())
	channels, _ := coupling.Widths(nil).Channels(axis, atom)
	for i, c := range channels {
		if c >= 0 {
			out[c] = append(out[c], i)
		}
	}
	return out
}

// channelsOf returns the numbers of the channels that stand in the given places along an axis of a
// tensor, or of some spread over all where there are many.
func channelsOf(t *onnxio.Tensor, axis int, places [][]int) [][]float64 {
	x := dense.AlongAxis(t.Float64(), t.Dims, axis)
	every, step := (len(places)+testified-1)/testified, 1+len(x.Data)/len(places)/perChannel
	var out [][]float64
	for c := 0; c < len(places); c += every {
		var v []float64
		seen := 0
		for o := range x.Outer {
			for _, p := range places[c] {
				for _, f := range x.Row(o, p) {
					if seen%step == 0 {
						v = append(v, f)
					}
					seen++
				}
			}
		}
		out = append(out, v)
	}
	return out
}

// inPlace reports whether the channels of two models correspond in the order they stand in: nearly
// each is nearest to the one in its own place, at less than half the squared distance that any two
// have in the mean. Of fewer than four channels the order could agree by chance, so that they must
// be nearly the same.
func inPlace(a, b [][]float64) bool {
	n := len(a)
	own, all, nearest := 0.0, 0.0, 0
	for i, x := range a {
		least, at := math.Inf(1), 0.0
		for j, y := range b {
			d := 0.0
			for k := range x {
				d += (x[k] - y[k]) * (x[k] - y[k])
			}
			if i == j {
				at = d
				continue
			}
			all += d / float64(n-1)
			least = min(least, d)
		}
		own += at
		if at < least {
			nearest++
		}
	}
	limit := 0.5
	if n < 4 {
		limit = 0.1
	}
	return n > 1 && own <= limit*all && float64(nearest) >= 0.95*float64(n)
}

// bodies enters the floating-point weights inside of nodes' bodies that are not part of the
// analysis, and of functions, in which the models differ.
func (a *average) bodies(reasons map[string]string) error {
	mine := inside(a.out, a.graph)
	for _, p := range a.parts {
		theirs := inside(p.subject.Model, p.subject.Graph)
		for i, b := range mine {
			if i < len(theirs) {
				x, err := a.out.Tensor(b.tensor)
				if err != nil {
					return err
				}
				y, err := p.subject.Model.Tensor(theirs[i].tensor)
				if err != nil {
					return err
				}
				if bytes.Equal(x.Proto().GetRawData(), y.Proto().GetRawData()) {
					continue
				}
			}
			reasons[b.name] = cmp.Or(reasons[b.name], b.where)
		}
	}
	return nil
}

// A body weight is stored in a node's body or a function.
type bodyWeight struct {
	name, where string
	tensor      *onnxpb.TensorProto
}

// inside lists the floating-point weights of more than one element that are stored in bodies and
// functions which a graph does not hold.
func inside(m *onnxio.Model, g *onnxio.Graph) (out []bodyWeight) {
	note := func(name, where string, t *onnxpb.TensorProto) {
		if where != "" && onnxio.IsFloat(onnxpb.TensorProto_DataType(t.GetDataType())) && onnxio.Elements(t) > 1 && g.Constant(name) == nil {
			out = append(out, bodyWeight{name, where, t})
		}
	}
	var walk func(where string, weights []*onnxpb.TensorProto, nodes []*onnxpb.NodeProto)
	walk = func(where string, weights []*onnxpb.TensorProto, nodes []*onnxpb.NodeProto) {
		for _, t := range weights {
			note(t.GetName(), where, t)
		}
		for _, n := range nodes {
			if n.GetOpType() == "Constant" {
				note(n.GetOutput()[0], where, onnxio.Attr(n, "value").GetT())
			}
			for _, at := range n.Attribute {
				for _, sub := range append([]*onnxpb.GraphProto{at.G}, at.Graphs...) {
					walk("it stands in the body of "+onnxio.Label(n), sub.GetInitializer(), sub.GetNode())
				}
			}
		}
	}
	walk("", nil, m.Proto.GetGraph().GetNode())
	for _, f := range m.Proto.GetFunctions() {
		walk(fmt.Sprintf("it stands in function %q", f.GetName()), nil, f.GetNode())
	}
	return out
}
