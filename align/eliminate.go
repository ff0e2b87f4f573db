package align

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/internal/dense"
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
// n−least channels go, none of those that stay; of every range of pieces one
// is left where that is possible.
func eliminate(lenses []*lens, n, least int, pieces []int, stay []bool) *elimination {
	var problems []*problem
	for _, l := range lenses {
		if p := newProblem(l); p != nil {
			problems = append(problems, p)
		}
	}
	left := newRanges(pieces, stay)
	gone := make([]bool, n)
	e := &elimination{}
	spent := 0.0
	for len(e.removed) < n-least {
		best, price := -1, math.Inf(1)
		for c := range n {
			if gone[c] {
				continue
			}
			if !left.spares(c, least) {
				continue
			}
			sum := 0.0
			for _, p := range problems {
				sum += p.removalCost(c)
			}
			if sum < price {
				best, price = c, sum
			}
		}
		if best < 0 {
			break
		}
		gone[best] = true
		left.take(best)
		for _, p := range problems {
			p.remove(best)
		}
		spent += price / float64(max(len(problems), 1))
		e.removed = append(e.removed, best)
		e.error = append(e.error, spent)
	}
	return e
}

// ranges counts the channels that are left in each piece of a space.
type ranges struct {
	bounds, left []int
	stay         []bool // by channel: it may not go; nil where all may
}

func newRanges(pieces []int, stay []bool) *ranges {
	r := &ranges{pieces, make([]int, max(len(pieces)-1, 0)), stay}
	for i := range r.left {
		r.left[i] = pieces[i+1] - pieces[i]
	}
	return r
}

// of is the piece that a channel lies in, or -1.
func (r *ranges) of(c int) int {
	for i := range r.left {
		if c >= r.bounds[i] && c < r.bounds[i+1] {
			return i
		}
	}
	return -1
}

// spares reports whether a channel may go: it need not stay, and it is not the
// last of its piece, or there are not places for all pieces.
func (r *ranges) spares(c, least int) bool {
	if r.stay != nil && r.stay[c] {
		return false
	}
	p := r.of(c)
	return p < 0 || r.left[p] > 1 || len(r.left) < 2 || least < len(r.left)
}

func (r *ranges) take(c int) {
	if p := r.of(c); p >= 0 {
		r.left[p]--
	}
}

// maxEliminate is the largest number of channels that are eliminated one by one,
// which takes time that grows with its cube.
const maxEliminate = 4096

// rank orders channels by what their variance adds to what the consumers
// compute, S_pp·C_pp, the least first, as if they were independent: for spaces
// too wide to be eliminated.
func rank(readers []*reader, least int, pieces []int, stay []bool) *elimination {
	n := readers[0].n
	weight := make([]float64, n)
	for _, r := range readers {
		own, total := make([]float64, n), 0.0
		for p := range n {
			own[p] = max(r.variance(p), 0) * r.sens.own[p]
			total += own[p]
		}
		if total > 0 {
			floats.AddScaled(weight, 1/(total*float64(len(readers))), own)
		}
	}
	order := make([]int, n)
	for p := range order {
		order[p] = p
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(weight[a], weight[b]) })
	left := newRanges(pieces, stay)
	e, spent := &elimination{}, 0.0
	for _, c := range order {
		if len(e.removed) == n-least {
			break
		}
		if !left.spares(c, least) {
			continue
		}
		left.take(c)
		spent += weight[c]
		e.removed, e.error = append(e.removed, c), append(e.error, spent)
	}
	return e
}

// A problem is the state of one consumer while channels are taken from it.
type problem struct {
	h      dense.Matrix[float64] // G⁻¹: d×d
	w      dense.Matrix[float64] // Wᵀ: d×o
	blocks [][]int               // by channel: its places; nil once it is gone
	total  float64               // what the consumer computes, squared
	out    []bool                // by place: its channel is gone, though not yet taken out of h and w
	gone   int                   // of these places

	l, v, y dense.Matrix[float64] // scratch of factored
}

// newProblem returns nil where nothing varies or nothing is read.
func newProblem(l *lens) *problem {
	d, o := l.gram.SymmetricDim(), l.w.RawMatrix().Rows
	g := dense.New[float64](d, d, nil)
	for i := range d {
		for j := range d {
			g.Data[i*d+j] = l.gram.At(i, j)
		}
	}
	w := dense.New(o, d, l.w.RawMatrix().Data)
	w.Row = l.w.RawMatrix().Stride
	wg := dense.New[float64](o, d, nil)
	dense.AddMul(wg, 1, w, g)
	p := &problem{blocks: slices.Clone(l.blocks), w: dense.New[float64](d, o, nil), h: dense.New[float64](d, d, nil), out: make([]bool, d)}
	for k := range o {
		for i := range d {
			x := w.Data[k*w.Row+i]
			p.total += x * wg.Data[k*d+i]
			p.w.Data[i*o+k] = x
		}
	}
	trace := mat.Trace(l.gram)
	if !(trace > 0) || !(p.total > 0) {
		return nil
	}
	for i := range d {
		g.Data[i*d+i] += 1e-4 * trace / float64(d)
		p.h.Data[i*d+i] = 1
	}
	if !dense.Cholesky(g) {
		return nil
	}
	dense.SolveCholesky(g, p.h)
	return p
}

// factored returns V = L⁻¹·W_Jᵀ, with H_JJ = L·Lᵀ for the block J of a channel;
// ok is false if rounding has left no positive H_JJ.
func (p *problem) factored(c int) (v dense.Matrix[float64], ok bool) {
	block := p.blocks[c]
	t, o := len(block), p.w.Cols
	if p.l.Rows != t {
		p.l, p.v = dense.New[float64](t, t, nil), dense.New[float64](t, o, nil)
	}
	for a, i := range block {
		for b, j := range block[:a+1] {
			p.l.Data[a*t+b] = p.h.Data[i*p.h.Row+j]
		}
	}
	if !dense.Cholesky(p.l) {
		return p.v, false
	}
	for a, i := range block {
		copy(p.v.Data[a*o:][:o], p.w.Data[i*p.w.Row:])
	}
	substitute(p.l, p.v)
	return p.v, true
}

// substitute solves L·X = B, with B given and X returned in b.
func substitute(l, b dense.Matrix[float64]) {
	for i := range b.Rows {
		row := b.Data[i*b.Row:][:b.Cols]
		for j := range i {
			floats.AddScaled(row, -l.Data[i*l.Row+j], b.Data[j*b.Row:][:b.Cols])
		}
		floats.Scale(1/l.Data[i*l.Row+i], row)
	}
}

// removalCost is tr(W_J·(H_JJ)⁻¹·W_Jᵀ) as a share of what the consumer computes.
func (p *problem) removalCost(c int) float64 {
	v, ok := p.factored(c)
	if !ok {
		return 0
	}
	return floats.Dot(v.Data, v.Data) / p.total
}

// remove takes a channel out of the inverse and refits the weights: with
// Y = L⁻¹·H_J, H ← H − Yᵀ·Y and Wᵀ ← Wᵀ − Yᵀ·V.
func (p *problem) remove(c int) {
	block := p.blocks[c]
	if v, ok := p.factored(c); ok {
		d := p.h.Rows
		if p.y.Rows != len(block) || p.y.Cols != d {
			p.y = dense.New[float64](len(block), d, nil)
		}
		for a, i := range block {
			copy(p.y.Data[a*d:][:d], p.h.Data[i*p.h.Row:])
		}
		substitute(p.l, p.y)
		dense.AddMul(p.h, -1, p.y.T(), p.y)
		dense.AddMul(p.w, -1, p.y.T(), v)
	}
	p.blocks[c] = nil
	for _, i := range block {
		p.out[i] = true
	}
	p.gone += len(block)
	if 8*p.gone > p.h.Rows {
		p.shrink()
	}
}

// shrink takes the places out of h and w that belong to channels that are gone.
func (p *problem) shrink() {
	places := make([]int, p.h.Rows) // new ones by old
	n := 0
	for i := range places {
		places[i] = n
		if !p.out[i] {
			n++
		}
	}
	d, o := p.h.Rows, p.w.Cols
	h, w := dense.New[float64](n, n, nil), dense.New[float64](n, o, nil)
	for i := range d {
		if p.out[i] {
			continue
		}
		copy(w.Data[places[i]*o:][:o], p.w.Data[i*o:])
		row := h.Data[places[i]*n:]
		for j, x := range p.h.Data[i*d:][:d] {
			if !p.out[j] {
				row[places[j]] = x
			}
		}
	}
	for c, block := range p.blocks {
		if block != nil {
			moved := make([]int, len(block))
			for a, i := range block {
				moved[a] = places[i]
			}
			p.blocks[c] = moved
		}
	}
	p.h, p.w, p.out, p.gone = h, w, make([]bool, n), 0
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
