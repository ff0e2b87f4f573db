package choose

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A consumer is one activation through which a space is read, with the sensitivity of each group.
type consumer struct {
	use    coupling.Use
	tap    channels.Tap
	sens   []sensitivity
	affine bool
}

// detail says how much is to be known about a sensitivity.
type detail uint8

const (
	diagonal detail = iota // sensitivity.own
	anyForm                // and S, or a smaller factor of it
	whole                  // and S
)

// consumersOf lists the consumers that can be observed, in the order of uses.
func consumersOf(s *edit.Subject, sp *coupling.Space) []*consumer {
	var out []*consumer
	done := map[string]bool{}
	for _, u := range sp.Consumers() {
		live := s.Live(u.Node)
		if len(live) == 0 || done[live[0]+"|"+u.Tensor] {
			continue
		}
		if tap, ok := channels.TapOf(s, live[0], sp); ok {
			done[live[0]+"|"+u.Tensor] = true
			out = append(out, &consumer{use: u, tap: tap, affine: takesBias(u.Node)})
		}
	}
	return out
}

// takesBias reports whether an operator has a place for a bias.
func takesBias(n *onnxpb.NodeProto) bool {
	return n.GetOpType() != "MatMul" && n.GetOpType() != "Einsum"
}

// weigh reads the sensitivities of a consumer.
func (c *consumer) weigh(s *edit.Subject, know detail) error {
	c.sens = make([]sensitivity, c.tap.Space.Groups)
	for g := range c.sens {
		var err error
		if c.sens[g], err = sensitivityOf(s, c.tap.Space, c.use, g, know); err != nil {
			return err
		}
	}
	return nil
}

// producersOf stands in for the consumers of a space that none can be observed for, since another
// activation reads it (a dot product of two embeddings) or a weight that cannot be told apart: what
// the channels are before the nonlinearity, all of the same weight.
func producersOf(s *edit.Subject, sp *coupling.Space, know detail) []*consumer {
	var out []*consumer
	for _, t := range channels.Taps(s, sp) {
		c := &consumer{use: sp.Producers()[0], tap: t, affine: true}
		one := sensitivity{own: slices.Repeat([]float64{1}, sp.Width)}
		if know > diagonal {
			one.whole = identity(sp.Width)
		}
		c.sens = slices.Repeat([]sensitivity{one}, sp.Groups)
		out = append(out, c)
	}
	return out
}

// contractedOf stands in for the consumers of a space over which two activations are contracted: both
// of these, none where they do not show all channels.
func contractedOf(s *edit.Subject, sp *coupling.Space) (out []*consumer) {
	for _, tensor := range sp.Contracted {
		tap, ok := channels.TapOf(s, tensor, sp)
		if !ok || !sp.Inner {
			return nil
		}
		one := sensitivity{own: slices.Repeat([]float64{1}, sp.Width), whole: identity(sp.Width)}
		out = append(out, &consumer{use: sp.Producers()[0], tap: tap, sens: slices.Repeat([]sensitivity{one}, sp.Groups)})
	}
	return out
}

func identity(n int) *mat.SymDense {
	out := mat.NewSymDense(n, nil)
	for i := range n {
		out.SetSym(i, i, 1)
	}
	return out
}

// sensitivity is S = Σ w wᵀ over a consumer's outputs and kernel: how errors of the channels add up
// in what it computes.
type sensitivity struct {
	own []float64 // the diagonal of S
	// whole is S, or w with wᵀ·w = S where that is smaller. Neither is known of spaces too wide to
	// be eliminated, which need no more than the diagonal.
	whole *mat.SymDense
	w     *mat.Dense
}

// blockDiagonal puts the parents' sensitivities side by side.
func blockDiagonal(blocks []sensitivity) sensitivity {
	if len(blocks) == 1 {
		return blocks[0]
	}
	var out sensitivity
	for _, b := range blocks {
		out.own = append(out.own, b.own...)
	}
	if blocks[0].whole == nil {
		return out
	}
	out.whole = mat.NewSymDense(len(out.own), nil)
	at := 0
	for _, b := range blocks {
		k := b.whole.SymmetricDim()
		for i := range k {
			for j := i; j < k; j++ {
				out.whole.SetSym(at+i, at+j, b.whole.At(i, j))
			}
		}
		at += k
	}
	return out
}

// sensitivityOf is S[p,q] = Σ w_p·w_q over everything a consumer does with channels p and q.
func sensitivityOf(s *edit.Subject, sp *coupling.Space, u coupling.Use, group int, know detail) (out sensitivity, err error) {
	if know == diagonal {
		out.own, err = channels.Energies(s, sp, u, group)
		return out, err
	}
	r, err := channels.Read(s, edit.NewTransform(s.Analysis, nil), edit.GroupsOf(sp), []coupling.Use{u})
	if err != nil {
		return out, err
	}
	f := r[group]
	if f.Cols == 0 {
		return out, fmt.Errorf("weight %q: channels of %q are not read", u.Tensor, sp.Name)
	}
	out.own = make([]float64, f.Rows)
	for _, p := range f.Parts {
		channels.Squares(out.own, dense.New(f.Rows, p.Cols, p.Data))
	}
	if know == anyForm && f.Rows > channels.LeastSamples && f.Cols < f.Rows {
		out.w = mat.NewDense(f.Cols, f.Rows, nil)
		at := 0
		for _, p := range f.Parts {
			for i, v := range p.Data[:f.Rows*p.Cols] {
				out.w.Set(at+i%p.Cols, i/p.Cols, float64(v))
			}
			at += p.Cols
		}
		return out, nil
	}
	whole := dense.New[float64](f.Rows, f.Rows, nil)
	for _, p := range f.Parts {
		dense.AddGram(whole, 1, dense.New(f.Rows, p.Cols, p.Data))
	}
	dense.Mirror(whole)
	out.whole = mat.NewSymDense(f.Rows, whole.Data)
	return out, nil
}
