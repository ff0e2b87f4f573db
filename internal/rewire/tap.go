package rewire

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Tap returns a copy of the model in which the named tensors of the main graph are outputs too,
// after the model's own. It needs no value_info: a tensor whose type the model does not say becomes
// an output without a type, which onnxruntime infers. Tensors that are outputs already are left as
// they are. The tensors' payloads are shared with m.
func Tap(m *onnxio.Model, tensors []string) (*onnxio.Model, error) {
	c := m.Clone()
	g, err := c.Graph()
	if err != nil {
		return nil, err
	}
	added := map[string]bool{}
	for _, name := range tensors {
		if g.IsOutput(name) || added[name] {
			continue
		}
		if !g.Defines(name) {
			return nil, fmt.Errorf("%s: no tensor %q in the main graph", m.Title(), name)
		}
		added[name] = true
		g.Proto.Output = append(g.Proto.Output, OutputInfo(name, ElemType(g, name)))
	}
	return c, nil
}

// Cut returns a copy of the model whose outputs are the named tensors, in that order, and which
// holds only the nodes and initializers these need. Inputs all stay.
func Cut(m *onnxio.Model, tensors []string) (*onnxio.Model, error) {
	c, err := Tap(m, tensors)
	if err != nil {
		return nil, err
	}
	g := c.Proto.GetGraph()
	infos := map[string]*onnxpb.ValueInfoProto{}
	for _, o := range g.GetOutput() {
		infos[o.GetName()] = o
	}
	g.Output = nil
	for _, name := range tensors {
		if o := infos[name]; o != nil {
			g.Output = append(g.Output, o)
			delete(infos, name)
		}
	}
	needed := NeededBy(g, tensors)
	g.Node = slices.DeleteFunc(g.Node, func(n *onnxpb.NodeProto) bool {
		return !slices.ContainsFunc(n.GetOutput(), func(name string) bool { return name != "" && needed[name] })
	})
	g.Initializer = slices.DeleteFunc(g.Initializer, func(t *onnxpb.TensorProto) bool { return !needed[t.GetName()] })
	g.SparseInitializer = slices.DeleteFunc(g.SparseInitializer, func(t *onnxpb.SparseTensorProto) bool {
		return !needed[t.GetValues().GetName()]
	})
	g.ValueInfo = slices.DeleteFunc(g.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return !needed[v.GetName()] })
	return c, nil
}

// NeededBy returns the names of all tensors from which the named ones are computed, themselves
// included. A node with any needed output needs all its inputs, and all names that its subgraphs
// read from outside.
func NeededBy(g *onnxpb.GraphProto, tensors []string) map[string]bool {
	producer := map[string]*onnxpb.NodeProto{}
	for _, n := range g.GetNode() {
		for _, name := range n.GetOutput() {
			producer[name] = n
		}
	}
	needed := map[string]bool{}
	work := slices.Clone(tensors)
	visited := map[*onnxpb.NodeProto]bool{}
	for len(work) > 0 {
		name := work[len(work)-1]
		work = work[:len(work)-1]
		if name == "" || needed[name] {
			continue
		}
		needed[name] = true
		n := producer[name]
		if n == nil || visited[n] {
			continue
		}
		visited[n] = true
		for _, out := range n.GetOutput() {
			if out != "" {
				needed[out] = true
			}
		}
		work = append(work, Reads(n)...)
	}
	return needed
}

// Reads returns the names a node reads: its inputs, and whatever the graphs inside it mention.
func Reads(n *onnxpb.NodeProto) []string {
	names := slices.Clone(n.GetInput())
	for _, a := range n.GetAttribute() {
		for _, g := range append(slices.Clone(a.GetGraphs()), a.GetG()) {
			for _, inner := range g.GetNode() {
				names = append(names, Reads(inner)...)
			}
			for _, o := range g.GetOutput() {
				names = append(names, o.GetName())
			}
		}
	}
	return names
}

// WithoutHalfOutputs makes outputs float32 that the binding cannot return: those of type float16,
// and, if the model holds float16 anywhere, inner tensors whose type is not known. It returns the
// names to fetch in place of tensors.
func WithoutHalfOutputs(m *onnxio.Model, tensors []string) (*onnxio.Model, []string, error) {
	if !mentions(m, onnxpb.TensorProto_FLOAT16) {
		return m, tensors, nil
	}
	m = m.Clone()
	g, err := m.Graph()
	if err != nil {
		return nil, nil, err
	}
	fetch := slices.Clone(tensors)
	for i, name := range tensors {
		if t := ElemType(g, name); t != onnxpb.TensorProto_FLOAT16 && t != onnxpb.TensorProto_UNDEFINED {
			continue
		}
		fetch[i] = g.Fresh(name + "_float32")
		cast := &onnxpb.NodeProto{
			OpType: new("Cast"), Name: new(fetch[i]), Input: []string{name}, Output: []string{fetch[i]},
		}
		onnxio.SetAttrInt(cast, "to", int64(onnxpb.TensorProto_FLOAT))
		g.Proto.Node = append(g.Proto.Node, cast)
		g.Proto.Output = append(g.Proto.Output, OutputInfo(fetch[i], onnxpb.TensorProto_FLOAT))
	}
	return m, fetch, nil
}

// ElemType is the element type of a tensor where the model says it.
func ElemType(g *onnxio.Graph, name string) onnxpb.TensorProto_DataType {
	if v := g.ValueInfo(name); v != nil {
		return onnxio.ElemType(v)
	}
	return onnxpb.TensorProto_DataType(g.Constant(name).GetDataType())
}

// OutputInfo describes an output by its element type alone, or not at all if that is not known: a
// stored shape may hold for one batch size only.
func OutputInfo(name string, t onnxpb.TensorProto_DataType) *onnxpb.ValueInfoProto {
	v := &onnxpb.ValueInfoProto{Name: new(name)}
	if t != onnxpb.TensorProto_UNDEFINED {
		v.Type = &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{ElemType: new(int32(t))},
		}}
	}
	return v
}
