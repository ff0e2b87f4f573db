package onnxgo_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxgo"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func rng() *rand.Rand { return rand.New(rand.NewPCG(3, 4)) }

// model wraps parts between an input x and an output y.
func model(parts ...onnxtest.Part) *onnxio.Model {
	return onnxtest.Model(onnxtest.Values(onnxtest.Value("x", 1, 3, 4, 4)), onnxtest.Values(onnxtest.Value("y")), parts...)
}

func initializer(typ onnxpb.TensorProto_DataType) onnxtest.Part {
	return onnxtest.Initializer(onnxio.NewTensor("t", typ, []int{3}, []float64{0, 1, 1}))
}

var neg = onnxtest.Node("Neg", "x", "y")

// accepted are models, beside those of testdata, that onnx-go reads.
func accepted() map[string]*onnxio.Model {
	oldStyle := model(onnxtest.IR(3), onnxtest.Weights("w", []int{2, 3, 1, 1}, rng()), onnxtest.Node("Conv", "x w", "y"))
	oldStyle.Proto.Graph.Input = append(oldStyle.Proto.Graph.Input, onnxtest.Value("w", 2, 3, 1, 1))
	typed := &onnxpb.TensorProto{Name: ptr("t"), DataType: ptr(int32(onnxio.Bool)), Dims: []int64{2}, Int32Data: []int32{1, 0}}
	return map[string]*onnxio.Model{
		"conv": model(
			onnxtest.Weights("w", []int{2, 3, 3, 3}, rng()), onnxtest.Weights("b", []int{2}, rng()),
			onnxtest.Node("Conv", "x w b", "c", onnxtest.Attr("pads", 1, 1, 1, 1), onnxtest.Attr("auto_pad", "NOTSET")),
			onnxtest.Node("LeakyRelu", "c", "y", onnxtest.Attr("alpha", 0.5))),
		"initializers among the inputs": oldStyle,
		"weight in a Constant": model(
			onnxtest.Node("Constant", "", "w", onnxtest.Attr("value", onnxio.NewTensor("", onnxio.Float, []int{4, 2}, []float64{1, 2, 3, 4, 5, 6, 7, 8}).Proto())),
			onnxtest.Node("Constant", "", "w2", onnxtest.Attr("value", onnxio.NewTensor("", onnxio.Float, []int{2, 1}, []float64{1, 2}).Proto())),
			onnxtest.Node("MatMul", "x w", "m"), onnxtest.Node("MatMul", "m w2", "y")),
		"one tensor read twice": model(onnxtest.Node("Add", "x x", "s"), onnxtest.Weights("w", []int{4, 4}, rng()), onnxtest.Node("MatMul", "s w", "y")),
		"inputs and outputs left out": model(
			onnxtest.Weights("W", []int{1, 8, 3}, rng()), onnxtest.Weights("R", []int{1, 8, 2}, rng()), onnxtest.Weights("h", []int{1, 1, 2}, rng()),
			onnxtest.Node("LSTM", "x W R _ _ h", "_ y _", onnxtest.Attr("hidden_size", 2))),
		"double":      model(neg, initializer(onnxio.Double)),
		"int32":       model(neg, initializer(onnxio.Int32)),
		"int64":       model(neg, initializer(onnxio.Int64)),
		"typed bool":  model(neg, onnxtest.RawInitializer(typed)),
		"scalar":      model(neg, onnxtest.Floats("t", nil, 2.5)),
		"one element": model(neg, onnxtest.Floats("t", []int{1}, 2.5)),
	}
}

func ptr[T any](v T) *T { return &v }

// rejected are models that Monge reads and onnx-go does not, and why.
func rejected() map[string]struct {
	m      *onnxio.Model
	reason string
} {
	type entry = struct {
		m      *onnxio.Model
		reason string
	}
	branch := onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("o")), onnxtest.Node("Neg", "x", "o"))
	list := map[string]entry{
		"subgraph": {model(onnxtest.Node("If", "x", "y", onnxtest.Attr("then_branch", branch), onnxtest.Attr("else_branch", branch))),
			"ir.AttributeProto_GRAPH not handled yet"},
		"raw bool":     {model(neg, initializer(onnxio.Bool)), "Unable to decode data"}, // reads 8 bytes per element
		"empty tensor": {model(neg, onnxtest.Floats("t", []int{0})), "No data found"},
		"negative dim": {onnxtest.Model(onnxtest.Values(onnxtest.Value("x", -1, 2)), onnxtest.Values(onnxtest.Value("y")), neg), "panic"},
		"external data": {model(neg, onnxtest.RawInitializer(&onnxpb.TensorProto{Name: ptr("t"), DataType: ptr(int32(1)), Dims: []int64{2},
			DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
			ExternalData: []*onnxpb.StringStringEntryProto{{Key: ptr("location"), Value: ptr("weights")}}})), "No data found"},
	}
	for code, name := range onnxpb.TensorProto_DataType_name {
		switch typ := onnxpb.TensorProto_DataType(code); typ {
		case onnxpb.TensorProto_UNDEFINED, onnxpb.TensorProto_STRING, onnxpb.TensorProto_COMPLEX64, onnxpb.TensorProto_COMPLEX128,
			onnxio.Float, onnxio.Double, onnxio.Int32, onnxio.Int64, onnxio.Bool:
		case onnxio.Float16:
			list[name] = entry{model(neg, initializer(typ)), "type: FLOAT16"}
		case onnxpb.TensorProto_UINT8, onnxpb.TensorProto_INT8, onnxpb.TensorProto_UINT16,
			onnxpb.TensorProto_INT16, onnxpb.TensorProto_UINT32, onnxpb.TensorProto_UINT64:
			list[name] = entry{model(neg, initializer(typ)), "Unknown type " + strings.ToLower(name)}
		default: // newer than onnx-go
			list[name] = entry{model(neg, initializer(typ)), "Unknown input type: "}
		}
	}
	return list
}

func TestSameModelBothWays(t *testing.T) {
	models := accepted()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		m, err := onnxio.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		models[filepath.Base(f)] = m
	}
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			if err := m.Validate(); err != nil {
				t.Fatal(err)
			}
			var data []byte
			if m.Path != "" {
				data, err = os.ReadFile(m.Path)
			} else {
				data, err = m.Encode()
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := onnxgo.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, m, b)
		})
	}
}

// layer is what both readers must agree on; nodes have no names in onnx-go.
type layer struct {
	Op, Output, Weight, Bias, Recurrent string
	Followers                           []string
}

func summary(g *onnxio.Graph) []layer {
	var out []layer
	for _, l := range g.Linears() {
		s := layer{l.Node.GetOpType(), strings.Join(l.Node.Output, " "), l.Weight.Name, l.Bias.Name, l.Recurrent.Name, nil}
		for _, f := range g.Followers(l.Node) {
			s.Followers = append(s.Followers, f.GetOpType())
		}
		out = append(out, s)
	}
	return out
}

func compare(t *testing.T, m *onnxio.Model, b *onnxgo.Backend) {
	ours, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := b.Model(13, nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := decoded.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(summary(ours), summary(theirs)); d != "" {
		t.Error(d)
	}
	var names []string
	for _, p := range ours.Proto.Initializer {
		names = append(names, p.GetName())
	}
	if len(theirs.Proto.Initializer) != len(names) || len(theirs.Inputs()) != len(ours.Inputs()) {
		t.Errorf("%d weights and %d inputs, want %d and %d",
			len(theirs.Proto.Initializer), len(theirs.Inputs()), len(names), len(ours.Inputs()))
	}
	if len(theirs.Nodes) != len(ours.Nodes) {
		t.Fatalf("%d nodes, want %d", len(theirs.Nodes), len(ours.Nodes))
	}
	for i, n := range ours.Nodes {
		if x := theirs.Nodes[i]; n.GetOpType() != x.GetOpType() || !slices.Equal(n.Output, x.Output) || !slices.Equal(n.Input, x.Input) || len(n.Attribute) != len(x.Attribute) {
			t.Errorf("%s is %v", onnxio.Label(n), x)
		}
		for _, o := range n.Output {
			if ours.Constant(o) != nil {
				names = append(names, o)
			}
		}
	}
	for _, name := range names {
		want, err := m.Tensor(ours.Constant(name))
		if err != nil {
			t.Fatal(err)
		}
		p := theirs.Constant(name)
		if p == nil {
			t.Errorf("%q is missing", name)
			continue
		}
		got, err := theirs.Model.Tensor(p)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %.500s", name, d)
		}
	}
}

func TestRejectedByOnnxGo(t *testing.T) {
	for name, c := range rejected() {
		t.Run(name, func(t *testing.T) {
			c.m.Dir = t.TempDir()
			if err := os.WriteFile(filepath.Join(c.m.Dir, "weights"), make([]byte, 8), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := c.m.Validate(); err != nil {
				t.Fatalf("Monge refuses it too: %v", err)
			}
			data, err := c.m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := onnxgo.Decode(data); err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error is %v, want %q", err, c.reason)
			}
		})
	}
}

func TestDamagedModels(t *testing.T) {
	for name, m := range map[string]*onnxio.Model{
		"own output":     model(onnxtest.Node("Add", "x y", "y")),
		"cycle":          model(onnxtest.Node("Add", "x b", "y"), onnxtest.Node("Neg", "y", "b")),
		"missing tensor": model(onnxtest.Node("Add", "x ghost", "y")),
		"made twice":     model(neg, neg),
	} {
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := onnxgo.Decode(data)
		if err == nil {
			var m *onnxio.Model
			if m, err = b.Model(13, nil); err == nil {
				_, err = m.Graph()
			}
		}
		if err == nil || !strings.Contains(err.Error(), `"y"`) && !strings.Contains(err.Error(), `"ghost"`) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := onnxgo.Decode([]byte("no protobuf")); err == nil {
		t.Error("text was decoded")
	}
}
