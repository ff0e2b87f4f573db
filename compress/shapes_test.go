package compress_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Sizes that are given for the analysis do not become those of the result: a
// shape that was computed from the batch still follows the batch.
func TestGivenSizesAreNotWritten(t *testing.T) {
	for name, shape := range map[string]string{
		"copied":  "t = Concat(n, rest{128}) axis=0",
		"swapped": "t = Concat(eight{8}, n, rest{16}) axis=0",
	} {
		t.Run(name, func(t *testing.T) {
			m, err := onnxtest.Parse(`
				x: N 3 4 4
				a = Conv(x, w[8 3 1 1])
				p = Transpose(a) perm=1,0,2,3
				s = Shape(a)
				n = Slice(s, st{0}, en{1})
				` + shape + map[string]string{
				"copied":  "\nr = Reshape(a, t)\ny = MatMul(r, w2[128 5])",
				"swapped": "\nr = Reshape(p, t)\nq = Transpose(r) perm=1,2,0\ny = MatMul(q, w2[8 5])",
			}[name])
			if err != nil {
				t.Fatal(err)
			}
			out, report, err := compress.Model(context.Background(), m, compress.Options{
				Keep: 0.5, InputShapes: map[string][]int{"x": {1, 3, 4, 4}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if report.After.Params >= report.Before.Params {
				t.Fatalf("nothing was narrowed: %+v", report.Spaces)
			}
			g, err := out.Graph()
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range g.Nodes {
				if n.GetOpType() != "Reshape" {
					continue
				}
				c := g.Constant(n.GetInput()[1])
				if c == nil {
					t.Fatal("the shape is still computed, although widths changed")
				}
				ints, err := out.Tensor(c)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range ints.I64 {
					if v == 1 {
						t.Errorf("reshapes to %v: the batch of the analysis", ints.I64)
					}
				}
			}
		})
	}
}
