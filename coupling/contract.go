package coupling

import (
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

// sides colours the live tensors that hold a contracted atom: false for those
// on the side of the first producer, true for those on the other. ok is false
// where a tensor lies on both sides (x·xᵀ, or a residual stream contracted with
// what was added to it).
func (an *analyzer) sides(atom *Axis) (side map[string]bool, ok bool) {
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
	side = map[string]bool{}
	for _, start := range holders {
		if _, done := side[start]; done {
			continue
		}
		side[start] = false
		for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
			for _, e := range edges[queue[0]] {
				want := side[queue[0]] != e.odd
				old, done := side[e.to]
				if !done {
					side[e.to] = want
					queue = append(queue, e.to)
				} else if old != want {
					return nil, false
				}
			}
		}
	}
	return side, true
}

// transpose marks the uses on the second side of a contracted atom. Where the
// sides cannot be told apart only permutations are exact: for them both
// matrices are one.
func (an *analyzer) transpose(atom *Axis, us []Use) {
	side, ok := an.sides(atom)
	if !ok {
		atom.stiffen("a tensor is contracted with itself over it")
		return
	}
	for i, u := range us {
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
}
