package coupling_test

import (
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/edit"
)

// Means and sums over hidden channels are products in the model that is edited, so that fewer
// channels may be left, and are written as they were where all are.
func TestReductionsOverChannels(t *testing.T) {
	enginetest.Require(t)
	for name, text := range map[string]string{
		"global response normalisation": `
			opset 18
			x: N 3 6 6
			a = Conv(x, w1[8 3 1 1], b1[8])
			r = Relu(a)
			n = ReduceL2(r, ax{2 3}) keepdims=1
			m = ReduceMean(n, ay{1}) keepdims=1
			e = Add(m, eps<0.1>)
			d = Div(n, e)
			s = Mul(r, d)
			g = Mul(s, gamma[8 1 1])
			h = Add(g, r)
			y = Conv(h, w2[5 8 1 1])`,
		"of the last axis": `
			opset 18
			x: N 4 3
			a = MatMul(x, w1[3 8])
			r = Relu(a)
			n = ReduceL2(r, ax{1}) keepdims=1
			m = ReduceMean(n, ay{-1}) keepdims=1
			d = Div(n, m)
			s = Mul(r, d)
			y = MatMul(s, w2[8 5])`,
		"a dot product": `
			opset 18
			x: N 3
			a = MatMul(x, w1[3 8])
			r = Relu(a)
			s = Mul(r, w2[8])
			y = ReduceSum(s, ay{-1}) keepdims=0`,
	} {
		t.Run(name, func(t *testing.T) {
			m := graph(t, text)
			s := subject(t, m)
			found := false
			for _, sp := range s.Analysis.Spaces {
				found = found || sp.Width == 8 && sp.Narrowable()
			}
			if !found {
				t.Errorf("the hidden channels cannot be narrowed: %v", describe(s.Analysis))
			}
			identities(t, m)
			same, err := edit.Edit(s, edit.Maps{})
			if err == nil {
				err = s.Reshare(same)
			}
			if err != nil {
				t.Fatal(err)
			}
			var ops []string
			for _, n := range same.Proto.GetGraph().GetNode() {
				ops = append(ops, n.GetOpType())
			}
			if got := strings.Join(ops, " "); !strings.Contains(got, "ReduceMean") && !strings.Contains(got, "ReduceSum") {
				t.Errorf("unchanged, it is written as %s", got)
			}
			if got, want := len(same.Proto.GetGraph().GetInitializer()), len(m.Proto.GetGraph().GetInitializer()); got != want {
				t.Errorf("unchanged, it has %d constants, want %d", got, want)
			}
		})
	}
}

// A bias of zeros that is stored once for queries and keys is added to both: what is made of it is
// turned by a matrix on one side, and by its inverse transposed on the other.
func TestOneBiasOfQueriesAndKeys(t *testing.T) {
	enginetest.Require(t)
	m := graph(t, `
		x: N 4 8
		q = MatMul(x, wq[8 8])
		k = MatMul(x, wk[8 8])
		v = MatMul(x, wv[8 8])
		qb = Add(q, b[8])
		kb = Add(k, b)
		q1 = Reshape(qb, rs{0 0 2 4})
		k1 = Reshape(kb, rs)
		v1 = Reshape(v, rs)
		q2 = Transpose(q1) perm=0,2,1,3
		k2 = Transpose(k1) perm=0,2,3,1
		v2 = Transpose(v1) perm=0,2,1,3
		s = MatMul(q2, k2)
		p = Softmax(s) axis=-1
		a = MatMul(p, v2)
		a1 = Transpose(a) perm=0,2,1,3
		a2 = Reshape(a1, rb{0 0 8})
		y = MatMul(a2, wo[8 3])`)
	for _, sp := range subject(t, m).Analysis.Spaces {
		if sp.Paired {
			t.Errorf("space %q: %s", sp.Name, sp.Rigid)
		}
	}
	identities(t, m)
}
