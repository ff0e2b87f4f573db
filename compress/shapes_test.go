package compress_test

import (
	"context"
	"slices"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Sizes that are given for the analysis do not become those of the result: what was computed from
// the batch still follows the batch.
func TestGivenSizesAreNotWritten(t *testing.T) {
	enginetest.Require(t)
	const batch = `
		s = Shape(x)
		n = Slice(s, s0{0}, e1{1})
		`
	for name, c := range map[string]struct {
		dims  []int
		graph string
	}{
		"Reshape that keeps the batch in its place": {[]int{3, 4, 4}, `
			x: N 3 4 4
			a = Conv(x, w[8 3 1 1])` + batch + `t = Concat(n, rest{128}) axis=0
			r = Reshape(a, t)
			y = MatMul(r, w2[128 5])`},
		"Reshape that moves the batch": {[]int{3, 4, 4}, `
			x: N 3 4 4
			a = Conv(x, w[8 3 1 1])` + batch + `t = Concat(eight{8}, n, rest{16}) axis=0
			p = Transpose(a) perm=1,0,2,3
			r = Reshape(p, t)
			q = Transpose(r) perm=1,2,0
			y = MatMul(q, w2[8 5])`},
		"Reshape to batch times heads": {[]int{4, 6}, `
			x: N 4 6
			a = MatMul(x, w[6 12])` + batch + `m = Mul(n, heads{3})
			t = Concat(four{4}, m, size{4}) axis=0
			f = Concat(n, four, rest{12}) axis=0
			p = Transpose(a) perm=1,0,2
			b = Reshape(p, t)
			c = Relu(b)
			g = Concat(four, n, rest) axis=0
			d = Reshape(c, g)
			e = Transpose(d) perm=1,0,2
			y = MatMul(e, w2[12 5])`},
		"state of a GRU": {[]int{4, 5}, `
			x: N 4 5` + batch + `d = Concat(one{1}, n, h{6}) axis=0
			c = ConstantOfShape(d)
			t = Transpose(x) perm=1,0,2
			a b = GRU(t, w1[1 18 5], r1[1 18 6], _, _, c) hidden_size=6
			q = Squeeze(b, ax{0})
			y = MatMul(q, w2[6 3])`},
		"Expand": {[]int{4, 5}, `
			x: N 4 5
			a = MatMul(x, w1[5 6])
			m = ReduceMean(a) axes=[0] keepdims=1` + batch + `d = Concat(n, r{4 6}) axis=0
			b = Expand(m, d)
			y = MatMul(b, w2[6 2])`},
		"Resize": {[]int{3, 4, 4}, `
			x: N 3 4 4
			a = Conv(x, w[8 3 1 1])
			s = Shape(a)
			n = Slice(s, s0{0}, e2{2})
			t = Concat(n, to{8 8}) axis=0
			r = Resize(a, _, _, t)
			y = Conv(r, w2[5 8 1 1])`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := onnxtest.Parse(c.graph)
			if err != nil {
				t.Fatal(err)
			}
			out, report, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true, InputShapes: map[string][]int{"x": append([]int{4}, c.dims...)}}})
			if err != nil {
				t.Fatal(err)
			}
			if report.After.Params >= report.Before.Params {
				t.Fatalf("nothing was narrowed: %+v", report.Spaces)
			}
			s, err := engine.Open(out, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			size := 3
			for _, d := range c.dims {
				size *= d
			}
			y, err := s.Run(context.Background(), map[string]*engine.Value{"x": engine.Float32(make([]float32, size), append([]int{3}, c.dims...)...)})
			if err != nil {
				t.Fatalf("on three samples: %v", err)
			}
			if d := y["y"].Dims; !slices.Contains(d, 3) {
				t.Errorf("of three samples the output is %v", d)
			}
		})
	}
}

// A shape that comes to be equal to a constant further down is read there, and that comes first.
func TestEqualShapesStandFirst(t *testing.T) {
	m := parse(t, `
		x: N 3 4 4
		a = Conv(x, w1[8 3 1 1])
		p = Slice(a, zero{0}, half{4}, channels{1})
		q = Slice(a, half, all{8}, channels)
		c = Add(p, q)
		b = Conv(c, w2[6 4 1 1])
		k = Constant() value_ints=[2]
		s = Slice(b, zero, k, columns{3})
		y = Relu(s)`)
	out, _, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true, Lossless: job.Off}})
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{"x": true, "": true}
	for _, tp := range out.Proto.GetGraph().GetInitializer() {
		made[tp.GetName()] = true
	}
	for _, n := range out.Proto.GetGraph().GetNode() {
		for _, in := range n.GetInput() {
			if !made[in] {
				t.Errorf("%s reads %q before it is made", onnxio.Label(n), in)
			}
		}
		for _, o := range n.GetOutput() {
			made[o] = true
		}
	}
}

// A size whose name says that it is a batch times heads is another one with fewer heads: where other
// tensors have as many heads as before, onnxruntime would take both for equal.
func TestNamesOfSizesThatChange(t *testing.T) {
	m := parse(t, `
		x: 4 N 6
		q = MatMul(x, wq[6 8])
		k = MatMul(x, wk[6 8])
		v = MatMul(x, wv[6 8])
		q1 = Reshape(q, to{4 -1 2})
		k1 = Reshape(k, to)
		v1 = Reshape(v, to)
		q2 = Transpose(q1) perm=1,0,2
		k2 = Transpose(k1) perm=1,2,0
		v2 = Transpose(v1) perm=1,0,2
		d = MatMul(q2, k2)
		p = Softmax(d) axis=-1
		o = MatMul(p, v2)
		o1 = Transpose(o) perm=1,0,2
		o2 = Reshape(o1, back{4 -1 8})
		y = MatMul(o2, wo[8 3])`)
	m.Proto.Graph.ValueInfo = append(m.Proto.Graph.ValueInfo, onnxtest.Value("q2", "4*batch", 4, 2), onnxtest.Value("q", 4, "batch", 8))
	out, _, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"q2": "", "q": "batch"}
	for _, vi := range out.Proto.GetGraph().GetValueInfo() {
		dims, params, _ := onnxio.Dims(vi)
		for i, d := range dims {
			if name, ok := want[vi.GetName()]; ok && d <= 0 && params[i] != name {
				t.Errorf("%q has an axis of size %q, want %q", vi.GetName(), params[i], name)
			}
		}
	}
}
