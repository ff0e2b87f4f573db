package refit

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A layer is a linear operator that can be fitted.
type layer struct {
	node   *onnxpb.NodeProto
	weight string // name of the constant
	bias   string // name of the constant; "" where there is none and none can be added
	// adder is the node that holds the bias: the operator itself, or an Add of a
	// constant behind a MatMul.
	adder *onnxpb.NodeProto
	input string // the activation it reads
	// output is the activation that the fit aims at: after the bias.
	output string
	// axis is the channel axis of output.
	axis int
	// groups of a grouped Conv; 1 otherwise.
	groups int
	// scales: the layer scales and shifts every channel by itself; weight is its
	// scale.
	scales bool
	// add, if set, is the residual Add behind the operator, and other the
	// activation on its other side.
	add, other string
}

// layersOf lists the operators of a model that can be fitted, in topological
// order. Operators without a bias that can take one are given zeros, so that
// means can be matched.
func layersOf(g *onnxio.Graph, an *coupling.Analysis) ([]*layer, error) {
	var out []*layer
	for _, n := range slices.Clone(g.Nodes) {
		l, err := layerOf(g, an, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", onnxio.Label(n), err)
		}
		if l != nil {
			out = append(out, l)
		}
	}
	return out, nil
}

// layerOf is a node as a layer, or nil where it cannot be fitted.
func layerOf(g *onnxio.Graph, an *coupling.Analysis, n *onnxpb.NodeProto) (_ *layer, err error) {
	defer guard.Recover(&err)
	l := &layer{node: n, adder: n, groups: 1, axis: 1}
	in := n.GetInput()
	if n.GetDomain() != "" || len(in) < 2 {
		return nil, nil
	}
	if scaleOf(g, an, l) {
		return l, nil
	}
	l.bias, l.adder = "", n
	switch n.GetOpType() {
	case "Conv":
		l.groups = int(onnxio.AttrInt(n, "group", 1))
	case "Gemm":
		if onnxio.AttrInt(n, "transA", 0) != 0 {
			return nil, nil
		}
	case "MatMul":
		l.axis = len(an.Activations[n.GetOutput()[0]]) - 1
	default:
		return nil, nil
	}
	l.input, l.weight, l.output = in[0], in[1], n.GetOutput()[0]
	if !single(g, l.weight) || isConstant(an, l.input) || an.Weights[l.weight] == nil || l.axis < 1 {
		return nil, nil // shared weights have one value for several tasks
	}
	if n.GetOpType() == "MatMul" {
		if len(an.Weights[l.weight].Axes) != 2 {
			return nil, nil
		}
		l.biasAdd(g, an)
	} else if err := l.ownBias(g, an); err != nil {
		return nil, err
	}
	l.residual(g, an)
	return l, nil
}

// single reports whether a constant has exactly one reader, and is no output.
func single(g *onnxio.Graph, name string) bool {
	return g.Constant(name) != nil && len(g.Consumers(name)) == 1 && !g.IsOutput(name)
}

func isConstant(an *coupling.Analysis, name string) bool {
	_, ok := an.Roots[name]
	return ok
}

// biasAdd takes an Add of a constant vector behind a MatMul as its bias.
func (l *layer) biasAdd(g *onnxio.Graph, an *coupling.Analysis) {
	readers := g.Consumers(l.output)
	if len(readers) != 1 || readers[0].Input < 0 || g.IsOutput(l.output) || readers[0].Node.GetOpType() != "Add" {
		return
	}
	add := readers[0].Node
	other := add.GetInput()[1-readers[0].Input]
	w := an.Weights[other]
	axes := an.Activations[l.output]
	if w == nil || !single(g, other) || w.Len() != axes[l.axis].Size() || w.Axes[len(w.Axes)-1].Size() != w.Len() {
		return
	}
	l.bias, l.adder, l.output = other, add, add.GetOutput()[0]
}

// ownBias gives the operator a bias that nobody else reads.
func (l *layer) ownBias(g *onnxio.Graph, an *coupling.Analysis) error {
	w := an.Weights[l.weight]
	out := 0 // the axis of the weight on which the outputs stand
	if l.node.GetOpType() == "Gemm" && onnxio.AttrInt(l.node, "transB", 0) == 0 {
		out = 1
	}
	if out >= len(w.Axes) {
		return fmt.Errorf("weight %q has %d axes", l.weight, len(w.Axes))
	}
	n := w.Axes[out].Size()
	in := l.node.GetInput()
	if len(in) > 2 && in[2] != "" {
		tp := g.Constant(in[2])
		if single(g, in[2]) && len(tp.GetDims()) == 1 && tp.GetDims()[0] == int64(n) {
			l.bias = in[2]
			return nil
		}
		if tp == nil {
			return nil // computed at run time, or behind another node
		}
		t, err := g.Model.Tensor(tp)
		if err != nil {
			return err
		}
		v := t.Float64()
		if len(v) != n && len(v) != 1 {
			return nil
		}
		full := make([]float64, n)
		for i := range full {
			full[i] = v[i%len(v)]
		}
		return l.setBias(g, t.Type, full)
	}
	return l.setBias(g, w.Type, make([]float64, n))
}

func (l *layer) setBias(g *onnxio.Graph, typ onnxpb.TensorProto_DataType, v []float64) error {
	name := g.Fresh(l.weight + "_bias")
	if err := g.AddInitializer(onnxio.NewTensor(name, typ, []int{len(v)}, v)); err != nil {
		return err
	}
	for len(l.node.Input) < 3 {
		l.node.Input = append(l.node.Input, "")
	}
	l.node.Input[2] = name
	l.bias = name
	return g.Refresh()
}

// residual finds the live Add that the operator's output goes into, and nothing
// else.
func (l *layer) residual(g *onnxio.Graph, an *coupling.Analysis) {
	t := l.output
	readers := g.Consumers(t)
	if len(readers) != 1 || readers[0].Input < 0 || g.IsOutput(t) || readers[0].Node.GetOpType() != "Add" {
		return
	}
	add := readers[0].Node
	if len(add.GetInput()) != 2 {
		return
	}
	other := add.GetInput()[1-readers[0].Input]
	x, y := an.Activations[t], an.Activations[other]
	if isConstant(an, other) || other == t || len(x) != len(y) {
		return
	}
	for i := range x {
		if x[i].Size() != y[i].Size() {
			return
		}
	}
	l.add, l.other = add.GetOutput()[0], other
}

// ancestors is the set of nodes that a tensor is computed from.
func ancestors(g *onnxio.Graph, tensor string) map[*onnxpb.NodeProto]bool {
	out := map[*onnxpb.NodeProto]bool{}
	todo := []string{tensor}
	for len(todo) > 0 {
		n := g.Producer(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		if n == nil || out[n] {
			continue
		}
		out[n] = true
		todo = append(todo, n.GetInput()...)
	}
	return out
}
