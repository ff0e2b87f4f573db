package fuse_test

import (
	"context"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// Transformers trained from different seeds: matched heads must beat heads averaged as they come,
// and with a refit nearly nothing may be lost.
func TestTransformersFuse(t *testing.T) {
	calib := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 250})
	test := modeltest.Data(t, "mnist_test", dataset.Options{})
	a, b := modeltest.Load(t, "vit_a"), modeltest.Load(t, "vit_b")
	correct := func(o fuse.Options) int {
		t.Helper()
		o.Data, o.Tune = calib, job.Off
		m, _, err := fuse.Models(context.Background(), []*onnxio.Model{a, b}, o)
		if err != nil {
			t.Fatal(err)
		}
		return modeltest.Correct(t, m, test)
	}
	plain := correct(fuse.Options{Options: job.Options{Refit: job.Off, Align: "none"}})
	transport := correct(fuse.Options{Options: job.Options{Refit: job.Off, Align: "activations"}})
	refitted := correct(fuse.Options{Method: fuse.OT, Weights: []float64{0.5, 0.5}})
	union := correct(fuse.Options{Method: fuse.Union, Weights: []float64{0.5, 0.5}})
	t.Logf("of 1000: plain average %d, transport %d, refitted %d, union %d; parents %d and %d",
		plain, transport, refitted, union, modeltest.Correct(t, a, test), modeltest.Correct(t, b, test))
	if !(plain < transport && transport < refitted) || refitted < 900 || union < 900 {
		t.Errorf("of 1000: plain average %d, transport %d, refitted %d, union %d", plain, transport, refitted, union)
	}
}

// A transformer with fewer heads and hidden units takes part like any other; heads stay whole.
func TestTransformersOfDifferentWidthsFuse(t *testing.T) {
	calib := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200})
	a, b := modeltest.Load(t, "vit_a"), modeltest.Load(t, "vit_b")
	ctx := context.Background()
	narrow, report, err := compress.Model(ctx, b, compress.Options{Keep: 0.5, Options: job.Options{Tune: job.Off, Data: calib, NoEval: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Spaces {
		want := s.Before / 2
		if s.Kept != "" {
			want = s.Before
		}
		if strings.Contains(s.Name, "query") && strings.HasSuffix(s.Name, "]") && s.After != 2 {
			t.Errorf("%d of %d heads are left of %q", s.After, s.Before, s.Name)
		}
		if s.After != want {
			t.Errorf("space %q has %d of %d channels", s.Name, s.After, s.Before)
		}
	}
	for _, o := range []fuse.Options{
		{Options: job.Options{Refit: job.Off, Align: "weights"}},
		{Method: fuse.OT, Weights: []float64{0.5, 0.5}, Options: job.Options{Tune: job.On, Epochs: 1, Data: calib}},
		{Method: fuse.Union, Weights: []float64{0.5, 0.5}, Options: job.Options{Tune: job.Off, Data: calib}},
	} {
		m, _, err := fuse.Models(ctx, []*onnxio.Model{a, narrow}, o)
		if err != nil {
			t.Fatal(err)
		}
		have, want := modeltest.Floats(t, m), modeltest.Floats(t, narrow)
		for name, w := range want {
			if len(have[name]) != len(w) {
				t.Errorf("%+v: weight %q has %d elements, want %d", o, name, len(have[name]), len(w))
			}
		}
		modeltest.Outputs(t, m, calib) // it runs
	}
}
