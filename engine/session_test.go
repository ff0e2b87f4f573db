package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// mlp is y = relu(x·W)·V for x [N,3]; h and r are the inner tensors, without value_info.
func mlp() *onnxio.Model {
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3)),
		onnxtest.Values(onnxtest.Value("y", "N", 2)),
		onnxtest.Floats("W", []int{3, 2}, 1, 0, 0, 1, 1, -1),
		onnxtest.Floats("V", []int{2, 2}, 1, 2, 3, 4),
		onnxtest.Node("MatMul", "x W", "h"),
		onnxtest.Node("Relu", "h", "r"),
		onnxtest.Node("MatMul", "r V", "y"),
	)
}

func open(t *testing.T, m *onnxio.Model, o engine.Options) *engine.Session {
	t.Helper()
	s, err := engine.Open(m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func run(t *testing.T, s *engine.Session, in map[string]*engine.Value) map[string]*engine.Value {
	t.Helper()
	out, err := s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var mlpInput = map[string]*engine.Value{"x": engine.Float32([]float32{1, 2, 3, -1, 0, 1}, 2, 3)}

// What mlp computes for mlpInput, by hand.
var (
	mlpH = engine.Float32([]float32{4, -1, 0, -1}, 2, 2)
	mlpR = engine.Float32([]float32{4, 0, 0, 0}, 2, 2)
	mlpY = engine.Float32([]float32{4, 8, 0, 0}, 2, 2)
)

func named(v *engine.Value, name string) *engine.Value {
	c := *v
	c.Name = name
	return &c
}

func TestRun(t *testing.T) {
	enginetest.Require(t)
	s := open(t, mlp(), engine.Options{Threads: 1, Strict: true})
	want := map[string]*engine.Value{"y": named(mlpY, "y")}
	if diff := cmp.Diff(want, run(t, s, mlpInput)); diff != "" {
		t.Error(diff)
	}
	in := []engine.IOInfo{{Name: "x", Type: onnxio.Float, Dims: []int64{-1, 3}, Params: []string{"N", ""}}}
	if diff := cmp.Diff(in, s.Inputs()); diff != "" {
		t.Error(diff)
	}
}

func TestRunOutputs(t *testing.T) {
	enginetest.Require(t)
	names := []string{"h", "y", "x", "V", "h", "r"} // inner, output, input, weight, repeated
	s := open(t, mlp(), engine.Options{Outputs: names})
	want := map[string]*engine.Value{
		"h": named(mlpH, "h"), "r": named(mlpR, "r"), "y": named(mlpY, "y"), "x": mlpInput["x"],
		"V": named(engine.Float32([]float32{1, 2, 3, 4}, 2, 2), "V"),
	}
	if diff := cmp.Diff(want, run(t, s, mlpInput)); diff != "" {
		t.Error(diff)
	}
}

func TestTap(t *testing.T) {
	enginetest.Require(t)
	m, err := rewire.Tap(mlp(), []string{"h", "x", "y", "W"})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, m, engine.Options{})
	out := run(t, s, mlpInput)
	if diff := cmp.Diff(named(mlpH, "h"), out["h"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(mlpInput["x"].F32, out["x"].F32); diff != "" {
		t.Error(diff)
	}
	if _, err := rewire.Tap(mlp(), []string{"nowhere"}); err == nil {
		t.Error("Tap of a tensor that does not exist: no error")
	}
}

func TestScalars(t *testing.T) {
	enginetest.Require(t)
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N"), onnxtest.TypedValue("k", onnxio.Int64)),
		onnxtest.Values(onnxtest.Value("sum"), onnxtest.TypedValue("k1", onnxio.Int64)),
		onnxtest.Node("ReduceSum", "x", "s", onnxtest.Attr("keepdims", 0)),
		onnxtest.Node("Identity", "s", "sum"),
		onnxtest.Node("Add", "k k", "k1"),
		onnxtest.Node("Greater", "k1 k", "more"),
	)
	s := open(t, m, engine.Options{Outputs: []string{"k1", "more", "s", "sum", "x"}})
	for range 2 { // the second run knows which outputs are scalars
		out := run(t, s, map[string]*engine.Value{"x": engine.Float32([]float32{1, 2, 3}, 3), "k": engine.Int64([]int64{5})})
		want := map[string]*engine.Value{
			"s": {Name: "s", Type: onnxio.Float, F32: []float32{6}}, "sum": {Name: "sum", Type: onnxio.Float, F32: []float32{6}},
			"k1": {Name: "k1", Type: onnxio.Int64, I64: []int64{10}}, "more": {Name: "more", Type: onnxio.Bool, I64: []int64{1}},
			"x": engine.Float32([]float32{1, 2, 3}, 3),
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestElementTypes(t *testing.T) {
	enginetest.Require(t)
	for _, typ := range []engine.DType{
		onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_DOUBLE, onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16,
		onnxpb.TensorProto_INT8, onnxpb.TensorProto_INT16, onnxpb.TensorProto_INT32, onnxpb.TensorProto_INT64,
		onnxpb.TensorProto_UINT8, onnxpb.TensorProto_UINT16, onnxpb.TensorProto_UINT32, onnxpb.TensorProto_UINT64,
		onnxpb.TensorProto_BOOL,
	} {
		m := onnxtest.Model(
			onnxtest.Values(onnxtest.TypedValue("x", typ, "N")), onnxtest.Values(onnxtest.TypedValue("y", typ, "N")),
			onnxtest.Node("Identity", "x", "i"), onnxtest.Node("Identity", "i", "y"),
		)
		s := open(t, m, engine.Options{Outputs: []string{"i", "y"}})
		for _, in := range []*engine.Value{engine.Float32([]float32{1, 0, 1}, 3), engine.Int64([]int64{1, 0, 1}, 3)} {
			out := run(t, s, map[string]*engine.Value{"x": in})
			for _, name := range []string{"i", "y"} {
				if diff := cmp.Diff([]float64{1, 0, 1}, out[name].Float64()); diff != "" {
					t.Errorf("%v %s: %s", typ, name, diff)
				}
			}
		}
	}
}

// TestHalf: a float16 MLP gives what the float32 one gives, rounded; so does a bfloat16 one,
// through its float32 copy.
func TestHalf(t *testing.T) {
	enginetest.Require(t)
	for _, typ := range []engine.DType{onnxio.Float16, onnxio.BFloat16} {
		m := mlp()
		for _, w := range m.Proto.Graph.Initializer {
			full, err := m.Tensor(w)
			if err != nil {
				t.Fatal(err)
			}
			half := onnxio.NewTensor(full.Name, typ, full.Dims, full.Float64()).Proto()
			w.DataType, w.RawData, w.FloatData = half.DataType, half.RawData, nil
		}
		for _, v := range append(m.Proto.Graph.Input, m.Proto.Graph.Output...) {
			e := int32(typ)
			v.Type.GetTensorType().ElemType = &e
		}
		s := open(t, m, engine.Options{Outputs: []string{"h", "r", "y"}})
		out := run(t, s, mlpInput)
		want := map[string]*engine.Value{"h": named(mlpH, "h"), "r": named(mlpR, "r"), "y": named(mlpY, "y")}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("%v: %s", typ, diff)
		}
	}
}

func TestEmptyBatch(t *testing.T) {
	enginetest.Require(t)
	out := run(t, open(t, mlp(), engine.Options{}), map[string]*engine.Value{"x": engine.Float32([]float32{}, 0, 3)})
	if diff := cmp.Diff([]int{0, 2}, out["y"].Dims); diff != "" {
		t.Error(diff)
	}
}

func TestExternalData(t *testing.T) {
	enginetest.Require(t)
	path := t.TempDir() + "/m.onnx"
	if err := onnxio.Save(t.Context(), path, mlp(), onnxio.SaveOptions{External: onnxio.Always, Threshold: -1}); err != nil {
		t.Fatal(err)
	}
	m, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, open(t, m, engine.Options{}), mlpInput)
	if diff := cmp.Diff(mlpY.F32, out["y"].F32); diff != "" {
		t.Error(diff)
	}
}

func TestSubgraphCapture(t *testing.T) {
	enginetest.Require(t)
	body := func(op string) *onnxpb.GraphProto {
		return onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("o_"+op)), onnxtest.Node(op, "h W", "o_"+op))
	}
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 2)), onnxtest.Values(onnxtest.Value("y"), onnxtest.Value("z")),
		onnxtest.Floats("W", []int{1}, 10), onnxtest.Floats("unused", []int{1}, 1),
		onnxtest.Initializer(&onnxio.Tensor{Name: "yes", Type: onnxio.Bool, I64: []int64{1}}),
		onnxtest.Node("Relu", "x", "h"),
		onnxtest.Node("If", "yes", "y", onnxtest.Attr("then_branch", body("Add")), onnxtest.Attr("else_branch", body("Mul"))),
		onnxtest.Node("Neg", "y", "z"),
	)
	out := run(t, open(t, m, engine.Options{Outputs: []string{"y"}}), map[string]*engine.Value{"x": engine.Float32([]float32{1, -1}, 1, 2)})
	if diff := cmp.Diff([]float32{11, 10}, out["y"].F32); diff != "" {
		t.Error(diff)
	}
}

func TestRunErrors(t *testing.T) {
	enginetest.Require(t)
	s := open(t, mlp(), engine.Options{})
	for want, in := range map[string]map[string]*engine.Value{
		`model test: input "x": no value given`:                            {},
		`model test: input "x": shape [2,4] given, [N,3] wanted`:           {"x": engine.Float32(make([]float32, 8), 2, 4)},
		`model test: input "x": FLOAT tensor [2,3] has 1 elements, want 6`: {"x": engine.Float32([]float32{1}, 2, 3)},
		`model test: no input "z": the model has "x"`:                      {"x": mlpInput["x"], "z": mlpInput["x"]},
		`model test: input "x": element type STRING cannot be fed`:         {"x": {Type: onnxpb.TensorProto_STRING, Dims: []int{1, 3}}},
	} {
		if _, err := s.Run(t.Context(), in); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, mlpInput); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled run: %v", err)
	}
}

// TestCancelRunning cancels a run of a model that would take minutes.
func TestCancelRunning(t *testing.T) {
	enginetest.Require(t)
	const n, nodes = 1024, 2000
	var parts []onnxtest.Part
	in := "x"
	for i := range nodes {
		out := fmt.Sprint("h", i)
		parts = append(parts, onnxtest.Node("MatMul", in+" x", out))
		in = out
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", n, n)), onnxtest.Values(onnxtest.Value(in)), parts...)
	s := open(t, m, engine.Options{Threads: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := s.Run(ctx, map[string]*engine.Value{"x": engine.Float32(make([]float32, n*n), n, n)})
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took < 50*time.Millisecond || took > 20*time.Second {
		t.Errorf("cancelled run: %v after %v", err, took)
	}
}

func TestOpenErrors(t *testing.T) {
	enginetest.Require(t)
	bad := mlp()
	bad.Proto.Graph.Node[0].OpType = onnxtest.Model(nil, nil, onnxtest.Node("NoSuchOp", "", "")).Proto.Graph.Node[0].OpType
	if _, err := engine.Open(bad, engine.Options{}); err == nil {
		t.Error("unknown operator: no error")
	} else {
		t.Log(err)
	}
	if _, err := engine.Open(mlp(), engine.Options{Outputs: []string{"nope"}}); err == nil {
		t.Error("unknown tensor: no error")
	}
}

// A convolution without channels would end the program inside onnxruntime.
func TestEmptyKernelIsRefused(t *testing.T) {
	enginetest.Require(t)
	m, err := onnxtest.Parse(`
		x: N 3 4 4
		y = Conv(x, w[0 3 1 1])`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Open(m, engine.Options{}); err == nil || !strings.Contains(err.Error(), `weight "w" is empty`) {
		t.Errorf("error is %v", err)
	}
}

// TestLargeModel: a model that is handed over in files computes what it should, and leaves none
// behind.
func TestLargeModel(t *testing.T) {
	enginetest.Require(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	const n, k = 3, 1 << 24 / 3 // 64 MB and a few bytes
	w := make([]float32, n*(k+1))
	for i := range w {
		w[i] = float32(i % 7)
	}
	weight := engine.Float32(w, n, k+1).Proto()
	name := "W"
	weight.Name = &name
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", n)), onnxtest.Values(onnxtest.Value("y", "N", k+1)),
		onnxtest.RawInitializer(weight), onnxtest.Node("MatMul", "x W", "y"))
	s, err := engine.Open(m, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	y := run(t, s, map[string]*engine.Value{"x": engine.Float32([]float32{1, 2, 3}, 1, n)})["y"]
	for j, got := range y.F32 {
		if want := w[j] + 2*w[k+1+j] + 3*w[2*(k+1)+j]; got != want {
			t.Fatalf("y[%d] = %g, want %g", j, got, want)
		}
	}
	// Whoever is killed now leaves nothing, where open files can be removed.
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 && runtime.GOOS != "windows" {
		t.Errorf("%d files while the session is open (%v)", len(files), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err = os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%d files are left (%v)", len(files), err)
	}
}

func TestConcurrentRuns(t *testing.T) {
	enginetest.Require(t)
	s := open(t, mlp(), engine.Options{Outputs: []string{"y", "h"}})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				out, err := s.Run(t.Context(), mlpInput)
				if err != nil || !cmp.Equal(out["y"].F32, mlpY.F32) {
					t.Errorf("%v %v", out, err)
					return
				}
			}
		})
	}
	group.Wait()
}
