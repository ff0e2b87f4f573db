package match_test

import (
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

const heads = `
	x: N 5 6
	h = MatMul(x, w0[6 12])
	QKV
	q3 = Transpose(q2) perm=0,2,1,3
	k3 = Transpose(k2) perm=0,2,3,1
	v3 = Transpose(v2) perm=0,2,1,3
	s = MatMul(q3, k3)
	p = Softmax(s) axis=-1
	o1 = MatMul(p, v3)
	o2 = Transpose(o1) perm=0,2,1,3
	o3 = Reshape(o2, rb{0 0 -1})
	o4 = MatMul(o3, wo[12 12])
	z = Add(o4, h)
	y = MatMul(z, w1[12 4])`

const apart = `qm = MatMul(h, wq[12 12])
	km = MatMul(h, wk[12 12])
	vm = MatMul(h, wv[12 12])
	qa = Add(qm, bq[12])
	ka = Add(km, bk[12])
	va = Add(vm, bv[12])
	q2 = Reshape(qa, rs{0 0 3 4})
	k2 = Reshape(ka, rs)
	v2 = Reshape(va, rs)`

// packed make queries, keys and values by one operator.
var packed = map[string]string{
	"split": `m = MatMul(h, w[12 36])
	a = Add(m, b[36])
	qs ks vs = Split(a, sz{12 12 12}) axis=-1
	q2 = Reshape(qs, rs{0 0 3 4})
	k2 = Reshape(ks, rs)
	v2 = Reshape(vs, rs)`,
	"sliced, by Gemm": `r = Reshape(h, flat{-1 12})
	m = Gemm(r, w[36 12], b[36]) transB=1
	a = Reshape(m, back{-1 5 36})
	qs = Slice(a, n0{0}, n1{12}, ax{2})
	ks = Slice(a, n1, n2{24}, ax)
	vs = Slice(a, n2, n3{36}, ax)
	q2 = Reshape(qs, rs{0 0 3 4})
	k2 = Reshape(ks, rs)
	v2 = Reshape(vs, rs)`,
	"picked": `m = MatMul(h, w[12 36])
	a = Add(m, b[36])
	f = Reshape(a, rf{0 0 3 3 4})
	qg = Gather(f, n0{0}) axis=2
	kg = Gather(f, n1{1}) axis=2
	vg = Gather(f, ax{2}) axis=2
	q2 = Squeeze(qg, ax)
	k2 = Squeeze(kg, ax)
	v2 = Squeeze(vg, ax)`,
}

// Queries, keys and values made by one operator, whose channels are parted then, pair with those made
// by three, both ways.
func TestPartsOfOneOperator(t *testing.T) {
	enginetest.Require(t)
	for name, text := range packed {
		one := parsed(t, strings.Replace(heads, "QKV", text, 1))
		three := parsed(t, strings.Replace(heads, "QKV", apart, 1))
		for _, pair := range [][2]*onnxio.Model{{one, three}, {three, one}} {
			a, b := Subject(t, disordered(t, pair[0])), Subject(t, pair[1])
			p, err := match.Pair(a, b)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			d := modeltest.Noise(t, one, 4, 1)
			want := modeltest.Outputs(t, pair[0], d)
			if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, p.Source().Model, d)); !(diff < 1e-5) {
				t.Errorf("%s: written as the other it differs by %g", name, diff)
			}
		}
	}
}
