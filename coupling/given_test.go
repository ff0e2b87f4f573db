package coupling_test

import (
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/edit"
)

// Sizes given for the analysis are those of no run: an Expand to as many rows as there are samples,
// times a stored number of heads, is not written down, nor is a division by heads.
func TestGivenSizesAreNotWritten(t *testing.T) {
	enginetest.Require(t)
	m := graph(t, `
		x: N 4 5
		q = MatMul(x, wq[5 12])
		q1 = Reshape(q, rs{0 4 6 2})
		q2 = Transpose(q1) perm=0,2,1,3
		q3 = Reshape(q2, rt{-1 4 2})
		i = Unsqueeze(z{0 1 0}, ax{0 1})
		n = Shape(x) start=0 end=1
		h = Mul(six{6}, n)
		to = Concat(h, rest{4 1}) axis=0
		e = Expand(i, to)
		g = GatherElements(q3, e) axis=2
		s = Shape(g) start=0 end=1
		b = Div(s, six)
		u = Concat(b, tail{6 4 3}) axis=0
		r = Reshape(g, u)
		t = Transpose(r) perm=0,2,3,1
		y = MatMul(t, w2[6 3])`)
	s, err := edit.NewSubject(m, coupling.Options{InputShapes: map[string][]int{"x": {3, 4, 5}}})
	if err != nil {
		t.Fatal(err)
	}
	feeds := randomFeeds(t, m) // of another number of samples
	want := run(t, m, feeds)
	for _, sp := range s.Analysis.Spaces {
		if sp.Frozen {
			continue
		}
		if d := distance(t, want, run(t, edited(t, s, edit.Maps{sp: permutation(sp)}), feeds)); !(d <= tolerance) {
			t.Errorf("space %q: permuting changes outputs by %.2g", sp.Name, d)
		}
		if sp.Narrowable() && sp.Width > 1 {
			run(t, edited(t, s, edit.Maps{sp: selection(sp, subset(sp))}), feeds)
		}
	}
}
