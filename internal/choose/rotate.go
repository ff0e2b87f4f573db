package choose

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
)

// rotates reports whether a space can be narrowed by a matrix with orthonormal rows, since nothing
// else leaves normalisations what they divide by.
func rotates(sp *coupling.Space) bool { return sp.Stream.Rotates() && sp.Width <= maxSubspace }

// rotate finds the map of a normalised stream onto k of n channels: P, with orthonormal rows that
// span the leading directions of the Gram matrix of what is read of the stream, each consumer
// counting equally (Ashkboos et al., SliceGPT, 2024). Where some normalisation takes off the mean,
// P leads the vector of ones to that of ones: the first of its k directions is the mean. With In =
// √(k/n)·P the mean square of k channels is that of n, as far as these lie in the rows of P; what is
// lost of it on the average is made up for in the scales of the normalisations. Where data show
// nothing, or numbers too large to be squared, the weights have to do.
func (e *Evidence) rotate(s *edit.Subject, sp *coupling.Space, k int) (*edit.Map, error) {
	gram := e.both(0)
	if mat.Trace(gram) == 0 {
		var err error
		if gram, err = gramOfWeights(s, sp); err != nil {
			return nil, err
		}
	}
	return e.rotation(sp, gram, k)
}

// rotation is the map of a stream for a Gram matrix.
func (e *Evidence) rotation(sp *coupling.Space, gram *mat.SymDense, k int) (*edit.Map, error) {
	p, err := directions(gram, k, sp.Stream.Centred)
	if err != nil {
		return nil, err
	}
	m := &edit.Map{Pieces: []int{k}, Groups: []edit.Transfer{orthonormal(p, math.Sqrt(float64(k)/float64(sp.Width)))}, Scale: map[string]edit.Rows{}}
	for _, scale := range sp.Stream.Scales {
		m.Scale[scale.Weight] = scales(p, e.kept(p, scale))
	}
	return m, nil
}

// directions are the k×n rows of P: the leading eigenvectors of a Gram matrix, the first one first,
// behind the mean where that has to stay what it is.
func directions(gram *mat.SymDense, k int, centred bool) (*mat.Dense, error) {
	n := gram.SymmetricDim()
	if !centred {
		_, vectors, err := eigen(gram)
		if err != nil {
			return nil, err
		}
		p := mat.NewDense(k, n, nil)
		for j := range k {
			p.SetRow(j, signed(mat.Col(nil, n-1-j, vectors)))
		}
		return p, nil
	}
	if k < 2 && n > 1 {
		return nil, fmt.Errorf("a stream whose mean is taken off cannot get fewer than 2 channels")
	}
	out := aboutMean(gram)
	// The vector of ones, which no other direction may hold anything of, comes last.
	below := mat.Trace(out) + 1
	for i := range n {
		for j := i; j < n; j++ {
			out.SetSym(i, j, out.At(i, j)-below/float64(n))
		}
	}
	_, vectors, err := eigen(out)
	if err != nil {
		return nil, err
	}
	// k−1 directions in k coordinates that are orthogonal to the ones (Helmert), and the mean.
	p := mat.NewDense(k, n, nil)
	for i := range k {
		for c := range n {
			p.Set(i, c, 1/math.Sqrt(float64(k)*float64(n)))
		}
	}
	for j := 1; j < k; j++ {
		v := signed(mat.Col(nil, n-j, vectors))
		f := 1 / math.Sqrt(float64(j*(j+1)))
		for i := range j + 1 {
			w := f
			if i == j {
				w = -f * float64(j)
			}
			for c := range n {
				p.Set(i, c, p.At(i, c)+w*v[c])
			}
		}
	}
	return p, nil
}

// aboutMean is (I − 11ᵀ/n)·G·(I − 11ᵀ/n): the mean of the channels is taken off.
func aboutMean(gram *mat.SymDense) *mat.SymDense {
	n := gram.SymmetricDim()
	center := mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			center.Set(i, j, -1/float64(n))
		}
		center.Set(i, i, 1-1/float64(n))
	}
	var half, about mat.Dense
	half.Mul(center, gram)
	about.Mul(&half, center)
	return symmetric(&about)
}

// signed turns a vector such that its largest element is positive: eigenvectors have no sign of
// their own.
func signed(v []float64) []float64 {
	at := 0
	for i, x := range v {
		if math.Abs(x) > math.Abs(v[at])*(1+1e-9) {
			at = i
		}
	}
	if v[at] < 0 {
		for i := range v {
			v[i] = -v[i]
		}
	}
	return v
}

// orthonormal writes P as a map: In = scale·P and Outᵀ = P/scale.
func orthonormal(p *mat.Dense, scale float64) edit.Transfer {
	k, n := p.Dims()
	t := edit.Transfer{In: make(edit.Rows, k), OutT: make(edit.Rows, k)}
	for j := range k {
		for c := range n {
			t.In[j] = append(t.In[j], edit.Entry{Col: c, Val: scale * p.At(j, c)})
			t.OutT[j] = append(t.OutT[j], edit.Entry{Col: c, Val: p.At(j, c) / scale})
		}
	}
	return t
}

// scales are the rows that take the diagonal of P·Γ·Pᵀ from that of Γ, times a factor: of equal
// numbers they make equal ones, of others what is nearest to them in the directions of P.
func scales(p *mat.Dense, factor float64) edit.Rows {
	k, n := p.Dims()
	out := make(edit.Rows, k)
	for j := range k {
		for c := range n {
			if x := p.At(j, c); x != 0 {
				out[j] = append(out[j], edit.Entry{Col: c, Val: factor * x * x})
			}
		}
	}
	return out
}

// kept is the square root of the share of a normalisation's mean square that P keeps, as its
// readers see it: 1 where none is observed.
func (e *Evidence) kept(p *mat.Dense, scale *coupling.NormScale) float64 {
	sum, count := 0.0, 0
	for i := range e.seen[0] {
		if i >= len(e.uses) || !slices.ContainsFunc(scale.Readers, func(u coupling.Use) bool { return u.Node == e.uses[i].Node }) {
			continue
		}
		c := e.gram(0, i)
		var half, inside mat.Dense
		half.Mul(p, c)
		inside.Mul(&half, p.T())
		if all := mat.Trace(c); all > 0 && !math.IsInf(all, 0) {
			sum += math.Sqrt(mat.Trace(&inside) / all)
			count++
		}
	}
	if count == 0 || sum == 0 {
		return 1
	}
	return sum / float64(count)
}

// Rotations are the maps of streams that rotate, by weights alone: what producers make of inputs of
// which all directions are alike, and what consumers read, each as a whole counting as much. widths
// may hold other spaces too.
func Rotations(s *edit.Subject, widths map[*coupling.Space]int) (_ edit.Maps, err error) {
	defer guard.Recover(&err)
	out := edit.Maps{}
	for sp, k := range widths {
		if k == sp.Width || !rotates(sp) || sp.Stream.Skewed != "" {
			continue
		}
		gram, err := gramOfWeights(s, sp)
		if err != nil {
			return nil, fmt.Errorf("space %q: %w", sp.Name, err)
		}
		if out[sp], err = (&Evidence{seen: [][]*sight{nil}}).rotation(sp, gram, k); err != nil {
			return nil, fmt.Errorf("space %q: %w", sp.Name, err)
		}
	}
	return out, nil
}

// gramOfWeights is Σ w·wᵀ over producers, and over consumers, each of the two to the trace 1.
func gramOfWeights(s *edit.Subject, sp *coupling.Space) (*mat.SymDense, error) {
	t := edit.NewTransform(s.Analysis, nil)
	gram := mat.NewSymDense(sp.Width, nil)
	for _, uses := range [][]coupling.Use{sp.Producers(), sp.Consumers()} {
		read, err := channels.Read(s, t, edit.GroupsOf(sp), uses)
		if err != nil {
			return nil, err
		}
		sum := dense.New[float64](sp.Width, sp.Width, nil)
		for _, p := range read[0].Parts {
			dense.AddGram(sum, 1, dense.New(sp.Width, p.Cols, p.Data))
		}
		dense.Mirror(sum)
		all := mat.NewSymDense(sp.Width, sum.Data)
		if trace := mat.Trace(all); trace > 0 {
			addScaled(gram, 1/trace, all)
		}
	}
	return gram, nil
}
