package match

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A term is a tensor in a form that does not hang on how a model spells it: a function of a stem
// (what the last operator with weights, or with several activations, has computed).
type term struct {
	tensor string
	stem   *stem
	// value is what the function makes of the probe. Two spellings of one function, such as Gelu by
	// an operator and by Erf, give the same.
	value []float64
	// spelling lists the operators of the function, and scalars the constants of one number in it.
	spelling string
	scalars  []string
	// vague: a factor that depends on sizes is not known.
	vague bool
	// causal: what stands behind a position was masked.
	causal bool
	// plain: the tensor depends on no weights and on nothing but integers of the model's inputs and
	// sizes, as masks and positions do; reads are those inputs.
	plain bool
	reads []int
}

// A stem is what an operator that matters to the pairing computes.
type stem struct {
	input int // of the model, from 0; -1
	// kind says which operator it is, whatever its name, and detail what has to agree beside it.
	kind, detail string
	groups       int64 // of a convolution
	args         []*term
	slots        []slot
	// swaps: the order of args does not matter.
	swaps bool
	label string // for errors
	// tensor holds it, "" where none does.
	tensor string
	hash   uint64 // of the structure behind it, without names and widths
}

// A slot is a weight that a stem reads.
type slot struct {
	role string
	name string // of the constant that the operator reads
	// weight is what the constant is made of, nil where that is not one weight; axes are those of
	// the weight in an order that does not hang on the spelling.
	weight *coupling.Weight
	axes   []int
	span   *span // of the first axis; nil for all of it
}

// A speller finds the terms of a model.
type speller struct {
	s      *edit.Subject
	terms  map[string]*term
	biases map[*onnxpb.NodeProto]*onnxio.Linear // the Adds that are biases of linear operators
	// numbers are what tensors of a few numbers hold that are constant or computed of sizes, NaN
	// where a size is not known.
	numbers map[string][]float64
	orders  *orders
	parts   bool  // parts of what a linear operator makes are linear operators
	err     error // a weight that cannot be read
}

func newSpeller(s *edit.Subject, parts bool) (*speller, error) {
	sp := &speller{s: s, parts: parts, terms: map[string]*term{}, biases: map[*onnxpb.NodeProto]*onnxio.Linear{}, numbers: map[string][]float64{}, orders: newOrders(s)}
	for i, in := range s.Graph.Inputs() {
		name := in.GetName()
		if onnxio.IsFloat(onnxpb.TensorProto_DataType(in.GetType().GetTensorType().GetElemType())) {
			sp.grow(name, &stem{input: i, kind: "input", label: fmt.Sprintf("input %q", name)})
		} else {
			sp.terms[name] = &term{tensor: name, plain: true, reads: []int{i}}
		}
	}
	for _, l := range s.Graph.Linears() {
		if l.Bias.Node != nil && l.Bias.Node != l.Node {
			sp.biases[l.Bias.Node] = l
		}
	}
	for _, n := range s.Graph.Nodes {
		sp.node(s.AsGiven(n))
	}
	return sp, sp.err
}

// grow makes a tensor the stem of its own term.
func (sp *speller) grow(tensor string, st *stem) *term {
	h := fnv.New64a()
	var parts []string
	for _, a := range st.args {
		parts = append(parts, fmt.Sprint(a.hash()))
	}
	if st.swaps {
		slices.Sort(parts)
	}
	kernel := ""
	if len(st.slots) > 0 {
		kernel = kernelOf(st.slots[0].weight)
	}
	fmt.Fprint(h, st.input, "|", st.kind, "|", kernel, "|", strings.Join(parts, ";"))
	st.hash, st.tensor = h.Sum64(), tensor
	t := &term{tensor: tensor, stem: st, value: probe}
	sp.terms[tensor] = t
	return t
}

// hash summarises what a term is, whatever the names, widths and spelling.
func (t *term) hash() uint64 {
	switch {
	case t.plain:
		h := fnv.New64a()
		fmt.Fprint(h, "plain", t.reads)
		return h.Sum64()
	case t.spelling != "" && !proportional(t.value, probe):
		return t.stem.hash + 1
	}
	return t.stem.hash
}

// alias gives a tensor the term of another one.
func (sp *speller) alias(tensor string, of *term) {
	t := *of
	t.tensor = tensor
	sp.terms[tensor] = &t
}

// passing are further operators that hand the channels of their first input on.
var passing = []string{"Dropout", "Cast", "Expand", "Tile"}

// node finds the terms of a node's outputs.
func (sp *speller) node(n *onnxpb.NodeProto) {
	if len(n.GetOutput()) == 1 {
		if v := sp.computed(n); len(v) > 0 && len(v) <= mostNumbers {
			sp.numbers[n.GetOutput()[0]] = v
		}
	}
	if len(n.GetOutput()) == 0 || !slices.ContainsFunc(n.GetOutput(), func(o string) bool { return o != "" && !sp.constant(o) }) {
		sp.orders.node(n)
		return
	}
	out := n.GetOutput()[0]
	var live, formed []*term
	for _, in := range sp.s.Live(n) {
		t := sp.terms[in]
		if t == nil {
			t = sp.grow(in, &stem{input: -1, kind: "unknown", label: fmt.Sprintf("%q", in)})
		}
		live = append(live, t)
		if !t.plain {
			formed = append(formed, t)
		}
	}
	op := onnxio.StandardOp(n)
	facts := onnxio.FactsOf(n)
	switch {
	case op == "Shape" || op == "Size":
		sp.terms[out] = &term{tensor: out, plain: true}
	case len(formed) == 0 && !sp.weighs(n):
		sp.orders.node(n)
		sp.plain(n, live)
	case len(formed) > 0 && formed[0].tensor == n.GetInput()[0] && (facts.Has(onnxio.Rearranges) || slices.Contains(passing, op)):
		sp.alias(out, formed[0])
	case sp.function(n, formed):
	case len(formed) == 1 && facts.Has(onnxio.Broadcasts) && (len(live) > 1 || sp.masks(n)): // a mask, or positions
		sp.alias(out, formed[0])
		sp.terms[out].vague = sp.terms[out].vague || op == "Mul" || op == "Div"
		sp.terms[out].causal = sp.terms[out].causal || sp.orders.hidden(n)
	default:
		if !sp.linear(n) && !sp.product(n, formed) && !sp.normalisation(n, formed) && !sp.scaled(n, formed) && !sp.piece(n, formed) {
			sp.other(n, live)
		}
	}
}

func (sp *speller) constant(name string) bool {
	_, ok := sp.s.Analysis.Roots[name]
	return ok
}

// masks reports whether the constants that an activation meets are computed of others along which no
// channels move, or hold nothing but zeros and numbers that stand for minus infinity, or say where such
// a number shall stand.
func (sp *speller) masks(n *onnxpb.NodeProto) bool {
	if onnxio.StandardOp(n) == "Where" && sp.constant(n.GetInput()[0]) {
		one := func(in string) bool { x, ok := sp.scalar(in); return ok && x <= masked }
		return one(n.GetInput()[1]) || one(n.GetInput()[2])
	}
	for _, in := range n.GetInput() {
		if in == "" || !sp.constant(in) {
			continue
		}
		for _, root := range sp.s.Analysis.Roots[in] {
			if w := sp.s.Analysis.Weights[root]; w != nil && slices.ContainsFunc(w.Axes, func(a *coupling.Axis) bool { return !fixed(sp.s, a) }) {
				return false
			}
		}
		if !sp.stored(in) {
			continue
		}
		w := weightOf(sp.s, in)
		if w == nil || onnxio.StandardOp(n) != "Add" {
			return false
		}
		v, err := sp.s.Floats(w.Name)
		if err != nil || slices.ContainsFunc(v, func(x float64) bool { return x != 0 && x > masked }) {
			return false
		}
	}
	return true
}

// stored reports whether a constant is a stored one, perhaps under another name or laid out in another
// way.
func (sp *speller) stored(name string) bool {
	for sp.s.Graph.Constant(name) == nil {
		n := sp.s.Graph.Producer(name)
		if n == nil || len(n.GetInput()) == 0 || n.GetOpType() != "Identity" && !onnxio.FactsOf(n).Has(onnxio.Rearranges) {
			return false
		}
		name = n.GetInput()[0]
	}
	return true
}

// masked is what stands for minus infinity, or less.
const masked = -1e4

// plain makes tensors of those that depend on no weights.
func (sp *speller) plain(n *onnxpb.NodeProto, of []*term) {
	var reads []int
	for _, t := range of {
		reads = append(reads, t.reads...)
	}
	slices.Sort(reads)
	for _, o := range n.GetOutput() {
		sp.terms[o] = &term{tensor: o, plain: true, reads: slices.Compact(reads)}
	}
}

// weighs reports whether a node reads a weight that may have to be paired: a table of rows, or one
// along which channels may move.
func (sp *speller) weighs(n *onnxpb.NodeProto) bool {
	for i, in := range n.GetInput() {
		w := weightOf(sp.s, in)
		if w == nil || w.Len() <= 1 {
			continue
		}
		if i == 0 && onnxio.StandardOp(n) == "Gather" && len(w.Axes) > 1 {
			return true
		}
		if slices.ContainsFunc(w.Axes, func(a *coupling.Axis) bool { return !fixed(sp.s, a) }) {
			return true
		}
	}
	return false
}

// slot describes a weight, nil where a constant is none. first are its axes that stand in front in
// the order of all spellings.
func (sp *speller) slot(role, name string, first ...int) *slot {
	if name == "" || !sp.constant(name) {
		return nil
	}
	w := weightOf(sp.s, name)
	if w == nil {
		return nil
	}
	out := &slot{role: role, name: name, weight: w}
	for _, k := range first {
		if k < 0 || k >= len(w.Axes) {
			first = nil // read through a Reshape or the like: as it is stored
		}
	}
	out.axes = slices.Clone(first)
	for k := range w.Axes {
		if !slices.Contains(first, k) {
			out.axes = append(out.axes, k)
		}
	}
	return out
}

func slotsOf(all ...*slot) []slot {
	var out []slot
	for _, s := range all {
		if s != nil {
			out = append(out, *s)
		}
	}
	return out
}

// linear takes in linear operators with a weight, and the Adds that are their biases.
func (sp *speller) linear(n *onnxpb.NodeProto) bool {
	l := sp.biases[n]
	if l == nil {
		var ok bool
		if l, ok = sp.s.Graph.Linear(n); !ok || l.Weight.Name == "" || !sp.constant(l.Weight.Tensor()) {
			return false
		}
		if l.Kind == onnxio.Recurrent || l.Kind == onnxio.DeformableConvolution {
			return false
		}
	}
	x := sp.terms[l.In.Tensor]
	if x == nil || x.plain {
		return false
	}
	st := &stem{input: -1, kind: "linear", args: []*term{x}, label: onnxio.Label(l.Node)}
	if l.Kind != onnxio.Product && !sp.pointwise(l) {
		st.kind, st.groups = "convolution", int64(l.Groups)
		st.detail = windowKey(l)
	}
	if l.Alpha != 1 || l.Beta != 1 {
		st.detail = fmt.Sprint(l.Alpha, l.Beta)
	}
	st.slots = slotsOf(sp.slot("weight", l.Weight.Tensor(), l.Out.Weight, l.In.Weight))
	if bias := l.Bias; bias.Node == l.Node || bias.Node == n && bias.Node != nil {
		st.slots = append(st.slots, slotsOf(sp.slot("bias", bias.Tensor()))...)
	}
	sp.grow(n.GetOutput()[0], st)
	return true
}

// pointwise reports whether a convolution is a product at each position.
func (sp *speller) pointwise(l *onnxio.Linear) bool {
	w := weightOf(sp.s, l.Weight.Tensor())
	if l.Kind != onnxio.Convolution || l.Groups != 1 || w == nil || slices.ContainsFunc(onnxio.AttrInts(l.Node, "strides"), func(s int64) bool { return s != 1 }) {
		return false
	}
	return !slices.ContainsFunc(w.Axes[2:], func(a *coupling.Axis) bool { return a.Size() != 1 })
}

// windowKey is what two convolutions must have in common.
func windowKey(l *onnxio.Linear) string {
	key := fmt.Sprint(l.Kind)
	for _, name := range []string{"strides", "dilations"} {
		v := onnxio.AttrInts(l.Node, name)
		for len(v) > 0 && v[len(v)-1] == 1 {
			v = v[:len(v)-1]
		}
		key += fmt.Sprint(name, v)
	}
	return key
}

// product takes in products of two activations. Factors of the operands are one of the product.
func (sp *speller) product(n *onnxpb.NodeProto, formed []*term) bool {
	if op := onnxio.StandardOp(n); op != "MatMul" && op != "Gemm" || len(formed) != 2 || len(n.GetInput()) != 2 {
		return false
	}
	st := &stem{input: -1, kind: "product", label: onnxio.Label(n)}
	factor := float64(onnxio.AttrFloat(n, "alpha", 1))
	spelling, vague := "", false
	for _, t := range formed {
		arg := *t
		if proportional(t.value, probe) {
			factor *= t.value[0] / probe[0]
			arg.value = probe
		}
		vague = vague || t.vague
		spelling += t.spelling
		st.args = append(st.args, &arg)
	}
	out := sp.grow(n.GetOutput()[0], st)
	out.vague = vague
	if factor != 1 {
		st.tensor = ""
		out.value, out.spelling = apply(func(v []float64) float64 { return factor * v[0] }, [][]float64{probe}), spelling
	}
	return true
}

// other takes in what has no form of its own: the operator as it is, with its weights in order.
func (sp *speller) other(n *onnxpb.NodeProto, live []*term) {
	st := stem{input: -1, kind: strings.TrimPrefix(n.GetDomain()+"/"+n.GetOpType(), "/"), args: live, swaps: commutative(n), label: onnxio.Label(n)}
	if sp.pools(n) {
		st.kind, st.args = "mean of positions", live[:1]
	}
	recurrent := onnxio.LinearKindOf(n) == onnxio.Recurrent
	if recurrent {
		st.args = slices.DeleteFunc(slices.Clone(live), func(t *term) bool { return t.plain }) // states of zeros
	}
	for i, in := range n.GetInput() {
		w := sp.slot(fmt.Sprint(i), in)
		if w == nil || recurrent && i > 3 && sp.zeros(w.weight) {
			continue
		}
		if recurrent && i == 3 {
			w.role = "bias"
		}
		st.slots = append(st.slots, *w)
	}
	for k, o := range n.GetOutput() {
		if o != "" {
			own := st
			own.detail = fmt.Sprint(k)
			sp.grow(o, &own)
		}
	}
}

// zeros reports whether all numbers of a weight are zero.
func (sp *speller) zeros(w *coupling.Weight) bool {
	v, err := sp.s.Floats(w.Name)
	return err == nil && !slices.ContainsFunc(v, func(x float64) bool { return x != 0 })
}

// weightNames lists the weights along which channels may move.
func weightNames(s *edit.Subject) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Analysis.Weights)) {
		w := s.Analysis.Weights[name]
		if onnxio.IsFloat(w.Type) && slices.ContainsFunc(w.Axes, func(a *coupling.Axis) bool { return !fixed(s, a) }) {
			out = append(out, name)
		}
	}
	return out
}
