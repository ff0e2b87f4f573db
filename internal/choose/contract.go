package choose

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
)

// contracts reports whether a space is narrowed together on both sides of a contraction: the
// dimensions of the queries and keys of attention heads.
func contracts(sp *coupling.Space) bool { return sp.Inner && sp.Contracted[0] != "" }

// contract finds the k dimensions of a head from which the scores q·k lose least: with the Gram
// matrices C of queries and S of keys, the matrix of rank k for which E[(q·(I − M)·k)²] is least,
// had q and k nothing to do with each other, is that of the leading singular directions of
// C^½·S^½. Queries take In, keys Outᵀ. Where one matrix acts on both, it is that of the leading
// eigenvectors of both Gram matrices, each counting equally.
func (e *Evidence) contract(sp *coupling.Space, group, k int) (edit.Transfer, error) {
	if sp.Paired {
		p, err := directions(e.both(group), k, false)
		if err != nil {
			return edit.Transfer{}, err
		}
		return orthonormal(p, 1), nil
	}
	root, inverse, err := roots(e.gram(group, 1))
	if err != nil {
		return edit.Transfer{}, err
	}
	p, err := project(e.gram(group, 0), root, inverse, k)
	if err != nil {
		return edit.Transfer{}, err
	}
	return p.transfer()
}

// both is the sum of all Gram matrices of a group, each of the trace 1.
func (e *Evidence) both(group int) *mat.SymDense {
	out := mat.NewSymDense(e.seen[group][0].n, nil)
	for i := range e.seen[group] {
		c := e.gram(group, i)
		if t := mat.Trace(c); t > 0 {
			addScaled(out, 1/t, c)
		}
	}
	return out
}

// gram is the Gram matrix of what a consumer sees of a group: zeros where numbers are too large to
// be squared.
func (e *Evidence) gram(group, consumer int) *mat.SymDense {
	c := e.seen[group][consumer].sums().about(nil)
	if t := mat.Trace(c); math.IsNaN(t) || math.IsInf(t, 0) {
		return mat.NewSymDense(c.SymmetricDim(), nil)
	}
	return c
}

// Lost returns, for every number k = 0…n of channels that a space may keep, the share of what reads
// it that is lost, the way the space is narrowed; selects rules a rotation out.
func (e *Evidence) Lost(sp *coupling.Space, selects bool) ([]float64, error) {
	n := sp.Width
	out := make([]float64, n+1)
	switch {
	case contracts(sp):
		for g := range e.seen {
			gram, err := e.scores(sp, g)
			if err != nil {
				return nil, err
			}
			if err := addTail(out, gram, 0, 1/float64(len(e.seen))); err != nil {
				return nil, err
			}
		}
		return out, nil
	case rotates(sp) && !selects:
		gram, kept := e.both(0), 0
		if sp.Stream.Centred {
			gram, kept = aboutMean(gram), 1
		}
		return out, addTail(out, gram, kept, 1)
	}
	return e.Unexplained(sp.Starts()), nil
}

// LossBytes is about what Lost takes beside the evidence: an inverse of every consumer's Gram matrix,
// and scratch of that size, group by group.
func (e *Evidence) LossBytes() (bytes int64) {
	for _, consumers := range e.seen {
		all, largest := int64(0), int64(0)
		for _, s := range consumers {
			d := int64(s.n)
			if s.exact != nil {
				d = int64(s.exact.gram.SymmetricDim())
			}
			all, largest = all+d*d, max(largest, d*d)
		}
		bytes = max(bytes, 8*(all+3*largest))
	}
	return bytes
}

// scores is a matrix whose eigenvalues are what the dimensions that contract finds are worth.
func (e *Evidence) scores(sp *coupling.Space, group int) (*mat.SymDense, error) {
	if sp.Paired {
		return e.both(group), nil
	}
	root, _, err := roots(e.gram(group, 1))
	if err != nil {
		return nil, err
	}
	var half, seen mat.Dense
	half.Mul(root, e.gram(group, 0))
	seen.Mul(&half, root)
	return symmetric(&seen), nil
}

// addTail adds, for every number of directions, the share of the trace that the others hold, times a
// factor; so many directions are kept besides and hold nothing.
func addTail(out []float64, gram *mat.SymDense, besides int, factor float64) error {
	values, _, err := eigen(gram)
	if err != nil {
		return err
	}
	total := 0.0
	for _, v := range values {
		total += max(v, 0)
	}
	rest := total
	for k := range out {
		if at := len(values) - k + besides; k > besides && at >= 0 && at < len(values) {
			rest -= max(values[at], 0)
		}
		if total > 0 && k < len(out)-1 {
			out[k] += factor * max(rest/total, 0)
		}
	}
	return nil
}
