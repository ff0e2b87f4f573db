package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

type node = onnxpb.NodeProto

// A pairing says which nodes and tensors of two graphs correspond.
type pairing struct {
	a, b           *onnxio.Graph
	nodesA, nodesB []*node // without those that hold constants
	to, from       map[*node]*node
	tensors        map[string]string // of b, by those of a: inputs and what paired nodes make
	names          bool              // nodes of both are called by the same scheme
}

// pair finds the nodes of two graphs that correspond.
func pair(a, b *onnxio.Graph) *pairing {
	p := &pairing{a: a, b: b, nodesA: working(a), nodesB: working(b), to: map[*node]*node{}, from: map[*node]*node{}, tensors: map[string]string{}}
	for _, e := range matchEnds(a.Inputs(), b.Inputs()) {
		if e.Before != nil && e.After != nil {
			p.tensors[e.Before.GetName()] = e.After.GetName()
		}
	}
	p.byKey(weightsRead)
	p.byKey(func(_ *onnxio.Graph, n *node) string { return n.GetName() })
	p.byKey(func(_ *onnxio.Graph, n *node) string { return firstOutput(n) })
	p.names = p.named()
	p.byWiring()
	p.byPlace()
	p.byWiring()
	return p
}

// named reports whether the nodes of one model have the names that those of the other have, half of
// them or more: then a name that the other has not is of a node that is gone, or new.
func (p *pairing) named() bool {
	same := 0
	for x, y := range p.to {
		if telling(x) && x.GetName() == y.GetName() {
			same++
		}
	}
	return same > 0 && 2*same >= min(len(p.nodesA), len(p.nodesB))
}

// telling reports whether a node has a name that is no mere number.
func telling(n *node) bool {
	return n.GetName() != "" && !numbered(operator(n)+"\x00"+n.GetName())
}

// may reports whether nodes without names in common can be each other's counterpart.
func (p *pairing) may(x, y *node) bool {
	return operator(x) == operator(y) && !(p.names && telling(x) && telling(y) && x.GetName() != y.GetName())
}

// sameShapes reports whether all constants that two nodes read have the same shapes.
func (p *pairing) sameShapes(x, y *node) bool {
	return slices.EqualFunc(x.GetInput(), y.GetInput(), func(i, j string) bool {
		v, w := p.a.Constant(i), p.b.Constant(j)
		return v == nil && w == nil || v != nil && w != nil && slices.Equal(v.GetDims(), w.GetDims())
	})
}

// working lists the nodes that compute something.
func working(g *onnxio.Graph) []*node {
	return slices.DeleteFunc(slices.Clone(g.Nodes), func(n *node) bool { return g.Constant(firstOutput(n)) != nil })
}

func firstOutput(n *node) string {
	if len(n.GetOutput()) == 0 {
		return ""
	}
	return n.GetOutput()[0]
}

// operator is what a node does, with the domain where that is not the standard one.
func operator(n *node) string {
	if d := n.GetDomain(); d != "" && d != "ai.onnx" {
		return d + "." + n.GetOpType()
	}
	return n.GetOpType()
}

// weightsRead names the parameters that a node reads as they are stored.
func weightsRead(g *onnxio.Graph, n *node) string {
	var names []string
	for _, in := range n.GetInput() {
		if t := g.Constant(in); t != nil && onnxio.IsParameter(onnxpb.TensorProto_DataType(t.GetDataType())) && onnxio.Elements(t) > 1 {
			names = append(names, in)
		}
	}
	return strings.Join(names, "\x00")
}

func (p *pairing) join(a, b *node) {
	p.to[a], p.from[b] = b, a
	for i := range min(len(a.GetOutput()), len(b.GetOutput())) {
		p.tensors[a.GetOutput()[i]] = b.GetOutput()[i]
	}
}

// byKey pairs nodes of one operator that have a key in common which no other node has. Keys that
// are numbered through, as Conv_12 or 137 are, mean something only if one graph has all that the
// other has: where nodes were removed before the numbers were given, the same number is of another
// node.
func (p *pairing) byKey(key func(g *onnxio.Graph, n *node) string) {
	keysA, keysB := p.unpaired(p.a, p.nodesA, key), p.unpaired(p.b, p.nodesB, key)
	trusted := within(keysA, keysB) || within(keysB, keysA)
	for _, n := range p.nodesA {
		k := operator(n) + "\x00" + key(p.a, n)
		if x, y := keysA[k], keysB[k]; len(x) == 1 && len(y) == 1 && x[0] == n && (trusted || !numbered(k)) {
			p.join(n, y[0])
		}
	}
}

// unpaired are the nodes without a partner by their operators and keys.
func (p *pairing) unpaired(g *onnxio.Graph, nodes []*node, key func(g *onnxio.Graph, n *node) string) map[string][]*node {
	out := map[string][]*node{}
	for _, n := range nodes {
		if k := key(g, n); k != "" && p.to[n] == nil && p.from[n] == nil {
			k = operator(n) + "\x00" + k
			out[k] = append(out[k], n)
		}
	}
	return out
}

// within reports whether all numbered keys of a are keys of b.
func within(a, b map[string][]*node) bool {
	for k := range a {
		if numbered(k) && b[k] == nil {
			return false
		}
	}
	return true
}

// numbered reports whether a key is made of names that are a number, or an operator with a number.
func numbered(key string) bool {
	op, names, _ := strings.Cut(key, "\x00")
	for name := range strings.SplitSeq(names, "\x00") {
		base := strings.TrimRight(strings.TrimRight(name, "0123456789"), "_:/-. ")
		if base == name || base != "" && !strings.EqualFold(base, op) && base != "onnx::"+op {
			return false
		}
	}
	return true
}

// mostAlike bounds the candidates that a node is compared with.
const mostAlike = 64

// byWiring pairs nodes that do the same to tensors that correspond. Of several that do, those go
// together that are most alike.
func (p *pairing) byWiring() {
	readers := map[string][]*node{}
	for _, n := range p.nodesB {
		if k, ok := wiring(p.b, n, func(t string) (string, bool) { return t, true }); ok {
			readers[k] = append(readers[k], n)
		}
	}
	for _, n := range p.nodesA {
		if p.to[n] != nil {
			continue
		}
		k, ok := wiring(p.a, n, func(t string) (string, bool) { to, ok := p.tensors[t]; return to, ok })
		if !ok {
			continue
		}
		readers[k] = slices.DeleteFunc(readers[k], func(c *node) bool { return p.from[c] != nil })
		var best *node
		most := -1
		for _, c := range readers[k][:min(len(readers[k]), mostAlike)] {
			if s := p.likeness(n, c); s > most && (p.may(n, c) || p.sameShapes(n, c)) {
				best, most = c, s
			}
		}
		if best != nil {
			p.join(n, best)
		}
	}
}

// wiring says what a node does to which tensors; ok is false where one of them is not known, or
// there is none.
func wiring(g *onnxio.Graph, n *node, known func(tensor string) (string, bool)) (key string, ok bool) {
	parts, live := []string{operator(n)}, false
	for _, in := range n.GetInput() {
		if in == "" || g.Constant(in) != nil {
			parts = append(parts, "")
			continue
		}
		t, ok := known(in)
		if !ok {
			return "", false
		}
		parts, live = append(parts, t), true
	}
	return strings.Join(parts, "\x00"), live
}

// likeness says how much two nodes have in common, beside what they read: shapes, attributes and
// numbers.
func (p *pairing) likeness(x, y *node) int {
	score := 0
	if len(attributes(x, y)) == 0 {
		score++
	}
	for i := range min(len(x.GetInput()), len(y.GetInput())) {
		v, w := p.a.Constant(x.GetInput()[i]), p.b.Constant(y.GetInput()[i])
		if v == nil || w == nil || !slices.Equal(v.GetDims(), w.GetDims()) {
			continue
		}
		score += 2
		if raw := v.GetRawData(); len(raw) > 0 && string(raw) == string(w.GetRawData()) {
			score += 4
		}
	}
	return score
}

// mostCells bounds the table of byPlace.
const mostCells = 1 << 24

// byPlace pairs what is left by the longest common subsequence of operators. Of very long ones only
// what they begin with is compared.
func (p *pairing) byPlace() {
	left := func(nodes []*node, paired map[*node]*node) []*node {
		return slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return paired[n] != nil })
	}
	a, b := left(p.nodesA, p.to), left(p.nodesB, p.from)
	for len(a)*len(b) > mostCells {
		a, b = a[:min(len(a), 1<<12)], b[:min(len(b), 1<<12)]
	}
	width := len(b) + 1
	best := make([]int32, (len(a)+1)*width) // of the sequences from i and j on
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			best[i*width+j] = max(best[(i+1)*width+j], best[i*width+j+1])
			if p.may(a[i], b[j]) {
				best[i*width+j] = max(best[i*width+j], 1+best[(i+1)*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case p.may(a[i], b[j]) && best[i*width+j] == 1+best[(i+1)*width+j+1]:
			p.join(a[i], b[j])
			i, j = i+1, j+1
		case best[(i+1)*width+j] >= best[i*width+j+1]:
			i++
		default:
			j++
		}
	}
}

// An End is an input or output of the models: as it was and as it is, either of which may be nil.
type End struct{ Before, After *onnxpb.ValueInfoProto }

// Same reports whether name, type and shape are the same.
func (e End) Same() bool {
	return e.Before != nil && e.After != nil && e.Before.GetName() == e.After.GetName() && e.sameType()
}

func (e End) sameType() bool {
	return e.Before != nil && e.After != nil && proto.Equal(e.Before.GetType(), e.After.GetType())
}

// matchEnds pairs inputs or outputs: by name, and those whose names the other has not in order.
func matchEnds(a, b []*onnxpb.ValueInfoProto) []End {
	find := func(list []*onnxpb.ValueInfoProto, name string) *onnxpb.ValueInfoProto {
		i := slices.IndexFunc(list, func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == name })
		if i < 0 {
			return nil
		}
		return list[i]
	}
	var out []End
	rest := slices.DeleteFunc(slices.Clone(b), func(v *onnxpb.ValueInfoProto) bool { return find(a, v.GetName()) != nil })
	for _, v := range a {
		e := End{Before: v, After: find(b, v.GetName())}
		if e.After == nil && len(rest) > 0 {
			e.After, rest = rest[0], rest[1:]
		}
		out = append(out, e)
	}
	for _, v := range rest {
		out = append(out, End{After: v})
	}
	return out
}

// nameOf is a node's name, or that of its first output.
func nameOf(n *node) string { return cmp.Or(n.GetName(), firstOutput(n)) }

// text prints an attribute's value for a person, at most mostText characters of it.
func text(a *onnxpb.AttributeProto) string {
	var s string
	switch a.GetType() {
	case onnxpb.AttributeProto_UNDEFINED:
		s = ""
	case onnxpb.AttributeProto_FLOAT:
		s = fmt.Sprint(a.GetF())
	case onnxpb.AttributeProto_INT:
		s = fmt.Sprint(a.GetI())
	case onnxpb.AttributeProto_STRING:
		s = string(a.GetS())
	case onnxpb.AttributeProto_INTS:
		s = list(a.GetInts())
	case onnxpb.AttributeProto_FLOATS:
		s = list(a.GetFloats())
	case onnxpb.AttributeProto_TENSOR:
		s = "a tensor " + list(a.GetT().GetDims())
	case onnxpb.AttributeProto_GRAPH:
		s = fmt.Sprintf("a graph of %d nodes", len(a.GetG().GetNode()))
	default:
		s = strings.ToLower(a.GetType().String())
	}
	return short(s)
}

const mostText = 60

func short(s string) string {
	if r := []rune(s); len(r) > mostText {
		return string(r[:mostText-1]) + "…"
	}
	return s
}

func list[T any](v []T) string {
	parts := make([]string, 0, min(len(v), mostText))
	for _, x := range v[:min(len(v), mostText)] {
		parts = append(parts, fmt.Sprint(x))
	}
	return "[" + strings.Join(parts, ",") + "]"
}
