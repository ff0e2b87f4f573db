// Package modeltest holds what the tests of several packages need: the trained models and data in
// testdata, running a model, and comparing outputs.
package modeltest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// preprocess is how the testdata networks want MNIST.
var preprocess = dataset.Preprocess{Scale: 1.0 / 255, Mean: []float64{0.1307}, Std: []float64{0.3081}}

// Dir is the path of a file in testdata, which lies beside go.mod: tests run in the folder of their
// package, and with -trimpath source files do not know theirs.
func Dir(name string) string { return filepath.Join(root(), "testdata", name) }

var root = sync.OnceValue(func() string {
	here, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			panic("no go.mod above " + here)
		}
	}
})

// Names lists all trained models of testdata, without their extension.
func Names(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(Dir("*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no models in testdata: %v", err)
	}
	var out []string
	for _, f := range files {
		b := filepath.Base(f)
		out = append(out, b[:len(b)-len(".onnx")])
	}
	return out
}

// Load reads a model of testdata.
func Load(t testing.TB, name string) *onnxio.Model {
	t.Helper()
	m, err := onnxio.Load(Dir(name + ".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Data opens a data set of testdata; the test is skipped without onnxruntime.
func Data(t testing.TB, name string, o dataset.Options) *dataset.Data {
	t.Helper()
	enginetest.Require(t)
	d, err := dataset.Open(Dir(name+".npz"), preprocess, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Outputs runs a single-output model over a data set.
func Outputs(t testing.TB, m *onnxio.Model, d *dataset.Data) []float64 {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	name := g.Outputs()[0].GetName()
	var out []float64
	err = dataset.Stream(context.Background(), m, d, []string{name}, dataset.StreamOptions{}, func(_, _ int, v map[string]*engine.Value) error {
		out = append(out, v[name].Float64()...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// SameInBatches checks that what a model computes for a sample does not depend, beyond 1e-4 of the
// largest output, on how many are given to it at once.
func SameInBatches(t testing.TB, m *onnxio.Model, d *dataset.Data) {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range g.Outputs() {
		names = append(names, o.GetName())
	}
	s, err := engine.Open(m, engine.Options{Outputs: names})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var first map[string][]float64
	for _, size := range []int{1, 7, d.Len()} {
		all := map[string][]float64{}
		err := dataset.StreamSession(context.Background(), s, d, dataset.StreamOptions{Batch: size}, func(_, _ int, values map[string]*engine.Value) error {
			for _, name := range names {
				all[name] = append(all[name], values[name].Float64()...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = all
		}
		for _, name := range names {
			if diff := MaxDiff(t, first[name], all[name]); !(diff <= 1e-4) {
				t.Errorf("%s: the outputs for %d samples at once differ from those for one by %g of the largest", name, size, diff)
			}
		}
	}
}

// Correct counts the samples whose largest output is the label.
func Correct(t testing.TB, m *onnxio.Model, d *dataset.Data) int {
	t.Helper()
	y := Outputs(t, m, d)
	labels := d.Labels()
	k := len(y) / len(labels)
	n := 0
	for i, l := range labels {
		best := 0
		for j := range k {
			if y[i*k+j] > y[i*k+best] {
				best = j
			}
		}
		if best == l {
			n++
		}
	}
	return n
}

// MaxDiff is max|a−b| / max|a|.
func MaxDiff(t testing.TB, a, b []float64) float64 {
	t.Helper()
	if len(a) != len(b) || len(a) == 0 {
		t.Fatalf("%d outputs against %d", len(a), len(b))
	}
	d, scale := 0.0, 0.0
	for i := range a {
		if math.IsNaN(a[i]) || math.IsNaN(b[i]) {
			t.Fatalf("output %d is NaN", i)
		}
		d = max(d, math.Abs(a[i]-b[i]))
		scale = max(scale, math.Abs(a[i]))
	}
	return d / scale
}

// Floats returns all floating-point weights of a model by name.
func Floats(t testing.TB, m *onnxio.Model) map[string][]float64 {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float64{}
	add := func(name string) {
		tp := g.Constant(name)
		if tp == nil {
			return
		}
		v, err := m.Tensor(tp)
		if err != nil {
			t.Fatal(err)
		}
		if v.F32 != nil || v.F64 != nil {
			out[name] = v.Float64()
		}
	}
	for _, tp := range g.Proto.GetInitializer() {
		add(tp.GetName())
	}
	for _, n := range g.Nodes {
		for _, o := range n.GetOutput() {
			add(o)
		}
	}
	return out
}

// Permutation is a random permutation of n elements.
func Permutation(seed uint64, n int) []int {
	return rand.New(rand.NewPCG(seed, 1)).Perm(n)
}

// AsType returns a copy of a float32 model in another floating-point type: its weights are rounded,
// its inputs, outputs and inner tensors declared anew.
func AsType(t testing.TB, m *onnxio.Model, typ onnxpb.TensorProto_DataType) *onnxio.Model {
	t.Helper()
	m = m.Clone()
	g := m.Proto.Graph
	for i, tp := range g.Initializer {
		if tp.GetDataType() != int32(onnxio.Float) {
			continue
		}
		w, err := m.Tensor(tp)
		if err != nil {
			t.Fatal(err)
		}
		g.Initializer[i] = onnxio.NewTensor(w.Name, typ, w.Dims, w.Float64()).Proto()
	}
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.Output, g.ValueInfo} {
		for _, v := range list {
			if tt := v.GetType().GetTensorType(); tt.GetElemType() == int32(onnxio.Float) {
				e := int32(typ)
				tt.ElemType = &e
			}
		}
	}
	return m
}

// OnlyType fails if a model stores or declares a tensor of float32.
func OnlyType(t testing.TB, m *onnxio.Model, typ onnxpb.TensorProto_DataType) {
	t.Helper()
	seen := 0
	for _, tp := range m.Proto.Graph.Initializer {
		switch tp.GetDataType() {
		case int32(typ):
			seen++
		case int32(onnxio.Float), int32(onnxio.Double):
			t.Errorf("weight %q is of type %v", tp.GetName(), onnxpb.TensorProto_DataType(tp.GetDataType()))
		}
	}
	for _, v := range append(append(m.Proto.Graph.GetInput(), m.Proto.Graph.GetOutput()...), m.Proto.Graph.GetValueInfo()...) {
		if onnxio.ElemType(v) == onnxio.Float {
			t.Errorf("value %q is declared as float32", v.GetName())
		}
	}
	if seen == 0 {
		t.Errorf("no weight is of type %v", typ)
	}
}

// Redrawn is a copy of a float32 model with other weights: each tensor of more than one element is
// drawn anew, with the mean and deviation that it had.
func Redrawn(t testing.TB, m *onnxio.Model, seed uint64) *onnxio.Model {
	t.Helper()
	m = m.Clone()
	rng := rand.New(rand.NewPCG(seed, 5))
	for i, tp := range m.Proto.Graph.Initializer {
		if tp.GetDataType() != int32(onnxio.Float) {
			continue
		}
		w, err := m.Tensor(tp)
		if err != nil {
			t.Fatal(err)
		}
		v := w.Float64()
		if len(v) < 2 {
			continue
		}
		mean, deviation := stat.MeanStdDev(v, nil)
		for i := range v {
			v[i] = mean + deviation*rng.NormFloat64()
		}
		m.Proto.Graph.Initializer[i] = onnxio.NewTensor(w.Name, w.Type, w.Dims, v).Proto()
	}
	return m
}

// Noise is a data set of n standard normal samples for a model; integers are drawn from 0 to 3.
func Noise(t testing.TB, m *onnxio.Model, n int, seed uint64) *dataset.Data {
	return Drawn(t, m, n, seed, func(rng *rand.Rand, _, _ int) float64 { return rng.NormFloat64() })
}

// Drawn is a data set of n samples for a model, whose numbers draw makes, told which sample and
// which number in it they are; integers are drawn from 0 to 3.
func Drawn(t testing.TB, m *onnxio.Model, n int, seed uint64, draw func(rng *rand.Rand, sample, i int) float64) *dataset.Data {
	t.Helper()
	enginetest.Require(t)
	inputs, err := engine.Inputs(m)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 6))
	arrays := map[string]*engine.Value{}
	for _, in := range inputs {
		v := &engine.Value{Name: in.Name, Type: in.Type}
		size := 1
		for _, d := range in.Dims {
			if d < 0 { // the batch, first or not
				d = int64(n)
			}
			size *= int(d)
			v.Dims = append(v.Dims, int(d))
		}
		for i := range size {
			if in.Type == onnxio.Int64 {
				v.I64 = append(v.I64, int64(rng.IntN(4)))
			} else {
				v.F32 = append(v.F32, float32(draw(rng, i/(size/n), i%(size/n))))
			}
		}
		arrays[in.Name] = v
	}
	d, err := dataset.New("noise", arrays, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Degenerate are data sets from which little or nothing can be told, or that are of a size that
// single precision hardly holds.
func Degenerate(t testing.TB, m *onnxio.Model, n int) map[string]*dataset.Data {
	t.Helper()
	type draw = func(rng *rand.Rand, sample, i int) float64
	// of is a number that depends on nothing but another one.
	of := func(i int) float64 { return rand.New(rand.NewPCG(uint64(i), 9)).NormFloat64() }
	out := map[string]*dataset.Data{}
	for name, f := range map[string]draw{
		"zeros":          func(*rand.Rand, int, int) float64 { return 0 },
		"constant":       func(*rand.Rand, int, int) float64 { return 3 },
		"one sample":     func(_ *rand.Rand, _, i int) float64 { return of(i) },
		"two samples":    func(_ *rand.Rand, s, i int) float64 { return of(1000*(s%2) + i) },
		"one number":     func(rng *rand.Rand, _, i int) float64 { return rng.NormFloat64() * float64(max(0, 1-i)) },
		"multiples":      func(_ *rand.Rand, s, i int) float64 { return of(i) * float64(1+s) },
		"one-hot":        func(_ *rand.Rand, s, i int) float64 { return float64(max(0, 1-max(i-s%7, s%7-i))) },
		"huge":           func(rng *rand.Rand, _, _ int) float64 { return 1e20 * rng.NormFloat64() },
		"too huge":       func(rng *rand.Rand, _, _ int) float64 { return 1e38 * rng.Float64() },
		"tiny":           func(rng *rand.Rand, _, _ int) float64 { return 1e-30 * rng.NormFloat64() },
		"subnormal":      func(rng *rand.Rand, _, _ int) float64 { return 1e-42 * rng.NormFloat64() },
		"one huge":       func(rng *rand.Rand, s, _ int) float64 { return rng.NormFloat64() * max(1, 1e18*float64(1-s)) },
		"far from zero":  func(rng *rand.Rand, _, _ int) float64 { return 1e6 + 1e-2*rng.NormFloat64() },
		"of all sizes":   func(rng *rand.Rand, s, _ int) float64 { return rng.NormFloat64() * math.Pow(10, float64(s%37-18)) },
		"mostly nothing": func(rng *rand.Rand, s, _ int) float64 { return rng.NormFloat64() * float64(max(0, 1-s)) },
	} {
		out[name] = Drawn(t, m, n, 1, f)
	}
	return out
}

// RelativeError is Σ(a−b)² / Σ(a−ā)².
func RelativeError(a, b []float64) float64 {
	e := 0.0
	for i, x := range a {
		e += (x - b[i]) * (x - b[i])
	}
	return e / (stat.PopVariance(a, nil) * float64(len(a)))
}

// Perceptron is a small network of three layers with random weights.
func Perceptron(t testing.TB) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(`
		x: N 6
		a = Gemm(x, w1[6 24], b1[24])
		b = Relu(a)
		c = Gemm(b, w2[24 16], b2[16])
		d = Relu(c)
		y = Gemm(d, w3[16 4], b3[4])`)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Chain is so many dense layers of 16 channels one behind the other, with weights of such a size that
// activations keep theirs.
func Chain(t testing.TB, layers int) *onnxio.Model {
	t.Helper()
	var text strings.Builder
	fmt.Fprintln(&text, "h0: N 16")
	for i := range layers {
		fmt.Fprintf(&text, "g%d = Gemm(h%d, w%d[16 16], b%d[16])\nh%d = Relu(g%d)\n", i, i, i, i, i+1, i)
	}
	fmt.Fprintf(&text, "y = Gemm(h%d, v[16 10], c[10])", layers)
	m, err := onnxtest.Parse(text.String())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range m.Proto.Graph.Initializer {
		w, err := m.Tensor(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(w.Dims) == 2 {
			for k := range w.F32 {
				w.F32[k] *= math.Sqrt2 // half of what comes out is cut off
			}
			m.Proto.Graph.Initializer[i] = w.Proto()
		}
	}
	return m
}

// FiniteWhere fails if a number of a model's outputs is NaN or infinite, and none of the original's.
func FiniteWhere(t testing.TB, original, out *onnxio.Model, d *dataset.Data) {
	t.Helper()
	want, have := Outputs(t, original, d), Outputs(t, out, d)
	finite := func(v []float64) bool {
		return !slices.ContainsFunc(v, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
	}
	if finite(want) && !finite(have) {
		t.Error("outputs are not finite")
	}
}

// Structures are small networks in which channels are chosen and operators fitted in different
// ways: layers with activations between, a residual stream, an inverted residual, attention, and
// several outputs.
func Structures(t testing.TB) map[string]*onnxio.Model {
	t.Helper()
	out := map[string]*onnxio.Model{}
	for name, text := range StructureTexts() {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = m
	}
	return out
}

// StructureTexts are the Structures in the notation of onnxtest.Parse.
func StructureTexts() map[string]string {
	return map[string]string{
		"perceptron": `
			x: N 12
			a = Gemm(x, w1[12 16], b1[16])
			b = Relu(a)
			h = Gemm(b, w2[16 10], b2[10])
			r = Relu(h)
			y = Gemm(r, w3[10 4], b3[4])`,
		"residual": `
			x: N 3 5 5
			a = Conv(x, w1[8 3 3 3], b1[8]) pads=1,1,1,1
			r = Relu(a)
			c = Conv(r, w2[8 8 3 3], b2[8]) pads=1,1,1,1
			d = Add(a, c)
			e = Relu(d)
			g = GlobalAveragePool(e)
			f = Flatten(g)
			y = Gemm(f, w3[8 5], b3[5])`,
		"inverted": `
			x: N 3 6 6
			a = Conv(x, w1[6 3 1 1], b1[6])
			b = Conv(a, w2[18 6 1 1], b2[18])
			c = Clip(b, lo<0>, hi<6>)
			d = Conv(c, w3[18 1 3 3], b3[18]) group=18 pads=1,1,1,1
			e = Clip(d, lo, hi)
			f = Conv(e, w4[6 18 1 1], b4[6])
			g = Conv(f, w5[10 6 1 1], b5[10])
			y = Softmax(g) axis=1`,
		"attention": `
			opset 23
			x: N 5 8
			e = MatMul(x, we[8 12])
			n = LayerNormalization(e, s[12], o[12])
			q = MatMul(n, wq[12 12])
			k = MatMul(n, wk[12 12])
			v = MatMul(n, wv[12 12])
			t = Attention(q, k, v) q_num_heads=3 kv_num_heads=3
			p = MatMul(t, wo[12 12])
			h = Add(e, p)
			y = MatMul(h, wy[12 3])`,
		"two outputs": `
			x: N 9
			a = Gemm(x, w1[9 14], b1[14])
			t = Tanh(a)
			u = Gemm(t, w2[14 8], b2[8])
			v = LpNormalization(u) axis=1
			l = Gemm(t, w3[14 3], b3[3])
			s = Sigmoid(l)
			-> v s`,
	}
}
