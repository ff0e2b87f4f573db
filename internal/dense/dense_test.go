package dense

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"
)

func random[T Float](rng *rand.Rand, rows, cols int) Matrix[T] {
	m := New[T](rows, cols, nil)
	for i := range m.Data {
		m.Data[i] = T(rng.NormFloat64())
	}
	return m
}

// wide returns a copy of m, as float64, in which rows are farther apart.
func wide[T Float](m Matrix[T]) Matrix[float64] {
	w := Matrix[float64]{m.Rows, m.Cols, m.Cols + 3, 1, make([]float64, m.Rows*(m.Cols+3))}
	for i := range m.Rows {
		for j := range m.Cols {
			w.Data[i*w.Row+j] = float64(m.Data[i*m.Row+j*m.Col])
		}
	}
	return w
}

// naive returns c + alpha·a·b, element by element.
func naive[A, B Float](c Matrix[float64], alpha float64, a Matrix[A], b Matrix[B]) Matrix[float64] {
	out := wide(c)
	for i := range c.Rows {
		for j := range c.Cols {
			s := 0.0
			for k := range a.Cols {
				s += float64(a.Data[i*a.Row+k*a.Col]) * float64(b.Data[k*b.Row+j*b.Col])
			}
			out.Data[i*out.Row+j] += alpha * s
		}
	}
	return out
}

func maxDiff(a, b Matrix[float64]) float64 {
	d := 0.0
	for i := range a.Rows {
		for j := range a.Cols {
			d = max(d, math.Abs(a.Data[i*a.Row+j*a.Col]-b.Data[i*b.Row+j*b.Col]))
		}
	}
	return d
}

var kernels = map[string]tileFunc{"go": tileGo, "fastest": tile()}

func TestAddMul(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, f := range kernels {
		for _, s := range [][3]int{{1, 1, 1}, {6, 8, 4}, {5, 7, 3}, {13, 17, 300}, {100, 2051, 5}, {97, 9, 513}, {200, 210, 257}} {
			c := wide(random[float64](rng, s[0], s[1]))
			a, b := random[float64](rng, s[0], s[2]), random[float32](rng, s[2], s[1])
			for _, transposed := range []bool{false, true} {
				a, b := a, b
				if transposed { // the same numbers, stored by columns
					a, b = transposedCopy(a), transposedCopy(b)
				}
				want := naive(c, -1.5, a, b)
				got := wide(c)
				addMul(f, got, -1.5, a, b, false)
				if d := maxDiff(got, want); d > 1e-11 {
					t.Errorf("%s %v transposed %v: off by %g", name, s, transposed, d)
				}
			}
		}
	}
}

func transposedCopy[T Float](m Matrix[T]) Matrix[T] {
	out := New[T](m.Cols, m.Rows, nil)
	for i := range m.Rows {
		for j := range m.Cols {
			out.Data[j*out.Row+i] = m.Data[i*m.Row+j*m.Col]
		}
	}
	return out.T()
}

func TestAddGram(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for name, f := range kernels {
		for _, s := range [][2]int{{1, 1}, {6, 3}, {19, 260}, {100, 7}, {301, 40}, {2100, 3}} {
			c := wide(random[float64](rng, s[0], s[0]))
			a := random[float32](rng, s[0], s[1])
			want := naive(c, 2, a, a.T())
			for i := range s[0] { // above the diagonal nothing changes
				for j := i + 1; j < s[0]; j++ {
					want.Data[i*want.Row+j] = c.Data[i*c.Row+j]
				}
			}
			got := wide(c)
			addMul(f, got, 2, a, a.T(), true)
			if d := maxDiff(got, want); d > 1e-11 {
				t.Errorf("%s %v: off by %g", name, s, d)
			}
			full := New[float64](s[0], s[0], nil)
			addMul(f, full, 1, a, a.T(), false)
			half := New[float64](s[0], s[0], nil)
			addMul(f, half, 1, a, a.T(), true)
			Mirror(half)
			if d := maxDiff(full, half); d != 0 {
				t.Errorf("%s %v: a·aᵀ is not the mirrored half, off by %g", name, s, d)
			}
		}
	}
}

// The kernels round differently, but not by more than the order of sums allows.
func TestKernelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, steps := range []int{1, 2, 255} {
		a, b := random[float64](rng, steps, tileRows), random[float64](rng, steps, tileCols)
		x, y := make([]float64, 10*tileRows), make([]float64, 10*tileRows)
		for i := range x {
			x[i] = rng.NormFloat64()
			y[i] = x[i]
		}
		tileGo(steps, a.Data, b.Data, x, 10)
		tile()(steps, a.Data, b.Data, y, 10)
		for i := range x {
			if d := math.Abs(x[i] - y[i]); d > 1e-12 {
				t.Errorf("%d steps, element %d: %g and %g", steps, i, x[i], y[i])
			}
		}
	}
}

func TestCholesky(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 2, 50, 96, 97, 300} {
		x := random[float64](rng, n, n+5)
		g := New[float64](n, n, nil)
		AddGram(g, 1, x)
		Mirror(g)
		want := random[float64](rng, n, 7)
		b := New[float64](n, 7, nil)
		AddMul(b, 1, g, want)
		l := Matrix[float64]{n, n, n, 1, append([]float64(nil), g.Data...)}
		if !Cholesky(l) {
			t.Fatalf("%d: not positive definite", n)
		}
		SolveCholesky(l, b)
		var svd mat.SVD
		svd.Factorize(mat.NewDense(n, n, g.Data), mat.SVDNone)
		if d := maxDiff(b, want); d > 1e-13*svd.Cond()*float64(n) {
			t.Errorf("%d: solution off by %g at condition %g", n, d, svd.Cond())
		}
		g.Data[(n-1)*n+n-1] = -1
		if Cholesky(g) {
			t.Errorf("%d: an indefinite matrix was factorised", n)
		}
	}
}

func BenchmarkAddMul(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{64, 400, 1024} {
		x, y := random[float64](rng, n, n), random[float64](rng, n, n)
		c := New[float64](n, n, nil)
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(n)*float64(n)*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
			})
		}
		run("dense", func() { AddMul(c, 1, x, y.T()) })
		run("go", func() { addMul(tileGo, c, 1, x, y.T(), false) })
		g := blas64.General{Rows: n, Cols: n, Stride: n}
		gx, gy, gc := g, g, g
		gx.Data, gy.Data, gc.Data = x.Data, y.Data, c.Data
		run("gonum", func() { blas64.Gemm(blas.NoTrans, blas.Trans, 1, gx, gy, 1, gc) })
	}
}

func BenchmarkCholesky(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 1152
	x := random[float64](rng, n, n+8)
	g := New[float64](n, n, nil)
	AddGram(g, 1, x)
	Mirror(g)
	b.Run("dense", func(b *testing.B) {
		l := New[float64](n, n, nil)
		for b.Loop() {
			copy(l.Data, g.Data)
			Cholesky(l)
		}
	})
	b.Run("gonum", func(b *testing.B) {
		s := mat.NewSymDense(n, g.Data)
		for b.Loop() {
			var c mat.Cholesky
			c.Factorize(s)
		}
	})
}
