package lossless

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/admit"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// moving lists the operators behind which weights are still those that the file keeps, in another
// shape, and those that make no weights. Behind all others, such as a scale by the norm (weight
// normalisation, Salimans & Kingma 2016), channels cannot be edited where they are stored.
var moving = strings.Fields(`Identity Cast CastLike Dropout Reshape Flatten Squeeze Unsqueeze Transpose Expand Tile Concat Split Slice Pad
	DepthToSpace SpaceToDepth Gather GatherElements GatherND DequantizeLinear Constant ConstantOfShape Shape Size Range`)

// drawing lists the operators whose result is another one every time, and repeating those whose
// result is larger than what it is made of: neither is stored.
var (
	drawing   = strings.Fields("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli")
	repeating = strings.Fields("ConstantOfShape Expand Tile")
)

// Compute returns a model in which what depends on weights alone is stored, where the weights could
// not be edited otherwise and the result takes no more of the file: m itself if there is no such
// thing. onnxruntime computes it; without it nothing is done.
func Compute(ctx context.Context, m *onnxio.Model, o Options) (*onnxio.Model, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	if names, _ := computable(g); len(names) == 0 {
		return m, nil
	}
	out := m.Clone()
	left, err := compute(ctx, out, o)
	if err != nil {
		return nil, err
	}
	if g, err = out.Graph(); err != nil {
		return nil, err
	}
	return out, edit.DropUnread(g, left)
}

// compute does so in place, but for what it was computed from: left are tensors that are read in
// fewer places.
func compute(ctx context.Context, m *onnxio.Model, o Options) (left map[string]bool, err error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	names, roots := computable(g)
	if len(names) == 0 {
		return nil, nil
	}
	cut, err := stats.Extract(m, roots, names) // a model without inputs cannot be run
	if err != nil {
		return nil, err
	}
	in := map[string]*engine.Value{}
	for _, name := range roots {
		if in[name], err = m.Tensor(g.Constant(name)); err != nil {
			return nil, err
		}
	}
	if err := admit.Model(ctx, cut, admit.Options{Inputs: in, Trial: o.Trial}); err != nil {
		return nil, ctx.Err()
	}
	s, err := engine.Open(cut, engine.Options{Threads: o.Threads})
	if err != nil { // there is no onnxruntime, or it does not take the model
		return nil, nil
	}
	defer s.Close()
	values, err := s.Run(ctx, in)
	if err != nil {
		return nil, ctx.Err()
	}
	made, gone := map[*onnxpb.NodeProto]bool{}, map[string]bool{}
	left = map[string]bool{}
	for _, same := range alike(g, names, values) {
		v := values[same[0]]
		if !onnxio.IsFloat(v.Type) || onnxio.StoredBytes(v.Type, int64(v.Len())) > freed(g, same...) {
			continue // integers that are scaled take a quarter of what they stand for
		}
		g.Proto.Initializer = append(g.Proto.Initializer, onnxio.NewTensor(same[0], v.Type, v.Dims, v.Float64()).Proto())
		for _, name := range same {
			maker := g.Producer(name)
			made[maker], gone[name] = true, true
			for _, in := range maker.GetInput() {
				left[in] = true
			}
			for _, c := range g.Consumers(name) {
				if c.Input >= 0 { // else it is the first
					c.Node.Input[c.Input] = same[0]
				}
			}
		}
	}
	g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool { return made[n] })
	g.Proto.ValueInfo = slices.DeleteFunc(g.Proto.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return gone[v.GetName()] })
	return left, g.Refresh()
}

// alike sorts tensors by what they come to. One that a subgraph reads keeps its name.
func alike(g *onnxio.Graph, names []string, values map[string]*engine.Value) (lists [][]string) {
	at := map[string]int{}
	for _, name := range names {
		v := values[name]
		key := fmt.Sprint(v.Type, v.Dims, sha256.Sum256(onnxio.NewTensor("", v.Type, v.Dims, v.Float64()).Proto().GetRawData()))
		if slices.ContainsFunc(g.Consumers(name), func(c onnxio.Consumer) bool { return c.Input < 0 }) {
			key = name
		}
		i, ok := at[key]
		if !ok {
			i = len(lists)
			at[key], lists = i, append(lists, nil)
		}
		lists[i] = append(lists[i], name)
	}
	return lists
}

// freed is what the constants occupy that only some tensors are computed from.
func freed(g *onnxio.Graph, tensors ...string) int64 {
	makers := g.Ancestors(tensors...)
	seen := map[string]bool{}
	total := int64(0)
	for n := range makers {
		for _, name := range n.GetInput() {
			t := g.Constant(name)
			if t == nil || seen[name] {
				continue
			}
			seen[name] = true
			readElsewhere := slices.ContainsFunc(g.Consumers(name), func(c onnxio.Consumer) bool { return c.Input < 0 || !makers[c.Node] })
			if !readElsewhere && !g.IsOutput(name) {
				total += onnxio.StoredBytes(onnxpb.TensorProto_DataType(t.GetDataType()), onnxio.Elements(t))
			}
		}
	}
	return total
}

// computable lists the tensors that are made of constants by arithmetic, or put together for a
// recurrent operator, and are read beside activations; roots are stored constants that they are
// made of, one for each at least.
func computable(g *onnxio.Graph) (names, roots []string) {
	made := origins{g, map[string]*origin{}}
	for _, n := range g.Nodes {
		if o := made.by(n); o != nil {
			for _, out := range n.GetOutput() {
				made.of[out] = o
			}
		}
	}
	for _, n := range g.Nodes {
		if len(n.GetOutput()) == 0 || made.of[n.GetOutput()[0]] != nil {
			continue
		}
		for _, in := range n.GetInput() {
			if !made.weight(n, in) || slices.Contains(names, in) || g.IsOutput(in) {
				continue
			}
			names = append(names, in)
			if root := made.of[in].root; !slices.Contains(roots, root) {
				roots = append(roots, root)
			}
		}
	}
	return names, roots
}

// weight reports whether a node reads a tensor as a weight that is not stored. Recurrent operators
// read some that exporters put together gate by gate.
func (m origins) weight(n *onnxpb.NodeProto, tensor string) bool {
	o := m.of[tensor]
	if made := m.g.Producer(tensor); made == nil || len(made.GetOutput()) != 1 {
		return false
	}
	return o != nil && o.size > 1 && !o.repeated && (o.computed || o.joined && onnxio.LinearKindOf(n) == onnxio.Recurrent)
}

// An origin says what a tensor that depends on constants alone is made of.
type origin struct {
	root     string // the largest constant
	size     int64  // its elements
	computed bool   // by arithmetic
	joined   bool
	repeated bool // by the last operator
}

// origins holds the origin of what nodes make of constants, by tensor.
type origins struct {
	g  *onnxio.Graph
	of map[string]*origin
}

// tensor is nil for what depends on more than constants.
func (m origins) tensor(name string) *origin {
	if t := m.g.Constant(name); m.of[name] == nil && t != nil {
		return &origin{root: name, size: onnxio.Elements(t)}
	}
	return m.of[name]
}

// by is the origin of what a node makes, nil where it is not to be stored.
func (m origins) by(n *onnxpb.NodeProto) *origin {
	op := onnxio.StandardOp(n)
	if op == "" || slices.Contains(drawing, op) || op == "Constant" || len(n.GetOutput()) == 0 || len(n.GetInput()) == 0 || len(m.g.Subgraphs(n)) > 0 {
		return nil
	}
	all := &origin{computed: !slices.Contains(moving, op), joined: op == "Concat", repeated: slices.Contains(repeating, op)}
	for _, in := range n.GetInput() {
		if in == "" {
			continue
		}
		o := m.tensor(in)
		if o == nil {
			return nil
		}
		if o.size > all.size {
			all.root, all.size = o.root, o.size
		}
		all.computed, all.joined = all.computed || o.computed, all.joined || o.joined
	}
	return all
}
