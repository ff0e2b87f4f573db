package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// passThrough is a flow over random samples of some shapes, which its model hands through as they
// are: inputs "x" and "y".
func passThrough(t *testing.T, n, batch int, x, y []int) *stats.Flow {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(dims []int) *engine.Value {
		v := engine.Float32(nil, append([]int{n}, dims...)...)
		v.F32 = make([]float32, v.Len())
		for i := range v.F32 {
			v.F32[i] = float32(rng.NormFloat64() + 0.5)
		}
		return v
	}
	declared := func(name string, dims []int) []any {
		out := []any{"N"}
		for _, d := range dims {
			out = append(out, d)
		}
		return out
	}
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", declared("x", x)...), onnxtest.Value("y", declared("y", y)...)),
		onnxtest.Values(onnxtest.Value("u"), onnxtest.Value("v")),
		onnxtest.Node("Identity", "x", "u"), onnxtest.Node("Identity", "y", "v"),
	)
	data, err := dataset.New("random", map[string]*engine.Value{"x": random(x), "y": random(y)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := stats.NewFlow(m, data, dataset.StreamOptions{Batch: batch})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// rowsOf lists the vectors along an axis, the other axes in order.
func rowsOf(v *engine.Value, axis int) [][]float64 {
	if axis < 0 {
		axis += len(v.Dims)
	}
	n, inner := v.Dims[axis], 1
	for _, d := range v.Dims[axis+1:] {
		inner *= d
	}
	all := v.Float64()
	var rows [][]float64
	for outer := 0; outer < len(all)/(n*inner); outer++ {
		for k := range inner {
			row := make([]float64, n)
			for i := range row {
				row[i] = all[(outer*n+i)*inner+k]
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// A naive convolution window over [N, C, H, W] with explicit padding at the beginning and end.
type naive struct {
	k, stride, dilation, begin, end [2]int
}

func (w naive) out(in [2]int) (out [2]int) {
	for i := range 2 {
		out[i] = (in[i]+w.begin[i]+w.end[i]-(w.k[i]-1)*w.dilation[i]-1)/w.stride[i] + 1
	}
	return out
}

// patches lists the patches of channels from..to, in the order (sample, row, column), each as
// [channel, kh, kw].
func (w naive) patches(v *engine.Value, from, to int) [][]float64 {
	all := v.Float64()
	c, in := v.Dims[1], [2]int{v.Dims[2], v.Dims[3]}
	out := w.out(in)
	var rows [][]float64
	for n := range v.Dims[0] {
		for oh := range out[0] {
			for ow := range out[1] {
				var row []float64
				for i := from; i < to; i++ {
					for kh := range w.k[0] {
						for kw := range w.k[1] {
							r, s := oh*w.stride[0]+kh*w.dilation[0]-w.begin[0], ow*w.stride[1]+kw*w.dilation[1]-w.begin[1]
							x := 0.0
							if r >= 0 && r < in[0] && s >= 0 && s < in[1] {
								x = all[((n*c+i)*in[0]+r)*in[1]+s]
							}
							row = append(row, x)
						}
					}
				}
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// sums computes moments row by row.
func sums(x, y [][]float64) *stats.Moments {
	m := &stats.Moments{D: len(x[0]), Rows: int64(len(x))}
	m.SumX, m.XX = make([]float64, m.D), make([]float64, m.D*m.D)
	if y != nil {
		m.O = len(y[0])
	}
	m.SumY, m.XY, m.YY = make([]float64, m.O), make([]float64, m.D*m.O), make([]float64, m.O*m.O)
	for r, row := range x {
		for i, a := range row {
			m.SumX[i] += a
			for j, b := range row {
				m.XX[i*m.D+j] += a * b
			}
			for k := range m.O {
				m.XY[i*m.O+k] += a * y[r][k]
			}
		}
		for k := range m.O {
			m.SumY[k] += y[r][k]
			for l := range m.O {
				m.YY[k*m.O+l] += y[r][k] * y[r][l]
			}
		}
	}
	return m
}

func closeTo(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d numbers, want %d", what, len(got), len(want))
		return
	}
	scale := 1.0
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 3e-6*scale {
			t.Errorf("%s[%d] = %g, want %g", what, i, got[i], want[i])
			return
		}
	}
}

// same compares moments; want.YY is a matrix.
func same(t *testing.T, got, want *stats.Moments) {
	t.Helper()
	if got.Rows != want.Rows || got.D != want.D || got.O != want.O {
		t.Errorf("%d rows of %d and %d, want %d of %d and %d", got.Rows, got.D, got.O, want.Rows, want.D, want.O)
		return
	}
	closeTo(t, "SumX", got.SumX, want.SumX)
	closeTo(t, "SumY", got.SumY, want.SumY)
	closeTo(t, "XX", got.XX, want.XX)
	closeTo(t, "XY", got.XY, want.XY)
	yy := want.YY
	if len(got.YY) == want.O {
		yy = nil
		for k := range want.O {
			yy = append(yy, want.YY[k*want.O+k])
		}
	}
	closeTo(t, "YY", got.YY, yy)
	for i := range got.D {
		for j := range got.D {
			if got.XX[i*got.D+j] != got.XX[j*got.D+i] {
				t.Errorf("XX is not symmetric at %d, %d", i, j)
				return
			}
		}
	}
}

func TestMomentsConv(t *testing.T) {
	enginetest.Require(t)
	one := [2]int{1, 1}
	for _, c := range []struct {
		name     string
		in       [2]int
		channels int
		group    int
		o        int
		w        naive
		auto     string
	}{
		{"1x1", [2]int{4, 5}, 3, 1, 2, naive{one, one, one, [2]int{}, [2]int{}}, ""},
		{"1x1 stride 2", [2]int{5, 4}, 3, 1, 2, naive{one, [2]int{2, 2}, one, [2]int{}, [2]int{}}, ""},
		{"1x1 padded", [2]int{3, 4}, 3, 1, 2, naive{one, one, one, one, [2]int{0, 2}}, ""},
		{"3x3 same", [2]int{6, 5}, 4, 1, 3, naive{[2]int{3, 3}, one, one, one, one}, ""},
		{"3x3 valid", [2]int{6, 5}, 2, 1, 3, naive{[2]int{3, 3}, one, one, [2]int{}, [2]int{}}, "VALID"},
		{"3x3 asymmetric", [2]int{6, 5}, 2, 1, 3, naive{[2]int{3, 3}, one, one, [2]int{0, 2}, [2]int{1, 3}}, ""},
		{"3x3 stride 2 asymmetric", [2]int{7, 6}, 3, 1, 2, naive{[2]int{3, 3}, [2]int{2, 2}, one, [2]int{0, 1}, [2]int{1, 0}}, ""},
		{"3x3 dilated", [2]int{7, 8}, 3, 1, 2, naive{[2]int{3, 3}, one, [2]int{2, 2}, [2]int{2, 1}, [2]int{2, 1}}, ""},
		{"3x3 dilated beyond the input", [2]int{3, 2}, 2, 1, 2, naive{[2]int{3, 3}, one, [2]int{3, 2}, [2]int{4, 3}, [2]int{4, 3}}, ""},
		{"5x3", [2]int{6, 6}, 2, 1, 2, naive{[2]int{5, 3}, one, one, [2]int{2, 1}, [2]int{2, 1}}, ""},
		{"5x5 on 2x2", [2]int{2, 2}, 2, 1, 2, naive{[2]int{5, 5}, one, one, [2]int{2, 2}, [2]int{2, 2}}, ""},
		{"2x2", [2]int{4, 4}, 3, 1, 2, naive{[2]int{2, 2}, one, one, [2]int{}, one}, "SAME_UPPER"},
		{"2x2 lower", [2]int{4, 4}, 3, 1, 2, naive{[2]int{2, 2}, one, one, one, [2]int{}}, "SAME_LOWER"},
		{"3x3 same upper stride 2", [2]int{6, 7}, 2, 1, 2, naive{[2]int{3, 3}, [2]int{2, 2}, one, [2]int{0, 1}, one}, "SAME_UPPER"},
		{"groups", [2]int{5, 5}, 6, 2, 4, naive{[2]int{3, 3}, one, one, one, one}, ""},
		{"groups stride 2", [2]int{5, 5}, 6, 3, 3, naive{[2]int{3, 3}, [2]int{2, 2}, one, one, one}, ""},
		{"depthwise", [2]int{5, 4}, 4, 4, 4, naive{[2]int{3, 3}, one, one, one, one}, ""},
		{"depthwise multiplier", [2]int{5, 4}, 3, 3, 6, naive{[2]int{3, 3}, [2]int{2, 2}, one, one, one}, ""},
		{"whole input", [2]int{4, 3}, 3, 1, 5, naive{[2]int{4, 3}, one, one, [2]int{}, [2]int{}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			const n = 7
			out := c.w.out(c.in)
			f := passThrough(t, n, 3, []int{c.channels, c.in[0], c.in[1]}, []int{c.o, out[0], out[1]})
			w := &onnxio.Window{Kernel: c.w.k[:], Strides: c.w.stride[:], Dilations: c.w.dilation[:], AutoPad: c.auto}
			if c.auto == "" {
				w.Pads = []int{c.w.begin[0], c.w.begin[1], c.w.end[0], c.w.end[1]}
			}
			got, err := stats.CollectMoments(t.Context(), f, stats.Reading{Tensor: "x", Conv: w, Groups: c.group},
				[]stats.Target{{Values: kept(f, "y"), Axis: 1}}, stats.MomentOptions{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != c.group {
				t.Fatalf("%d results for %d groups", len(got), c.group)
			}
			sameRows(t, f, stats.Reading{Tensor: "x", Conv: w, Groups: c.group}, stats.Target{Values: kept(f, "y"), Axis: 1}, got)
			for g, m := range got {
				var x, y [][]float64
				for i := range f.Batches() {
					v, err := f.Batch(i, "x", "y")
					if err != nil {
						t.Fatal(err)
					}
					x = append(x, c.w.patches(v["x"], g*c.channels/c.group, (g+1)*c.channels/c.group)...)
					for _, row := range rowsOf(v["y"], 1) {
						y = append(y, row[g*c.o/c.group:(g+1)*c.o/c.group])
					}
				}
				same(t, m, sums(x, y))
			}
			bare, err := stats.CollectMoments(t.Context(), f, stats.Reading{Tensor: "x", Conv: w, Groups: c.group}, nil, stats.MomentOptions{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			if bare[0].O != 0 || len(bare) != c.group {
				t.Errorf("without targets: %d results with O = %d", len(bare), bare[0].O)
			}
		})
	}
}

// kept hands over a tensor that a flow keeps.
func kept(f *stats.Flow, tensor string) func(batch int) (*engine.Value, error) {
	return func(batch int) (*engine.Value, error) {
		v, err := f.Batch(batch, tensor)
		return v[tensor], err
	}
}

// batches reads all batches of a flow.
func batches(t *testing.T, f *stats.Flow, tensors ...string) []map[string]*engine.Value {
	t.Helper()
	var out []map[string]*engine.Value
	for i := range f.Batches() {
		v, err := f.Batch(i, tensors...)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func collect(t *testing.T, f *stats.Flow, r stats.Reading, targets []stats.Target, o stats.MomentOptions) []*stats.Moments {
	t.Helper()
	m, err := stats.CollectMoments(t.Context(), f, r, targets, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMomentsConv1D(t *testing.T) {
	enginetest.Require(t)
	for _, stride := range []int{1, 2} {
		// A 1-D convolution is one whose second axis has length 1.
		w := naive{k: [2]int{4, 1}, stride: [2]int{stride, 1}, dilation: [2]int{2, 1}, begin: [2]int{3, 0}, end: [2]int{2, 0}}
		out := w.out([2]int{11, 1})
		f := passThrough(t, 5, 2, []int{3, 11}, []int{4, out[0]})
		got := collect(t, f, stats.Reading{Tensor: "x", Conv: &onnxio.Window{
			Kernel: []int{4}, Strides: []int{stride}, Dilations: []int{2}, Pads: []int{3, 2},
		}}, []stats.Target{{Values: kept(f, "y"), Axis: 1}}, stats.MomentOptions{})
		var x, y [][]float64
		for _, v := range batches(t, f, "x", "y") {
			v["x"].Dims = append(v["x"].Dims, 1)
			x = append(x, w.patches(v["x"], 0, 3)...)
			y = append(y, rowsOf(v["y"], 1)...)
		}
		same(t, got[0], sums(x, y))
	}
}

func TestMomentsConv3D(t *testing.T) {
	enginetest.Require(t)
	// With kernel 1 along the last axis, it is a 2-D convolution of the slices.
	w := naive{k: [2]int{2, 3}, stride: [2]int{1, 1}, dilation: [2]int{1, 1}, begin: [2]int{0, 1}, end: [2]int{1, 1}}
	f := passThrough(t, 3, 3, []int{2, 4, 5, 2}, []int{3, 4, 5, 2})
	got := collect(t, f, stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{2, 3, 1}, Pads: []int{0, 1, 0, 1, 1, 0}}},
		[]stats.Target{{Values: kept(f, "y"), Axis: 1}}, stats.MomentOptions{})
	v := batches(t, f, "x", "y")[0]
	var x, y [][]float64
	for slice := range 2 {
		part := func(v *engine.Value) *engine.Value {
			p := engine.Float32(nil, v.Dims[:4]...)
			for i := slice; i < len(v.F32); i += 2 {
				p.F32 = append(p.F32, v.F32[i])
			}
			return p
		}
		x = append(x, w.patches(part(v["x"]), 0, 2)...)
		y = append(y, rowsOf(part(v["y"]), 1)...)
	}
	same(t, got[0], sums(x, y))
}

func TestMomentsLinear(t *testing.T) {
	enginetest.Require(t)
	for _, c := range []struct {
		name  string
		x, y  []int
		xAxis int
		yAxis int
	}{
		{"Gemm", []int{6}, []int{4}, -1, -1},
		{"MatMul of 3 axes", []int{5, 6}, []int{5, 4}, -1, 2},
		{"MatMul of 4 axes", []int{2, 5, 3}, []int{2, 5, 4}, 3, -1},
		{"matrix from the left", []int{6, 5}, []int{4, 5}, 1, 1},
		{"channels of images", []int{3, 4, 4}, []int{2, 4, 4}, 1, 1},
		{"channels last in the target", []int{3, 4, 5}, []int{4, 5, 2}, 1, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := passThrough(t, 7, 3, c.x, c.y)
			got := collect(t, f, stats.Reading{Tensor: "x", Axis: c.xAxis},
				[]stats.Target{{Values: kept(f, "y"), Axis: c.yAxis}}, stats.MomentOptions{})
			var x, y [][]float64
			for _, v := range batches(t, f, "x", "y") {
				x, y = append(x, rowsOf(v["x"], c.xAxis)...), append(y, rowsOf(v["y"], c.yAxis)...)
			}
			same(t, got[0], sums(x, y))
			sameRows(t, f, stats.Reading{Tensor: "x", Axis: c.xAxis}, stats.Target{Values: kept(f, "y"), Axis: c.yAxis}, got)
		})
	}
}

// sameRows compares the moments of rows, as CollectRows gives them, with what CollectMoments gives.
func sameRows(t *testing.T, f *stats.Flow, r stats.Reading, y stats.Target, want []*stats.Moments) {
	t.Helper()
	n, d, err := stats.CountRows(f, r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := stats.CollectRows(t.Context(), f, r, []stats.Target{y}, stats.MomentOptions{})
	if len(want) > 1 {
		if err == nil || d != 0 {
			t.Errorf("%d rows of %d where there are groups, error %v", n, d, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if n != got.N || d != got.D || int64(n) != want[0].Rows {
		t.Errorf("%d rows of %d counted, %d of %d collected, %d summed", n, d, got.N, got.D, want[0].Rows)
	}
	var xs, ys [][]float64
	for i := range got.N {
		var x, y []float64
		for _, v := range got.X[i*got.D:][:got.D] {
			x = append(x, float64(v))
		}
		for _, v := range got.Y[i*got.O:][:got.O] {
			y = append(y, float64(v))
		}
		xs, ys = append(xs, x), append(ys, y)
	}
	same(t, want[0], sums(xs, ys))
}

// A Gemm with transA reads columns.
func TestMomentsTransA(t *testing.T) {
	enginetest.Require(t)
	f := passThrough(t, 6, 3, []int{5}, []int{4})
	columns := func(batch int) (*engine.Value, error) { // [5, 4]: one row for each of x's columns
		v, err := f.Batch(batch, "x")
		if err != nil {
			return nil, err
		}
		y := engine.Float32(make([]float32, 20), 5, 4)
		for i := range y.F32 {
			y.F32[i] = float32(i) + v["x"].F32[0]
		}
		return y, nil
	}
	got := collect(t, f, stats.Reading{Tensor: "x", Axis: 0}, []stats.Target{{Values: columns, Axis: -1}}, stats.MomentOptions{})
	var x, y [][]float64
	for i, v := range batches(t, f, "x") {
		x = append(x, rowsOf(v["x"], 0)...)
		c, err := columns(i)
		if err != nil {
			t.Fatal(err)
		}
		y = append(y, rowsOf(c, -1)...)
	}
	same(t, got[0], sums(x, y))
}

// Several targets stand side by side, and moments of disjoint batches add up.
func TestMomentsTargetsAndBatches(t *testing.T) {
	enginetest.Require(t)
	f := passThrough(t, 8, 2, []int{4, 5, 5}, []int{2, 5, 5})
	r := stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}, Groups: 2}
	targets := []stats.Target{{Values: kept(f, "y"), Axis: 1}, {Values: kept(f, "x"), Axis: 1}}
	got := collect(t, f, r, targets, stats.MomentOptions{})
	w := naive{k: [2]int{3, 3}, stride: [2]int{1, 1}, dilation: [2]int{1, 1}, begin: [2]int{1, 1}, end: [2]int{1, 1}}
	for g, m := range got {
		var x, y [][]float64
		for _, v := range batches(t, f, "x", "y") {
			x = append(x, w.patches(v["x"], 2*g, 2*g+2)...)
			second := rowsOf(v["x"], 1)
			for i, row := range rowsOf(v["y"], 1) {
				y = append(y, append([]float64{row[g]}, second[i][2*g:2*g+2]...))
			}
		}
		same(t, m, sums(x, y))
	}
	some := collect(t, f, r, targets, stats.MomentOptions{Batches: func(i int) bool { return i%3 == 0 }})
	rest := collect(t, f, r, targets, stats.MomentOptions{Batches: func(i int) bool { return i%3 != 0 }})
	for g := range got {
		some[g].Add(rest[g])
		closeTo(t, "XX", some[g].XX, got[g].XX)
		closeTo(t, "XY", some[g].XY, got[g].XY)
		if some[g].Rows != got[g].Rows {
			t.Errorf("%d rows, want %d", some[g].Rows, got[g].Rows)
		}
	}
}

// flat is a flow whose samples are the same at every position.
func flat(t *testing.T, n, batch, channels, side int) *stats.Flow {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	v := engine.Float32(nil, n, channels, side, side)
	for range n * channels {
		x := float32(rng.NormFloat64())
		for range side * side {
			v.F32 = append(v.F32, x)
		}
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", channels, side, side)), onnxtest.Values(onnxtest.Value("u")),
		onnxtest.Node("Identity", "x", "u"))
	data, err := dataset.New("flat", map[string]*engine.Value{"x": v}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return flow(t, m, data, dataset.StreamOptions{Batch: batch})
}

// A subset of positions has the right size, treats all samples alike and depends on the seed only.
// Where all positions are equal, so are the means over subsets and over everything.
func TestMomentsSubset(t *testing.T) {
	enginetest.Require(t)
	const n, c, side = 24, 3, 10
	f := flat(t, n, 8, c, side)
	for name, r := range map[string]stats.Reading{
		"3x3 valid": {Tensor: "x", Conv: &onnxio.Window{Kernel: []int{3, 3}}},
		"1x1":       {Tensor: "x", Conv: &onnxio.Window{Kernel: []int{1, 1}}},
		"grouped":   {Tensor: "x", Conv: &onnxio.Window{Kernel: []int{2, 2}, Strides: []int{2, 2}}, Groups: 3},
	} {
		t.Run(name, func(t *testing.T) {
			all := collect(t, f, r, nil, stats.MomentOptions{})
			for g, m := range collect(t, f, r, nil, stats.MomentOptions{MaxRows: 6 * n}) {
				if m.Rows != 6*n {
					t.Errorf("%d rows, want %d", m.Rows, 6*n)
				}
				scale := float64(m.Rows) / float64(all[g].Rows)
				for i := range m.XX {
					all[g].XX[i] *= scale
				}
				for i := range m.SumX {
					all[g].SumX[i] *= scale
				}
				closeTo(t, "XX", m.XX, all[g].XX)
				closeTo(t, "SumX", m.SumX, all[g].SumX)
			}
		})
	}
	padded := stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}}
	o := stats.MomentOptions{MaxMACs: 81 * c * c * 500}
	first, second := collect(t, f, padded, nil, o), collect(t, f, padded, nil, o)
	if first[0].Rows > 500 || first[0].Rows < 400 {
		t.Errorf("%d rows for a budget of less than 500", first[0].Rows)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	o.Seed = 1
	if cmp.Equal(first, collect(t, f, padded, nil, o)) {
		t.Error("the seed makes no difference")
	}
	few := collect(t, f, padded, nil, stats.MomentOptions{MaxRows: 5})
	if few[0].Rows < 1 || few[0].Rows > 5 {
		t.Errorf("%d rows, want at most 5", few[0].Rows)
	}
	linear := collect(t, f, stats.Reading{Tensor: "x", Axis: 1}, []stats.Target{{Values: kept(f, "x"), Axis: 1}},
		stats.MomentOptions{MaxRows: 700})
	if m := linear[0]; m.Rows > 700 || m.Rows < 600 {
		t.Errorf("%d rows, want at most 700", m.Rows)
	} else {
		closeTo(t, "XY", m.XY, m.XX)
		closeTo(t, "SumY", m.SumY, m.SumX)
	}
}

// Samples of several sizes add up.
func TestMomentsOfManySizes(t *testing.T) {
	enginetest.Require(t)
	rng := rand.New(rand.NewPCG(4, 4))
	dir := t.TempDir()
	w := naive{k: [2]int{3, 3}, stride: [2]int{1, 1}, dilation: [2]int{1, 1}, begin: [2]int{1, 0}, end: [2]int{1, 0}}
	var x [][]float64
	for i, size := range [][2]int{{5, 4}, {3, 6}, {5, 4}, {1, 3}} {
		v := engine.Float32(nil, 1, 2, size[0], size[1])
		for range v.Len() {
			v.F32 = append(v.F32, float32(rng.NormFloat64()))
		}
		raw, err := proto.Marshal(v.Proto())
		if err != nil {
			t.Fatal(err)
		}
		set := filepath.Join(dir, fmt.Sprintf("test_data_set_%d", i))
		if err := os.Mkdir(set, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(set, "input_0.pb"), raw, 0o644); err != nil {
			t.Fatal(err)
		}
		x = append(x, w.patches(v, 0, 2)...)
	}
	data, err := dataset.Open(dir, dataset.Preprocess{}, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 2, "H", "W")), onnxtest.Values(onnxtest.Value("u")),
		onnxtest.Node("Identity", "x", "u"))
	f := flow(t, m, data, dataset.StreamOptions{})
	compute(t, f, "u")
	r := stats.Reading{Tensor: "u", Conv: &onnxio.Window{Kernel: []int{3, 3}, Pads: []int{1, 0, 1, 0}}}
	same(t, collect(t, f, r, nil, stats.MomentOptions{})[0], sums(x, nil))
}

func TestMomentsErrors(t *testing.T) {
	enginetest.Require(t)
	f := passThrough(t, 4, 2, []int{3, 5, 5}, []int{4, 5, 5})
	same := &onnxio.Window{Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}
	y := stats.Target{Values: kept(f, "y"), Axis: 1}
	for name, c := range map[string]struct {
		r       stats.Reading
		targets []stats.Target
		o       stats.MomentOptions
	}{
		"not kept":            {stats.Reading{Tensor: "u", Axis: 1}, nil, stats.MomentOptions{}},
		"no such axis":        {stats.Reading{Tensor: "x", Axis: 4}, nil, stats.MomentOptions{}},
		"kernel of one axis":  {stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{3}}}, nil, stats.MomentOptions{}},
		"kernel too large":    {stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{7, 7}}}, nil, stats.MomentOptions{}},
		"stride 0":            {stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{1, 1}, Strides: []int{0, 1}}}, nil, stats.MomentOptions{}},
		"three pads":          {stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{1, 1}, Pads: []int{1, 1, 1}}}, nil, stats.MomentOptions{}},
		"groups":              {stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{1, 1}}, Groups: 2}, nil, stats.MomentOptions{}},
		"groups of target":    {stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{1, 1}}, Groups: 3}, []stats.Target{y}, stats.MomentOptions{}},
		"positions of target": {stats.Reading{Tensor: "x", Conv: &onnxio.Window{Kernel: []int{3, 3}}}, []stats.Target{y}, stats.MomentOptions{}},
		"axis of target":      {stats.Reading{Tensor: "x", Conv: same}, []stats.Target{{Values: kept(f, "y"), Axis: 0}}, stats.MomentOptions{}},
		"no batches":          {stats.Reading{Tensor: "x", Axis: 1}, nil, stats.MomentOptions{Batches: func(int) bool { return false }}},
	} {
		if _, err := stats.CollectMoments(t.Context(), f, c.r, c.targets, c.o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Where some positions are taken, x and y are of the same: a target that is what lies in the middle of
// the window varies with the window as that does.
func TestMomentsOfSomePositions(t *testing.T) {
	enginetest.Require(t)
	const channels, taps, middle = 4, 9, 4
	for _, groups := range []int{1, 2, 4} {
		f := passThrough(t, 7, 3, []int{channels, 6, 5}, []int{channels, 6, 5})
		w := &onnxio.Window{Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}
		const most = 50
		got := collect(t, f, stats.Reading{Tensor: "x", Conv: w, Groups: groups}, []stats.Target{{Values: kept(f, "x"), Axis: 1}}, stats.MomentOptions{MaxRows: most, Seed: 3})
		for g, m := range got {
			if m.Rows == 0 || m.Rows > most || m.D != channels/groups*taps || m.O != channels/groups {
				t.Fatalf("%d groups: %d rows of %d and %d", groups, m.Rows, m.D, m.O)
			}
			for d := range m.D {
				for k := range m.O {
					if a, b := m.XY[d*m.O+k], m.XX[d*m.D+k*taps+middle]; math.Abs(a-b) > 1e-4*(1+math.Abs(b)) {
						t.Fatalf("%d groups, group %d: Σ x%d·y%d is %g, want %g", groups, g, d, k, a, b)
					}
				}
			}
		}
	}
}
