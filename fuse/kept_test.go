package fuse_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// along edits every float weight of a model that an axis of the frozen space through a tensor runs
// along.
func along(t *testing.T, m *onnxio.Model, tensor string, axis int, f func(w *onnxio.Tensor, axis int)) (touched []string) {
	t.Helper()
	a, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, atom := range a.Activations[tensor][axis].Atoms() {
		for name, w := range a.Weights {
			for k, x := range w.Axes {
				if !x.Holds(atom) {
					continue
				}
				v, err := m.Tensor(g.Constant(name))
				if err != nil {
					t.Fatal(err)
				}
				v.Name = name
				f(v, k)
				if err := g.SetConstant(v); err != nil {
					t.Fatal(err)
				}
				touched = append(touched, name)
			}
		}
	}
	return touched
}

// behind edits the weights that stand along the same channels behind what cannot be followed.
func behind(t *testing.T, m *onnxio.Model, f func(w *onnxio.Tensor, axis int)) (touched []string) {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	axes := map[string]int{"w3": 1, "w4": 0, "w5": 0} // w4 is added to what w3 reads
	switch {
	case len(g.Constant("w3").Dims) == 2:
		axes = map[string]int{"w3": 0}
	case g.Constant("w5") == nil:
		axes = map[string]int{"w3": 1}
	}
	for name, axis := range axes {
		v, err := m.Tensor(g.Constant(name))
		if err != nil {
			t.Fatal(err)
		}
		v.Name = name
		f(v, axis)
		if err := g.SetConstant(v); err != nil {
			t.Fatal(err)
		}
		touched = append(touched, name)
	}
	return touched
}

// shuffle puts the channels along an axis of a weight into another order.
func shuffle(w *onnxio.Tensor, axis int) {
	inner := 1
	for _, d := range w.Dims[axis+1:] {
		inner *= d
	}
	n, old := w.Dims[axis], w.Float64()
	data := make([]float64, len(old))
	for i := range old {
		c := i / inner % n
		data[i] = old[i+(modeltest.Permutation(3, n)[c]-c)*inner]
	}
	w.SetFloat64(w.Dims, data)
}

// noise returns a function that adds noise to weights.
func noise(size float64) func(w *onnxio.Tensor, axis int) {
	rng := rand.New(rand.NewPCG(1, 2))
	return func(w *onnxio.Tensor, _ int) {
		data := w.Float64()
		for i := range data {
			data[i] += size * rng.NormFloat64()
		}
		w.SetFloat64(w.Dims, data)
	}
}

// Where no space says which channels of two models correspond, because something that cannot be
// followed stands in between, a copy with these channels in another order is not averaged: the
// result is the model that it was fused onto. A fine-tuned copy, whose weights show that nothing
// was reordered, is.
func TestWhatIsNotAlignedIsKept(t *testing.T) {
	for name, m := range unfollowed(t) {
		t.Run(name, func(t *testing.T) {
			other := m.Clone()
			touched := append(along(t, other, "d", 1, shuffle), behind(t, other, shuffle)...)
			if len(touched) < 3 {
				t.Fatalf("only %v are along the space", touched)
			}
			out, r, err := fuse.Models(context.Background(), []*onnxio.Model{other, m}, fuse.Options{Options: job.Options{Lossless: job.Off}})
			if err != nil {
				t.Fatal(err)
			}
			want, got := modeltest.Floats(t, m), modeltest.Floats(t, out)
			for w, v := range want {
				if diff := modeltest.MaxDiff(t, append(v, 1e-3), append(got[w], 1e-3)); diff > 1e-6 {
					t.Errorf("weight %q differs by %g", w, diff)
				}
			}
			var listed []string
			for _, k := range r.Kept {
				listed = append(listed, k.Tensor)
				if k.Reason == "" {
					t.Errorf("%s: no reason", k.Tensor)
				}
			}
			for _, w := range touched {
				if !strings.Contains(strings.Join(listed, " ")+" ", w+" ") {
					t.Errorf("%s is not among %v", w, listed)
				}
			}
			tuned := m.Clone()
			along(t, tuned, "d", 1, noise(0.02))
			behind(t, tuned, noise(0.02))
			out, r, err = fuse.Models(context.Background(), []*onnxio.Model{tuned, m}, fuse.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Kept) > 0 {
				t.Errorf("a fine-tuned copy is not averaged: %v", r.Kept)
			}
			tunes, got := modeltest.Floats(t, tuned), modeltest.Floats(t, out)
			for _, w := range touched {
				for i, v := range got[w] {
					if mean := (tunes[w][i] + want[w][i]) / 2; v > mean+1e-5 || v < mean-1e-5 {
						t.Fatalf("%s: element %d is %g, not the mean %g", w, i, v, mean)
					}
				}
			}
			out, r, err = fuse.Models(context.Background(), []*onnxio.Model{other, m}, fuse.Options{Options: job.Options{Align: "none"}})
			if err != nil || len(r.Kept) > 0 {
				t.Fatalf("asked to average as they stand: %v, %v", r.Kept, err)
			}
			if got := modeltest.Floats(t, out); modeltest.MaxDiff(t, want[touched[0]], got[touched[0]]) < 1e-3 {
				t.Error("asked to average as they stand, nothing was")
			}
		})
	}
}

// unfollowed are networks with something in the middle that cannot be followed.
func unfollowed(t *testing.T) map[string]*onnxio.Model {
	t.Helper()
	out := onnxtest.Unranked()
	m, err := onnxtest.Parse("x: N 3 6 6\na = Conv(x, w1[8 3 3 3], b1[8])\nc = Relu(a)\nd = Conv(c, w2[6 8 1 1], b2[6])\n" +
		"q = own.Unknown(d)\ne = Conv(q, w3[8 6 1 1], b3[8])\nf = Relu(e)\ny = Conv(f, w4[5 8 1 1])")
	if err != nil {
		t.Fatal(err)
	}
	out["unknown operator"] = m
	delete(out, "If") // its branches are followed without data
	return out
}

// The channels in front of depthwise multipliers, and what these make of each, are found in any
// order.
func TestPermutedMultipliers(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 3 6 6
		a = Conv(x, w0[8 3 3 3], b0[8]) pads=1,1,1,1
		b = Relu(a)
		c = Conv(b, w1[16 1 3 3]) group=8
		d = Relu(c)
		e = Conv(d, w2[48 1 3 3], b2[48]) group=16
		f = Relu(e)
		y = Conv(f, w3[5 48 1 1])`)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := fuse.Models(context.Background(), []*onnxio.Model{permuted(t, m), m}, fuse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := modeltest.Floats(t, out)
	for w, v := range modeltest.Floats(t, m) {
		if diff := modeltest.MaxDiff(t, v, got[w]); diff > 1e-5 {
			t.Errorf("weight %q differs by %g", w, diff)
		}
	}
}

// Tables of words are averaged row by row, of models that were drawn apart too.
func TestWordsAreAveraged(t *testing.T) {
	m, err := onnxtest.Parse(`
		i: int N 4
		a = Gather(words[9 6], i)
		p = Gather(places[4 6], j{0 1 2 3})
		b = Add(a, p)
		c = MatMul(b, w1[6 8])
		r = Relu(c)
		y = MatMul(r, w2[8 3])`)
	if err != nil {
		t.Fatal(err)
	}
	_, r, err := fuse.Models(t.Context(), []*onnxio.Model{m, modeltest.Redrawn(t, m, 2)}, fuse.Options{Options: job.Options{NoData: true}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kept) > 0 {
		t.Errorf("not averaged: %v", r.Kept)
	}
}

// A weight without channels along an axis that nobody can follow has none that could be in another
// order.
func TestNoChannels(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 3 4 4
		a = own.Strange(x, w[0 3 1 1])
		b = Conv(a, v[8 6 1 1], c[8])
		r = Relu(b)
		y = Conv(r, u[4 8 1 1])`)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := fuse.Models(t.Context(), []*onnxio.Model{m, modeltest.Redrawn(t, m, 2)}, fuse.Options{Options: job.Options{NoData: true}}); err != nil {
		t.Error(err)
	}
}
