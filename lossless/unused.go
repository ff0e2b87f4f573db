package lossless

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// dropUnused removes nodes of the standard operator set that no output depends on, Constant nodes
// among them, and initializers that nobody reads, in the main graph and in subgraphs. A model with
// training information keeps all: its training graphs read the main graph's initializers by name.
func (r *Report) dropUnused(m *onnxio.Model) error {
	if len(m.Proto.GetTrainingInfo()) > 0 {
		return nil
	}
	for {
		g, err := m.Graph()
		if err != nil {
			return err
		}
		if !r.dropFrom(g) {
			return nil
		}
	}
}

// dropFrom makes one sweep and reports whether it removed anything; what fed the removed nodes
// falls in the next.
func (r *Report) dropFrom(g *onnxio.Graph) bool {
	before := len(r.UnusedNodes) + len(r.UnusedInitializers)
	for _, n := range g.Nodes {
		for _, sub := range g.Subgraphs(n) {
			r.dropFrom(sub)
		}
	}
	named := map[string]bool{} // by quantization annotations
	for _, q := range g.Proto.GetQuantizationAnnotation() {
		named[q.GetTensorName()] = true
		for _, e := range q.GetQuantParameterTensorNames() {
			named[e.GetValue()] = true
		}
	}
	used := func(name string) bool {
		return len(g.Consumers(name)) > 0 || g.IsOutput(name) || named[name]
	}
	gone := map[string]bool{}
	g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool {
		if onnxio.StandardOp(n) == "" || slices.ContainsFunc(n.GetOutput(), used) {
			return false
		}
		for _, out := range n.GetOutput() {
			gone[out] = true
		}
		r.UnusedNodes = append(r.UnusedNodes, labelOf(n))
		return true
	})
	unusedName := func(name string) bool {
		if used(name) {
			return false
		}
		gone[name] = true
		r.UnusedInitializers = append(r.UnusedInitializers, name)
		return true
	}
	g.Proto.Initializer = slices.DeleteFunc(g.Proto.Initializer, func(t *onnxpb.TensorProto) bool { return unusedName(t.GetName()) })
	g.Proto.SparseInitializer = slices.DeleteFunc(g.Proto.SparseInitializer, func(t *onnxpb.SparseTensorProto) bool {
		return unusedName(t.GetValues().GetName())
	})
	isGone := func(v *onnxpb.ValueInfoProto) bool { return gone[v.GetName()] }
	g.Proto.Input = slices.DeleteFunc(g.Proto.Input, isGone)
	g.Proto.ValueInfo = slices.DeleteFunc(g.Proto.ValueInfo, isGone)
	return len(r.UnusedNodes)+len(r.UnusedInitializers) > before
}

func labelOf(n *onnxpb.NodeProto) string {
	if n.GetName() != "" {
		return n.GetName()
	}
	return onnxio.Label(n)
}

// flush replaces subnormal numbers by zero in weights. Numbers are subnormal here if they are in
// the arithmetic that reads them: float32 and bfloat16 below 2⁻¹²⁶, double below 2⁻¹⁰²². float16 is
// computed in float32, where its subnormals are normal numbers, and is left alone. So is a constant
// that some operator could divide by, compare with or take the logarithm of.
func (r *Report) flush(m *onnxio.Model) error {
	g, err := m.Graph()
	if err != nil {
		return err
	}
	return r.flushGraph(g)
}

func (r *Report) flushGraph(g *onnxio.Graph) error {
	var names []string
	for _, t := range g.Proto.GetInitializer() {
		names = append(names, t.GetName())
	}
	for _, n := range g.Nodes {
		names = append(names, n.GetOutput()...) // those that are constant
		for _, sub := range g.Subgraphs(n) {
			if err := r.flushGraph(sub); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if err := r.flushConstant(g, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) flushConstant(g *onnxio.Graph, name string) error {
	tp := g.Constant(name)
	if typ := onnxpb.TensorProto_DataType(tp.GetDataType()); !onnxio.IsFloat(typ) || typ == onnxio.Float16 {
		return nil
	}
	t, err := g.Model.Tensor(tp)
	if err != nil {
		return err
	}
	n := clearWhere(t.F32, func(x float32) bool { return x != 0 && math.Float32bits(x)&0x7F800000 == 0 }) +
		clearWhere(t.F64, func(x float64) bool { return x != 0 && math.Float64bits(x)&0x7FF0000000000000 == 0 })
	if n == 0 || !flushable(g, name, t.Len()) {
		return nil
	}
	t.Name = name
	if err := g.SetConstant(t); err != nil {
		return err
	}
	r.Flushed = append(r.Flushed, Flushed{name, n})
	return nil
}

// clearWhere sets to zero what f holds of, and counts it.
func clearWhere[T float32 | float64](v []T, f func(T) bool) (n int) {
	for i, x := range v {
		if f(x) {
			v[i] = 0
			n++
		}
	}
	return n
}

// flushable reports whether all readers of a constant of n elements multiply with it or add it, so
// that a zero in place of a subnormal number makes no difference that float32 could show.
func flushable(g *onnxio.Graph, name string, n int) bool {
	return !g.IsOutput(name) && !slices.ContainsFunc(g.Consumers(name), func(c onnxio.Consumer) bool { return !harmless(g, c, name, n) })
}

// harmless is flushable for one reader.
func harmless(g *onnxio.Graph, c onnxio.Consumer, name string, n int) bool {
	if c.Input < 0 {
		return !slices.ContainsFunc(g.Subgraphs(c.Node), func(sub *onnxio.Graph) bool { return !flushable(sub, name, n) })
	}
	if onnxio.LinearKindOf(c.Node) != onnxio.NotLinear {
		return true
	}
	switch c.Node.GetOpType() {
	case "LayerNormalization", "InstanceNormalization", "GroupNormalization", "PRelu":
		return c.Input > 0
	case "BatchNormalization":
		return c.Input > 0 && (c.Input != 4 || onnxio.AttrFloat(c.Node, "epsilon", 1e-5) >= 1e-12)
	case "Add", "Mul": // a vector is a weight, a single number may be an ε
		return n != 1
	}
	return onnxio.FactsOf(c.Node).Has(onnxio.Rearranges) && flushable(g, c.Node.GetOutput()[0], n)
}
