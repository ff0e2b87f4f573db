package coupling

import (
	"cmp"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Block is a residual branch: it reads a stream, and an Add joins what it makes to the stream
// again. Without it the stream passes the Add as it is.
type Block struct {
	// Name is what the names of its linear operators have in common, or that of the Add.
	Name string
	// Add joins the tensor Branch to the tensor Stream.
	Add            *onnxpb.NodeProto
	Stream, Branch string
	// Nodes are those that nobody needs without the block, in topological order; the Add is none of
	// them.
	Nodes []*onnxpb.NodeProto
}

// Blocks lists the residual branches of a model in topological order of their Adds: of two operands
// of an Add, of the same shape, one is the stream or comes from it through further Adds alone, and
// the other is computed from the stream by operators that are read by nobody else, at least one of
// which is linear and has a weight. Blocks may stand inside of others.
func (a *Analysis) Blocks() []*Block {
	weighted := map[*onnxpb.NodeProto]bool{}
	for _, op := range a.Ops {
		if op.Weight != "" {
			weighted[op.Node] = true
		}
	}
	var out []*Block
	for _, n := range a.Graph.Nodes {
		if !joins(n) || a.Graph.InBranch(n) {
			continue
		}
		in := n.GetInput()
		for i, stream := range in {
			if b := a.block(n, stream, in[1-i]); b != nil && slices.ContainsFunc(b.Nodes, func(n *onnxpb.NodeProto) bool { return weighted[n] }) {
				b.Name = b.label(weighted)
				out = append(out, b)
				break
			}
		}
	}
	return distinct(out)
}

// joins reports whether a node is a sum of two tensors.
func joins(n *onnxpb.NodeProto) bool {
	op := onnxio.StandardOp(n)
	return (op == "Add" || op == "Sum") && len(n.GetInput()) == 2 && n.GetInput()[0] != n.GetInput()[1]
}

// block is a branch that an Add joins to a stream, or nil.
func (a *Analysis) block(add *onnxpb.NodeProto, stream, branch string) *Block {
	if a.Roots[stream] != nil || a.Roots[branch] != nil || !a.sameShape(stream, add.GetOutput()[0]) {
		return nil
	}
	b := &Block{Add: add, Stream: stream, Branch: branch}
	behind := a.Graph.Ancestors(branch)
	gone := map[*onnxpb.NodeProto]bool{}
	for _, n := range slices.Backward(a.Graph.Nodes) {
		if behind[n] && a.onlyFor(n, gone, b) {
			gone[n] = true
			b.Nodes = append(b.Nodes, n)
		}
	}
	slices.Reverse(b.Nodes)
	for _, root := range a.sources(stream) {
		reads := func(n *onnxpb.NodeProto) bool { return slices.Contains(n.GetInput(), root) }
		if slices.ContainsFunc(b.Nodes, reads) && a.whole(root, behind, gone) {
			return b
		}
	}
	return nil
}

// sameShape reports whether two activations have axes of the same sizes.
func (a *Analysis) sameShape(x, y string) bool {
	p, q := a.Activations[x], a.Activations[y]
	return len(p) > 0 && slices.EqualFunc(p, q, func(s, t *Axis) bool { return s.Size() == t.Size() })
}

// onlyFor reports whether a node's outputs are read by the given nodes and the block's Add alone.
func (a *Analysis) onlyFor(n *onnxpb.NodeProto, gone map[*onnxpb.NodeProto]bool, b *Block) bool {
	for _, out := range n.GetOutput() {
		if out == b.Stream || a.Graph.IsOutput(out) {
			return false
		}
		for _, c := range a.Graph.Consumers(out) {
			if !gone[c.Node] && !(c.Node == b.Add && out == b.Branch) {
				return false
			}
		}
	}
	return true
}

// sources lists a tensor and those that sums made it of.
func (a *Analysis) sources(tensor string) []string {
	out := []string{tensor}
	for i := 0; i < len(out); i++ {
		if n := a.Graph.Producer(out[i]); n != nil && joins(n) {
			out = append(out, n.GetInput()...)
		}
	}
	return out
}

// whole reports whether everything that the nodes behind a branch make of a tensor falls with the
// branch.
func (a *Analysis) whole(root string, behind, gone map[*onnxpb.NodeProto]bool) bool {
	made := map[string]bool{root: true}
	for _, n := range a.Graph.Nodes {
		if !behind[n] || !slices.ContainsFunc(n.GetInput(), func(in string) bool { return made[in] }) {
			continue
		}
		if !gone[n] {
			return false
		}
		for _, out := range n.GetOutput() {
			made[out] = true
		}
	}
	return true
}

// label is what the names of the block's linear operators have in common, up to a separator.
func (b *Block) label(weighted map[*onnxpb.NodeProto]bool) string {
	var common string
	for i, n := range slices.DeleteFunc(slices.Clone(b.Nodes), func(n *onnxpb.NodeProto) bool { return !weighted[n] }) {
		if i == 0 {
			common = n.GetName()
			continue
		}
		for !strings.HasPrefix(n.GetName(), common) {
			common = common[:max(strings.LastIndexAny(common, "/._"), 0)]
		}
	}
	return cmp.Or(strings.TrimRight(common, "/._"), b.addName())
}

// addName is the name of the block's Add, or of what that makes.
func (b *Block) addName() string { return cmp.Or(b.Add.GetName(), b.Add.GetOutput()[0]) }

// distinct gives blocks of one name those of their Adds.
func distinct(blocks []*Block) []*Block {
	named := map[string]int{}
	for _, b := range blocks {
		named[b.Name]++
	}
	for _, b := range blocks {
		if named[b.Name] > 1 {
			b.Name = b.addName()
		}
	}
	return blocks
}
