package teach

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// parent is a model as one of two.
func parent(t *testing.T, name string) Parent {
	t.Helper()
	s, err := edit.NewSubject(modeltest.Load(t, name), coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Parent{Subject: s, Share: 0.5}
}

func TestJudge(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	a, b := parent(t, "mlp_a"), parent(t, "mlp_b")
	ctx := context.Background()
	alone, err := NewJudge(ctx, []Parent{{Subject: a.Subject, Share: 1}}, d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := alone.Divergence(ctx, a.Subject.Model); err != nil || x > 1e-9 || x < -1e-9 {
		t.Errorf("a model diverges from itself by %g (%v)", x, err)
	}
	both, err := NewJudge(ctx, []Parent{a, b}, d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	da, err := both.Divergence(ctx, a.Subject.Model)
	if err != nil {
		t.Fatal(err)
	}
	db, err := both.Divergence(ctx, b.Subject.Model)
	if err != nil {
		t.Fatal(err)
	}
	if da <= 0 || db <= 0 {
		t.Errorf("the parents diverge from their mean by %g and %g", da, db)
	}
}

// A child that makes every number half as large is as far as the task says.
func TestJudgeByTask(t *testing.T) {
	ctx := context.Background()
	m, err := onnxtest.Parse("x: N 6\ny = Gemm(x, w[6 4], b[4])")
	if err != nil {
		t.Fatal(err)
	}
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	child := m.Clone()
	g, err := child.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"w", "b"} {
		c, err := m.Tensor(g.Constant(name))
		if err != nil {
			t.Fatal(err)
		}
		half := c.Float64()
		for i := range half {
			half[i] /= 2
		}
		if err := g.SetConstant(onnxio.NewTensor(name, c.Type, c.Dims, half)); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	x := make([]float32, 40*6)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	d, err := dataset.New("noise", map[string]*engine.Value{"x": engine.Float32(x, 40, 6)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	parents := Parents{{Subject: s, Share: 1}}
	for _, task := range []eval.Task{eval.Regress, eval.Embed, eval.Classify} {
		judge, err := NewJudge(ctx, parents, d, Options{Batch: 16, Outputs: []eval.Output{{Name: "y", Task: task, Axis: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := judge.Divergence(ctx, child)
		if err != nil {
			t.Fatal(err)
		}
		if want := halved(task, judge.Said(0), 4); math.Abs(got-want) > 1e-6*(1+want) {
			t.Errorf("%v: %g, want %g", task, got, want)
		}
	}
}

// A child whose outputs are no numbers is as far off as can be, whatever the task.
func TestJudgeNaN(t *testing.T) {
	parse := func(text string) *onnxio.Model {
		m, err := onnxtest.Parse("x: N 6\nh = Gemm(x, w[6 4], b[4])\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m, child := parse("y = Identity(h)"), parse("l = Log(k<-1>)\ny = Add(h, l)")
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range []eval.Task{eval.Regress, eval.Embed, eval.Classify} {
		judge, err := NewJudge(t.Context(), Parents{{Subject: s, Share: 1}}, modeltest.Noise(t, m, 10, 1), Options{Outputs: []eval.Output{{Name: "y", Task: task, Axis: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		if far, err := judge.Divergence(t.Context(), child); err != nil || !math.IsInf(far, 1) {
			t.Errorf("%v: %g, %v", task, far, err)
		}
	}
}

// halved is how far half of some outputs is from what was said about them, in rows of k.
func halved(task eval.Task, said []float32, k int) float64 {
	total, whole := 0.0, 0.0
	switch task {
	case eval.Embed:
		return 0
	case eval.Classify: // the softmax of half of the scores
		for at := 0; at < len(said); at += k {
			sum := 0.0
			for _, p := range said[at : at+k] {
				sum += math.Sqrt(float64(p))
			}
			for _, p := range said[at : at+k] {
				total += float64(p) * math.Log(math.Sqrt(float64(p))*sum) / float64(len(said)/k)
			}
		}
		return total
	}
	for c := range k {
		mean := 0.0
		for at := c; at < len(said); at += k {
			mean += float64(said[at]) * float64(k) / float64(len(said))
		}
		for at := c; at < len(said); at += k {
			y := float64(said[at])
			total += y * y / 4
			whole += (y - mean) * (y - mean)
		}
	}
	return total / whole
}

// Where outputs are large the first inputs judge, as many as there is room for, whatever the number
// of parents.
func TestJudgeHasBounds(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	parents := Parents{parent(t, "mlp_a"), parent(t, "mlp_b")}
	goals, err := parents.Outputs()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ room, want int }{{mostRoom, 100}, {3 * 10 * 40, 64}, {1, 32}} { // ten classes, batches of 32
		j := &Judge{data: d, goals: goals, room: c.room}
		said, err := j.hear(context.Background(), parents)
		if err != nil {
			t.Fatal(err)
		}
		for i, by := range said[0].by {
			if len(by) != 10*c.want || j.data.Len() != c.want {
				t.Errorf("room %d: parent %d says %d numbers about %d inputs, want %d", c.room, i, len(by), j.data.Len(), c.want)
			}
		}
	}
}

// Models are judged by words, not by the padding behind them.
func TestJudgePadded(t *testing.T) {
	ctx := context.Background()
	padded := func(length int) float64 {
		m, near, d := modeltest.Words(t, length)
		d, err := d.Unpadded(ctx, []*onnxio.Model{m}, 1)
		if err != nil {
			t.Fatal(err)
		}
		s, err := edit.NewSubject(m, coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		judge, err := NewJudge(ctx, Parents{{Subject: s, Share: 1}}, Judged(d), Options{})
		if err != nil {
			t.Fatal(err)
		}
		whole, err := judge.Divergence(ctx, near)
		if err != nil {
			t.Fatal(err)
		}
		if err := judge.Reuse(s); err != nil {
			t.Fatal(err)
		}
		defer judge.Close()
		parts, err := judge.Divergence(ctx, near)
		if err != nil || math.Abs(parts-whole) > 1e-6*whole {
			t.Errorf("divergence %v in parts, %v in one piece (%v)", parts, whole, err)
		}
		return whole
	}
	if few, many := padded(12), padded(30); math.Abs(few-many) > 1e-6*few || few <= 0 {
		t.Errorf("divergence %v with sequences of 12 places, %v with those of 30", few, many)
	}
}
