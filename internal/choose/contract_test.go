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

// Dimensions of heads that hold nothing of their own are cut without loss, of queries and keys
// together and of values, whether heads go as well or not.
func TestDimensionsOfHeadsAreCutBack(t *testing.T) {
	enginetest.Require(t)
	for name, text := range modeltest.Attentions() {
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
