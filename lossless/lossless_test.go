package lossless_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A weights edits the constants of a model under test.
type weights struct {
	t testing.TB
	g *onnxio.Graph
}

// each replaces the elements of a constant whose index along an axis is one of those given.
func (w weights) each(name string, axis int, at []int, f func(x float64) float64) {
	w.t.Helper()
	w.change(name, func(dims []int, data []float64) {
		inner := 1
		for _, d := range dims[axis+1:] {
			inner *= d
		}
		for e := range data {
			if slices.Contains(at, e/inner%dims[axis]) {
				data[e] = f(data[e])
			}
		}
	})
}

func (w weights) set(name string, axis int, at []int, x float64) {
	w.t.Helper()
	w.each(name, axis, at, func(float64) float64 { return x })
}

// copy makes the elements at to equal to those at from, along axis 0.
func (w weights) copy(name string, from, to int) {
	w.t.Helper()
	w.change(name, func(dims []int, data []float64) {
		inner := len(data) / dims[0]
		copy(data[to*inner:][:inner], data[from*inner:][:inner])
	})
}

func (w weights) change(name string, f func(dims []int, data []float64)) {
	w.t.Helper()
	tp := w.g.Constant(name)
	if tp == nil {
		w.t.Fatalf("no constant %q", name)
	}
	t, err := w.g.Model.Tensor(tp)
	if err != nil {
		w.t.Fatal(err)
	}
	data := t.Float64()
	f(t.Dims, data)
	t.Name = name
	t.SetFloat64(t.Dims, data)
	if err := w.g.SetConstant(t); err != nil {
		w.t.Fatal(err)
	}
}

// cases hold a graph, what is done to its weights, and what must go. Each is also run: outputs
// stay, a second pass finds nothing, and untouched weights keep their bits.
var cases = []struct {
	name  string
	graph string
	edit  func(w weights)
	want  lossless.Report // counts alone
	left  string          // part of a reason why channels stay
}{
	{
		name: "nothing to do",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6]) pads=1,1,1,1
			r = Relu(a)
			y = Conv(r, w2[4 6 3 3], b2[4]) pads=1,1,1,1`,
	},
	{
		name: "dead filters, across padding",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6]) pads=1,1,1,1
			r = Relu(a)
			y = Conv(r, w2[4 6 3 3], b2[4]) pads=1,1,1,1`,
		edit: func(w weights) {
			w.set("w1", 0, []int{1, 4}, 0)
			w.set("b1", 0, []int{1, 4}, -1)
		},
		want: lossless.Report{Constant: 2},
	},
	{
		name: "dead filters before a depthwise Conv, in whole blocks of eight",
		graph: `x: N 3 8 8
			a = Conv(x, w1[24 3 3 3], b1[24])
			r = Relu(a)
			d = Conv(r, w2[24 1 3 3], b2[24]) group=24
			y = Conv(d, w3[4 24 1 1], b3[4])`,
		edit: func(w weights) {
			w.set("w3", 1, []int{0, 1, 2, 3, 5, 8, 13, 20, 21, 22}, 0)
		},
		want: lossless.Report{Unread: 8},
		left: "multiple of what is fast",
	},
	{
		name: "filters that weight decay left at 1e-30",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6])
			r = Relu(a)
			y = Conv(r, w2[4 6 3 3], b2[4]) pads=1,1,1,1`,
		edit: func(w weights) {
			w.each("w1", 0, []int{1, 4}, func(x float64) float64 { return 1e-30 * x })
			w.set("b1", 0, []int{1, 4}, -1)
		},
		want: lossless.Report{Constant: 2},
	},
	{
		name: "constant folds into a bias",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6]) pads=1,1,1,1
			r = Relu(a)
			y = Conv(r, w2[4 6 3 3], b2[4])`,
		edit: func(w weights) {
			w.set("w1", 0, []int{0, 5}, 0)
			w.set("b1", 0, []int{0, 5}, 0.7)
		},
		want: lossless.Report{Constant: 2},
	},
	{
		name: "constant folds into a bias that was not there",
		graph: `x: N 5
			a = Gemm(x, w1[5 8], b1[8])
			s = Sigmoid(a)
			y = Gemm(s, w2[8 3]) alpha=0.5`,
		edit: func(w weights) { w.set("w1", 1, []int{2}, 0) },
		want: lossless.Report{Constant: 1},
	},
	{
		name: "constant across padding stays",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6]) pads=1,1,1,1
			r = Relu(a)
			y = Conv(r, w2[4 6 3 3], b2[4]) pads=1,1,1,1`,
		edit: func(w weights) {
			w.set("w1", 0, []int{0}, 0)
			w.set("b1", 0, []int{0}, 0.7)
		},
		left: "padding",
	},
	{
		name: "constant through a depthwise Conv without padding, a pool and BatchNormalization",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 1 1], b1[6])
			c = Clip(a, lo<0>, hi<6>)
			d = Conv(c, w2[6 1 3 3], b2[6]) group=6
			n = BatchNormalization(d, s[6], o[6], m[6], v[6])
			p = AveragePool(n) kernel_shape=2,2
			y = Conv(p, w3[4 6 1 1])`,
		edit: func(w weights) {
			w.set("w1", 0, []int{3}, 0)
			w.set("b1", 0, []int{3}, 9)
			w.each("v", 0, []int{0, 1, 2, 3, 4, 5}, math.Abs)
		},
		want: lossless.Report{Constant: 1},
	},
	{
		name: "a padded depthwise Conv makes a constant uneven",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 1 1], b1[6])
			c = Relu(a)
			d = Conv(c, w2[6 1 3 3], b2[6]) group=6 pads=1,1,1,1
			y = Conv(d, w3[4 6 1 1])`,
		edit: func(w weights) {
			w.set("w1", 0, []int{3}, 0)
			w.set("b1", 0, []int{3}, 9)
		},
	},
	{
		name: "zero scale of a BatchNormalization",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3])
			n = BatchNormalization(a, s[6], o[6], m[6], v[6])
			r = Relu(n)
			y = Conv(r, w2[4 6 3 3], b2[4])`,
		edit: func(w weights) {
			w.set("s", 0, []int{1, 2}, 0)
			w.set("o", 0, []int{1}, 0.5)
			w.set("o", 0, []int{2}, -0.5)
			w.each("v", 0, []int{0, 1, 2, 3, 4, 5}, math.Abs)
		},
		want: lossless.Report{Constant: 2},
	},
	{
		name: "duplicates",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6]) pads=1,1,1,1
			n = BatchNormalization(a, s[6], o[6], m[6], v[6])
			r = Relu(n)
			y = Conv(r, w2[4 6 3 3], b2[4]) pads=1,1,1,1`,
		edit: func(w weights) {
			w.each("v", 0, []int{0, 1, 2, 3, 4, 5}, math.Abs)
			for _, name := range []string{"w1", "b1", "s", "o", "m", "v"} {
				w.copy(name, 1, 4)
				w.copy(name, 1, 5)
				if name != "o" { // this pair differs in one number
					w.copy(name, 0, 2)
				}
			}
		},
		want: lossless.Report{Duplicate: 2},
	},
	{
		name: "duplicates through a Flatten",
		graph: `x: N 3 4 4
			a = Conv(x, w1[6 3 3 3], b1[6])
			r = Relu(a)
			f = Flatten(r)
			y = Gemm(f, w2[24 5], b2[5])`,
		edit: func(w weights) {
			w.copy("w1", 0, 3)
			w.copy("b1", 0, 3)
		},
		want: lossless.Report{Duplicate: 1},
	},
	{
		name: "channels that readers weigh with zero",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6])
			r = Relu(a)
			y = Conv(r, w2[4 6 3 3], b2[4])
			z = Conv(r, w3[4 6 1 1])
			-> y z`,
		edit: func(w weights) {
			w.set("w2", 1, []int{0, 2, 3}, 0)
			w.set("w3", 1, []int{2, 3, 5}, 0)
		},
		want: lossless.Report{Unread: 2},
	},
	{
		name: "a Slice that takes 5 of 16",
		graph: `x: N 3 8 8
			a = Conv(x, w1[16 3 3 3], b1[16])
			y = Slice(a, st{2}, en{7}, ax{1})`,
		want: lossless.Report{Unread: 11},
	},
	{
		name: "an unread branch and what it is made of",
		graph: `x: N 5
			a = Gemm(x, w1[5 8], b1[8])
			d = Gemm(a, w3[8 4])
			e = Relu(d)
			y = Gemm(a, w2[8 3], b2[3])
			-> y`,
		want: lossless.Report{UnusedNodes: []string{"", ""}, UnusedInitializers: []string{""}},
	},
	{
		name: "one death follows from another",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 1 1], b1[6])
			r = Relu(a)
			b = Conv(r, w2[5 6 3 3], b2[5])
			q = Relu(b)
			y = Conv(q, w3[4 5 3 3], b3[4])`,
		edit: func(w weights) {
			w.set("w3", 1, []int{0}, 0) // so channel 0 of b is unread, and with it
			w.set("w2", 1, []int{2}, 0) // channel 2 of r, which it alone reads
			w.set("w2", 0, []int{0}, 1)
		},
		want: lossless.Report{Unread: 2},
	},
	{
		name: "a stream is dead only where all branches are",
		graph: `x: N 4 8 8
			a = Conv(x, w1[6 4 1 1], b1[6])
			b = Conv(a, w2[6 6 3 3], b2[6]) pads=1,1,1,1
			r = Relu(b)
			s = Add(a, r)
			y = Conv(s, w3[4 6 1 1], b3[4])`,
		edit: func(w weights) {
			w.set("w2", 0, []int{1, 3}, 0)
			w.set("b2", 0, []int{1, 3}, -1)
			w.set("w1", 0, []int{3}, 0)
			w.set("b1", 0, []int{3}, 0)
		},
		want: lossless.Report{Constant: 1},
	},
	{
		name: "all channels of a branch are dead",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 1 1], b1[6])
			r = Relu(a)
			b = Conv(r, w2[3 6 1 1], b2[3])
			y = Add(x, b)`,
		edit: func(w weights) {
			w.set("w1", 0, []int{0, 1, 2, 3, 4, 5}, 0)
			w.set("b1", 0, []int{0, 1, 2, 3, 4, 5}, -1)
		},
		want: lossless.Report{Constant: 5}, // one must stay on the axis
	},
	{
		name: "groups keep one width",
		graph: `x: N 4 8 8
			a = Conv(x, w1[8 4 1 1], b1[8])
			r = Relu(a)
			b = Conv(r, w2[6 4 3 3], b2[6]) group=2
			y = Conv(b, w3[4 6 1 1])`,
		edit: func(w weights) {
			w.set("w1", 0, []int{0, 1, 6}, 0)
			w.set("b1", 0, []int{0, 1, 6}, -1)
		},
		want: lossless.Report{Constant: 2},
		left: "groups",
	},
	{
		name: "outputs and inputs are frozen",
		graph: `x: N 3 8 8
			y = Conv(x, w1[6 3 3 3], b1[6])
			z = Relu(y)
			-> y z`,
		edit: func(w weights) {
			w.set("w1", 0, []int{0, 1}, 0)
			w.set("w1", 1, []int{2}, 0)
			w.copy("w1", 3, 4)
			w.copy("b1", 3, 4)
		},
	},
	{
		name: "subnormal weights",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6])
			r = Relu(a)
			y = Conv(r, w2[4 6 3 3], b2[4])`,
		edit: func(w weights) { w.set("w2", 2, []int{0}, 1e-39) },
		want: lossless.Report{Flushed: []lossless.Flushed{{Tensor: "w2", Values: 4 * 6 * 3}}},
	},
	{
		name: "a subnormal epsilon is no weight",
		graph: `x: N 3 8 8
			a = Conv(x, w1[6 3 3 3], b1[6])
			m = ReduceMean(a) axes=2,3
			q = Mul(m, m)
			e = Add(q, eps<1e-40>)
			y = Div(a, e)`,
	},
	{
		name: "LSTM units that nobody reads stay: they read themselves",
		graph: `x: 4 N 3
			h = LSTM(x, w1[1 24 3], r1[1 24 6], b1[1 48]) hidden_size=6
			s = Squeeze(h, ax{1})
			y = MatMul(s, w2[6 2])`,
		edit: func(w weights) { w.set("w2", 0, []int{1}, 0) },
	},
	{
		name: "LSTM units that nobody reads",
		graph: `x: 4 N 3
			h = LSTM(x, w1[1 24 3], r1[1 24 6], b1[1 48]) hidden_size=6
			s = Squeeze(h, ax{1})
			y = MatMul(s, w2[6 2])`,
		edit: func(w weights) {
			w.set("w2", 0, []int{1}, 0)
			w.set("r1", 2, []int{1}, 0)
		},
		want: lossless.Report{Unread: 1},
	},
}

func TestStrip(t *testing.T) {
	enginetest.Require(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := onnxtest.Parse(c.graph)
			if err != nil {
				t.Fatal(err)
			}
			if c.edit != nil {
				g, err := m.Graph()
				if err != nil {
					t.Fatal(err)
				}
				c.edit(weights{t, g})
			}
			out, r := strip(t, m)
			if r.Unread != c.want.Unread || r.Constant != c.want.Constant || r.Duplicate != c.want.Duplicate ||
				len(r.UnusedNodes) != len(c.want.UnusedNodes) || len(r.UnusedInitializers) != len(c.want.UnusedInitializers) || !slices.Equal(r.Flushed, c.want.Flushed) {
				t.Errorf("unread %d, constant %d, duplicate %d, nodes %q, initializers %q, flushed %v\nwant %d %d %d %d %d %v\nleft %v",
					r.Unread, r.Constant, r.Duplicate, r.UnusedNodes, r.UnusedInitializers, r.Flushed,
					c.want.Unread, c.want.Constant, c.want.Duplicate, len(c.want.UnusedNodes), len(c.want.UnusedInitializers), c.want.Flushed, r.Left)
			}
			if named := slices.ContainsFunc(r.Left, func(l lossless.Left) bool { return strings.Contains(l.Reason, c.left) }); c.left != "" && !named || c.left == "" && len(r.Left) > 0 {
				t.Errorf("left %v, want a reason with %q", r.Left, c.left)
			}
			if r.Changed() && (r.Check == nil || r.Check.Runs == 0) {
				t.Error("the result was not checked")
			}
			checkBits(t, m, out, r)
			again, r2 := strip(t, out)
			if r2.Changed() {
				t.Errorf("a second pass removes more: %+v", r2)
			}
			if encode(t, again) != encode(t, out) {
				t.Error("a second pass that finds nothing changes the file")
			}
		})
	}
}

func strip(t testing.TB, m *onnxio.Model) (*onnxio.Model, *lossless.Report) {
	t.Helper()
	return stripWith(t, m, lossless.Options{})
}

func stripWith(t testing.TB, m *onnxio.Model, o lossless.Options) (*onnxio.Model, *lossless.Report) {
	t.Helper()
	before := encode(t, m)
	out, r, err := lossless.Strip(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	if encode(t, m) != before {
		t.Error("the input changed")
	}
	if r.Reverted {
		t.Errorf("taken back: %v", r.Notes)
	}
	if c := r.Check; c != nil && c.Diff > max(c.Tolerance, 1e-5) {
		t.Errorf("outputs differ by %g, more than %g", c.Diff, c.Tolerance)
	}
	return out, r
}

func encode(t testing.TB, m *onnxio.Model) string {
	t.Helper()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkBits compares weights that have the shape they had and were not flushed: only biases that
// took a constant in may differ.
func checkBits(t testing.TB, before, after *onnxio.Model, r *lossless.Report) {
	t.Helper()
	a, err := coupling.Analyze(before, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	was, is := modeltest.Floats(t, before), modeltest.Floats(t, after)
	for name, x := range was {
		w := a.Weights[name]
		bias := w != nil && len(w.Axes) == 1 && r.Constant > 0
		flushed := slices.ContainsFunc(r.Flushed, func(f lossless.Flushed) bool { return f.Tensor == name })
		if y, ok := is[name]; ok && len(y) == len(x) && !bias && !flushed && !slices.Equal(x, y) {
			t.Errorf("%s changed", name)
		}
	}
}

// The trained models, with channels of every hidden space killed, doubled or cut off from their
// readers.
func TestStripTrainedModels(t *testing.T) {
	enginetest.Require(t)
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name).Clone()
			a, err := coupling.Analyze(m, coupling.Options{})
			if err != nil {
				t.Fatal(err)
			}
			g, err := m.Graph()
			if err != nil {
				t.Fatal(err)
			}
			w := weights{t, g}
			heads := map[*coupling.Space]bool{} // die only whole, behind a Softmax
			for _, s := range a.Spaces {
				if s.Index != nil {
					heads[a.SpaceOf(s.Index)] = true
				}
			}
			dead := 0
			for _, s := range a.Spaces {
				if !s.Narrowable() || s.Groups > 1 || len(s.Pieces) > 1 || heads[s] {
					continue
				}
				for _, u := range s.Uses { // every weight that makes or carries channels 0 and 1
					if u.Role != coupling.Consumed {
						w.set(u.Tensor, u.Axis, []int{0, 1}, 0)
					}
				}
				dead += 2
			}
			_, r := stripWith(t, m, lossless.Options{Multiple: 1})
			if got := r.Constant + r.Unread; got < dead {
				t.Errorf("%d channels removed, want %d: %v %v", got, dead, r.Spaces, r.Left)
			}
		})
	}
}

func TestStripKeeps(t *testing.T) {
	m, err := onnxtest.Parse(`x: N 3 8 8
		a = Conv(x, w1[6 3 3 3], b1[6])
		r = Relu(a)
		y = Conv(r, w2[4 6 3 3], b2[4])`)
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	weights{t, g}.set("w2", 1, []int{0}, 0)
	out, r, err := lossless.Strip(context.Background(), m, lossless.Options{Keep: func(s *coupling.Space) bool { return s.Width == 6 }, NoCheck: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Changed() || encode(t, out) != encode(t, m) {
		t.Errorf("a space that was to stay changed: %+v", r)
	}
}

// A few bytes can ask for tensors that no memory holds.
func TestHugeActivationsAreNotRun(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 3 8 8
		c = Conv(x, w[4 3 3 3], b[4]) pads=60000,60000,60000,60000
		unused = Relu(x)
		p = GlobalAveragePool(c)
		-> p`)
	if err != nil {
		t.Fatal(err)
	}
	_, r := strip(t, m)
	if !r.Changed() || r.Check != nil {
		t.Errorf("removed %v, checked %v", r.UnusedNodes, r.Check)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], `"c"`) {
		t.Errorf("the notes do not name the tensor: %q", r.Notes)
	}
}

// Of a graph whose axis is its own half thirty times over every term is looked at once.
func TestDoublingIsQuick(t *testing.T) {
	text := "x: N 3 1 1\nc0 = Conv(x, w[4 3 1 1])\n"
	for i := range 30 {
		text += fmt.Sprintf("c%d = Concat(c%d, c%d) axis=1\n", i+1, i, i)
	}
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := lossless.Strip(context.Background(), m, lossless.Options{NoCheck: true}); err != nil {
		t.Fatal(err)
	}
}
