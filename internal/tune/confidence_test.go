package tune

import (
	"math"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

// The parameters that make the logits scale them, and nothing else.
func TestMakers(t *testing.T) {
	ctx := t.Context()
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 16})
	found := 0
	for _, name := range []string{"mlp_a", "cnn_a", "vgg", "resnet_optiona", "vit_a"} {
		child, src := narrow(t, name, 0.5, d)
		r := &run{o: Options{Data: d}, parents: []teach.Parent{src}, child: child}
		r.o.defaults()
		if err := r.open(ctx); err != nil {
			t.Fatal(err)
		}
		defer r.close()
		in, err := r.reader.examples(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range r.trainer.goals {
			names := r.trainer.makers(g)
			if names == nil {
				continue
			}
			found++
			before := predict(t, r.trainer, child, in[0])[g.Tensor]
			for _, p := range names {
				for j := range r.trainer.params[p].F32 {
					r.trainer.params[p].F32[j] *= 2
				}
			}
			after := predict(t, r.trainer, child, in[0])[g.Tensor]
			for j, y := range before.F32 {
				if z := after.F32[j]; math.Abs(float64(z-2*y)) > 1e-4*(1+math.Abs(float64(y))) {
					t.Fatalf("%s: %g times two is %g", name, y, z)
				}
			}
		}
	}
	if found != 5 {
		t.Errorf("%d of 5 models have logits that can be scaled", found)
	}
}

// A child is in the end as sure as its source is, or several are in the mean.
func TestCalibrated(t *testing.T) {
	fit, held := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 320}).Split(10)
	child, a := narrow(t, "mlp_a", 0.5, fit)
	alone := a
	_, b := narrow(t, "mlp_b", 0.5, fit)
	a.Share, b.Share = 0.5, 0.5
	for name, parents := range map[string]teach.Parents{"one": {alone}, "two": {a, b}} {
		t.Run(name, func(t *testing.T) {
			o := Options{Data: fit, HeldOut: held, Epochs: 10}
			out, report, err := Distill(t.Context(), child, parents, o)
			if err != nil {
				t.Fatal(err)
			}
			if report.Kept || report.Confidence == 0 || report.Confidence == 1 {
				t.Fatalf("%+v", *report)
			}
			// Once more, without training: what was scaled already stays.
			if factor := calibrated(t, out, parents, o); math.Abs(factor-1) > 1e-3 {
				t.Errorf("scaled by %g, and then by %g", report.Confidence, factor)
			}
		})
	}
}

// calibrated is the factor by which a child's logits are scaled as it is.
func calibrated(t *testing.T, child *onnxio.Model, parents teach.Parents, o Options) float64 {
	t.Helper()
	r := &run{o: o, parents: parents, child: child}
	r.o.defaults()
	if err := r.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	judge, err := r.judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	factor, err := r.calibrate(t.Context(), child, judge)
	if err != nil {
		t.Fatal(err)
	}
	return factor
}
