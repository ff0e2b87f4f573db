package compress_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

// The points of an exploration are what compress makes of each share alone, though they share what
// was learnt from the data.
func TestExplore(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Load(t, "cnn_a")
	o := compress.Options{Options: job.Options{
		Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 120}), EvalData: modeltest.Data(t, "mnist_test", dataset.Options{Limit: 200}),
	}}
	shares := []float64{0.75, 0.4}
	e, err := compress.Explore(context.Background(), m, o, shares)
	if err != nil {
		t.Fatal(err)
	}
	if e.Original.Top1 == nil || e.Original.Samples != 200 || len(e.Points) != 2 {
		t.Fatalf("%+v", e)
	}
	for i, p := range e.Points {
		alone := o
		alone.MACs, alone.Tune = shares[i], job.Off
		_, r, err := compress.Model(context.Background(), m, alone)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r.Spaces, p.Report.Spaces); diff != "" {
			t.Errorf("at %g: %s", p.Share, diff)
		}
		if p.Result.Top1 == nil || p.Result.Agreement == nil || *p.Result.Agreement < 0.8 || p.Report.Tune != nil || float64(p.Report.After.MACs) > p.Share*float64(e.Before.MACs) {
			t.Errorf("at %g: %+v, %+v", p.Share, p.Result, p.Report.After)
		}
	}
}

func TestExploreMistakes(t *testing.T) {
	m, data := modeltest.Load(t, "mlp_a"), modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 50})
	for name, c := range map[string]struct {
		o      compress.Options
		shares []float64
	}{
		"a budget":   {compress.Options{Keep: 0.5, Options: job.Options{Data: data}}, []float64{0.5}},
		"no data":    {compress.Options{}, []float64{0.5}},
		"no share":   {compress.Options{Options: job.Options{Data: data}}, nil},
		"above 1":    {compress.Options{Options: job.Options{Data: data}}, []float64{0.5, 1.5}},
		"a dry run":  {compress.Options{Options: job.Options{Data: data, DryRun: true}}, []float64{0.5}},
		"a multiple": {compress.Options{Multiple: -1, Options: job.Options{Data: data}}, []float64{0.5}},
	} {
		_, err := compress.Explore(context.Background(), m, c.o, c.shares)
		if mistake := (*job.Mistake)(nil); !errors.As(err, &mistake) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
