package ot

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKernelsAgree compares the kernels of this processor with those in Go.
func TestKernelsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	fast := fastest()
	for k := 1; k < 200; k++ {
		costs, v := make([]float64, k), make([]float64, k)
		for j := range costs {
			costs[j] = r.NormFloat64() * math.Exp2(float64(r.IntN(40)-20))
			v[j] = math.Round(math.Ldexp(r.NormFloat64(), 40))
			if r.IntN(8) == 0 {
				v[j] = math.Inf(-1)
			}
		}
		for _, quads := range []int{slim, wide} {
			size := quads * quad
			mins := (k + size - 1) / size * lanes
			got, want := make([]float64, k+mins), make([]float64, k+mins)
			for _, scale := range []float64{1, 0x1p30, 0x1p-600, 0x1p-1022} {
				fast.reduce(costs, v, got[:k], got[k:], quads, scale)
				portable.reduce(costs, v, want[:k], want[k:], quads, scale)
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("reduce %d columns, scale %g, %d quads: %s", k, scale, quads, d)
				}
			}
			for x, m := range want[k:] {
				least := math.Inf(1)
				for j := x/lanes*size + x%lanes; j < min((x/lanes+1)*size, k); j += lanes {
					least = min(least, want[j])
				}
				if m != least {
					t.Fatalf("minimum %d of %d columns, %d quads: %g, want %g", x, k, quads, m, least)
				}
			}
		}
		low := func() []float64 {
			l := make([]float64, k)
			for j := range l {
				l[j] = float64(j%5) - 2
			}
			return l
		}
		lowGot, lowWant := low(), low()
		highGot, zeroGot := fast.foldRow(costs, lowGot)
		highWant, zeroWant := portable.foldRow(costs, lowWant)
		if d := cmp.Diff(lowWant, lowGot); d != "" || highGot != highWant || zeroGot != 0 || zeroWant != 0 {
			t.Fatalf("foldRow of %d columns: %g %g, %g %g: %s", k, highGot, zeroGot, highWant, zeroWant, d)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			costs[r.IntN(k)] = bad
			_, zeroGot = fast.foldRow(costs, lowGot)
			_, zeroWant = portable.foldRow(costs, lowWant)
			if zeroGot == 0 || zeroWant == 0 {
				t.Fatalf("foldRow of %d columns misses %g", k, bad)
			}
		}
	}
}

func BenchmarkKernels(b *testing.B) {
	costs, v, w, mins := make([]float64, 4096), make([]float64, 4096), make([]float64, 4096), make([]float64, 1024)
	for name, ks := range map[string]kernels{"fastest": fastest(), "portable": portable} {
		for _, quads := range []int{slim, wide} {
			b.Run(fmt.Sprintf("reduce/%s/%d", name, quads), func(b *testing.B) {
				b.SetBytes(8 * 4096)
				for b.Loop() {
					ks.reduce(costs, v, w, mins, quads, 1)
				}
			})
		}
		b.Run("foldRow/"+name, func(b *testing.B) {
			b.SetBytes(8 * 4096)
			for b.Loop() {
				ks.foldRow(costs, v)
			}
		})
	}
}
