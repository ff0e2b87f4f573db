package edit_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// zeroed are networks with a block that adds nothing, since the weight "zero" is, and the names of
// the tensors that are something else without it.
var zeroed = map[string]struct {
	text    string
	changed []string
}{
	"between two Relus": {`
		x: N 3 6 6
		s = Conv(x, w0[8 3 3 3], b0[8]) pads=1,1,1,1
		r = Relu(s)
		c = Conv(r, w1[8 8 3 3], b1[8]) pads=1,1,1,1
		d = Relu(c)
		e = Conv(d, zero[8 8 3 3]) pads=1,1,1,1
		a = Add(e, r)
		h = Relu(a)
		y = Conv(h, w3[4 8 1 1], b3[4])`, []string{"a", "h"}},
	"behind a pool": {`
		x: N 3 6 6
		s = Conv(x, w0[8 3 3 3], b0[8]) pads=1,1,1,1
		r = Relu(s)
		p = MaxPool(r) kernel_shape=2,2 strides=2,2
		e = Conv(p, zero[8 8 3 3]) pads=1,1,1,1
		a = Add(e, p)
		h = Relu(a)
		y = Conv(h, w3[4 8 1 1], b3[4])`, []string{"a"}},
	"read elsewhere too": {`
		x: N 8
		e = Gemm(x, we[8 12], be[12])
		p = Gemm(e, zero[12 12])
		a = Add(e, p)
		b = Concat(a, e) axis=1
		y = Gemm(b, wy[24 3])`, []string{"e"}},
	"from an input to an output": {`
		x: N 8
		p = Gemm(x, zero[8 8])
		y = Add(x, p)`, []string{"y"}},
	"before its norm": {`
		opset 17
		x: N 5 8
		e = MatMul(x, we[8 12])
		n = LayerNormalization(e, s[12], o[12])
		p = MatMul(n, zero[12 12])
		h = Add(e, p)
		y = MatMul(h, wy[12 3])`, []string{"h"}},
	"behind its norm": {`
		opset 17
		x: N 5 8
		e = MatMul(x, we[8 12])
		n = LayerNormalization(e, s[12], o[12])
		p = MatMul(n, zero[12 12])
		h = Add(n, p)
		m = LayerNormalization(h, s2[12], o2[12])
		y = MatMul(m, wy[12 3])`, []string{"h"}},
}

// clear sets a weight to zero.
func clear(t *testing.T, m *onnxio.Model, name string) {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Tensor(g.Constant(name))
	if err != nil {
		t.Fatal(err)
	}
	w.SetFloat64(w.Dims, make([]float64, w.Len()))
	if err := g.SetConstant(w); err != nil {
		t.Fatal(err)
	}
}

// A block that adds nothing can go without a loss.
func TestDropOfZeroBranch(t *testing.T) {
	for name, c := range zeroed {
		m, err := onnxtest.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		clear(t, m, "zero")
		s, err := edit.NewSubject(m, coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		blocks := s.Analysis.Blocks()
		if len(blocks) != 1 {
			t.Fatalf("%s: %d blocks, want 1", name, len(blocks))
		}
		out := s.Model.Clone()
		dropped, err := edit.Drop(out, blocks)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		changed := dropped.Changed
		if slices.Sort(changed); !slices.Equal(changed, c.changed) {
			t.Errorf("%s: %v changed, want %v", name, changed, c.changed)
		}
		if err := out.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		g, err := out.Graph()
		if err != nil {
			t.Fatal(err)
		}
		if g.Constant("zero") != nil || len(g.Nodes) >= len(s.Graph.Nodes) && name != "from an input to an output" {
			t.Errorf("%s: the block is still there", name)
		}
		d := modeltest.Noise(t, m, 6, 1)
		if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-6 {
			t.Errorf("%s: outputs differ by %g of the largest", name, diff)
		}
		modeltest.SameInBatches(t, out, d)
	}
}

// Blocks in a row, and inside of one another, can go together.
func TestDropOfSeveral(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 8
		e = Gemm(x, we[8 12], be[12])
		p = Gemm(e, w1[12 12])
		q = Tanh(p)
		r = Gemm(q, w2[12 12])
		i = Add(q, r)
		o = Add(e, i)
		u = Gemm(o, w3[12 12])
		v = Add(u, o)
		y = Gemm(v, wy[12 3])`)
	if err != nil {
		t.Fatal(err)
	}
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := s.Model.Clone()
	blocks := s.Analysis.Blocks()
	slices.Reverse(blocks) // whatever their order
	if _, err := edit.Drop(out, blocks); err != nil {
		t.Fatal(err)
	}
	g, err := out.Graph()
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]int{}
	for _, n := range g.Nodes {
		ops[n.GetOpType()]++
	}
	if want := map[string]int{"Gemm": 2}; !maps.Equal(ops, want) {
		t.Errorf("left are %v, want %v", ops, want)
	}
	if w := len(g.Proto.GetInitializer()); w != 3 {
		t.Errorf("%d weights are left, want 3", w)
	}
}
