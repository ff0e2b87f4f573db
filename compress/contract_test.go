package compress_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// doubled is a copy of a model in which every channel of every space that may be narrowed stands
// twice, and is read with half its weight.
func doubled(t *testing.T, m *onnxio.Model) *onnxio.Model {
	t.Helper()
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	maps := edit.Maps{}
	for _, sp := range s.Analysis.Spaces {
		if !sp.Narrowable() || len(sp.Pieces) != 1 {
			continue
		}
		mp := &edit.Map{Pieces: []int{2 * sp.Width}}
		for range sp.Groups {
			tr := edit.Transfer{}
			for j := range 2 * sp.Width {
				tr.In = append(tr.In, []edit.Entry{{Col: j / 2, Val: 1}})
				tr.OutT = append(tr.OutT, []edit.Entry{{Col: j / 2, Val: 0.5}})
			}
			mp.Groups = append(mp.Groups, tr)
		}
		maps[sp] = mp
	}
	out, err := edit.Edit(s, maps)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Channels that stand twice are merged exactly, with a refit too, where two activations are
// contracted over them.
func TestContractedSpacesUnderRefit(t *testing.T) {
	for name, text := range map[string]string{
		"queries and keys": `
			x: N 4 6
			h = MatMul(x, w0[6 8])
			r = Relu(h)
			q = MatMul(r, wq[8 5])
			qb = Add(q, bq[5])
			k = MatMul(r, wk[8 5])
			kb = Add(k, bk[5])
			kt = Transpose(kb) perm=0,2,1
			s = MatMul(qb, kt)
			p = Softmax(s) axis=-1
			v = MatMul(r, wv[8 7])
			a = MatMul(p, v)
			y = MatMul(a, wo[7 3])`,
		"squeeze and excite": `
			x: N 3 6 6
			c = Conv(x, w0[8 3 3 3], b0[8])
			r = Relu(c)
			g = GlobalAveragePool(r)
			d = Conv(g, w1[4 8 1 1], b1[4])
			dr = Relu(d)
			e = Conv(dr, w2[8 4 1 1], b2[8])
			s = Sigmoid(e)
			m = Mul(r, s)
			y = Conv(m, w3[5 8 3 3], b3[5])`,
		"gram interaction": `
			x: N 4 6
			h = MatMul(x, w0[6 8])
			r = Relu(h)
			a = MatMul(r, w1[8 5])
			at = Transpose(a) perm=0,2,1
			y = MatMul(a, at)`,
	} {
		t.Run(name, func(t *testing.T) {
			base, err := onnxtest.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(2) {
				m := modeltest.Redrawn(t, base, seed)
				d := modeltest.Noise(t, m, 300, seed)
				for _, o := range []compress.Options{
					{Keep: 0.5, Options: job.Options{Lossless: job.Off, Data: d, Tune: job.Off, NoEval: true}},
					{Keep: 0.5, Options: job.Options{NoData: true, Lossless: job.Off}},
				} {
					out, _, err := compress.Model(context.Background(), doubled(t, m), o)
					if err != nil {
						t.Fatal(err)
					}
					if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-3 {
						t.Errorf("seed %d, data %t: outputs differ by %.2g", seed, o.Data != nil, diff)
					}
				}
			}
		})
	}
}
