package compress_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

const weightNorm = `
	x: N 3 6 6
	n = ReduceL2(v[8 3 3 3]) axes=1,2,3 keepdims=1
	d = Div(v, n)
	w = Mul(d, g[8 1 1 1])
	a = Conv(x, w)
	b = Relu(a)
	y = Conv(b, w2[5 8 1 1])`

// Weights that are computed from others are narrowed without the lossless pass, too.
func TestComputedWeightsWithoutLossless(t *testing.T) {
	enginetest.Require(t)
	m := parse(t, weightNorm)
	_, r, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true, Lossless: job.Off}})
	if err != nil {
		t.Fatal(err)
	}
	if r.After.Params >= r.Before.Params*6/10 {
		t.Errorf("%d parameters are left of %d", r.After.Params, r.Before.Params)
	}
}

// A model whose weights are computed moves into a narrow one whose weights are, and into one whose
// weights are stored.
func TestIntoComputedWeights(t *testing.T) {
	enginetest.Require(t)
	for name, text := range map[string]string{
		"computed": `
			x: N 3 6 6
			n = ReduceL2(v[4 3 3 3]) axes=1,2,3 keepdims=1
			d = Div(v, n)
			w = Mul(d, g[4 1 1 1])
			a = Conv(x, w)
			b = Relu(a)
			y = Conv(b, w2[5 4 1 1])`,
		"stored": `
			x: N 3 6 6
			a = Conv(x, w[4 3 3 3])
			b = Relu(a)
			y = Conv(b, w2[5 4 1 1])`,
	} {
		t.Run(name, func(t *testing.T) {
			narrow, err := onnxtest.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := compress.Into(context.Background(), parse(t, weightNorm), narrow, compress.Options{Options: job.Options{NoData: true}})
			if err != nil {
				t.Fatal(err)
			}
			if params, _ := out.Size(); params != 4*27+5*4 {
				t.Errorf("%d parameters", params)
			}
		})
	}
}
