package onnxio_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func addSeeds(f *testing.F) {
	for _, m := range []*onnxio.Model{small(), withSubgraph(), allTypes(), recurrent()} {
		data, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*.onnx"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil && len(data) < 64<<10 {
			f.Add(data)
		}
	}
}

// FuzzDecode goes through everything that reads a file: none of it may panic, and what Decode
// accepts must be readable to the end.
func FuzzDecode(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnxio.Decode(data, "")
		if err != nil {
			return
		}
		g, err := m.Graph()
		if err != nil {
			t.Fatalf("valid, but no graph: %v", err)
		}
		if len(g.Nodes) != len(g.Proto.Node) {
			t.Fatalf("%d of %d nodes", len(g.Nodes), len(g.Proto.Node))
		}
		exercise(t, m, g)
		if _, err := m.Clone().Encode(); err != nil {
			t.Fatal(err)
		}
	})
}

func exercise(t *testing.T, m *onnxio.Model, g *onnxio.Graph) {
	for _, l := range g.Linears() {
		for _, name := range []string{l.Weight.Name, l.Bias.Name, l.Recurrent.Name} {
			if name != "" {
				readTensor(t, m, g.Constant(name))
			}
		}
	}
	for _, p := range g.Proto.Initializer {
		readTensor(t, m, p)
	}
	for _, n := range g.Nodes {
		for _, out := range n.Output {
			if p := g.Constant(out); p != nil {
				readTensor(t, m, p)
			}
			g.Consumers(out)
		}
		for _, s := range g.Subgraphs(n) {
			exercise(t, m, s)
		}
	}
	for _, v := range g.Inputs() {
		onnxio.Dims(v)
		onnxio.ElemType(v)
	}
	if err := g.AddInitializer(onnxio.NewInts(g.Fresh("fresh"), nil, []int64{1})); err != nil {
		t.Fatal(err)
	}
}

func readTensor(t *testing.T, m *onnxio.Model, p *onnxpb.TensorProto) {
	x, err := m.Tensor(p)
	if err != nil {
		t.Fatalf("valid, but: %v", err)
	}
	if v := x.Float64(); v != nil && len(v) != x.Len() {
		t.Fatalf("%d values for dims %v", len(v), x.Dims)
	}
	again, err := m.Tensor(x.Proto())
	if err != nil {
		t.Fatal(err)
	}
	if !sameTensor(x, again) {
		t.Fatalf("tensor %q changed when encoded", x.Name)
	}
}

func sameTensor(a, b *onnxio.Tensor) bool {
	pa, pb := a.Proto(), b.Proto()
	if !proto.Equal(pa, pb) {
		return false
	}
	x, y := a.Float64(), b.Float64()
	for i := range x {
		if x[i] != y[i] && !(math.IsNaN(x[i]) && math.IsNaN(y[i])) {
			return false
		}
	}
	return len(x) == len(y)
}

// FuzzEncode checks that encoding is the inverse of decoding, and one form.
func FuzzEncode(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnxio.Decode(data, "")
		if err != nil {
			return
		}
		first, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := onnxio.Decode(first, "")
		if err != nil {
			t.Fatalf("our own bytes are refused: %v", err)
		}
		if !proto.Equal(m.Proto, back.Proto) {
			t.Fatal("decoded model differs")
		}
		second, err := back.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatal("bytes differ the second time")
		}
	})
}

// withSubgraph is an If whose branches read a weight of the outer graph.
func withSubgraph() *onnxio.Model {
	branch := func(op string) *onnxpb.GraphProto {
		return onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("o_"+op)),
			onnxtest.Weights("inner_"+op, []int{4, 4}, rng()),
			onnxtest.Node("MatMul", "x inner_"+op, "t_"+op),
			onnxtest.Node(op, "t_"+op+" w", "o_"+op))
	}
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", 1, 4), onnxtest.TypedValue("cond", onnxio.Bool)),
		onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Weights("w", []int{4}, rng()),
		onnxtest.Node("If", "cond", "y", onnxtest.Attr("then_branch", branch("Add")), onnxtest.Attr("else_branch", branch("Sub"))),
	)
}

func recurrent() *onnxio.Model {
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "T", 1, 3)), onnxtest.Values(onnxtest.Value("h")),
		onnxtest.Weights("W", []int{1, 16, 3}, rng()), onnxtest.Weights("R", []int{1, 16, 4}, rng()),
		onnxtest.Weights("B", []int{1, 32}, rng()),
		onnxtest.Node("LSTM", "x W R B", "_ h", onnxtest.Attr("hidden_size", 4)),
	)
}
