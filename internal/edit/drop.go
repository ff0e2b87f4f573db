package edit

import (
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Drop removes residual blocks from a model that has the tensors of the one that was analysed. The
// stream passes the block's Add as it is, under the name of what the Add made: whoever asks what a
// tensor of that name should hold is told what the block's output was, so that a fit of what makes
// the stream takes over as much as it can of what the block did. Where the stream is needed under
// its own name too, the readers of the Add read the stream instead.
func Drop(m *onnxio.Model, blocks []*coupling.Block) (_ *Dropped, err error) {
	defer guard.Recover(&err)
	d := &dropper{joined: map[string]bool{}, beneath: map[string][]string{}}
	if d.g, err = m.Graph(); err != nil {
		return nil, err
	}
	// From the front: what takes over has the names of what comes behind it.
	at := func(b *coupling.Block) int { return slices.Index(d.g.Nodes, d.g.Producer(b.Add.GetOutput()[0])) }
	for _, b := range slices.SortedStableFunc(slices.Values(blocks), func(a, b *coupling.Block) int { return at(a) - at(b) }) {
		if err := d.drop(b); err != nil {
			return nil, m.InFile(err)
		}
	}
	out := &Dropped{Beneath: d.beneath}
	for _, n := range d.g.Nodes {
		for _, name := range n.GetOutput() {
			if d.joined[name] {
				out.Changed = append(out.Changed, name)
			}
		}
	}
	return out, nil
}

// Dropped says what is different without some blocks.
type Dropped struct {
	// Changed names the tensors that hold something else now than in the model with the blocks.
	Changed []string
	// Beneath names, for a sum that a Relu reads and that stands for a later one now, the sums before
	// it in the model with the blocks, the latest first: see teach.Parent.
	Beneath map[string][]string
}

type dropper struct {
	g *onnxio.Graph
	// joined are tensors that are something else than they were, or stand for something else.
	joined  map[string]bool
	beneath map[string][]string
}

func (d *dropper) drop(b *coupling.Block) error {
	sum := b.Add.GetOutput()[0]
	add := d.g.Producer(sum)
	if add == nil || !slices.Contains(add.GetInput(), b.Branch) {
		return nil // it has gone with a block around it
	}
	stream := add.Input[0]
	if stream == b.Branch {
		stream = add.Input[1]
	}
	add.OpType, add.Input, add.Attribute = new("Identity"), []string{stream}, nil
	gone := map[*onnxpb.NodeProto]bool{}
	for _, n := range b.Nodes {
		if own := d.g.Producer(n.GetOutput()[0]); own != nil {
			gone[own] = true
		}
	}
	d.discard(gone)
	if err := d.g.Refresh(); err != nil {
		return err
	}
	d.pass(add)
	return d.g.Refresh()
}

// discard deletes nodes, and the initializers that nobody else reads.
func (d *dropper) discard(gone map[*onnxpb.NodeProto]bool) {
	names := map[string]bool{}
	isGone := func(c onnxio.Consumer) bool { return gone[c.Node] }
	for n := range gone {
		for _, out := range n.GetOutput() {
			names[out] = true
		}
		for _, in := range n.GetInput() {
			readers := d.g.Consumers(in)
			if d.g.Constant(in) != nil && !d.g.IsOutput(in) && !slices.ContainsFunc(readers, func(c onnxio.Consumer) bool { return !isGone(c) }) {
				names[in] = true
			}
		}
	}
	p := d.g.Proto
	declared := func(v *onnxpb.ValueInfoProto) bool { return names[v.GetName()] }
	p.Node = slices.DeleteFunc(p.Node, func(n *onnxpb.NodeProto) bool {
		return gone[n] || len(n.GetOutput()) == 1 && n.GetOpType() == "Constant" && names[n.GetOutput()[0]]
	})
	p.Initializer = slices.DeleteFunc(p.Initializer, func(t *onnxpb.TensorProto) bool { return names[t.GetName()] })
	p.Input = slices.DeleteFunc(p.Input, declared)
	p.ValueInfo = slices.DeleteFunc(p.ValueInfo, declared)
}

// pass does without a node that passes the stream on, if that can be.
func (d *dropper) pass(identity *onnxpb.NodeProto) {
	stream, sum := identity.GetInput()[0], identity.GetOutput()[0]
	by := d.g.Producer(stream)
	_, alone := d.g.OnlyReader(stream)
	nested := func(c onnxio.Consumer) bool { return c.Input < 0 }
	switch readers := d.g.Consumers(sum); {
	case by != nil && alone:
		d.delete(identity)
		d.rename(by, stream, sum)
		d.once(by, sum)
	case d.g.IsOutput(sum) || slices.ContainsFunc(readers, nested):
		d.joined[sum] = true
	default:
		d.delete(identity)
		for _, c := range readers {
			c.Node.Input[c.Input] = stream
		}
		d.joined[stream] = true
	}
}

func (d *dropper) delete(node *onnxpb.NodeProto) {
	d.g.Proto.Node = slices.DeleteFunc(d.g.Proto.Node, func(n *onnxpb.NodeProto) bool { return n == node })
}

// rename gives an output of a node the name of another tensor.
func (d *dropper) rename(by *onnxpb.NodeProto, from, to string) {
	by.Output[slices.Index(by.GetOutput(), from)] = to
	d.g.Proto.ValueInfo = slices.DeleteFunc(d.g.Proto.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == from })
	d.joined[to] = true
}

// once removes the second of two Relus with nothing between them, of which the first makes the given
// tensor, and what the first reads takes the name of what the second read: between two blocks of a
// ResNet it is the sum before the Relu that is to take over.
func (d *dropper) once(first *onnxpb.NodeProto, between string) {
	second, only := d.g.OnlyReader(between)
	if !only || onnxio.StandardOp(first) != "Relu" || onnxio.StandardOp(second.Node) != "Relu" {
		return
	}
	d.delete(second.Node)
	d.rename(first, between, second.Node.GetOutput()[0])
	inner := first.GetInput()[0]
	if by := d.g.Producer(inner); by != nil {
		if _, only := d.g.OnlyReader(inner); only {
			d.rename(by, inner, between)
			first.Input[0] = between
			d.beneath[between] = append([]string{inner}, d.beneath[inner]...)
			delete(d.beneath, inner)
		}
	}
}
