package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// envTrial makes the test's program the one in which models are tried. It says which operator that
// program dies of.
const envTrial = "MONGE_TEST_TRIAL"

func TestMain(m *testing.M) {
	deadly := os.Getenv(envTrial)
	if deadly == "" {
		os.Exit(m.Run())
	}
	err := serveTrial(os.Stdin, os.Stdout, func(r trialRequest) error {
		m, err := r.load()
		if err != nil {
			return err
		}
		needed, err := neededOps(m, r.Outputs)
		if err != nil {
			return err
		}
		if slices.Contains(needed, deadly) {
			die()
		}
		return r.run()
	})
	if err != nil {
		os.Exit(3)
	}
}

// neededOps are the operators that some tensors are computed with; all of them for nil.
func neededOps(m *onnxio.Model, tensors []string) (ops []string, err error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	needed := g.Ancestors(tensors...)
	for _, n := range g.Nodes {
		if tensors == nil || needed[n] {
			ops = append(ops, n.GetOpType())
		}
	}
	return ops, nil
}

// die reads where there is nothing, as a library does that goes beyond its memory.
func die() {
	var p *int
	fmt.Fprintln(os.Stderr, *p)
}

func trialOf(deadly string, t *testing.T) *Trial {
	t.Setenv(envTrial, deadly)
	return &Trial{Command: []string{os.Args[0]}}
}

func parse(t *testing.T, text string) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// require is enginetest.Require, which this package's own tests cannot import.
func require(t testing.TB) {
	t.Helper()
	if _, err := Available(); err != nil {
		t.Skip(err)
	}
}

// TestTrialDeath: the death of the program in which a model is tried is an error that names the node,
// wherever in the graph that stands.
func TestTrialDeath(t *testing.T) {
	require(t)
	in := map[string]*Value{"x": Float32(make([]float32, 4), 1, 4)}
	for text, node := range map[string]string{
		"y = Tan(x)": "Tan_y",
		"a = Relu(x)\nb = Sigmoid(a)\nc = Tan(b)\nd = Exp(c)\ny = Add(a, d)":  "Tan_c",
		"a = Tan(x)\nb = Exp(a)\ny = Tan(b)":                                  "Tan_a",
		"a = Relu(x)\nb = Exp(x)\nc = Neg(a)\nz = Abs(b)\ny = Tan(c)\n-> z y": "Tan_y",
	} {
		trial := trialOf("Tan", t)
		m := parse(t, "x: N 4\n"+text)
		err := trial.Run(t.Context(), m, in)
		if !errors.Is(err, ErrDies) || !strings.Contains(err.Error(), `SIGSEGV`) || !strings.Contains(err.Error(), `at Tan "`+node+`"`) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", text, err)
		}
		t.Setenv(envTrial, "Nothing") // it is known by now
		if again := trial.Run(t.Context(), m.Clone(), in); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: the second time: %v", text, again)
		}
	}
}

// TestTrialPasses: a model that runs passes, and so does one that cannot be run for other reasons;
// without a program nothing is tried.
func TestTrialPasses(t *testing.T) {
	require(t)
	good, bad := parse(t, "x: N 4\ny = MatMul(x, w[4 3])"), parse(t, "x: N 4\ny = MatMul(x, w[5 3])")
	in := map[string]*Value{"x": Float32(make([]float32, 4), 1, 4)}
	for name, trial := range map[string]*Trial{"real": trialOf("Tan", t), "zero": {}, "nil": nil, "no such program": {Command: []string{"/nowhere"}}} {
		for _, m := range []*onnxio.Model{good, bad} {
			if err := trial.Run(t.Context(), m, in); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trialOf("Tan", t).Run(ctx, good, in); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTrialMemory: what takes more memory than a trial may is an error; constants that onnxruntime
// folds while it loads the model are an example.
func TestTrialMemory(t *testing.T) {
	require(t)
	trial := trialOf("Tan", t)
	trial.Memory = 1 << 30
	in := map[string]*Value{"x": Float32(make([]float32, 4), 1, 4)}
	for _, text := range []string{
		"m = Add(a[1 65536], b[65536 1])\ns = ReduceMax(m) keepdims=0\ny = Add(x, s)",
		"m = ConstantOfShape(k{100000 100000})\ns = ReduceMax(m) keepdims=0\ny = Add(x, s)",
	} {
		if err := trial.Run(t.Context(), parse(t, "x: N 4\n"+text), in); !errors.Is(err, ErrMemory) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTrialTime: a loop without end is an error, and the program that runs it ends.
func TestTrialTime(t *testing.T) {
	require(t)
	body := onnxtest.Graph(
		onnxtest.Values(onnxtest.TypedValue("i", onnxio.Int64), onnxtest.TypedValue("go", onnxio.Bool), onnxtest.Value("v")),
		onnxtest.Values(onnxtest.TypedValue("on", onnxio.Bool), onnxtest.Value("w")),
		onnxtest.Node("Identity", "go", "on"), onnxtest.Node("Sin", "v", "w"))
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 4)), onnxtest.Values(onnxtest.Value("y", "N", 4)),
		onnxtest.Initializer(onnxio.NewInts("times", nil, []int64{math.MaxInt64})),
		onnxtest.Initializer(&onnxio.Tensor{Name: "yes", Type: onnxio.Bool, I64: []int64{1}}),
		onnxtest.Node("Loop", "times yes x", "y", onnxtest.Attr("body", body)))
	trial := trialOf("Tan", t)
	trial.Time = 2 * time.Second
	in := map[string]*Value{"x": Float32(make([]float32, 4), 1, 4)}
	if err := trial.Run(t.Context(), m, in); !errors.Is(err, ErrEndless) {
		t.Error(err)
	}
	if err := trial.Run(t.Context(), parse(t, "x: N 4\ny = Sin(x)"), in); err != nil {
		t.Errorf("one that ends: %v", err)
	}
}

// TestTrialLarge: models that are handed over in files are tried as well.
func TestTrialLarge(t *testing.T) {
	require(t)
	m := parse(t, "x: N 4096\na = MatMul(x, w[4096 4097])\ny = Tan(a)")
	in := map[string]*Value{"x": Float32(make([]float32, 4096), 1, 4096)}
	if err := trialOf("Tan", t).Run(t.Context(), m, in); !errors.Is(err, ErrDies) || !strings.Contains(err.Error(), `Tan "Tan_y"`) {
		t.Error(err)
	}
	if err := trialOf("Sin", t).Run(t.Context(), m, in); err != nil {
		t.Error(err)
	}
}

// BenchmarkTrial is what a trial of a small model costs: a program is started, opens onnxruntime,
// and loads and runs the model twice.
func BenchmarkTrial(b *testing.B) {
	require(b)
	b.Setenv(envTrial, "Nothing")
	m, err := onnxtest.Parse("x: N 3 8 8\nc = Conv(x, w[8 3 3 3])\nr = Relu(c)\ny = Flatten(r)")
	if err != nil {
		b.Fatal(err)
	}
	in := map[string]*Value{"x": Float32(make([]float32, 192), 1, 3, 8, 8)}
	for b.Loop() {
		if err := (&Trial{Command: []string{os.Args[0]}}).Run(b.Context(), m, in); err != nil {
			b.Fatal(err)
		}
	}
}
