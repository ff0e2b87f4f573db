package latency

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Predictor tells what a model takes in other shapes. It remembers what it has said, and must not be
// used by several goroutines at once.
type Predictor struct {
	nodes []*node
	of    map[*onnxpb.NodeProto]*node
	fits  *fits
}

// A Shape is what an analysed model would be. The zero value is the model as it is.
type Shape struct {
	// Widths are those of its spaces; nil: as they are.
	Widths coupling.Widths
	// Gone are nodes that are not there.
	Gone map[*onnxpb.NodeProto]bool
	// Ranks are the numbers of channels between the two operators that one becomes (edit.Factorable).
	Ranks map[*onnxpb.NodeProto]int
}

// A node is an operator that takes time.
type node struct {
	of       *onnxpb.NodeProto
	name, op string
	in, out  [][]*coupling.Axis
	linear   *onnxio.Linear // nil where it cannot become two
	fit      *fit
	times    float64          // as long as others of its kind
	atoms    []*coupling.Axis // on whose sizes it depends
	known    map[state]float64
}

// A state is what the time of a node depends on: the sizes of its atoms, and its rank if it is two.
type state struct {
	sizes [mostAtoms]int
	rank  int
}

// mostAtoms is up to how many atoms what a node takes is remembered.
const mostAtoms = 4

// operator says how an operator of an analysed model is written in the file; see [Table.For].
type operator func(*onnxpb.NodeProto) string

// For returns what tells the time of an analysed model. as says how an operator is written in the
// file, where that is not how it is analysed; nil: as it is analysed. What the table has no row for is
// taken to be part of other operators. The two operators that one becomes are told by rows of their
// kinds, or where it has none, as of convolutions of one position where the model has no such, by all
// rows of the operator.
func (t *Table) For(an *coupling.Analysis, as func(*onnxpb.NodeProto) string) *Predictor {
	f, named := t.learn(), t.nodesNamed()
	linear := linears(an)
	p := &Predictor{of: map[*onnxpb.NodeProto]*node{}, fits: f}
	for _, n := range an.Graph.Nodes {
		if an.Graph.InBranch(n) {
			continue // part of the If
		}
		x := nodeOf(an, n, as)
		times, known := f.nodes[x.name]
		if !known && named && !linear[n] {
			continue
		}
		if x.times = 1; known {
			x.times = times
		}
		c := x.call(nil)
		if x.fit = f.of(&c); x.fit == nil || x.times == 0 {
			continue
		}
		x.known, x.atoms = map[state]float64{}, widening(an, x)
		p.nodes, p.of[n] = append(p.nodes, x), x
	}
	return p
}

// Covers is an error where the table has no row for a linear operator of an analysed model, whatever
// its shapes.
func (t *Table) Covers(an *coupling.Analysis, as func(*onnxpb.NodeProto) string) error {
	f, linear := t.learn(), linears(an)
	for _, n := range an.Graph.Nodes {
		if !linear[n] || an.Graph.InBranch(n) {
			continue
		}
		x := nodeOf(an, n, as)
		c := x.call(nil)
		if times, known := f.nodes[x.name]; f.of(&c) == nil && !(known && times == 0) {
			return fmt.Errorf("latency table: it has no row for a %s, as %s is", x.op, onnxio.Label(n))
		}
	}
	return nil
}

// linears are the operators that spend multiply-accumulates.
func linears(an *coupling.Analysis) map[*onnxpb.NodeProto]bool {
	out := map[*onnxpb.NodeProto]bool{}
	for _, op := range an.Ops {
		out[op.Node] = op.MACs(nil) > 0
	}
	return out
}

// nodeOf describes a node.
func nodeOf(an *coupling.Analysis, n *onnxpb.NodeProto, as operator) *node {
	x := &node{of: n, name: nameOf(n), op: n.GetOpType()}
	if as != nil {
		x.op = as(n)
	}
	axes := func(names []string) (out [][]*coupling.Axis) {
		for _, name := range names {
			a := an.Activations[name]
			if w := an.Weights[name]; w != nil {
				a = w.Axes
			}
			out = append(out, a)
		}
		return out
	}
	x.in, x.out = axes(n.GetInput()), axes(n.GetOutput())
	if l, why := edit.Factorable(an.Graph, an, n); why == "" && x.op == n.GetOpType() {
		x.linear = l
	}
	return x
}

// nameOf is what tables call a node.
func nameOf(n *onnxpb.NodeProto) string {
	if name := n.GetName(); name != "" || len(n.GetOutput()) == 0 {
		return name
	}
	return n.GetOutput()[0]
}

// call is what the node is under widths. What is not known counts as one.
func (x *node) call(w coupling.Widths) call {
	sizes := func(all [][]*coupling.Axis) (out [][]int) {
		for _, axes := range all {
			var dims []int
			for _, a := range axes {
				dims = append(dims, max(w.Size(a), 1))
			}
			out = append(out, dims)
		}
		return out
	}
	return call{x.op, sizes(x.in), sizes(x.out)}
}

// widening lists the atoms of a node's axes that belong to spaces whose widths may change.
func widening(an *coupling.Analysis, x *node) (atoms []*coupling.Axis) {
	for _, axes := range slices.Concat(x.in, x.out) {
		for _, a := range axes {
			for _, atom := range a.Atoms() {
				if s := an.SpaceOf(atom); s != nil && !s.Frozen && !slices.Contains(atoms, atom) {
					atoms = append(atoms, atom)
				}
			}
		}
	}
	return atoms
}

// factors are the two operators that the node becomes under widths, with so many channels between
// them.
func (x *node) factors(w coupling.Widths, rank int) (first, second call) {
	return split(x.call(w), x.linear, rank)
}

// split are the two operators that a call becomes.
func split(c call, l *onnxio.Linear, rank int) (first, second call) {
	first, second = call{op: c.op, in: slices.Clone(c.in[:2])}, call{c.op, slices.Clone(c.in), c.out}
	at := func(dims []int, axis, size int) []int {
		if axis < 0 {
			axis += len(dims)
		}
		if dims = slices.Clone(dims); axis >= 0 && axis < len(dims) {
			dims[axis] = size
		}
		return dims
	}
	weight := c.in[l.Weight.Input]
	across := edit.Across(l)
	first.in[l.Weight.Input] = at(weight, l.Out.Weight, rank)
	if across > 1 {
		first.in[l.Weight.Input][3] = 1
	}
	between := at(c.made(), l.Out.Axis, rank)
	first.out = [][]int{between}
	outer := slices.Repeat([]int{1}, len(weight))
	outer[l.Out.Weight], outer[1-l.Out.Weight] = weight[l.Out.Weight], rank
	if across > 1 {
		outer[3] = across
	}
	second.in[1-l.Weight.Input], second.in[l.Weight.Input] = between, outer
	return first, second
}

// MS is the time of one run of the model in a shape, in milliseconds.
func (p *Predictor) MS(s Shape) float64 {
	sum := 0.0
	for _, x := range p.nodes {
		if !s.Gone[x.of] {
			sum += p.ms(x, s.Widths, s.Ranks[x.of])
		}
	}
	return sum
}

// Node is the time of a node under widths, as two operators where a rank is given; 0 if it takes none.
func (p *Predictor) Node(n *onnxpb.NodeProto, w coupling.Widths, rank int) float64 {
	if x := p.of[n]; x != nil {
		return p.ms(x, w, rank)
	}
	return 0
}

// An Operator is what one of a model takes.
type Operator struct {
	Name string  `json:"name"` // of the node, or its first output
	Op   string  `json:"op"`
	MS   float64 `json:"ms"`
	// Share of what all take.
	Share float64 `json:"share"`
}

// Operators lists what every operator takes under widths, the longest first.
func (p *Predictor) Operators(w coupling.Widths) []Operator {
	all := p.MS(Shape{Widths: w})
	var out []Operator
	for _, x := range p.nodes {
		ms := p.ms(x, w, 0)
		out = append(out, Operator{x.name, x.op, ms, ms / all})
	}
	slices.SortStableFunc(out, func(a, b Operator) int { return cmp.Compare(b.MS, a.MS) })
	return out
}

// Each calls a function with every node that takes time, and with the axes on whose sizes that
// depends.
func (p *Predictor) Each(f func(n *onnxpb.NodeProto, axes []*coupling.Axis)) {
	for _, x := range p.nodes {
		f(x.of, x.atoms)
	}
}

// ms is the time of a node under widths. What the node takes longer than others of its kind, or
// shorter, is the second's of the two operators that it becomes: what is fused with it stands behind.
func (p *Predictor) ms(x *node, w coupling.Widths, rank int) float64 {
	if x.linear == nil {
		rank = 0
	}
	key := state{rank: rank}
	if len(x.atoms) <= len(key.sizes) {
		for i, a := range x.atoms {
			key.sizes[i] = w.Size(a)
		}
		if ms, ok := x.known[key]; ok {
			return ms
		}
	}
	c := x.call(w)
	ms := x.times * x.fit.ms(&c)
	if rank > 0 {
		first, second := x.factors(w, rank)
		ms = p.fits.of(&first).ms(&first) + x.times*p.fits.of(&second).ms(&second)
	}
	if len(x.atoms) <= len(key.sizes) {
		x.known[key] = ms
	}
	return ms
}
