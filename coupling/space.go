package coupling

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Space is a set of channels that must be changed together.
type Space struct {
	// Name is taken from the first weight that produces the space, with the range of channels where
	// it holds only part of the axis.
	Name string
	// Width is the number of channels; with Groups > 1, of each group.
	Width int
	// Groups counts the values of the index factor (the groups of a grouped Conv): each has
	// channels and a plan of its own, all of one width.
	Groups int
	// Frozen says that nothing may change, Reason why.
	Frozen bool
	Reason string
	// Rigid says why the width must stay although channels may be permuted; "" if they may also be
	// merged.
	Rigid string
	// Normalised: the space is Rigid for no other reason than that a normalisation takes statistics
	// over all its channels (LayerNormalization). Fewer channels have other statistics, so the
	// width is left alone unless it is given by another model, and then the normalisation has to be
	// refitted.
	Normalised bool
	// Stream says how a residual stream that is Normalised may be narrowed all the same; nil for
	// other spaces.
	Stream *Stream
	// Paired: what makes the channels and what reads them cannot take different matrices, since one
	// weight does both, or a tensor is contracted with itself. Only permutations are exact, so that
	// the space is Rigid too.
	Paired bool
	// Heads: the channels are attention heads.
	Heads bool
	// Inner: the channels are the dimensions of attention heads. Heads go whole, so that the space is
	// Rigid; but any matrix may act on the dimensions of each head, so that under a budget they may
	// be narrowed beside the heads. Where the space is Paired, since queries and keys are made as one
	// tensor, the rows of the matrix have to be orthonormal: then it is its own pseudoinverse.
	Inner bool
	// Contracted are the two activations that are contracted over an Inner space (Q and K), the
	// second of which is on the Second side; empty where weights read it.
	Contracted [2]string
	// Second lists the activations on the second side of a contraction of two (the K of Q·Kᵀ),
	// which take Outᵀ where others take In; see Use.Transposed.
	Second map[string]bool
	// Residual: a live Add joins two produced tensors along the space.
	Residual bool
	// Linear: only operators that are linear and act alike on every channel lie between producers
	// and consumers, so any matrix may act on the space.
	Linear bool
	// Pieces are the atoms that make up the space; more than one where several ranges of channels
	// have identical uses.
	Pieces []*Axis
	// Index is the factor that selects the plan; nil when Groups is 1.
	Index *Axis
	// Uses lists every weight axis the space touches.
	Uses []Use

	// whole: the space is Rigid for no other reason than that what it is a factor of loses whole
	// blocks of it already (the channels of a depthwise multiplier, the dimensions of heads), or that
	// it is a single channel.
	// Another model may give it another width.
	whole bool
	// beside are the sizes of what stands beside the space in the products of weights' axes: a
	// product has Width times as many positions.
	beside []int
}

// A Use is one weight axis that a space runs along.
type Use struct {
	Tensor string
	Axis   int
	Role   Role
	Node   *onnxpb.NodeProto
	// Transposed: the weight stands on the second side of a contraction of two activations (the K
	// of Q·Kᵀ), so that it takes Outᵀ where its role would take In, and the other way round.
	Transposed bool
}

// Producers returns the uses in which the space is a weight's output.
func (s *Space) Producers() []Use { return s.role(Produced) }

// Consumers returns the uses in which the space is summed over.
func (s *Space) Consumers() []Use { return s.role(Consumed) }

func (s *Space) role(r Role) []Use {
	var out []Use
	for _, u := range s.Uses {
		if u.Role == r {
			out = append(out, u)
		}
	}
	return out
}

// Narrowable reports whether the space may get fewer channels.
func (s *Space) Narrowable() bool { return !s.Frozen && s.Rigid == "" }

// Resizable reports whether the space may take the width that another model has.
func (s *Space) Resizable() bool {
	return !s.Frozen && (s.Rigid == "" || s.Normalised || s.whole)
}

// Slimmable reports whether the space may get fewer channels when a model is compressed: it is
// narrowable, or a normalised stream.
func (s *Space) Slimmable() bool { return s.Narrowable() || !s.Frozen && s.Stream != nil }

// Step is what the width must be a multiple of for every axis that operators see to have multiples
// of the given number of positions. Heads are counted one by one.
func (s *Space) Step(multiple int) int {
	step := 1
	for !s.Heads && slices.ContainsFunc(s.beside, func(n int) bool { return step*n%multiple != 0 }) {
		step++
	}
	return step
}

// SpaceOf returns the space an atom belongs to, or nil.
func (a *Analysis) SpaceOf(atom *Axis) *Space { return a.spaceOf[atom.find()] }

// Unaligned says of an atom why its positions may mean different things in two models of one
// architecture though no space moves them: something that Monge cannot follow reads or makes it. It
// is "" for the channels of spaces that may change, and for what means the same everywhere: inputs
// and outputs of the model, kernel taps, positions.
func (a *Analysis) Unaligned(atom *Axis) string {
	atom = atom.find()
	s := a.spaceOf[atom]
	switch {
	case atom.atom.common || atom.size == 1 || s != nil && !s.Frozen:
		return ""
	case atom.atom.frozen != "":
		return atom.atom.frozen
	case s != nil:
		return s.Reason
	}
	return ""
}

// IndexOf is the space whose channels each have channels of this one: the heads of their
// dimensions. It is nil for a space of one group, and where groups are no channels.
func (a *Analysis) IndexOf(s *Space) *Space {
	if s.Index == nil {
		return nil
	}
	return a.spaceOf[s.Index.find()]
}

// TakesIn reports whether a map of the space acts on the weight's axis by In, how channels are
// made; the others take Outᵀ, how they are read.
func (u Use) TakesIn() bool { return (u.Role != Consumed) != u.Transposed }

func (u Use) String() string {
	return fmt.Sprintf("%s of %q (%s)", u.Role, u.Tensor, onnxio.Label(u.Node))
}
