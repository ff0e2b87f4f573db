package coupling

import (
	"errors"
	"slices"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A contraction is a sum over an axis of two live tensors, such as Q·Kᵀ. With
// channels q and k changed to In·q and M·k, the sum stays what it was for
// M = Outᵀ, since qᵀk = qᵀ(Outᵀ·…): the second tensor takes the place of a
// consumer's weights. So whatever lies on its side takes the other matrix.
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

// sides colours the live tensors that hold a contracted atom: true for those on
// the side that takes the place of weights, which must be linear; false for the
// others. It is an error if a tensor lies on both sides (x·xᵀ, or a residual
// stream contracted with what was added to it) or if neither side is linear.
func (an *analyzer) sides(atom *Axis) (side map[string]bool, err error) {
	var holders []string
	holds := map[string]bool{}
	for _, v := range an.order {
		if v.live() && !holds[v.name] && slices.ContainsFunc(v.axes, func(a *Axis) bool { return a.Holds(atom) }) {
			holds[v.name] = true
			holders = append(holders, v.name)
		}
	}
	type edge struct {
		to  string
		odd bool
	}
	edges := map[string][]edge{}
	link := func(a, b string, odd bool) {
		edges[a] = append(edges[a], edge{b, odd})
		edges[b] = append(edges[b], edge{a, odd})
	}
	pair := map[*onnxpb.NodeProto]contraction{}
	for _, c := range an.contractions {
		if c.term.Holds(atom) {
			pair[c.node] = c
		}
	}
	for _, n := range an.graph.Nodes {
		c, contracts := pair[n]
		if contracts {
			link(c.left, c.right, true)
		}
		first := ""
		for _, name := range slices.Concat(n.GetInput(), n.GetOutput()) {
			switch {
			case !holds[name] || contracts && name == c.right && name != c.left:
			case first == "":
				first = name
			default:
				link(first, name, false)
			}
		}
	}
	bent := an.bent(atom)
	side = map[string]bool{}
	for _, start := range holders {
		if _, done := side[start]; done {
			continue
		}
		side[start] = false
		queue := []string{start}
		var bends [2]bool // which sides hold a nonlinear operator
		for i := 0; i < len(queue); i++ {
			at := side[queue[i]]
			if bent[queue[i]] {
				bends[truth(at)] = true
			}
			for _, e := range edges[queue[i]] {
				want := at != e.odd
				old, done := side[e.to]
				if !done {
					side[e.to] = want
					queue = append(queue, e.to)
				} else if old != want {
					return nil, errSelf
				}
			}
		}
		if bends[1] && bends[0] {
			return nil, errors.New("both tensors contracted over it pass a nonlinear operator")
		}
		// Sums and halves do not pass where the operator is not linear. Where neither
		// side has one, the order of the nodes shall not matter: the left operand is
		// first.
		first := slices.IndexFunc(an.contractions, func(c contraction) bool { return slices.Contains(queue, c.left) && c.term.Holds(atom) })
		if bends[1] || !bends[0] && first >= 0 && side[an.contractions[first].left] {
			for _, name := range queue {
				side[name] = !side[name]
			}
		}
	}
	return side, nil
}

// bent lists the tensors that a nonlinear operator makes channel by channel of
// an atom's.
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

// additive reports whether a carried weight is added to the channels, so that a
// share of a channel takes a share of it. Factors, slopes and deviations are not.
func additive(u Use) bool {
	switch u.Node.GetOpType() {
	case "Conv", "ConvTranspose", "Gemm", "Add", "Sub", "Sum":
		return true
	case "BatchNormalization": // x, scale, shift, mean, variance
		in := u.Node.GetInput()
		return len(in) == 5 && (in[2] == u.Tensor || in[3] == u.Tensor)
	}
	return false
}

// transpose marks the uses on the second side of a contracted atom, and returns
// the activations on it. Where the sides cannot be told apart only permutations
// are exact: for them both matrices are one.
func (an *analyzer) transpose(atom *Axis, us []Use) (second map[string]bool) {
	side, err := an.sides(atom)
	if err != nil {
		atom.pair(err.Error())
		return nil
	}
	second = map[string]bool{}
	for name, s := range side {
		if s {
			second[name] = true
		}
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
	return second
}
