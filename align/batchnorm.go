package align

import (
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// FoldBatchNorm returns a copy of the model in which every BatchNormalization
// that directly follows a Conv or Gemm is folded into it: W' = W·γ/√(σ²+ε) and
// b' = (b − μ)·γ/√(σ²+ε) + β. Only nodes for which want returns true are folded
// (nil: all). The copy computes the same function up to rounding. folded names
// the linear nodes that took a normalisation in.
func FoldBatchNorm(m *onnxio.Model, want func(linear *onnxpb.NodeProto) bool) (out *onnxio.Model, folded []string, err error) {
	out = m.Clone()
	g, err := out.Graph()
	if err != nil {
		return nil, nil, err
	}
	dead := map[*onnxpb.NodeProto]bool{}
	for _, bn := range g.Nodes {
		linear := foldable(g, bn)
		if linear == nil || (want != nil && !want(linear)) {
			continue
		}
		ok, err := fold(out, g, linear, bn)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			dead[bn] = true
			folded = append(folded, linear.GetName())
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

// constantThrough finds the constant behind Identity nodes.
func constantThrough(g *onnxio.Graph, name string) *onnxpb.TensorProto {
	for {
		if tp := g.Constant(name); tp != nil {
			return tp
		}
		n := g.Producer(name)
		if n == nil || n.GetOpType() != "Identity" || len(n.GetInput()) != 1 {
			return nil
		}
		name = n.GetInput()[0]
	}
}

func fold(m *onnxio.Model, g *onnxio.Graph, linear, bn *onnxpb.NodeProto) (bool, error) {
	load := func(name string) ([]float64, *onnxpb.TensorProto, error) {
		tp := constantThrough(g, name)
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
	// The weight keeps its name where this node alone reads it.
	if name := linear.GetInput()[1]; g.Constant(name) != nil && len(g.Consumers(name)) == 1 && !g.IsOutput(name) {
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
	linear.Output[0] = bn.GetOutput()[0]
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
