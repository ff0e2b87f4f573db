package diff

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Nodes say how the graphs differ.
type Nodes struct {
	Before int `json:"before"` // how many there are
	After  int `json:"after"`
	// Operators lists those of which there are more or fewer.
	Operators []Count `json:"operators"`
	Removed   []Node  `json:"removed"`
	Added     []Node  `json:"added"`
	Changed   []Node  `json:"changed"`
	// Renamed counts nodes that have another name, and Tensors activations.
	Renamed int `json:"renamed"`
	Tensors int `json:"renamed_tensors"`
	// Reordered: nodes that correspond stand in another order.
	Reordered bool `json:"reordered"`

	paired, most int // nodes that compute something: pairs, and those of the larger graph
	// regrown: nothing changed but what follows from widths.
	regrown bool
}

// A Count is how often an operator occurs.
type Count struct {
	Op     string `json:"op"`
	Before int    `json:"before"`
	After  int    `json:"after"`
}

// A Node is one that only one model has, or that differs.
type Node struct {
	Name string `json:"name"` // of the node, or of its output
	Op   string `json:"op"`
	// Changes are the attributes and stored shapes that differ.
	Changes []Change `json:"changes,omitempty"`
	// Rewired: it reads other tensors, and not only since nodes before it were removed or added.
	Rewired bool `json:"rewired,omitempty"`
}

// A Change is something that differs, as text; "" where it is missing.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before"`
	After  string `json:"after"`
	// Follows: the number follows from a width that changed.
	Follows bool `json:"follows_widths,omitempty"`
}

// nodes compares the graphs of two models. follows lists what depends on widths, folded names the
// outputs of operators into which a normalisation was folded, of which nothing is said but that.
func (p *pairing) nodes(follows map[*node][]coupling.ShapeRef, folded map[string]bool) Nodes {
	out := Nodes{
		Before: len(p.a.Nodes), After: len(p.b.Nodes), Operators: counts(p.a, p.b),
		Removed: []Node{}, Added: []Node{}, Changed: []Node{}, paired: len(p.to), most: max(len(p.nodesA), len(p.nodesB)), regrown: true,
	}
	place := map[*node]int{}
	for i, n := range p.nodesB {
		place[n] = i
		if p.from[n] == nil {
			out.Added = append(out.Added, Node{Name: nameOf(n), Op: operator(n)})
		}
	}
	changes := func(n, m *node) []Change {
		out := append(attributes(n, m), p.settings(n, m)...)
		if folded[firstOutput(n)] || folded[firstOutput(m)] {
			return out
		}
		return append(out, p.constants(n, m)...)
	}
	last := -1
	for _, n := range p.nodesA {
		m := p.to[n]
		if m == nil {
			out.Removed = append(out.Removed, Node{Name: nameOf(n), Op: operator(n)})
			continue
		}
		out.Reordered = out.Reordered || place[m] < last
		last = max(last, place[m])
		if n.GetName() != m.GetName() {
			out.Renamed++
		}
		for i := range min(len(n.GetOutput()), len(m.GetOutput())) {
			if n.GetOutput()[i] != m.GetOutput()[i] {
				out.Tensors++
			}
		}
		d := Node{Name: nameOf(n), Op: operator(n), Rewired: p.rewired(n, m), Changes: changes(n, m)}
		for i := range d.Changes {
			d.Changes[i].Follows = slices.ContainsFunc(follows[n], func(r coupling.ShapeRef) bool {
				return d.Changes[i].What == cmp.Or(r.Attr, inputName(n, r.Input))
			})
			out.regrown = out.regrown && d.Changes[i].Follows
		}
		if d.Rewired || len(d.Changes) > 0 {
			out.Changed = append(out.Changed, d)
		}
		out.regrown = out.regrown && !d.Rewired
	}
	return out
}

// counts lists the operators of which two graphs do not have equally many.
func counts(a, b *onnxio.Graph) []Count {
	by := map[string]*Count{}
	at := func(n *node) *Count {
		op := operator(n)
		if by[op] == nil {
			by[op] = &Count{Op: op}
		}
		return by[op]
	}
	for _, n := range a.Nodes {
		at(n).Before++
	}
	for _, n := range b.Nodes {
		at(n).After++
	}
	out := []Count{}
	for _, op := range slices.Sorted(maps.Keys(by)) {
		if c := by[op]; c.Before != c.After {
			out = append(out, *c)
		}
	}
	return out
}

// attributes lists those that differ, by name.
func attributes(a, b *node) []Change {
	names := map[string]bool{}
	for _, x := range append(slices.Clone(a.GetAttribute()), b.GetAttribute()...) {
		names[x.GetName()] = true
	}
	var out []Change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		x, y := onnxio.Attr(a, name), onnxio.Attr(b, name)
		if x == nil || y == nil || !proto.Equal(x, y) {
			out = append(out, Change{What: name, Before: text(x), After: text(y)})
		}
	}
	return out
}

// mostSettings is the number of elements up to which an integer constant is a setting of a node,
// such as a shape or bounds of a slice, and no weight. The biases of quantised operators have 32
// bits.
const mostSettings = 16

// setting returns the integers that a node reads as a setting.
func setting(g *onnxio.Graph, n *node, input int) (v []int64, ok bool) {
	if input >= len(n.GetInput()) {
		return nil, false
	}
	tp := g.Constant(n.GetInput()[input])
	if !isSetting(tp) {
		return nil, false
	}
	t, err := g.Model.Tensor(tp)
	if err != nil {
		return nil, false
	}
	return t.I64, true
}

func isSetting(tp *onnxpb.TensorProto) bool {
	typ := onnxpb.TensorProto_DataType(tp.GetDataType())
	return tp != nil && (typ == onnxio.Int64 || typ == onnxio.Bool) && onnxio.Elements(tp) <= mostSettings
}

// settings lists those that differ.
func (p *pairing) settings(n, m *node) []Change {
	var out []Change
	for i := range min(len(n.GetInput()), len(m.GetInput())) {
		v, ok := setting(p.a, n, i)
		w, both := setting(p.b, m, i)
		if ok && both && !slices.Equal(v, w) {
			out = append(out, Change{What: inputName(n, i), Before: short(list(v)), After: short(list(w))})
		}
	}
	return out
}

// inputName says what an input of a node is for.
func inputName(n *node, i int) string {
	names := settingNames[onnxio.StandardOp(n)]
	if i >= 0 && i < len(names) && names[i] != "" {
		return names[i]
	}
	return "input " + list([]int{i})
}

// settingNames are the names that the standard gives to inputs that are settings or may be missing.
var settingNames = map[string][]string{
	"Clip": {"", "min", "max"}, "Conv": {"", "", "bias"}, "ConvTranspose": {"", "", "bias"}, "Gemm": {"", "", "bias"}, "Expand": {"", "shape"}, "Gather": {"", "indices"}, "Pad": {"", "pads", "", "axes"},
	"ReduceMean": {"", "axes"}, "ReduceSum": {"", "axes"}, "Reshape": {"", "shape"}, "Resize": {"", "", "", "sizes"},
	"Slice": {"", "starts", "ends", "axes", "steps"}, "Split": {"", "split"}, "Squeeze": {"", "axes"},
	"Tile": {"", "repeats"}, "TopK": {"", "k"}, "Unsqueeze": {"", "axes"},
}

// rewired reports whether two nodes read tensors that do not correspond, where neither was made by
// a node that the other model has not.
func (p *pairing) rewired(n, m *node) bool {
	for i := range max(len(n.GetInput()), len(m.GetInput())) {
		x, y := inputOf(n, i), inputOf(m, i)
		switch {
		case x == "" && y == "", x == "" && p.b.Constant(y) != nil, y == "" && p.a.Constant(x) != nil:
		case x == "" || y == "" || !p.meet(x, y):
			return true
		}
	}
	return false
}

func inputOf(n *node, i int) string {
	if i >= len(n.GetInput()) {
		return ""
	}
	return n.GetInput()[i]
}

// constants lists those that one of two nodes reads where the other reads nothing.
func (p *pairing) constants(n, m *node) []Change {
	var out []Change
	text := func(t *onnxpb.TensorProto) string {
		if t == nil {
			return ""
		}
		return short(t.GetName() + " " + list(t.GetDims()))
	}
	for i := range max(len(n.GetInput()), len(m.GetInput())) {
		x, y := inputOf(n, i), inputOf(m, i)
		if v, w := p.a.Constant(x), p.b.Constant(y); x == "" && w != nil || y == "" && v != nil {
			out = append(out, Change{What: inputName(n, i), Before: text(v), After: text(w)})
		}
	}
	return out
}

// meet reports whether two tensors correspond, or one is made by a node that the other model has
// not.
func (p *pairing) meet(x, y string) bool {
	constant := p.a.Constant(x) != nil
	from, to := p.a.Producer(x), p.b.Producer(y)
	switch {
	case constant && p.b.Constant(y) != nil, !constant && p.tensors[x] == y && y != "":
		return true
	case from != nil && !constant && p.to[from] == nil:
		return true
	}
	return to != nil && p.b.Constant(y) == nil && p.from[to] == nil
}

// ends reports whether the graphs put out tensors that correspond.
func (p *pairing) ends(outputs []End) bool {
	for _, e := range outputs {
		if e.Before != nil && e.After != nil && !p.meet(e.Before.GetName(), e.After.GetName()) {
			return false
		}
	}
	return true
}
