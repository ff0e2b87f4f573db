package compress_test

import (
	"context"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// parse builds a model from text.
func parse(t *testing.T, text string) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Every size down to the least there is is met; below it the error says what that is; from the
// model's own on nothing changes.
func TestSizesAreMet(t *testing.T) {
	for name, text := range map[string]string{
		"float": "x: N 5\na = MatMul(x, wa[5 40])\nb = Relu(a)\nc = MatMul(b, wc[40 30])\nd = Relu(c)\ny = MatMul(d, wy[30 3])",
		"integers": `x: N 5
			wa = DequantizeLinear(int8_a[5 40], sa[40]) axis=1
			a = MatMul(x, wa)
			b = Relu(a)
			wc = DequantizeLinear(int8_c[40 30], sc[30]) axis=1
			c = MatMul(b, wc)
			d = Relu(c)
			y = MatMul(d, wy[30 3])`,
		"flattened": "x: N 2 4 4\na = Conv(x, wa[20 2 3 3])\nb = Relu(a)\nc = Reshape(b, s{-1 80})\ny = MatMul(c, wy[80 3])",
	} {
		m := parse(t, text)
		_, own := m.Size()
		met := int64(0)
		for size := own + 10; size > own/8; size -= own / 23 {
			out, r, err := compress.Model(context.Background(), m, compress.Options{Size: size, Options: job.Options{NoData: true}})
			if err != nil {
				if !strings.Contains(err.Error(), "remain") || met > 0 && met < size {
					t.Errorf("%s: %d bytes of %d: %v", name, size, own, err)
				}
				continue
			}
			_, bytes := out.Size()
			met = size
			switch {
			case bytes > size:
				t.Errorf("%s: %d bytes for a budget of %d", name, bytes, size)
			case size >= own && (bytes != own || r.After != r.Before):
				t.Errorf("%s: %d bytes of %d for a budget of %d", name, bytes, own, size)
			}
		}
		if met > own/2 {
			t.Errorf("%s: %d bytes of %d are the least that was met", name, met, own)
		}
	}
}

// What a refit adds is not known before, and counts all the same.
func TestSizesAreMetWithARefit(t *testing.T) {
	m := parse(t, "x: N 5\na = Gemm(x, wa[5 40])\nb = Relu(a)\nc = Gemm(b, wc[40 30])\nd = Relu(c)\ny = Gemm(d, wy[30 3])")
	d := modeltest.Noise(t, m, 100, 3)
	_, own := m.Size()
	for size := own - 1; size > own/3; size -= own / 13 {
		out, _, err := compress.Model(context.Background(), m, compress.Options{Size: size, Uniform: true, Options: job.Options{Data: d, Tune: job.Off, NoEval: true}})
		if err != nil {
			t.Errorf("%d bytes of %d: %v", size, own, err)
			continue
		}
		if _, bytes := out.Size(); bytes > size {
			t.Errorf("%d bytes for a budget of %d", bytes, size)
		}
	}
}
