package compress_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Where nothing can be narrowed the error gives the reasons, that of the most parameters first.
func TestNothingToNarrow(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          compress.Options
		want       string
	}{
		{"one layer", "x: N 5\ny = MatMul(x, w[5 3])", compress.Options{Keep: 0.5, Options: job.Options{NoData: true}}, `graph output "y" (100% of the parameters)`},
		{"no rule", "x: N 8\na = com.microsoft.MatMulNBits(x, uint8_b[16 1 4], var_s[16]) K=8 N=16 bits=4 block_size=16\ny = MatMul(a, w[16 3])",
			compress.Options{Keep: 0.5, Options: job.Options{NoData: true}}, `MatMulNBits has no rule (its weights are packed`},
		{"no layer", "x: N 5\ny = Relu(x)", compress.Options{Params: 0.5, Options: job.Options{NoData: true}}, "there is no layer with weights"},
		{"excluded", "x: N 5\na = MatMul(x, w[5 16])\nb = Relu(a)\ny = MatMul(b, v[16 3])", compress.Options{MACs: 0.5, Exclude: []string{"w"}, Options: job.Options{NoData: true}}, `excluded by "w" (100% of the parameters)`},
		{"size", "x: N 5\ny = MatMul(x, w[5 300])", compress.Options{Size: 500, Options: job.Options{NoData: true}}, `graph output "y"`},
		{"scales that are computed", `
			x: N 6
			xq xs xz = DynamicQuantizeLinear(x)
			p = MatMulInteger(xq, int8_a[6 16], xz)
			y = Relu(p)`, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}}, "MatMulInteger has no rule (quantised by quantize_dynamic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := compress.Model(context.Background(), parse(t, c.text), c.o)
			if !errors.Is(err, compress.ErrNothing) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	// All of it is asked for: there is nothing to narrow.
	if _, _, err := compress.Model(context.Background(), parse(t, "x: N 5\ny = MatMul(x, w[5 3])"), compress.Options{Keep: 1, Options: job.Options{NoData: true}}); err != nil {
		t.Error(err)
	}
}

// A pattern that excludes nothing is a mistake.
func TestExcludeMatchesNothing(t *testing.T) {
	m := parse(t, "x: N 5\na = MatMul(x, first_weight[5 16])\nb = Relu(a)\ny = MatMul(b, last_weight[16 3])")
	for _, c := range []struct {
		pattern string
		near    []string // nil: it matches
	}{
		{"first_weight", nil}, {"*last*", nil}, {"Relu_b", nil},
		{"first", []string{"first_weight"}}, {"first_wieght", []string{"first_weight"}}, {"LAST_*", []string{"last_weight"}}, {"encoder*", []string{}},
	} {
		_, _, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Exclude: []string{c.pattern}, Options: job.Options{NoData: true}})
		var mistake *job.Mistake
		if c.near == nil {
			if errors.As(err, &mistake) {
				t.Errorf("%q: %v", c.pattern, err)
			}
			continue
		}
		want := fmt.Sprintf("exclude %q matches no node and no weight of model test", c.pattern)
		if len(c.near) > 0 {
			want += ": perhaps " + strings.Join(c.near, ", ")
		}
		if !errors.As(err, &mistake) || mistake.Error() != want {
			t.Errorf("%q: %v, want %s", c.pattern, err, want)
		}
	}
}

// No model grows, whatever is done to it: such a result is refused.
func TestNoFileGrows(t *testing.T) {
	forms := append(onnxtest.Forms(), onnxtest.Quantized()...)
	for _, f := range forms {
		m, err := f.Model()
		if err != nil {
			t.Fatal(err)
		}
		_, before := m.Size()
		for _, o := range []compress.Options{{Keep: 1, Options: job.Options{NoData: true}}, {Keep: 0.5, Options: job.Options{NoData: true}}, {Params: 0.9, Options: job.Options{NoData: true}}, {MACs: 0.3, Options: job.Options{NoData: true, Lossless: job.Off}}} {
			out, r, err := compress.Model(context.Background(), m, o)
			if errors.Is(err, compress.ErrLarger) || errors.Is(err, compress.ErrUnmet) {
				continue // refused
			}
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
				continue
			}
			params, after := out.Size()
			if after > before || r.After.Params != params {
				t.Errorf("%s, keep %g, params %g, macs %g: %d bytes, had %d; %d parameters reported of %d", f.Name, o.Keep, o.Params, o.MACs, after, before, r.After.Params, params)
			}
		}
	}
}
