package match

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
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

// The probe of functions: rows of channels. Functions of rows are means, norms and Softmax.
const probeRows, probeCols = 3, 8

// probe is spread over where functions bend, without any order or symmetry.
var probe = func() []float64 {
	out := make([]float64, probeRows*probeCols)
	for i := range out {
		out[i] = 6*math.Mod(float64(i+1)*math.Phi, 1) - 3
	}
	return out
}()

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

// mostNumbers bounds the plain tensors that are followed.
const mostNumbers = 64

// sizes are the numbers of a Shape.
func (sp *speller) sizes(n *onnxpb.NodeProto) []float64 {
	axes, known := sp.s.Analysis.Activations[n.GetInput()[0]]
	if !known {
		return nil
	}
	out := make([]float64, len(axes))
	for k, a := range axes {
		if out[k] = float64(a.Size()); out[k] < 0 {
			out[k] = math.NaN()
		}
	}
	from, to := wrapped(float64(onnxio.AttrInt(n, "start", 0)), len(axes)), wrapped(float64(onnxio.AttrInt(n, "end", int64(len(axes)))), len(axes))
	return out[min(from, to):to]
}

// known are the numbers of a constant or plain tensor; nil where it is something else.
func (sp *speller) known(name string) []float64 {
	if v := sp.numbers[name]; v != nil {
		return v
	}
	if tp := sp.s.Graph.Constant(name); tp != nil && onnxio.Elements(tp) <= mostNumbers {
		if t, err := sp.s.Model.Tensor(tp); err == nil {
			return t.Float64()
		}
	}
	return nil
}

// computed are the numbers of a node that does arithmetic on sizes.
func (sp *speller) computed(n *onnxpb.NodeProto) []float64 {
	if onnxio.StandardOp(n) == "Shape" {
		return sp.sizes(n)
	}
	var in [][]float64
	for _, name := range n.GetInput() {
		in = append(in, sp.known(name))
	}
	if len(in) == 0 || in[0] == nil {
		return nil
	}
	switch op := onnxio.StandardOp(n); op {
	case "Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape":
		return in[0]
	case "Concat":
		if slices.ContainsFunc(in, func(v []float64) bool { return v == nil }) {
			return nil
		}
		return slices.Concat(in...)
	case "Gather":
		if len(in[1]) != 1 {
			return nil
		}
		if at := wrapped(in[1][0], len(in[0])); at < len(in[0]) {
			return in[0][at : at+1]
		}
	case "Slice":
		if len(in) >= 3 && len(in[1]) == 1 && len(in[2]) == 1 && (len(in) < 5 || len(in[4]) == 1 && in[4][0] == 1) {
			from, to := wrapped(in[1][0], len(in[0])), wrapped(in[2][0], len(in[0]))
			return in[0][min(from, to):to]
		}
	default:
		return elementwise(n, in)
	}
	return nil
}

// wrapped is a bound in a list of n, which may be counted from the end.
func wrapped(at float64, n int) int {
	if at < 0 {
		at += float64(n)
	}
	return int(min(max(at, 0), float64(n)))
}

// elementwise applies an operator to lists of equal lengths, or to single numbers.
func elementwise(n *onnxpb.NodeProto, in [][]float64) []float64 {
	f, inputs, ok := onnxio.Elementwise(n)
	if !ok || inputs > len(in) {
		return nil
	}
	if inputs < 0 {
		inputs = len(in)
	}
	long := 0
	for _, v := range in[:inputs] {
		long = max(long, len(v))
	}
	out := make([]float64, long)
	args := make([]float64, inputs)
	for i := range out {
		for k, v := range in[:inputs] {
			switch len(v) {
			case 1:
				args[k] = v[0]
			case long:
				args[k] = v[i]
			default:
				return nil
			}
		}
		out[i] = f(args)
	}
	return out
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

// normalisation takes in operators that normalise rows, and scale and shift them: functions of rows
// with two stems behind.
func (sp *speller) normalisation(n *onnxpb.NodeProto, formed []*term) bool {
	var of func([]float64) []float64
	epsilon := float64(onnxio.AttrFloat(n, "epsilon", 1e-5))
	op := n.GetOpType()
	switch op {
	case "LayerNormalization", "GroupNormalization", "InstanceNormalization":
		of = func(x []float64) []float64 { return normalised(x, epsilon, true) }
	case "RMSNormalization", "SimplifiedLayerNormalization":
		of = func(x []float64) []float64 { return normalised(x, epsilon, false) }
	default:
		return false
	}
	if len(formed) != 1 || formed[0].tensor != n.GetInput()[0] || len(n.GetInput()) < 2 || slices.ContainsFunc(n.GetOutput()[1:], func(o string) bool { return len(sp.s.Graph.Consumers(o)) > 0 }) {
		return false
	}
	out := n.GetOutput()[0]
	t := *formed[0]
	t.tensor, t.value, t.spelling = out, of(t.value), t.spelling+" "+op
	sp.terms[out] = &t
	if op == "InstanceNormalization" && sp.idle(n) {
		return true
	}
	sp.grow(out, &stem{input: -1, kind: "Mul", args: []*term{&t}, slots: slotsOf(sp.slot("weight", n.GetInput()[1])), label: onnxio.Label(n)})
	if len(n.GetInput()) > 2 && n.GetInput()[2] != "" {
		inner := *sp.terms[out]
		inner.tensor, inner.stem.tensor = "", ""
		sp.grow(out, &stem{input: -1, kind: "Add", args: []*term{&inner}, slots: slotsOf(sp.slot("weight", n.GetInput()[2])), label: onnxio.Label(n)})
	}
	return true
}

// idle reports whether an InstanceNormalization neither scales nor shifts the groups that a Reshape
// has made: it is a part of a GroupNormalization.
func (sp *speller) idle(n *onnxpb.NodeProto) bool {
	before := sp.s.Graph.Producer(n.GetInput()[0])
	if before == nil || before.GetOpType() != "Reshape" || len(n.GetInput()) != 3 {
		return false
	}
	for i, want := range []float64{1, 0} {
		w := weightOf(sp.s, n.GetInput()[1+i])
		if w == nil {
			return false
		}
		v, err := sp.s.Floats(w.Name)
		if sp.err = err; err != nil || slices.ContainsFunc(v, func(x float64) bool { return x != want }) {
			return false
		}
	}
	return true
}

// function takes in operators that make a function of one stem, with constants of one number.
func (sp *speller) function(n *onnxpb.NodeProto, formed []*term) bool {
	if len(formed) == 0 || slices.ContainsFunc(formed, func(t *term) bool { return t.stem != formed[0].stem }) {
		return false
	}
	f, ok := sp.rowFunction(n)
	if !ok {
		return false
	}
	out := &term{tensor: n.GetOutput()[0], stem: formed[0].stem, vague: slices.ContainsFunc(formed, func(t *term) bool { return t.vague }),
		causal: slices.ContainsFunc(formed, func(t *term) bool { return t.causal })}
	var inputs [][]float64
	operands := n.GetInput()
	if rows[onnxio.StandardOp(n)] != nil {
		operands = operands[:1] // axes are none
	}
	for _, in := range operands {
		if in == "" {
			inputs = append(inputs, nil)
			continue
		}
		t := sp.terms[in]
		if t != nil && t.plain {
			t = nil
		}
		if t != nil {
			inputs = append(inputs, t.value)
			if !strings.Contains(out.spelling, t.spelling) {
				out.spelling += t.spelling
			}
			for _, s := range t.scalars {
				if !slices.Contains(out.scalars, s) {
					out.scalars = append(out.scalars, s)
				}
			}
			continue
		}
		x, ok := sp.scalar(in)
		if ok {
			out.scalars = append(out.scalars, in)
		} else if v := sp.known(in); len(v) == 1 && !math.IsNaN(v[0]) {
			x = v[0]
		} else {
			return false
		}
		inputs = append(inputs, slices.Repeat([]float64{x}, len(probe)))
	}
	out.value = f(inputs)
	out.spelling += " " + n.GetOpType()
	sp.terms[out.tensor] = out
	return true
}

// scalar reads a constant of one number.
func (sp *speller) scalar(name string) (float64, bool) {
	roots := sp.s.Analysis.Roots[name]
	if len(roots) != 1 || !sp.stored(name) {
		return 0, false
	}
	if w := sp.s.Analysis.Weights[roots[0]]; w == nil || w.Len() != 1 || w.Quant != nil {
		return 0, false
	}
	v, err := sp.s.Floats(roots[0])
	if err != nil || len(v) != 1 {
		return 0, false
	}
	return v[0], true
}

// rowFunction returns the function of the operators that neither read weights nor mix anything but
// the channels of a row.
func (sp *speller) rowFunction(n *onnxpb.NodeProto) (f func(inputs [][]float64) []float64, ok bool) {
	op := onnxio.StandardOp(n)
	if op == "Clip" {
		lo, hi := float64(onnxio.AttrFloat(n, "min", float32(math.Inf(-1)))), float64(onnxio.AttrFloat(n, "max", float32(math.Inf(1))))
		return func(v [][]float64) []float64 {
			out := slices.Clone(v[0])
			for i := range out {
				if len(v) > 1 && v[1] != nil {
					lo = v[1][i]
				}
				if len(v) > 2 && v[2] != nil {
					hi = v[2][i]
				}
				out[i] = min(max(out[i], lo), hi)
			}
			return out
		}, true
	}
	if g := choices[op]; g != nil {
		return func(v [][]float64) []float64 { return apply(g, v) }, true
	}
	if g, _, ok := onnxio.Elementwise(n); ok {
		return func(v [][]float64) []float64 { return apply(g, v) }, true
	}
	if g, ok := rows[op]; ok && sp.alongOne(n) {
		return func(v [][]float64) []float64 { return overRows(v[0], g) }, true
	}
	return nil, false
}

// choices are operators that compare, with one for true, and that choose by it.
var choices = map[string]func([]float64) float64{
	"Less":           func(v []float64) float64 { return truth(v[0] < v[1]) },
	"LessOrEqual":    func(v []float64) float64 { return truth(v[0] <= v[1]) },
	"Greater":        func(v []float64) float64 { return truth(v[0] > v[1]) },
	"GreaterOrEqual": func(v []float64) float64 { return truth(v[0] >= v[1]) },
	"Where": func(v []float64) float64 {
		if v[0] != 0 {
			return v[1]
		}
		return v[2]
	},
}

func truth(x bool) float64 {
	if x {
		return 1
	}
	return 0
}

// alongOne reports whether an operator works along one axis.
func (sp *speller) alongOne(n *onnxpb.NodeProto) bool {
	if op := onnxio.StandardOp(n); op == "Softmax" || op == "LogSoftmax" {
		return true
	}
	return sp.axesOf(n) == 1 && !sp.pools(n)
}

// apply applies a function element by element.
func apply(f func([]float64) float64, inputs [][]float64) []float64 {
	out := make([]float64, len(probe))
	args := make([]float64, len(inputs))
	for i := range out {
		for k, v := range inputs {
			args[k] = v[i]
		}
		out[i] = f(args)
	}
	return out
}

// overRows applies a function row by row.
func overRows(x []float64, f func(row []float64)) []float64 {
	out := slices.Clone(x)
	for row := range slices.Chunk(out, probeCols) {
		f(row)
	}
	return out
}

// rows holds the operators that take each row by itself. What they make one number of is repeated.
var rows = map[string]func(row []float64){
	"ReduceMean": func(row []float64) { fill(row, sum(row, 1)/probeCols) },
	"ReduceSum":  func(row []float64) { fill(row, sum(row, 1)) },
	"ReduceL2":   func(row []float64) { fill(row, math.Sqrt(sum(row, 2))) },
	"ReduceMax":  func(row []float64) { fill(row, slices.Max(row)) },
	"ReduceMin":  func(row []float64) { fill(row, slices.Min(row)) },
	"Softmax": func(row []float64) {
		softmax(row)
	},
	"LogSoftmax": func(row []float64) {
		softmax(row)
		for i, v := range row {
			row[i] = math.Log(v)
		}
	},
}

func softmax(row []float64) {
	most := slices.Max(row)
	for i, v := range row {
		row[i] = math.Exp(v - most)
	}
	total := sum(row, 1)
	for i := range row {
		row[i] /= total
	}
}

func fill(row []float64, v float64) {
	for i := range row {
		row[i] = v
	}
}

// sum adds up powers.
func sum(row []float64, power float64) float64 {
	s := 0.0
	for _, v := range row {
		s += math.Pow(v, power)
	}
	return s
}

// normalised has variance 1, and mean 0 where rows are centred.
func normalised(x []float64, epsilon float64, centred bool) []float64 {
	return overRows(x, func(row []float64) {
		if centred {
			mean := sum(row, 1) / probeCols
			for i := range row {
				row[i] -= mean
			}
		}
		deviation := math.Sqrt(sum(row, 2)/probeCols + epsilon)
		for i := range row {
			row[i] /= deviation
		}
	})
}

// same reports whether two functions made the same of the probe, but for rounding.
func same(a, b []float64) bool {
	scale := 0.0
	for _, v := range a {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			scale = max(scale, math.Abs(v))
		}
	}
	for i, v := range a {
		if w := b[i]; v != w && !(math.IsNaN(v) && math.IsNaN(w)) && !(math.Abs(v-w) <= 1e-5*scale) {
			return false
		}
	}
	return true
}

// proportional reports whether a is a positive multiple of b, which is not zero.
func proportional(a, b []float64) bool {
	c := a[0] / b[0]
	if !(c > 0) || math.IsInf(c, 0) {
		return false
	}
	return same(a, apply(func(v []float64) float64 { return c * v[0] }, [][]float64{b}))
}

// scaled takes in activations that a weight is multiplied with or added to, element by element.
func (sp *speller) scaled(n *onnxpb.NodeProto, formed []*term) bool {
	op := onnxio.StandardOp(n)
	if len(formed) != 1 || len(n.GetInput()) != 2 || op != "Mul" && op != "Add" && op != "Sub" && op != "Div" {
		return false
	}
	other := n.GetInput()[0]
	if other == formed[0].tensor {
		other = n.GetInput()[1]
	} else if op == "Sub" || op == "Div" {
		op += " from"
	}
	w := sp.slot("weight", other)
	if w == nil {
		return false
	}
	sp.grow(n.GetOutput()[0], &stem{input: -1, kind: op, args: formed, slots: []slot{*w}, label: onnxio.Label(n)})
	return true
}

// piece takes in parts of a tensor along an axis, by Split, Slice or Gather, numbered in the order
// in which they stand.
func (sp *speller) piece(n *onnxpb.NodeProto, formed []*term) bool {
	if len(formed) != 1 || formed[0].tensor != n.GetInput()[0] {
		return false
	}
	if onnxio.StandardOp(n) == "Split" {
		axis := int(onnxio.AttrInt(n, "axis", 0))
		if axis < 0 {
			axis += len(sp.s.Analysis.Activations[n.GetInput()[0]])
		}
		for k, o := range n.GetOutput() {
			if sp.parted(n, o, formed[0], axis, k) {
				continue
			}
			sp.grow(o, &stem{input: -1, kind: "part", detail: fmt.Sprint(k), args: formed, label: onnxio.Label(n)})
		}
		return true
	}
	axis, start, ok := sp.start(n)
	if !ok {
		return false
	}
	if axes := sp.s.Analysis.Activations[n.GetInput()[0]]; onnxio.StandardOp(n) == "Slice" && start == 0 && axis < len(axes) {
		if same := sp.s.Analysis.Activations[n.GetOutput()[0]]; axis < len(same) && axes[axis].Size() > 0 && same[axis].Size() == axes[axis].Size() {
			sp.alias(n.GetOutput()[0], formed[0]) // all of it
			return true
		}
	}
	before, passed := map[float64]bool{}, false
	for i, c := range sp.s.Graph.Consumers(n.GetInput()[0]) {
		a, s, ok := sp.start(c.Node)
		switch {
		case c.Node == n:
			passed = true
		case !ok || a != axis:
		case math.IsNaN(s + start): // parts are written in order
			if !passed {
				before[-1-float64(i)] = true
			}
		case s < start:
			before[s] = true
		}
	}
	if sp.parted(n, n.GetOutput()[0], formed[0], axis, len(before)) {
		return true
	}
	sp.grow(n.GetOutput()[0], &stem{input: -1, kind: "part", detail: fmt.Sprint(len(before)), args: formed, label: onnxio.Label(n)})
	return true
}

// start is the axis that a Slice, or the Gather of one position, takes a part of, and where the part
// begins.
func (sp *speller) start(n *onnxpb.NodeProto) (axis int, start float64, ok bool) {
	in := n.GetInput()
	one := func(i int, attr string, def float64) (float64, bool) {
		var v []float64
		switch {
		case len(in) > i && in[i] != "":
			v = sp.known(in[i])
		case onnxio.Attr(n, attr) != nil:
			for _, x := range onnxio.AttrInts(n, attr) {
				v = append(v, float64(x))
			}
		default:
			return def, true
		}
		switch {
		case len(v) == 1:
			return v[0], true
		case len(in) > i && v == nil:
			return math.NaN(), true
		}
		return 0, false
	}
	rank := len(sp.s.Analysis.Activations[in[0]])
	var along float64
	switch onnxio.StandardOp(n) {
	case "Gather":
		along = float64(onnxio.AttrInt(n, "axis", 0))
		start, ok = one(1, "", 0)
	case "Slice":
		var known bool
		if along, known = one(3, "axes", 0); !known {
			return 0, 0, false
		}
		step, known := one(4, "", 1)
		start, ok = one(1, "starts", 0)
		ok = ok && known && step == 1
	}
	if along < 0 {
		along += float64(rank)
	}
	return int(along), start, ok
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

// pools reports whether a node takes the mean over all positions of a map.
func (sp *speller) pools(n *onnxpb.NodeProto) bool {
	switch onnxio.StandardOp(n) {
	case "GlobalAveragePool":
		return true
	case "ReduceMean":
		t := sp.terms[n.GetInput()[0]]
		return sp.axesOf(n) > 1 || t != nil && !t.plain && t.stem.kind == "convolution" && len(sp.s.Analysis.Activations[t.stem.tensor]) == 3
	}
	return false
}

// axesOf counts the axes that a reduction works along.
func (sp *speller) axesOf(n *onnxpb.NodeProto) int {
	if in := n.GetInput(); len(in) > 1 && in[1] != "" {
		return len(sp.known(in[1]))
	}
	return len(onnxio.AttrInts(n, "axes"))
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
