package eval_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// taskCase is a model with the output "y" behind a random layer, and data for it.
type taskCase struct {
	model  *onnxio.Model
	data   *dataset.Data
	labels []int
}

// dataOf makes a data set of rows of d numbers.
func dataOf(t *testing.T, x []float32, d int, labels []int) *dataset.Data {
	t.Helper()
	data, err := dataset.New("rows", map[string]*engine.Value{"x": engine.Float32(x, len(x)/d, d)}, labels)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// classifier makes logits of k classes for points around k centres: log-densities up to what all
// classes share.
func classifier(t *testing.T, rng *rand.Rand, k, n int, out string, more ...onnxtest.Part) taskCase {
	const d = 16
	centres := make([]float64, k*d)
	for i := range centres {
		centres[i] = rng.NormFloat64()
	}
	w := make([]float64, d*k) // [d, k], without what all classes have in common, times a confidence
	for j := range d {
		mean := 0.0
		for c := range k {
			mean += centres[c*d+j] / float64(k)
		}
		for c := range k {
			w[j*k+c] = 3 * (centres[c*d+j] - mean)
		}
	}
	x, labels := make([]float32, n*d), make([]int, n)
	for i := range n {
		labels[i] = rng.IntN(k)
		for j := range d {
			x[i*d+j] = float32(centres[labels[i]*d+j] + .4*rng.NormFloat64())
		}
	}
	nodes := append([]onnxtest.Part{onnxtest.Floats("W", []int{d, k}, w...), onnxtest.Node("MatMul", "x W", "z")}, more...)
	if len(more) == 0 {
		nodes = append(nodes, onnxtest.Node("Identity", "z", out))
	}
	return taskCase{onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", d)), onnxtest.Values(onnxtest.Value(out)), nodes...), dataOf(t, x, d, nil), labels}
}

// regressor makes k smooth functions of Gaussian points, with means and scales of their own.
func regressor(t *testing.T, rng *rand.Rand, k, n int, out string) taskCase {
	const d, h = 8, 32
	normal := func(n int, scale float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = scale * rng.NormFloat64()
		}
		return v
	}
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", d)), onnxtest.Values(onnxtest.Value(out)),
		onnxtest.Floats("W", []int{d, h}, normal(d*h, .5)...), onnxtest.Node("MatMul", "x W", "a"), onnxtest.Node("Tanh", "a", "b"),
		onnxtest.Floats("V", []int{h, k}, normal(h*k, .5)...), onnxtest.Node("MatMul", "b V", "c"),
		onnxtest.Floats("B", []int{k}, normal(k, rng.Float64()*3)...), onnxtest.Node("Add", "c B", out))
	return taskCase{m, dataOf(t, x, d, nil), nil}
}

func taskOf(t *testing.T, m *onnxio.Model, d *dataset.Data, given eval.Tasks) eval.Output {
	t.Helper()
	out, err := eval.FindTasks(t.Context(), []*onnxio.Model{m}, d, given, dataset.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// TestTaskByBehaviour: without labels, names and Softmax, logits are told from other numbers by how
// they behave.
func TestTaskByBehaviour(t *testing.T) {
	enginetest.Require(t)
	for seed := range uint64(6) {
		for _, k := range []int{2, 3, 5, 10, 60} {
			rng := rand.New(rand.NewPCG(seed, uint64(k)))
			c, r := classifier(t, rng, k, 200, "y"), regressor(t, rng, k, 200, "y")
			if o := taskOf(t, c.model, c.data, nil); o.Task != eval.Classify && k != 3 { // of three, the lead says little
				t.Errorf("seed %d: classifier of %d: %+v", seed, k, o)
			}
			if o := taskOf(t, r.model, r.data, nil); o.Task != eval.Regress {
				t.Errorf("seed %d: regressor of %d: %+v", seed, k, o)
			}
		}
	}
}

// TestTaskEvidence goes through what else decides.
func TestTaskEvidence(t *testing.T) {
	enginetest.Require(t)
	rng := func() *rand.Rand { return rand.New(rand.NewPCG(5, 7)) }
	const n = 100
	behind := func(out string, nodes ...onnxtest.Part) taskCase { return classifier(t, rng(), 4, n, out, nodes...) }
	wrong := regressor(t, rng(), 4, n, "y")
	for i := range n {
		wrong.labels = append(wrong.labels, i%4)
	}
	few := regressor(t, rng(), 4, 5, "y")
	few.labels = []int{0, 1, 2, 3, 0}
	right := classifier(t, rng(), 4, n, "boxes") // labels do not overrule a name
	for name, c := range map[string]struct {
		taskCase
		labels bool
		task   eval.Task
		reason string
	}{
		"softmax":              {behind("y", onnxtest.Node("Softmax", "z", "y", onnxtest.Attr("axis", 1))), false, eval.Classify, "Softmax"},
		"log softmax":          {behind("y", onnxtest.Node("LogSoftmax", "z", "y", onnxtest.Attr("axis", 1))), false, eval.Classify, "LogSoftmax"},
		"softmax, rearranged":  {behind("y", onnxtest.Node("Softmax", "z", "p", onnxtest.Attr("axis", 1)), onnxtest.Ints("shape", -1, 4, 1, 1), onnxtest.Node("Reshape", "p shape", "y")), false, eval.Classify, "Softmax"},
		"softmax by hand":      {behind("y", onnxtest.Node("Exp", "z", "e"), onnxtest.Ints("ax", 1), onnxtest.Node("ReduceSum", "e ax", "s"), onnxtest.Node("Div", "e s", "y")), false, eval.Classify, "sum to one"},
		"unit vectors":         {behind("y", onnxtest.Node("LpNormalization", "z", "y", onnxtest.Attr("axis", 1))), false, eval.Embed, "LpNormalization"},
		"unit vectors by hand": {behind("y", onnxtest.Node("ReduceL2", "z", "s", onnxtest.Attr("axes", []int64{1})), onnxtest.Node("Div", "z s", "y")), true, eval.Embed, "length one"},
		"sigmoids":             {behind("y", onnxtest.Node("Sigmoid", "z", "y")), true, eval.Classify, "labels are right"},
		"labels":               {behind("y"), true, eval.Classify, "labels are right"},
		"labels of others":     {wrong, true, eval.Regress, "as by chance"},
		"few labels":           {few, true, eval.Classify, "there are labels"},
		"name against labels":  {right, true, eval.Regress, "name"},
		"named":                {regressor(t, rng(), 4, n, "StatefulPartitionedCall/classLogits:0"), false, eval.Classify, "name"},
		"embedding":            {regressor(t, rng(), 4, n, "sentence_embedding"), false, eval.Embed, "name"},
		"ImageNet":             {regressor(t, rng(), 1000, 30, "y"), false, eval.Classify, "ImageNet"},
		"one number":           {regressor(t, rng(), 1, n, "score"), false, eval.Regress, "two numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			d := c.data
			if c.labels {
				var x []float32
				width := 0
				err := dataset.Stream(t.Context(), c.model, d, []string{"x"}, dataset.StreamOptions{}, func(_, _ int, v map[string]*engine.Value) error {
					x, width = append(x, v["x"].F32...), v["x"].Dims[1]
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				d = dataOf(t, x, width, c.taskCase.labels)
			}
			o := taskOf(t, c.model, d, nil)
			if o.Task != c.task || !strings.Contains(o.Reason, c.reason) {
				t.Errorf("%+v, want %s: %s", o, c.task, c.reason)
			}
		})
	}
}

// TestTaskOfBoxScores: scores of boxes are no scores of classes, whatever they are called.
func TestTaskOfBoxScores(t *testing.T) {
	enginetest.Require(t)
	data, err := dataset.New("boxes", map[string]*engine.Value{"x": engine.Float32(make([]float32, 3*20*4), 3, 20, 4)}, []int{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []int{0, 1} {
		m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 20, 4)), onnxtest.Values(onnxtest.Value("scores"), onnxtest.Value("y")),
			onnxtest.Node("Abs", "x", "y"), onnxtest.Node("ReduceMean", "x", "scores", onnxtest.Attr("axes", []int64{2}), onnxtest.Attr("keepdims", keep)))
		if o := taskOf(t, m, data, nil); o.Task != eval.Regress || !strings.Contains(o.Reason, `each row of "y"`) {
			t.Errorf("keepdims %d: %+v", keep, o)
		}
	}
}

// TestTaskGiven: what is given holds, or is an error.
func TestTaskGiven(t *testing.T) {
	enginetest.Require(t)
	rng := rand.New(rand.NewPCG(1, 1))
	r, one := regressor(t, rng, 4, 40, "boxes"), regressor(t, rng, 1, 40, "boxes")
	for _, given := range []eval.Tasks{{"": eval.Classify}, {"boxes": eval.Classify}, {"": eval.Embed, "boxes": eval.Classify}} {
		if o := taskOf(t, r.model, r.data, given); o.Task != eval.Classify || o.Axis != 1 || o.Reason != "given" {
			t.Errorf("%v: %+v", given, o)
		}
	}
	for want, given := range map[string]eval.Tasks{`no output "y" to give a task; there are "boxes"`: {"y": eval.Embed}, "two numbers or more": {"": eval.Classify}} {
		_, err := eval.FindTasks(t.Context(), []*onnxio.Model{one.model}, one.data, given, dataset.StreamOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", given, err)
		}
	}
}

// TestAgreementByTask: what agreement means depends on the task, also where a sample has many rows.
func TestAgreementByTask(t *testing.T) {
	enginetest.Require(t)
	// Twenty boxes a sample, of which two hold something; the second model finds one of them, and
	// turns all vectors.
	x := make([]float32, 3*20*2)
	for i := range x {
		x[i] = float32((i + 1) % 2) // background
	}
	for s := range 3 {
		for _, b := range []int{4, 11} {
			x[(s*20+b)*2], x[(s*20+b)*2+1] = 0, float32(b)
		}
	}
	data, err := dataset.New("boxes", map[string]*engine.Value{"x": engine.Float32(x, 3, 20, 2)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	model := func(bias float64) *onnxio.Model {
		return onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 20, 2)), onnxtest.Values(onnxtest.Value("y")),
			onnxtest.Floats("b", []int{2}, bias, 0), onnxtest.Node("Add", "x b", "y"))
	}
	for task, want := range map[eval.Task]float64{eval.Classify: .5, eval.Embed: (18 + 4/math.Sqrt(41) + 11/math.Sqrt(146)) / 20} {
		evals, err := eval.Models(t.Context(), []*onnxio.Model{model(0), model(5)}, data, eval.Options{NoLatency: true,
			Outputs: []eval.Output{{Name: "y", Task: task, Axis: 2}}})
		if err != nil {
			t.Fatal(err)
		}
		if o := evals[1].Outputs[0]; math.Abs(o.Agreement-want) > 1e-6 || o.Task != task || fmt.Sprint(*evals[1].Agreement) != fmt.Sprint(o.Agreement) {
			t.Errorf("%s: %+v, want %g", task, o, want)
		}
	}
}
