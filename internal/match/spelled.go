package match

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
)

// pairSpelled pairs two models by what their tensors are, whatever operators say so; parts of what one
// operator makes may be what several make, if parts says so.
func pairSpelled(a, b *edit.Subject, parts bool) (_ *Pairing, err error) {
	defer guard.Recover(&err)
	s := spelled{Pairing: newPairing(a, b), stems: map[[2]*stem]bool{}, others: map[string]bool{}}
	s.unties = true
	sa, err := newSpeller(a, parts)
	if err != nil {
		return nil, err
	}
	sb, err := newSpeller(b, parts)
	if err != nil {
		return nil, err
	}
	oa, ob := a.Graph.Outputs(), b.Graph.Outputs()
	if len(oa) != len(ob) || len(a.Graph.Inputs()) != len(b.Graph.Inputs()) {
		return nil, fmt.Errorf("the models have different inputs or outputs")
	}
	for i := range oa {
		if err := s.terms(sa.terms[oa[i].GetName()], sb.terms[ob[i].GetName()]); err != nil {
			return nil, err
		}
	}
	if err := s.complete(); err != nil {
		return nil, err
	}
	if s.unfit() {
		return s.Pairing, nil
	}
	if err := s.spaces(); err != nil {
		return nil, err
	}
	s.agree()
	return s.Pairing, nil
}

// spelled is a pairing by terms.
type spelled struct {
	*Pairing
	stems  map[[2]*stem]bool // pairs
	others map[string]bool   // weights of the first model whose counterparts are Apart
	// tensors are pairs of activations that hold the same, though perhaps with other axes.
	tensors []tensorPair
}

type termPair struct{ a, b *term }

// terms pairs two terms and all that they are made of. The walk keeps a list of its own, since
// graphs can be thousands of nodes deep.
func (s *spelled) terms(a, b *term) error {
	todo := []termPair{{a, b}}
	for len(todo) > 0 {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		args, err := s.term(t.a, t.b)
		if err != nil {
			return err
		}
		todo = append(todo, args...)
	}
	return nil
}

// term pairs two terms; it returns what their stems are made of.
func (s *spelled) term(a, b *term) ([]termPair, error) {
	switch {
	case a == nil && b == nil:
		return nil, nil
	case a == nil || b == nil:
		return nil, fmt.Errorf("a constant against what is computed")
	case a.plain != b.plain:
		return nil, fmt.Errorf("%q against %q", a.tensor, b.tensor)
	case a.plain:
		if !slices.Equal(a.reads, b.reads) {
			return nil, fmt.Errorf("%q against %q", a.tensor, b.tensor)
		}
		return nil, nil
	}
	if a.causal != b.causal {
		return nil, oneHides(a.tensor, b.tensor, a.causal)
	}
	switch {
	case a.stem.kind == b.stem.kind:
	case same(a.value, probe) && a.stem.ones(s.a):
		s.others[a.stem.slots[0].weight.Name] = true
		return []termPair{{a.stem.args[0], b}}, nil
	case same(b.value, probe) && b.stem.ones(s.b):
		s.note(b.stem.slots[0].weight, "the other model does not scale there")
		return []termPair{{a, b.stem.args[0]}}, nil
	}
	if a.spelling == b.spelling && len(a.scalars) == len(b.scalars) {
		for i, name := range a.scalars {
			if wa, wb := weightOf(s.a, name), weightOf(s.b, b.scalars[i]); wa != nil && wb != nil && len(wa.Axes) == len(wb.Axes) {
				if err := s.source(wb, Source{Name: wa.Name}); err != nil {
					return nil, err
				}
			}
		}
	} else if !a.vague && !b.vague && !same(a.value, b.value) {
		return nil, fmt.Errorf("%q is another function of what it is made of than %q", a.tensor, b.tensor)
	}
	s.tensors = append(s.tensors, tensorPair{a.tensor, b.tensor})
	switch x, y := a.stem.steady(s.a), b.stem.steady(s.b); {
	case a.stem.kind == b.stem.kind && x == y:
	case x:
		s.others[a.stem.slots[0].weight.Name] = true
		return []termPair{{a.stem.args[0], b}}, nil
	case y:
		s.note(b.stem.slots[0].weight, "the other model computes it")
		return []termPair{{a, b.stem.args[0]}}, nil
	}
	return s.stem(a.stem, b.stem)
}

// steady reports whether a stem does nothing but multiply with a table of positions and channels, such
// as sines, or add a constant along which no channels move: another model may compute it.
func (st *stem) steady(s *edit.Subject) bool {
	if len(st.slots) != 1 {
		return false
	}
	switch st.kind {
	case "Mul":
		return len(long(st.slots[0])) > 1
	case "Add":
		return !slices.ContainsFunc(st.slots[0].weight.Axes, func(a *coupling.Axis) bool { return !fixed(s, a) })
	}
	return false
}

// ones reports whether a stem multiplies with ones, as a normalisation that was never trained does:
// tools leave that out.
func (st *stem) ones(s *edit.Subject) bool {
	if st.kind != "Mul" || len(st.slots) != 1 || st.slots[0].weight.Len() > maxOnes {
		return false
	}
	v, err := s.Floats32(st.slots[0].weight.Name)
	return err == nil && !slices.ContainsFunc(v, func(x float32) bool { return x != 1 })
}

// maxOnes bounds the scales that are looked at.
const maxOnes = 1 << 20

// note says why a weight of the second model has no source.
func (s *spelled) note(w *coupling.Weight, why string) {
	if s.Apart == nil {
		s.Apart = map[string]string{}
	}
	s.Apart[w.Name] = why
}

func (s *spelled) stem(a, b *stem) ([]termPair, error) {
	if s.stems[[2]*stem{a, b}] {
		return nil, nil
	}
	s.stems[[2]*stem{a, b}] = true
	s.tensors = append(s.tensors, tensorPair{a.tensor, b.tensor})
	if a.kind != b.kind || a.detail != b.detail || a.input != b.input || len(a.args) != len(b.args) {
		return nil, fmt.Errorf("%s against %s", a.label, b.label)
	}
	if err := s.slots(a, b); err != nil {
		return nil, fmt.Errorf("%s against %s: %w", a.label, b.label, err)
	}
	args := b.args
	if a.swaps {
		args = ordered(a.args, b.args)
	}
	var out []termPair
	for i, x := range a.args {
		out = append(out, termPair{x, args[i]})
	}
	return out, nil
}

// ordered returns operands in the order of those of the other model that they look like.
func ordered(like, args []*term) []*term {
	out := make([]*term, len(args))
	rest := slices.Clone(args)
	for i, x := range like {
		at := slices.IndexFunc(rest, func(y *term) bool { return x.hash() == y.hash() })
		if at >= 0 {
			out[i] = rest[at]
			rest = slices.Delete(rest, at, at+1)
		}
	}
	for i := range out {
		if out[i] == nil {
			out[i], rest = rest[0], rest[1:]
		}
	}
	return out
}

// slots pairs the weights of two stems. Only a bias of zeros may be missing.
func (s *spelled) slots(a, b *stem) error {
	if a.kind == "convolution" {
		if err := s.groups(a.groups, b.groups, a.slots[0].weight, b.slots[0].weight); err != nil {
			return err
		}
	}
	used := 0
	for _, y := range b.slots {
		at := slices.IndexFunc(a.slots, func(x slot) bool { return x.role == y.role })
		if at < 0 {
			if y.role != "bias" {
				return fmt.Errorf("weight %q has no counterpart", y.name)
			}
			if err := s.source(y.weight, Source{}); err != nil {
				return err
			}
			continue
		}
		used++
		if err := s.slot(a.slots[at], y, b.kind); err != nil {
			return err
		}
	}
	if used == len(a.slots) {
		return nil
	}
	for _, x := range a.slots {
		if slices.ContainsFunc(b.slots, func(y slot) bool { return x.role == y.role }) {
			continue
		}
		v, err := s.a.Floats(x.weight.Name)
		if err != nil {
			return err
		}
		if x.role != "bias" || slices.ContainsFunc(v, func(v float64) bool { return v != 0 }) {
			return fmt.Errorf("weight %q has no counterpart", x.name)
		}
	}
	return nil
}

// counted are the kinds of operators whose weights have to have as many numbers in both models along
// axes that do not move, which are inputs, outputs and kernels.
var counted = []string{"linear", "convolution", "product", "RNN", "GRU", "LSTM"}

// slot pairs two weights, axis by axis. What is added or multiplied may have another number of
// positions, as tables of them do; of what a linear operator makes there have to be as many.
func (s *spelled) slot(x, y slot, kind string) error {
	if x.span != nil || y.span != nil {
		return s.spans(x, y)
	}
	xs, ys := x.axes, y.axes
	if len(xs) != len(ys) {
		xs, ys = long(x), long(y)
	}
	if len(xs) != len(ys) && kind == "Add" { // a table of distances, and what was read of it
		xs, ys = s.moving(s.a, x), s.moving(s.b, y)
		s.note(y.weight, "one model computes what the other has stored")
	}
	if len(xs) != len(ys) {
		return fmt.Errorf("weights %q and %q have different forms", x.name, y.name)
	}
	src := Source{Name: x.weight.Name, Axes: slices.Repeat([]int{-1}, len(y.weight.Axes))}
	plain := len(x.weight.Axes) == len(y.weight.Axes)
	for i, k := range xs {
		if m, n := x.weight.Axes[k], y.weight.Axes[ys[i]]; m.Size() != n.Size() && fixed(s.a, m) && fixed(s.b, n) && !slices.Contains(counted, kind) {
			s.note(y.weight, fmt.Sprintf("it has %d positions and the other model's %d", n.Size(), m.Size()))
			continue
		}
		if err := s.axes(x.weight.Axes[k], y.weight.Axes[ys[i]]); err != nil {
			return fmt.Errorf("weight %q: %w", x.name, err)
		}
		src.Axes[ys[i]] = k
		plain = plain && k == ys[i]
	}
	if plain {
		src.Axes = nil
	}
	if _, apart := s.Apart[y.weight.Name]; apart {
		s.others[x.weight.Name] = true
		return nil
	}
	return s.source(y.weight, src)
}

// long lists the axes of a slot that are longer than one.
func long(s slot) []int {
	return slices.DeleteFunc(slices.Clone(s.axes), func(k int) bool { return s.weight.Axes[k].Size() == 1 })
}

// moving lists the axes of a slot along which channels, or heads, may move.
func (s *spelled) moving(of *edit.Subject, x slot) []int {
	return slices.DeleteFunc(slices.Clone(x.axes), func(k int) bool { return fixed(of, x.weight.Axes[k]) })
}

// complete fails where a weight along which channels may move has no counterpart, unless all of
// its numbers are alike, as of a mean: what is computed of it was taken for something else.
func (s *spelled) complete() error {
	known := map[*edit.Subject]map[string]bool{s.a: s.others, s.b: {}}
	for name, src := range s.Sources {
		known[s.a][src.Name], known[s.b][name] = true, true
	}
	for name, pieces := range s.pieces {
		known[s.b][name] = true
		for _, p := range pieces {
			known[s.a][p.src.Name] = true
		}
	}
	for name := range s.Apart {
		known[s.b][name] = true
	}
	for subject, of := range known {
		for _, name := range weightNames(subject) {
			if of[name] {
				continue
			}
			v, err := subject.Floats(name)
			if err != nil || slices.ContainsFunc(v, func(x float64) bool { return x != v[0] }) {
				return fmt.Errorf("weight %q has no counterpart", name)
			}
		}
	}
	return nil
}

// agree takes those pairs of activations into the pairing that have the same axes.
func (s *spelled) agree() {
	for _, t := range s.tensors {
		xs, known := s.a.Analysis.Activations[t.a]
		ys, also := s.b.Analysis.Activations[t.b]
		if !known || !also || len(xs) != len(ys) {
			continue
		}
		alike := true
		for k := range xs {
			alike = alike && s.alike(xs[k], ys[k])
		}
		if _, ok := s.Tensors[t.a]; alike && !ok {
			s.Tensors[t.a] = t.b
		}
	}
}

// alike reports whether two axes hold the same channels in the same order.
func (s *spelled) alike(a, b *coupling.Axis) bool {
	a, b = a.Canonical(), b.Canonical()
	if a.IsAtom() && b.IsAtom() {
		if old, ok := s.atoms[a]; ok {
			return old == b
		}
		return fixed(s.a, a) && fixed(s.b, b)
	}
	ka, sumA := kidsOf(a)
	kb, sumB := kidsOf(b)
	if a.IsAtom() || b.IsAtom() || sumA != sumB || len(ka) != len(kb) {
		return fixed(s.a, a) && fixed(s.b, b) && a.Size() == b.Size()
	}
	for i := range ka {
		if !s.alike(ka[i], kb[i]) {
			return false
		}
	}
	return true
}
