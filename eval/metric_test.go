package eval_test

import (
	"context"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

// A model is measured in a file of its own, which goes afterwards.
func TestMetric(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	params, _ := m.Size()
	var seen string
	count := eval.Metric{Measure: func(_ context.Context, path string) (float64, error) {
		seen = path
		read, err := onnxio.Load(path)
		if err != nil {
			return 0, err
		}
		n, _ := read.Size()
		return float64(n), nil
	}}
	if x, err := count.Model(t.Context(), m); err != nil || x != float64(params) {
		t.Errorf("%g, %v, want %d", x, err, params)
	}
	if _, err := os.Stat(seen); !os.IsNotExist(err) {
		t.Errorf("%s is still there", seen)
	}
	wrong := errors.New("wrong")
	for _, f := range []func(context.Context, string) (float64, error){
		func(context.Context, string) (float64, error) { return math.NaN(), nil },
		func(context.Context, string) (float64, error) { return 1, wrong },
	} {
		if _, err := (eval.Metric{Measure: f}).Model(t.Context(), m); err == nil {
			t.Error("no error")
		}
	}
}

// Drops are shares of the original's number, whichever way is better.
func TestMetricDrop(t *testing.T) {
	for _, c := range []struct {
		lower          bool
		from, to, want float64
	}{{false, 0.8, 0.6, 0.25}, {false, 80, 60, 0.25}, {false, 0.5, 0.6, -0.2}, {true, 10, 12, 0.2}, {true, 10, 9, -0.1}, {false, -2, -3, 0.5}} {
		if d, err := (eval.Metric{Lower: c.lower}).Drop(c.from, c.to); err != nil || math.Abs(d-c.want) > 1e-12 {
			t.Errorf("%+v: %g, %v", c, d, err)
		}
	}
	if _, err := (eval.Metric{}).Drop(0, 1); err == nil {
		t.Error("a share of 0")
	}
}
