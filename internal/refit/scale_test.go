package refit_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
)

// postNorm is a block whose residual stream comes out of a normalisation, with the normalisation as
// an operator and written out.
var postNorm = map[string]string{
	"operator": `
		input: N 1 28 28
		s = Squeeze(input, ax{1})
		a = MatMul(s, w0[28 16])
		n = LayerNormalization(a, g1[16], e1[16])
		f = MatMul(n, w1[16 24])
		r = Relu(f)
		h = MatMul(r, w2[24 16])
		c = Add(n, h)
		m = LayerNormalization(c, g2[16], e2[16])
		p = ReduceMean(m) axes=[1] keepdims=0
		y = MatMul(p, w3[16 10])`,
	"written out": `
		opset 13
		input: N 1 28 28
		s = Squeeze(input, ax{1})
		a = MatMul(s, w0[28 16])
		f = MatMul(a, w1[16 24])
		r = Relu(f)
		h = MatMul(r, w2[24 16])
		c = Add(a, h)
		mean = ReduceMean(c) axes=[-1]
		d = Sub(c, mean)
		q = Pow(d, two<2>)
		v = ReduceMean(q) axes=[-1]
		ve = Add(v, eps<0.00001>)
		sd = Sqrt(ve)
		z = Div(d, sd)
		zg = Mul(z, g2[16])
		m = Add(zg, e2[16])
		p = ReduceMean(m) axes=[1] keepdims=0
		y = MatMul(p, w3[16 10])`,
}

// A residual stream with fewer channels has other statistics; the scales and shifts of
// normalisations are fitted to that.
func TestNormalisationsAreRefitted(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200})
	for name, text := range postNorm {
		t.Run(name, func(t *testing.T) {
			streams := 0
			child, parent, _ := selected(t, text, always(d), func(sp *coupling.Space) int {
				if !sp.Normalised {
					return sp.Width
				}
				streams++
				return 12
			})
			if streams != 1 {
				t.Fatalf("%d streams are normalised", streams)
			}
			out, report, err := refit.Refit(context.Background(), child, []teach.Parent{parent}, refit.Options{Data: d})
			if err != nil {
				t.Fatal(err)
			}
			norms, gain := 0, 0.0
			for _, l := range report.Layers {
				if l.Inputs == 1 {
					norms++
					gain += l.Before - l.After
				}
				if l.After > l.Before {
					t.Errorf("%s: the error rose from %g to %g", l.Name, l.Before, l.After)
				}
			}
			if want := map[string]int{"operator": 2, "written out": 1}[name]; norms != want {
				t.Errorf("%d normalisations were fitted, want %d: %+v", norms, want, report.Layers)
			}
			// What is reported is what the model now holds.
			if gain <= 0 || !changed(modeltest.Floats(t, child)["g2"], modeltest.Floats(t, out)["g2"]) {
				t.Errorf("nothing was gained: %+v", report.Layers)
			}
		})
	}
}

func changed(a, b []float64) bool {
	for i := range a {
		if a[i] != b[i] {
			return true
		}
	}
	return false
}
