package compress_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func ptr[T any](v T) *T { return &v }

// extras adds to a model what a compression has no business with.
func extras(m *onnxio.Model) {
	p := m.Proto
	p.ProducerName, p.ProducerVersion, p.Domain, p.DocString = ptr("maker"), ptr("1.2"), ptr("org.example"), ptr("what it does")
	p.ModelVersion = ptr(int64(7))
	m.SetMetadata("labels", "cat,dog")
	p.OpsetImport = append(p.OpsetImport,
		&onnxpb.OperatorSetIdProto{Domain: ptr("ai.onnx.ml"), Version: ptr(int64(3))},
		&onnxpb.OperatorSetIdProto{Domain: ptr("org.example"), Version: ptr(int64(2))})
	p.Functions = append(p.Functions, &onnxpb.FunctionProto{
		Name: ptr("Twice"), Domain: ptr("org.example"), Input: []string{"a"}, Output: []string{"b"},
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: ptr(""), Version: ptr(int64(17))}},
		Node:        []*onnxpb.NodeProto{{OpType: ptr("Add"), Input: []string{"a", "a"}, Output: []string{"b"}}},
	})
	p.TrainingInfo = append(p.TrainingInfo, &onnxpb.TrainingInfoProto{
		Algorithm: &onnxpb.GraphProto{Name: ptr("step"), Node: []*onnxpb.NodeProto{{OpType: ptr("Identity"), Input: []string{"x"}, Output: []string{"x2"}}},
			Input: onnxtest.Values(onnxtest.Value("x", 1)), Output: onnxtest.Values(onnxtest.Value("x2", 1))},
	})
	g := p.Graph
	g.DocString = ptr("the graph")
	g.QuantizationAnnotation = append(g.QuantizationAnnotation, &onnxpb.TensorAnnotation{
		TensorName:                ptr("y"),
		QuantParameterTensorNames: []*onnxpb.StringStringEntryProto{{Key: ptr("SCALE_TENSOR"), Value: ptr("scale")}},
	})
	values := onnxio.NewTensor("sparse", onnxio.Float, []int{2}, []float64{3, 4}).Proto()
	g.SparseInitializer = append(g.SparseInitializer, &onnxpb.SparseTensorProto{
		Values: values, Indices: onnxio.NewInts("", []int{2}, []int64{1, 5}).Proto(), Dims: []int64{2, 3}})
	texts := &onnxio.Tensor{Name: "texts", Type: onnxpb.TensorProto_STRING, Dims: []int{2}, Strings: [][]byte{[]byte("ä"), {0xff, 0}}}
	g.Initializer = append(g.Initializer, texts.Proto(), onnxio.NewTensor("scale", onnxio.Float, nil, []float64{0.5}).Proto())
	g.Output = append(g.Output, onnxtest.Value("spare", "N"))
	// All small types, as inputs of an operator that nobody knows.
	node := &onnxpb.NodeProto{OpType: ptr("Store"), Domain: ptr("org.example"), Name: ptr("store"), Input: []string{"x", "sparse", "texts"}, Output: []string{"spare"}}
	for _, typ := range []onnxpb.TensorProto_DataType{
		onnxpb.TensorProto_INT4, onnxpb.TensorProto_UINT4, onnxpb.TensorProto_FLOAT4E2M1, onnxpb.TensorProto_FLOAT8E4M3FN,
		onnxpb.TensorProto_FLOAT8E4M3FNUZ, onnxpb.TensorProto_FLOAT8E5M2, onnxpb.TensorProto_FLOAT8E5M2FNUZ, onnxpb.TensorProto_FLOAT8E8M0,
		onnxpb.TensorProto_COMPLEX64, onnxpb.TensorProto_UINT64, onnxpb.TensorProto_INT8, onnxpb.TensorProto_BOOL,
	} {
		bytes := map[onnxpb.TensorProto_DataType]int{onnxpb.TensorProto_INT4: 2, onnxpb.TensorProto_UINT4: 2, onnxpb.TensorProto_FLOAT4E2M1: 2,
			onnxpb.TensorProto_COMPLEX64: 24, onnxpb.TensorProto_UINT64: 24}[typ]
		if bytes == 0 {
			bytes = 3
		}
		raw := slices.Repeat([]byte{1}, bytes)
		name := "t" + typ.String()
		g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: &name, DataType: ptr(int32(typ)), Dims: []int64{3}, RawData: raw})
		node.Input = append(node.Input, name)
	}
	g.Node = append(g.Node, node)
	// A field of a later version of the format.
	unknown := protowire.AppendTag(nil, 900, protowire.BytesType)
	p.ProtoReflect().SetUnknown(protowire.AppendString(unknown, "from the future"))
	node.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 901, protowire.BytesType), "too"))
}

// What is not narrowed stays as it was, to the bit: other domains, functions, training info,
// annotations, sparse and string tensors, small types, unknown fields.
func TestKeepsTheRest(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 3 6 6
		c = Conv(x, w1[8 3 3 3], b1[8])
		r = Relu(c)
		y = Conv(r, w2[4 8 1 1], b2[4])`)
	if err != nil {
		t.Fatal(err)
	}
	extras(m)
	out, report, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true, Lossless: job.Off}})
	if err != nil {
		t.Fatal(err)
	}
	if report.After.Params >= report.Before.Params {
		t.Fatal("nothing was narrowed")
	}
	for _, o := range []onnxio.SaveOptions{{}, {External: onnxio.Always, Threshold: -1}} {
		path := filepath.Join(t.TempDir(), "out.onnx")
		if err := onnxio.Save(t.Context(), path, out, o); err != nil {
			t.Fatal(err)
		}
		back, err := onnxio.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		// Without the weights that were edited, both are the same.
		var sides [2]*onnxpb.ModelProto
		for i, m := range []*onnxio.Model{m, back} {
			p := proto.Clone(m.Proto).(*onnxpb.ModelProto)
			p.Graph.Initializer = slices.DeleteFunc(p.Graph.Initializer, func(t *onnxpb.TensorProto) bool {
				return slices.Contains([]string{"w1", "b1", "w2"}, t.GetName())
			})
			sides[i] = p
		}
		if !proto.Equal(sides[0], sides[1]) {
			t.Errorf("%+v: something else has changed:\n%v\n%v", o, sides[0], sides[1])
		}
	}
}
