package fuse_test

import (
	"context"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

// Transformers trained from different seeds: matched heads must beat heads
// averaged as they come, and with a refit nearly nothing may be lost.
func TestTransformersFuse(t *testing.T) {
	calib := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 250})
	test := modeltest.Data(t, "mnist_test", dataset.Options{})
	a, b := modeltest.Load(t, "vit_a"), modeltest.Load(t, "vit_b")
	correct := func(o fuse.Options) int {
		t.Helper()
		o.Align.Data, o.Tune = calib, -1
		m, _, err := fuse.Models(context.Background(), []*onnxio.Model{a, b}, o)
		if err != nil {
			t.Fatal(err)
		}
		return modeltest.Correct(t, m, test)
	}
	plain := correct(fuse.Options{Refit: fuse.RefitOff, Align: match.Options{By: match.Unaligned}})
	transport := correct(fuse.Options{Refit: fuse.RefitOff, Align: match.Options{By: match.Activations}})
	refitted := correct(fuse.Options{Method: fuse.OT, Weights: []float64{0.5, 0.5}, Align: match.Options{By: match.Activations}})
	union := correct(fuse.Options{Method: fuse.Union, Weights: []float64{0.5, 0.5}})
	t.Logf("of 1000: plain average %d, transport %d, refitted %d, union %d; parents %d and %d",
		plain, transport, refitted, union, modeltest.Correct(t, a, test), modeltest.Correct(t, b, test))
	if !(plain < transport && transport < refitted) || refitted < 900 || union < 900 {
		t.Errorf("of 1000: plain average %d, transport %d, refitted %d, union %d", plain, transport, refitted, union)
	}
}

// A transformer with fewer heads and hidden units takes part like any other;
// heads stay whole.
func TestTransformersOfDifferentWidthsFuse(t *testing.T) {
	calib := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200})
	a, b := modeltest.Load(t, "vit_a"), modeltest.Load(t, "vit_b")
	ctx := context.Background()
	narrow, report, err := compress.Model(ctx, b, compress.Options{Keep: 0.5, Tune: -1, Align: match.Options{Data: calib}})
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
		{Refit: fuse.RefitOff, Align: match.Options{By: match.Weights}},
		{Method: fuse.OT, Tune: 1, Weights: []float64{0.5, 0.5}, Align: match.Options{By: match.Activations, Data: calib}},
		{Method: fuse.Union, Tune: -1, Weights: []float64{0.5, 0.5}, Align: match.Options{Data: calib}},
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
