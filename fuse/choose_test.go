package fuse_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

func TestBalanceIsMeasuredBothWays(t *testing.T) {
	models := []*onnxio.Model{modeltest.Load(t, "mlp_a"), modeltest.Load(t, "mlp_b")}
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	for _, method := range []fuse.Method{fuse.Auto, fuse.OT, fuse.Union} {
		_, r, err := fuse.Models(context.Background(), models, fuse.Options{Method: method, Options: job.Options{Tune: job.Off, Data: d}})
		if err != nil {
			t.Fatal(err)
		}
		best, methods, leads := 0, map[fuse.Method]bool{}, map[int]bool{}
		for i, c := range r.Candidates {
			if c.Whole == 0 {
				methods[c.Method] = true
			}
			if c.Weights[0] != c.Weights[1] {
				leads[slices.Index(c.Weights, slices.Max(c.Weights))] = true
			}
			if c.Samples != 80 {
				t.Errorf("method %q: %+v, want a fit to the 80 of 100 samples that are not held out", method, c)
			}
			if c.Divergence < r.Candidates[best].Divergence {
				best = i
			}
		}
		if c := r.Candidates[best]; c.Method != r.Method || c.Whole != r.Whole || !slices.Equal(c.Weights, r.Weights) || c.Divergence != r.Divergence {
			t.Errorf("method %q: took %s at %v, best of %v is number %d", method, r.Method, r.Weights, r.Candidates, best)
		}
		if len(leads) != 2 {
			t.Errorf("method %q: the balance was moved towards %v only", method, leads)
		}
		if want := method == fuse.Auto; (len(methods) == 2) != want {
			t.Errorf("method %q: %d methods were measured", method, len(methods))
		}
	}
}

func TestFewSamplesFirst(t *testing.T) {
	models := []*onnxio.Model{modeltest.Load(t, "mlp_a"), modeltest.Load(t, "mlp_b")}
	d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 625})
	_, r, err := fuse.Models(context.Background(), models, fuse.Options{Options: job.Options{Tune: job.Off, Data: d}})
	if err != nil {
		t.Fatal(err)
	}
	all := d.Len() - d.Len()/5
	var few, last []fuse.Candidate
	for _, c := range r.Candidates {
		if c.Samples == all {
			last = append(last, c)
		} else {
			few = append(few, c)
		}
	}
	if len(last) != 2 || len(few) < 4 {
		t.Fatalf("%d samples, candidates %+v", d.Len(), r.Candidates)
	}
	slices.SortFunc(few, func(a, b fuse.Candidate) int { return cmp.Compare(a.Divergence, b.Divergence) })
	taken := false
	for i, c := range last {
		if c.Method != few[i].Method || c.Whole != few[i].Whole || !slices.Equal(c.Weights, few[i].Weights) {
			t.Errorf("number %d after few samples was %+v, fitted again was %+v", i+1, few[i], c)
		}
		taken = taken || c.Divergence == r.Divergence
	}
	if !taken || r.Divergence > min(last[0].Divergence, last[1].Divergence) {
		t.Errorf("%g was taken of %+v", r.Divergence, last)
	}
}

func TestMethodsAndWidths(t *testing.T) {
	a, b, wide := modeltest.Load(t, "mlp_a"), modeltest.Load(t, "mlp_b"), modeltest.Load(t, "mlp_wide")
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 150})
	test := modeltest.Data(t, "mnist_test", dataset.Options{})
	own := hidden(t, a)
	scaled := func(f float64) []int {
		var out []int
		for _, n := range own {
			out = append(out, int(math.Round(f*float64(n))))
		}
		return out
	}
	third := 1.0 / 3
	for _, c := range []struct {
		name   string
		models []*onnxio.Model
		o      fuse.Options
		widths []int
	}{
		{"three models, ot", []*onnxio.Model{a, b, wide}, fuse.Options{Method: fuse.OT, Onto: 2, Weights: []float64{third, third, third}}, own},
		{"three models, union", []*onnxio.Model{a, b, wide}, fuse.Options{Method: fuse.Union, Onto: 1, Weights: []float64{third, third, third}}, own},
		{"wide into narrow, ot", []*onnxio.Model{wide, a}, fuse.Options{Method: fuse.OT, Weights: []float64{0.5, 0.5}}, own},
		{"narrow into wide, ot", []*onnxio.Model{wide, a}, fuse.Options{Method: fuse.OT, Onto: 1, Weights: []float64{0.5, 0.5}}, hidden(t, wide)},
		{"narrow into wide, union", []*onnxio.Model{wide, a}, fuse.Options{Method: fuse.Union, Onto: 1, Weights: []float64{0.5, 0.5}}, hidden(t, wide)},
		{"half as wide", []*onnxio.Model{a, b}, fuse.Options{Keep: 0.5, Weights: []float64{0.5, 0.5}}, scaled(0.5)},
		{"wider", []*onnxio.Model{a, b}, fuse.Options{Keep: 1.5, Weights: []float64{0.5, 0.5}}, scaled(1.5)},
		{"a shape, ot", []*onnxio.Model{wide, wide}, fuse.Options{Shape: a, Method: fuse.OT, Weights: []float64{0.5, 0.5}}, own},
		{"a shape, union", []*onnxio.Model{a, b}, fuse.Options{Shape: wide, Weights: []float64{0.5, 0.5}}, hidden(t, wide)},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Tune = job.Off // one method more would tell nothing about these
			c.o.Data = d
			out, r, err := fuse.Models(context.Background(), c.models, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := hidden(t, out); fmt.Sprint(got) != fmt.Sprint(c.widths) {
				t.Errorf("widths %v, want %v", got, c.widths)
			}
			total := 0.0
			for _, x := range r.Contribution {
				total += x
			}
			if math.Abs(total-1) > 1e-9 {
				t.Errorf("contributions %v do not sum to one", r.Contribution)
			}
			if top := float64(modeltest.Correct(t, out, test)) / float64(test.Len()); top < 0.85 {
				t.Errorf("accuracy %.3f", top)
			}
			again, _, err := fuse.Models(context.Background(), c.models, c.o)
			if err != nil {
				t.Fatal(err)
			}
			x, err := out.Encode()
			if err != nil {
				t.Fatal(err)
			}
			y, err := again.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(x, y) {
				t.Error("a second run gives another result")
			}
		})
	}
}

// hidden lists the widths of the spaces that may change.
func hidden(t *testing.T, m *onnxio.Model) []int {
	t.Helper()
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, sp := range s.Analysis.Spaces {
		if !sp.Frozen {
			out = append(out, sp.Width)
		}
	}
	return out
}

func TestTuneBringsTheResultNearer(t *testing.T) {
	models := []*onnxio.Model{modeltest.Load(t, "cnn_a"), modeltest.Load(t, "cnn_b")}
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 250})
	for _, tune := range []job.Switch{job.Off, job.On} {
		_, r, err := fuse.Models(context.Background(), models, fuse.Options{Keep: 0.5, Weights: []float64{0.5, 0.5}, Options: job.Options{Tune: tune, Epochs: 10, Data: d}})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case tune == job.Off && r.Tune != nil:
			t.Errorf("distilled without being asked to: %+v", r.Tune)
		case tune == job.On && (r.Tune == nil || r.Tune.Epochs != 10 || r.Tune.Kept || r.Tune.After >= r.Tune.Before):
			t.Errorf("distillation for 10 epochs: %+v", r.Tune)
		}
	}
}
