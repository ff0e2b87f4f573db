package precision

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// raise returns a copy of a model in an operator set of a version or later, and enters it. Operators
// whose meaning has changed between are written anew; what cannot be is an error that names the
// node.
func (r *Report) raise(m *onnxio.Model, version int64) (*onnxio.Model, error) {
	out := m.Clone()
	was := out.Opset("")
	if was >= version || was == 0 {
		return out, nil
	}
	g, err := out.Graph()
	if err != nil {
		return nil, err
	}
	w := &raiser{Graph: g}
	for _, n := range g.Proto.Node {
		for _, a := range n.GetAttribute() {
			if a.GetG() != nil || len(a.GetGraphs()) > 0 {
				return nil, out.InFile(fmt.Errorf("%s: the operator set has to be raised from %d to %d, which is not done where nodes hold graphs", onnxio.Label(n), was, version))
			}
		}
		if err := w.raise(n, was, version); err != nil {
			return nil, out.InFile(fmt.Errorf("%s: %w", onnxio.Label(n), err))
		}
	}
	g.Proto.Node = w.nodes
	for _, o := range out.Proto.OpsetImport {
		if d := o.GetDomain(); d == "" || d == "ai.onnx" {
			o.Version = proto.Int64(version)
		}
	}
	// IR version 7 is what belongs to operator set 12 and 13.
	if ir := out.Proto.GetIrVersion(); ir < 7 {
		out.Proto.IrVersion = proto.Int64(7)
	}
	r.Opset = version
	return out, g.Refresh()
}

// A raiser writes the nodes of a graph anew.
type raiser struct {
	*onnxio.Graph
	nodes []*onnxpb.NodeProto
	after []*onnxpb.NodeProto // to follow the one under way
}

// A change of an operator took place with version since.
type change struct {
	since int64
	do    func(w *raiser, n *onnxpb.NodeProto) error
}

// changes lists what changed between versions 7 and 13 of the operators that are met in models of
// that age, in ascending order. All others mean the same.
var changes = map[string][]change{
	"BatchNormalization": {{9, drops("spatial", 1)}},
	"Slice":              {{10, toInputs("starts", "ends", "axes")}},
	"TopK":               {{10, topK}},
	"Dropout":            {{12, dropout}},
	"Upsample":           {{9, toInputs("scales")}, {10, resize}},
	"Resize":             {{11, resize}},
	"Clip":               {{11, clip}},
	"Pad":                {{11, pad}},
	"Softmax":            {{13, softmax}},
	"LogSoftmax":         {{13, softmax}},
	"Hardmax":            {{13, softmax}},
	"Squeeze":            {{13, toInputs("axes")}},
	"Unsqueeze":          {{13, toInputs("axes")}},
	"ReduceSum":          {{13, toInputs("axes")}},
	"Split":              {{13, toInputs("split")}},
	"Scan":               {{8, refuses}, {9, refuses}},
	"OneHot":             {{11, refuses}},
}

func (w *raiser) raise(n *onnxpb.NodeProto, was, version int64) error {
	w.after = nil
	if onnxio.StandardOp(n) != "" {
		for _, c := range changes[n.GetOpType()] {
			if was < c.since && c.since <= version {
				if err := c.do(w, n); err != nil {
					return err
				}
			}
		}
	}
	w.nodes = append(append(w.nodes, n), w.after...)
	return nil
}

func refuses(*raiser, *onnxpb.NodeProto) error {
	return fmt.Errorf("its meaning has changed since the model's operator set; convert the model to a later one first")
}

// drops removes an attribute that may only have one value.
func drops(name string, value int64) func(*raiser, *onnxpb.NodeProto) error {
	return func(w *raiser, n *onnxpb.NodeProto) error {
		if onnxio.AttrInt(n, name, value) != value {
			return refuses(w, n)
		}
		onnxio.RemoveAttr(n, name)
		return nil
	}
}

// toInputs makes inputs, behind those that are there, of attributes that hold numbers.
func toInputs(names ...string) func(*raiser, *onnxpb.NodeProto) error {
	return func(w *raiser, n *onnxpb.NodeProto) error {
		at := len(n.GetInput())
		for i, name := range names {
			a := onnxio.Attr(n, name)
			if a == nil {
				continue
			}
			typ, v := onnxio.Int64, floats(a.GetInts())
			if fs := a.GetFloats(); len(fs) > 0 {
				typ, v = onnxio.Float, floats(fs)
			}
			input, err := constant(w.Graph, n, name, typ, v)
			if err != nil {
				return err
			}
			onnxio.SetInput(n, at+i, input)
			onnxio.RemoveAttr(n, name)
		}
		return nil
	}
}

func floats[T int64 | float32](v []T) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// constant stores numbers for a node, and returns their name; dims are left out for a vector.
func constant(g *onnxio.Graph, n *onnxpb.NodeProto, what string, typ onnxpb.TensorProto_DataType, v []float64, dims ...int) (string, error) {
	if dims == nil {
		dims = []int{len(v)}
	}
	name := g.Fresh(n.GetOutput()[0] + "_" + what)
	return name, g.AddInitializer(onnxio.NewTensor(name, typ, dims, v))
}

func scalar(g *onnxio.Graph, n *onnxpb.NodeProto, what string, v float64) (string, error) {
	return constant(g, n, what, onnxio.Float, []float64{v}, []int{}...)
}

func topK(w *raiser, n *onnxpb.NodeProto) error {
	k, err := constant(w.Graph, n, "k", onnxio.Int64, []float64{float64(onnxio.AttrInt(n, "k", 0))})
	if err != nil {
		return err
	}
	onnxio.SetInput(n, 1, k)
	onnxio.RemoveAttr(n, "k")
	return nil
}

// dropout does nothing when a model runs.
func dropout(_ *raiser, n *onnxpb.NodeProto) error {
	onnxio.RemoveAttr(n, "ratio")
	return nil
}

// resize: until version 11 places were those of the first corner, and the nearest one was rounded
// down.
func resize(w *raiser, n *onnxpb.NodeProto) error {
	if len(n.GetInput()) != 2 {
		return refuses(w, n)
	}
	none := w.Fresh(n.GetOutput()[0] + "_roi")
	if err := w.AddInitializer(onnxio.NewTensor(none, onnxio.Float, []int{0}, nil)); err != nil {
		return err
	}
	n.OpType = proto.String("Resize")
	n.Input = []string{n.GetInput()[0], none, n.GetInput()[1]}
	n.Attribute = append(n.Attribute, onnxio.NewAttr("coordinate_transformation_mode", "asymmetric"), onnxio.NewAttr("nearest_mode", "floor"))
	return nil
}

func clip(w *raiser, n *onnxpb.NodeProto) error {
	for i, name := range []string{"min", "max"} {
		a := onnxio.Attr(n, name)
		if a == nil {
			continue
		}
		bound, err := scalar(w.Graph, n, name, float64(a.GetF()))
		if err != nil {
			return err
		}
		onnxio.SetInput(n, 1+i, bound)
		onnxio.RemoveAttr(n, name)
	}
	return nil
}

func pad(w *raiser, n *onnxpb.NodeProto) error {
	value := onnxio.AttrFloat(n, "value", 0)
	onnxio.RemoveAttr(n, "value")
	if err := toInputs("pads")(w, n); err != nil || value == 0 {
		return err
	}
	v, err := scalar(w.Graph, n, "value", float64(value))
	onnxio.SetInput(n, 2, v)
	return err
}

// softmax: until version 13 all axes from the given one on, by default the second, were one.
func softmax(w *raiser, n *onnxpb.NodeProto) error {
	axis := int(onnxio.AttrInt(n, "axis", 1))
	onnxio.RemoveAttr(n, "axis")
	n.Attribute = append(n.Attribute, onnxio.NewAttrInt("axis", -1))
	x, y := n.GetInput()[0], n.GetOutput()[0]
	if rank := rankOf(w.Graph, x); axis == -1 || rank > 0 && axis == rank-1 {
		return nil
	}
	shape, rows, made := w.Fresh(y+"_shape"), w.Fresh(y+"_rows"), w.Fresh(y+"_made")
	node := func(op, out string, in ...string) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String(out), Input: in, Output: []string{out}}
	}
	flatten := node("Flatten", rows, x)
	flatten.Attribute = []*onnxpb.AttributeProto{onnxio.NewAttrInt("axis", axis)}
	w.nodes = append(w.nodes, node("Shape", shape, x), flatten)
	n.Input, n.Output = []string{rows}, []string{made}
	w.after = []*onnxpb.NodeProto{node("Reshape", y, made, shape)}
	return nil
}

// rankOf is the number of axes of a tensor, 0 where the model does not say, and no operator before
// it does that keeps them.
func rankOf(g *onnxio.Graph, tensor string) int {
	for range len(g.Nodes) + 1 {
		if dims, _, ok := onnxio.Dims(g.ValueInfo(tensor)); ok {
			return len(dims)
		}
		n := g.Producer(tensor)
		switch op := onnxio.StandardOp(n); {
		case n == nil:
			return 0
		case op == "Gemm" || op == "Flatten":
			return 2
		case onnxio.FactsOf(n).Has(onnxio.Pointwise) || slices.Contains([]string{"Dropout", "MatMul", "BatchNormalization"}, op):
			tensor = n.GetInput()[0]
		case op == "Add": // of a bias
			tensor = n.GetInput()[0]
			if g.Constant(tensor) != nil {
				tensor = n.GetInput()[1]
			}
		case op == "Reshape":
			if t := g.Constant(n.GetInput()[1]); t != nil && len(t.GetDims()) == 1 {
				return int(t.GetDims()[0])
			}
			return 0
		default:
			return 0
		}
	}
	return 0
}
