package coupling

import (
	"errors"
	"maps"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A contraction is a sum over an axis of two live tensors, such as Q·Kᵀ. With channels q and k
// changed to In·q and M·k, the sum stays what it was for M = Outᵀ, since qᵀk = qᵀ(Outᵀ·…): the
// second tensor takes the place of a consumer's weights. So whatever lies on its side takes the
// other matrix.
type contraction struct {
	node        *onnxpb.NodeProto
	left, right string
	term        *Axis
}

// A bend is an axis along which a node acts in a way that is not linear.
type bend struct {
	node *onnxpb.NodeProto
	term *Axis
}

var errSelf = errors.New("a tensor is contracted with itself over it")

// sides colours the live tensors that hold a contracted atom: true for those on the side that takes
// the place of weights, which must be linear; false for the others. It is an error if a tensor lies
// on both sides (x·xᵀ, or a residual stream contracted with what was added to it) or if neither
// side is linear.
func (an *analyzer) sides(atom *Axis) (side map[string]bool, err error) {
	t := an.tied(atom)
	bent := an.bent(atom)
	side = map[string]bool{}
	for _, start := range t.tensors {
		if _, done := side[start]; done {
			continue
		}
		reached := t.colour(start, side)
		if reached == nil {
			return nil, errSelf
		}
		bends := func(second bool) bool {
			return slices.ContainsFunc(reached, func(name string) bool { return bent[name] && side[name] == second })
		}
		if bends(true) && bends(false) {
			return nil, errors.New("both tensors contracted over it pass a nonlinear operator")
		}
		// Sums and halves do not pass where the operator is not linear. Where neither side has one,
		// the order of the nodes shall not matter: the left operand is first.
		first := slices.IndexFunc(t.contractions, func(c contraction) bool { return slices.Contains(reached, c.left) })
		if bends(true) || !bends(false) && first >= 0 && side[t.contractions[first].left] {
			for _, name := range reached {
				side[name] = !side[name]
			}
		}
	}
	return side, nil
}

// ties says which live tensors that hold an atom lie on one side of its contractions, and which on
// opposite ones.
type ties struct {
	tensors      []string
	contractions []contraction
	to           map[string][]tie
}

type tie struct {
	tensor   string
	opposite bool
}

// tied finds the ties of an atom: a node ties all its tensors to one side but for the second of two
// that it contracts.
func (an *analyzer) tied(atom *Axis) *ties {
	t := &ties{to: map[string][]tie{}}
	holds := map[string]bool{}
	for _, v := range an.order {
		if v.live() && !holds[v.name] && v.holds(atom) {
			holds[v.name] = true
			t.tensors = append(t.tensors, v.name)
		}
	}
	at := map[*onnxpb.NodeProto]contraction{}
	for _, c := range an.contractions {
		if c.term.Holds(atom) {
			at[c.node] = c
			t.contractions = append(t.contractions, c)
		}
	}
	for _, n := range an.graph.Nodes {
		c, contracts := at[n]
		if contracts {
			t.tie(c.left, c.right, true)
		}
		first := ""
		for _, name := range slices.Concat(n.GetInput(), n.GetOutput()) {
			switch {
			case !holds[name] || name == c.right && name != c.left:
			case first == "":
				first = name
			default:
				t.tie(first, name, false)
			}
		}
	}
	return t
}

func (t *ties) tie(a, b string, opposite bool) {
	t.to[a] = append(t.to[a], tie{b, opposite})
	t.to[b] = append(t.to[b], tie{a, opposite})
}

// colour gives a side to a tensor and to all that are tied to it, which it returns; nil if one
// would lie on both sides.
func (t *ties) colour(start string, side map[string]bool) (reached []string) {
	side[start] = false
	reached = []string{start}
	for i := 0; i < len(reached); i++ {
		for _, e := range t.to[reached[i]] {
			want := side[reached[i]] != e.opposite
			old, done := side[e.tensor]
			if done && old != want {
				return nil
			}
			if !done {
				side[e.tensor] = want
				reached = append(reached, e.tensor)
			}
		}
	}
	return reached
}

// bent lists the tensors that a nonlinear operator makes channel by channel of an atom's.
func (an *analyzer) bent(atom *Axis) map[string]bool {
	out := map[string]bool{}
	for _, b := range an.bends {
		if b.term.Holds(atom) {
			for _, name := range b.node.GetOutput() {
				out[name] = true
			}
		}
	}
	return out
}

// additive reports whether a carried weight is added to the channels, so that a share of a channel
// takes a share of it. Factors, slopes and deviations are not.
func additive(u Use) bool {
	if u.Node.GetOpType() == "BatchNormalization" { // x, scale, shift, mean, variance
		in := u.Node.GetInput()
		return len(in) == 5 && (in[2] == u.Tensor || in[3] == u.Tensor)
	}
	kind := onnxio.LinearKindOf(u.Node)
	return kind != onnxio.NotLinear && kind != onnxio.Recurrent || onnxio.FactsOf(u.Node).Has(onnxio.Adds)
}

// transpose marks the uses on the second side of a contracted atom, and returns the activations on
// it. Where the sides cannot be told apart only permutations are exact: for them both matrices are
// one.
func (an *analyzer) transpose(atom *Axis, us []Use) (second map[string]bool) {
	side, err := an.sides(atom)
	if err != nil {
		atom.pair(err.Error())
		return nil
	}
	for i, u := range us {
		if u.Role == Carried && !additive(u) {
			continue // a factor is the same for a channel and for its share
		}
		tensors := slices.Concat(u.Node.GetOutput(), u.Node.GetInput())
		if u.Role == Consumed {
			tensors = slices.Concat(u.Node.GetInput(), u.Node.GetOutput())
		}
		for _, name := range tensors {
			if s, ok := side[name]; ok {
				us[i].Transposed = s
				break
			}
		}
	}
	maps.DeleteFunc(side, func(_ string, second bool) bool { return !second })
	return side
}
