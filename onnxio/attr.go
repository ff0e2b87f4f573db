package onnxio

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Attr returns a node's attribute, nil if it has none of that name.
func Attr(n *onnxpb.NodeProto, name string) *onnxpb.AttributeProto {
	for _, a := range n.GetAttribute() {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

// AttrInt returns an integer attribute, def where it is absent.
func AttrInt(n *onnxpb.NodeProto, name string, def int64) int64 {
	if a := Attr(n, name); a != nil {
		return a.GetI()
	}
	return def
}

// AttrInts returns a list of integers, nil where the attribute is absent.
func AttrInts(n *onnxpb.NodeProto, name string) []int64 {
	return Attr(n, name).GetInts()
}

// AttrFloat returns a float attribute, def where it is absent.
func AttrFloat(n *onnxpb.NodeProto, name string, def float32) float32 {
	if a := Attr(n, name); a != nil {
		return a.GetF()
	}
	return def
}

// AttrString returns a string attribute, def where it is absent.
func AttrString(n *onnxpb.NodeProto, name string, def string) string {
	if a := Attr(n, name); a != nil {
		return string(a.GetS())
	}
	return def
}

// SetInput sets an input of a node; those before it that the node does not have are left out.
func SetInput(n *onnxpb.NodeProto, input int, name string) {
	for len(n.Input) <= input {
		n.Input = append(n.Input, "")
	}
	n.Input[input] = name
}

// NewAttr returns an attribute of the type that its value has: int, int64, float32, float64,
// string, a slice of int64, float32 or string, tensor or graph. It is nil for values of other
// types.
func NewAttr(name string, value any) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: &name}
	switch v := value.(type) {
	case int:
		return NewAttrInt(name, v)
	case int64:
		return NewAttrInt(name, v)
	case float64:
		return NewAttr(name, float32(v))
	case float32:
		a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), &v
	case string:
		a.Type, a.S = onnxpb.AttributeProto_STRING.Enum(), []byte(v)
	case []int64:
		a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), v
	case []float32:
		a.Type, a.Floats = onnxpb.AttributeProto_FLOATS.Enum(), v
	case []string:
		a.Type, a.Strings = onnxpb.AttributeProto_STRINGS.Enum(), convert(v, func(s string) []byte { return []byte(s) })
	case *onnxpb.TensorProto:
		a.Type, a.T = onnxpb.AttributeProto_TENSOR.Enum(), v
	case *onnxpb.GraphProto:
		a.Type, a.G = onnxpb.AttributeProto_GRAPH.Enum(), v
	default:
		return nil
	}
	return a
}

// NewAttrInt returns an attribute that is an integer.
func NewAttrInt[T int | int64](name string, v T) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: new(int64(v))}
}

// NewAttrInts returns an attribute that is a list of integers.
func NewAttrInts[T int | int64](name string, v ...T) *onnxpb.AttributeProto {
	return NewAttr(name, convert(v, func(x T) int64 { return int64(x) }))
}

// SetAttrInt sets an attribute of a node to an integer.
func SetAttrInt(n *onnxpb.NodeProto, name string, v int64) { setAttr(n, NewAttrInt(name, v)) }

// SetAttrInts sets an attribute of a node to a list of integers, copying it.
func SetAttrInts(n *onnxpb.NodeProto, name string, v []int64) { setAttr(n, NewAttrInts(name, v...)) }

// setAttr puts an attribute in place of the one of that name, or after the others.
func setAttr(n *onnxpb.NodeProto, a *onnxpb.AttributeProto) {
	if old := Attr(n, a.GetName()); old != nil {
		a.DocString = old.DocString
		n.Attribute[slices.Index(n.Attribute, old)] = a
		return
	}
	n.Attribute = append(n.Attribute, a)
}

// RemoveAttr removes an attribute from a node, if it is there.
func RemoveAttr(n *onnxpb.NodeProto, name string) {
	n.Attribute = slices.DeleteFunc(slices.Clone(n.Attribute), func(a *onnxpb.AttributeProto) bool { return a.GetName() == name })
}

// StandardOp returns the name of a node's operator, "" where it is not of the standard set.
func StandardOp(n *onnxpb.NodeProto) string {
	if standardDomain(n.GetDomain()) != "" {
		return ""
	}
	return n.GetOpType()
}

// Label names a node in messages: Conv "layer1.0/conv1" or, where the node has no name, Conv → "its
// first output".
func Label(n *onnxpb.NodeProto) string {
	op := n.GetOpType()
	if op == Either && n.GetDomain() == EitherDomain {
		op = "If"
	}
	if n.GetName() != "" {
		return fmt.Sprintf("%s %q", op, n.GetName())
	}
	for _, o := range n.GetOutput() {
		if o != "" {
			return fmt.Sprintf("%s → %q", op, o)
		}
	}
	return op
}
