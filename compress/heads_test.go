package compress_test

import (
	"context"
	"slices"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// attentions are forms of attention with four heads of three dimensions.
var attentions = map[string]string{
	"MatMul": `
		x: N 4 6
		q = MatMul(x, wq[6 12])
		k = MatMul(x, wk[6 12])
		v = MatMul(x, wv[6 12])
		q2 = Reshape(q, s1{0 0 4 3})
		k2 = Reshape(k, s2{0 0 4 3})
		v2 = Reshape(v, s3{0 0 4 3})
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s = MatMul(q3, k3)
		p = Softmax(s) axis=-1
		a = MatMul(p, v3)
		at = Transpose(a) perm=0,2,1,3
		ar = Reshape(at, s4{0 0 12})
		y = MatMul(ar, wo[12 5])`,
	"packed": `
		x: N 4 6
		qkv = MatMul(x, wqkv[6 36])
		q k v = Split(qkv, parts{12 12 12}) axis=-1
		q2 = Reshape(q, s1{0 0 4 3})
		k2 = Reshape(k, s2{0 0 4 3})
		v2 = Reshape(v, s3{0 0 4 3})
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s = MatMul(q3, k3)
		p = Softmax(s) axis=-1
		a = MatMul(p, v3)
		at = Transpose(a) perm=0,2,1,3
		ar = Reshape(at, s4{0 0 12})
		y = MatMul(ar, wo[12 5])`,
	"Einsum": `
		x: N 4 6
		q = Einsum(x, wq[6 4 3]) equation=btd,dhe->bthe
		k = Einsum(x, wk[6 4 3]) equation=btd,dhe->bthe
		v = Einsum(x, wv[6 4 3]) equation=btd,dhe->bthe
		s = Einsum(q, k) equation=bthe,bshe->bhts
		p = Softmax(s) axis=-1
		a = Einsum(p, v) equation=bhts,bshe->bthe
		y = Einsum(a, wo[4 3 5]) equation=bthe,hed->btd`,
	"com.microsoft Attention": `
		x: N 4 6
		a = com.microsoft.Attention(x, wqkv[6 36], b[36]) num_heads=4
		y = MatMul(a, wo[12 5])`,
	"com.microsoft MultiHeadAttention": `
		x: N 4 6
		q = MatMul(x, wq[6 12])
		k = MatMul(x, wk[6 12])
		v = MatMul(x, wv[6 12])
		a = com.microsoft.MultiHeadAttention(q, k, v) num_heads=4
		y = MatMul(a, wo[12 5])`,
	"Attention, opset 23": `
		opset 23
		x: N 4 6
		q = MatMul(x, wq[6 12])
		k = MatMul(x, wk[6 12])
		v = MatMul(x, wv[6 12])
		a = Attention(q, k, v) q_num_heads=4 kv_num_heads=4
		y = MatMul(a, wo[12 5])`,
	"grouped queries, opset 23": `
		opset 23
		x: N 4 6
		q = MatMul(x, wq[6 24])
		k = MatMul(x, wk[6 12])
		v = MatMul(x, wv[6 12])
		a = Attention(q, k, v) q_num_heads=8 kv_num_heads=4
		y = MatMul(a, wo[24 5])`,
}

// Without data heads go whole: those that stay are heads of the model, whatever the form in which
// attention is written.
func TestHeadsGoWhole(t *testing.T) {
	for name, text := range attentions {
		t.Run(name, func(t *testing.T) {
			base, err := onnxtest.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(3) {
				m := modeltest.Redrawn(t, base, seed)
				s, err := edit.NewSubject(m, coupling.Options{})
				if err != nil {
					t.Fatal(err)
				}
				found := false
				for _, sp := range s.Analysis.Spaces {
					if !sp.Heads || !sp.Narrowable() {
						continue
					}
					found = true
					r, err := match.Merge(context.Background(), s, map[*coupling.Space]int{sp: 2}, match.Options{})
					if err != nil {
						t.Fatal(err)
					}
					tr := r.Maps[sp].Groups[0]
					for _, rows := range []edit.Rows{tr.In, tr.OutT} {
						if slices.ContainsFunc(rows, func(row []edit.Entry) bool { return len(row) != 1 || row[0].Val != 1 }) {
							t.Errorf("seed %d: heads are made of %v", seed, rows)
						}
					}
				}
				if !found {
					t.Fatalf("no heads to narrow: %+v", s.Analysis.Spaces)
				}
				d := modeltest.Noise(t, m, 20, seed)
				out, _, err := compress.Model(context.Background(), doubled(t, m), compress.Options{Keep: 0.5, Options: job.Options{NoData: true, Lossless: job.Off}})
				if err != nil {
					t.Fatal(err)
				}
				if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-4 {
					t.Errorf("seed %d: heads that stand twice are merged with an error of %.2g", seed, diff)
				}
			}
		})
	}
}
