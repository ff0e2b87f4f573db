package refit

import (
	"fmt"
	"slices"
	"sync"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A layer is a linear operator that can be fitted, or one that scales and shifts every channel by
// itself: that has the kind NotLinear, and its weight is the scale. The fit aims at its output
// after the bias. Its weight, and its bias where it has one, are constants that nobody else reads.
type layer struct {
	*onnxio.Linear
	axis int // the channel axis of the output
	// add, if set, is the residual Add behind the operator, and other the activation on its other
	// side.
	add, other string
}

// made lists the tensors that a layer makes: before and after its bias, and the sum that it enters.
func (l *layer) made() []string {
	out := []string{l.Node.GetOutput()[0], l.Out.Tensor}
	if l.add != "" {
		out = append(out, l.add)
	}
	return out
}

// layersOf lists the operators of a model that can be fitted, in topological order. Operators
// without a bias that can take one are given zeros, so that means can be matched.
func layersOf(g *onnxio.Graph, an *coupling.Analysis) ([]*layer, error) {
	var out []*layer
	fresh := sync.OnceValue(g.Namer)
	for _, n := range g.Nodes {
		l, err := layerOf(g, an, n, func(prefix string) string { return fresh()(prefix) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", onnxio.Label(n), err)
		}
		if l != nil {
			out = append(out, l)
		}
	}
	return out, nil
}

// layerOf is a node as a layer, or nil where it cannot be fitted. fresh names biases.
func layerOf(g *onnxio.Graph, an *coupling.Analysis, n *onnxpb.NodeProto, fresh func(prefix string) string) (_ *layer, err error) {
	defer guard.Recover(&err)
	if l := scaleOf(g, an, n); l != nil {
		return l, nil
	}
	linear, ok := g.Linear(n)
	if !ok {
		return nil, nil
	}
	l := fittable(g, an, linear)
	if l == nil {
		return nil, nil
	}
	w := an.Weights[linear.Weight.Name]
	if l.Bias.Node == n {
		if err := l.ownBias(g, w, fresh); err != nil {
			return nil, err
		}
	} else if b := an.Weights[l.Bias.Tensor()]; b == nil || !own(g, b.Name) || b.Len() != w.Axes[l.Out.Weight].Size() {
		l.Bias, l.Out.Tensor = onnxio.Param{}, n.GetOutput()[0]
	}
	l.residual(g, an)
	return l, nil
}

// fittable is a linear operator as a layer, as far as its weight goes, or nil where it cannot be
// fitted.
func fittable(g *onnxio.Graph, an *coupling.Analysis, linear *onnxio.Linear) *layer {
	axis, ok := edit.Writable(g, an, linear)
	if !ok {
		return nil
	}
	return &layer{Linear: linear, axis: axis}
}

// own reports whether a constant has exactly one reader, and is no output.
func own(g *onnxio.Graph, name string) bool {
	_, ok := g.OnlyReader(name)
	return ok && g.Constant(name) != nil
}

func isConstant(an *coupling.Analysis, name string) bool {
	_, ok := an.Roots[name]
	return ok
}

// ownBias gives the operator a bias that nobody else reads. It stays as it is where it is computed
// at run time, or behind another node.
func (l *layer) ownBias(g *onnxio.Graph, w *coupling.Weight, fresh func(prefix string) string) error {
	n := w.Axes[l.Out.Weight].Size()
	if l.Bias.Tensor() == "" {
		return l.setBias(g, w.Type, make([]float64, n), fresh)
	}
	if !l.Bias.Direct() {
		l.Bias.Name = ""
		return nil
	}
	tp := g.Constant(l.Bias.Name)
	if own(g, l.Bias.Name) && len(tp.GetDims()) == 1 && tp.GetDims()[0] == int64(n) {
		return nil
	}
	t, err := g.Model.Tensor(tp)
	if err != nil {
		return err
	}
	v := t.Float64()
	if len(v) != n && len(v) != 1 {
		l.Bias.Name = ""
		return nil
	}
	return l.setBias(g, t.Type, slices.Repeat(v, n/len(v)), fresh)
}

func (l *layer) setBias(g *onnxio.Graph, typ onnxpb.TensorProto_DataType, v []float64, fresh func(prefix string) string) error {
	l.Bias.Name = fresh(l.Weight.Name + "_bias")
	return g.AddInput(l.Bias.Node, l.Bias.Input, onnxio.NewTensor(l.Bias.Name, typ, []int{len(v)}, v))
}

// residual finds the live Add that the operator's output goes into, and nothing else.
func (l *layer) residual(g *onnxio.Graph, an *coupling.Analysis) {
	add, ok := g.AddBehind(l.Out.Tensor)
	other := add.Tensor()
	if !ok || isConstant(an, other) || other == l.Out.Tensor {
		return
	}
	sameSize := func(a, b *coupling.Axis) bool { return a.Size() == b.Size() }
	if slices.EqualFunc(an.Activations[l.Out.Tensor], an.Activations[other], sameSize) {
		l.add, l.other = add.Node.GetOutput()[0], other
	}
}
