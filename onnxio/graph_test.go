package onnxio_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func graphOf(t *testing.T, m *onnxio.Model) *onnxio.Graph {
	t.Helper()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func labels(nodes []*onnxpb.NodeProto) []string {
	out := []string{}
	for _, n := range nodes {
		out = append(out, n.GetName())
	}
	return out
}

func TestTopologicalOrder(t *testing.T) {
	values := onnxtest.Values
	inOrder := onnxtest.Model(values(onnxtest.Value("x")), values(onnxtest.Value("y")),
		onnxtest.Node("Neg", "x", "b"), onnxtest.Node("Abs", "x", "a"), onnxtest.Node("Add", "a b", "y"))
	if d := cmp.Diff([]string{"Neg_b", "Abs_a", "Add_y"}, labels(graphOf(t, inOrder).Nodes)); d != "" {
		t.Error(d)
	}
	shuffled := onnxtest.Model(values(onnxtest.Value("x")), values(onnxtest.Value("y")),
		onnxtest.Node("Add", "a b", "y"), onnxtest.Node("Neg", "x", "b"), onnxtest.Node("Abs", "b", "a"))
	g := graphOf(t, shuffled)
	if d := cmp.Diff([]string{"Neg_b", "Abs_a", "Add_y"}, labels(g.Nodes)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"Add_y", "Neg_b", "Abs_a"}, labels(g.Proto.Node)); d != "" {
		t.Error("the file's own order changed", d)
	}
	// A subgraph's reading orders its holder.
	captured := onnxtest.Model(values(onnxtest.TypedValue("x", onnxio.Bool)), values(onnxtest.Value("y")),
		onnxtest.Node("If", "x", "y", onnxtest.Attr("then_branch",
			onnxtest.Graph(nil, values(onnxtest.Value("o")), onnxtest.Node("Neg", "late", "o")))),
		onnxtest.Node("Cast", "x", "late"))
	g = graphOf(t, captured)
	if d := cmp.Diff([]string{"Cast_late", "If_y"}, labels(g.Nodes)); d != "" {
		t.Error(d)
	}
	if c := g.Consumers("late"); len(c) != 1 || c[0].Input != -1 || c[0].Node.GetOpType() != "If" {
		t.Errorf("consumers of a captured tensor: %v", c)
	}
}

func TestProducersAndConsumers(t *testing.T) {
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x"), onnxtest.Value("w")), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.IR(3), onnxtest.Floats("w", []int{1}, 2),
		onnxtest.Node("Add", "x x", "s"), onnxtest.Node("Clip", "s _ w", "y"))
	g := graphOf(t, m)
	if in := g.Inputs(); len(in) != 1 || in[0].GetName() != "x" {
		t.Errorf("inputs: %v", in)
	}
	if !g.IsInput("x") || g.IsInput("w") || g.IsInput("s") || !g.IsOutput("y") || g.IsOutput("s") {
		t.Error("inputs and outputs are confused")
	}
	if g.Producer("x") != nil || g.Producer("w") != nil || g.Producer("s").GetOpType() != "Add" {
		t.Error("wrong producers")
	}
	add, clip := g.Nodes[0], g.Nodes[1]
	if d := cmp.Diff([]onnxio.Consumer{{Node: add, Input: 0}, {Node: add, Input: 1}}, g.Consumers("x"),
		cmp.Comparer(func(a, b *onnxpb.NodeProto) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if c := g.Consumers("w"); len(c) != 1 || c[0].Node != clip || c[0].Input != 2 {
		t.Errorf("consumers of w: %v", c)
	}
	if len(g.Consumers("")) != 0 {
		t.Error("the name of an input left out has consumers")
	}
}

func TestConstants(t *testing.T) {
	value := onnxio.NewTensor("inner name", onnxio.Double, []int{2}, []float64{3, 4}).Proto()
	constant := func(out string, attr *onnxpb.AttributeProto) onnxtest.Part {
		return onnxtest.Node("Constant", "", out, attr)
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x")), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Floats("init", []int{1}, 5),
		constant("t", onnxtest.Attr("value", value)), constant("f", onnxtest.Attr("value_float", 1.5)),
		constant("fs", onnxtest.Attr("value_floats", []float32{1, 2})), constant("i", onnxtest.Attr("value_int", 7)),
		constant("is", onnxtest.Attr("value_ints", 7, 8)), constant("s", onnxtest.Attr("value_string", "text")),
		onnxtest.Node("Neg", "x", "y"))
	g := graphOf(t, m)
	for name, want := range map[string]struct {
		typ  onnxpb.TensorProto_DataType
		dims []int
		v    []float64
	}{
		"init": {onnxio.Float, []int{1}, []float64{5}},
		"t":    {onnxio.Double, []int{2}, []float64{3, 4}},
		"f":    {onnxio.Float, []int{}, []float64{1.5}},
		"fs":   {onnxio.Float, []int{2}, []float64{1, 2}},
		"i":    {onnxio.Int64, []int{}, []float64{7}},
		"is":   {onnxio.Int64, []int{2}, []float64{7, 8}},
		"s":    {onnxpb.TensorProto_STRING, []int{}, nil},
	} {
		x := decode(t, g.Constant(name))
		if x.Name != name || x.Type != want.typ || !cmp.Equal(x.Dims, want.dims) || !cmp.Equal(x.Float64(), want.v) {
			t.Errorf("%s is %+v", name, x)
		}
	}
	for _, name := range []string{"x", "y", "nobody", ""} {
		if g.Constant(name) != nil {
			t.Errorf("%q is constant", name)
		}
	}
}

func TestSetConstant(t *testing.T) {
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x"), onnxtest.Value("w", 2, "k")), onnxtest.Values(onnxtest.Value("y"), onnxtest.Value("c", 1)),
		onnxtest.Floats("w", []int{2, 1}, 1, 2),
		onnxtest.Node("Constant", "", "c", onnxtest.Attr("value_floats", []float32{1})),
		onnxtest.Node("Gemm", "x w c", "y"))
	m.Proto.Graph.Initializer[0].DocString = ptr("kept")
	clone := m.Clone()
	original := proto.Clone(m.Proto)
	g := graphOf(t, m)
	for _, name := range []string{"w", "c"} {
		if err := g.SetConstant(onnxio.NewTensor(name, onnxio.Double, []int{3, 1}, []float64{7, 8, 9})); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]float64{7, 8, 9}, decode(t, g.Constant(name)).Float64()); d != "" {
			t.Error(d)
		}
		v := g.ValueInfo(name)
		if dims, _, _ := onnxio.Dims(v); !cmp.Equal(dims, []int64{3, 1}) || onnxio.ElemType(v) != onnxio.Double {
			t.Errorf("declaration of %s is %v", name, v)
		}
	}
	if g.Constant("w").GetDocString() != "kept" {
		t.Error("doc string lost")
	}
	if !proto.Equal(original, clone.Proto) {
		t.Error("the clone changed")
	}
	// The edit is in the model, not only in the index.
	if d := cmp.Diff([]float64{7, 8, 9}, decode(t, graphOf(t, m).Constant("c")).Float64()); d != "" {
		t.Error(d)
	}
	for _, bad := range []*onnxio.Tensor{
		onnxio.NewTensor("x", onnxio.Float, nil, []float64{1}),
		onnxio.NewTensor("nobody", onnxio.Float, nil, []float64{1}),
		onnxio.NewTensor("w", onnxio.Float, []int{2}, []float64{1}),
		onnxio.NewTensor("w", onnxio.Float, []int{-1}, []float64{1}),
		{Name: "w"},
	} {
		if err := g.SetConstant(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestAddInitializerAndFresh(t *testing.T) {
	for _, ir := range []int64{3, 8} {
		m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x")), onnxtest.Values(onnxtest.Value("y")),
			onnxtest.IR(ir), onnxtest.Node("Neg", "x", "y"))
		g := graphOf(t, m)
		name := g.Fresh("y")
		if name == "y" || name == g.Fresh("z") || g.Fresh("z") != "z" {
			t.Errorf("fresh name %q", name)
		}
		if err := g.AddInitializer(onnxio.NewInts(name, []int{1}, []int64{4})); err != nil {
			t.Fatal(err)
		}
		for _, taken := range []string{"x", "y", name, ""} {
			if err := g.AddInitializer(onnxio.NewInts(taken, []int{1}, []int64{4})); err == nil {
				t.Errorf("IR %d: %q was added twice", ir, taken)
			}
		}
		if g.Constant(name) == nil || g.IsInput(name) || g.Fresh(name) == name {
			t.Errorf("IR %d: the new initializer is not there", ir)
		}
		if got, want := len(m.Proto.Graph.Input), map[int64]int{3: 2, 8: 1}[ir]; got != want {
			t.Errorf("IR %d: %d graph inputs", ir, got)
		}
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestSubgraphScope(t *testing.T) {
	m := withSubgraph()
	g := graphOf(t, m)
	holder := g.Nodes[0]
	subs := g.Subgraphs(holder)
	if len(subs) != 2 {
		t.Fatalf("%d subgraphs", len(subs))
	}
	then := subs[0]
	if then.Outer != g || then.Holder != holder {
		t.Error("the subgraph does not know where it is")
	}
	if then.Defines("w") || then.Constant("w") != g.Constant("w") || then.Constant("inner_Add") == nil || g.Constant("inner_Add") != nil {
		t.Error("wrong scopes")
	}
	if l := then.Linears(); len(l) != 1 || l[0].Weight.Name != "inner_Add" || l[0].Bias.Name != "w" {
		t.Errorf("layers of the subgraph: %+v", l)
	}
	// Set through the subgraph, changed outside.
	if err := then.SetConstant(onnxio.NewTensor("w", onnxio.Float, []int{4}, []float64{1, 2, 3, 4})); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{1, 2, 3, 4}, decode(t, g.Constant("w")).Float64()); d != "" {
		t.Error(d)
	}
	if g.Fresh("inner_Add") == "inner_Add" {
		t.Error("a name of a subgraph is not fresh")
	}
	if c := g.Consumers("w"); len(c) != 1 || c[0].Input != -1 {
		t.Errorf("w is read by one node's subgraphs, got %v", c)
	}
}

func TestRefresh(t *testing.T) {
	m := withSubgraph()
	g := graphOf(t, m)
	m.Proto.Graph.Node = append(m.Proto.Graph.Node, &onnxpb.NodeProto{OpType: ptr("Neg"), Input: []string{"y"}, Output: []string{"z"}})
	if err := g.Refresh(); err != nil {
		t.Fatal(err)
	}
	if g.Producer("z") == nil || len(g.Nodes) != 2 || g.Subgraphs(g.Nodes[0])[1].Outer != g {
		t.Error("the index is stale")
	}
	m.Proto.Graph.Node[1].Input[0] = "ghost"
	if err := g.Refresh(); err == nil {
		t.Error("a missing tensor was accepted")
	}
}

func TestAttributes(t *testing.T) {
	var m onnxpb.ModelProto
	m.Graph = new(onnxpb.GraphProto)
	onnxtest.Node("Op", "a _", "b", onnxtest.Attr("i", 3), onnxtest.Attr("is", 1, 2), onnxtest.Attr("f", 0.5), onnxtest.Attr("s", "text"))(&m)
	n := m.Graph.Node[0]
	if onnxio.AttrInt(n, "i", 9) != 3 || onnxio.AttrInt(n, "none", 9) != 9 ||
		!cmp.Equal(onnxio.AttrInts(n, "is"), []int64{1, 2}) || onnxio.AttrInts(n, "none") != nil ||
		onnxio.AttrFloat(n, "f", 9) != 0.5 || onnxio.AttrFloat(n, "none", 9) != 9 ||
		onnxio.AttrString(n, "s", "d") != "text" || onnxio.AttrString(n, "none", "d") != "d" || onnxio.Attr(n, "none") != nil {
		t.Error("wrong attribute values")
	}
	onnxio.SetAttrInt(n, "i", 4)
	onnxio.SetAttrInt(n, "new", 5)
	onnxio.SetAttrInts(n, "is", []int64{6})
	onnxio.RemoveAttr(n, "s")
	if onnxio.AttrInt(n, "i", 0) != 4 || onnxio.AttrInt(n, "new", 0) != 5 || !cmp.Equal(onnxio.AttrInts(n, "is"), []int64{6}) || len(n.Attribute) != 4 {
		t.Errorf("attributes are %v", n.Attribute)
	}
	if got := onnxio.Label(n); got != `Op "Op_b"` {
		t.Error(got)
	}
	n.Name = nil
	if got := onnxio.Label(n); got != `Op → "b"` {
		t.Error(got)
	}
}

func TestDims(t *testing.T) {
	dims, params, ok := onnxio.Dims(onnxtest.Value("x", "N", 3, nil, -1))
	if !ok || !cmp.Equal(dims, []int64{-1, 3, -1, -1}) || !cmp.Equal(params, []string{"N", "", "", ""}) {
		t.Error(dims, params, ok)
	}
	if _, _, ok := onnxio.Dims(onnxtest.Value("x")); ok {
		t.Error("unknown rank passed for known")
	}
	if dims, _, ok := onnxio.Dims(onnxtest.TypedValue("x", onnxio.Bool)); !ok || len(dims) != 0 {
		t.Error("a scalar has no axes, and is known")
	}
}
