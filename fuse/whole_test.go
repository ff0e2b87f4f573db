package fuse

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// A wider child that holds all channels of one parent computes what that parent computes, whatever
// the places beside them are given to.
func TestWholeParentIsKeptExactly(t *testing.T) {
	for _, pair := range [][2]string{{"mlp_a", "mlp_b"}, {"mlp_wide", "mlp_a"}, {"cnn_a", "cnn_b"}, {"resnet_a", "resnet_b"}, {"vit_a", "vit_b"}} {
		for _, keep := range []float64{1, 1.5} {
			t.Run(fmt.Sprint(pair, keep), func(t *testing.T) {
				models := []*onnxio.Model{modeltest.Load(t, pair[0]), modeltest.Load(t, pair[1])}
				d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
				f := &fusion{o: Options{Keep: keep}, votes: []float64{1, 0}}
				var err error
				if f.Run, err = pipeline.Start(context.Background(), models, job.Options{Data: d, Refit: job.Off}, pipeline.Policy{}); err != nil {
					t.Fatal(err)
				}
				if err := f.prepare(models); err != nil {
					t.Fatal(err)
				}
				how := Candidate{Method: Union, Weights: []float64{1, 0}, Whole: 1}
				report := f.report(how)
				made, err := f.making(how, report)(context.Background(), d)
				if err != nil {
					t.Fatal(err)
				}
				child := made.Child
				spare := 0 // places beside the parent's
				for _, s := range report.Spaces {
					spare += s.Width - s.Widths[0]
					if s.From != nil && (s.From[0] != s.Widths[0] || s.From[0]+s.From[1] != s.Width) {
						t.Errorf("space %q: %v channels in %d places for models of %v", s.Name, s.From, s.Width, s.Widths)
					}
				}
				if want := keep > 1; (spare > 0) != want {
					t.Errorf("%d places are left", spare)
				}
				want := modeltest.Outputs(t, models[0], d)
				if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, child, d)); diff > 1e-4*span(want) {
					t.Errorf("outputs differ by %g of %g", diff, span(want))
				}
			})
		}
	}
}

func span(v []float64) float64 { return max(slices.Max(v), -slices.Min(v)) }

// Each parent whole is a candidate wherever the child has places for it, and only there.
func TestWholeParentsAreCandidates(t *testing.T) {
	a, wide := modeltest.Load(t, "mlp_a"), modeltest.Load(t, "mlp_wide")
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 80})
	for _, c := range []struct {
		onto int
		keep float64
		want []int
	}{{1, 1, []int{1}}, {2, 1, []int{1, 2}}, {1, 0.9, nil}} {
		_, r, err := Models(context.Background(), []*onnxio.Model{a, wide}, Options{Onto: c.onto, Keep: c.keep, Options: job.Options{Tune: job.Off, Data: d}})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, x := range r.Candidates {
			if x.Whole > 0 {
				got = append(got, x.Whole)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("onto %d, keep %g: models %v were tried whole, want %v", c.onto, c.keep, got, c.want)
		}
	}
}
