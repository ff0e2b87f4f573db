package eval_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// scorer is y = x·W for x [batch,3] and five classes; batch is a size or a name.
func scorer(batch any, w ...float64) *onnxio.Model {
	if w == nil {
		w = []float64{1, 0, 0, 1, 2, 0, 1, 0, 1, -1, 0, 0, 1, 1, 0}
	}
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", batch, 3)), onnxtest.Values(onnxtest.Value("y", batch, 5)),
		onnxtest.Floats("W", []int{3, 5}, w...), onnxtest.Node("MatMul", "x W", "y"),
	)
}

// points are n random rows with labels: what scorer says, but for every tenth.
func points(t *testing.T, n int) (*dataset.Data, []float32) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 3*n)
	labels := make([]int, n)
	for i := range n {
		for k := range 3 {
			x[3*i+k] = float32(rng.NormFloat64())
		}
		a, b, c := x[3*i], x[3*i+1], x[3*i+2]
		y := []float32{a, b, c, a + b + c, 2*a - b}
		for k := range y {
			if y[k] > y[labels[i]] {
				labels[i] = k
			}
		}
		if i%10 == 0 {
			labels[i] = (labels[i] + 1) % 5
		}
	}
	d, err := dataset.New("points", map[string]*engine.Value{"pixels": engine.Float32(x, n, 3)}, labels)
	if err != nil {
		t.Fatal(err)
	}
	return d, x
}

// TestStream: however the samples are cut into batches, each comes once, in order.
func TestStream(t *testing.T) {
	enginetest.Require(t)
	const n = 50
	d, x := points(t, n)
	for name, c := range map[string]struct {
		m *onnxio.Model
		o dataset.StreamOptions
	}{
		"free axis":        {scorer("N"), dataset.StreamOptions{}},
		"batches of 7":     {scorer("N"), dataset.StreamOptions{Batch: 7, Threads: 1}},
		"fixed axis":       {scorer(8), dataset.StreamOptions{Batch: 7}},
		"one at a time":    {scorer(1), dataset.StreamOptions{}},
		"built-in batch":   {builtIn(), dataset.StreamOptions{}},
		"larger than data": {scorer(64), dataset.StreamOptions{}},
	} {
		var y, back []float32
		batches, last := 0, 0
		c.o.Progress = func(done, total int) {
			if total != n || done <= last {
				t.Errorf("%s: progress %d of %d after %d", name, done, total, last)
			}
			last = done
		}
		err := dataset.Stream(t.Context(), c.m, d, []string{"y", "x"}, c.o, func(batch, k int, v map[string]*engine.Value) error {
			if batch != batches || v["y"].Dims[0] != k || v["x"].Dims[0] != k {
				t.Errorf("%s: batch %d of %d samples has shapes %v and %v", name, batch, k, v["y"].Dims, v["x"].Dims)
			}
			batches++
			y, back = append(y, v["y"].F32...), append(back, v["x"].F32...)
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(x, back); diff != "" || last != n {
			t.Errorf("%s: %d done, %s", name, last, diff)
		}
		var want []float32
		for i := range n {
			a, b, c := x[3*i], x[3*i+1], x[3*i+2]
			want = append(want, a, b, c, a+b+c, 2*a-b)
		}
		if diff := cmp.Diff(want, y, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// builtIn says that its batch axis is free, and has a Reshape inside that is for one sample.
func builtIn() *onnxio.Model {
	m := scorer("N")
	onnxtest.Ints("shape", 1, 3)(m.Proto)
	m.Proto.Graph.Node[0].Input[0] = "r"
	onnxtest.Node("Reshape", "x shape", "r")(m.Proto)
	m.Proto.Graph.Node[0], m.Proto.Graph.Node[1] = m.Proto.Graph.Node[1], m.Proto.Graph.Node[0]
	return m
}

func TestStreamStops(t *testing.T) {
	enginetest.Require(t)
	d, _ := points(t, 100)
	stop := errors.New("stop")
	calls := 0
	err := dataset.Stream(t.Context(), scorer("N"), d, []string{"y"}, dataset.StreamOptions{Batch: 10}, func(int, int, map[string]*engine.Value) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls = 0
	err = dataset.Stream(ctx, scorer("N"), d, []string{"y"}, dataset.StreamOptions{Batch: 10}, func(int, int, map[string]*engine.Value) error {
		calls++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if err := dataset.Stream(t.Context(), net(), d, []string{"nope"}, dataset.StreamOptions{}, nil); err == nil {
		t.Error("unknown tensor: no error")
	}
}

func TestEvaluate(t *testing.T) {
	enginetest.Require(t)
	const n = 50
	d, _ := points(t, n)
	// b has twice the scores; c never says class 3; d only ever says class 1, in batches of 16.
	a, b := scorer("N"), scorer("N", 2, 0, 0, 2, 4, 0, 2, 0, 2, -2, 0, 0, 2, 2, 0)
	b.Proto.Graph.Input[0].Name, b.Proto.Graph.Node[0].Input[0] = new("pixels"), "pixels"
	constant := scorer(16, make([]float64, 15)...)
	evals, err := eval.Models(t.Context(), []*onnxio.Model{a, b, builtIn(), constant}, d, eval.Options{NoLatency: true})
	if err != nil {
		t.Fatal(err)
	}
	approx := cmpopts.EquateApprox(0, 1e-6)
	if diff := cmp.Diff(.9, *evals[0].Top1, approx); diff != "" {
		t.Error(diff)
	}
	for i, e := range evals {
		if e.Samples != n || e.Params != 15 || e.Bytes < 60 || e.Latency != nil || *e.Top5 != 1 {
			t.Errorf("model %d: %+v", i, e)
		}
	}
	if evals[0].Agreement != nil || evals[0].Outputs != nil {
		t.Error("the first model is compared with itself")
	}
	for _, i := range []int{1, 2} {
		if *evals[i].Top1 != *evals[0].Top1 || *evals[i].Agreement != 1 || math.Abs(*evals[i].Cosine-1) > 1e-6 {
			t.Errorf("model %d: %+v", i, evals[i])
		}
	}
	if *evals[2].MaxDiff != 0 || *evals[1].MaxDiff < 1 {
		t.Errorf("differences %g and %g", *evals[1].MaxDiff, *evals[2].MaxDiff)
	}
	zero := 0. // share of samples whose label is class 0, which a constant scorer says
	for _, l := range d.Labels() {
		if l == 0 {
			zero += 1. / n
		}
	}
	if math.Abs(*evals[3].Top1-zero) > 1e-9 || *evals[3].Cosine != 0 {
		t.Errorf("constant scores: top1 %g, want %g, %+v", *evals[3].Top1, zero, evals[3])
	}
}

// TestEvaluateRegression: outputs that are no scores agree by their distance, relative to how far
// they vary, wherever their mean is.
func TestEvaluateRegression(t *testing.T) {
	enginetest.Require(t)
	model := func(scale, mean float64) *onnxio.Model {
		return onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 3)), onnxtest.Values(onnxtest.Value("y"), onnxtest.Value("z")),
			onnxtest.Floats("s", []int{1}, scale), onnxtest.Node("Mul", "x s", "v"), onnxtest.Floats("c", []int{3}, mean, 0, -mean), onnxtest.Node("Add", "v c", "m"),
			onnxtest.Ints("shape", -1, 3, 1, 1), onnxtest.Ints("picture", -1, 1, 3), onnxtest.Node("Reshape", "m shape", "y"), onnxtest.Node("Reshape", "m picture", "z"))
	}
	_, x := points(t, 40)
	for i := range x {
		x[i] -= x[i%3] // means are not zero
	}
	d, err := dataset.New("points", map[string]*engine.Value{"x": engine.Float32(x, 40, 3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want float64
	for _, mean := range []float64{0, 100} {
		evals, err := eval.Models(t.Context(), []*onnxio.Model{model(1, mean), model(.75, mean)}, d, eval.Options{NoLatency: true, StreamOptions: dataset.StreamOptions{Samples: 30, Seed: 1}})
		if err != nil {
			t.Fatal(err)
		}
		out := evals[1].Outputs
		if want == 0 {
			want = out[0].Agreement
		}
		if len(out) != 2 || out[0].Task != eval.Regress || !(want > 0 && want < .75) || math.Abs(out[0].Agreement-want) > 1e-4 || math.Abs(out[1].Agreement-want) > 1e-4 ||
			*evals[1].Agreement != min(out[0].Agreement, out[1].Agreement) || evals[1].Samples != 30 {
			t.Errorf("mean %g: %+v", mean, evals[1])
		}
	}
}

// However much sequences are padded, models are compared by their words.
func TestEvaluatePadded(t *testing.T) {
	enginetest.Require(t)
	padded := func(length int) float64 {
		m, near, d := modeltest.Words(t, length)
		r, err := eval.Models(t.Context(), []*onnxio.Model{m, near}, d, eval.Options{NoLatency: true, StreamOptions: dataset.StreamOptions{Batch: 2}})
		if err != nil {
			t.Fatal(err)
		}
		if o := r[1].Outputs; o[0].Name != "y" || len(o) != 2 {
			t.Fatalf("outputs %+v", o)
		}
		return r[1].Outputs[0].Agreement
	}
	few, many := padded(12), padded(30)
	if few != many || few <= 0.3 || few >= 0.95 {
		t.Errorf("agreement %v with sequences of 12 places, %v with those of 30", few, many)
	}
}

// Labels that are not those of the model are not used, and it is said why.
func TestDoubtfulLabels(t *testing.T) {
	enginetest.Require(t)
	right, x := points(t, 100)
	labelled := func(class func(label int) int) *dataset.Data {
		labels := right.Labels()
		for i, l := range labels {
			labels[i] = class(l)
		}
		d, err := dataset.New("points", map[string]*engine.Value{"pixels": engine.Float32(x, len(labels), 3)}, labels)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		data  *dataset.Data
		doubt string
	}{
		{right, ""},
		{labelled(func(l int) int { return (l + 1) % 5 }), "of 100 are what model test says, no more than by chance"},
		{labelled(func(l int) int { return l + 1 }), `output "y" of model test has 5 classes, a label is 5`},
		{labelled(func(l int) int { return (l + 1) % 5 }).Sample(10, 1), ""}, // too few to tell
		{labelled(func(l int) int { return (l + 1) % 5 }).Unlabelled(), ""},
	} {
		evals, err := eval.Models(t.Context(), []*onnxio.Model{scorer("N"), scorer("N")}, c.data, eval.Options{NoLatency: true, Outputs: []eval.Output{{Name: "y", Task: eval.Classify, Axis: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evals {
			if (e.Top1 != nil) != (c.doubt == "" && c.data.Labels() != nil) || !strings.Contains(e.Doubt, c.doubt) || c.doubt == "" && e.Doubt != "" {
				t.Errorf("top-1 %v, doubt %q, want %q", e.Top1, e.Doubt, c.doubt)
			}
		}
	}
}

func TestEvaluateErrors(t *testing.T) {
	enginetest.Require(t)
	d, _ := points(t, 20)
	narrow := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 3)), onnxtest.Values(onnxtest.Value("logits")),
		onnxtest.Floats("W", []int{3, 2}, 1, 2, 3, 4, 5, 6), onnxtest.Node("MatMul", "x W", "logits"))
	other := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 4)), onnxtest.Values(onnxtest.Value("y")), onnxtest.Node("Relu", "x", "y"))
	for want, models := range map[string][]*onnxio.Model{
		`array "pixels": shape [20,3] does not fit input "x" [N,4]`: {scorer("N"), other},
	} {
		if _, err := eval.Models(t.Context(), models, d, eval.Options{NoLatency: true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	unlabelled, err := dataset.New("points", map[string]*engine.Value{"x": engine.Float32(make([]float32, 60), 20, 3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `model test: output "logits" [20,2], in model test "y" [20,5]: shapes differ`
	if _, err := eval.Models(t.Context(), []*onnxio.Model{scorer("N"), narrow}, unlabelled, eval.Options{NoLatency: true}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestEvaluateRecorded compares with the outputs of a test_data_set folder.
func TestEvaluateRecorded(t *testing.T) {
	enginetest.Require(t)
	d := recorded(t)
	evals, err := eval.Models(t.Context(), []*onnxio.Model{net()}, d, eval.Options{NoLatency: true})
	if err != nil {
		t.Fatal(err)
	}
	if r := evals[0].Recorded; len(r) != 1 || r[0].MaxDiff != 0 || r[0].Agreement != 1 {
		t.Errorf("%+v", evals[0])
	}
}

func TestLatency(t *testing.T) {
	enginetest.Require(t)
	d, _ := points(t, 20)
	for _, c := range []struct {
		m     *onnxio.Model
		o     eval.LatencyOptions
		batch int
	}{
		{scorer("N"), eval.LatencyOptions{}, 1},
		{scorer("N"), eval.LatencyOptions{Threads: 1, Runs: 40, Data: d}, 1},
		{scorer(4), eval.LatencyOptions{Data: d}, 4},
		{scorer("N"), eval.LatencyOptions{Shapes: map[string][]int{"x": {6, 3}}}, 6},
	} {
		timing, err := eval.Latency(t.Context(), c.m, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if timing.MedianMS <= 0 || timing.Runs < max(30, c.o.Runs) || timing.Batch != c.batch || timing.Threads < 1 || c.o.Threads == 1 && timing.Threads != 1 {
			t.Errorf("%+v for %+v", timing, c.o)
		}
	}
	free := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 3, "H", "W")), onnxtest.Values(onnxtest.Value("y")), onnxtest.Node("Relu", "x", "y"))
	if _, err := eval.Latency(t.Context(), free, eval.LatencyOptions{}); err == nil || err.Error() != "model test: input x float [N,3,H,W] has free sizes: give its shape" {
		t.Errorf("free sizes: %v", err)
	}
}

// net computes y = relu(x·W)·V.
func net() *onnxio.Model {
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

// recorded is a folder of ten samples of one to three rows each, with the outputs that net gives:
// for rows of i, x·W = (2i, 0) and y = (2i, 4i).
func recorded(t *testing.T) *dataset.Data {
	dir := t.TempDir()
	for i := range 10 {
		n := 1 + i%3
		x := engine.Float32(slices.Repeat([]float32{float32(i)}, 3*n), n, 3)
		y := engine.Float32(slices.Repeat([]float32{float32(2 * i), float32(4 * i)}, n), n, 2)
		set := filepath.Join(dir, fmt.Sprintf("test_data_set_%d", i))
		if err := os.Mkdir(set, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]*engine.Value{"input_0.pb": x, "output_0.pb": y} {
			b, err := proto.Marshal(v.Proto())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(set, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	d, err := dataset.Open(dir, dataset.Preprocess{}, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}
