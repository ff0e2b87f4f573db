package align

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Evidence is what calibration data say about the channels of a space, as its
// consumers see them: one reader for each group and consumer.
type Evidence struct {
	readers [][]*reader // by group
}

// A reader is one consumer's view of a space of n channels.
type reader struct {
	n    int
	rows float64
	sum  []float64 // Σ h
	gram []float64 // Σ h hᵀ, n×n, upper triangle
	// sens is S = Σ w wᵀ over the consumer's outputs and taps: how errors of the
	// channels add up in what it computes.
	sens *mat.SymDense
	// affine: the consumer has, or can take, a bias, so that constant parts of
	// channels cost nothing.
	affine bool
}

// maxRows bounds the positions that one second-moment matrix is made from.
const maxRows = 20000

// Observe runs the data through a model and collects, for every given space,
// the second moments of its channels at the inputs of its consumers.
func Observe(ctx context.Context, s *Subject, spaces []*coupling.Space, o Options) (map[*coupling.Space]*Evidence, error) {
	type view struct {
		seen
		into []*reader // by group
	}
	out := map[*coupling.Space]*Evidence{}
	var views []*view
	var tensors []string
	for _, sp := range spaces {
		ev := &Evidence{readers: make([][]*reader, sp.Groups)}
		out[sp] = ev
		done := map[string]bool{}
		for _, u := range sp.Consumers() {
			in := s.dataInput(u.Node)
			axis, places, ok := s.channelAxis(in, sp)
			if in == "" || !ok || done[in+"|"+u.Tensor] {
				continue
			}
			done[in+"|"+u.Tensor] = true
			v := &view{seen: seen{sp, in, axis, places}}
			for g := range sp.Groups {
				sens, err := s.sensitivity(sp, u, g)
				if err != nil {
					return nil, err
				}
				c := &reader{
					n: sp.Width, sum: make([]float64, sp.Width), gram: make([]float64, sp.Width*sp.Width),
					sens: sens, affine: u.Node.GetOpType() != "MatMul",
				}
				v.into = append(v.into, c)
				ev.readers[g] = append(ev.readers[g], c)
			}
			views = append(views, v)
			tensors = append(tensors, in)
		}
	}
	if len(views) == 0 {
		return out, nil
	}
	samples := max(o.Data.Len(), 1)
	rng := rand.New(rand.NewPCG(1, 2))
	so := engine.StreamOptions{Batch: o.Batch, Threads: o.Threads, Progress: o.Progress}
	err := engine.Stream(ctx, s.Model, o.Data, compact(tensors), so, func(_, n int, values map[string]*engine.Value) error {
		for _, v := range views {
			for g, c := range v.into {
				x, d, err := v.vectors(values[v.tensor], g)
				if err != nil {
					return err
				}
				want := int(math.Ceil(float64(maxRows) * float64(n) / float64(samples)))
				x, d = thin(x, c.n, d, want, rng)
				c.add(x, d)
			}
		}
		return nil
	})
	return out, err
}

// thin keeps a random choice of want columns of an n×d matrix.
func thin(x []float64, n, d, want int, rng *rand.Rand) ([]float64, int) {
	if d <= want {
		return x, d
	}
	cols := rng.Perm(d)[:want]
	slices.Sort(cols)
	out := make([]float64, n*want)
	for c := range n {
		for j, p := range cols {
			out[c*want+j] = x[c*d+p]
		}
	}
	return out, want
}

func (c *reader) add(x []float64, d int) {
	if d == 0 {
		return
	}
	for p := range c.n {
		for _, v := range x[p*d:][:d] {
			c.sum[p] += v
		}
	}
	c.rows += float64(d)
	blas64.Syrk(blas.NoTrans, 1, blas64.General{Rows: c.n, Cols: d, Stride: d, Data: x},
		1, blas64.Symmetric{N: c.n, Stride: c.n, Uplo: blas.Upper, Data: c.gram})
}

// covariance is the mean of h hᵀ, centred if the consumer can absorb means.
func (c *reader) covariance() *mat.SymDense {
	out := mat.NewSymDense(c.n, nil)
	for p := range c.n {
		for q := p; q < c.n; q++ {
			v := c.gram[p*c.n+q] / c.rows
			if c.affine {
				v -= c.sum[p] / c.rows * c.sum[q] / c.rows
			}
			out.SetSym(p, q, v)
		}
	}
	return out
}

// dataInput is the activation a linear node reads.
func (s *Subject) dataInput(n *onnxpb.NodeProto) string {
	for _, in := range n.GetInput() {
		if _, constant := s.Analysis.Roots[in]; !constant && in != "" {
			return in
		}
	}
	return ""
}

// sensitivity is S[p,q] = Σ w_p·w_q over everything a consumer does with
// channels p and q.
func (s *Subject) sensitivity(sp *coupling.Space, u coupling.Use, group int) (*mat.SymDense, error) {
	r := reading{node: u.Node, groups: make([]features, sp.Groups)}
	if err := s.appendFeatures(&r, newTransform(s.Analysis, nil), sp, u); err != nil {
		return nil, err
	}
	f := r.groups[group]
	if f.cols == 0 {
		return nil, fmt.Errorf("weight %q: channels of %q are not read", u.Tensor, sp.Name)
	}
	out := mat.NewSymDense(f.rows, nil)
	out.SymOuterK(1, mat.NewDense(f.rows, f.cols, f.data))
	return out, nil
}

// Choose keeps k of the channels of a group: greedily, each time the one that
// explains most of what the consumers compute from the channels not yet
// explained. With R the covariance left unexplained and S the sensitivity, the
// gain of channel j is R_j·S·R_j / R_jj; after a choice R is reduced by the
// rank-one part that j explains (a pivoted Cholesky factorisation with S-weighted
// pivots). Consumers count equally, each relative to its own total. pieces are
// ranges of which each must keep one where k allows. The result is sorted.
func (e *Evidence) Choose(group, k int, pieces []int) []int {
	type state struct {
		r, q  *mat.Dense // residual covariance; Q = A·R with S = AᵀA
		total float64
	}
	var states []*state
	n := 0
	for _, c := range e.readers[group] {
		n = c.n
		cov := c.covariance()
		a := squareRoot(c.sens)
		st := &state{r: mat.DenseCopyOf(cov), q: mat.NewDense(n, n, nil)}
		st.q.Mul(a, cov)
		var sr mat.Dense
		sr.Mul(c.sens, cov)
		st.total = mat.Trace(&sr)
		if st.total > 0 {
			states = append(states, st)
		}
	}
	taken := make([]bool, n)
	var keep []int
	gain := make([]float64, n)
	norms := make([]float64, n)
	measure := func() {
		clear(gain)
		for _, st := range states {
			clear(norms)
			for i := range n { // by rows: this is the inner loop of the whole choice
				for c, v := range st.q.RawRowView(i) {
					norms[c] += v * v
				}
			}
			for c := range n {
				if rr := st.r.At(c, c); rr > 1e-12*st.total/float64(n) {
					gain[c] += norms[c] / rr / st.total
				}
			}
		}
	}
	best := func(from, to int) int {
		measure()
		j := -1
		for c := from; c < to; c++ {
			if !taken[c] && (j < 0 || gain[c] > gain[j]) {
				j = c
			}
		}
		return j
	}
	take := func(j int) {
		taken[j] = true
		keep = append(keep, j)
		for _, st := range states {
			rr := st.r.At(j, j)
			if rr <= 0 {
				continue
			}
			rj := mat.VecDenseCopyOf(st.r.ColView(j))
			qj := mat.VecDenseCopyOf(st.q.ColView(j))
			st.q.RankOne(st.q, -1/rr, qj, rj)
			st.r.RankOne(st.r, -1/rr, rj, rj)
		}
	}
	if len(pieces) > 2 && k >= len(pieces)-1 {
		for i := 0; i+1 < len(pieces); i++ {
			if j := best(pieces[i], pieces[i+1]); j >= 0 {
				take(j)
			}
		}
	}
	for len(keep) < k {
		j := best(0, n)
		if j < 0 {
			break
		}
		take(j)
	}
	slices.Sort(keep)
	return keep
}

// squareRoot returns A with AᵀA = S for a positive semi-definite S.
func squareRoot(s *mat.SymDense) *mat.Dense {
	n := s.SymmetricDim()
	var eig mat.EigenSym
	if !eig.Factorize(s, true) {
		return mat.DenseCopyOf(s) // S itself orders channels nearly as well
	}
	var v mat.Dense
	eig.VectorsTo(&v)
	values := eig.Values(nil)
	a := mat.NewDense(n, n, nil)
	for i := range n {
		w := math.Sqrt(max(values[i], 0))
		for j := range n {
			a.Set(i, j, w*v.At(j, i))
		}
	}
	return a
}

// Recover returns the k×n matrix OutT by which consumers read channels that are
// gone out of those that stay: the least-squares reconstruction
// h ≈ Out·h_keep over all readers, kept channels standing for themselves. A
// little ridge keeps channels that hardly vary from being amplified.
func (e *Evidence) Recover(group int, keep []int) (Rows, error) {
	readers := e.readers[group]
	n := readers[0].n
	g := mat.NewSymDense(n, nil)
	for _, c := range readers {
		cov := c.covariance()
		if t := mat.Trace(cov); t > 0 {
			for p := range n {
				for q := p; q < n; q++ {
					g.SetSym(p, q, g.At(p, q)+cov.At(p, q)/t)
				}
			}
		}
	}
	k := len(keep)
	kk := mat.NewSymDense(k, nil)
	kn := mat.NewDense(k, n, nil)
	for i, p := range keep {
		for j, q := range keep {
			if j >= i {
				kk.SetSym(i, j, g.At(p, q))
			}
		}
		for q := range n {
			kn.Set(i, q, g.At(p, q))
		}
	}
	ridge := 1e-6*mat.Trace(kk)/float64(k) + 1e-300
	for i := range k {
		kk.SetSym(i, i, kk.At(i, i)+ridge)
	}
	var chol mat.Cholesky
	if !chol.Factorize(kk) {
		return nil, fmt.Errorf("the covariance of the kept channels is not positive")
	}
	var b mat.Dense
	if err := chol.SolveTo(&b, kn); err != nil {
		return nil, err
	}
	kept := map[int]int{}
	for i, p := range keep {
		kept[p] = i
	}
	rows := make(Rows, k)
	for i := range k {
		for q := range n {
			v := b.At(i, q)
			if j, ok := kept[q]; ok {
				v = 0
				if j == i {
					v = 1
				}
			}
			if v != 0 {
				rows[i] = append(rows[i], Entry{q, v})
			}
		}
	}
	return rows, nil
}

// Select finds maps that keep some of each space's own channels as they are,
// chosen by Choose, with consumers reading the rest through Recover. It needs
// o.Data. Spaces that no consumer can be observed for are merged by weights.
func Select(ctx context.Context, s *Subject, widths map[*coupling.Space]int, o Options) (*Result, error) {
	if o.Data == nil {
		return nil, fmt.Errorf("selecting channels by what they explain needs data")
	}
	res := &Result{Maps: Maps{}, Objective: map[*coupling.Space]float64{}, Sweeps: 1}
	var spaces []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if k, ok := widths[sp]; ok && k != sp.Width {
			spaces = append(spaces, sp)
		}
	}
	seen, err := Observe(ctx, s, spaces, o)
	if err != nil {
		return nil, err
	}
	blind := map[*coupling.Space]int{}
	for _, sp := range spaces {
		ev := seen[sp]
		m := &Map{}
		for g := range sp.Groups {
			if len(ev.readers[g]) == 0 {
				blind[sp] = widths[sp]
				break
			}
			keep := ev.Choose(g, widths[sp], starts(sp))
			out, err := ev.Recover(g, keep)
			if err != nil {
				return nil, fmt.Errorf("space %q: %w", sp.Name, err)
			}
			t := Transfer{OutT: out}
			for _, p := range keep {
				t.In = append(t.In, []Entry{{p, 1}})
			}
			m.Groups = append(m.Groups, t)
			m.Pieces = piecesOf(sp, keep)
		}
		if _, ok := blind[sp]; !ok {
			res.Maps[sp] = m
		}
	}
	if len(blind) > 0 {
		byWeights := o
		byWeights.By = Weights
		r, err := Merge(ctx, s, blind, byWeights)
		if err != nil {
			return nil, err
		}
		for sp, m := range r.Maps {
			res.Maps[sp], res.Objective[sp] = m, r.Objective[sp]
		}
	}
	return res, nil
}
