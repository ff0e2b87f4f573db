package onnxgo

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Model returns what was decoded as a model of Monge: weights as initializers, operators as nodes
// without names, in the standard domain. The caller gives what onnx-go does not pass on: the
// version of the operator set and, as far as they are known, the inputs' shapes by name, -1 for a
// size that is not fixed.
func (b *Backend) Model(opset int64, shapes map[string][]int) (*onnxio.Model, error) {
	p := new(onnxpb.GraphProto)
	for _, v := range b.sorted() {
		switch {
		case b.inputs[v.id]:
			p.Input = append(p.Input, input(v, shapes[v.name]))
		case b.isWeight(v):
			t, err := convert(v.name, v.data)
			if err != nil {
				return nil, err
			}
			p.Initializer = append(p.Initializer, t.Proto())
		}
	}
	for _, id := range b.outputs {
		if v, ok := b.values.Node(id).(*Value); ok {
			p.Output = append(p.Output, &onnxpb.ValueInfoProto{Name: &v.name})
		}
	}
	for _, o := range b.operations {
		n, err := b.node(o)
		if err != nil {
			return nil, err
		}
		p.Node = append(p.Node, n)
	}
	ir := int64(onnxpb.Version_IR_VERSION_2021_7_30) // initializers need not be inputs
	return &onnxio.Model{Proto: &onnxpb.ModelProto{
		IrVersion: &ir, Graph: p,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: &opset}},
	}}, nil
}

// input declares a graph input; without dims its rank is not known.
func input(v *Value, dims []int) *onnxpb.ValueInfoProto {
	if v.data == nil {
		return &onnxpb.ValueInfoProto{Name: &v.name}
	}
	sizes := make([]any, len(dims))
	for i, d := range dims {
		if d >= 0 {
			sizes[i] = d
		}
	}
	p := onnxio.NewValueInfo(v.name, types[v.data.Dtype()], sizes...)
	if dims == nil {
		p.GetType().GetTensorType().Shape = nil
	}
	return p
}

// types holds the types of ONNX for those of gorgonia.
var types = map[tensor.Dtype]onnxpb.TensorProto_DataType{
	tensor.Float32: onnxio.Float, tensor.Float64: onnxio.Double, tensor.Int64: onnxio.Int64, tensor.Int32: onnxio.Int32, tensor.Bool: onnxio.Bool,
}

// sorted returns the values in the order of their ids, which is that in which onnx-go met them.
func (b *Backend) sorted() []*Value {
	var all []*Value
	for it := b.values.Nodes(); it.Next(); {
		if v, ok := it.Node().(*Value); ok {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(x, y *Value) int { return int(x.id - y.id) })
	return all
}

// isWeight reports whether a value's tensor is data, not a declared shape.
func (b *Backend) isWeight(v *Value) bool {
	return v.data != nil && v.name != "" && !b.produced[v.id] && !b.inputs[v.id]
}

func (b *Backend) node(o operation) (*onnxpb.NodeProto, error) {
	n := &onnxpb.NodeProto{OpType: &o.op.Name}
	for _, v := range o.outputs {
		n.Output = append(n.Output, v.name)
	}
	for _, v := range o.inputs {
		n.Input = append(n.Input, v.name)
	}
	if len(o.inputs) == 1 && b.invented(o.inputs[0]) {
		n.Input = nil
	}
	for _, name := range slices.Sorted(maps.Keys(o.op.Attributes)) {
		a, err := attribute(name, o.op.Attributes[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", onnxio.Label(n), err)
		}
		n.Attribute = append(n.Attribute, a)
	}
	return n, nil
}

// invented reports whether onnx-go made up a value, which it does for operators without inputs: the
// name is that of the node followed by "/input".
func (b *Backend) invented(v *Value) bool {
	return v.data == nil && !b.produced[v.id] && !b.inputs[v.id] && strings.HasSuffix(v.name, "/input")
}

func attribute(name string, value any) (*onnxpb.AttributeProto, error) {
	switch v := value.(type) {
	case struct{}: // onnx-go's form of an attribute without a type
		return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_UNDEFINED.Enum()}, nil
	case tensor.Tensor:
		t, err := convert("", v)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", name, err)
		}
		value = t.Proto()
	}
	if a := onnxio.NewAttr(name, value); a != nil {
		return a, nil
	}
	return nil, fmt.Errorf("attribute %q has a value of type %T", name, value)
}

// convert copies a tensor of gorgonia's. For a single element its Data is the bare number.
func convert(name string, d tensor.Tensor) (*onnxio.Tensor, error) {
	t := &onnxio.Tensor{Name: name, Dims: slices.Clone([]int(d.Shape())), Type: types[d.Dtype()]}
	data := reflect.ValueOf(d.Data())
	if data.Kind() != reflect.Slice {
		data = reflect.Append(reflect.Zero(reflect.SliceOf(data.Type())), data)
	}
	switch v := data.Interface().(type) {
	case []float32:
		t.F32 = slices.Clone(v)
	case []float64:
		t.F64 = slices.Clone(v)
	case []int64:
		t.I64 = slices.Clone(v)
	case []int32:
		t.I64 = widen(v, func(x int32) int64 { return int64(x) })
	case []bool:
		t.I64 = widen(v, fromBool)
	default:
		return nil, fmt.Errorf("tensor %q: onnx-go holds its elements as %T", name, v)
	}
	return t, nil
}

func widen[T any](v []T, f func(T) int64) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = f(x)
	}
	return out
}

func fromBool(x bool) int64 {
	if x {
		return 1
	}
	return 0
}
