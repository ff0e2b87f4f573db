package choose

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// randomLens makes a consumer of n channels with taps places each, behind some places of no
// channel.
func randomLens(rng *rand.Rand, n, taps, outputs int) *lens {
	d := n*taps + 3
	x := mat.NewDense(2*d, d, nil)
	for i := range 2 * d {
		for j := range d {
			x.Set(i, j, rng.NormFloat64()*float64(1+j%4))
		}
	}
	l := &lens{gram: mat.NewSymDense(d, nil), w: mat.NewDense(outputs, d, nil)}
	l.gram.SymOuterK(1/float64(2*d), x.T())
	for i := range outputs {
		for j := range d {
			l.w.Set(i, j, rng.NormFloat64())
		}
	}
	for c := range n {
		var block []int
		for t := range taps {
			block = append(block, 3+t*n+c)
		}
		l.blocks = append(l.blocks, block)
	}
	return l
}

// lost is the share of what a consumer computes that is lost without the given channels, its other
// weights refitted, straight from the definition.
func (l *lens) lost(t *testing.T, channels []int) float64 {
	t.Helper()
	d := l.gram.SymmetricDim()
	g := mat.NewSymDense(d, nil)
	g.CopySym(l.gram)
	for i := range d {
		g.SetSym(i, i, g.At(i, i)+1e-4*mat.Trace(l.gram)/float64(d))
	}
	var keep []int
	for i := range d {
		if !slices.ContainsFunc(channels, func(c int) bool { return slices.Contains(l.blocks[c], i) }) {
			keep = append(keep, i)
		}
	}
	kk, kn := mat.NewDense(len(keep), len(keep), nil), mat.NewDense(len(keep), d, nil)
	for a, i := range keep {
		for b, j := range keep {
			kk.Set(a, b, g.At(i, j))
		}
		for j := range d {
			kn.Set(a, j, g.At(i, j))
		}
	}
	var r, wg mat.Dense // x ≈ rᵀ·x_keep
	if err := r.Solve(kk, kn); err != nil {
		t.Fatal(err)
	}
	missing := mat.NewDense(d, d, nil)
	missing.CloneFrom(g)
	var explained mat.Dense
	explained.Mul(kn.T(), &r)
	missing.Sub(missing, &explained)
	trace := func(m mat.Matrix) float64 {
		wg.Reset()
		wg.Mul(l.w, m)
		s := 0.0
		for i := range l.w.RawMatrix().Rows {
			s += mat.Dot(wg.RowView(i), l.w.RowView(i))
		}
		return s
	}
	return trace(missing) / trace(l.gram)
}

func TestEliminateCountsWhatIsLost(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	const n = 12
	lenses := []*lens{randomLens(rng, n, 3, 5), randomLens(rng, n, 1, 20)}
	e := eliminate(lenses, newRanges(n, 2, nil, nil), true)
	if len(e.removed) != n-2 {
		t.Fatalf("%d channels removed, want %d", len(e.removed), n-2)
	}
	for r := range e.removed {
		want := 0.0
		for _, l := range lenses {
			want += l.lost(t, e.removed[:r+1]) / float64(len(lenses))
		}
		if math.Abs(e.error[r]-want) > 1e-9*want {
			t.Errorf("after %d removals %g is lost, by definition %g", r+1, e.error[r], want)
		}
		// No other channel would have cost less.
		for c := range n {
			if slices.Contains(e.removed[:r+1], c) {
				continue
			}
			other := 0.0
			for _, l := range lenses {
				other += l.lost(t, append(slices.Clone(e.removed[:r]), c)) / float64(len(lenses))
			}
			if other < want*(1-1e-9) {
				t.Errorf("removal %d: channel %d costs %g, the one taken %g", r+1, c, other, want)
			}
		}
	}
}

func TestEliminateLeavesOneOfEachPiece(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	e := eliminate([]*lens{randomLens(rng, 9, 2, 4)}, newRanges(9, 3, []int{0, 2, 5, 9}, nil), true)
	kept := e.kept(9, 3)
	if len(kept) != 3 || kept[0] > 1 || kept[1] < 2 || kept[1] > 4 || kept[2] < 5 {
		t.Errorf("kept %v", kept)
	}
}

func TestSquareRoot(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	x := mat.NewDense(7, 4, nil) // of rank 4
	for i := range 7 {
		for j := range 4 {
			x.Set(i, j, rng.NormFloat64())
		}
	}
	s := mat.NewSymDense(7, nil)
	s.SymOuterK(1, x)
	a := squareRoot(s)
	var back mat.Dense
	back.Mul(a.T(), a)
	if !mat.EqualApprox(&back, s, 1e-9) {
		t.Errorf("AᵀA is\n%v\nwant\n%v", mat.Formatted(&back), mat.Formatted(s))
	}
}

// Spaces too wide to be eliminated lose first what adds least, and keep a channel of every piece.
func TestRank(t *testing.T) {
	n := 6
	r := &sight{moments: moments{n: n, rows: 1, sum: make([]float64, n), gram: make([]float64, n*n)}, sens: sensitivity{own: make([]float64, n)}}
	for p, v := range []float64{5, 1, 4, 3, 0.5, 0.25} {
		r.gram[p*n+p] = v
		r.sens.own[p] = 2
	}
	e := rank([]*sight{r}, newRanges(n, 2, []int{0, 4, 6}, nil))
	if want := []int{5, 1, 3, 2}; !slices.Equal(e.removed, want) {
		t.Errorf("removed %v, want %v", e.removed, want)
	}
	if got, want := e.error[3], 8.25/13.75; math.Abs(got-want) > 1e-12 {
		t.Errorf("%g is lost, want %g", got, want)
	}
}
