package onnxio

import (
	"fmt"

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

// SetInput sets an input of a node; those before it that the node does not have
// are left out.
func SetInput(n *onnxpb.NodeProto, input int, name string) {
	for len(n.Input) <= input {
		n.Input = append(n.Input, "")
	}
	n.Input[input] = name
}

// NewAttrInt returns an attribute that is an integer.
func NewAttrInt[T int | int64](name string, v T) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: new(int64(v))}
}

// NewAttrInts returns an attribute that is a list of integers.
func NewAttrInts[T int | int64](name string, v ...T) *onnxpb.AttributeProto {
	list := make([]int64, len(v))
	for i := range v {
		list[i] = int64(v[i])
	}
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: list}
}

// SetAttrInt sets an attribute of a node to an integer.
func SetAttrInt(n *onnxpb.NodeProto, name string, v int64) {
	a := resetAttr(n, name, onnxpb.AttributeProto_INT)
	a.I = &v
}

// SetAttrInts sets an attribute of a node to a list of integers, copying it.
func SetAttrInts(n *onnxpb.NodeProto, name string, v []int64) {
	a := resetAttr(n, name, onnxpb.AttributeProto_INTS)
	a.Ints = append([]int64{}, v...)
}

// resetAttr puts an empty attribute of a type in place of the one of that
// name, or after the others.
func resetAttr(n *onnxpb.NodeProto, name string, typ onnxpb.AttributeProto_AttributeType) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: &name, Type: &typ}
	for i, old := range n.Attribute {
		if old.GetName() == name {
			a.DocString = old.DocString
			n.Attribute[i] = a
			return a
		}
	}
	n.Attribute = append(n.Attribute, a)
	return a
}

// RemoveAttr removes an attribute from a node, if it is there.
func RemoveAttr(n *onnxpb.NodeProto, name string) {
	for i, a := range n.Attribute {
		if a.GetName() == name {
			n.Attribute = append(n.Attribute[:i:i], n.Attribute[i+1:]...)
			return
		}
	}
}

// Label names a node in messages: Conv "layer1.0/conv1" or, where the node has
// no name, Conv -> "its first output".
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
			return fmt.Sprintf("%s -> %q", op, o)
		}
	}
	return op
}
