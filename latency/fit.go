package latency

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// A fit is what one call takes: the factors of its terms, for blocks of so many channels.
type fit struct {
	factors [terms]float64
	block   int
}

func (f *fit) ms(c *call) float64 {
	sum := 0.0
	for i, x := range c.terms(f.block) {
		sum += f.factors[i] * x
	}
	return sum
}

// fits are what a table says of operators: of those of one kind, of all those of one operator, and
// how many times as long a node takes as others of its kind do.
type fits struct {
	kinds, ops map[string]*fit
	nodes      map[string]float64
	block      int // of the channels of convolutions
}

// blocks are sizes of blocks that are tried.
var blocks = []int{1, 4, 8, 16, 32}

// plainBlock is the size of blocks where a table does not tell.
const plainBlock = 8

// learn fits all operators.
func (t *Table) learn() *fits {
	if t.fits != nil {
		return t.fits
	}
	f := &fits{kinds: map[string]*fit{}, ops: map[string]*fit{}, nodes: map[string]float64{}}
	byOp, byKind := map[string][]sample{}, map[string][]sample{}
	opOf := map[string]string{}
	var ops, kinds []string
	for _, r := range t.Operators {
		s := r.sample()
		if r.MS == 0 {
			continue // its time is another one's
		}
		kind := s.kind()
		if byOp[s.op] == nil {
			ops = append(ops, s.op)
		}
		if byKind[kind] == nil {
			kinds = append(kinds, kind)
		}
		byOp[s.op], byKind[kind], opOf[kind] = append(byOp[s.op], s), append(byKind[kind], s), s.op
	}
	sizes := map[string]int{}
	most := 0.0
	for _, op := range ops {
		sizes[op] = 1
		if byOp[op][0].blocked() {
			sizes[op] = blockOf(op, kinds, byKind)
		}
		f.ops[op] = fitted(byOp[op], sizes[op])
		if spent := total(byOp[op]); byOp[op][0].convolves() && spent > most {
			f.block, most = sizes[op], spent
		}
	}
	for _, kind := range kinds {
		f.kinds[kind] = fitted(byKind[kind], sizes[opOf[kind]])
	}
	f.learnNodes(t.Operators)
	t.fits = f
	return f
}

// learnNodes finds how nodes differ from others of their kind.
func (f *fits) learnNodes(rows []Row) {
	took, expected := map[string]float64{}, map[string]float64{}
	for _, r := range rows {
		if r.Node == "" {
			continue
		}
		s := r.sample()
		took[r.Node] += r.MS
		if k := f.of(&s.call); k != nil {
			expected[r.Node] += k.ms(&s.call)
		}
	}
	for node, ms := range took {
		f.nodes[node] = 1
		if e := expected[node]; e > 0 {
			f.nodes[node] = ms / e
		} else if ms == 0 {
			f.nodes[node] = 0
		}
	}
}

// of is the fit for a call: that of its kind, or else of its operator; nil if there is none.
func (f *fits) of(c *call) *fit {
	if k := f.kinds[c.kind()]; k != nil {
		return k
	}
	return f.ops[c.op]
}

// blockOf is the size of blocks with which the times of an operator are explained best.
func blockOf(op string, kinds []string, byKind map[string][]sample) int {
	best, least := plainBlock, math.Inf(1)
	for _, size := range blocks {
		off, tells := 0.0, false
		for _, kind := range kinds {
			if s := byKind[kind]; s[0].op == op && len(s) > terms {
				off += fitted(s, size).off(s) * total(s)
				tells = true
			}
		}
		if tells && off < least*(1-1e-3) {
			best, least = size, off
		}
	}
	return best
}

// A sample is a call that was measured.
type sample struct {
	call
	ms float64
}

func (r *Row) sample() sample { return sample{call{r.Op, r.Inputs, r.Outputs}, r.MS} }

func total(s []sample) float64 {
	sum := 0.0
	for _, x := range s {
		sum += x.ms
	}
	return sum
}

// off is the mean squared relative error of a fit.
func (f *fit) off(s []sample) float64 {
	floor, sum := least(s), 0.0
	for i := range s {
		d := (f.ms(&s[i].call) - s[i].ms) / (s[i].ms + floor)
		sum += d * d
	}
	return sum / float64(len(s))
}

// least is what is added to times before errors are taken relative to them: short times are known
// less well.
func least(s []sample) float64 { return 0.1 * total(s) / float64(len(s)) }

// fitted finds the factors with the least squared relative error, none of them negative. There are so
// few that all sets of those that are not zero are tried; the more samples, the larger ones.
func fitted(s []sample, size int) *fit {
	floor := least(s)
	var gram [terms][terms]float64
	var right, scale [terms]float64
	seen := map[[terms]float64]bool{}
	for i := range s {
		x := s[i].terms(size)
		seen[x] = true
		w := 1 / (s[i].ms + floor)
		for j := range x {
			for k := range x {
				gram[j][k] += w * w * x[j] * x[k]
			}
			right[j] += w * w * x[j] * s[i].ms
		}
	}
	for j := range scale {
		scale[j] = math.Sqrt(gram[j][j])
	}
	best, bestLoss := &fit{block: size}, 0.0
	for _, set := range sets {
		if bits.OnesCount(uint(set)) > max(1, len(seen)/2) {
			break
		}
		factors, loss, ok := solve(set, &gram, &right, &scale)
		if ok && loss < bestLoss-1e-9*math.Abs(bestLoss) {
			best.factors, bestLoss = factors, loss
		}
	}
	return best
}

// sets are all sets of terms, small ones first, and of equal ones those first that are likelier to be
// what the time of an operator goes with: multiply-accumulates, then what is read and written.
var sets = func() []int {
	var all []int
	for set := 1; set < 1<<terms; set++ {
		all = append(all, set)
	}
	rank := func(set int) (n int) {
		for i, j := range []int{3, 1, 2, 0, 4, 5} {
			n |= (set >> j & 1) << (terms - i)
		}
		return n
	}
	slices.SortFunc(all, func(a, b int) int {
		return cmp.Or(cmp.Compare(bits.OnesCount(uint(a)), bits.OnesCount(uint(b))), cmp.Compare(rank(b), rank(a)))
	})
	return all
}()

// solve fits the terms of a set; ok is false if a factor is not positive. The loss is the squared
// error up to a constant.
func solve(set int, gram *[terms][terms]float64, right, scale *[terms]float64) (factors [terms]float64, loss float64, ok bool) {
	var in []int
	for j := range terms {
		if set>>j&1 == 1 {
			if scale[j] == 0 {
				return factors, 0, false
			}
			in = append(in, j)
		}
	}
	const ridge = 1e-9 // terms may be multiples of each other
	a, b := mat.NewSymDense(len(in), nil), mat.NewVecDense(len(in), nil)
	for i, j := range in {
		for k, l := range in[:i+1] {
			a.SetSym(i, k, gram[j][l]/scale[j]/scale[l])
		}
		a.SetSym(i, i, a.At(i, i)+ridge)
		b.SetVec(i, right[j]/scale[j])
	}
	var chol mat.Cholesky
	if !chol.Factorize(a) {
		return factors, 0, false
	}
	var x mat.VecDense
	if err := chol.SolveVecTo(&x, b); err != nil {
		return factors, 0, false
	}
	for i, j := range in {
		if !(x.AtVec(i) > 0) {
			return factors, 0, false
		}
		factors[j] = x.AtVec(i) / scale[j]
	}
	return factors, -mat.Dot(&x, b), true
}

// Multiple is the number of channels on whose multiples convolutions are fastest, as far as the table
// tells.
func (t *Table) Multiple() int { return max(t.learn().block, 1) }

// nodesNamed reports whether the table tells nodes apart.
func (t *Table) nodesNamed() bool {
	return slices.ContainsFunc(t.Operators, func(r Row) bool { return r.Node != "" })
}
