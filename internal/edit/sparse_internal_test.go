package edit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Matrices with few zeros are multiplied by another routine than sparse ones.
func TestApplyDense(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	n, k := 13, 9
	rows := make(Rows, k)
	for j := range rows {
		for p := range n {
			rows[j] = append(rows[j], Entry{p, rng.NormFloat64()})
		}
	}
	for _, dims := range [][]int{{n, 5}, {7, n}, {3, n, 4}, {0, n}, {n}} {
		axis := slices.Index(dims, n)
		outer, inner := 1, 1
		for _, d := range dims[:axis] {
			outer *= d
		}
		for _, d := range dims[axis+1:] {
			inner *= d
		}
		x := make([]float32, outer*n*inner)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		got, size := multiply(x, dims, axis, rows)
		want := slices.Clone(dims)
		want[axis] = k
		if !slices.Equal(size, want) || len(got) != outer*k*inner {
			t.Fatalf("%v became %v, %d numbers", dims, size, len(got))
		}
		for o := range outer {
			for j := range k {
				for i := range inner {
					s := 0.0
					for _, e := range rows[j] {
						s += e.Val * float64(x[(o*n+e.Col)*inner+i])
					}
					if d := math.Abs(s - float64(got[(o*k+j)*inner+i])); d > 1e-5 {
						t.Errorf("%v at %d, %d, %d: off by %g", dims, o, j, i, d)
					}
				}
			}
		}
	}
}

func BenchmarkApply(b *testing.B) {
	n, k := 384, 336
	rows := make(Rows, k)
	for j := range rows {
		for p := range n {
			rows[j] = append(rows[j], Entry{p, float64(p*j%7) - 3})
		}
	}
	for name, dims := range map[string][]int{"tokens": {16, 48, n}, "images": {4, n, 14, 14}} {
		b.Run(name, func(b *testing.B) {
			size := 1
			for _, d := range dims {
				size *= d
			}
			x := make([]float32, size)
			for b.Loop() {
				rows.Apply(x, dims, slices.Index(dims, n))
			}
		})
	}
}
