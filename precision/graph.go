package precision

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// stored lists the constants of a graph that are worth storing with fewer bits: float32, of some
// size, and no outputs.
func stored(g *onnxio.Graph) (names []string) {
	worth := func(name string, t *onnxpb.TensorProto) {
		if onnxpb.TensorProto_DataType(t.GetDataType()) == onnxio.Float && onnxio.Elements(t) >= least && !g.IsOutput(name) {
			names = append(names, name)
		}
	}
	for _, t := range g.Proto.GetInitializer() {
		worth(t.GetName(), t)
	}
	for _, n := range g.Nodes {
		if onnxio.StandardOp(n) == "Constant" {
			if t := g.Constant(n.GetOutput()[0]); t != nil {
				worth(n.GetOutput()[0], t)
			}
		}
	}
	return names
}

// reaches reports whether some number of a tensor is larger than the largest of a type, or none.
func reaches(t *onnxio.Tensor, largest float64) bool {
	return slices.ContainsFunc(t.Float64(), func(x float64) bool { return !(math.Abs(x) <= largest) })
}

// drop removes initializers, and the inputs that old files list them as.
func drop(g *onnxio.Graph, names map[string]bool) {
	p := g.Proto
	stored := map[string]bool{}
	p.Initializer = slices.DeleteFunc(p.Initializer, func(t *onnxpb.TensorProto) bool {
		stored[t.GetName()] = true
		return names[t.GetName()]
	})
	p.Input = slices.DeleteFunc(p.Input, func(v *onnxpb.ValueInfoProto) bool { return names[v.GetName()] && stored[v.GetName()] })
}

// replace puts nodes before all others, in the place of the constants that they make, and nodes
// behind what makes a tensor.
func replace(g *onnxio.Graph, first []*onnxpb.NodeProto, behind map[string][]*onnxpb.NodeProto) {
	made := map[string]bool{}
	for _, n := range first {
		for _, out := range n.GetOutput() {
			made[out] = true
		}
	}
	p := g.Proto
	drop(g, made)
	all := slices.Clone(first)
	for _, in := range p.Input {
		all = append(all, behind[in.GetName()]...)
	}
	for _, n := range g.Nodes {
		if len(n.GetOutput()) == 1 && made[n.GetOutput()[0]] && !slices.Contains(first, n) {
			continue // the constant
		}
		all = append(all, n)
		for _, out := range n.GetOutput() {
			all = append(all, behind[out]...)
		}
	}
	p.Node = all
}
