package refit_test

import (
	"math"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/onnxio"
)

// Channels behind a Relu have means far from zero: what is not read of them any more shifts all
// that follows, unless biases make up for it.
func TestRecentreKeepsMeans(t *testing.T) {
	enginetest.Require(t)
	for name, text := range map[string]string{
		"1×1": `
			x: N 3 6 6
			a = Conv(x, w1[12 3 3 3], b1[12])
			r = Relu(a)
			y = Conv(r, w2[5 12 1 1], b2[5])`,
		"a bias is added": `
			x: N 3 6 6
			a = Conv(x, w1[12 3 3 3], b1[12])
			r = Relu(a)
			y = Conv(r, w2[5 12 1 1])`,
		"depthwise between": `
			x: N 3 6 6
			a = Conv(x, w1[12 3 1 1], b1[12])
			r = Relu(a)
			d = Conv(r, w2[12 1 3 3], b2[12]) group=12
			e = Relu(d)
			y = Conv(e, w3[5 12 1 1], b3[5])`,
		"positions side by side": `
			x: N 3 6 6
			a = Conv(x, w1[12 3 5 5], b1[12])
			r = Relu(a)
			f = Flatten(r)
			y = Gemm(f, w2[5 48], b2[5]) transB=1`,
	} {
		t.Run(name, func(t *testing.T) {
			var d *dataset.Data
			child, parent, lost := selected(t, text, func(m *onnxio.Model) *dataset.Data {
				d = modeltest.Noise(t, m, 64, 3)
				return d
			}, func(sp *coupling.Space) int {
				if sp.Width == 12 {
					return 6
				}
				return sp.Width
			})
			before := shift(t, parent.Subject.Model, child, d)
			if err := refit.Recentre(child, parent, lost); err != nil {
				t.Fatal(err)
			}
			after := shift(t, parent.Subject.Model, child, d)
			// Means are those of four batches in five, and of channels, wherever these stand.
			if after > before/3 {
				t.Errorf("the mean output moves by %.4f of its deviation, and by %.4f where means are not made up for", after, before)
			}
		})
	}
}

// shift is by how much the means of outputs differ between two models, relative to the deviation.
func shift(t *testing.T, a, b *onnxio.Model, d *dataset.Data) float64 {
	t.Helper()
	x, y := modeltest.Outputs(t, a, d), modeltest.Outputs(t, b, d)
	const outputs = 5
	places := len(x) / d.Len() / outputs
	mean, moved, square := make([]float64, outputs), make([]float64, outputs), 0.0
	for i := range x {
		k := i / places % outputs
		mean[k] += x[i] / float64(len(x)/outputs)
		moved[k] += (y[i] - x[i]) / float64(len(x)/outputs)
	}
	total := 0.0
	for i := range x {
		k := i / places % outputs
		square += (x[i] - mean[k]) * (x[i] - mean[k]) / float64(len(x)/outputs)
		total += moved[k] * moved[k] / float64(len(x)/outputs)
	}
	return math.Sqrt(total / square)
}
