package compress_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/precision"
)

// Numbers get fewer bits last: of a model that was narrowed, of one that keeps its widths, and of
// those that a search makes.
func TestDType(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Load(t, "cnn_a")
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 300})
	_, before := m.Size()
	for name, c := range map[string]struct {
		o     compress.Options
		bytes float64 // of the original's, at most
	}{
		"fp16":     {compress.Options{DType: precision.FP16}, 0.55},
		"int8":     {compress.Options{DType: precision.INT8}, 0.4},
		"both":     {compress.Options{DType: precision.INT8, MACs: 0.6}, 0.32},
		"size":     {compress.Options{DType: precision.FP16, Size: 40_000}, 0.41},
		"max drop": {compress.Options{DType: precision.INT8, MaxDrop: 0.02}, 0.35},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Options = job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 150}), Tune: job.Off}
			out, r, err := compress.Model(context.Background(), m, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Precision == nil || r.Precision.Type != c.o.DType || r.Precision.Weights == 0 {
				t.Fatalf("precision %+v", r.Precision)
			}
			if _, after := out.Size(); float64(after) > c.bytes*float64(before) {
				t.Errorf("%d bytes of %d", after, before)
			}
			if c.o.Size > 0 && r.After.Params < r.Before.Params/2 {
				t.Errorf("%d of %d parameters are left: half of each is room enough", r.After.Params, r.Before.Params)
			}
			if right := modeltest.Correct(t, out, test); right < 270 {
				t.Errorf("%d of 300 right", right)
			}
		})
	}
}

// What cannot be done is said before anything is.
func TestDTypeMistakes(t *testing.T) {
	var mistake *job.Mistake
	for want, o := range map[string]compress.Options{
		"int8 needs data":     {DType: precision.INT8},
		`dtype is "int4"`:     {DType: "int4"},
		"give one of keep, m": {Options: job.Options{Lossless: job.Off}},
	} {
		_, _, err := compress.Model(context.Background(), modeltest.Load(t, "mlp_a"), o)
		if err == nil || !strings.Contains(err.Error(), want) || o.DType != "" && !errors.As(err, &mistake) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// The original is not changed by what is stored with fewer bits.
func TestDTypeLeavesTheModel(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	was, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := compress.Model(context.Background(), m, compress.Options{DType: precision.BF16, Options: job.Options{NoData: true}})
	if err != nil {
		t.Fatal(err)
	}
	if is, err := m.Encode(); err != nil || string(is) != string(was) {
		t.Errorf("the model was changed (%v)", err)
	}
	if g, err := out.Graph(); err != nil || g.Producer("fc1.weight").GetOpType() != "Cast" {
		t.Errorf("the weights are not behind a Cast (%v)", err)
	}
}
