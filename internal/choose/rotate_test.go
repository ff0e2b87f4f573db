package choose_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
)

// A stream that has more coordinates than directions is cut back exactly, whatever the
// normalisation: rotated, permuted or doubled, it is the model that it was.
func TestStreamsWithoutATailAreCutBackExactly(t *testing.T) {
	enginetest.Require(t)
	const n = 12
	perm := rand.New(rand.NewPCG(4, 2)).Perm(2 * n)
	wider := map[string]func(i, c int) float64{ // rows of matrices with orthonormal columns
		"doubled": func(i, c int) float64 {
			if i%n == c {
				return math.Sqrt(0.5)
			}
			return 0
		},
		"doubled and permuted": func(i, c int) float64 {
			if perm[i]%n == c {
				return math.Sqrt(0.5)
			}
			return 0
		},
		"rotated": rotation(2*n, n),
	}
	forms := map[string]string{
		"LayerNormalization": modeltest.PreNorm,
		"RMSNormalization":   strings.NewReplacer("LayerNormalization", "RMSNormalization", ", b1[12])", ")", ", b2[12])", ")").Replace(modeltest.PreNorm),
	}
	for form, text := range forms {
		for how, p := range wider {
			t.Run(form+" "+how, func(t *testing.T) {
				m := Parsed(t, text)
				d := modeltest.Noise(t, m, 40, 3)
				want := modeltest.Outputs(t, m, d)
				s := folded(t, subject(t, m))
				wide, err := edit.Edit(s, edit.Maps{onlyStream(t, s): turning(onlyStream(t, s), 2*n, p)})
				if err != nil {
					t.Fatal(err)
				}
				if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, wide, d)); !(diff < 1e-4) {
					t.Fatalf("wider it is %g off", diff)
				}
				ws := subject(t, wide)
				res, err := choose.Select(context.Background(), ws, map[*coupling.Space]int{onlyStream(t, ws): n}, nil, choose.Options{Data: d})
				if err != nil {
					t.Fatal(err)
				}
				narrow, err := edit.Edit(ws, res.Maps)
				if err != nil {
					t.Fatal(err)
				}
				if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, narrow, d)); !(diff < 1e-4) {
					t.Errorf("cut back it is %g off", diff)
				}
			})
		}
	}
}

// folded is a subject with the scales of its streams folded.
func folded(t *testing.T, s *edit.Subject) *edit.Subject {
	t.Helper()
	m, n, err := edit.FoldScales(s, s.Analysis.Spaces)
	if err != nil || n != 2 {
		t.Fatalf("%d scales folded: %v", n, err)
	}
	return subject(t, m)
}

func onlyStream(t *testing.T, s *edit.Subject) *coupling.Space {
	t.Helper()
	for _, sp := range s.Analysis.Spaces {
		if sp.Stream.Rotates() {
			return sp
		}
	}
	t.Fatal("there is no stream that rotates")
	return nil
}

// turning leads a stream to k channels by a k×n matrix with orthonormal columns.
func turning(sp *coupling.Space, k int, p func(i, c int) float64) *edit.Map {
	m := &edit.Map{Pieces: []int{k}, Scale: map[string]edit.Rows{}}
	for _, s := range sp.Stream.Scales {
		m.Scale[s.Weight] = slices.Repeat(edit.Rows{{{Col: 0, Val: 1}}}, k)
	}
	scale := math.Sqrt(float64(k) / float64(sp.Width))
	g := edit.Transfer{In: make(edit.Rows, k), OutT: make(edit.Rows, k)}
	for i := range k {
		for c := range sp.Width {
			g.In[i] = append(g.In[i], edit.Entry{Col: c, Val: scale * p(i, c)})
			g.OutT[i] = append(g.OutT[i], edit.Entry{Col: c, Val: p(i, c) / scale})
		}
	}
	m.Groups = []edit.Transfer{g}
	return m
}

// rotation is a random matrix with orthonormal columns that leads ones to ones.
func rotation(k, n int) func(i, c int) float64 {
	basis := func(n int, seed uint64) *mat.Dense {
		rng := rand.New(rand.NewPCG(seed, 9))
		x := mat.NewDense(n, n, nil)
		for i := range n {
			x.Set(i, 0, 1)
			for j := 1; j < n; j++ {
				x.Set(i, j, rng.NormFloat64())
			}
		}
		var qr mat.QR
		qr.Factorize(x)
		var q mat.Dense
		qr.QTo(&q)
		if q.At(0, 0) < 0 {
			q.Scale(-1, &q)
		}
		return &q
	}
	to, from := basis(k, 1), basis(n, 2)
	var p mat.Dense
	p.Mul(to.Slice(0, k, 0, n), from.T())
	return p.At
}
