package edit

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// FoldBatchNorm returns a copy of the model in which every BatchNormalization that directly follows
// a Conv or Gemm is folded into it: W' = W·γ/√(σ²+ε) and b' = (b − μ)·γ/√(σ²+ε) + β. Only nodes for
// which want returns true are folded (nil: all). The copy computes the same function up to
// rounding. folded names the linear nodes that took a normalisation in.
func FoldBatchNorm(m *onnxio.Model, want func(linear *onnxpb.NodeProto) bool) (out *onnxio.Model, folded []string, err error) {
	defer guard.Recover(&err)
	out = m.Clone()
	g, err := out.Graph()
	if err != nil {
		return nil, nil, err
	}
	dead, fresh := map[*onnxpb.NodeProto]bool{}, g.Namer()
	for _, alike := range foldings(g, want) {
		ok, err := fold(g, alike[0].linear, alike[0].bn, fresh)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			continue
		}
		for _, f := range alike {
			n := f.linear.Node
			n.Input = append(n.Input[:1], alike[0].linear.Node.Input[1:]...)
			n.Output[0] = f.bn.GetOutput()[0]
			dead[f.bn] = true
			folded = append(folded, n.GetName())
		}
	}
	if len(dead) == 0 {
		return out, nil, nil
	}
	g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool { return dead[n] })
	if err := dropUnused(g, dead); err != nil {
		return nil, nil, err
	}
	return out, folded, nil
}

// A folding is a normalisation and the operator before it that takes it in.
type folding struct {
	linear *onnxio.Linear
	bn     *onnxpb.NodeProto
}

// foldings lists what can be folded, by weight. Nodes that share a weight are folded as one, if
// they are all followed by the same normalisation (a siamese network), else not: each would need a
// weight of its own.
func foldings(g *onnxio.Graph, want func(linear *onnxpb.NodeProto) bool) [][]folding {
	var weights []string
	by := map[string][]folding{}
	for _, bn := range g.Nodes {
		linear := foldable(g, bn)
		if linear == nil || want != nil && !want(linear.Node) {
			continue
		}
		w := sourceOf(g, linear.Weight.Tensor())
		if by[w] == nil {
			weights = append(weights, w)
		}
		by[w] = append(by[w], folding{linear, bn})
	}
	var out [][]folding
	for _, w := range weights {
		alike := by[w]
		if len(alike) == readers(g, w) && !slices.ContainsFunc(alike, func(f folding) bool { return !sameFolding(g, f, alike[0]) }) {
			out = append(out, alike)
		}
	}
	return out
}

// sameFolding reports whether two nodes that share a weight compute the same of it, their
// normalisations included.
func sameFolding(g *onnxio.Graph, a, b folding) bool {
	same := func(x, y *onnxpb.NodeProto) bool {
		if len(x.GetInput()) != len(y.GetInput()) || x.GetOpType() != y.GetOpType() || len(x.GetAttribute()) != len(y.GetAttribute()) {
			return false
		}
		for i, in := range x.GetInput()[1:] {
			if sourceOf(g, in) != sourceOf(g, y.GetInput()[1+i]) {
				return false
			}
		}
		return !slices.ContainsFunc(x.GetAttribute(), func(a *onnxpb.AttributeProto) bool {
			return !proto.Equal(a, onnxio.Attr(y, a.GetName()))
		})
	}
	return same(a.linear.Node, b.linear.Node) && same(a.bn, b.bn)
}

// sourceOf is the tensor behind Identity nodes.
func sourceOf(g *onnxio.Graph, name string) string {
	for {
		n := g.Producer(name)
		if n == nil || n.GetOpType() != "Identity" || len(n.GetInput()) != 1 {
			return name
		}
		name = n.GetInput()[0]
	}
}

// readers counts the nodes that read a tensor, through Identity nodes too.
func readers(g *onnxio.Graph, name string) int {
	n := 0
	for _, c := range g.Consumers(name) {
		if c.Node.GetOpType() == "Identity" {
			n += readers(g, c.Node.GetOutput()[0])
			continue
		}
		n++
	}
	return n
}

// foldable returns the linear operator a BatchNormalization can be folded into.
func foldable(g *onnxio.Graph, bn *onnxpb.NodeProto) *onnxio.Linear {
	if bn.GetOpType() != "BatchNormalization" || bn.GetDomain() != "" || onnxio.AttrInt(bn, "training_mode", 0) != 0 || len(bn.GetInput()) < 5 {
		return nil
	}
	for i, o := range bn.GetOutput() {
		if i > 0 && o != "" {
			return nil
		}
	}
	x := bn.GetInput()[0]
	l, ok := g.Linear(g.Producer(x))
	if _, only := g.OnlyReader(x); !ok || !only || l.Bias.Node != l.Node || l.Out.Axis == -2 {
		return nil
	}
	if l.Kind != onnxio.Convolution && l.Kind != onnxio.Product {
		return nil
	}
	return l
}

// values reads a constant, behind Identity nodes; nil where there is none.
func values(g *onnxio.Graph, name string) (*onnxio.Tensor, []float64, error) {
	tp := g.Constant(sourceOf(g, name))
	if tp == nil {
		return nil, nil, nil
	}
	t, err := g.Model.Tensor(tp)
	if err != nil {
		return nil, nil, err
	}
	v := t.Float64()
	if firstNaN(v) >= 0 {
		return nil, nil, fmt.Errorf("weight %q holds a NaN", name)
	}
	return t, v, nil
}

// A normalisation makes (x − mean)·scale + shift of every channel.
type normalisation struct{ mean, scale, shift []float64 }

// normalisationOf reads a BatchNormalization of n channels; nil where what it needs is not
// constant.
func normalisationOf(g *onnxio.Graph, bn *onnxpb.NodeProto, n int) (*normalisation, error) {
	var inputs [4][]float64 // γ, β, μ, σ²
	for i := range inputs {
		_, v, err := values(g, bn.GetInput()[i+1])
		if err != nil || v == nil {
			return nil, err
		}
		if len(v) != n {
			return nil, fmt.Errorf("%d channels after %d", len(v), n)
		}
		inputs[i] = v
	}
	scale, variance := inputs[0], inputs[3]
	eps := float64(onnxio.AttrFloat(bn, "epsilon", 1e-5))
	for i := range scale {
		scale[i] /= math.Sqrt(variance[i] + eps)
	}
	return &normalisation{mean: inputs[2], scale: scale, shift: inputs[1]}, nil
}

// biasOf reads what a linear operator of n outputs adds; ok is false where that is not constant, or
// of another form.
func biasOf(g *onnxio.Graph, l *onnxio.Linear, n int) (bias []float64, ok bool, err error) {
	bias = make([]float64, n)
	name := l.Bias.Tensor()
	if name == "" {
		return bias, true, nil
	}
	_, v, err := values(g, name)
	if err != nil || len(v) != n && len(v) != 1 {
		return nil, false, err
	}
	for i := range bias {
		bias[i] = v[i%len(v)]
	}
	return bias, true, nil
}

// fold writes the weight and bias that take the normalisation in. ok is false where that cannot be
// done. fresh names what is new.
func fold(g *onnxio.Graph, l *onnxio.Linear, bn *onnxpb.NodeProto, fresh func(prefix string) string) (ok bool, err error) {
	defer guard.At(&err, func() string { return onnxio.Label(bn) })
	weight, w, err := values(g, l.Weight.Tensor())
	if err != nil || w == nil || l.Beta == 0 {
		return false, err
	}
	axis := l.Out.Weight
	if axis < 0 {
		return false, fmt.Errorf("%s: weight %q has %d axes", onnxio.Label(l.Node), weight.Name, len(weight.Dims))
	}
	n := weight.Dims[axis]
	bias, ok, err := biasOf(g, l, n)
	if err != nil || !ok {
		return false, err
	}
	norm, err := normalisationOf(g, bn, n)
	if err != nil || norm == nil {
		return false, err
	}
	for i := range bias {
		bias[i] = ((bias[i]*l.Beta-norm.mean[i])*norm.scale[i] + norm.shift[i]) / l.Beta
	}
	outputs := dense.AlongAxis(w, weight.Dims, axis)
	for i := range w {
		w[i] *= norm.scale[outputs.Position(i)] // whatever a Gemm's alpha is
	}
	return true, store(g, l, weight, w, bias, fresh)
}

// store gives a linear operator a new weight and bias. The weight keeps its name: all who read it
// are folded alike.
func store(g *onnxio.Graph, l *onnxio.Linear, old *onnxio.Tensor, w, bias []float64, fresh func(prefix string) string) (err error) {
	name := l.Weight.Tensor()
	if g.Constant(name) != nil && !g.IsOutput(name) {
		err = g.SetConstant(onnxio.NewTensor(name, old.Type, old.Dims, w))
	} else {
		name = fresh(name + "_folded")
		err = g.AddInitializer(onnxio.NewTensor(name, old.Type, old.Dims, w))
	}
	if err != nil {
		return err
	}
	added := fresh(name + "_bias")
	onnxio.SetInput(l.Node, l.Weight.Input, name)
	onnxio.SetInput(l.Node, l.Bias.Input, added)
	return g.AddInitializer(onnxio.NewTensor(added, old.Type, []int{len(bias)}, bias))
}

// dropUnused removes the constants that only the removed nodes read, and the nodes that only pass
// these on.
func dropUnused(g *onnxio.Graph, removed map[*onnxpb.NodeProto]bool) error {
	names := map[string]bool{}
	for n := range removed {
		for _, in := range n.GetInput()[1:] {
			names[in] = true
		}
	}
	for len(names) > 0 {
		if err := g.Refresh(); err != nil {
			return err
		}
		maps.DeleteFunc(names, func(name string, _ bool) bool { return len(g.Consumers(name)) > 0 || g.IsOutput(name) })
		dropConstants(g, names)
		before := map[string]bool{}
		g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool {
			unread := len(n.GetOutput()) == 1 && names[n.GetOutput()[0]] && (n.GetOpType() == "Constant" || n.GetOpType() == "Identity")
			for _, in := range n.GetInput() {
				before[in] = before[in] || unread
			}
			return unread
		})
		maps.DeleteFunc(before, func(_ string, unread bool) bool { return !unread })
		names = before
	}
	return g.Refresh()
}

// dropConstants removes stored constants, and what the graph says about them.
func dropConstants(g *onnxio.Graph, names map[string]bool) {
	g.Proto.Initializer = slices.DeleteFunc(g.Proto.Initializer, func(t *onnxpb.TensorProto) bool { return names[t.GetName()] })
	g.Proto.Input = slices.DeleteFunc(g.Proto.Input, func(v *onnxpb.ValueInfoProto) bool { return names[v.GetName()] })
}
