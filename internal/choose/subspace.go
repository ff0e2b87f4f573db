package choose

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
)

// maxSubspace bounds the channels of a space that is projected, since the eigenvectors of a space
// of n channels take n³ operations.
const maxSubspace = 1024

// projects reports whether a space is narrowed to a subspace rather than to some of its channels:
// where nothing but operators that are linear and act alike on every channel lie between producers
// and consumers, any matrix may act on it, and every consumer has to have shown what it reads.
func projects(s *edit.Subject, sp *coupling.Space) bool {
	if !sp.Linear || len(sp.Pieces) != 1 || sp.Width > maxSubspace {
		return false
	}
	seen := consumersOf(s, sp)
	return !slices.ContainsFunc(sp.Consumers(), func(u coupling.Use) bool {
		return !slices.ContainsFunc(seen, func(c *consumer) bool { return c.use.Tensor == u.Tensor })
	})
}

// subspace finds the k-dimensional subspace of a group's channels from which the consumers lose
// least: with C the covariance of the channels and S the sensitivity of the consumers, both summed
// over consumers such that each counts equally, the projection P of rank k that minimises
//
//	tr S·(I − P)·C·(I − P)ᵀ
//
// is P = S^-½·U·Uᵀ·S^½, where U are the leading k eigenvectors of S^½·C·S^½ (principal components
// weighed by what is read of them; reduced-rank regression, Izenman 1975). In is UᵀS^½ and Out is
// S^-½·U, up to the scale of each new channel. Of few rows C is shrunk towards its diagonal, as
// much as loses least on held-out rows; else it would have no more directions than there are rows.
// The second result is the share that is lost.
func (e *Evidence) subspace(group, k int) (edit.Transfer, float64, error) {
	w := weigh(e.seen[group])
	root, inverse, err := roots(w.sens)
	if err != nil {
		return edit.Transfer{}, 0, err
	}
	shares := shrinkages[:1]
	if w.few {
		shares = shrinkages
	}
	var best *projection
	for _, share := range shares {
		p, err := project(shrunk(w.cov, share), root, inverse, k)
		if err != nil {
			return edit.Transfer{}, 0, err
		}
		if w.few {
			p.lost = p.lostOf(w.held, w.sens)
		}
		if best == nil || p.lost < best.lost {
			best = p
		}
	}
	t, err := best.transfer()
	return t, best.lost, err
}

// rowsEach is the number of rows a channel up to which a covariance is shrunk.
const rowsEach = 10

// weighed are sums over consumers, each counting equally.
type weighed struct {
	cov, held *mat.SymDense // covariances of the channels, held of held-out rows
	sens      *mat.SymDense
	few       bool // rows
}

func weigh(seen []*sight) weighed {
	n := seen[0].n
	w := weighed{cov: mat.NewSymDense(n, nil), held: mat.NewSymDense(n, nil), sens: mat.NewSymDense(n, nil)}
	for _, s := range seen {
		c := s.covariance()
		var product mat.Dense
		product.Mul(s.sens.whole, c)
		varies, reads := mat.Trace(c), mat.Trace(&product)
		if !(varies > 0 && reads > 0) {
			continue
		}
		addScaled(w.cov, 1/varies, c)
		addScaled(w.sens, varies/reads, s.sens.whole)
		if h := s.heldMoments(); h != nil {
			addScaled(w.held, 1/varies, h)
			w.few = w.few || s.rows < rowsEach*float64(n)
		}
	}
	return w
}

// A projection is onto k of n channels and back.
type projection struct {
	in, out mat.Dense // k×n, n×k
	lost    float64   // share of what is read that is lost
}

// project finds the subspace for a covariance and the roots of a sensitivity.
func project(cov *mat.SymDense, root, inverse *mat.Dense, k int) (*projection, error) {
	n := cov.SymmetricDim()
	var half, seen mat.Dense
	half.Mul(root, cov)
	seen.Mul(&half, root)
	values, vectors, err := eigen(symmetric(&seen))
	if err != nil {
		return nil, err
	}
	p := &projection{}
	u := vectors.Slice(0, n, n-k, n)
	p.in.Mul(u.T(), root)
	p.out.Mul(inverse, u)
	total, kept := 0.0, 0.0
	for i, v := range values {
		total += max(v, 0)
		if i >= n-k {
			kept += max(v, 0)
		}
	}
	if total > 0 {
		p.lost = max(1-kept/total, 0)
	}
	return p, nil
}

// transfer writes the projection as a map, the most important channel first.
func (p *projection) transfer() (edit.Transfer, error) {
	k, n := p.in.Dims()
	t := edit.Transfer{In: make(edit.Rows, k), OutT: make(edit.Rows, k)}
	for j := range k {
		row := p.in.RawRowView(k - 1 - j)
		scale := mat.Norm(mat.NewVecDense(n, row), 2)
		if !(scale > 0) {
			return edit.Transfer{}, fmt.Errorf("only %d directions of its channels are read", j)
		}
		if slices.MaxFunc(row, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) }) < 0 {
			scale = -scale // eigenvectors have no sign of their own
		}
		for c := range n {
			t.In[j] = append(t.In[j], edit.Entry{Col: c, Val: row[c] / scale})
			t.OutT[j] = append(t.OutT[j], edit.Entry{Col: c, Val: p.out.At(c, k-1-j) * scale})
		}
	}
	return t, nil
}

// lostOf is the share of what is read that is lost of rows with other moments.
func (p *projection) lostOf(moments, sens *mat.SymDense) float64 {
	n := moments.SymmetricDim()
	var through, off, part, lost mat.Dense
	through.Mul(&p.out, &p.in)
	off.Sub(identity(n), &through)
	part.Mul(&off, moments)
	lost.Mul(&part, off.T())
	part.Mul(sens, moments)
	all := mat.Trace(&part)
	part.Mul(sens, &lost)
	if !(all > 0) {
		return 0
	}
	return mat.Trace(&part) / all
}

// shrunk is (1−share)·C + share·diag C.
func shrunk(c *mat.SymDense, share float64) *mat.SymDense {
	n := c.SymmetricDim()
	out := mat.NewSymDense(n, nil)
	for i := range n {
		out.SetSym(i, i, c.At(i, i))
		for j := i + 1; j < n; j++ {
			out.SetSym(i, j, (1-share)*c.At(i, j))
		}
	}
	return out
}

// addScaled adds f·x to a.
func addScaled(a *mat.SymDense, f float64, x *mat.SymDense) {
	var scaled mat.SymDense
	scaled.ScaleSym(f, x)
	a.AddSym(a, &scaled)
}

// roots returns S^½ and S^-½. A little is added to S, so that what nobody reads is kept last but
// does not have to be divided by zero.
func roots(s *mat.SymDense) (root, inverse *mat.Dense, err error) {
	values, vectors, err := eigen(s)
	if err != nil {
		return nil, nil, err
	}
	n := len(values)
	ridge := 1e-6*mat.Trace(s)/float64(n) + math.SmallestNonzeroFloat64
	root, inverse = mat.NewDense(n, n, nil), mat.NewDense(n, n, nil)
	scaled := func(power float64) *mat.Dense {
		d := mat.DenseCopyOf(vectors)
		d.Apply(func(_, j int, v float64) float64 { return v * math.Pow(max(values[j], 0)+ridge, power) }, d)
		return d
	}
	root.Mul(scaled(0.5), vectors.T())
	inverse.Mul(scaled(-0.5), vectors.T())
	return root, inverse, nil
}

// eigen returns eigenvalues, ascending, and eigenvectors as columns.
func eigen(s *mat.SymDense) ([]float64, *mat.Dense, error) {
	var e mat.EigenSym
	if !e.Factorize(s, true) {
		return nil, nil, fmt.Errorf("the eigenvectors of its covariance cannot be computed")
	}
	var v mat.Dense
	e.VectorsTo(&v)
	return e.Values(nil), &v, nil
}

// symmetric is (x + xᵀ)/2.
func symmetric(x *mat.Dense) *mat.SymDense {
	n, _ := x.Dims()
	out := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			out.SetSym(i, j, (x.At(i, j)+x.At(j, i))/2)
		}
	}
	return out
}
