package fuse_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// In a union, what is made and what is read of channels must not be confused: where two activations
// are contracted, one weight makes and reads a space, or two branches share their weights, a
// permuted copy still returns the original.
func TestUnionOfContractedAndSharedSpaces(t *testing.T) {
	both := [][]float64{{1, 0}, {0.5, 0.5}}
	for name, c := range map[string]struct {
		shares [][]float64
		text   string
	}{
		"queries and keys": {both, `
			x: N 4 6
			h = MatMul(x, w0[6 8])
			r = Relu(h)
			q = MatMul(r, wq[8 5])
			k = MatMul(r, wk[8 5])
			kt = Transpose(k) perm=0,2,1
			s = MatMul(q, kt)
			p = Softmax(s) axis=-1
			v = MatMul(r, wv[8 7])
			a = MatMul(p, v)
			y = MatMul(a, wo[7 3])`},
		"a tied embedding": {both, `
			ids: int N 4
			e = Gather(emb[9 6], ids)
			u = MatMul(e, w1[6 8])
			r = Relu(u)
			v = MatMul(r, w2[8 6])
			h = Add(e, v)
			et = Transpose(emb) perm=1,0
			y = MatMul(h, et)`},
		"siamese branches": {both[:1], `
			x: N 6
			z: N 6
			a = Gemm(x, w1[6 8], b1[8])
			b = Relu(a)
			c = MatMul(b, w2[8 4])
			d = Gemm(z, w1, b1)
			e = Relu(d)
			f = MatMul(e, w2)
			g = Sub(c, f)
			h = Abs(g)
			y = MatMul(h, w3[4 1])`},
	} {
		t.Run(name, func(t *testing.T) {
			base, err := onnxtest.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(2) {
				m := modeltest.Redrawn(t, base, seed)
				d := modeltest.Noise(t, m, 300, seed)
				for _, shares := range c.shares {
					out, _, err := fuse.Models(context.Background(), []*onnxio.Model{permuted(t, m), m},
						fuse.Options{Method: fuse.Union, Weights: shares, Options: job.Options{Tune: job.Off, Data: d}})
					if err != nil {
						t.Fatal(err)
					}
					if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-3 {
						t.Errorf("seed %d, weights %g: outputs differ by %.2g", seed, shares, diff)
					}
				}
			}
		})
	}
}
