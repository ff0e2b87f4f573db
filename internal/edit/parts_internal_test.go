package edit

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/modeltest"
)

// A weight comes out the same, read at once and a few rows at a time, with maps that pick channels
// and maps that write them out of others.
func TestWeightsByParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	byParts := 0
	for _, name := range []string{"mlp_a", "cnn_a", "vit_a"} {
		s, err := NewSubject(modeltest.Load(t, name), coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		maps := Maps{}
		for _, sp := range s.Analysis.Spaces {
			if !sp.Narrowable() || len(sp.Pieces) != 1 || sp.Index != nil || sp.Width < 4 {
				continue
			}
			keep := rng.Perm(sp.Width)[:sp.Width/2]
			slices.Sort(keep)
			g := Transfer{In: make(Rows, len(keep)), OutT: make(Rows, len(keep))}
			for i, p := range keep {
				g.In[i], g.OutT[i] = []Entry{{p, 1}}, []Entry{{p, 1}}
			}
			g.Rest = &LowRank{dense.New[float64](len(keep), 2, nil), dense.New[float64](2, sp.Width, nil)}
			for _, v := range [][]float64{g.Rest.Left.Data, g.Rest.Right.Data} {
				for i := range v {
					v[i] = rng.NormFloat64()
				}
			}
			maps[sp] = &Map{Pieces: []int{len(keep)}, Groups: []Transfer{g}}
		}
		tr := NewTransform(s.Analysis, maps)
		for _, w := range s.Analysis.Weights {
			if !slices.ContainsFunc(w.Axes, tr.touches) {
				continue
			}
			want, err := tr.moved(s, w)
			if err != nil {
				t.Fatal(err)
			}
			data, dims, ok, err := tr.applyByParts(s, w, 50)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				continue
			}
			byParts++
			if !slices.Equal(dims, want.Dims) || !slices.Equal(data, want.F32) {
				t.Errorf("%s, weight %q: %v by parts, %v at once, or other numbers", name, w.Name, dims, want.Dims)
			}
		}
	}
	if byParts < 3 {
		t.Errorf("only %d weights can be read by parts", byParts)
	}
}
