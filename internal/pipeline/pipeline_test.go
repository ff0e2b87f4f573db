package pipeline

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Noise teaches a large model little: it is distilled on noise only if that is asked for.
func TestNoiseTeachesLargeModelsLittle(t *testing.T) {
	enginetest.Require(t)
	large := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 4)), onnxtest.Values(onnxtest.Value("y", "N", 2)),
		onnxtest.Floats("w", []int{4, mostTaught / 16}, make([]float64, mostTaught/4)...),
		onnxtest.Floats("v", []int{mostTaught / 16, 2}, make([]float64, mostTaught/8)...),
		onnxtest.Node("MatMul", "x w", "h"), onnxtest.Node("MatMul", "h v", "y"),
	)
	small := modeltest.Load(t, "mlp_a")
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	for _, c := range []struct {
		m    *onnxio.Model
		o    job.Options
		some bool // distillation
	}{
		{large, job.Options{}, false},
		{large, job.Options{Tune: job.On, Epochs: 7}, true},
		{small, job.Options{}, true},
		{small, job.Options{Tune: job.Off}, false},
		{small, job.Options{Data: d}, true},
		{small, job.Options{Data: d, Tune: job.Off}, false},
		{small, job.Options{NoData: true}, false},
		{small, job.Options{Data: d, Align: "weights"}, false},
	} {
		r, err := Start(t.Context(), []*onnxio.Model{c.m}, c.o, Policy{Invent: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Distils() != c.some {
			t.Errorf("%+v: distils: %t", c.o, r.Distils())
		}
	}
}

// The distillation has what the rest leaves of the time; where nobody set one, half of it at least.
func TestUntil(t *testing.T) {
	began := time.Unix(0, 0)
	for _, c := range []struct {
		o     job.Options
		spent time.Duration
		want  time.Duration // since the beginning
		noted bool
	}{
		{job.Options{}, time.Minute, 2 * time.Minute, false},
		{job.Options{}, 10 * time.Minute, 11 * time.Minute, true},
		{job.Options{Time: time.Minute}, 20 * time.Second, time.Minute, false},
		{job.Options{Time: time.Minute}, time.Hour, time.Minute, false},
		{job.Options{Time: time.Minute, Epochs: 3}, 20 * time.Second, time.Minute, false},
	} {
		r, report := &Run{Options: c.o, began: began, usual: 2 * time.Minute}, &job.Report{}
		if got := r.until(began.Add(c.spent), report).Sub(began); got != c.want || (len(report.Notes) > 0) != c.noted {
			t.Errorf("%+v: until %s, want %s; %q", c, got, c.want, report.Notes)
		}
	}
	r := &Run{Options: job.Options{Epochs: 3}, began: began}
	if !r.until(began.Add(time.Hour), &job.Report{}).IsZero() {
		t.Error("epochs end by the clock")
	}
}

// Every sample has one use at a time, and what judges has no other.
func TestSplit(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	for _, c := range []struct{ n, judged, fit int }{{60, 0, 60}, {99, 0, 99}, {100, 10, 90}, {450, 45, 405}} {
		d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: c.n})
		r, err := Start(t.Context(), []*onnxio.Model{m}, job.Options{Data: d}, Policy{HoldOut: true})
		if err != nil {
			t.Fatal(err)
		}
		s := r.Report.Split
		judged := map[int]bool{}
		if s.Judge != nil {
			for _, i := range s.Judge.Places() {
				judged[i] = true
			}
		}
		if len(judged) != c.judged || s.Fit.Len() != c.fit {
			t.Errorf("%d samples: %d judge, %d are fitted on", c.n, len(judged), s.Fit.Len())
		}
		for name, part := range map[string]*dataset.Data{"match": s.Match, "fit": s.Fit, "trial": r.Trial().Fit, "trial judge": r.Trial().Held, "teach judge": r.Teach().Held} {
			if part == nil {
				continue
			}
			for _, i := range part.Places() {
				if judged[i] {
					t.Errorf("%d samples: %s has sample %d, which judges", c.n, name, i)
				}
			}
		}
		for name, h := range map[string]job.Halves{"trial": r.Trial(), "price": r.Price(), "teach": r.Teach()} {
			fit := fmt.Sprint(h.Fit.Places())
			if h.Held != nil && (fit == fmt.Sprint(h.Held.Places()) || h.Fit.Len()+h.Held.Len() > s.Fit.Len()) {
				t.Errorf("%d samples: %s has %d and %d of %d", c.n, name, h.Fit.Len(), h.Held.Len(), s.Fit.Len())
			}
		}
	}
}

// What running a model costs bounds how many inputs are made up for it.
func TestMadeUpSamples(t *testing.T) {
	enginetest.Require(t)
	for text, want := range map[string]int{
		"x: 1 3 8 8\ny = Conv(x, w[4 3 1 1])":           500,
		"x: 1 16 1000 1000\ny = Conv(x, w[250 16 1 1])": 125, // 4e9 multiply-accumulates
		"x: 1 16 1000 1000\ny = Conv(x, w[200 16 7 7])": 32,
	} {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []job.Options{{}, {RefitSamples: 40}} {
			r, err := Start(t.Context(), []*onnxio.Model{m}, o, Policy{Invent: true})
			if err != nil {
				t.Fatal(err)
			}
			if r.Report.Split.Fit.Len() != min(want, cmp.Or(o.RefitSamples, want)) || !r.Report.Synthetic {
				t.Errorf("%q, %+v: %d samples, want %d", text, o, r.Report.Split.Fit.Len(), want)
			}
		}
	}
}

// Where no inputs can be made up, channels are compared by their weights, and the run says why; a
// refit that was asked for fails.
func TestWithoutRuntime(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	missing := func() (engine.Library, error) { return engine.Library{}, engine.ErrNoRuntime }
	r, err := Start(t.Context(), []*onnxio.Model{m}, job.Options{Runtime: missing}, Policy{Invent: true})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(r.Report.Notes, "\n"); r.Fits() || r.Report.By != "weights" || r.Report.Synthetic ||
		!strings.Contains(notes, "compared by their weights") || !strings.Contains(notes, "monge runtime install") {
		t.Errorf("by %s, %q", r.Report.By, notes)
	}
	if _, err = Start(t.Context(), []*onnxio.Model{m}, job.Options{Refit: job.On, Runtime: missing}, Policy{Invent: true}); err == nil || !strings.Contains(err.Error(), "monge runtime install") {
		t.Errorf("a refit: %v", err)
	}
}
