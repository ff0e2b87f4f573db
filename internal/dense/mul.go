package dense

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/monge-ml/monge/internal/guard"
)

//go:generate go -C asm run . -out ../tile_amd64.s -stubs ../tile_stubs_amd64.go -pkg dense

const (
	tileRows = 6 // the part of a product that is kept in registers
	tileCols = 8

	blockSteps = 256  // terms of all sums that are worked off together: 16 kB of b for each tile
	blockRows  = 96   // rows of a packed at a time: 192 kB
	blockCols  = 2048 // columns of b packed at a time: 4 MB

	parallelWork = 1 << 18 // multiplications below which a second goroutine does not pay
)

// AddMul adds alpha·a·b to c, whose rows must be contiguous (Col 1). It panics if the sizes do not
// fit. The method is that of Goto and van de Geijn (Anatomy of High-Performance Matrix
// Multiplication, ACM Trans. Math. Softw. 34, 2008).
func AddMul[A, B Float](c Matrix[float64], alpha float64, a Matrix[A], b Matrix[B]) {
	addMul(tile(), c, alpha, a, b, false)
}

// AddGram adds alpha·a·aᵀ to the lower triangle of c, that is to (i, j) with j ≤ i, and leaves the
// rest alone.
func AddGram[A Float](c Matrix[float64], alpha float64, a Matrix[A]) {
	addMul(tile(), c, alpha, a, a.T(), true)
}

// Mirror copies the lower triangle of c to the upper.
func Mirror[T Float](c Matrix[T]) {
	const block = 32 // so that both sides stay in the cache
	for i0 := 0; i0 < c.Rows; i0 += block {
		for j0 := 0; j0 <= i0; j0 += block {
			for i := i0; i < min(i0+block, c.Rows); i++ {
				for j := j0; j < min(j0+block, i); j++ {
					c.Data[j*c.Row+i*c.Col] = c.Data[i*c.Row+j*c.Col]
				}
			}
		}
	}
}

// tileFunc adds to a tile of c, whose rows are stride apart, the sum over steps of a[tileRows] by
// b[tileCols].
type tileFunc func(steps int, a, b, c []float64, stride int)

func tileGo(steps int, a, b, c []float64, stride int) {
	// Two rows by four columns at a time: more sums than that would not fit the registers.
	for r := 0; r < tileRows; r += 2 {
		for q := 0; q < tileCols; q += 4 {
			var s00, s01, s02, s03, s10, s11, s12, s13 float64
			for k := range steps {
				x := (*[2]float64)(a[k*tileRows+r:])
				y := (*[4]float64)(b[k*tileCols+q:])
				s00 += x[0] * y[0]
				s01 += x[0] * y[1]
				s02 += x[0] * y[2]
				s03 += x[0] * y[3]
				s10 += x[1] * y[0]
				s11 += x[1] * y[1]
				s12 += x[1] * y[2]
				s13 += x[1] * y[3]
			}
			d := (*[4]float64)(c[r*stride+q:])
			d[0], d[1], d[2], d[3] = d[0]+s00, d[1]+s01, d[2]+s02, d[3]+s03
			d = (*[4]float64)(c[(r+1)*stride+q:])
			d[0], d[1], d[2], d[3] = d[0]+s10, d[1]+s11, d[2]+s12, d[3]+s13
		}
	}
}

// addMul works off the product panel by panel: of b so many rows and columns as fit the outer cache
// are packed once, of a so many as fit the inner, and of these each pair of strips makes one tile.
func addMul[A, B Float](f tileFunc, c Matrix[float64], alpha float64, a Matrix[A], b Matrix[B], lower bool) {
	if a.Cols != b.Rows || c.Rows != a.Rows || c.Cols != b.Cols || c.Col != 1 {
		panic(fmt.Sprintf("dense: %d×%d = %d×%d · %d×%d", c.Rows, c.Cols, a.Rows, a.Cols, b.Rows, b.Cols))
	}
	if c.Rows == 0 || c.Cols == 0 || a.Cols == 0 {
		return
	}
	workers := threadsFor(c.Rows * c.Cols * a.Cols)
	rows := min(blockRows, roundUp((c.Rows+workers-1)/workers, tileRows))
	steps := min(blockSteps, a.Cols)
	packedB := make([]float64, roundUp(min(blockCols, c.Cols), tileCols)*steps)
	packedA := make([][]float64, workers)
	for w := range packedA {
		packedA[w] = make([]float64, roundUp(rows, tileRows)*steps)
	}
	for j := 0; j < c.Cols; j += blockCols {
		cols := min(blockCols, c.Cols-j)
		for k := 0; k < a.Cols; k += blockSteps {
			steps := min(blockSteps, a.Cols-k)
			strips := roundUp(cols, tileCols) / tileCols
			inParallel(workers, strips, func(_, s int) {
				q := s * tileCols
				pack(packedB[q*steps:], b.Sub(k, j+q, steps, min(tileCols, cols-q)).T(), tileCols, 1)
			})
			blocks := (c.Rows + rows - 1) / rows
			inParallel(workers, blocks, func(w, block int) {
				i := (blocks - 1 - block) * rows // of a lower triangle the longest first
				part := c.Sub(i, j, min(rows, c.Rows-i), cols)
				if lower && i+part.Rows <= j {
					return
				}
				for r := 0; r < part.Rows; r += tileRows {
					pack(packedA[w][r*steps:], a.Sub(i+r, k, min(tileRows, part.Rows-r), steps), tileRows, alpha)
				}
				above := part.Rows + part.Cols // no element is
				if lower {
					above = i - j
				}
				tiles(f, part, packedA[w], packedB, steps, above)
			})
		}
	}
}

// tiles adds the product of packed operands to c, but for elements (i, j) with j > i+diagonal.
func tiles(f tileFunc, c Matrix[float64], a, b []float64, steps, diagonal int) {
	var edge [tileRows * tileCols]float64
	for q := 0; q < c.Cols; q += tileCols {
		bs := b[q*steps : (q+tileCols)*steps]
		cols := min(tileCols, c.Cols-q)
		for r := 0; r < c.Rows; r += tileRows {
			rows := min(tileRows, c.Rows-r)
			if q > r+rows-1+diagonal {
				continue
			}
			as := a[r*steps : (r+tileRows)*steps]
			if rows == tileRows && cols == tileCols && q+cols-1 <= r+diagonal {
				f(steps, as, bs, c.Data[r*c.Row+q:], c.Row)
				continue
			}
			clear(edge[:])
			f(steps, as, bs, edge[:], tileCols)
			for i := range rows {
				row := c.Data[(r+i)*c.Row+q:]
				for j := range min(cols, r+i+diagonal-q+1) {
					row[j] += edge[i*tileCols+j]
				}
			}
		}
	}
}

// pack lays out the rows of m, filled up with zeros to width, step by step: element (r, k) goes to
// k·width+r.
func pack[T Float](dst []float64, m Matrix[T], width int, alpha float64) {
	dst = dst[:m.Cols*width]
	if m.Rows < width {
		clear(dst)
	}
	if m.Row == 1 && m.Rows == width {
		for k := range m.Cols {
			src := m.Data[k*m.Col:][:width]
			for r, x := range src {
				dst[k*width+r] = alpha * float64(x)
			}
		}
		return
	}
	for r := range m.Rows {
		src := m.Data[r*m.Row:]
		for k := range m.Cols {
			dst[k*width+r] = alpha * float64(src[k*m.Col])
		}
	}
}

// threadsFor returns how many goroutines should share so many multiplications.
func threadsFor(work int) int { return max(1, min(runtime.GOMAXPROCS(0), work/parallelWork)) }

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// inParallel calls f for 0 … n−1 from so many workers, numbered, each taking the next when it is
// done with one.
func inParallel(workers, n int, f func(worker, i int)) {
	var next atomic.Int64
	work := func(w int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(w, i)
		}
	}
	var wait guard.Group
	for w := 1; w < min(workers, n); w++ {
		wait.Go(func() { work(w) })
	}
	work(0)
	wait.Wait()
}
