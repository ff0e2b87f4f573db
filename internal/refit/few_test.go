package refit_test

import (
	"context"
	"math"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
)

// fewNets are networks in which some layer sees very few rows, or channels that are off.
var fewNets = map[string]string{
	"depthwise, some channels off": `
		input: N 1 28 28
		a = Conv(input, w0[16 1 3 3]) strides=[2,2]
		o = Sub(a, k<2.5>)
		b = Relu(o)
		c = Conv(b, w1[16 1 3 3]) group=16
		d = Relu(c)
		e = Conv(d, w2[12 16 1 1])
		f = GlobalAveragePool(e)
		g = Flatten(f)
		y = Gemm(g, w3[12 5])`,
	"pooled head": `
		input: N 1 28 28
		a = Conv(input, w0[8 1 5 5]) strides=[4,4]
		b = Relu(a)
		c = Conv(b, w1[48 8 1 1])
		d = Relu(c)
		f = GlobalAveragePool(d)
		g = Flatten(f)
		h = Gemm(g, w2[48 24])
		i = Relu(h)
		y = Gemm(i, w3[24 5])`,
}

// However few the samples, a refit ends, with numbers for errors that did not rise on what was held
// out.
func TestRefitOfFewSamples(t *testing.T) {
	for name, text := range fewNets {
		for _, n := range []int{1, 2, 3, 9} {
			d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: n})
			child, parent, _ := selected(t, text, always(d), func(sp *coupling.Space) int {
				if sp.Narrowable() {
					return (sp.Width + 1) / 2
				}
				return sp.Width
			})
			_, report, err := refit.Refit(context.Background(), child, []teach.Parent{parent}, refit.Options{Data: d})
			if err != nil {
				t.Fatalf("%s, %d samples: %v", name, n, err)
			}
			for _, l := range report.Layers {
				if sum := l.Before + l.After; math.IsNaN(sum) || math.IsInf(sum, 0) || l.After > l.Before*(1+1e-9) {
					t.Errorf("%s, %d samples: %s: error %g → %g", name, n, l.Name, l.Before, l.After)
				}
				if n == 1 && l.Note == "" {
					t.Errorf("%s: %s was fitted to one sample", name, l.Name)
				}
			}
			if len(report.Layers) < 3 {
				t.Errorf("%s: %d layers", name, len(report.Layers))
			}
		}
	}
}
