package coupling_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
)

// block is a residual block around what a normalisation makes: n of s, which the test says.
const block = `
	x: N 5 7
	a = MatMul(x, w0[7 12])
	s = Add(a, pos[5 12])
	%
	u = MatMul(n, w1[12 10])
	v = Relu(u)
	w = MatMul(v, w2[10 12])
	r = Add(s, w)
	o = RMSNormalization(r, g9[12])
	y = MatMul(o, w3[12 3])
	opset 23`

// streams are normalisations as they are written, and what may act on the stream that they read:
// "" where that is a rotation, once scales are folded, else a part of the reason.
var streams = []struct{ name, norm, hinders string }{
	{"LayerNormalization", `n = LayerNormalization(s, g[12], b[12])`, ""},
	{"without an offset", `n = LayerNormalization(s, g[12])`, ""},
	{"RMSNormalization", `n = RMSNormalization(s, g[12])`, ""},
	{"LayerNormalization written out", `
		m = ReduceMean(s, ax{-1})
		d = Sub(s, m)
		q = Pow(d, two<2>)
		t = ReduceMean(q, ax)
		t1 = Add(t, eps<0.00001>)
		t2 = Sqrt(t1)
		z = Div(d, t2)
		z1 = Mul(z, g[12])
		n = Add(z1, b[12])`, ""},
	{"mean of squares less the square of the mean", `
		m = ReduceMean(s, ax{-1})
		q = Mul(s, s)
		t = ReduceMean(q, ax)
		mm = Mul(m, m)
		t0 = Sub(t, mm)
		t1 = Add(t0, eps<0.00001>)
		t2 = Sqrt(t1)
		d = Sub(s, m)
		z = Div(d, t2)
		n = Mul(g[12], z)`, ""},
	{"RMSNormalization written out", `
		q = Pow(s, two<2>)
		t = ReduceMean(q, ax{-1})
		t1 = Add(t, eps<0.00001>)
		t2 = Sqrt(t1)
		t3 = Reciprocal(t2)
		z = Mul(s, t3)
		n = Mul(g[12], z)`, ""},
	{"a skip connection in the operator", `n = com.microsoft.SkipLayerNormalization(s, a, g[12], b[12])`, ""},
	{"two readers, one behind a mean", `
		n = LayerNormalization(s, g[12], b[12])
		p = ReduceMean(n, ax{1})
		k = MatMul(p, w5[12 10])
		k1 = Sigmoid(k)`, ""},
	{"a scale on the stream", `n0 = Mul(s, g[12])
		n = RMSNormalization(n0, g2[12])`, `Mul "Mul_n0" scales each channel by a number of its own on the way of RMSNormalization`},
	{"post-norm", `
		n = LayerNormalization(s, g[12], b[12])
		p = Add(n, a)
		k = MatMul(p, w5[12 10])`, `LayerNormalization "LayerNormalization_n" scales each channel by a number of its own on the way of Add "Add_p"`},
	{"a nonlinear operator", `n0 = LayerNormalization(s, g[12], b[12])
		n = Tanh(n0)`, `Tanh "Tanh_n" acts on each of its channels by itself`},
	{"a convolution of positions in groups", `
		t = Transpose(s) perm=0,2,1
		c = Conv(t, w5[12 6 3], b5[12]) group=2 pads=1,1
		d = Transpose(c) perm=0,2,1
		e = Gelu(d)
		f = Add(s, e)
		n = LayerNormalization(f, g[12], b[12])`, `its channels stand beside others on one axis`},
	{"a sum of squares", `
		q = ReduceSumSquare(s, ax{-1})
		t2 = Sqrt(q)
		n = Div(s, t2)`, `ReduceSumSquare "ReduceSumSquare_q" acts on each of its channels by itself`},
}

// A stream over whose channels normalisations take statistics can be rotated where nothing on it
// tells its channels apart; what hinders is named. The identities show that rotations are exact.
func TestStreams(t *testing.T) {
	for _, c := range streams {
		t.Run(c.name, func(t *testing.T) {
			m := graph(t, strings.Replace(block, "%", strings.TrimSpace(c.norm), 1))
			s := stream(t, subject(t, m))
			if c.hinders != "" {
				if s == nil || !strings.Contains(s.Bent+s.Skewed, c.hinders) {
					t.Errorf("%v; want it to say %q", s, c.hinders)
				}
				return
			}
			if s == nil || s.Bent != "" || s.Skewed != "" {
				t.Fatalf("%v", s)
			}
			if s.Rotates() {
				t.Error("its scales are not folded, but it rotates")
			}
			identities(t, m)
			before := subject(t, m)
			folded, n, err := edit.FoldScales(before, before.Analysis.Spaces)
			if err != nil {
				t.Fatal(err)
			}
			if s := stream(t, subject(t, folded)); !s.Rotates() {
				t.Errorf("%d scales folded: %v", n, s)
			}
		})
	}
}

// A stream that is normalised in groups, which can be removed whole, is not selected within them too:
// half of its channels would be a quarter.
func TestStreamInGroups(t *testing.T) {
	m := graph(t, `
		x: N 3 4 4
		a = Conv(x, w0[16 3 1 1])
		g = Reshape(a, rg{0 4 -1})
		i = InstanceNormalization(g, s1[4], b1[4])
		h = Reshape(i, rh{0 16 4 4})
		r = Relu(h)
		c = Conv(r, w1[16 16 1 1])
		s = Add(a, c)
		k = Reshape(s, rg)
		j = InstanceNormalization(k, s1, b1)
		l = Reshape(j, rh)
		y = Conv(l, w2[5 16 1 1])`)
	var slim []string
	for _, s := range subject(t, m).Analysis.Spaces {
		if s.Slimmable() {
			slim = append(slim, fmt.Sprint(s.Name, " ", s.Width))
		}
	}
	if len(slim) != 1 {
		t.Errorf("%q can get narrower, want one", slim)
	}
}

// stream is that of the one space of a subject that has one.
func stream(t *testing.T, s *edit.Subject) (out *coupling.Stream) {
	t.Helper()
	for _, sp := range s.Analysis.Spaces {
		if sp.Stream == nil {
			continue
		}
		if out != nil {
			t.Fatal("two streams")
		}
		if out = sp.Stream; !sp.Slimmable() || sp.Narrowable() {
			t.Errorf("space %q: slimmable %v, narrowable %v", sp.Name, sp.Slimmable(), sp.Narrowable())
		}
	}
	return out
}
