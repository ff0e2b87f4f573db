package tune

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// narrow keeps half of the channels of every space, chosen by what they explain.
func narrow(t *testing.T, name string, keep float64, d *dataset.Data) (*onnxio.Model, teach.Parent) {
	t.Helper()
	m, _, err := edit.FoldBatchNorm(modeltest.Load(t, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	widths := map[*coupling.Space]int{}
	for _, sp := range s.Analysis.Spaces {
		if sp.Narrowable() {
			widths[sp] = max(1, int(keep*float64(sp.Width)))
		}
	}
	r, err := choose.Select(context.Background(), s, widths, nil, choose.Options{Data: d})
	if err != nil {
		t.Fatal(err)
	}
	child, err := edit.Edit(s, r.Maps)
	if err != nil {
		t.Fatal(err)
	}
	return child, teach.Parent{Subject: s, Share: 1, Maps: r.Maps}
}

// On samples that were not trained on, the child comes nearer to its source.
func TestDistillationHelps(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200})
	for _, name := range []string{"mlp_a", "cnn_a", "vgg", "resnet_optiona", "vit_a"} {
		t.Run(name, func(t *testing.T) {
			fit, held := d.Split(10)
			child, src := narrow(t, name, 0.5, fit)
			out, r, err := Distill(context.Background(), child, []teach.Parent{src}, Options{Data: fit, HeldOut: held, Epochs: 4})
			if err != nil {
				t.Fatal(err)
			}
			if r.Kept || r.After >= 0.9*r.Before || r.HeldOut != 20 || r.Samples != 180 {
				t.Errorf("%+v", *r)
			}
			if n := len(r.Losses); n != min(r.Steps, mostLosses) || stat.Mean(r.Losses[3*n/4:], nil) >= stat.Mean(r.Losses[:n/4], nil) {
				t.Errorf("losses %v in %d steps", r.Losses, r.Steps)
			}
			judge, err := teach.NewJudge(context.Background(), []teach.Parent{src}, modeltest.Data(t, "mnist_test", dataset.Options{}), teach.Options{})
			if err != nil {
				t.Fatal(err)
			}
			before, err := judge.Divergence(context.Background(), child)
			if err != nil {
				t.Fatal(err)
			}
			after, err := judge.Divergence(context.Background(), out)
			if err != nil {
				t.Fatal(err)
			}
			if after >= before {
				t.Errorf("on test images the divergence went from %g to %g", before, after)
			}
		})
	}
}

// A child that lost nothing cannot become better, and stays bit for bit.
func TestAnExactChildStays(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 60})
	child, src := narrow(t, "cnn_a", 1, d)
	out, r, err := Distill(context.Background(), child, []teach.Parent{src}, Options{Data: d, Epochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Kept || !bytes.Equal(encode(t, out), encode(t, child)) {
		t.Errorf("%+v", *r)
	}
}

func TestDistillIsDeterministicAndLeavesItsInputsAlone(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 60})
	child, src := narrow(t, "resnet_optiona", 0.5, d)
	before := [][]byte{encode(t, child), encode(t, src.Subject.Model)}
	var first []byte
	for range 2 {
		out, r, err := Distill(context.Background(), child, []teach.Parent{src}, Options{Data: d, Epochs: 1})
		if err != nil {
			t.Fatal(err)
		}
		b := encode(t, out)
		if first != nil && !bytes.Equal(first, b) {
			t.Error("two runs differ")
		}
		if first = b; r.Kept {
			t.Error("nothing was trained")
		}
	}
	for i, m := range []*onnxio.Model{child, src.Subject.Model} {
		if !bytes.Equal(encode(t, m), before[i]) {
			t.Errorf("input %d was changed", i)
		}
	}
}

// A model that takes one sample at a time is trained as one that takes many.
func TestFixedBatch(t *testing.T) {
	build := func(n string) (*onnxio.Model, *edit.Subject) {
		m, err := onnxtest.Parse("x: " + n + " 6\nh = Gemm(x, w[6 5], b[5])\nr = Relu(h)\ny = Gemm(r, v[5 3], c[3])")
		if err != nil {
			t.Fatal(err)
		}
		s, err := edit.NewSubject(m, coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := m.Graph()
		if err != nil {
			t.Fatal(err)
		}
		child := m.Clone()
		cg, err := child.Graph()
		if err != nil {
			t.Fatal(err)
		}
		w, err := m.Tensor(g.Constant("v"))
		if err != nil {
			t.Fatal(err)
		}
		half := w.Float64()
		for i := range half {
			half[i] /= 2
		}
		if err := cg.SetConstant(onnxio.NewTensor("v", w.Type, w.Dims, half)); err != nil {
			t.Fatal(err)
		}
		return child, s
	}
	d, err := dataset.New("noise", map[string]*engine.Value{"x": noise(rand.New(rand.NewPCG(8, 9)), []int{64, 6})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var results [2]map[string][]float64
	for i, n := range []string{"N", "1"} {
		child, s := build(n)
		out, r, err := Distill(context.Background(), child, []teach.Parent{{Subject: s, Share: 1}}, Options{Data: d, Epochs: 2, Options: teach.Options{Batch: 8}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Steps != 16 || r.Kept {
			t.Errorf("%+v", *r)
		}
		results[i] = modeltest.Floats(t, out)
	}
	for name, a := range results[0] {
		if diff := modeltest.MaxDiff(t, a, results[1][name]); diff > 1e-4 {
			t.Errorf("%s differs by %g", name, diff)
		}
	}
}

func encode(t *testing.T, m *onnxio.Model) []byte {
	t.Helper()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is told to stop is judged as it is after that step, the same every time; before the first
// step it stays as it was.
func TestStop(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200})
	fit, held := d.Split(10)
	child, src := narrow(t, "mlp_a", 0.5, fit)
	stopAfter := func(steps int) ([]byte, *Report) {
		stop := make(chan struct{})
		if steps == 0 {
			close(stop)
		}
		o := Options{Data: fit, HeldOut: held, Stop: stop, Until: time.Now().Add(time.Hour)}
		o.Progress = func(done, total int) {
			if done == steps {
				close(stop)
			}
		}
		out, r, err := Distill(context.Background(), child, []teach.Parent{src}, o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Steps != steps || r.Ended != Interrupted || r.Seconds <= 0 {
			t.Errorf("stopped after %d: %+v", steps, *r)
		}
		return encode(t, out), r
	}
	first, r := stopAfter(40)
	if r.Kept || r.After >= r.Before || r.Epochs != 4 {
		t.Errorf("%+v", *r)
	}
	if again, _ := stopAfter(40); !bytes.Equal(first, again) {
		t.Error("two runs differ")
	}
	if none, r := stopAfter(0); !r.Kept || !bytes.Equal(none, encode(t, child)) {
		t.Errorf("%+v", *r)
	}
}

// Where the time is over before it began, nothing is trained, and the report says so.
func TestNoTimeLeft(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 60})
	child, src := narrow(t, "mlp_a", 0.5, d)
	out, r, err := Distill(context.Background(), child, []teach.Parent{src}, Options{Data: d, Epochs: 5, Until: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Note == "" || r.Steps != 0 || !bytes.Equal(encode(t, out), encode(t, child)) {
		t.Errorf("%+v", *r)
	}
}

// However few the inputs and however many the steps, what was fitted on them predicts other inputs
// better afterwards.
func TestFewInputs(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 16})
	child, src := narrow(t, "mlp_a", 0.3, d)
	parents := []teach.Parent{src}
	child, _, err := refit.Refit(context.Background(), child, parents, refit.Options{Data: d})
	if err != nil {
		t.Fatal(err)
	}
	out, r, err := Distill(context.Background(), child, parents, Options{Data: d, Epochs: 500})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kept || r.HeldOut != 0 || r.Samples != 16 {
		t.Errorf("%+v", *r)
	}
	judge, err := teach.NewJudge(context.Background(), []teach.Parent{src}, modeltest.Data(t, "mnist_test", dataset.Options{}), teach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var far [2]float64
	for i, m := range []*onnxio.Model{child, out} {
		if far[i], err = judge.Divergence(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	if far[1] > far[0]/2 {
		t.Errorf("the divergence on test images went from %g to %g", far[0], far[1])
	}
}

// Logits in the thousands are learnt like those of other models.
func TestLogitsFarApart(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	child, src := narrow(t, "mlp_a", 0.5, d)
	for _, m := range []*onnxio.Model{child, src.Subject.Model} {
		g, err := m.Graph()
		if err != nil {
			t.Fatal(err)
		}
		n := g.Producer(g.Outputs()[0].GetName())
		for _, in := range n.GetInput()[1:] {
			c, err := m.Tensor(g.Constant(in))
			if err != nil {
				t.Fatal(err)
			}
			x := c.Float64()
			for i := range x {
				x[i] *= 500
			}
			if err := g.SetConstant(onnxio.NewTensor(in, c.Type, c.Dims, x)); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, r, err := Distill(context.Background(), child, []teach.Parent{src}, Options{Data: d, Epochs: 20})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kept || r.Before > 20 {
		t.Errorf("%+v", *r)
	}
	evals, err := eval.Models(context.Background(), []*onnxio.Model{src.Subject.Model, child, out}, modeltest.Data(t, "mnist_test", dataset.Options{}), eval.Options{NoLatency: true})
	if err != nil {
		t.Fatal(err)
	}
	if before, after := *evals[1].Agreement, *evals[2].Agreement; after <= before {
		t.Errorf("agreement went from %g to %g", before, after)
	}
}

// Steps that are far too large for a model are found out before they are taken.
func TestStepsThatAreTooLarge(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200})
	fit, held := d.Split(10)
	child, src := narrow(t, "cnn_a", 0.5, fit)
	for _, rate := range []float64{0.025, 2} {
		_, r, err := Distill(context.Background(), child, []teach.Parent{src}, Options{Data: fit, HeldOut: held, Epochs: 20, Rate: rate})
		if err != nil {
			t.Fatal(err)
		}
		if r.Kept || r.After > 0.7*r.Before || r.Rate < rate != (rate > 1) {
			t.Errorf("rate %g: %+v", rate, r)
		}
	}
}
