package match

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
)

// Heads of attention, and what has channels for each of them, are a factor of axes, which does not
// show where there is a single one, or where one serves all heads of queries. Then an axis of one
// model lacks a factor that the other's has:
//
//   - The second lacks it: heads of the first are made one (oneHead).
//   - The first lacks it: what it has once is repeated for each (repeated), which is the same function.
//
// A convolution of each channel by itself does not show either where there is a single channel.

// headless matches an axis with one that lacks a factor, since that has one channel there: heads of
// the first model that may be fewer, or of the second that the first has one of. done is false where
// it is no such case.
func (p *Pairing) headless(a, b *coupling.Axis) (done bool, err error) {
	if i := p.lacks(p.a, a, b, func(x, y *coupling.Axis) bool { return p.fit(x, y) }); i >= 0 {
		factors := factorsOf(a)
		p.single[p.a.Analysis.SpaceOf(factors[i])] = true
		return true, p.factors(slices.Delete(slices.Clone(factors), i, i+1), factorsOf(b))
	}
	if i := p.lacks(p.b, b, a, func(x, y *coupling.Axis) bool { return p.fit(y, x) }); i >= 0 {
		factors := factorsOf(b)
		p.repeats[factors[i].Canonical()] = true
		return true, p.factors(factorsOf(a), slices.Delete(slices.Clone(factors), i, i+1))
	}
	return false, nil
}

// groups compares the numbers of groups of two convolutions, which may differ but for there being one.
// Where every channel is a group of its own, a model with a single channel has one too.
func (p *Pairing) groups(a, b int64, wa, wb *coupling.Weight) error {
	if (a > 1) == (b > 1) {
		return nil
	}
	each, lone := wa, wb
	if b > 1 {
		each, lone = wb, wa
	}
	if each == nil || lone == nil || !each.Axes[0].IsAtom() || each.Axes[1].Size() != 1 || lone.Axes[0].Size() != 1 || lone.Axes[1].Size() != 1 {
		return fmt.Errorf("attribute group: %d against %d", a, b)
	}
	at := each.Axes[0].Canonical()
	if b > 1 {
		p.repeats[at] = true
		return nil
	}
	s := p.a.Analysis.SpaceOf(at)
	if s == nil || !s.Narrowable() {
		return fmt.Errorf("attribute group: %d against %d", a, b)
	}
	p.single[s], p.lone[at] = true, true
	return nil
}

// factorsOf lists the factors of an axis, which is its own where it is no product.
func factorsOf(a *coupling.Axis) []*coupling.Axis {
	if kids, sum := kidsOf(a); !a.IsAtom() && !sum {
		return kids
	}
	return []*coupling.Axis{a}
}

// kidsOf lists the parts of an axis and says whether they are summands. Products in products and sums
// in sums are taken apart, for how they nest comes from how a graph reshapes, and not from what the
// channels are. Unlike [coupling.Axis.Factors] it keeps single positions, such as a batch of one, of
// which the other model may have more.
func kidsOf(a *coupling.Axis) (out []*coupling.Axis, sum bool) {
	kids, sum := a.Kids()
	for _, k := range kids {
		if inner, same := kidsOf(k); !k.IsAtom() && same == sum {
			out = append(out, inner...)
		} else {
			out = append(out, k)
		}
	}
	return out, sum
}

// lacks is the place of the factor of an axis of a subject that another axis lacks, -1 where it lacks
// none, or more than one.
func (p *Pairing) lacks(s *edit.Subject, axis, other *coupling.Axis, fit func(x, y *coupling.Axis) bool) int {
	factors, rest := factorsOf(axis), factorsOf(other)
	if len(rest) != len(factors)-1 {
		return -1
	}
	for i, f := range factors {
		sp := s.Analysis.SpaceOf(f)
		if !f.IsAtom() || sp == nil || !sp.Narrowable() || !sp.Heads && !indexes(s, sp) {
			continue
		}
		k := -1
		if !slices.ContainsFunc(slices.Delete(slices.Clone(factors), i, i+1), func(x *coupling.Axis) bool { k++; return !fit(x, rest[k]) }) {
			return i
		}
	}
	return -1
}

// fit reports whether two factors may be the same, as far as is known.
func (p *Pairing) fit(a, b *coupling.Axis) bool {
	a, b = a.Canonical(), b.Canonical()
	if !a.IsAtom() || !b.IsAtom() {
		return !a.IsAtom() && !b.IsAtom()
	}
	old, known := p.atoms[a]
	return !known || old == b
}

// factors matches factors one by one.
func (p *Pairing) factors(a, b []*coupling.Axis) error {
	for i := range a {
		if err := p.axes(a[i], b[i]); err != nil {
			return err
		}
	}
	return nil
}

// indexes reports whether the channels of a space are the groups of another one.
func indexes(s *edit.Subject, sp *coupling.Space) bool {
	return slices.ContainsFunc(s.Analysis.Spaces, func(in *coupling.Space) bool { return s.Analysis.IndexOf(in) == sp })
}

// errHeads says that heads were changed and do not correspond even then.
var errHeads = errors.New("the models differ: the numbers of their attention heads cannot be made to fit")

// unfit reports whether the first model has to be changed before channels correspond one by one.
func (p *Pairing) unfit() bool { return len(p.single)+len(p.repeats) > 0 || p.split }

// fitted pairs the models once more until all heads have counterparts.
func (p *Pairing) fitted() (_ *Pairing, err error) {
	repeated := false
	for range 3 {
		switch {
		case len(p.single) > 0:
			p, err = p.oneHead()
		case p.unfit():
			repeated = true
			p, err = p.repeated()
		default:
			p.Repeated = repeated
			return p, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errHeads
}

// oneHead pairs the models once more, after the first has lost all heads but one of those spaces that
// have a single one in the second.
func (p *Pairing) oneHead() (*Pairing, error) {
	widths, one := map[*coupling.Space]int{}, map[*coupling.Space]int{}
	for a, b := range p.atoms {
		sa, sb := p.a.Analysis.SpaceOf(a), p.b.Analysis.SpaceOf(b)
		if sa != nil && sb != nil && !sa.Frozen && !sb.Frozen {
			widths[sa] = sb.Width
		}
	}
	for s := range p.single {
		widths[s], one[s] = 1, 1
	}
	merged, err := Merge(context.Background(), p.a, one, Options{})
	if err != nil {
		return nil, err
	}
	narrow, err := p.a.Edited(merged.Maps)
	if err != nil {
		return nil, err
	}
	again, err := pairAny(narrow, p.b)
	if err != nil {
		return nil, err
	}
	again.widths = widths
	return again, nil
}

// repeated pairs the models once more, after the first has been written as the second is: with as many
// heads where it has one for all of them, so that each is the same and what reads them takes its part
// of each, and with weights of their own for layers that read a common one.
func (p *Pairing) repeated() (*Pairing, error) {
	for name, why := range p.Apart {
		if slices.ContainsFunc(p.b.Analysis.Weights[name].Axes, func(a *coupling.Axis) bool { return !fixed(p.b, a) }) {
			return nil, fmt.Errorf("the models differ: weight %q: %s", name, why)
		}
	}
	r := repeating{Pairing: p}
	maps := edit.Maps{}
	for _, s := range p.b.Analysis.Spaces {
		if m := r.resized(s); m != nil {
			maps[s] = m
		}
	}
	r.widths = maps.Widths()
	m, err := edit.Edit(p.b, maps)
	if err != nil {
		return nil, err
	}
	g, err := p.b.GraphOf(m)
	if err != nil {
		return nil, err
	}
	made := map[string]*onnxio.Tensor{}
	for name, src := range p.Sources {
		if made[name], err = r.weight(p.b.Analysis.Weights[name], src); err != nil {
			return nil, err
		}
	}
	for name, pieces := range p.pieces {
		if made[name], err = r.pieced(p.b.Analysis.Weights[name], pieces); err != nil {
			return nil, err
		}
	}
	for _, t := range made {
		if err := g.SetConstant(t); err != nil {
			return nil, err
		}
	}
	g.Commit()
	if err := p.b.Reshare(m); err != nil {
		return nil, err
	}
	m.Path = p.a.Model.Path
	first, err := p.a.Like(m)
	if err != nil {
		return nil, err
	}
	return pairAny(first, p.b)
}

// repeating writes the first model of a pairing as the second is written, with the first's widths and
// weights.
type repeating struct {
	*Pairing
	widths coupling.Widths
}

// resized is a map of a space of the second model to the first's width, nil where it has that.
func (r *repeating) resized(s *coupling.Space) *edit.Map {
	if s.Frozen {
		return nil
	}
	var t edit.Transfer
	m, starts := &edit.Map{}, s.Starts()
	for i, piece := range s.Pieces {
		size := piece.Size()
		if own := r.own[piece.Canonical()]; own != nil && (own.Size() > 1 || !r.repeats[piece.Canonical()]) {
			size = own.Size()
		}
		m.Pieces = append(m.Pieces, size)
		for j := range size {
			e := []edit.Entry{{Col: starts[i] + j%piece.Size(), Val: 1}}
			t.In, t.OutT = append(t.In, e), append(t.OutT, e)
		}
	}
	if slices.Equal(m.Pieces, edit.SizesOf(s)) {
		return nil
	}
	m.Groups = slices.Repeat([]edit.Transfer{t}, s.Groups)
	return m
}

// weight is the first model's tensor for one of the second's.
func (r *repeating) weight(w *coupling.Weight, src Source) (*onnxio.Tensor, error) {
	dims := make([]int, len(w.Axes))
	for k, a := range w.Axes {
		dims[k] = r.widths.Size(a)
	}
	n := 1
	for _, d := range dims {
		n *= d
	}
	out := make([]float64, n)
	if src.Name == "" {
		return onnxio.NewTensor(w.Name, w.Type, dims, out), nil
	}
	stored := r.a.Graph.Constant(src.Name)
	own, err := r.a.Model.Tensor(stored)
	if err != nil {
		return nil, err
	}
	own = src.Laid(own)
	at := make([][]int, len(dims)) // of each axis, positions in the source
	share := 1.0
	for k, b := range w.Axes {
		if from := src.Axis(k); from >= 0 {
			at[k] = r.positions(r.a.Analysis.Weights[src.Name].Axes[from], b)
		} else {
			at[k] = make([]int, dims[k])
		}
		if len(at[k]) != dims[k] {
			return nil, errHeads
		}
		if r.sums(w.Name, k) && own.Dims[k] > 0 {
			share *= float64(own.Dims[k]) / float64(dims[k])
		}
	}
	v := own.Float64()
	for i := range out {
		from, rest, step := 0, i, 1
		for k := len(dims) - 1; k >= 0; k-- {
			from += step * at[k][rest%dims[k]]
			step *= own.Dims[k]
			rest /= dims[k]
		}
		out[i] = share * v[from]
	}
	return onnxio.NewTensor(w.Name, w.Type, dims, out), nil
}

// sums reports whether a weight of the second model sums over what is repeated along an axis.
func (r *repeating) sums(name string, axis int) bool {
	return slices.ContainsFunc(r.b.Analysis.Spaces, func(s *coupling.Space) bool {
		return slices.ContainsFunc(s.Pieces, func(x *coupling.Axis) bool { return r.repeats[x.Canonical()] }) &&
			slices.ContainsFunc(s.Consumers(), func(u coupling.Use) bool { return u.Tensor == name && u.Axis == axis })
	})
}

// positions says, of each position of an axis of the second model in the new widths, which of the
// first's it is; nil where they do not correspond.
func (r *repeating) positions(a, b *coupling.Axis) (out []int) {
	ka, sumA := kidsOf(a)
	kb, sumB := kidsOf(b)
	of, once := factorsOf(a), -1
	if len(kb) == len(of)+1 {
		once = slices.IndexFunc(kb, func(y *coupling.Axis) bool { return r.repeats[y.Canonical()] })
	}
	switch {
	case sumA && sumB && len(ka) == len(kb):
		from := 0
		for i, x := range ka {
			part := r.positions(x, kb[i])
			if part == nil {
				return nil
			}
			for _, at := range part {
				out = append(out, from+at)
			}
			from += x.Size()
		}
		return out
	case !sumB && len(kb) > 0 && (len(kb) == len(of) || once >= 0):
		return r.product(of, kb)
	case a.Size() == 1 && r.repeats[b.Canonical()]:
		return make([]int, r.widths.Size(b))
	case a.Size() == r.widths.Size(b):
		for i := range a.Size() {
			out = append(out, i)
		}
	}
	return out
}

// product is positions of an axis of several factors, of which the first model may lack one that is
// repeated.
func (r *repeating) product(of, kb []*coupling.Axis) []int {
	once := -1
	if len(kb) == len(of)+1 {
		once = slices.IndexFunc(kb, func(y *coupling.Axis) bool { return r.repeats[y.Canonical()] })
	}
	if once < 0 && len(kb) != len(of) {
		return nil
	}
	out := []int{0}
	for i, y := range kb {
		each, size := make([]int, r.widths.Size(y)), 1
		if i != once {
			if each, size = r.positions(of[0], y), of[0].Size(); each == nil {
				return nil
			}
			of = of[1:]
		}
		next := make([]int, 0, len(out)*len(each))
		for _, x := range out {
			for _, at := range each {
				next = append(next, x*size+at)
			}
		}
		out = next
	}
	return out
}
