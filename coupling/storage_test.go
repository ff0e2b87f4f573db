package coupling_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Weights are found, and edited, wherever a file keeps them.
func TestWeightsAnywhere(t *testing.T) {
	const text = `
		x: N 3 4 4
		a = Conv(x, w1[6 3 1 1], b1[6])
		r = Relu(a)
		b = Conv(r, w2[6 6 1 1], b1)
		c = Add(b, r)
		p = GlobalAveragePool(c)
		f = Flatten(p)
		y = Gemm(f, w3[6 4])`
	want := []string{`Conv_a (in): 3, frozen: graph input "x"`, "Conv_a: 6, residual", `Gemm_y: 4, frozen: graph output "y"`}
	for name, store := range map[string]func(m *onnxio.Model){
		"initializers": func(*onnxio.Model) {},
		"initializers that are inputs too": func(m *onnxio.Model) {
			g := m.Proto.Graph
			for _, tp := range g.Initializer {
				v := onnxio.NewValueInfo(tp.GetName(), onnxio.Float)
				dims := make([]int, len(tp.Dims))
				for i, d := range tp.Dims {
					dims[i] = int(d)
				}
				onnxio.SetDims(v, dims)
				g.Input = append(g.Input, v)
			}
		},
		"Constant nodes": func(m *onnxio.Model) {
			g := m.Proto.Graph
			for _, tp := range slices.Backward(g.Initializer) {
				op, name, value, typ := "Constant", "k_"+tp.GetName(), "value", onnxpb.AttributeProto_TENSOR
				n := &onnxpb.NodeProto{OpType: &op, Name: &name, Output: []string{tp.GetName()}}
				n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: &value, Type: &typ, T: tp})
				g.Node = append([]*onnxpb.NodeProto{n}, g.Node...)
			}
			g.Initializer = nil
		},
		"typed fields": func(m *onnxio.Model) {
			for _, tp := range m.Proto.Graph.Initializer {
				v, err := m.Tensor(tp)
				if err != nil {
					t.Fatal(err)
				}
				tp.FloatData, tp.RawData = v.F32, nil
			}
		},
		"double, cast": func(m *onnxio.Model) {
			g := m.Proto.Graph
			for i, tp := range g.Initializer {
				v, err := m.Tensor(tp)
				if err != nil {
					t.Fatal(err)
				}
				wide := "d_" + tp.GetName()
				op, to, typ, float := "Cast", "to", onnxpb.AttributeProto_INT, int64(onnxio.Float)
				n := &onnxpb.NodeProto{OpType: &op, Name: &wide, Input: []string{wide}, Output: []string{tp.GetName()}}
				n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: &to, Type: &typ, I: &float})
				g.Node = append([]*onnxpb.NodeProto{n}, g.Node...)
				g.Initializer[i] = onnxio.NewTensor(wide, onnxio.Double, v.Dims, v.Float64()).Proto()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := graph(t, text)
			store(m)
			a, err := coupling.Analyze(m, coupling.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, describe(a)); d != "" {
				t.Errorf("spaces (-want +got):\n%s", d)
			}
			identities(t, m)
		})
	}
}

// A branch reads the weights of the graph around it, which that graph reads too.
func TestCapturedWeights(t *testing.T) {
	m := branching(t, `
		x: 2 3 4 4
		a = Conv(x, w1[6 3 1 1], b1[6])
		b = Conv(a, w2[6 6 1 1], b1)
		m = ReduceMax(x) keepdims=0
		g = Greater(m, zero<-100>)
		y1 = Either(g)
		h = Add(y1, b)
		y = Conv(h, w3[2 6 1 1])`, `
		a: 2 6 4 4
		w2: 6 6 1 1
		b1: 6
		c = Conv(a, w2, b1)`, `
		a: 2 6 4 4
		d = Relu(a)`)
	a, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`Conv_a (in): 3, frozen: graph input "x"`, "Conv_a: 6, residual", `Conv_y: 2, frozen: graph output "y"`}
	if d := cmp.Diff(want, describe(a)); d != "" {
		t.Errorf("spaces (-want +got):\n%s", d)
	}
	identities(t, m)
}

// What a Loop computes, and what a function of the model does, stays whole, and so does all that
// they read.
func TestOpaqueBodies(t *testing.T) {
	loop := graph(t, `
		x: 2 3 4 4
		a = Conv(x, w1[6 3 1 1])
		b = Conv(a, w2[5 6 1 1])
		y1 = Loop(times{=2}, _, b)
		y = Conv(y1, w3[2 5 1 1])`)
	body := graph(t, `
		i: int
		go: int
		s: 2 5 4 4
		k = Identity(go)
		c = Conv(a, w4[5 6 1 1])
		d = Add(s, c)
		-> k d`).Proto.Graph
	for _, v := range []*onnxpb.ValueInfoProto{body.Input[1], body.Output[0]} {
		onnxio.SetDims(v, nil)
		elem := int32(onnxpb.TensorProto_BOOL)
		v.GetType().GetTensorType().ElemType = &elem
	}
	onnxio.SetDims(body.Input[0], nil)
	name, typ := "body", onnxpb.AttributeProto_GRAPH
	body.Name = &name
	for _, n := range loop.Proto.Graph.Node {
		if n.GetOpType() == "Loop" {
			n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: &name, Type: &typ, G: body})
		}
	}
	function := graph(t, `
		x: 2 3 4 4
		a = Conv(x, w1[6 3 1 1])
		b = Conv(a, w2[5 6 1 1])
		c = own.Twice(b)
		y = Conv(c, w3[2 5 1 1])`)
	fn, domain, add, empty, version := "Twice", "own", "Add", "", int64(17)
	function.Proto.Functions = append(function.Proto.Functions, &onnxpb.FunctionProto{
		Name: &fn, Domain: &domain, Input: []string{"v"}, Output: []string{"w"},
		Node:        []*onnxpb.NodeProto{{OpType: &add, Input: []string{"v", "v"}, Output: []string{"w"}}},
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: &empty, Version: &version}},
	})
	for name, c := range map[string]struct {
		m    *onnxio.Model
		want []string
	}{
		"Loop": {loop, []string{
			`Conv_a (in): 3, frozen: graph input "x"`,
			`Conv_a: 6, frozen: Loop "Loop_y1" reads it in a subgraph`,
			`Conv_b: 5, frozen: Loop "Loop_y1" has no rule`,
			`Conv_y (in): 5, frozen: Conv "Conv_y" reads it, and its shape is not known`,
			`Conv_y: 2, frozen: graph output "y"`,
		}},
		"function": {function, []string{
			`Conv_a (in): 3, frozen: graph input "x"`,
			"Conv_a: 6, linear",
			`Conv_b: 5, frozen: Twice "Twice_c" has no rule`,
			`Conv_y (in): 5, frozen: Conv "Conv_y" reads it, and its shape is not known`,
			`Conv_y: 2, frozen: graph output "y"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := coupling.Analyze(c.m, coupling.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, describe(a)); d != "" {
				t.Errorf("spaces (-want +got):\n%s", d)
			}
			identities(t, c.m)
		})
	}
}
