package choose

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/internal/dense"
)

// A lens is one consumer's linear problem: y = W·x with x of d values, of which some belong to the
// channels of a space.
type lens struct {
	gram   *mat.SymDense // E[x xᵀ], centred where a bias absorbs means; d×d
	held   *mat.SymDense // the same of rows held out, about the means of the others; nil if there are none
	w      *mat.Dense    // o×d
	blocks [][]int       // by channel: its inputs in x
}

// elimination is the order in which channels can best be spared.
type elimination struct {
	removed []int     // channels in order of removal
	error   []float64 // error[i]: share of what consumers compute that is lost after i+1 removals
}

const (
	// checkpoints is the number of widths at which what is lost on held-out rows is computed, at
	// least leastCheckpoints and as many as cost no more than maxChecks multiply-accumulates;
	// between them it is interpolated.
	checkpoints, leastCheckpoints = 16, 4
	maxChecks                     = 3e10
	// sampledOutputs is the number of outputs by which shrinkages are compared.
	sampledOutputs = 64
)

// eliminate removes channels one by one, each time the one whose loss costs least if the consumers'
// remaining weights are refitted. With H = G⁻¹ the removal of the block J of a channel raises the
// squared error by tr(W_J·(H_JJ)⁻¹·W_Jᵀ), and the refitted weights and the inverse follow by
//
//	W ← W − W_J·(H_JJ)⁻¹·H_J,   H ← H − H_J·(H_JJ)⁻¹·H_Jᵀ
//
// (Hassibi & Stork, Optimal Brain Surgeon, 1993, for blocks and a linear output). Consumers count
// equally, each relative to what it computes. left says which channels may go. Where the channels
// are those of one model alone, repetitions go first (between models shares decide which one
// stays).
//
// Where a consumer saw fewer rows than it has inputs, what is left always explains them. What is
// lost is therefore counted on rows that were held out: with W₀ the weights as they were, W those
// refitted to the other rows and G' the second moments of what was held out, it is tr
// (W₀−W)·G'·(W₀−W)ᵀ. That is an estimate for inputs not seen, since neither order nor weights know
// of these (Stone, Cross-validatory choice and assessment of statistical predictions, 1974). Whole
// samples are held out: positions of one are alike.
func eliminate(lenses []*lens, left *ranges, alone bool) *elimination {
	e := &elimination{}
	problems := problemsOf(lenses)
	book := newLedger(problems, left.n)
	drop := func(c int) {
		left.take(c)
		for _, p := range problems {
			p.remove(c)
		}
		e.removed, e.error = append(e.removed, c), append(e.error, 0)
		book.count(e, false)
	}
	if alone {
		for c, of := range repeats(problems, left.n) {
			if of < 0 || !left.spares(c) {
				continue
			}
			for _, p := range problems {
				p.merge(of, c)
			}
			drop(c)
		}
	}
	for c := cheapest(problems, left); c >= 0; c = cheapest(problems, left) {
		drop(c)
	}
	book.count(e, true)
	return e
}

// cheapest is the channel that costs least to remove, -1 if none may go.
func cheapest(problems []*problem, left *ranges) int {
	best, price := -1, math.Inf(1)
	for c := range left.n {
		if !left.spares(c) {
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
	return best
}

// repeats finds, for every channel, an earlier one that is the same in all that consumers see, or
// -1. These go first and cost nothing, however few rows there are: a diagonal strengthened for what
// rows do not show hides them.
func repeats(problems []*problem, n int) []int {
	out := slices.Repeat([]int{-1}, n)
	if len(problems) == 0 {
		return out
	}
	for c := range n {
		for of := range c {
			if out[of] < 0 && !slices.ContainsFunc(problems, func(p *problem) bool { return !p.lens.same(of, c) }) {
				out[c] = of
				break
			}
		}
	}
	return out
}

// same reports whether two channels are equal, up to rounding, in every row.
func (l *lens) same(a, b int) bool {
	const rounding = 1e-6
	if len(l.blocks[a]) != len(l.blocks[b]) {
		return false
	}
	for k, i := range l.blocks[a] {
		j := l.blocks[b][k]
		x, y := l.gram.At(i, i), l.gram.At(j, j)
		if !(x > 0) || x+y-2*l.gram.At(i, j) > rounding*(x+y) {
			return false
		}
	}
	return true
}

// problemsOf sets up the problems of all consumers that show something. Where none does (a single
// row, constant channels) all channels count as if they varied alike and on their own, so that
// weights decide.
func problemsOf(lenses []*lens) []*problem {
	var out []*problem
	for _, l := range lenses {
		if p := newProblem(l); p != nil {
			out = append(out, p)
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, l := range lenses {
		blind := &lens{gram: mat.NewSymDense(l.gram.SymmetricDim(), nil), w: l.w, blocks: l.blocks}
		for i := range l.gram.SymmetricDim() {
			blind.gram.SetSym(i, i, 1)
		}
		if p := newProblem(blind); p != nil {
			out = append(out, p)
		}
	}
	return out
}

// A ledger keeps what is lost, as counted on held-out rows.
type ledger struct {
	problems []*problem
	every    int // removals from one count to the next
	at       int // removals at the last count
	lost     float64
}

func newLedger(problems []*problem, n int) *ledger {
	one := 1.0 // multiply-accumulates of a count
	for _, p := range problems {
		if d := float64(p.h.Rows); p.lens.held != nil {
			one += d * d * float64(p.w.Cols)
		}
	}
	counts := int(min(checkpoints, max(leastCheckpoints, maxChecks/one)))
	return &ledger{problems: problems, every: max(1, n/counts)}
}

// count enters what is lost after all removals so far, if it is time or this is the last. It never
// falls: with fewer channels nothing is known better, and what seems so is chance.
func (g *ledger) count(e *elimination, last bool) {
	n := len(e.removed)
	if n == g.at || !last && n-g.at < g.every {
		return
	}
	lost := 0.0
	for _, p := range g.problems {
		lost += p.lost() / float64(len(g.problems))
	}
	lost = max(lost, g.lost)
	for i := g.at; i < n; i++ {
		share := float64(i+1-g.at) / float64(n-g.at)
		e.error[i] = g.lost + share*(lost-g.lost)
	}
	g.at, g.lost = n, lost
}

// ranges says which of n channels may still go.
type ranges struct {
	n, least int // channels that there are, and that are left at least
	gone     []bool
	bounds   []int  // of pieces, of which each keeps a channel if there are places
	left     []int  // channels, by piece
	total    int    // of all
	stay     []bool // by channel: it may not go; nil where all may
}

func newRanges(n, least int, pieces []int, stay []bool) *ranges {
	r := &ranges{n: n, least: least, gone: make([]bool, n), bounds: pieces, left: make([]int, max(len(pieces)-1, 0)), total: n, stay: stay}
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

// spares reports whether a channel may go: it is there, need not stay, and is not the last of its
// piece, or there are not places for all pieces.
func (r *ranges) spares(c int) bool {
	if r.gone[c] || r.total <= r.least || r.stay != nil && r.stay[c] {
		return false
	}
	p := r.of(c)
	return p < 0 || r.left[p] > 1 || len(r.left) < 2 || r.least < len(r.left)
}

func (r *ranges) take(c int) {
	r.gone[c] = true
	r.total--
	if p := r.of(c); p >= 0 {
		r.left[p]--
	}
}

// maxEliminate is the largest number of channels that are eliminated one by one, which takes time
// that grows with its cube.
const maxEliminate = 4096

// rank orders channels by what their variance adds to what the consumers compute, S_pp·C_pp, the
// least first, as if they were independent: for spaces too wide to be eliminated.
func rank(seen []*sight, left *ranges) *elimination {
	weight := make([]float64, left.n)
	for _, s := range seen {
		own, total := make([]float64, left.n), 0.0
		for p := range own {
			own[p] = max(s.variance(p), 0) * s.sens.own[p]
			total += own[p]
		}
		if total > 0 {
			floats.AddScaled(weight, 1/(total*float64(len(seen))), own)
		}
	}
	order := make([]int, left.n)
	for p := range order {
		order[p] = p
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(weight[a], weight[b]) })
	e, spent := &elimination{}, 0.0
	for _, c := range order {
		if left.spares(c) {
			left.take(c)
			spent += weight[c]
			e.removed, e.error = append(e.removed, c), append(e.error, spent)
		}
	}
	return e
}

// A problem is the state of one consumer while channels are taken from it.
type problem struct {
	h      dense.Matrix[float64] // G⁻¹: d×d
	w      dense.Matrix[float64] // Wᵀ: d×o
	blocks [][]int               // by channel: its inputs; nil once it is gone
	total  float64               // what the consumer computes, squared
	// heldTotal is the same of held-out rows, unless it is as good as nothing.
	heldTotal float64
	out       []bool // by input: its channel is gone, though not yet taken out of h and w
	gone      int    // of these inputs
	first     []int  // by input: which one it was at first
	lens      *lens
	spent     float64 // what is lost on the rows that were seen

	l, v, y dense.Matrix[float64] // scratch of factored
}

// newProblem returns nil where nothing varies or nothing is read.
func newProblem(l *lens) *problem {
	d, o := l.gram.SymmetricDim(), l.w.RawMatrix().Rows
	p := &problem{blocks: slices.Clone(l.blocks), w: dense.New[float64](d, o, nil), h: dense.New[float64](d, d, nil), out: make([]bool, d), first: make([]int, d), lens: l}
	for i := range d {
		p.first[i] = i
		for k := range o {
			p.w.Data[i*o+k] = l.w.At(k, i)
		}
	}
	p.total = quadratic(l.gram, p.w)
	if l.held != nil {
		p.heldTotal = max(quadratic(l.held, p.w), 1e-3*p.total)
	}
	if !(mat.Trace(l.gram) > 0) || !(p.total > 0) || math.IsInf(p.total, 0) {
		return nil
	}
	g, ok := l.factored(l.shrinkage(p.w), nil)
	if !ok {
		return nil
	}
	for i := range d {
		p.h.Data[i*d+i] = 1
	}
	dense.SolveCholesky(g, p.h)
	return p
}

// quadratic is tr Wᵀ·G·W for W of d×o.
func quadratic(g *mat.SymDense, w dense.Matrix[float64]) float64 {
	d, raw := w.Rows, g.RawSymmetric()
	whole := dense.New[float64](d, d, nil)
	for i := range d {
		for j := i; j < d; j++ {
			v := raw.Data[i*raw.Stride+j]
			whole.Data[i*d+j], whole.Data[j*d+i] = v, v
		}
	}
	gw := dense.New[float64](d, w.Cols, nil)
	dense.AddMul(gw, 1, whole, w)
	return floats.Dot(gw.Data, w.Data)
}

// shrinkages are the shares that are tried of the diagonal in a Gram matrix: none of it where there
// are rows enough; most where there are few, so that channels are then told apart by how much they
// vary and what is read of them.
var shrinkages = []float64{0, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9}

// shrinkage chooses the share of the diagonal with which the half of the inputs that matters most
// predicts best, on held-out rows, what is computed of all (for the form see Schäfer & Strimmer, A
// shrinkage approach to large-scale covariance matrix estimation, 2005; its closed form for the
// share minimises the error of the matrix, of which a few strong directions make up most, and
// leaves the many weak ones, by which predictions overfit, as they are).
func (l *lens) shrinkage(w dense.Matrix[float64]) float64 {
	if l.held == nil {
		return 0
	}
	keep, gone := l.halves(w)
	if len(gone) == 0 {
		return 0
	}
	w = someColumns(w, sampledOutputs)
	o := w.Cols
	theirs := dense.New[float64](len(gone), o, nil)
	for a, i := range gone {
		copy(theirs.Data[a*o:][:o], w.Data[i*o:])
	}
	cross := part(l.gram, keep, gone)
	aim := dense.New[float64](len(keep), o, nil)
	dense.AddMul(aim, 1, cross, theirs)
	best, least := 0.0, math.Inf(1)
	for _, share := range shrinkages {
		g, ok := l.factored(share, keep)
		if !ok {
			continue
		}
		// What is left of W₀ − W: W₀ where channels are gone, minus what takes their place where
		// they are kept.
		x := dense.New(len(keep), o, slices.Clone(aim.Data))
		dense.SolveCholesky(g, x)
		off := dense.New[float64](w.Rows, o, nil)
		for a, i := range keep {
			floats.AddScaled(off.Data[i*o:][:o], share-1, x.Data[a*o:][:o])
		}
		for a, i := range gone {
			copy(off.Data[i*o:][:o], theirs.Data[a*o:])
		}
		if lost := quadratic(l.held, off); lost < least {
			best, least = share, lost
		}
	}
	return best
}

// someColumns returns at most so many columns, spread evenly.
func someColumns(w dense.Matrix[float64], most int) dense.Matrix[float64] {
	if w.Cols <= most {
		return w
	}
	out := dense.New[float64](w.Rows, most, nil)
	for i := range w.Rows {
		for k := range most {
			out.Data[i*most+k] = w.Data[i*w.Row+k*w.Cols/most]
		}
	}
	return out
}

// halves splits the inputs: the half of the channels whose variance adds most to what is computed,
// with all inputs of no channel, and the rest.
func (l *lens) halves(w dense.Matrix[float64]) (keep, gone []int) {
	weight := make([]float64, len(l.blocks))
	for c, block := range l.blocks {
		for _, i := range block {
			row := w.Data[i*w.Row:][:w.Cols]
			weight[c] += l.gram.At(i, i) * floats.Dot(row, row)
		}
	}
	sorted := slices.Sorted(slices.Values(weight))
	out := make([]bool, w.Rows)
	for c, block := range l.blocks {
		for _, i := range block {
			out[i] = weight[c] < sorted[len(sorted)/2]
		}
	}
	for i, o := range out {
		if o {
			gone = append(gone, i)
		} else {
			keep = append(keep, i)
		}
	}
	return keep, gone
}

// factored returns the Cholesky factor of (1−share)·G + share·diag G, and a little ridge, for some
// inputs or all (nil); ok is false if it is not positive.
func (l *lens) factored(share float64, some []int) (g dense.Matrix[float64], ok bool) {
	d := l.gram.SymmetricDim()
	ridge := 1e-4 * mat.Trace(l.gram) / float64(d)
	n, at := d, func(i int) int { return i }
	if some != nil {
		n, at = len(some), func(i int) int { return some[i] }
	}
	g = dense.New[float64](n, n, nil)
	for i := range n {
		for j := range i {
			g.Data[i*n+j] = (1 - share) * l.gram.At(at(i), at(j))
		}
		g.Data[i*n+i] = l.gram.At(at(i), at(i)) + ridge
	}
	return g, dense.Cholesky(g)
}

// lost is what is lost so far as a share of what the consumer computes: of held-out rows, or where
// there are none of the others.
func (p *problem) lost() float64 {
	if p.lens.held == nil {
		return p.spent
	}
	o := p.w.Cols
	off := dense.New(p.lens.gram.SymmetricDim(), o, mat.DenseCopyOf(p.lens.w.T()).RawMatrix().Data)
	for i, first := range p.first {
		if !p.out[i] {
			floats.Sub(off.Data[first*o:][:o], p.w.Data[i*p.w.Row:][:o])
		}
	}
	return quadratic(p.lens.held, off) / p.heldTotal
}

// factored returns V = L⁻¹·W_Jᵀ, with H_JJ = L·Lᵀ for the block J of a channel; ok is false if
// rounding has left no positive H_JJ.
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

// removalCost is tr(W_J·(H_JJ)⁻¹·W_Jᵀ) as a share of what is computed.
func (p *problem) removalCost(c int) float64 {
	v, ok := p.factored(c)
	if !ok {
		return 0
	}
	return floats.Dot(v.Data, v.Data) / p.total
}

// merge lets a channel be read by the weights of another that repeats it too.
func (p *problem) merge(into, from int) {
	for k, j := range p.blocks[from] {
		row := p.w.Data[j*p.w.Row:][:p.w.Cols]
		floats.Add(p.w.Data[p.blocks[into][k]*p.w.Row:][:p.w.Cols], row)
		clear(row)
	}
}

// remove takes a channel out of the inverse and refits the weights: with Y = L⁻¹·H_J, H ← H − Yᵀ·Y
// and Wᵀ ← Wᵀ − Yᵀ·V.
func (p *problem) remove(c int) {
	block := p.blocks[c]
	if v, ok := p.factored(c); ok {
		p.spent += floats.Dot(v.Data, v.Data) / p.total
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

// shrink takes the inputs out of h and w that belong to channels that are gone.
func (p *problem) shrink() {
	now := make([]int, p.h.Rows) // new ones by old
	n := 0
	for i := range now {
		now[i] = n
		if !p.out[i] {
			n++
		}
	}
	d, o := p.h.Rows, p.w.Cols
	h, w, first := dense.New[float64](n, n, nil), dense.New[float64](n, o, nil), make([]int, n)
	for i := range d {
		if p.out[i] {
			continue
		}
		first[now[i]] = p.first[i]
		copy(w.Data[now[i]*o:][:o], p.w.Data[i*o:])
		row := h.Data[now[i]*n:]
		for j, x := range p.h.Data[i*d:][:d] {
			if !p.out[j] {
				row[now[j]] = x
			}
		}
	}
	for c, block := range p.blocks {
		if block != nil {
			moved := make([]int, len(block))
			for a, i := range block {
				moved[a] = now[i]
			}
			p.blocks[c] = moved
		}
	}
	p.h, p.w, p.first, p.out, p.gone = h, w, first, make([]bool, n), 0
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
