package stats_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Batches that come in hold what a whole run gives, wherever the others are kept.
func TestFlowUse(t *testing.T) {
	enginetest.Require(t)
	m, data := residual(), images(t, 11, 3, 6, 6)
	for _, room := range []int64{1 << 30, 0, 5000} {
		f := flow(t, m, data, dataset.StreamOptions{Batch: 2})
		f.Room = &stats.Room{Bytes: room}
		use := func(batches, samples int) {
			t.Helper()
			if err := f.Use(t.Context(), batches); err != nil {
				t.Fatal(err)
			}
			if f.Batches() != batches || f.Samples() != samples {
				t.Errorf("%d samples in %d batches, want %d in %d", f.Samples(), f.Batches(), samples, batches)
			}
		}
		use(2, 4)
		compute(t, f, "stream", "inner", "x")
		near(t, f, "inner", whole(t, m, data.Sample(4, dataset.FileOrder), "inner", 2))
		use(5, 10)
		near(t, f, "inner", whole(t, m, data.Sample(10, dataset.FileOrder), "inner", 2))
		use(1, 2)
		compute(t, f, "sum")
		if _, err := f.Batch(1, "stream"); err == nil {
			t.Error("a batch that was left out is there")
		}
		use(6, 11)
		for _, tensor := range []string{"x", "stream", "inner", "sum"} {
			near(t, f, tensor, whole(t, m, data, tensor, 2))
		}
	}
}

// wide is a network whose first maps are large and whose last ones are small.
func wide() *onnxio.Model {
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3, 16, 16)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Node("Relu", "x", "a"),
		onnxtest.Node("Neg", "a", "b"),
		onnxtest.Node("MaxPool", "b", "c", onnxtest.Attr("kernel_shape", 8, 8), onnxtest.Attr("strides", 8, 8)),
		onnxtest.Node("Abs", "c", "d"),
		onnxtest.Node("Exp", "d", "y"),
	)
}

var sizes = map[string]int64{"a": 3072, "b": 3072, "c": 48, "d": 48, "y": 48}

func TestWalk(t *testing.T) {
	enginetest.Require(t)
	m, data := wide(), images(t, 200, 3, 16, 16)
	steps := []stats.Step{
		{Tensors: [][]string{{"a"}, nil}}, {Tensors: [][]string{{"b"}, {"b"}}}, {Tensors: [][]string{{"c"}, {"d"}}},
		{Tensors: [][]string{{"d"}, {"d"}}, Least: 90}, {Tensors: [][]string{{"y"}, {"y"}}},
	}
	for _, c := range []struct {
		room    int64
		batch   int // of the flows
		samples []int
	}{
		{1 << 30, 20, []int{200, 200, 200, 200, 200}},
		{9216 * 100, 10, []int{100, 100, 100, 200, 200}}, // the third step starts from large ones
		{0, 6, []int{66, 66, 66, 90, 66}},                // the least, in files
	} {
		temp := t.TempDir()
		t.Setenv("TMPDIR", temp)
		flows := []*stats.Flow{flow(t, m, data, dataset.StreamOptions{}), flow(t, m, data, dataset.StreamOptions{})}
		w, err := stats.NewWalk(flows, steps, &stats.Room{Bytes: c.room}, func(_ int, tensor string) int64 { return sizes[tensor] })
		if err != nil {
			t.Fatal(err)
		}
		var samples []int
		for k, step := range steps {
			if err := w.To(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			samples = append(samples, flows[0].Samples())
			for i, f := range flows {
				if f.Samples() != flows[0].Samples() || f.BatchLen(0) != c.batch {
					t.Errorf("flow %d has %d samples in batches of %d", i, f.Samples(), f.BatchLen(0))
				}
				for _, tensor := range step.Tensors[i] {
					near(t, f, tensor, whole(t, m, data.Sample(f.Samples(), dataset.FileOrder), tensor, c.batch))
				}
			}
		}
		if diff := cmp.Diff(c.samples, samples); diff != "" {
			t.Errorf("room for %d bytes: %s", c.room, diff)
		}
		if n, ok := openFiles(temp); ok && (n > 0) != (c.room == 0) {
			t.Errorf("room for %d bytes: %d files", c.room, n)
		}
		if diff := cmp.Diff([]string{"d", "y"}, flows[0].Keep()); diff != "" {
			t.Error(diff)
		}
	}
}

// What a layer needs are rows for each of its inputs, of which an image has many.
func TestEnough(t *testing.T) {
	an, err := coupling.Analyze(residual(), coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	window := &onnxio.Window{Kernel: []int{3, 3}}
	for _, c := range []struct {
		reading stats.Reading
		want    int
	}{
		{stats.Reading{Tensor: "stream", Conv: window}, 100},           // 50·72 rows of 36 an image
		{stats.Reading{Tensor: "stream", Conv: window, Groups: 8}, 13}, // 50·9
		{stats.Reading{Tensor: "flat", Axis: -1}, 200},                 // 50·4 of one
		{stats.Reading{Tensor: "nothing", Axis: -1}, 0},
	} {
		if got := stats.Enough(an, c.reading); got != c.want {
			t.Errorf("%+v: %d samples, want %d", c.reading, got, c.want)
		}
	}
}
