package compress_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

// Without a budget what loses nothing much is done: with data a search, unless that takes longer
// than there is time for; without data only what does not matter goes.
func TestNoBudget(t *testing.T) {
	ctx := context.Background()
	m, test := modeltest.Load(t, "mlp_a"), modeltest.Data(t, "mnist_test", dataset.Options{})
	o := compress.Options{Options: job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 150})}}
	out, r, err := compress.Model(ctx, m, o)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Search; s == nil || s.Limit != compress.DefaultDrop || s.Drop > s.Limit || r.After.MACs >= r.Before.MACs {
		t.Errorf("with data: %+v, %+v", r.Search, r.After)
	}
	if n := modeltest.Correct(t, out, test); n < modeltest.Correct(t, m, test)-15 {
		t.Errorf("%d of %d right", n, test.Len())
	}

	o.Time = time.Millisecond
	_, _, err = compress.Model(ctx, m, o)
	var u *compress.Undecided
	if !errors.As(err, &u) || u.Takes < 100*time.Millisecond || u.Takes > 5*time.Minute {
		t.Errorf("no time: %v", err)
	}
	// More samples, and a larger model, take longer.
	o.Data = modeltest.Data(t, "mnist_calib", dataset.Options{})
	var larger *compress.Undecided
	if _, _, err = compress.Model(ctx, modeltest.Load(t, "resnet_a"), o); !errors.As(err, &larger) || u != nil && larger.Takes <= u.Takes {
		t.Errorf("a larger model: %v, %v", larger, u)
	}

	for name, o := range map[string]job.Options{"no data": {}, "none wanted": {Data: o.Data, NoData: true}} {
		out, r, err := compress.Model(ctx, modeltest.Load(t, "mlp_wide"), compress.Options{Options: o})
		if err != nil {
			t.Fatal(err)
		}
		if r.Lossless == nil || r.Synthetic || r.Samples+r.RefitSamples > 0 || r.Search != nil || r.Tune != nil {
			t.Errorf("%s: %+v", name, r)
		}
		if got, want := modeltest.Correct(t, out, test), modeltest.Correct(t, modeltest.Load(t, "mlp_wide"), test); got != want {
			t.Errorf("%s: %d of %d right, before %d", name, got, test.Len(), want)
		}
	}

	o.DryRun = true
	if _, _, err := compress.Model(ctx, m, o); err == nil {
		t.Error("a dry run without a budget")
	}
}

func TestRough(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{
		300 * time.Millisecond: time.Second, 3300 * time.Millisecond: 3 * time.Second, 47 * time.Second: 50 * time.Second,
		250 * time.Second: 4 * time.Minute, 37 * time.Minute: 40 * time.Minute, 5*time.Hour + 2*time.Minute: 5 * time.Hour,
	} {
		if got := compress.Rough(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
