package match_test

import (
	"strings"
	"testing"

	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/onnxio"
)

// maskedAttention is an attention of one head, whose scores MASK hides.
const maskedAttention = `
	x: N 4 6
	q = MatMul(x, wq[6 8])
	k = MatMul(x, wk[6 8])
	v = MatMul(x, wv[6 8])
	kt = Transpose(k) perm=0,2,1
	s = MatMul(q, kt)
	MASK
	p = Softmax(m) axis=-1
	o = MatMul(p, v)
	y = MatMul(o, wo[8 5])`

// causalMasks let attention not see what follows, openMasks let it.
var causalMasks = map[string]string{
	"computed, added": `i = Range(nought{0}, four{4}, one{1})
	r = Unsqueeze(i, ax1{1})
	c = Unsqueeze(i, ax0{0})
	b = LessOrEqual(c, r)
	w = Where(b, zero<0>, low<-10000>)
	m = Add(s, w)`,
	"a triangle": `sh = Shape(s)
	f = ConstantOfShape(sh)
	g = Cast(f) to=1
	n = Sub(g, big<10000>)
	t = Trilu(n, k1{1}) upper=1
	m = Add(t, s)`,
	"stored": "m = Add(s, w[4 4])",
}

var openMasks = map[string]string{
	"none": `m = Identity(s)`,
	"of single positions": `i = Range(nought{0}, four{4}, one{1})
	c = Unsqueeze(i, ax0{0})
	b = Less(c, three{3})
	w = Where(b, zero<0>, low<-10000>)
	m = Add(s, w)`,
}

// A network that sees what follows a position is another one than one that does not, in whatever way
// masks are spelled.
func TestMasksAreCompared(t *testing.T) {
	with := func(mask string) *edit.Subject {
		m := parsed(t, "opset 17"+strings.Replace(maskedAttention, "MASK", mask, 1))
		g, err := m.Graph()
		if err != nil {
			t.Fatal(err)
		}
		if w := g.Constant("w"); w != nil && len(w.Dims) == 2 {
			v := make([]float64, 16)
			for i := range v {
				if i%4 > i/4 {
					v[i] = -10000
				}
			}
			if err := g.SetConstant(onnxio.NewTensor("w", onnxio.Float, []int{4, 4}, v)); err != nil {
				t.Fatal(err)
			}
			g.Commit()
		}
		return Subject(t, m)
	}
	pair := func(a, b string) error {
		_, err := match.Pair(with(a), with(b))
		return err
	}
	for one, a := range causalMasks {
		for other, b := range causalMasks {
			if err := pair(a, b); err != nil {
				t.Errorf("%s does not fit %s: %v", one, other, err)
			}
		}
		for other, b := range openMasks {
			for _, m := range [][2]string{{a, b}, {b, a}} {
				if err := pair(m[0], m[1]); err == nil || !strings.Contains(err.Error(), "hides what follows") {
					t.Errorf("%s and %s: error %v", one, other, err)
				}
			}
		}
	}
}
