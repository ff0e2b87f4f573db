// Package onnxtest builds small ONNX models for tests.
//
//	rng := rand.New(rand.NewPCG(1, 2))
//	m := onnxtest.Model(
//		onnxtest.Values(onnxtest.Value("x", "N", 3, 8, 8)),
//		onnxtest.Values(onnxtest.Value("y")),
//		onnxtest.Weights("w", []int{4, 3, 3, 3}, rng),
//		onnxtest.Node("Conv", "x w", "c", onnxtest.Attr("pads", 1, 1, 1, 1)),
//		onnxtest.Node("Relu", "c", "y"),
//	)
package onnxtest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Part is something that a model under construction takes in.
type Part func(*onnxpb.ModelProto)

// Model makes a model with opset 17 and IR version 8 from its inputs, outputs and parts: nodes,
// weights, settings. It is not validated, so that tests can build broken ones. Inputs and outputs
// are made by [Values] or [Names].
func Model(inputs, outputs []*onnxpb.ValueInfoProto, parts ...Part) *onnxio.Model {
	p := &onnxpb.ModelProto{
		IrVersion:   ptr(int64(8)),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: ptr(""), Version: ptr(int64(17))}},
		Graph:       &onnxpb.GraphProto{Name: ptr("test"), Input: inputs, Output: outputs},
	}
	for _, part := range parts {
		part(p)
	}
	return &onnxio.Model{Proto: p}
}

// Graph makes a graph to be used as an attribute: the body of an If or Loop.
func Graph(inputs, outputs []*onnxpb.ValueInfoProto, parts ...Part) *onnxpb.GraphProto {
	return Model(inputs, outputs, parts...).Proto.Graph
}

// Values lists inputs or outputs.
func Values(v ...*onnxpb.ValueInfoProto) []*onnxpb.ValueInfoProto { return v }

// Value declares a float32 tensor with dims of int (a length), string (a symbolic length) or nil
// (unknown). Without dims the rank is unknown.
func Value(name string, dims ...any) *onnxpb.ValueInfoProto {
	v := onnxio.NewValueInfo(name, onnxio.Float, dims...)
	if len(dims) == 0 {
		v.Type.GetTensorType().Shape = nil
	}
	return v
}

// TypedValue declares a tensor of any type; without dims it is a scalar.
func TypedValue(name string, typ onnxpb.TensorProto_DataType, dims ...any) *onnxpb.ValueInfoProto {
	return onnxio.NewValueInfo(name, typ, dims...)
}

// Node adds a node. ins and outs are tensor names, separated by blanks; "_" stands for an optional
// one left out. The node's name is the operator's and the first output's: "Conv_c".
func Node(op, ins, outs string, attrs ...*onnxpb.AttributeProto) Part {
	return func(m *onnxpb.ModelProto) {
		n := &onnxpb.NodeProto{OpType: &op, Input: names(ins), Output: names(outs), Attribute: attrs}
		if len(n.Output) > 0 {
			n.Name = ptr(op + "_" + n.Output[0])
		}
		m.Graph.Node = append(m.Graph.Node, n)
	}
}

func names(list string) []string {
	f := strings.Fields(list)
	for i := range f {
		if f[i] == "_" {
			f[i] = ""
		}
	}
	return f
}

// Attr makes an attribute: several ints, or one value that [onnxio.NewAttr] takes. Other values
// panic, for a test that cannot be built is a broken test. A list of one int is written []int64{1}.
func Attr(name string, values ...any) *onnxpb.AttributeProto {
	if len(values) != 1 {
		list := make([]int64, len(values))
		for i, v := range values {
			list[i] = int64(v.(int))
		}
		values = []any{list}
	}
	a := onnxio.NewAttr(name, values[0])
	if a == nil {
		panic(fmt.Sprintf("onnxtest: attribute %q of type %T", name, values[0]))
	}
	return a
}

// Weights adds a float32 initializer of normal random numbers.
func Weights(name string, dims []int, rng *rand.Rand) Part {
	t := &onnxio.Tensor{Name: name, Type: onnxio.Float, Dims: dims}
	t.F32 = make([]float32, t.Len())
	for i := range t.F32 {
		t.F32[i] = float32(rng.NormFloat64())
	}
	return Initializer(t)
}

// Floats adds a float32 initializer of given numbers.
func Floats(name string, dims []int, v ...float64) Part {
	return Initializer(onnxio.NewTensor(name, onnxio.Float, dims, v))
}

// Ints adds an int64 initializer of one axis.
func Ints(name string, v ...int64) Part {
	return Initializer(onnxio.NewInts(name, []int{len(v)}, v))
}

// Initializer adds any tensor as initializer.
func Initializer(t *onnxio.Tensor) Part { return RawInitializer(t.Proto()) }

// RawInitializer adds a tensor as it is, broken or not.
func RawInitializer(p *onnxpb.TensorProto) Part {
	return func(m *onnxpb.ModelProto) { m.Graph.Initializer = append(m.Graph.Initializer, p) }
}

// Opset sets the version of the standard operator set.
func Opset(version int64) Part {
	return func(m *onnxpb.ModelProto) { m.OpsetImport[0].Version = &version }
}

// IR sets the version of the file format.
func IR(version int64) Part {
	return func(m *onnxpb.ModelProto) { m.IrVersion = &version }
}

func ptr[T any](v T) *T { return &v }
