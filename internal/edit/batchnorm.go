package edit

import (
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// FoldBatchNorm returns a copy of the model in which every BatchNormalization
// that directly follows a Conv or Gemm is folded into it: W' = W·γ/√(σ²+ε) and
// b' = (b − μ)·γ/√(σ²+ε) + β. Only nodes for which want returns true are folded
// (nil: all). The copy computes the same function up to rounding. folded names
// the linear nodes that took a normalisation in.
func FoldBatchNorm(m *onnxio.Model, want func(linear *onnxpb.NodeProto) bool) (out *onnxio.Model, folded []string, err error) {
	defer guard.Recover(&err)
	out = m.Clone()
	g, err := out.Graph()
	if err != nil {
		return nil, nil, err
	}
	dead := map[*onnxpb.NodeProto]bool{}
	for _, alike := range foldings(g, want) {
		ok, err := fold(out, g, alike[0].linear, alike[0].bn)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			continue
		}
		for _, f := range alike {
			f.linear.Input = append(f.linear.Input[:1], alike[0].linear.Input[1:]...)
			f.linear.Output[0] = f.bn.GetOutput()[0]
			dead[f.bn] = true
			folded = append(folded, f.linear.GetName())
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
type folding struct{ linear, bn *onnxpb.NodeProto }

// foldings lists what can be folded, by weight. Nodes that share a weight are
// folded as one, if they are all followed by the same normalisation (a siamese
// network), else not: each would need a weight of its own.
func foldings(g *onnxio.Graph, want func(linear *onnxpb.NodeProto) bool) [][]folding {
	var weights []string
	by := map[string][]folding{}
	for _, bn := range g.Nodes {
		linear := foldable(g, bn)
		if linear == nil || want != nil && !want(linear) {
			continue
		}
		w := sourceOf(g, linear.GetInput()[1])
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

// sameFolding reports whether two nodes that share a weight compute the same of it,
// their normalisations included.
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
	return same(a.linear, b.linear) && same(a.bn, b.bn)
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

// foldable returns the linear node a BatchNormalization can be folded into.
func foldable(g *onnxio.Graph, bn *onnxpb.NodeProto) *onnxpb.NodeProto {
	if bn.GetOpType() != "BatchNormalization" || bn.GetDomain() != "" || onnxio.AttrInt(bn, "training_mode", 0) != 0 || len(bn.GetInput()) < 5 {
		return nil
	}
	for i, o := range bn.GetOutput() {
		if i > 0 && o != "" {
			return nil
		}
	}
	x := bn.GetInput()[0]
	n := g.Producer(x)
	if n == nil || g.IsOutput(x) || len(g.Consumers(x)) != 1 {
		return nil
	}
	if op := n.GetOpType(); op != "Conv" && op != "Gemm" || len(n.GetInput()) < 2 {
		return nil
	}
	return n
}

func fold(m *onnxio.Model, g *onnxio.Graph, linear, bn *onnxpb.NodeProto) (_ bool, err error) {
	defer guard.At(&err, func() string { return onnxio.Label(bn) })
	load := func(name string) ([]float64, *onnxpb.TensorProto, error) {
		tp := g.Constant(sourceOf(g, name))
		if tp == nil {
			return nil, nil, nil
		}
		t, err := m.Tensor(tp)
		if err != nil {
			return nil, nil, err
		}
		v := t.Float64()
		if slices.ContainsFunc(v, math.IsNaN) {
			return nil, nil, fmt.Errorf("weight %q holds a NaN", name)
		}
		return v, tp, nil
	}
	var stats [4][]float64
	for i := range stats {
		v, _, err := load(bn.GetInput()[i+1])
		if err != nil || v == nil {
			return false, err
		}
		stats[i] = v
	}
	w, wp, err := load(linear.GetInput()[1])
	if err != nil || w == nil {
		return false, err
	}
	dims := wp.GetDims()
	outAxis := 0
	alpha, beta := 1.0, 1.0
	if linear.GetOpType() == "Gemm" {
		if onnxio.AttrInt(linear, "transB", 0) == 0 {
			outAxis = 1
		}
		alpha, beta = float64(onnxio.AttrFloat(linear, "alpha", 1)), float64(onnxio.AttrFloat(linear, "beta", 1))
		if beta == 0 {
			return false, nil
		}
	}
	_ = alpha // W scales by γ/√(σ²+ε) whatever alpha is
	if outAxis >= len(dims) {
		return false, fmt.Errorf("%s: weight %q has %d axes", onnxio.Label(linear), linear.GetInput()[1], len(dims))
	}
	n := int(dims[outAxis])
	bias := make([]float64, n)
	if in := linear.GetInput(); len(in) > 2 && in[2] != "" {
		b, _, err := load(in[2])
		if err != nil || b == nil {
			return false, err
		}
		if len(b) != n && len(b) != 1 {
			return false, nil
		}
		for i := range bias {
			bias[i] = b[i%len(b)] * beta
		}
	}
	for _, s := range stats {
		if len(s) != n {
			return false, fmt.Errorf("%s: %d channels after %d", onnxio.Label(bn), len(s), n)
		}
	}
	eps := float64(onnxio.AttrFloat(bn, "epsilon", 1e-5))
	scale := make([]float64, n)
	for i := range scale {
		scale[i] = stats[0][i] / math.Sqrt(stats[3][i]+eps)
		bias[i] = ((bias[i]-stats[2][i])*scale[i] + stats[1][i]) / beta
	}
	inner := 1
	size := make([]int, len(dims))
	for i, d := range dims {
		size[i] = int(d)
		if i > outAxis {
			inner *= int(d)
		}
	}
	for i := range w {
		w[i] *= scale[(i/inner)%n]
	}
	typ := onnxpb.TensorProto_DataType(wp.GetDataType())
	// The weight keeps its name: all who read it are folded alike.
	if name := linear.GetInput()[1]; g.Constant(name) != nil && !g.IsOutput(name) {
		if err := g.SetConstant(onnxio.NewTensor(name, typ, size, w)); err != nil {
			return false, err
		}
	} else {
		name := g.Fresh(name + "_folded")
		if err := g.AddInitializer(onnxio.NewTensor(name, typ, size, w)); err != nil {
			return false, err
		}
		linear.Input[1] = name
	}
	name := g.Fresh(linear.GetInput()[1] + "_bias")
	if err := g.AddInitializer(onnxio.NewTensor(name, typ, []int{n}, bias)); err != nil {
		return false, err
	}
	for len(linear.Input) < 3 {
		linear.Input = append(linear.Input, "")
	}
	linear.Input[2] = name
	return true, nil
}

// dropUnused removes the constants that only the removed nodes read.
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
		next := map[string]bool{}
		for name := range names {
			if len(g.Consumers(name)) > 0 || g.IsOutput(name) {
				continue
			}
			g.Proto.Initializer = slices.DeleteFunc(g.Proto.Initializer, func(t *onnxpb.TensorProto) bool { return t.GetName() == name })
			g.Proto.Input = slices.DeleteFunc(g.Proto.Input, func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == name })
			if n := g.Producer(name); n != nil && len(n.GetOutput()) == 1 && (n.GetOpType() == "Constant" || n.GetOpType() == "Identity") {
				for _, in := range n.GetInput() {
					next[in] = true
				}
				g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(x *onnxpb.NodeProto) bool { return x == n })
			}
		}
		names = next
	}
	return g.Refresh()
}
