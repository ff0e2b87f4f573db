package onnxio

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

func isConstant(n *onnxpb.NodeProto) bool { return StandardOp(n) == "Constant" }

// Constant returns the value of a constant tensor: a dense initializer, or what a Constant node
// holds; nil for all else. A name that this graph does not define is looked up in the graphs around
// it. The result carries the tensor's name and must not be changed: use [Graph.SetConstant].
func (g *Graph) Constant(tensor string) *onnxpb.TensorProto {
	g = g.scope(tensor)
	if g == nil {
		return nil
	}
	if t := g.initializers[tensor]; t != nil {
		return t
	}
	return g.constants[tensor]
}

// constantValue returns the tensor that a Constant node makes; nil where the value is sparse or a
// function's parameter.
func constantValue(n *onnxpb.NodeProto, name string) *onnxpb.TensorProto {
	for _, a := range n.Attribute {
		if a.GetRefAttrName() != "" {
			continue
		}
		switch a.GetName() {
		case "value":
			if a.T == nil {
				continue
			}
			t := new(onnxpb.TensorProto) // which shares the payload
			copyMessage(t.ProtoReflect(), a.T.ProtoReflect())
			t.Name = &name
			return t
		case "value_float":
			return (&Tensor{Name: name, Type: Float, F32: []float32{a.GetF()}}).Proto()
		case "value_floats":
			return (&Tensor{Name: name, Type: Float, Dims: []int{len(a.Floats)}, F32: a.Floats}).Proto()
		case "value_int":
			return NewInts(name, nil, []int64{a.GetI()}).Proto()
		case "value_ints":
			return NewInts(name, []int{len(a.Ints)}, a.Ints).Proto()
		case "value_string":
			return (&Tensor{Name: name, Type: onnxpb.TensorProto_STRING, Strings: [][]byte{a.S}}).Proto()
		case "value_strings":
			return (&Tensor{Name: name, Type: onnxpb.TensorProto_STRING, Dims: []int{len(a.Strings)}, Strings: a.Strings}).Proto()
		}
	}
	return nil
}

// SetConstant replaces the payload, shape and type of the initializer or Constant node that t.Name
// names, seen from this graph, and corrects what graph inputs, outputs and value_info say about
// that tensor. The old TensorProto is left as it was, for clones and for whoever holds it. The new
// payload of a large external initializer waits in a temporary file, in [os.TempDir], until the
// model is saved.
func (g *Graph) SetConstant(t *Tensor) error {
	if err := t.Check(); err != nil {
		return g.Model.errorf("tensor %q: %w", t.Name, err)
	}
	home := g.scope(t.Name)
	if home == nil || home.Constant(t.Name) == nil {
		return g.Model.errorf("tensor %q is no constant", t.Name)
	}
	if home.initializers[t.Name] != nil {
		if err := home.replaceInitializer(t); err != nil {
			return g.Model.errorf("tensor %q: %w", t.Name, err)
		}
	} else {
		n := home.Producer(t.Name)
		setConstantNode(n, t)
		home.constants[t.Name] = constantValue(n, t.Name)
	}
	home.correctType(t)
	return nil
}

func (g *Graph) replaceInitializer(t *Tensor) error {
	p := t.Proto()
	if g.initializers[t.Name].GetDataLocation() == onnxpb.TensorProto_EXTERNAL && len(p.RawData) >= scratchLimit {
		if err := g.Model.spill(p); err != nil {
			return err
		}
	}
	for i, old := range g.Proto.Initializer {
		if old.GetName() == t.Name {
			keepNotes(p, old)
			g.Proto.Initializer[i] = p
		}
	}
	g.initializers[t.Name] = p
	return nil
}

// keepNotes moves over what a tensor carries beside its value.
func keepNotes(dst, src *onnxpb.TensorProto) {
	dst.DocString = src.DocString
	dst.MetadataProps = src.MetadataProps
	copyUnknown(dst.ProtoReflect(), src.ProtoReflect())
}

func setConstantNode(n *onnxpb.NodeProto, t *Tensor) {
	p := t.Proto()
	p.Name = nil
	if old := Attr(n, "value"); old.GetT() != nil {
		p.Name = old.T.Name
		keepNotes(p, old.T)
	}
	for _, name := range []string{"value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"} {
		RemoveAttr(n, name)
	}
	setAttr(n, NewAttr("value", p))
}

// correctType makes declarations of a tensor agree with its new value.
func (g *Graph) correctType(t *Tensor) {
	for _, v := range slices.Concat(g.Proto.Input, g.Proto.Output, g.Proto.ValueInfo) {
		if tt := v.GetType().GetTensorType(); tt != nil && v.GetName() == t.Name {
			tt.ElemType = ptr(int32(t.Type))
			SetDims(v, t.Dims)
		}
	}
}

// AddInitializer adds a constant tensor under a name that the graph does not use yet
// ([Graph.Fresh]). Up to IR version 3 every initializer of the top-level graph is a graph input
// too, and becomes one.
func (g *Graph) AddInitializer(t *Tensor) error {
	if err := t.Check(); err != nil {
		return g.Model.errorf("tensor %q: %w", t.Name, err)
	}
	switch {
	case t.Name == "":
		return g.Model.errorf("new initializer has no name")
	case g.scope(t.Name) != nil:
		return g.Model.errorf("new initializer %q: the name is taken", t.Name)
	}
	p := t.Proto()
	g.Proto.Initializer = append(g.Proto.Initializer, p)
	g.initializers[t.Name] = p
	g.declare(p)
	return nil
}

// DeclareInitializers makes graph inputs of the initializers that are none, where the format asks for
// it: up to IR version 3. onnxruntime runs a model without; the checker refuses it.
func (g *Graph) DeclareInitializers() {
	for _, p := range g.Proto.Initializer {
		if g.inputs[p.GetName()] == nil {
			g.declare(p)
		}
	}
}

// declare makes a graph input of an initializer, up to IR version 3.
func (g *Graph) declare(p *onnxpb.TensorProto) {
	if g.Outer != nil || g.Model.Proto.GetIrVersion() >= 4 {
		return
	}
	v := NewValueInfo(p.GetName(), onnxpb.TensorProto_DataType(p.GetDataType()))
	dims := make([]int, len(p.GetDims()))
	for i, d := range p.GetDims() {
		dims[i] = int(d)
	}
	SetDims(v, dims)
	g.Proto.Input = append(g.Proto.Input, v)
	g.inputs[p.GetName()] = v
}

// NewValueInfo declares a tensor of a type, and of a shape made of lengths (int, int64) and names
// (string). Other dims are left unknown; without any the tensor is a scalar.
func NewValueInfo(name string, typ onnxpb.TensorProto_DataType, dims ...any) *onnxpb.ValueInfoProto {
	shape := new(onnxpb.TensorShapeProto)
	for _, d := range dims {
		dim := new(onnxpb.TensorShapeProto_Dimension)
		switch d := d.(type) {
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case int64:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{
		Name: &name,
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{ElemType: ptr(int32(typ)), Shape: shape},
		}},
	}
}

// SameTensor reports whether two constants are there and hold the same: what lies in data files, at the
// same places of these.
func SameTensor(a, b *onnxpb.TensorProto) bool {
	switch {
	case a == nil || b == nil:
		return false
	case a == b:
		return true
	case len(a.GetRawData()) > 0 || len(b.GetRawData()) > 0: // proto.Equal takes longer
		return a.GetDataType() == b.GetDataType() && slices.Equal(a.GetDims(), b.GetDims()) && bytes.Equal(a.GetRawData(), b.GetRawData())
	}
	return proto.Equal(a, b)
}
