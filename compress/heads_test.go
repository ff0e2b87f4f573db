package compress_test

import (
	"context"
	"maps"
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
func attentions() map[string]string {
	all := modeltest.Attentions()
	maps.Copy(all, map[string]string{
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
	})
	return all
}

// Without data heads go whole: those that stay are heads of the model, whatever the form in which
// attention is written.
func TestHeadsGoWhole(t *testing.T) {
	for name, text := range attentions() {
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
