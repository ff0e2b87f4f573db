package match

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Pairing says which parts of two models of one architecture correspond. Names need not agree;
// the graphs must, up to widths, the order of nodes and of commutative operands, and Identity and
// Dropout nodes.
type Pairing struct {
	// Sources maps weight names of the second model to those of the first.
	Sources map[string]Source
	// Apart says of weights of the second model why they have no source, though they are part of what
	// corresponds.
	Apart map[string]string
	// Tensors maps activations of the first model to those of the second.
	Tensors map[string]string
	// Spaces maps spaces of the first model to those of the second.
	Spaces map[*coupling.Space]*coupling.Space

	// Repeated: the first model was written as the second is, with more heads, all alike, or a weight for
	// each layer that read a common one.
	Repeated bool

	// single are spaces of the first model, heads or groups of heads, that have one channel in the
	// second, where no axis shows it.
	single map[*coupling.Space]bool
	// repeats are atoms of the second model that axes of the first lack, since it has one for all.
	repeats map[*coupling.Axis]bool
	// lone are channels of the first model that are convolved each by itself, of which the second has
	// one: before and behind the convolution, which does not show there that it is such.
	lone   map[*coupling.Axis]bool
	widths map[*coupling.Space]int
	// split: channels of the first model stand for several of the second, in which layers have weights
	// of their own that the first has in common. unties: they may.
	split, unties bool
	pieces        map[string][]piece                // of weights of the second model
	own           map[*coupling.Axis]*coupling.Axis // atoms of the first, by those of the second

	a, b  *edit.Subject
	atoms map[*coupling.Axis]*coupling.Axis
	hash  map[*edit.Subject]map[string]uint64
}

// A Source is the weight of the first model that stands for one of the second. The zero value stands
// for zeros: a bias that the first model does without.
type Source struct {
	Name string
	// Axes are those of the source, -1 for none (of size one), that stand for the axes of the second
	// model's weight; nil where these are the same.
	Axes []int
}

// Axis is the axis of the source that stands for one of the second model's weight, -1 where there is
// none.
func (s Source) Axis(k int) int {
	switch {
	case s.Axes == nil:
		return k
	case k < len(s.Axes):
		return s.Axes[k]
	}
	return -1
}

// Laid returns the source's tensor with the axes of the second model's weight.
func (s Source) Laid(t *onnxio.Tensor) *onnxio.Tensor {
	if s.Axes == nil {
		return t
	}
	var kept []int
	dims := make([]int, len(s.Axes))
	for k, from := range s.Axes {
		dims[k] = 1
		if from >= 0 {
			dims[k] = t.Dims[from]
			kept = append(kept, from)
		}
	}
	if !slices.IsSorted(kept) {
		if t.Type == onnxio.Float {
			return &onnxio.Tensor{Name: t.Name, Type: t.Type, Dims: dims, F32: dense.Permuted(t.F32, t.Dims, kept)}
		}
		return onnxio.NewTensor(t.Name, t.Type, dims, dense.Permuted(t.Float64(), t.Dims, kept))
	}
	t.Dims = dims
	return t
}

// Pair matches two models from their outputs backwards: node by node, or, where they are spelled
// differently, by what their tensors are. Where one of them has a single attention head, which no axis
// of it shows, the first is given as many beforehand as the second has (see Source). The error names the
// models and the first two nodes that differ.
func Pair(a, b *edit.Subject) (p *Pairing, err error) {
	defer guard.Recover(&err)
	if err = unquantized(a); err == nil {
		p, err = pairAny(a, b)
	}
	if err == nil {
		p, err = p.fitted()
	}
	if err != nil && b.Model.Path != "" {
		err = fmt.Errorf("does not fit %s: %w", b.Model.Path, err)
	}
	return p, a.Model.InFile(err)
}

// pairAny pairs two models in whichever way it can. Where the operators correspond and their channels
// do not, the error says so; else what is not to be seen beyond the spelling either.
func pairAny(a, b *edit.Subject) (*Pairing, error) {
	p, err := pair(a, b)
	if err == nil {
		return p, nil
	}
	spelled, other := pairSpelled(a, b, false)
	if other == nil {
		return spelled, nil
	}
	if spelled, err := pairSpelled(a, b, true); err == nil {
		return spelled, nil
	}
	if form := (*formError)(nil); errors.As(err, &form) {
		err = other
	}
	return nil, fmt.Errorf("the models differ: %w", err)
}

// A formError says that models are not made of the same operators.
type formError struct{ error }

func (e *formError) Unwrap() error { return e.error }

// form makes the error of operators that differ.
func form(format string, args ...any) error { return &formError{fmt.Errorf(format, args...)} }

// Source is the first model as it was paired: the one that was given, unless its number of heads had
// to be changed.
func (p *Pairing) Source() *edit.Subject { return p.a }

// Widths are the numbers of channels that spaces of the first model have in the second: of the model
// as it was given, or of Source where that is Repeated.
func (p *Pairing) Widths() map[*coupling.Space]int {
	if p.widths != nil && !p.Repeated {
		return p.widths
	}
	out := map[*coupling.Space]int{}
	for a, b := range p.Spaces {
		out[a] = b.Width
	}
	return out
}

// newPairing pairs nothing yet.
func newPairing(a, b *edit.Subject) *Pairing {
	return &Pairing{
		Sources: map[string]Source{}, Tensors: map[string]string{}, Spaces: map[*coupling.Space]*coupling.Space{},
		single: map[*coupling.Space]bool{}, repeats: map[*coupling.Axis]bool{}, lone: map[*coupling.Axis]bool{}, pieces: map[string][]piece{}, own: map[*coupling.Axis]*coupling.Axis{}, a: a, b: b, atoms: map[*coupling.Axis]*coupling.Axis{},
		hash: map[*edit.Subject]map[string]uint64{},
	}
}

func pair(a, b *edit.Subject) (*Pairing, error) {
	p := newPairing(a, b)
	oa, ob := a.Graph.Outputs(), b.Graph.Outputs()
	if len(oa) != len(ob) {
		return nil, fmt.Errorf("%s against %d", screen.Plural(len(oa), "output"), len(ob))
	}
	if na, nb := len(a.Graph.Inputs()), len(b.Graph.Inputs()); na != nb {
		return nil, fmt.Errorf("%s against %d", screen.Plural(na, "input"), nb)
	}
	for i := range oa {
		if err := p.tensors(oa[i].GetName(), ob[i].GetName()); err != nil {
			return nil, err
		}
	}
	if err := p.masks(); err != nil {
		return nil, err
	}
	if p.unfit() {
		return p, nil
	}
	if err := p.spaces(); err != nil {
		return nil, err
	}
	return p, nil
}

// through skips nodes that only pass their input on.
func through(s *edit.Subject, name string) string {
	for {
		n := s.Graph.Producer(name)
		if n == nil || (n.GetOpType() != "Identity" && n.GetOpType() != "Dropout") || len(n.GetInput()) == 0 || n.GetOutput()[0] != name {
			return name
		}
		name = n.GetInput()[0]
	}
}

// tensors matches two activations and everything they are computed from. The walk keeps a list of
// its own, since graphs can be thousands of nodes deep.
func (p *Pairing) tensors(ta, tb string) error {
	todo := []tensorPair{{ta, tb}}
	for len(todo) > 0 {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		t.a, t.b = through(p.a, t.a), through(p.b, t.b)
		if old, ok := p.Tensors[t.a]; ok {
			if old != t.b {
				return form("%q feeds what two tensors feed, %q and %q", t.a, old, t.b)
			}
			continue
		}
		p.Tensors[t.a] = t.b
		inputs, err := p.producers(t)
		if err != nil {
			return err
		}
		todo = append(todo, inputs...)
	}
	return nil
}

type tensorPair struct{ a, b string }

// producers matches the nodes that compute two tensors; it returns their inputs.
func (p *Pairing) producers(t tensorPair) ([]tensorPair, error) {
	na, nb := p.a.Graph.Producer(t.a), p.b.Graph.Producer(t.b)
	switch {
	case na == nil && nb == nil:
		if ia, ib := inputIndex(p.a, t.a), inputIndex(p.b, t.b); ia != ib {
			return nil, form("input %q against input %q", t.a, t.b)
		}
		return nil, nil
	case na == nil || nb == nil:
		return nil, form("%s against %s", describe(na, t.a), describe(nb, t.b))
	}
	if err := sameOperator(na, nb); err != nil {
		return nil, err
	}
	if ka, kb := slices.Index(na.GetOutput(), t.a), slices.Index(nb.GetOutput(), t.b); ka != kb {
		return nil, form("output %d of %s against output %d of %s", ka, onnxio.Label(na), kb, onnxio.Label(nb))
	}
	la, lb := p.a.Live(na), p.b.Live(nb)
	if len(la) != len(lb) {
		return nil, form("%s reads %d activations, %s %d", onnxio.Label(na), len(la), onnxio.Label(nb), len(lb))
	}
	if commutative(na) {
		lb = p.reorder(la, lb)
	}
	inputs := make([]tensorPair, len(la))
	for i := range la {
		inputs[i] = tensorPair{la[i], lb[i]}
	}
	return inputs, p.constants(na, nb)
}

func inputIndex(s *edit.Subject, name string) int {
	return slices.IndexFunc(s.Graph.Inputs(), func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == name })
}

func describe(n *onnxpb.NodeProto, tensor string) string {
	if n == nil {
		return fmt.Sprintf("input %q", tensor)
	}
	return onnxio.Label(n)
}

// sameOperator compares what the weights' meaning depends on.
func sameOperator(a, b *onnxpb.NodeProto) error {
	if a.GetOpType() != b.GetOpType() || a.GetDomain() != b.GetDomain() {
		return form("%s against %s", onnxio.Label(a), onnxio.Label(b))
	}
	differ := func(attr string) error {
		return form("%s against %s: attribute %s", onnxio.Label(a), onnxio.Label(b), attr)
	}
	attr := func(n *onnxpb.NodeProto, name string) int64 { return onnxio.AttrInt(n, name, 0) }
	switch {
	case attr(a, "transA") != attr(b, "transA"):
		return differ("transA")
	case attr(a, "transB") != attr(b, "transB"):
		return differ("transB")
	}
	for _, name := range []string{"strides", "dilations"} {
		x, y := onnxio.AttrInts(a, name), onnxio.AttrInts(b, name)
		for i := range max(len(x), len(y)) {
			if at(x, i) != at(y, i) {
				return differ(name)
			}
		}
	}
	return nil
}

// at is a stride or dilation, of which the default is 1.
func at(v []int64, i int) int64 {
	if i < len(v) {
		return v[i]
	}
	return 1
}

// constantsOf returns a node's constant inputs, by position.
func constantsOf(s *edit.Subject, n *onnxpb.NodeProto) map[int]string {
	out := map[int]string{}
	for i, in := range n.GetInput() {
		if _, constant := s.Analysis.Roots[in]; constant {
			out[i] = in
		}
	}
	return out
}

func commutative(n *onnxpb.NodeProto) bool { return onnxio.FactsOf(n).Has(onnxio.Commutes) }

// reorder puts the operands of a commutative operator into the order of the other model's, by the
// structure of what computes them.
func (p *Pairing) reorder(la, lb []string) []string {
	rest := slices.Clone(lb)
	out := make([]string, 0, len(lb))
	for i, a := range la {
		k := slices.IndexFunc(rest, func(b string) bool { return p.hashOf(p.a, a) == p.hashOf(p.b, b) })
		// Prefer the operand in the same place where both would do.
		if i < len(lb) && p.hashOf(p.a, a) == p.hashOf(p.b, lb[i]) {
			if j := slices.Index(rest, lb[i]); j >= 0 {
				k = j
			}
		}
		if k < 0 {
			return lb
		}
		out = append(out, rest[k])
		rest = slices.Delete(rest, k, k+1)
	}
	return out
}

// hashOf summarises how a tensor is computed, whatever the names and widths.
func (p *Pairing) hashOf(s *edit.Subject, name string) uint64 {
	if p.hash[s] == nil {
		p.hash[s] = p.hashes(s)
	}
	return p.hash[s][through(s, name)]
}

// hashes summarises all tensors, in topological order: without recursion.
func (p *Pairing) hashes(s *edit.Subject) map[string]uint64 {
	out := map[string]uint64{}
	for i, v := range s.Graph.Inputs() {
		out[v.GetName()] = uint64(i + 1)
	}
	for _, n := range s.Graph.Nodes {
		live := s.Live(n)
		var parts []string
		for _, in := range live {
			parts = append(parts, fmt.Sprint(out[in]))
		}
		if commutative(n) {
			slices.Sort(parts)
		}
		h := fnv.New64a()
		fmt.Fprint(h, n.GetOpType(), "|", kernelOf(s.Analysis.Weights[constantsOf(s, n)[1]]), "|", onnxio.AttrInts(n, "strides"), "|", strings.Join(parts, ";"))
		for i, o := range n.GetOutput() {
			out[o] = h.Sum64() + uint64(i)
		}
		if op := n.GetOpType(); (op == "Identity" || op == "Dropout") && len(live) == 1 {
			out[n.GetOutput()[0]] = out[live[0]]
		}
	}
	return out
}

// kernelOf writes down the sizes of a kernel.
func kernelOf(w *coupling.Weight) string {
	kernel := ""
	if w != nil && len(w.Axes) > 2 {
		for _, a := range w.Axes[2:] {
			kernel += fmt.Sprint(a.Size(), ",")
		}
	}
	return kernel
}

// weightOf is the weight of real numbers that a constant is made of; nil where it is none, or made
// of several.
func weightOf(s *edit.Subject, name string) *coupling.Weight {
	roots := s.Analysis.Roots[name]
	if len(roots) != 1 {
		return nil
	}
	w := s.Analysis.Weights[roots[0]]
	if w == nil || !onnxio.IsFloat(w.Type) {
		return nil
	}
	return w
}

// constants pairs the weights of two nodes, but no shapes and other integers.
func (p *Pairing) constants(na, nb *onnxpb.NodeProto) (err error) {
	defer guard.At(&err, func() string { return onnxio.Label(na) + " against " + onnxio.Label(nb) })
	ca, cb := constantsOf(p.a, na), constantsOf(p.b, nb)
	if onnxio.StandardOp(na) == "Conv" {
		if err := p.groups(onnxio.AttrInt(na, "group", 1), onnxio.AttrInt(nb, "group", 1), weightOf(p.a, ca[1]), weightOf(p.b, cb[1])); err != nil {
			return err
		}
	}
	for i, name := range ca {
		j := i
		if commutative(na) && cb[i] == "" {
			j = 1 - i
		}
		wa, wb := weightOf(p.a, name), weightOf(p.b, cb[j])
		if wa == nil && wb == nil {
			continue
		}
		if wa == nil || wb == nil || len(wa.Axes) != len(wb.Axes) {
			return form("the weights of %s and %s have different forms", onnxio.Label(na), onnxio.Label(nb))
		}
		if err := p.weights(wa, wb); err != nil {
			return fmt.Errorf("%s against %s: %w", onnxio.Label(na), onnxio.Label(nb), err)
		}
	}
	for j := range cb {
		if _, ok := ca[j]; !ok && !commutative(nb) && weightOf(p.b, cb[j]) != nil {
			return form("%s has a weight %q that %s lacks", onnxio.Label(nb), cb[j], onnxio.Label(na))
		}
	}
	return nil
}

// weights pairs two weights with as many axes.
func (p *Pairing) weights(wa, wb *coupling.Weight) error {
	if err := p.source(wb, Source{Name: wa.Name}); err != nil {
		return err
	}
	for k := range wa.Axes {
		if err := p.axes(wa.Axes[k], wb.Axes[k]); err != nil {
			return fmt.Errorf("weight %q: %w", wa.Name, err)
		}
	}
	return nil
}

// source notes where a weight comes from. One that is used twice comes from the first model's for the
// first use, which may only have another for the second if that holds the same.
func (p *Pairing) source(wb *coupling.Weight, src Source) error {
	old, ok := p.Sources[wb.Name]
	if !ok {
		p.Sources[wb.Name] = src
	}
	if !ok || old.Name == src.Name || old.Name == "" || src.Name == "" || wb.Len() == 1 {
		return nil
	}
	x, err := p.a.Floats32(old.Name)
	if err != nil {
		return err
	}
	y, err := p.a.Floats32(src.Name)
	if err != nil {
		return err
	}
	if !slices.Equal(x, y) {
		return fmt.Errorf("weight %q stands for both %q and %q of the other model", wb.Name, old.Name, src.Name)
	}
	return nil
}

// unquantized is the error of a model with weights that hold integers that stand for real numbers,
// which are not averaged.
func unquantized(s *edit.Subject) error {
	for _, name := range slices.Sorted(maps.Keys(s.Analysis.Weights)) {
		if s.Analysis.Weights[name].Quant != nil {
			return fmt.Errorf("weight %q is quantised: models are fused before that", name)
		}
	}
	return nil
}

// axes matches the atoms of two axes, which must be made up alike.
func (p *Pairing) axes(a, b *coupling.Axis) error {
	a, b = a.Canonical(), b.Canonical()
	if done, err := p.headless(a, b); done {
		return err
	}
	if a.Size() == 1 && b.Size() == 1 && (fixed(p.a, a) || fixed(p.b, b)) {
		return nil // one position, which no channel moves to
	}
	if a.IsAtom() || b.IsAtom() {
		if !a.IsAtom() || !b.IsAtom() {
			if a.Size() == b.Size() && fixed(p.a, a) && fixed(p.b, b) {
				return nil
			}
			return fmt.Errorf("an axis of %d is made up differently from one of %d", a.Size(), b.Size())
		}
		if old, ok := p.atoms[a]; ok && old != b {
			if p.lone[a] && old.Size() == 1 && b.Size() == 1 {
				return nil
			}
			if old.Size() == b.Size() && fixed(p.b, old) && fixed(p.b, b) {
				return nil // positions of what the first model holds as a table and the second computes
			}
			if !p.unties && a.Size() > 1 {
				return fmt.Errorf("an axis of %d stands for two", a.Size())
			}
			p.split = true
		} else {
			p.atoms[a] = b
		}
		p.own[b] = a
		return nil
	}
	ka, sumA := kidsOf(a)
	kb, sumB := kidsOf(b)
	if sumA != sumB || len(ka) != len(kb) {
		return fmt.Errorf("an axis of %d is made up differently from one of %d", a.Size(), b.Size())
	}
	for i := range ka {
		if err := p.axes(ka[i], kb[i]); err != nil {
			return err
		}
	}
	return nil
}

// fixed reports whether nothing along the axis may change.
func fixed(s *edit.Subject, a *coupling.Axis) bool {
	return !slices.ContainsFunc(a.Atoms(), func(x *coupling.Axis) bool {
		sp := s.Analysis.SpaceOf(x)
		return sp != nil && !sp.Frozen
	})
}

// spaces derives the pairs of spaces from the pairs of atoms.
func (p *Pairing) spaces() error {
	for a, b := range p.atoms {
		sa, sb := p.a.Analysis.SpaceOf(a), p.b.Analysis.SpaceOf(b)
		if sa == nil || sb == nil || sa.Frozen || sb.Frozen {
			if a.Size() != b.Size() {
				return fmt.Errorf("%s against %d where nothing may change (%s)", screen.Plural(a.Size(), "channel"), b.Size(), whyFixed(sa, sb))
			}
			continue
		}
		if err := p.pairSpaces(sa, sb); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pairing) pairSpaces(sa, sb *coupling.Space) error {
	old, ok := p.Spaces[sa]
	switch {
	case ok && old != sb:
		return fmt.Errorf("space %q stands for two, %q and %q", sa.Name, old.Name, sb.Name)
	case len(sa.Pieces) != len(sb.Pieces), sa.Groups != sb.Groups && !p.sameIndex(sa, sb):
		return fmt.Errorf("space %q is made up differently from %q", sa.Name, sb.Name)
	case sa.Width != sb.Width && !(sa.Resizable() && sb.Resizable()):
		return fmt.Errorf("space %q is %d wide, %q %d, and the width must stay: %s", sa.Name, sa.Width, sb.Name, sb.Width, cmp.Or(sa.Rigid, sb.Rigid))
	}
	p.Spaces[sa] = sb
	return nil
}

// whyFixed is the reason why one of two spaces, perhaps nil, may not change.
func whyFixed(a, b *coupling.Space) string {
	reason := "it may not change"
	for _, s := range []*coupling.Space{a, b} {
		if s != nil && s.Reason != "" {
			reason = s.Reason
		}
	}
	return reason
}

// sameIndex reports whether the groups of two spaces are channels themselves (attention heads),
// which correspond and may be moved.
func (p *Pairing) sameIndex(sa, sb *coupling.Space) bool {
	if sa.Index == nil || sb.Index == nil || p.atoms[sa.Index.Canonical()] != sb.Index.Canonical() {
		return false
	}
	ia, ib := p.a.Analysis.IndexOf(sa), p.b.Analysis.IndexOf(sb)
	return ia != nil && ib != nil && !ia.Frozen && !ib.Frozen && len(ia.Pieces) == 1 && len(ib.Pieces) == 1
}

// pairedGroups reports whether the groups of a space of the first model are channels that are moved
// themselves.
func (p *Pairing) pairedGroups(s *coupling.Space) bool {
	return p.Spaces[s] != nil && p.sameIndex(s, p.Spaces[s])
}

// inside lists the spaces whose groups are the channels of a space of the first model, and are
// moved with them: the dimensions of attention heads.
func (p *Pairing) inside(s *coupling.Space) []*coupling.Space {
	var out []*coupling.Space
	for _, in := range p.a.Analysis.Spaces {
		if !in.Frozen && p.a.Analysis.IndexOf(in) == s && p.pairedGroups(in) {
			out = append(out, in)
		}
	}
	return out
}
