package rewire

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// walk calls f for every message inside m, m included, outermost first.
func walk(m protoreflect.Message, f func(protoreflect.ProtoMessage)) {
	f(m.Interface())
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), f)
			}
		default:
			walk(v.Message(), f)
		}
		return true
	})
}

// HasExternal says whether any tensor of the model lies in another file.
func HasExternal(m *onnxio.Model) bool {
	found := false
	walk(m.Proto.ProtoReflect(), func(p protoreflect.ProtoMessage) {
		if t, ok := p.(*onnxpb.TensorProto); ok {
			found = found || t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL
		}
	})
	return found
}

// mentions says whether a model states an element type anywhere: of a value, of a tensor, or as what an operator makes.
func mentions(m *onnxio.Model, typ onnxpb.TensorProto_DataType) bool {
	found := false
	walk(m.Proto.ProtoReflect(), func(p protoreflect.ProtoMessage) {
		for _, t := range typeFields(p) {
			found = found || onnxpb.TensorProto_DataType(*t) == typ
		}
		if a, ok := p.(*onnxpb.AttributeProto); ok {
			found = found || isTypeAttribute(a) && onnxpb.TensorProto_DataType(a.GetI()) == typ
		}
	})
	return found
}

// typeFields returns the fields of one message that hold an element type.
func typeFields(p protoreflect.ProtoMessage) []*int32 {
	var t *int32
	switch p := p.(type) {
	case *onnxpb.TensorProto:
		t = p.DataType
	case *onnxpb.TypeProto_Tensor:
		t = p.ElemType
	case *onnxpb.TypeProto_SparseTensor:
		t = p.ElemType
	}
	if t == nil {
		return nil
	}
	return []*int32{t}
}

// isTypeAttribute says whether an integer attribute is an element type: "to" of Cast, "dtype" of the random operators
// and EyeLike, and their like.
func isTypeAttribute(a *onnxpb.AttributeProto) bool {
	switch a.GetName() {
	case "to", "dtype", "output_dtype", "output_datatype", "stash_type":
		return a.I != nil
	}
	return false
}
