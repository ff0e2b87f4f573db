package latency

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A table has a row for every linear operator at every width that was tried, and what operators took
// adds up to what the model took. No time is looked at.
func TestMeasure(t *testing.T) {
	enginetest.Require(t)
	for _, name := range []string{"cnn_a", "resnet_a", "mlp_a"} {
		x, err := newExperiment(modeltest.Load(t, name), Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		x.o.Within = time.Millisecond
		const tries = 6
		for i := range tries {
			if err := x.try(context.Background(), x.widths(i), x.ranks(i, x.widths(i))); err != nil {
				t.Fatal(err)
			}
		}
		table := &Table{}
		x.fill(table)
		if err := table.check(); err != nil {
			t.Error(err)
		}
		if err := table.Covers(x.s.Analysis, x.form.Operator); err != nil {
			t.Error(err)
		}
		widths := map[string]map[int]bool{}
		whole := 0.0 // of the rows of the first try
		seen := map[string]bool{}
		for _, r := range table.Operators {
			if !seen[r.Node] {
				seen[r.Node] = true
				whole += r.MS
			}
			if r.Op == "Conv" || r.Op == "Gemm" {
				if widths[r.Node] == nil {
					widths[r.Node] = map[int]bool{}
				}
				widths[r.Node][r.Inputs[0][1]*1000+r.Outputs[0][1]] = true
				if r.MS <= 0 {
					t.Errorf("%s: %s takes %g ms", name, r.Node, r.MS)
				}
			}
		}
		for node, w := range widths {
			if len(w) < 2 {
				t.Errorf("%s: %s was timed at %d widths", name, node, len(w))
			}
		}
		if len(widths) < 3 || whole <= 0 || table.MS <= 0 || table.Threads != 1 {
			t.Errorf("%s: %d linear operators, %g of %g ms, %d threads", name, len(widths), whole, table.MS, table.Threads)
		}
	}
}

// What onnxruntime makes of several nodes is told to be the one whose operator it has, by its name or
// that of its output, and what it adds of its own goes with a neighbour.
func TestSpread(t *testing.T) {
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", 1, 3, 8, 8)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Floats("w", []int{1}, 1), onnxtest.Floats("v", []int{1}, 1),
		onnxtest.Node("Conv", "x w", "a"),
		onnxtest.Node("Relu", "a", "b"),
		onnxtest.Node("Conv", "b v", "c"),
		onnxtest.Node("Add", "c b", "d"),
		onnxtest.Node("Relu", "d", "e"),
		onnxtest.Node("MatMul", "e v", "f"),
		onnxtest.Node("Sigmoid", "f", "y"),
	)
	p, err := numbered(m)
	if err != nil {
		t.Fatal(err)
	}
	got := p.spread([]engine.Kernel{
		{Name: "ReorderInput", Op: "ReorderInput"},
		{Name: "b_nchwc", Op: "Conv"},
		{Name: "e_nchwc", Op: "Conv"}, // with the Add and the Relu behind it
		{Name: "ReorderOutput_token_3", Op: "ReorderOutput"},
		{Name: "monge_5_/MatMulAddFusion/", Op: "FusedMatMul"},
		{Name: "monge_6_", Op: "Sigmoid"},
	}, []float64{1, 10, 100, 1000, 1e4, 1e5})
	for i, want := range []float64{11, 0, 1100, 0, 0, 1e4, 1e5} {
		if n := p.graph.Nodes[i]; got[n] != want {
			t.Errorf("node %d, a %s, takes %g, not %g", i, n.GetOpType(), got[n], want)
		}
	}
	if strings.Contains(p.graph.Nodes[0].GetName(), "monge_") {
		t.Error("the model itself was renamed")
	}
}

// Runs of other lengths, and slow ones, do not count.
func TestTypical(t *testing.T) {
	run := func(us ...int) (out []engine.Kernel) {
		for _, n := range us {
			out = append(out, engine.Kernel{Took: time.Duration(n) * time.Microsecond})
		}
		return out
	}
	_, ms := typical([][]engine.Kernel{run(1000), run(10, 20), run(30, 90), run(11, 22), run(500, 500), run(50, 50)})
	if len(ms) != 2 || math.Abs(ms[0]-0.0105) > 1e-9 || math.Abs(ms[1]-0.021) > 1e-9 {
		t.Errorf("%v", ms)
	}
}

// The cache tells models apart by all but the values of their weights.
func TestCachePath(t *testing.T) {
	enginetest.Require(t)
	path := func(m *onnxio.Model, o Options) string {
		p, err := cachePath(m, o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a := path(modeltest.Load(t, "mlp_a"), Options{Threads: 1})
	if b := path(modeltest.Load(t, "mlp_b"), Options{Threads: 1}); a != b {
		t.Error("the values of weights tell models apart")
	}
	for what, other := range map[string]string{
		"threads": path(modeltest.Load(t, "mlp_a"), Options{Threads: 2}),
		"widths":  path(modeltest.Load(t, "mlp_wide"), Options{Threads: 1}),
		"model":   path(modeltest.Load(t, "cnn_a"), Options{Threads: 1}),
		"shapes":  path(modeltest.Load(t, "mlp_a"), Options{Threads: 1, Shapes: map[string][]int{"input": {1, 1, 28, 28}}}),
	} {
		if a == other {
			t.Errorf("other %s do not tell models apart", what)
		}
	}
	if !strings.HasSuffix(a, ".json") {
		t.Error(a)
	}
}
