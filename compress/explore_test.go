package compress_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
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
	e, err := compress.Explore(context.Background(), m, o, shares, compress.Pieces{})
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
		_, err := compress.Explore(context.Background(), m, c.o, c.shares, compress.Pieces{})
		if mistake := (*job.Mistake)(nil); !errors.As(err, &mistake) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What was made before is not made again, and a metric is asked once for each model that is made: it
// says which point is the knee.
func TestExplorePieces(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Load(t, "mlp_a")
	calls := 0
	o := compress.Options{
		Options: job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 120})},
		Metric: eval.Metric{Lower: true, Measure: func(_ context.Context, path string) (float64, error) {
			calls++
			m, err := onnxio.Load(path)
			if err != nil {
				return 0, err
			}
			params, _ := m.Size()
			return 1 / float64(params), nil
		}},
	}
	var made []compress.Point
	pieces := compress.Pieces{Made: func(_ context.Context, p *compress.Point) error {
		made = append(made, *p)
		return nil
	}}
	first, err := compress.Explore(context.Background(), m, o, []float64{0.75, 0.5}, pieces)
	if err != nil {
		t.Fatal(err)
	}
	if calls != 3 || len(made) != 2 || first.Original.Metric == nil || !(*first.Points[1].Result.Metric > *first.Points[0].Result.Metric) {
		t.Fatalf("%d calls, %d points, %+v", calls, len(made), first)
	}
	pieces.Original = first.Original.Metric
	pieces.Known = func(share float64) *compress.Point {
		for _, p := range made[:2] {
			if p.Share == share {
				return &compress.Point{Share: share, Model: p.Model, Size: p.Size, Result: eval.Result{Metric: p.Result.Metric}}
			}
		}
		return nil
	}
	again, err := compress.Explore(context.Background(), m, o, []float64{0.75, 0.6, 0.5}, pieces)
	if err != nil {
		t.Fatal(err)
	}
	if calls != 4 || len(made) != 3 || made[2].Share != 0.6 {
		t.Errorf("%d calls, %d points", calls, len(made))
	}
	if diff := cmp.Diff(first.Points[1].Result, again.Points[2].Result); diff != "" {
		t.Error(diff)
	}
}

// A metric that fails does so before anything is made.
func TestExploreMetricFails(t *testing.T) {
	enginetest.Require(t)
	broken := errors.New("no such program")
	o := compress.Options{
		Options: job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 120})},
		Metric:  eval.Metric{Measure: func(context.Context, string) (float64, error) { return 0, broken }},
	}
	made := func(context.Context, *compress.Point) error { return errors.New("a model was made") }
	if _, err := compress.Explore(context.Background(), modeltest.Load(t, "mlp_a"), o, []float64{0.5}, compress.Pieces{Made: made}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A search by a metric asks it for the original once and for every trial once, and limits its share;
// data are not needed for that.
func TestSearchByMetric(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Load(t, "mlp_a")
	whole, _ := m.Size()
	calls := 0
	o := compress.Options{
		MaxDrop: 0.4, Options: job.Options{NoData: true},
		Metric: eval.Metric{Measure: func(_ context.Context, path string) (float64, error) {
			calls++
			m, err := onnxio.Load(path)
			if err != nil {
				return 0, err
			}
			params, _ := m.Size()
			return float64(params) / float64(whole) * 50, nil
		}},
	}
	out, r, err := compress.Model(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Search
	if s == nil || s.Measure != "metric" || s.Original == nil || *s.Original != 50 || calls != 1+len(s.Trials) || s.After == nil {
		t.Fatalf("%d calls, %+v", calls, s)
	}
	left, _ := out.Size()
	if share := float64(left) / float64(whole); share < 0.6 || share > 0.72 || *s.After != share*50 {
		t.Errorf("%g of the parameters are left: %+v", share, s)
	}
}
