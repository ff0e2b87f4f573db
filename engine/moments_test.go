package engine_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// passThrough is a flow over random samples of some shapes, which its model hands through as they are: inputs "x" and "y".
func passThrough(t *testing.T, n, batch int, x, y []int) *engine.Flow {
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
	data, err := engine.NewData("random", map[string]*engine.Value{"x": random(x), "y": random(y)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := engine.NewFlow(m, data, engine.FlowOptions{Batch: batch})
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

// patches lists the patches of channels from..to, in the order (sample, row, column), each as [channel, kh, kw].
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
func sums(x, y [][]float64) *engine.Moments {
	m := &engine.Moments{D: len(x[0]), Rows: int64(len(x))}
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
func same(t *testing.T, got, want *engine.Moments) {
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
			w := &engine.Window{Kernel: c.w.k[:], Strides: c.w.stride[:], Dilations: c.w.dilation[:], AutoPad: c.auto, Group: c.group}
			if c.auto == "" {
				w.Pads = []int{c.w.begin[0], c.w.begin[1], c.w.end[0], c.w.end[1]}
			}
			for _, full := range []bool{false, true} {
				got, err := engine.CollectMoments(t.Context(), f, engine.Reading{Tensor: "x", Conv: w},
					[]engine.Target{{Flow: f, Tensor: "y", Axis: 1}}, engine.MomentOptions{Threads: 1, FullYY: full})
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != c.group {
					t.Fatalf("%d results for %d groups", len(got), c.group)
				}
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
			}
			bare, err := engine.CollectMoments(t.Context(), f, engine.Reading{Tensor: "x", Conv: w}, nil, engine.MomentOptions{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			if bare[0].O != 0 || len(bare) != c.group {
				t.Errorf("without targets: %d results with O = %d", len(bare), bare[0].O)
			}
		})
	}
}
