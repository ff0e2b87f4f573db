package choose_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
)

// attentions are forms of attention with four heads of three dimensions.
var attentions = map[string]string{
	"separate": `
		x: N 4 6
		q0 = MatMul(x, wq[6 12])
		q = Add(q0, bq[12])
		k0 = MatMul(x, wk[6 12])
		k = Add(k0, bk[12])
		v0 = MatMul(x, wv[6 12])
		v = Add(v0, bv[12])
		q2 = Reshape(q, s1{0 0 4 3})
		k2 = Reshape(k, s2{0 0 4 3})
		v2 = Reshape(v, s3{0 0 4 3})
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s0 = MatMul(q3, k3)
		s = Mul(s0, third<0.3>)
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
	"stacked": `
		x: N 4 6
		qkv0 = MatMul(x, wqkv[6 36])
		qkv = Add(qkv0, bqkv[36])
		r = Reshape(qkv, s1{0 0 3 4 3})
		t = Transpose(r) perm=2,0,3,1,4
		q = Gather(t, i0{=0}) axis=0
		k = Gather(t, i1{=1}) axis=0
		v = Gather(t, i2{=2}) axis=0
		kt = Transpose(k) perm=0,1,3,2
		s = MatMul(q, kt)
		p = Softmax(s) axis=-1
		a = MatMul(p, v)
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
}

// Dimensions of heads that hold nothing of their own are cut without loss, of queries and keys
// together and of values, whether heads go as well or not.
func TestDimensionsOfHeadsAreCutBack(t *testing.T) {
	enginetest.Require(t)
	for name, text := range attentions {
		t.Run(name, func(t *testing.T) {
			m := Parsed(t, text)
			d := modeltest.Noise(t, m, 60, 3)
			s := subject(t, m)
			wider := edit.Maps{}
			for sp := range innerOf(t, s, 3) {
				wider[sp] = spread(sp, 5)
			}
			wide, err := edit.Edit(s, wider)
			if err != nil {
				t.Fatal(err)
			}
			want := modeltest.Outputs(t, m, d)
			if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, wide, d)); !(diff < 1e-4) {
				t.Fatalf("wider it is %g off", diff)
			}
			ws := subject(t, wide)
			narrow := func(widths map[*coupling.Space]int) ([]float64, edit.Maps) {
				t.Helper()
				res, err := choose.Select(context.Background(), ws, widths, nil, choose.Options{Data: d})
				if err != nil {
					t.Fatal(err)
				}
				out, err := edit.Edit(ws, res.Maps)
				if err != nil {
					t.Fatal(err)
				}
				return modeltest.Outputs(t, out, d), res.Maps
			}
			dims := innerOf(t, ws, 3)
			cut, _ := narrow(dims)
			if diff := modeltest.MaxDiff(t, want, cut); !(diff < 1e-3) {
				t.Errorf("cut back it is %g off", diff)
			}
			heads := map[*coupling.Space]int{}
			for _, sp := range ws.Analysis.Spaces {
				if sp.Heads && sp.Narrowable() {
					heads[sp] = 2
				}
			}
			both := maps.Clone(heads)
			maps.Copy(both, dims)
			have, res := narrow(both)
			alone := edit.Maps{}
			for sp := range heads {
				alone[sp] = res[sp]
			}
			out, err := edit.Edit(ws, alone)
			if err != nil {
				t.Fatal(err)
			}
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, out, d), have); !(diff < 1e-3) {
				t.Errorf("cut back beside heads it is %g off", diff)
			}
		})
	}
}

// innerOf gives the dimensions of heads a width: those of queries and keys, and those of values, which
// are one space where all three are made as one tensor and taken out of it by index.
func innerOf(t *testing.T, s *edit.Subject, width int) map[*coupling.Space]int {
	t.Helper()
	out := map[*coupling.Space]int{}
	for _, sp := range s.Analysis.Spaces {
		if sp.Inner {
			out[sp] = width
		}
	}
	if len(out) == 0 {
		t.Fatal("there are no dimensions of heads")
	}
	return out
}

// spread writes the dimensions of every head in more, by a random matrix and its pseudoinverse; one
// with orthonormal columns is its own.
func spread(sp *coupling.Space, k int) *edit.Map {
	rng := rand.New(rand.NewPCG(3, uint64(len(sp.Uses))))
	m := &edit.Map{Pieces: []int{k}}
	for range sp.Groups {
		in := mat.NewDense(k, sp.Width, nil)
		for i := range k {
			for c := range sp.Width {
				in.Set(i, c, rng.NormFloat64())
			}
		}
		if sp.Paired {
			var qr mat.QR
			qr.Factorize(in)
			var q mat.Dense
			qr.QTo(&q)
			in = mat.DenseCopyOf(q.Slice(0, k, 0, sp.Width))
		}
		var square, inverse, back mat.Dense
		square.Mul(in.T(), in)
		if err := inverse.Inverse(&square); err != nil {
			panic(err)
		}
		back.Mul(in, &inverse) // the transposed pseudoinverse
		t := edit.Transfer{In: make(edit.Rows, k), OutT: make(edit.Rows, k)}
		for i := range k {
			for c := range sp.Width {
				t.In[i] = append(t.In[i], edit.Entry{Col: c, Val: in.At(i, c)})
				t.OutT[i] = append(t.OutT[i], edit.Entry{Col: c, Val: back.At(i, c)})
			}
		}
		m.Groups = append(m.Groups, t)
	}
	return m
}
