package refit_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// deficient are networks with a weight "low" that is given a low rank; its outputs are on the axis
// of the number.
var deficient = map[string]struct {
	text string
	axis int
}{
	"Gemm": {`
		x: N 12
		a = Gemm(x, w1[12 16], b1[16])
		b = Tanh(a)
		c = Gemm(b, low[16 14], b2[14])
		d = Tanh(c)
		y = Gemm(d, w3[14 3])`, 1},
	"Gemm, transposed and scaled": {`
		x: N 12
		a = Gemm(x, w1[12 16], b1[16])
		b = Tanh(a)
		c = Gemm(b, low[14 16], b2[14]) transB=1 alpha=0.5 beta=2.0
		d = Tanh(c)
		y = Gemm(d, w3[14 3])`, 0},
	"MatMul and Add": {`
		x: N 5 12
		b = Tanh(x)
		c = MatMul(b, low[12 14])
		d = Add(c, b2[14])
		e = Tanh(d)
		y = MatMul(e, w3[14 3])`, 1},
	"MatMul alone": {`
		x: N 5 12
		b = Tanh(x)
		c = MatMul(b, low[12 14])
		e = Tanh(c)
		y = MatMul(e, w3[14 3])`, 1},
	"Conv": {`
		x: N 3 9 9
		a = Conv(x, w1[6 3 3 3])
		b = Tanh(a)
		c = Conv(b, low[10 6 3 3], b2[10]) strides=2,2 pads=1,1,1,1
		d = Tanh(c)
		y = Conv(d, w3[3 10 1 1])`, 0},
	"Conv without a bias": {`
		x: N 3 9
		a = Conv(x, w1[6 3 3])
		b = Tanh(a)
		c = Conv(b, low[10 6 3]) dilations=[2]
		d = Tanh(c)
		y = Conv(d, w3[3 10 1])`, 0},
}

// lowered gives the weight "low" a rank.
func lowered(t *testing.T, text string, axis, rank int) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	modeltest.SetWeight(t, m, "low", func(w *onnxio.Tensor) {
		rows, cols := w.Dims[0], w.Len()/w.Dims[0]
		rng := rand.New(rand.NewPCG(1, 2))
		a, b := mat.NewDense(rows, rank, nil), mat.NewDense(rank, cols, nil)
		for _, x := range []*mat.Dense{a, b} {
			x.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() / math.Sqrt(float64(cols)) }, x)
		}
		var ab mat.Dense
		ab.Mul(a, b)
		w.SetFloat64(w.Dims, ab.RawMatrix().Data)
	})
	return m
}

// factored makes two operators of the one that reads "low", which makes "c".
func factored(t *testing.T, m *onnxio.Model, d *dataset.Data, rank int) (child *onnxio.Model, parent teach.Parent, spread *stats.Spread) {
	t.Helper()
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, why := edit.Factorable(s.Graph, s.Analysis, s.Graph.Producer("c"))
	if why != "" {
		t.Fatal(why)
	}
	size := func(tensor string) int64 { return stats.SizeOf(s.Analysis, tensor) }
	spreads, err := stats.Spreads(context.Background(), s.Model, d, []stats.Channels{refit.Made(l)}, size, 0, dataset.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	child, parent = s.Model.Clone(), teach.Parent{Subject: s, Share: 1}
	if _, err := refit.Factor(child, parent, map[string]refit.Factoring{"c": {Rank: rank, Spread: spreads[0]}}); err != nil {
		t.Fatal(err)
	}
	return child, parent, spreads[0]
}

// An operator of low rank becomes two without a loss.
func TestFactorOfLowRank(t *testing.T) {
	const rank = 3
	for name, c := range deficient {
		m := lowered(t, c.text, c.axis, rank)
		d := modeltest.Noise(t, m, 60, 3)
		out, _, _ := factored(t, m, d, rank)
		if err := out.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		before, _ := m.Size()
		if after, _ := out.Size(); after >= before {
			t.Errorf("%s: %d parameters, before %d", name, after, before)
		}
		if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-5 {
			t.Errorf("%s: outputs differ by %g of the largest", name, diff)
		}
		modeltest.SameInBatches(t, out, d)
	}
}

// separable are networks with a kernel "low" that is given a low rank, of its rows and columns, by what
// makes c of b.
var separable = map[string]string{
	"padded":                 "c = Conv(b, low[10 6 3 3], b2[10]) pads=1,1,1,1",
	"without a bias":         "c = Conv(b, low[10 6 3 3]) pads=1,1,1,1",
	"auto_pad":               "c = Conv(b, low[10 6 5 4], b2[10]) auto_pad=SAME_UPPER",
	"rows not padded":        "c = Conv(b, low[10 6 3 3], b2[10]) pads=0,1,0,1 strides=1,1",
	"dilated":                "c = Conv(b, low[10 6 3 3], b2[10]) pads=1,2,1,2 dilations=1,2",
	"padded on a side":       "c = Conv(b, low[10 6 2 3], b2[10]) pads=0,2,1,0 kernel_shape=2,3",
	"few outputs":            "c = Conv(b, low[4 6 3 3], b2[4]) pads=1,1,1,1",
	"more rows than columns": "c = Conv(b, low[10 6 5 2], b2[10]) pads=2,1,2,0",
}

// A kernel of low rank becomes rows and columns without a loss, also where more channels stand between
// them than it needs.
func TestFactorOfKernels(t *testing.T) {
	for name, c := range separable {
		m, err := onnxtest.Parse("x: N 3 9 9\na = Conv(x, w1[6 3 3 3])\nb = Tanh(a)\n" + c + "\nd = Tanh(c)\ny = GlobalAveragePool(d)")
		if err != nil {
			t.Fatal(err)
		}
		const rank = 3
		var saves int
		modeltest.SetWeight(t, m, "low", func(w *onnxio.Tensor) {
			modeltest.Separable(rank)(w)
			saves = w.Len() - rank*(w.Dims[1]*w.Dims[2]+w.Dims[0]*w.Dims[3])
		})
		s, err := edit.NewSubject(m, coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		more := m.Clone()
		if _, err := refit.Factor(more, teach.Parent{Subject: s, Share: 1}, map[string]refit.Factoring{"c": {Rank: rank + 2}}); err != nil {
			t.Fatal(err)
		}
		data := modeltest.Noise(t, m, 60, 3)
		if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, data), modeltest.Outputs(t, more, data)); !(diff <= 1e-5) {
			t.Errorf("%s: outputs differ by %g of the largest where there are channels to spare", name, diff)
		}
		child := m.Clone()
		between, err := refit.Factor(child, teach.Parent{Subject: s, Share: 1}, map[string]refit.Factoring{"c": {Rank: rank}})
		if err != nil || len(between) != 1 {
			t.Fatalf("%s: %v, %v", name, between, err)
		}
		if err := child.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		before, _ := m.Size()
		const biases = 6 + 10 + 3 // which layers may get
		if after, _ := child.Size(); after > before-int64(saves)+biases {
			t.Errorf("%s: %d parameters, before %d", name, after, before)
		}
		d := modeltest.Noise(t, m, 60, 3)
		if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, child, d)); diff > 1e-5 {
			t.Errorf("%s: outputs differ by %g of the largest", name, diff)
		}
		modeltest.SameInBatches(t, child, d)
	}
}

// What two operators of a lower rank lose is what the directions that they leave out vary, and no
// two of that rank lose less.
func TestFactorLosesLeast(t *testing.T) {
	const rank = 2
	for name, c := range deficient {
		m := lowered(t, c.text, c.axis, 5)
		d := modeltest.Noise(t, m, 60, 3)
		out, _, spread := factored(t, m, d, rank)
		mean := name != "MatMul alone"
		values, _, err := spread.Directions(mean)
		if err != nil {
			t.Fatal(err)
		}
		want := 0.0
		for _, v := range values[rank:] {
			want += v
		}
		a, b := tensorOf(t, m, d, "c"), tensorOf(t, out, d, "c")
		have := 0.0
		for i := range a {
			have += (a[i] - b[i]) * (a[i] - b[i]) * float64(len(spread.Mean)) / float64(len(a))
		}
		if name == "MatMul and Add" {
			continue // its bias stands behind c
		}
		if math.Abs(have-want) > 1e-2*want {
			t.Errorf("%s: the mean square that is lost is %g, of the smallest directions %g", name, have, want)
		}
	}
}

// tensorOf is an activation for all samples.
func tensorOf(t *testing.T, m *onnxio.Model, d *dataset.Data, name string) []float64 {
	t.Helper()
	m = m.Clone()
	m.Proto.Graph.Output = []*onnxpb.ValueInfoProto{onnxio.NewValueInfo(name, onnxio.Float)}
	return modeltest.Outputs(t, m, d)
}

// Two operators are fitted and what lies behind them too; a refit of them does not lose what they
// know.
func TestRefitOfFactors(t *testing.T) {
	c := deficient["Conv"]
	m := lowered(t, c.text, c.axis, 8)
	d := modeltest.Noise(t, m, 200, 3)
	child, parent, _ := factored(t, m, d, 3)
	out, report, err := refit.Refit(context.Background(), child, teach.Parents{parent}, refit.Options{Data: d})
	if err != nil {
		t.Fatal(err)
	}
	want := modeltest.Outputs(t, m, d)
	before, after := modeltest.RelativeError(want, modeltest.Outputs(t, child, d)), modeltest.RelativeError(want, modeltest.Outputs(t, out, d))
	if !(after < before) {
		t.Errorf("error %g after the refit, %g before; layers %+v", after, before, report.Layers)
	}
}
