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

// mentions says whether a model states an element type anywhere: of a value, of a tensor, or as
// what an operator makes.
func mentions(m *onnxio.Model, typ onnxpb.TensorProto_DataType) bool {
	found := false
	eachType(m, func(t onnxpb.TensorProto_DataType, _ *onnxpb.TensorProto) onnxpb.TensorProto_DataType {
		found = found || t == typ
		return t
	})
	return found
}

// eachType replaces every element type that a model states by what f makes of it, and writes nothing
// where that is the same: others may read the model meanwhile. tensor is what has it, if one has.
func eachType(m *onnxio.Model, f func(t onnxpb.TensorProto_DataType, tensor *onnxpb.TensorProto) onnxpb.TensorProto_DataType) {
	replace := func(t *int32, tensor *onnxpb.TensorProto) {
		if t == nil {
			return
		}
		if to := int32(f(onnxpb.TensorProto_DataType(*t), tensor)); to != *t {
			*t = to
		}
	}
	walk(m.Proto.ProtoReflect(), func(p protoreflect.ProtoMessage) {
		switch p := p.(type) {
		case *onnxpb.TensorProto:
			replace(p.DataType, p)
		case *onnxpb.TypeProto_Tensor:
			replace(p.ElemType, nil)
		case *onnxpb.TypeProto_SparseTensor:
			replace(p.ElemType, nil)
		case *onnxpb.AttributeProto:
			if isTypeAttribute(p) {
				if to := int64(f(onnxpb.TensorProto_DataType(*p.I), nil)); to != *p.I {
					*p.I = to
				}
			}
		}
	})
}

// isTypeAttribute says whether an integer attribute is an element type: "to" of Cast, "dtype" of
// the random operators and EyeLike, and their like.
func isTypeAttribute(a *onnxpb.AttributeProto) bool {
	switch a.GetName() {
	case "to", "dtype", "output_dtype", "output_datatype", "stash_type":
		return a.I != nil
	}
	return false
}
