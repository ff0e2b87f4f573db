package dataset_test

import (
	"math"
	"strings"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func synthetic(t *testing.T, text string, o dataset.SyntheticOptions) (*dataset.Data, []engine.IOInfo, error) {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	in, err := engine.Inputs(m)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataset.Synthetic(m, o)
	return d, in, err
}

func batch(t *testing.T, d *dataset.Data, in []engine.IOInfo, n int) map[string]*engine.Value {
	t.Helper()
	f, err := d.For(in)
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.Batch(0, n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// moments are the mean, the variance, and the correlation of neighbours step apart.
func moments(x []float32, step int) (mean, variance, neighbours float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for i, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
		if i >= step {
			neighbours += (float64(v) - mean) * (float64(x[i-step]) - mean) / float64(len(x)-step)
		}
	}
	return mean, variance, neighbours / variance
}

func TestSyntheticImagesAreSmooth(t *testing.T) {
	for _, c := range []struct {
		name, graph string
		step        int // between neighbouring columns
	}{
		{"channels first", "x: N 3 32 32\ny = Relu(x)", 1},
		{"channels last", "x: N 32 32 3\ny = Relu(x)", 3},
	} {
		d, in, err := synthetic(t, c.graph, dataset.SyntheticOptions{Samples: 200, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		if d.Len() != 200 {
			t.Errorf("%s: %d samples", c.name, d.Len())
		}
		x := batch(t, d, in, 200)["x"].F32
		mean, variance, near := moments(x, c.step)
		if math.Abs(mean) > 0.1 || math.Abs(variance-1) > 0.2 {
			t.Errorf("%s: mean %.3f, variance %.3f", c.name, mean, variance)
		}
		if near < 0.6 {
			t.Errorf("%s: neighbouring pixels correlate by %.3f", c.name, near)
		}
	}
}

func TestSyntheticOtherInputsAreWhite(t *testing.T) {
	d, in, err := synthetic(t, "x: N 20\nz: N 5 7\ny = Relu(x)\nw = Relu(z)\n-> y w", dataset.SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v := batch(t, d, in, 500)
	for name := range v {
		mean, variance, near := moments(v[name].F32, 1)
		if math.Abs(mean) > 0.05 || math.Abs(variance-1) > 0.05 || math.Abs(near) > 0.05 {
			t.Errorf("%s: mean %.3f, variance %.3f, neighbours %.3f", name, mean, variance, near)
		}
	}
}

func TestSyntheticIsDeterministic(t *testing.T) {
	const graph = "x: N 3 8 8\ny = Relu(x)"
	first, in, err := synthetic(t, graph, dataset.SyntheticOptions{Samples: 9, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	again, _, _ := synthetic(t, graph, dataset.SyntheticOptions{Samples: 9, Seed: 5})
	other, _, _ := synthetic(t, graph, dataset.SyntheticOptions{Samples: 9, Seed: 6})
	a, b, c := batch(t, first, in, 9)["x"].F32, batch(t, again, in, 9)["x"].F32, batch(t, other, in, 9)["x"].F32
	same, equal := 0, 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
		if a[i] == c[i] {
			equal++
		}
	}
	if same != len(a) || equal > len(a)/10 {
		t.Errorf("of %d numbers %d repeat with the same seed, %d with another", len(a), same, equal)
	}
	_, held := first.Split(3)
	if x := batch(t, held, in, 3)["x"].F32; x[0] != a[2*3*8*8] {
		t.Error("a sample changes with the subset it is in")
	}
}

// Normalised inputs stay where pixels can be; scaled ones are pixels.
func TestSyntheticPixels(t *testing.T) {
	for _, c := range []struct {
		pre            dataset.Preprocess
		lo, hi         float32 // of the third channel
		mean, variance float64 // of all
	}{
		{dataset.Preprocess{Scale: 1.0 / 255, Mean: []float64{0.5, 0.5, 0.5}, Std: []float64{0.25, 0.25, 0.5}}, -1, 1, 0, 0.75},
		{dataset.Preprocess{Scale: 1.0 / 255}, 0, 1, 0.5, 0.06},
	} {
		d, in, err := synthetic(t, "x: N 3 16 16\ny = Relu(x)", dataset.SyntheticOptions{Samples: 300, Preprocess: c.pre})
		if err != nil {
			t.Fatal(err)
		}
		x := batch(t, d, in, 300)["x"].F32
		lo, hi := c.hi, c.lo
		for i, v := range x {
			if i/256%3 == 2 {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		if lo < c.lo-1e-6 || hi > c.hi+1e-6 || hi-lo < 0.9*(c.hi-c.lo) {
			t.Errorf("%+v: inputs from %g to %g, want %g to %g", c.pre, lo, hi, c.lo, c.hi)
		}
		if mean, variance, _ := moments(x, 1); math.Abs(mean-c.mean) > 0.1 || math.Abs(variance-c.variance) > 0.25*c.variance {
			t.Errorf("%+v: mean %.3f, variance %.3f, want %.3g and %.3g", c.pre, mean, variance, c.mean, c.variance)
		}
	}
}

func TestSyntheticRefuses(t *testing.T) {
	for _, c := range []struct{ graph, want string }{
		{"x: int N 4\ny = Cast(x) to=1", "no inputs that can be made up"},
		{"x: int N 4\nz: N 4\na = Add(x, x)\nb = Cast(a) to=1\ny = Add(b, z)", "not known"},
		{"x: N 3 H W\ny = Relu(x)", "axis 2 has no size"},
	} {
		if _, _, err := synthetic(t, c.graph, dataset.SyntheticOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.graph, err, c.want)
		}
	}
	d, in, err := synthetic(t, "x: N 3 H W\ny = Relu(x)", dataset.SyntheticOptions{Shapes: map[string][]int{"x": {1, 3, 5, 6}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := batch(t, d, in, 2)["x"].Dims; len(got) != 4 || got[3] != 6 {
		t.Errorf("dims %v", got)
	}
}

// Words are drawn from all rows of the smallest table that they pick from, the mask beside them is
// open.
func TestSyntheticWords(t *testing.T) {
	d, in, err := synthetic(t, `
		ids: int N 6
		mask: int N 6
		a = Reshape(ids, s{0 6})
		b = Gather(w1[9 4], a)
		c = Gather(w2[7 4], ids)
		m = Unsqueeze(mask, ax{2})
		f = Cast(m) to=1
		d = Add(b, c)
		y = Mul(d, f)`, dataset.SyntheticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v := batch(t, d, in, 100)
	seen := map[int64]int{}
	for _, x := range v["ids"].I64 {
		seen[x]++
	}
	for id := range int64(7) {
		if seen[id] < 40 { // of 600 drawn from 7
			t.Errorf("word %d was drawn %d times", id, seen[id])
		}
	}
	if len(seen) != 7 {
		t.Errorf("words drawn: %v, want those below 7", seen)
	}
	for _, x := range v["mask"].I64 {
		if x != 1 {
			t.Fatalf("the mask holds %d", x)
		}
	}
}
