package stats_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// residual is a small network with a residual stream, a Split and a classifier.
func residual() *onnxio.Model {
	rng := rand.New(rand.NewPCG(7, 7))
	same := onnxtest.Attr("pads", 1, 1, 1, 1)
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3, 6, 6)),
		onnxtest.Values(onnxtest.Value("scores", "N", 5)),
		onnxtest.Weights("w0", []int{8, 3, 3, 3}, rng),
		onnxtest.Weights("w1", []int{6, 8, 3, 3}, rng),
		onnxtest.Weights("w2", []int{8, 6, 3, 3}, rng),
		onnxtest.Weights("w3", []int{5, 4}, rng),
		onnxtest.Ints("axes", 2, 3),
		onnxtest.Node("Conv", "x w0", "c0", same),
		onnxtest.Node("Relu", "c0", "stream"),
		onnxtest.Node("Conv", "stream w1", "c1", same),
		onnxtest.Node("Relu", "c1", "inner"),
		onnxtest.Node("Conv", "inner w2", "c2", same),
		onnxtest.Node("Add", "c2 stream", "sum"),
		onnxtest.Node("Split", "sum", "left right", onnxtest.Attr("axis", 1)),
		onnxtest.Node("Mul", "left right", "gated"),
		onnxtest.Node("GlobalAveragePool", "gated", "pooled"),
		onnxtest.Node("Flatten", "pooled", "flat"),
		onnxtest.Node("Gemm", "flat w3", "scores", onnxtest.Attr("transB", 1)),
	)
}

func images(t *testing.T, n int, dims ...int) *dataset.Data {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	v := engine.Float32(nil, append([]int{n}, dims...)...)
	v.F32 = make([]float32, v.Len())
	for i := range v.F32 {
		v.F32[i] = float32(rng.NormFloat64())
	}
	data, err := dataset.New("images", map[string]*engine.Value{"x": v}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func flow(t *testing.T, m *onnxio.Model, data *dataset.Data, o dataset.StreamOptions) *stats.Flow {
	t.Helper()
	f, err := stats.NewFlow(m, data, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func compute(t *testing.T, f *stats.Flow, tensors ...string) {
	t.Helper()
	if err := f.Compute(t.Context(), tensors...); err != nil {
		t.Fatal(err)
	}
}

// whole runs a model at once and returns one tensor, batch by batch.
func whole(t *testing.T, m *onnxio.Model, data *dataset.Data, tensor string, batch int) []*engine.Value {
	t.Helper()
	var out []*engine.Value
	err := dataset.Stream(t.Context(), m, data, []string{tensor}, dataset.StreamOptions{Batch: batch},
		func(_, _ int, v map[string]*engine.Value) error { out = append(out, v[tensor]); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// near says whether a kept tensor holds what a whole run gave, but for rounding: onnxruntime lays
// tensors out differently where a graph is cut.
func near(t *testing.T, f *stats.Flow, tensor string, want []*engine.Value) {
	t.Helper()
	if f.Batches() != len(want) {
		t.Fatalf("%d batches, want %d", f.Batches(), len(want))
	}
	for i, w := range want {
		out, err := f.Batch(i, tensor)
		if err != nil {
			t.Fatal(err)
		}
		got := out[tensor]
		if diff := cmp.Diff(w.Dims, got.Dims); diff != "" {
			t.Fatal(diff)
		}
		scale := 0.0
		for _, x := range w.F32 {
			scale = max(scale, math.Abs(float64(x)))
		}
		for k := range w.F32 {
			if math.Abs(float64(got.F32[k]-w.F32[k])) > 1e-6*scale {
				t.Fatalf("batch %d of %q: element %d is %g, want %g", i, tensor, k, got.F32[k], w.F32[k])
			}
		}
	}
}

func TestFlowIsWholeRun(t *testing.T) {
	enginetest.Require(t)
	m, data := residual(), images(t, 11, 3, 6, 6)
	for _, limit := range []int64{1 << 30, 0, 5000} {
		temp := t.TempDir()
		t.Setenv("TMPDIR", temp)
		f := flow(t, m, data, dataset.StreamOptions{Batch: 4})
		f.Room = &stats.Room{Bytes: limit}
		if f.Samples() != 11 || f.Batches() != 3 || f.BatchLen(2) != 3 {
			t.Errorf("%d samples in %d batches, the last of %d", f.Samples(), f.Batches(), f.BatchLen(2))
		}
		for _, step := range [][]string{{"stream"}, {"c1", "inner"}, {"right"}, {"left"}, {"gated"}, {"scores", "flat"}} {
			compute(t, f, step...)
			for _, tensor := range step {
				near(t, f, tensor, whole(t, m, data, tensor, 4))
			}
			if step[0] == "right" {
				if err := f.Drop("c1", "inner", "nothing"); err != nil {
					t.Error(err)
				}
			}
		}
		if diff := cmp.Diff([]string{"flat", "gated", "left", "right", "scores", "stream"}, f.Keep()); diff != "" {
			t.Error(diff)
		}
		if n, ok := openFiles(temp); ok && (n > 0) != (limit <= 5000) {
			t.Errorf("room for %d bytes: %d files", limit, n)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if n, _ := openFiles(temp); n > 0 || !isEmpty(t, temp) {
			t.Error("temporary files are left")
		}
	}
}

// openFiles counts the files of a folder that are open, whether they have a name or not, where the
// system tells.
func openFiles(dir string) (n int, ok bool) {
	open, err := os.ReadDir("/proc/self/fd")
	for _, o := range open {
		if to, err := os.Readlink("/proc/self/fd/" + o.Name()); err == nil && strings.HasPrefix(to, dir+"/") {
			n++
		}
	}
	return n, err == nil
}

func isEmpty(t *testing.T, dir string) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) == 0
}

func TestFlowSetModel(t *testing.T) {
	enginetest.Require(t)
	m, data := residual(), images(t, 5, 3, 6, 6)
	f := flow(t, m, data, dataset.StreamOptions{Batch: 2})
	compute(t, f, "stream")

	// The branch gets two inner channels fewer; what is kept stays.
	edited := m.Clone()
	g, err := edited.Graph()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for name, dims := range map[string][]int{"w0": {8, 3, 3, 3}, "w1": {4, 8, 3, 3}, "w2": {8, 4, 3, 3}} {
		w := make([]float64, dims[0]*dims[1]*9)
		for i := range w {
			w[i] = rng.NormFloat64()
		}
		if err := g.SetConstant(onnxio.NewTensor(name, onnxio.Float, dims, w)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.SetModel(edited); err != nil {
		t.Fatal(err)
	}
	compute(t, f, "inner", "sum")
	out, err := f.Batch(0, "inner")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{2, 4, 6, 6}, out["inner"].Dims); diff != "" {
		t.Error(diff)
	}
	near(t, f, "stream", whole(t, m, data, "stream", 2)) // w0 of old

	// What follows from the kept stream is not what the edited model gives as a whole, until the
	// stream is new too.
	if err := f.Drop("stream", "inner", "sum"); err != nil {
		t.Fatal(err)
	}
	compute(t, f, "sum")
	near(t, f, "sum", whole(t, edited, data, "sum", 2))

	other := onnxtest.Model(onnxtest.Values(onnxtest.Value("z", "N", 3)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Node("Relu", "z", "y"))
	if err := f.SetModel(other); err == nil {
		t.Error("a model with another input was accepted")
	}
}

func TestFlowErrors(t *testing.T) {
	enginetest.Require(t)
	f := flow(t, residual(), images(t, 3, 3, 6, 6), dataset.StreamOptions{})
	if err := f.Compute(t.Context(), "missing"); err == nil {
		t.Error("a tensor that is not there was computed")
	}
	if _, err := f.Batch(0, "stream"); err == nil {
		t.Error("a tensor that is not kept was returned")
	}
	if _, err := f.Batch(1, "x"); err == nil {
		t.Error("a batch that is not there was returned")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Compute(ctx, "stream"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after cancellation", err)
	}
	if len(f.Keep()) != 0 {
		t.Errorf("kept after cancellation: %v", f.Keep())
	}
	_, err := stats.CollectMoments(ctx, f, stats.Reading{Tensor: "x", Axis: 1}, nil, stats.MomentOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after cancellation", err)
	}
}

// A model with a fixed batch axis runs on whole batches; what is left over is left out.
func TestFlowFixedBatch(t *testing.T) {
	enginetest.Require(t)
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", 4, 3)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Ints("shape", 2, 6), // has the batch size built in
		onnxtest.Node("Relu", "x", "r"), onnxtest.Node("Reshape", "r shape", "y"),
	)
	for samples, want := range map[int]int{11: 8, 4: 4, 3: 3} {
		data := images(t, samples, 3)
		f := flow(t, m, data, dataset.StreamOptions{Batch: 32})
		if f.Samples() != want || f.Batches() != (want+3)/4 {
			t.Errorf("%d samples in %d batches of %d", f.Samples(), f.Batches(), samples)
		}
		compute(t, f, "r")
		compute(t, f, "y")
		near(t, f, "r", whole(t, m, data, "r", 4)[:f.Batches()])
	}
}

// Exporters leave the batch axis free although a Reshape inside has its size built in.
func TestFlowBatchOfOne(t *testing.T) {
	enginetest.Require(t)
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 4)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Ints("shape", 1, 2, 2),
		onnxtest.Node("Relu", "x", "r"), onnxtest.Node("Reshape", "r shape", "y"),
	)
	data := images(t, 5, 4)
	f := flow(t, m, data, dataset.StreamOptions{})
	if f.Batches() != 5 {
		t.Errorf("%d batches", f.Batches())
	}
	compute(t, f, "r")
	compute(t, f, "y")
	near(t, f, "y", whole(t, m, data, "y", 1))
}

// Half precision is evaluated in float32, across cuts too.
func TestFlowHalf(t *testing.T) {
	enginetest.Require(t)
	for _, typ := range []engine.DType{onnxio.Float16, onnxio.BFloat16} {
		m := onnxtest.Model(
			onnxtest.Values(onnxtest.TypedValue("x", typ, "N", 3)), onnxtest.Values(onnxtest.TypedValue("y", typ, "N", 2)),
			onnxtest.Initializer(onnxio.NewTensor("w", typ, []int{3, 2}, []float64{1, 2, -3, 0.5, 0.25, 4})),
			onnxtest.Node("MatMul", "x w", "h"), onnxtest.Node("Relu", "h", "y"),
		)
		f := flow(t, m, images(t, 4, 3), dataset.StreamOptions{})
		compute(t, f, "h")
		compute(t, f, "y")
		out, err := f.Batch(0, "x", "h", "y")
		if err != nil {
			t.Fatal(err)
		}
		x, y := out["x"].F32, out["y"]
		want := make([]float32, 8)
		for i := range want {
			w := [][3]float32{{1, -3, 0.25}, {2, 0.5, 4}}[i%2]
			want[i] = max(0, x[i/2*3]*w[0]+x[i/2*3+1]*w[1]+x[i/2*3+2]*w[2])
		}
		for i := range want {
			if y.Type != onnxio.Float || math.Abs(float64(y.F32[i]-want[i])) > 1e-5 {
				t.Errorf("%v: element %d is %g, want %g", typ, i, y.F32[i], want[i])
			}
		}
	}
}

func TestExtract(t *testing.T) {
	m := residual()
	// Old files list the weights as inputs.
	onnxtest.IR(3)(m.Proto)
	for name, dims := range map[string][]any{"w1": {6, 8, 3, 3}, "w2": {8, 6, 3, 3}, "w3": {5, 4}, "w0": {8, 3, 3, 3}} {
		m.Proto.Graph.Input = append(m.Proto.Graph.Input, onnxtest.Value(name, dims...))
	}
	part, err := stats.Extract(m, []string{"stream", "left"}, []string{"c1", "gated"})
	if err != nil {
		t.Fatal(err)
	}
	if err := part.Validate(); err != nil {
		t.Fatal(err)
	}
	g, err := part.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var in, out, ops []string
	for _, v := range g.Inputs() {
		in = append(in, v.GetName())
	}
	for _, v := range g.Outputs() {
		out = append(out, v.GetName())
	}
	for _, n := range g.Nodes {
		ops = append(ops, n.GetOpType())
	}
	if diff := cmp.Diff([]string{"stream", "left"}, in); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"c1", "gated"}, out); diff != "" {
		t.Error(diff)
	}
	// The Split stays for its other half.
	if diff := cmp.Diff([]string{"Conv", "Relu", "Conv", "Add", "Split", "Mul"}, ops); diff != "" {
		t.Error(diff)
	}
	if len(part.Proto.Graph.Initializer) != 2 {
		t.Errorf("%d initializers", len(part.Proto.Graph.Initializer))
	}
	if g, err := m.Graph(); err != nil || g.Producer("left") == nil {
		t.Error("the model was changed")
	}
	for _, from := range []string{"nothing", ""} {
		if _, err := stats.Extract(m, []string{from}, []string{"c1"}); err == nil {
			t.Errorf("a part from %q", from)
		}
	}
}

// A part that starts nowhere, and a part that reads a tensor only inside an If.
func TestFlowConstantsAndSubgraphs(t *testing.T) {
	enginetest.Require(t)
	body := func(op string) *onnxpb.GraphProto {
		return onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("inner_"+op)), onnxtest.Node(op, "r", "inner_"+op))
	}
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Floats("c", []int{3}, 1, 2, 3),
		onnxtest.Initializer(&onnxio.Tensor{Name: "yes", Type: onnxio.Bool, I64: []int64{1}}),
		onnxtest.Node("Neg", "c", "negative"),
		onnxtest.Node("Relu", "x", "r"),
		onnxtest.Node("If", "yes", "chosen", onnxtest.Attr("then_branch", body("Neg")), onnxtest.Attr("else_branch", body("Abs"))),
		onnxtest.Node("Mul", "chosen negative", "y"),
	)
	data := images(t, 3, 3)
	f := flow(t, m, data, dataset.StreamOptions{})
	compute(t, f, "negative")
	compute(t, f, "r")
	compute(t, f, "y", "x", "c")
	near(t, f, "y", whole(t, m, data, "y", 3))
	out, err := f.Batch(0, "negative", "c")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{-1, -2, -3}, out["negative"].F32); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]float32{1, 2, 3}, out["c"].F32); diff != "" {
		t.Error(diff)
	}
}
