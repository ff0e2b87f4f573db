package onnxio_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Parameters are counted by type, wherever they are; bytes as they are stored, in the file or
// beside it.
func TestSize(t *testing.T) {
	sevens := make([]int64, 7)
	for _, c := range []struct {
		typ    onnxpb.TensorProto_DataType
		params int64 // of seven elements
		bytes  int64
	}{
		{onnxio.Float, 7, 28}, {onnxio.Double, 7, 56}, {onnxio.Float16, 7, 14}, {onnxio.BFloat16, 7, 14},
		{onnxpb.TensorProto_FLOAT8E4M3FN, 7, 7}, {onnxpb.TensorProto_FLOAT8E5M2FNUZ, 7, 7}, {onnxpb.TensorProto_FLOAT4E2M1, 7, 4},
		{onnxpb.TensorProto_INT8, 7, 7}, {onnxpb.TensorProto_UINT8, 7, 7}, {onnxpb.TensorProto_INT16, 7, 14}, {onnxpb.TensorProto_UINT16, 7, 14},
		{onnxpb.TensorProto_INT4, 7, 4}, {onnxpb.TensorProto_UINT4, 7, 4}, {onnxpb.TensorProto_INT2, 7, 2}, {onnxpb.TensorProto_UINT2, 7, 2},
		{onnxio.Int32, 0, 28}, {onnxio.Int64, 0, 56}, {onnxpb.TensorProto_UINT32, 0, 28}, {onnxio.Bool, 0, 7},
		{onnxpb.TensorProto_COMPLEX64, 7, 56}, {onnxpb.TensorProto_COMPLEX128, 7, 112}, {onnxpb.TensorProto_STRING, 0, 0},
	} {
		if n := onnxio.StoredBytes(c.typ, 7); n != c.bytes {
			t.Errorf("seven elements of type %v: %d bytes, want %d", c.typ, n, c.bytes)
		}
		if onnxio.IsParameter(c.typ) != (c.params > 0) {
			t.Errorf("type %v: IsParameter is %v", c.typ, c.params == 0)
		}
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 3)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Floats("a", []int{2, 3}, 1, 2, 3, 4, 5, 6), onnxtest.Ints("shape", -1, 3),
		onnxtest.Initializer(&onnxio.Tensor{Name: "q", Type: onnxpb.TensorProto_INT8, Dims: []int{7}, I64: sevens}),
		onnxtest.Initializer(&onnxio.Tensor{Name: "r", Type: onnxpb.TensorProto_UINT4, Dims: []int{7}, I64: sevens}),
		onnxtest.Node("Constant", "", "c", onnxtest.Attr("value", onnxio.NewTensor("", onnxio.Float16, []int{7}, make([]float64, 7)).Proto())),
		onnxtest.Node("Relu", "x", "y"),
	)
	file := filepath.Join(t.TempDir(), "m.onnx")
	for _, o := range []onnxio.SaveOptions{{}, {External: onnxio.Always, Threshold: -1}} {
		if err := onnxio.Save(t.Context(), file, m, o); err != nil {
			t.Fatal(err)
		}
		loaded, err := onnxio.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := loaded.Encode()
		if err != nil {
			t.Fatal(err)
		}
		stored, err := loaded.Storage()
		if err != nil {
			t.Fatal(err)
		}
		if o.External == onnxio.Always && stored.ExternalBytes == 0 {
			t.Error("no tensor lies outside")
		}
		want := int64(len(encoded)) + stored.ExternalBytes
		if params, bytes := loaded.Size(); params != 6+7+7+7 || bytes != want {
			t.Errorf("%+v: %d parameters, %d bytes; want 27, %d", o, params, bytes, want)
		}
	}
}

// Up to IR version 3 initializers are graph inputs too. Models are about that do not keep to it, and
// onnxruntime runs them; the checker takes what is saved.
func TestSaveDeclaresInitializers(t *testing.T) {
	for version, want := range map[int64][]string{3: {"x", "w", "v"}, 4: {"x", "w"}} {
		m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", 4), onnxtest.Value("w", 4)), onnxtest.Values(onnxtest.Value("y", 4)),
			onnxtest.Node("Mul", "x w", "h"), onnxtest.Node("Add", "h v", "y"),
			onnxtest.Floats("w", []int{4}, 1, 2, 3, 4), onnxtest.Floats("v", []int{4}, 1, 2, 3, 4))
		m.Proto.IrVersion = &version
		for _, external := range []onnxio.External{onnxio.Never, onnxio.Always} {
			path := filepath.Join(t.TempDir(), "m.onnx")
			if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{External: external}); err != nil {
				t.Fatal(err)
			}
			saved, err := onnxio.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range saved.Proto.Graph.Input {
				got = append(got, v.GetName())
				if len(v.GetType().GetTensorType().GetShape().GetDim()) != 1 {
					t.Errorf("input %q has the type %v", v.GetName(), v.GetType())
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("IR version %d: saved with the inputs %v, want %v", version, got, want)
			}
			if n := len(m.Proto.Graph.Input); n != 2 {
				t.Errorf("the model in memory has %d inputs now", n)
			}
		}
	}
}
