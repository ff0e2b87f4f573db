package edit

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Writable reports whether a linear operator's weight can be given other values: a constant of real
// numbers, stored as it is read, and read by nobody else. axis is that of the channels in its output,
// counted from the first.
func Writable(g *onnxio.Graph, an *coupling.Analysis, l *onnxio.Linear) (axis int, ok bool) {
	if _, own := g.OnlyReader(l.Weight.Name); !l.Weight.Direct() || !own || g.Constant(l.Weight.Name) == nil {
		return 0, false // shared weights have one value for several tasks
	}
	w := an.Weights[l.Weight.Name]
	if w == nil || !onnxio.IsFloat(w.Type) || an.Roots[l.In.Tensor] != nil {
		return 0, false
	}
	switch axis = l.Out.Axis; l.Kind {
	case onnxio.Convolution:
		return axis, true
	case onnxio.Product:
		axis += len(an.Activations[l.Node.GetOutput()[0]])
		return axis, l.In.Axis == -1 && l.Out.Axis == -1 && axis >= 1 && len(w.Axes) == 2
	}
	return 0, false
}

// Factorable describes an operator that can become two, rank×inputs and then outputs×rank, or says
// why it cannot. The outputs stand on axis Out.Weight of the weight.
func Factorable(g *onnxio.Graph, an *coupling.Analysis, n *onnxpb.NodeProto) (l *onnxio.Linear, why string) {
	l, ok := g.Linear(n)
	switch {
	case !ok || l.Kind != onnxio.Convolution && l.Kind != onnxio.Product:
		return nil, "no convolution or product"
	case l.Groups != 1:
		return nil, "its groups are separate already"
	}
	switch _, ok := Writable(g, an, l); {
	case !ok:
		return nil, "its weight is computed, shared or quantised"
	case l.Out.Weight < 0 || l.Alpha == 0:
		return nil, "its weight is not read as it is stored"
	}
	return l, ""
}

// Across is the number of columns of a convolution's kernel where the two operators that it becomes read
// its rows and then its columns (Jaderberg et al., Speeding up convolutional neural networks with low
// rank expansions, BMVC 2014); 1 where the first reads the whole kernel. That takes a kernel of
// several rows and columns which moves place by place over maps as wide as what it makes.
func Across(l *onnxio.Linear) int {
	w := l.Window
	if l.Kind != onnxio.Convolution || w == nil || len(w.Kernel) != 2 || min(w.Kernel[0], w.Kernel[1]) < 2 {
		return 1
	}
	if slices.ContainsFunc(w.Strides, func(s int) bool { return s != 1 }) {
		return 1
	}
	dilation, pads := 1, 0
	if len(w.Dilations) == 2 {
		dilation = w.Dilations[1]
	}
	if len(w.Pads) == 4 {
		pads = w.Pads[1] + w.Pads[3]
	}
	switch w.AutoPad {
	case "SAME_UPPER", "SAME_LOWER":
		return w.Kernel[1]
	case "", "NOTSET":
		if pads == dilation*(w.Kernel[1]-1) {
			return w.Kernel[1]
		}
	}
	return 1
}

// Before puts an operator like a linear one, which reads what that reads through the weight inner, in
// front of it. The second operator, with names of node, weight and output as they were, reads what
// the first makes, which between names, at every position by itself, or columns of it (Across): the
// caller gives it a weight of the dimensions outer.
func Before(g *onnxio.Graph, l *onnxio.Linear, inner *onnxio.Tensor) (between string, outer []int, err error) {
	n := l.Node
	dims := g.Constant(l.Weight.Name).GetDims()
	outer = slices.Repeat([]int{1}, len(dims))
	outer[l.Out.Weight], outer[1-l.Out.Weight] = int(dims[l.Out.Weight]), inner.Dims[l.Out.Weight]
	across := Across(l)
	if across > 1 {
		outer[3] = across
	}
	first := proto.CloneOf(n)
	if name := n.GetName(); name != "" {
		first.Name = proto.String(name + "_rank")
	}
	inner.Name = g.Fresh(l.Weight.Name + "_rank")
	if err := g.AddInitializer(inner); err != nil {
		return "", nil, err
	}
	between = g.Fresh(n.GetOutput()[0] + "_rank")
	first.Input, first.Output = []string{l.In.Tensor, inner.Name}, []string{between}
	for _, name := range []string{"alpha", "beta"} {
		onnxio.RemoveAttr(first, name)
	}
	n.Input[0] = between
	if across > 1 {
		alongAxis(first, l.Window, 0)
		alongAxis(n, l.Window, 1)
	} else {
		for _, name := range []string{"transA", "strides", "pads", "dilations", "auto_pad"} {
			onnxio.RemoveAttr(n, name)
		}
		if l.Kind == onnxio.Convolution {
			onnxio.SetAttrInts(n, "kernel_shape", slices.Repeat([]int64{1}, len(dims)-2))
		}
	}
	at := slices.Index(g.Proto.Node, n)
	g.Proto.Node = slices.Insert(g.Proto.Node, at, first)
	return between, outer, g.Refresh()
}

// alongAxis gives a node what of a window of two axes is about one of them, the rows or the columns.
func alongAxis(n *onnxpb.NodeProto, w *onnxio.Window, axis int) {
	keep := func(name string, list []int, other int64) {
		if list == nil {
			return
		}
		out := make([]int64, len(list))
		for i, v := range list {
			if out[i] = other; i%2 == axis {
				out[i] = int64(v)
			}
		}
		onnxio.SetAttrInts(n, name, out)
	}
	keep("kernel_shape", w.Kernel, 1)
	keep("dilations", w.Dilations, 1)
	keep("pads", w.Pads, 0)
}

// FirstFactors makes two operators of some, of the given ranks, by the names of what their nodes make,
// in a model that has the tensors of the one that was analysed: with the first rows or numbers of their
// weights and then the identity, for where values do not matter. Those of which two would have as many
// weights as one stay. between names what the first operators of pairs make, with the output of the
// second.
func FirstFactors(m *onnxio.Model, ranks map[string]int) (between map[string]string, err error) {
	defer guard.Recover(&err)
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	between = map[string]string{}
	for _, n := range slices.Clone(g.Nodes) {
		output := ""
		if len(n.GetOutput()) > 0 {
			output = n.GetOutput()[0]
		}
		rank := ranks[output]
		l, ok := g.Linear(n)
		if rank == 0 || !ok {
			continue
		}
		w, err := m.Tensor(g.Constant(l.Weight.Name))
		if err != nil {
			return nil, err
		}
		outputs := w.Dims[l.Out.Weight] * Across(l)
		inputs := w.Len() / outputs
		if rank*(outputs+inputs) >= w.Len() {
			continue
		}
		var inner *onnxio.Tensor
		if Across(l) > 1 {
			inner = onnxio.NewTensor(w.Name, w.Type, []int{rank, w.Dims[1], w.Dims[2], 1}, w.Float64()[:rank*inputs])
		} else {
			inner = firstOf(w, l.Out.Weight, rank)
		}
		name, dims, err := Before(g, l, inner)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", onnxio.Label(n), err)
		}
		between[name] = output
		each := Across(l) // columns
		identity := make([]float64, dims[0]*dims[1]*each)
		for i := range min(dims[0], dims[1]) {
			identity[(i*dims[1]+i)*each] = 1
		}
		if err := g.SetConstant(onnxio.NewTensor(w.Name, w.Type, dims, identity)); err != nil {
			return nil, err
		}
	}
	return between, nil
}

// firstOf are the first n slices of a weight along its first or second axis.
func firstOf(w *onnxio.Tensor, axis, n int) *onnxio.Tensor {
	dims := slices.Clone(w.Dims)
	dims[axis] = n
	inner := 1
	for _, d := range w.Dims[axis+1:] {
		inner *= d
	}
	all, was := w.Float64(), w.Dims[axis]*inner
	var out []float64
	for at := 0; at < len(all); at += was {
		out = append(out, all[at:at+n*inner]...)
	}
	return onnxio.NewTensor(w.Name, w.Type, dims, out)
}
