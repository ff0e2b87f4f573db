package qdq

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A rewriter collects changes to a graph, looking at it as it was before them.
type rewriter struct {
	m    *onnxio.Model
	g    *onnxio.Graph
	form *Form
	// instead lists what stands in the place of a node; gone are the nodes that have no place any
	// more.
	instead map[*onnxpb.NodeProto][]*onnxpb.NodeProto
	gone    map[*onnxpb.NodeProto]bool
	// added are new constants, by name.
	added map[string]bool
	// real finds the tensor that holds the real numbers of integers, by these, scale and zero
	// point.
	real      map[[3]string]string
	taken     map[string]bool
	microsoft bool // operators of onnxruntime are used
}

func newRewriter(m *onnxio.Model, g *onnxio.Graph, f *Form) *rewriter {
	return &rewriter{
		m: m, g: g, form: f, instead: map[*onnxpb.NodeProto][]*onnxpb.NodeProto{}, gone: map[*onnxpb.NodeProto]bool{},
		added: map[string]bool{}, real: map[[3]string]string{}, taken: map[string]bool{},
	}
}

// name returns a tensor name that is not used yet.
func (r *rewriter) name(prefix string) string {
	name := prefix
	for i := 1; r.taken[name] || r.g.Defines(name) || r.form.saved[name] != nil; i++ {
		name = fmt.Sprintf("%s_%d", prefix, i)
	}
	r.taken[name] = true
	return name
}

// add adds a constant.
func (r *rewriter) add(t *onnxio.Tensor) (name string, err error) {
	t.Name = r.name(t.Name)
	r.added[t.Name] = true
	return t.Name, r.g.AddInitializer(t)
}

// original makes sure that a constant of the original is there again.
func (r *rewriter) original(name string) string {
	if t := r.form.saved[name]; t != nil && !r.g.Defines(name) && !r.added[name] {
		r.added[name] = true
		r.g.Proto.Initializer = append(r.g.Proto.Initializer, t)
	}
	return name
}

// constant decodes a constant; nil if the tensor is none.
func (r *rewriter) constant(name string) (*onnxio.Tensor, error) {
	tp := r.g.Constant(name)
	if tp == nil {
		tp = r.form.saved[name]
	}
	if tp == nil {
		return nil, nil
	}
	return r.m.Tensor(tp)
}

// isConstant reports whether a name is absent or names a constant.
func (r *rewriter) isConstant(names ...string) bool {
	for _, name := range names {
		if name != "" && r.g.Constant(name) == nil {
			return false
		}
	}
	return true
}

// input is the name of a node's input, "" where it is absent.
func input(n *onnxpb.NodeProto, i int) string {
	if i >= 0 && i < len(n.GetInput()) {
		return n.GetInput()[i]
	}
	return ""
}

// dims are the sizes of a constant.
func (r *rewriter) dims(name string) []int64 { return r.g.Constant(name).GetDims() }

// single reports whether a constant is one number, or absent.
func (r *rewriter) single(name string) bool {
	t := r.g.Constant(name)
	return t == nil || onnxio.Elements(t) == 1
}

// only returns the one node that reads a tensor, of the given operator.
func (r *rewriter) only(tensor, op string) *onnxpb.NodeProto {
	c, ok := r.g.OnlyReader(tensor)
	if !ok || c.Node.GetOpType() != op {
		return nil
	}
	return c.Node
}

// maker returns the node of an operator that makes a tensor, or nil.
func (r *rewriter) maker(tensor, op string) *onnxpb.NodeProto {
	if n := r.g.Producer(tensor); n.GetOpType() == op {
		return n
	}
	return nil
}

// dequantize makes a DequantizeLinear. The standard one knows axes from opset 13 on, and sixteen
// bits from opset 21 on; onnxruntime's own does in any case.
func (r *rewriter) dequantize(x, scale, zero, y string, axis int) *onnxpb.NodeProto {
	n := &onnxpb.NodeProto{OpType: proto.String(dequantize), Input: []string{x, scale}, Output: []string{y}}
	if zero != "" {
		n.Input = append(n.Input, zero)
	}
	along := !r.single(scale)
	if along {
		onnxio.SetAttrInt(n, "axis", int64(axis))
	}
	opset := r.m.Opset("")
	short := onnxpb.TensorProto_DataType(r.g.Constant(x).GetDataType())
	half := onnxpb.TensorProto_DataType(r.g.Constant(scale).GetDataType()) != onnxio.Float
	sixteen := short == onnxpb.TensorProto_INT16 || short == onnxpb.TensorProto_UINT16
	if opset < 10 || along && opset < 13 || sixteen && opset < 21 || half && opset < 19 && r.g.Constant(scale) != nil {
		n.Domain = proto.String(microsoft)
		r.microsoft = true
	}
	return n
}

// realOf returns the name of the real numbers that an input of a quantised operator stands for, and
// the node that makes them unless there is one already.
func (r *rewriter) realOf(x, scale, zero string, axis int) (name string, nodes []*onnxpb.NodeProto) {
	key := [3]string{x, scale, zero}
	if name := r.real[key]; name != "" {
		return name, nil
	}
	name = r.name(x + "/real")
	r.real[key] = name
	r.form.helpers[name] = true
	return name, []*onnxpb.NodeProto{r.dequantize(x, scale, zero, name, axis)}
}

// apply carries the changes out.
func (r *rewriter) apply() {
	var nodes []*onnxpb.NodeProto
	for _, n := range r.g.Nodes {
		if with, ok := r.instead[n]; ok {
			nodes = append(nodes, with...)
		} else if !r.gone[n] {
			nodes = append(nodes, n)
		}
	}
	r.g.Proto.Node = nodes
}

// unread lists the constants that were read and are no more, by name.
func (r *rewriter) unread() map[string]*onnxpb.TensorProto {
	read := map[string]bool{}
	out := map[string]*onnxpb.TensorProto{}
	for _, t := range r.g.Proto.Initializer {
		captured := func(c onnxio.Consumer) bool { return c.Input < 0 }
		if name := t.GetName(); !slices.ContainsFunc(r.g.Consumers(name), captured) && r.g.ValueInfo(name) == nil {
			out[name] = t
		}
	}
	for _, n := range r.g.Proto.Node {
		for _, in := range n.GetInput() {
			read[in] = true
		}
		if n.GetOpType() == "Constant" && len(n.GetOutput()) == 1 {
			if t := r.g.Constant(n.GetOutput()[0]); t != nil {
				out[n.GetOutput()[0]] = t
			}
		}
	}
	maps.DeleteFunc(out, func(name string, _ *onnxpb.TensorProto) bool {
		return read[name] || len(r.g.Consumers(name)) == 0 || r.g.IsOutput(name)
	})
	return out
}

func (r *rewriter) dropSaved() {
	r.g.Proto.Node = slices.DeleteFunc(r.g.Proto.Node, func(n *onnxpb.NodeProto) bool {
		return n.GetOpType() == "Constant" && len(n.GetOutput()) == 1 && r.form.saved[n.GetOutput()[0]] != nil
	})
	r.g.Proto.Initializer = slices.DeleteFunc(r.g.Proto.Initializer, func(t *onnxpb.TensorProto) bool { return r.form.saved[t.GetName()] == t })
}

// dropHelpers removes what only the expanded model needed, once nobody reads it.
func (r *rewriter) dropHelpers() {
	for {
		unread := func(name string) bool {
			return r.form.helpers[name] && len(r.g.Consumers(name)) == 0 && !r.g.IsOutput(name)
		}
		nodes, constants := len(r.g.Proto.Node), len(r.g.Proto.Initializer)
		r.g.Proto.Node = slices.DeleteFunc(r.g.Proto.Node, func(n *onnxpb.NodeProto) bool {
			return len(n.GetOutput()) > 0 && !slices.ContainsFunc(n.GetOutput(), func(o string) bool { return !unread(o) })
		})
		r.g.Proto.Initializer = slices.DeleteFunc(r.g.Proto.Initializer, func(t *onnxpb.TensorProto) bool { return unread(t.GetName()) })
		if nodes == len(r.g.Proto.Node) && constants == len(r.g.Proto.Initializer) {
			break
		}
		if r.g.Refresh() != nil {
			break
		}
	}
	r.g.Proto.ValueInfo = slices.DeleteFunc(r.g.Proto.ValueInfo, func(v *onnxpb.ValueInfoProto) bool {
		return r.form.helpers[v.GetName()] && !r.g.Defines(v.GetName())
	})
}

// copyOf copies a node.
func copyOf(n *onnxpb.NodeProto) *onnxpb.NodeProto { return proto.Clone(n).(*onnxpb.NodeProto) }

// takeAttributes gives dst what src has of the attributes that dst has too, or that both kinds of
// operator know.
func takeAttributes(dst, src *onnxpb.NodeProto) {
	for _, a := range src.GetAttribute() {
		onnxio.RemoveAttr(dst, a.GetName())
		dst.Attribute = append(dst.Attribute, a)
	}
}
