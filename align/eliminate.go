package align

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// A lens is one consumer's linear problem: y = W·x with x of d values, of which
// some belong to the channels of a space.
type lens struct {
	gram   *mat.SymDense // E[x xᵀ], centred where a bias absorbs means; d×d
	w      *mat.Dense    // o×d
	blocks [][]int       // by channel: its places in x
}

// elimination is the order in which channels can best be spared.
type elimination struct {
	removed []int     // channels in order of removal
	error   []float64 // error[i]: share of what consumers compute that is lost after i+1 removals
}

// eliminate removes channels one by one, each time the one whose loss costs
// least if the consumers' remaining weights are refitted. With H = G⁻¹ the
// removal of the block J of a channel raises the squared error by
// tr(W_J·(H_JJ)⁻¹·W_Jᵀ), and the refitted weights and the inverse follow by
//
//	W ← W − W_J·(H_JJ)⁻¹·H_J,   H ← H − H_J·(H_JJ)⁻¹·H_Jᵀ
//
// (Hassibi & Stork, Optimal Brain Surgeon, 1993, for blocks and a linear
// output). Consumers count equally, each relative to what it computes. At most
// n−least channels go; of every range of pieces one stays where that is
// possible.
func eliminate(lenses []*lens, n, least int, pieces []int) *elimination {
	type state struct {
		h, w   *mat.Dense
		blocks [][]int
		total  float64
		cost   []float64 // of removing each channel now
	}
	var states []*state
	for _, l := range lenses {
		d := l.gram.SymmetricDim()
		trace := mat.Trace(l.gram)
		var wg mat.Dense
		wg.Mul(l.w, l.gram)
		total := 0.0
		rows, _ := l.w.Dims()
		for i := range rows {
			total += mat.Dot(wg.RowView(i), l.w.RowView(i))
		}
		if !(trace > 0) || !(total > 0) {
			continue // nothing varies, or nothing is read
		}
		g := mat.NewSymDense(d, nil)
		g.CopySym(l.gram)
		for i := range d {
			g.SetSym(i, i, g.At(i, i)+1e-4*trace/float64(d))
		}
		var chol mat.Cholesky
		if !chol.Factorize(g) {
			continue
		}
		var inv mat.SymDense
		if err := chol.InverseTo(&inv); err != nil {
			if _, poor := err.(mat.Condition); !poor {
				continue
			}
		}
		states = append(states, &state{h: mat.DenseCopyOf(&inv), w: mat.DenseCopyOf(l.w), blocks: l.blocks, total: total, cost: make([]float64, n)})
	}
	left := make([]int, max(len(pieces)-1, 0)) // channels left in each piece
	for i := range left {
		left[i] = pieces[i+1] - pieces[i]
	}
	pieceOf := func(c int) int {
		for i := range left {
			if c >= pieces[i] && c < pieces[i+1] {
				return i
			}
		}
		return -1
	}
	gone := make([]bool, n)
	e := &elimination{}
	spent := 0.0
	for len(e.removed) < n-least {
		for _, st := range states {
			for c := range n {
				if !gone[c] {
					st.cost[c] = removalCost(st.h, st.w, st.blocks[c]) / st.total
				}
			}
		}
		best, price := -1, math.Inf(1)
		for c := range n {
			if gone[c] {
				continue
			}
			if p := pieceOf(c); p >= 0 && left[p] == 1 && len(left) > 1 && least >= len(left) {
				continue
			}
			sum := 0.0
			for _, st := range states {
				sum += st.cost[c]
			}
			if sum < price {
				best, price = c, sum
			}
		}
		if best < 0 {
			break
		}
		gone[best] = true
		if p := pieceOf(best); p >= 0 {
			left[p]--
		}
		for _, st := range states {
			remove(st.h, st.w, st.blocks[best])
		}
		spent += price / float64(max(len(states), 1))
		e.removed = append(e.removed, best)
		e.error = append(e.error, spent)
	}
	return e
}

// removalCost is tr(W_J·(H_JJ)⁻¹·W_Jᵀ).
func removalCost(h, w *mat.Dense, block []int) float64 {
	o, _ := w.Dims()
	if len(block) == 1 {
		j := block[0]
		d := h.At(j, j)
		if d <= 0 {
			return 0
		}
		s := 0.0
		for i := range o {
			v := w.At(i, j)
			s += v * v
		}
		return s / d
	}
	var chol mat.Cholesky
	if !chol.Factorize(submatrix(h, block)) {
		return 0
	}
	// WᵀW of the block, then tr((H_JJ)⁻¹·W_JᵀW_J).
	t := len(block)
	ww := mat.NewDense(t, t, nil)
	for i := range o {
		row := w.RawRowView(i)
		for a := range t {
			va := row[block[a]]
			dst := ww.RawRowView(a)
			for b := range t {
				dst[b] += va * row[block[b]]
			}
		}
	}
	var x mat.Dense
	if err := chol.SolveTo(&x, ww); err != nil {
		if _, poor := err.(mat.Condition); !poor {
			return 0
		}
	}
	return max(mat.Trace(&x), 0)
}

func submatrix(h *mat.Dense, block []int) *mat.SymDense {
	s := mat.NewSymDense(len(block), nil)
	for a, i := range block {
		for b := a; b < len(block); b++ {
			s.SetSym(a, b, (h.At(i, block[b])+h.At(block[b], i))/2)
		}
	}
	return s
}

// remove takes a block out of the inverse and refits the weights.
func remove(h, w *mat.Dense, block []int) {
	d, _ := h.Dims()
	o, _ := w.Dims()
	t := len(block)
	hj := mat.NewDense(t, d, nil)
	wj := mat.NewDense(o, t, nil)
	for a, j := range block {
		copy(hj.RawRowView(a), h.RawRowView(j))
		for i := range o {
			wj.Set(i, a, w.At(i, j))
		}
	}
	var chol mat.Cholesky
	if chol.Factorize(submatrix(h, block)) {
		var x mat.Dense // (H_JJ)⁻¹·H_J
		if err := chol.SolveTo(&x, hj); err == nil || isCondition(err) {
			var dw, dh mat.Dense
			dw.Mul(wj, &x)
			w.Sub(w, &dw)
			dh.Mul(hj.T(), &x)
			h.Sub(h, &dh)
		}
	}
	for _, j := range block {
		for i := range d {
			h.Set(i, j, 0)
			h.Set(j, i, 0)
		}
		for i := range o {
			w.Set(i, j, 0)
		}
	}
}

func isCondition(err error) bool {
	_, ok := err.(mat.Condition)
	return ok
}

// kept lists the channels that remain when only k shall, in order.
func (e *elimination) kept(n, k int) []int {
	gone := make([]bool, n)
	for _, c := range e.removed[:min(max(n-k, 0), len(e.removed))] {
		gone[c] = true
	}
	var out []int
	for c := range n {
		if !gone[c] {
			out = append(out, c)
		}
	}
	return slices.Clip(out)
}
