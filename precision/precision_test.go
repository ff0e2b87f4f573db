package precision

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A model whose weights have 16 bits says what it said, and takes little more than half of the room:
// the smallest weights stay.
func TestHalf(t *testing.T) {
	enginetest.Require(t)
	for _, name := range []string{"mlp_a", "cnn_a", "vit_a"} {
		m := modeltest.Load(t, name)
		d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 50})
		want := modeltest.Outputs(t, m, d)
		_, before := m.Size()
		for typ, tolerance := range map[Type]float64{FP16: 0.02, BF16: 0.2} {
			out, r, err := Half(context.Background(), m, typ)
			if err != nil {
				t.Fatal(err)
			}
			if err := out.Validate(); err != nil {
				t.Error(err)
			}
			if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, out, d)); diff > tolerance || diff == 0 {
				t.Errorf("%s as %s is off by %g", name, typ, diff)
			}
			if _, after := out.Size(); float64(after) > 0.67*float64(before) || r.Weights == 0 {
				t.Errorf("%s as %s has %d bytes, %d before, in %d weights", name, typ, after, before, r.Weights)
			}
			if v := out.Opset(""); typ == BF16 && v < 13 {
				t.Errorf("%s: bfloat16 in operator set %d", name, v)
			}
		}
	}
}

// What a type cannot hold stays, with the reason.
func TestHalfLeavesLargeNumbers(t *testing.T) {
	w := onnxio.NewTensor("w", onnxio.Float, []int{16, 20}, make([]float64, 320))
	w.F32[7] = 1e6
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 16)), onnxtest.Values(onnxtest.Value("y", "N", 20)),
		onnxtest.Initializer(w), onnxtest.Node("MatMul", "x w", "y"))
	out, r, err := Half(context.Background(), m, FP16)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Stay) != 1 || r.Stay[0].Weight != "w" || r.Weights != 0 {
		t.Errorf("%+v", r)
	}
	if g, err := out.Graph(); err != nil || g.Constant("w") == nil {
		t.Errorf("the weight is gone (%v)", err)
	}
	if out, r, err = Half(context.Background(), m, BF16); err != nil || r.Weights != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if g, err := out.Graph(); err != nil || g.Constant("w") != nil || g.Producer("w").GetOpType() != "Cast" {
		t.Errorf("the weight stays (%v)", err)
	}
}

// rounds makes int8 of a model, judged by squares against what it says.
func rounds(t *testing.T, m *onnxio.Model, d *dataset.Data) (*onnxio.Model, *Report) {
	t.Helper()
	want := modeltest.Outputs(t, m, d)
	out, r, err := Int8(context.Background(), m, Options{Fit: d, Judge: func(_ context.Context, m *onnxio.Model) (float64, error) {
		return modeltest.MaxDiff(t, want, modeltest.Outputs(t, m, d)), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Validate(); err != nil {
		t.Error(err)
	}
	return out, r
}

// The weights of all layers are integers, the candidate taken is the nearest, and the network still
// knows digits.
func TestInt8(t *testing.T) {
	enginetest.Require(t)
	for _, name := range []string{"mlp_a", "cnn_a", "resnet_a", "vit_a"} {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name)
			out, r := rounds(t, m, modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 60}))
			test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 300})
			if a, b := modeltest.Correct(t, m, test), modeltest.Correct(t, out, test); b < a-3 {
				t.Errorf("%d of 300 right, %d before", b, a)
			}
			taken, nearest := -1, math.Inf(1)
			for i, c := range r.Candidates {
				if nearest = min(nearest, c.Divergence); c.Taken {
					taken = i
				}
			}
			if len(r.Candidates) != 4 || taken < 0 || r.Candidates[taken].Divergence != nearest {
				t.Errorf("candidates %+v", r.Candidates)
			}
			g, err := out.Graph()
			if err != nil {
				t.Fatal(err)
			}
			integers := 0
			for _, x := range g.Proto.Initializer {
				if onnxpb.TensorProto_DataType(x.GetDataType()) == onnxpb.TensorProto_INT8 && len(x.GetDims()) > 1 {
					integers++
				}
			}
			if integers != r.Operators || integers+len(r.Stay) < len(g.Linears()) {
				t.Errorf("%d weights of integers, %d operators, %+v", integers, r.Operators, r.Stay)
			}
		})
	}
}

// Numbers that are whole steps already are not moved: the model stays exact.
func TestInt8IsExactOnItsGrid(t *testing.T) {
	enginetest.Require(t)
	rng := rand.New(rand.NewPCG(1, 2))
	whole := func(name string, n int, dims ...int) onnxtest.Part {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(rng.IntN(2*mostWeight+1) - mostWeight)
		}
		for c := range dims[len(dims)-1] { // every output channel reaches as far
			v[c] = mostWeight
		}
		return onnxtest.Floats(name, dims, v...)
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 16)), onnxtest.Values(onnxtest.Value("y", "N", 20)),
		whole("w", 320, 16, 20), onnxtest.Node("MatMul", "x w", "y"))
	x := make([]float32, 40*16)
	for i := range x {
		x[i] = float32(rng.IntN(256))
	}
	x[0] = 255
	d, err := dataset.New("grid", map[string]*engine.Value{"x": engine.Float32(x, 40, 16)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := rounds(t, m, d)
	if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-2 {
		t.Errorf("off by %g, of sums up to half a million", diff)
	}
}

// Scales by squares are never worse, by squares, than those of the range.
func TestScales(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for seed := range 20 {
		a := &activation{}
		v := make([]float32, 4000)
		for i := range v {
			x := rng.NormFloat64()
			if seed%2 == 0 {
				x = math.Abs(x) * math.Exp(rng.NormFloat64())
			}
			v[i] = float32(x)
			a.low, a.high = min(a.low, x), max(a.high, x)
		}
		a.count(v)
		if x, y := a.error(a.scale(bySquares)), a.error(a.scale(inRange)); x > y {
			t.Errorf("errors %g by squares, %g by range", x, y)
		}
		if s := a.scale(inRange); s.round(0) != 0 {
			t.Error("zero is not zero")
		}
	}
}

// A model of an old operator set means the same in a later one.
func TestRaise(t *testing.T) {
	enginetest.Require(t)
	attr := onnxtest.Attr
	image := onnxtest.Values(onnxtest.Value("x", 2, 3, 6, 8))
	for name, c := range map[string]struct {
		opset int64
		parts []onnxtest.Part
	}{
		"Clip":      {8, []onnxtest.Part{onnxtest.Node("Clip", "x", "y", attr("min", -0.5), attr("max", 0.25))}},
		"Clip low":  {8, []onnxtest.Part{onnxtest.Node("Clip", "x", "y", attr("min", -0.5))}},
		"Pad":       {8, []onnxtest.Part{onnxtest.Node("Pad", "x", "y", attr("pads", 0, 0, 1, 2, 0, 0, 0, 1), attr("value", 0.5))}},
		"Slice":     {9, []onnxtest.Part{onnxtest.Node("Slice", "x", "y", attr("starts", 1, 2), attr("ends", 3, 8), attr("axes", 1, 3))}},
		"TopK":      {9, []onnxtest.Part{onnxtest.Node("TopK", "x", "y i", attr("k", 3), attr("axis", 3))}},
		"Upsample":  {7, []onnxtest.Part{onnxtest.Node("Upsample", "x", "y", onnxio.NewAttr("scales", []float32{1, 1, 2, 2}))}},
		"linear":    {9, []onnxtest.Part{onnxtest.Floats("s", []int{4}, 1, 1, 2, 2), onnxtest.Node("Upsample", "x s", "y", attr("mode", "linear"))}},
		"Resize":    {10, []onnxtest.Part{onnxtest.Floats("s", []int{4}, 1, 1, 2, 3), onnxtest.Node("Resize", "x s", "y")}},
		"Softmax":   {11, []onnxtest.Part{onnxtest.Node("Softmax", "x", "y", attr("axis", 3))}},
		"rows":      {11, []onnxtest.Part{onnxtest.Node("Softmax", "x", "y")}},
		"ReduceSum": {11, []onnxtest.Part{onnxtest.Node("ReduceSum", "x", "y", attr("axes", 2, 3), attr("keepdims", 0))}},
		"all":       {11, []onnxtest.Part{onnxtest.Node("ReduceSum", "x", "y", attr("keepdims", 1))}},
		"Unsqueeze": {11, []onnxtest.Part{onnxtest.Node("Unsqueeze", "x", "u", onnxio.NewAttrInts("axes", 2)), onnxtest.Node("Squeeze", "u", "y", onnxio.NewAttrInts("axes", 2))}},
		"Split":     {11, []onnxtest.Part{onnxtest.Node("Split", "x", "a b", attr("axis", 3), attr("split", 3, 5)), onnxtest.Node("Concat", "b a", "y", attr("axis", 3))}},
		"Dropout":   {11, []onnxtest.Part{onnxtest.Node("Dropout", "x", "y", attr("ratio", 0.5))}},
	} {
		t.Run(name, func(t *testing.T) {
			m := onnxtest.Model(image, onnxtest.Values(onnxtest.Value("y")), append(c.parts, onnxtest.Opset(c.opset))...)
			d := modeltest.Noise(t, m, 2, 1)
			r := &Report{}
			out, err := r.raise(m, 13)
			if err != nil {
				t.Fatal(err)
			}
			if out.Opset("") != 13 || r.Opset != 13 || m.Opset("") != c.opset {
				t.Errorf("operator set %d", out.Opset(""))
			}
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-6 {
				t.Errorf("off by %g", diff)
			}
		})
	}
}

// What would mean something else is refused by name.
func TestRaiseRefuses(t *testing.T) {
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", 2, 3, 6, 8)), onnxtest.Values(onnxtest.Value("y", 2, 3, 6, 8)),
		onnxtest.Ints("i", 1, 2), onnxtest.Ints("d", 4), onnxtest.Floats("v", []int{2}, 0, 1), onnxtest.Node("OneHot", "i d v", "h"), onnxtest.Node("Identity", "x", "y"), onnxtest.Opset(10))
	_, err := (&Report{}).raise(m, 13)
	if want := `OneHot "OneHot_h": its meaning has changed`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// A channel whose weights are next to nothing beside its bias keeps that: thirty-two bits have to
// hold it in steps of the product of the scales.
func TestInt8LargeBias(t *testing.T) {
	enginetest.Require(t)
	rng := rand.New(rand.NewPCG(5, 6))
	w, b := make([]float64, 8*4*3*3), make([]float64, 8)
	for i := range w {
		w[i] = rng.NormFloat64()
		if i < 2*36 {
			w[i] *= 1e-9
		}
	}
	for c := range b {
		b[c] = 0.5 + float64(c)
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 4, 5, 5)), onnxtest.Values(onnxtest.Value("y", "N", 8, 3, 3)),
		onnxtest.Floats("w", []int{8, 4, 3, 3}, w...), onnxtest.Floats("b", []int{8}, b...),
		onnxtest.Node("Conv", "x w b", "c"), onnxtest.Node("Relu", "c", "r"), onnxtest.Node("Mul", "r r", "y"))
	d := modeltest.Noise(t, m, 20, 1)
	out, r := rounds(t, m, d)
	if r.Operators != 1 {
		t.Fatalf("%+v", r)
	}
	want, got := modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)
	for i, x := range want {
		if c := i / 9 % 8; c < 2 && math.Abs(got[i]-x) > 0.2*x {
			t.Fatalf("channel %d: %g, want %g", c, got[i], x)
		}
	}
}

// A table out of which rows are taken is stored as integers; one that something else reads too is not.
func TestInt8Tables(t *testing.T) {
	enginetest.Require(t)
	rng := rand.New(rand.NewPCG(7, 8))
	random := func(name string, dims ...int) onnxtest.Part {
		v := make([]float64, dims[0]*dims[1])
		for i := range v {
			v[i] = rng.NormFloat64() * (1 + float64(i%dims[1]))
		}
		return onnxtest.Floats(name, dims, v...)
	}
	m := onnxtest.Model(onnxtest.Values(onnxio.NewValueInfo("ids", onnxpb.TensorProto_INT64, "N", 5)), onnxtest.Values(onnxtest.Value("y", "N", 5, 8), onnxtest.Value("z", "N", 5, 64)),
		random("words", 500, 64), random("tied", 500, 64), random("w", 64, 8),
		onnxtest.Node("Gather", "words ids", "r"), onnxtest.Node("MatMul", "r w", "y"),
		onnxtest.Node("Gather", "tied ids", "s"), onnxtest.Node("ReduceMean", "tied", "mean", onnxtest.Attr("keepdims", 0)), onnxtest.Node("Sub", "s mean", "z"))
	ids := make([]int64, 40*5)
	for i := range ids {
		ids[i] = int64(rng.IntN(500))
	}
	d, err := dataset.New("ids", map[string]*engine.Value{"ids": engine.Int64(ids, 40, 5)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, r := rounds(t, m, d)
	if r.Weights != 2 || r.Operators != 1 {
		t.Errorf("%+v", r)
	}
	g, err := out.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if g.Constant("words") != nil || g.Constant("tied") == nil {
		t.Error("the wrong table is rounded")
	}
	want, got := modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)
	size := 0.0
	for _, x := range want {
		size = max(size, math.Abs(x))
	}
	if diff := modeltest.MaxDiff(t, want, got); diff > 0.03*size {
		t.Errorf("off by %g of %g", diff, size)
	}
}

// Zeros around what a convolution alone reads become its pads, computed ones too: onnxruntime would
// leave a Pad between integers.
func TestInt8FoldsPads(t *testing.T) {
	enginetest.Require(t)
	for text, pads := range map[string]int{
		"p = Pad(h, q{0 0 1 0 0 0 0 1})\ny = Conv(p, v[5 4 3 3]) pads=0,1,0,0":                                  0,
		"c = Concat(q{0 0 1 0}, r{0 0 0 1}) axis=0\np = Pad(h, c)\ny = Conv(p, v[5 4 3 3])":                     0,
		"p = Pad(h, q{0 0 1 0 0 0 0 1}, one<1>)\ny = Conv(p, v[5 4 3 3])":                                       1,
		"s = Shape(h)\nc = Sub(s, s)\nd = Concat(c, q{0 0 1 1}) axis=0\np = Pad(h, d)\ny = Conv(p, v[5 4 3 3])": 1, // of the input's shape
	} {
		m, err := onnxtest.Parse("x: N 3 6 6\nh = Conv(x, w[4 3 1 1], b[4])\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		d := modeltest.Noise(t, m, 40, 1)
		out, _ := rounds(t, m, d)
		left := 0
		for _, n := range out.Proto.Graph.Node {
			if n.GetOpType() == "Pad" {
				left++
			}
			if n.GetOpType() == "Concat" && pads == 0 {
				t.Errorf("%s: what the pads were computed by is left", text)
			}
		}
		if left != pads {
			t.Errorf("%s: %d Pads left, want %d", text, left, pads)
		}
		if off := modeltest.RelativeError(modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); off > 0.01 {
			t.Errorf("%s: off by %g", text, off)
		}
	}
}
