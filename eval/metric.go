package eval

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio"
)

// A Metric is a person's own measure of a model: mAP, a word error rate, F1. The zero value is none.
type Metric struct {
	// Measure tells how good the model in a file is.
	Measure func(ctx context.Context, path string) (float64, error)
	// Lower says that smaller numbers are better.
	Lower bool
}

// Given reports whether there is a metric.
func (m Metric) Given() bool { return m.Measure != nil }

// File measures the model in a file. A number that is NaN or infinite is an error.
func (m Metric) File(ctx context.Context, path string) (float64, error) {
	x, err := m.Measure(ctx, path)
	if err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
		err = fmt.Errorf("metric: it is %g: no number to compare", x)
	}
	return x, err
}

// Model measures a model, which is written to a temporary file for that.
func (m Metric) Model(ctx context.Context, model *onnxio.Model) (float64, error) {
	dir, err := files.NewFolder()
	if err != nil {
		return 0, err
	}
	defer func() { _ = dir.Remove() }()
	path := filepath.Join(dir.Path, "model.onnx")
	if err := onnxio.Save(ctx, path, model, onnxio.SaveOptions{Temporary: true}); err != nil {
		return 0, err
	}
	return m.File(ctx, path)
}

// Drop is by what share of the original's number a model is worse; it is negative for a better one.
// If the original's is 0 there is no such share, which is an error.
func (m Metric) Drop(original, x float64) (float64, error) {
	if original == 0 {
		return 0, fmt.Errorf("metric: it is 0 for the original: no share of that can be lost")
	}
	return (m.Worth(original) - m.Worth(x)) / math.Abs(original), nil
}

// Worth is a number that is the larger the better.
func (m Metric) Worth(x float64) float64 {
	if m.Lower {
		return -x
	}
	return x
}
