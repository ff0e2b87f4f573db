package latency

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Predictor tells what a model takes under widths. It remembers what it has said, and must not be
// used by several goroutines at once.
type Predictor struct {
	nodes []node // whose time depends on widths
	still []node // others
	fixed float64
}

// A node is an operator whose time depends on widths.
type node struct {
	name, op string
	in, out  [][]*coupling.Axis
	fit      *fit
	times    float64          // as long as others of its kind
	atoms    []*coupling.Axis // on whose sizes it depends
	known    map[[mostAtoms]int]float64
}

// mostAtoms is up to how many atoms what a node takes is remembered.
const mostAtoms = 4

// operator says how an operator of an analysed model is written in the file; see [Table.For].
type operator func(*onnxpb.NodeProto) string

// For returns what tells the time of an analysed model. as says how an operator is written in the
// file, where that is not how it is analysed; nil: as it is analysed. What the table has no row for is
// taken to be part of other operators.
func (t *Table) For(an *coupling.Analysis, as func(*onnxpb.NodeProto) string) *Predictor {
	f, named := t.learn(), t.nodesNamed()
	linear := linears(an)
	p := &Predictor{}
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
		x.known = map[[mostAtoms]int]float64{}
		if x.atoms = widening(an, x); len(x.atoms) == 0 {
			p.still = append(p.still, x)
			p.fixed += x.ms(nil)
			continue
		}
		p.nodes = append(p.nodes, x)
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
func nodeOf(an *coupling.Analysis, n *onnxpb.NodeProto, as operator) node {
	x := node{name: nameOf(n), op: n.GetOpType()}
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
func widening(an *coupling.Analysis, x node) (atoms []*coupling.Axis) {
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

// MS is the time of one run under widths (nil: of the model as it is), in milliseconds.
func (p *Predictor) MS(w coupling.Widths) float64 {
	sum := p.fixed
	for i := range p.nodes {
		sum += p.nodes[i].ms(w)
	}
	return sum
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
	all := p.MS(w)
	var out []Operator
	for _, nodes := range [][]node{p.nodes, p.still} {
		for i := range nodes {
			ms := nodes[i].ms(w)
			out = append(out, Operator{nodes[i].name, nodes[i].op, ms, ms / all})
		}
	}
	slices.SortStableFunc(out, func(a, b Operator) int { return cmp.Compare(b.MS, a.MS) })
	return out
}

// Each calls a function with every operator whose time depends on widths: with the axes on which it
// depends, and what tells its time.
func (p *Predictor) Each(f func(axes []*coupling.Axis, ms func(coupling.Widths) float64)) {
	for i := range p.nodes {
		f(p.nodes[i].atoms, p.nodes[i].ms)
	}
}

func (x *node) ms(w coupling.Widths) float64 {
	var key [mostAtoms]int
	if len(x.atoms) > len(key) {
		c := x.call(w)
		return x.times * x.fit.ms(&c)
	}
	for i, a := range x.atoms {
		key[i] = w.Size(a)
	}
	if ms, ok := x.known[key]; ok {
		return ms
	}
	c := x.call(w)
	ms := x.times * x.fit.ms(&c)
	x.known[key] = ms
	return ms
}
