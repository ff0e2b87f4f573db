package coupling

import (
	"fmt"
	"strings"
)

// An Axis is the structure of one tensor axis: how its flat index is made of
// the channels of spaces. It is a term of a small algebra,
//
//	axis = atom | (axis axis ...) | (axis + axis + ...)
//
// where a product has its outer factor first (index = outer·stride + inner)
// and a sum is a concatenation. Atoms start out whole and are split, by
// product or by sum, when two axes that must agree turn out to have boundaries
// in different places; [unify] finds the common refinement.
//
// Axes form a union-find forest: an atom that was joined to, or refined into,
// another term forwards to it. Use the methods; they follow forwarding.
type Axis struct {
	forward *Axis
	kind    axisKind
	size    int // number of positions; -1 when not known
	kids    []*Axis
	id      int // creation order, for stable output
	atom    *atomInfo
}

type axisKind uint8

const (
	kindAtom axisKind = iota
	kindProd
	kindSum
)

// atomInfo is what is known of an atom besides its size.
type atomInfo struct {
	frozen  string // why the atom may not change; "" while it may
	flags   Flags
	indexed []*Axis // factors that may select a plan of their own, from (g: i)
}

// Flags says what lies on the way of a space through the graph.
type Flags uint8

const (
	// Nonlinear: an operator that is not linear acts on the channels.
	Nonlinear Flags = 1 << iota
	// PerChannel: an operator acts on each channel in a way of its own
	// (BatchNormalization, depthwise Conv, scale by a constant).
	PerChannel
	// Joined: a live Add or Sub joins two tensors along the space.
	Joined
	// Symmetric: an operator mixes the channels symmetrically, so permuting is
	// exact and narrowing changes its statistics (LayerNormalization).
	Symmetric
	// Contracted: two live tensors are contracted along the space (Q·Kᵀ).
	Contracted
)

// system owns the atoms of one analysis.
type system struct {
	next int
}

func (s *system) atom(size int) *Axis {
	s.next++
	return &Axis{kind: kindAtom, size: size, id: s.next, atom: &atomInfo{}}
}

func (s *system) frozen(size int, reason string) *Axis {
	a := s.atom(size)
	a.atom.frozen = reason
	return a
}

func (s *system) prod(kids ...*Axis) *Axis {
	if len(kids) == 1 {
		return kids[0]
	}
	s.next++
	size := 1
	for _, k := range kids {
		n := k.Size()
		if n < 0 || size < 0 {
			size = -1
			continue
		}
		size *= n
	}
	return &Axis{kind: kindProd, size: size, kids: kids, id: s.next}
}

func (s *system) sum(kids ...*Axis) *Axis {
	if len(kids) == 1 {
		return kids[0]
	}
	s.next++
	size := 0
	for _, k := range kids {
		n := k.Size()
		if n < 0 || size < 0 {
			size = -1
			continue
		}
		size += n
	}
	return &Axis{kind: kindSum, size: size, kids: kids, id: s.next}
}

// find follows forwarding to the term that now stands for a.
func (a *Axis) find() *Axis {
	root := a
	for root.forward != nil {
		root = root.forward
	}
	for a.forward != nil {
		a.forward, a = root, a.forward
	}
	return root
}

// Size is the number of positions of the axis, or -1 when it is not known.
func (a *Axis) Size() int {
	a = a.find()
	if a.size >= 0 || a.kind == kindAtom {
		return a.size
	}
	// A kid may have become known since.
	size := 1
	if a.kind == kindSum {
		size = 0
	}
	for _, k := range a.kids {
		n := k.Size()
		if n < 0 {
			return -1
		}
		if a.kind == kindSum {
			size += n
		} else {
			size *= n
		}
	}
	a.size = size
	return size
}

// IsAtom reports whether the axis is, after all refinement, a single atom.
func (a *Axis) IsAtom() bool { return a.find().kind == kindAtom }

// Terms returns the axis as a concatenation: the summands in order. An axis
// that is no sum is its own single summand.
func (a *Axis) Terms() []*Axis {
	a = a.find()
	if a.kind != kindSum {
		return []*Axis{a}
	}
	var out []*Axis
	for _, k := range a.kids {
		out = append(out, k.Terms()...)
	}
	return out
}

// Factors returns the axis as a product, outer factor first, without factors
// of size one. An axis that is no product is its own single factor.
func (a *Axis) Factors() []*Axis {
	a = a.find()
	if a.kind != kindProd {
		if a.size == 1 {
			return nil
		}
		return []*Axis{a}
	}
	var out []*Axis
	for _, k := range a.kids {
		out = append(out, k.Factors()...)
	}
	return out
}

// Atoms appends the distinct atoms of the axis, in order of first appearance.
func (a *Axis) Atoms() []*Axis {
	var out []*Axis
	seen := map[*Axis]bool{}
	var walk func(*Axis)
	walk = func(x *Axis) {
		x = x.find()
		if x.kind == kindAtom {
			if !seen[x] {
				seen[x] = true
				out = append(out, x)
			}
			return
		}
		for _, k := range x.kids {
			walk(k)
		}
	}
	walk(a)
	return out
}

func (a *Axis) contains(atom *Axis) bool {
	a = a.find()
	if a == atom {
		return true
	}
	for _, k := range a.kids {
		if k.contains(atom) {
			return true
		}
	}
	return false
}

// freeze marks every atom of the axis; the first reason stays.
func (a *Axis) freeze(reason string) {
	for _, x := range a.Atoms() {
		if x.atom.frozen == "" {
			x.atom.frozen = reason
		}
	}
}

func (a *Axis) flag(f Flags) {
	for _, x := range a.Atoms() {
		x.atom.flags |= f
	}
}

// String prints the axis in the notation of the rules, atoms as #id:size.
func (a *Axis) String() string {
	a = a.find()
	switch a.kind {
	case kindAtom:
		if a.size < 0 {
			return fmt.Sprintf("#%d:?", a.id)
		}
		return fmt.Sprintf("#%d:%d", a.id, a.size)
	case kindProd, kindSum:
		sep := " "
		if a.kind == kindSum {
			sep = " + "
		}
		parts := make([]string, len(a.kids))
		for i, k := range a.kids {
			parts[i] = k.String()
		}
		return "(" + strings.Join(parts, sep) + ")"
	}
	return "?"
}

// bind makes atom forward to t and hands its marks down to t's atoms.
func (atom *Axis) bind(t *Axis) {
	info := atom.atom
	atom.forward, atom.atom = t, nil
	for _, x := range t.Atoms() {
		if x.atom.frozen == "" {
			x.atom.frozen = info.frozen
		}
		x.atom.flags |= info.flags
		x.atom.indexed = append(x.atom.indexed, info.indexed...)
	}
}

// unify makes a and b equal by refining both to common boundaries. It returns
// an error when they have none; the caller then freezes both, since a partial
// refinement is still a true statement about each of them alone.
func (s *system) unify(a, b *Axis) error {
	a, b = a.find(), b.find()
	if a == b {
		return nil
	}
	if na, nb := a.Size(), b.Size(); na >= 0 && nb >= 0 && na != nb {
		return fmt.Errorf("%d channels against %d", na, nb)
	}
	if a.kind == kindAtom && b.kind == kindAtom {
		if b.size < 0 { // keep the known size
			a, b = b, a
		}
		if a.size < 0 && b.size >= 0 {
			b.freeze("its size is not known everywhere (see --input-shape)")
		}
		a.bind(b)
		return nil
	}
	if a.kind == kindAtom {
		return s.refine(a, b)
	}
	if b.kind == kindAtom {
		return s.refine(b, a)
	}
	if a.kind == kindSum || b.kind == kindSum {
		return s.unifySums(a, b)
	}
	return s.unifyProds(a, b)
}

// refine binds an atom to a compound term.
func (s *system) refine(atom, t *Axis) error {
	if t.contains(atom) {
		if f := t.Factors(); len(f) == 1 && f[0] == atom {
			return nil // the other factors have size one
		}
		return fmt.Errorf("%v would contain itself", atom)
	}
	if atom.size >= 0 && t.Size() < 0 {
		t = s.deduce(t, atom.size)
		if t == nil {
			return fmt.Errorf("sizes are not known")
		}
	}
	if atom.size < 0 && t.Size() >= 0 {
		t.freeze("its size is not known everywhere (see --input-shape)")
	}
	atom.bind(t)
	return nil
}

// deduce replaces the one run of unknown factors of a product by a frozen atom
// of the size that the whole demands.
func (s *system) deduce(t *Axis, size int) *Axis {
	if t.kind != kindProd {
		return nil
	}
	known, first, last := 1, -1, -1
	f := t.Factors()
	for i, x := range f {
		if n := x.Size(); n >= 0 {
			known *= n
			continue
		}
		if first < 0 {
			first = i
		}
		last = i
	}
	if first < 0 || known == 0 || size%known != 0 {
		return nil
	}
	for _, x := range f[first : last+1] {
		if x.Size() >= 0 {
			return nil
		}
	}
	kids := append([]*Axis{}, f[:first]...)
	kids = append(kids, s.frozen(size/known, "spatial size"))
	kids = append(kids, f[last+1:]...)
	return s.prod(kids...)
}

func (s *system) unifySums(a, b *Axis) error {
	as, bs := a.Terms(), b.Terms()
	for len(as) > 0 && len(bs) > 0 {
		x, y := as[0].find(), bs[0].find()
		if x.kind == kindSum { // an earlier step refined it
			as = append(x.Terms(), as[1:]...)
			continue
		}
		if y.kind == kindSum {
			bs = append(y.Terms(), bs[1:]...)
			continue
		}
		nx, ny := x.Size(), y.Size()
		if nx < 0 || ny < 0 {
			if len(as) == 1 && len(bs) == 1 {
				return s.unify(x, y)
			}
			return fmt.Errorf("sizes are not known")
		}
		switch {
		case nx == ny:
			if x.kind == kindSum || y.kind == kindSum {
				return fmt.Errorf("no common boundaries")
			}
			if err := s.unify(x, y); err != nil {
				return err
			}
			as, bs = as[1:], bs[1:]
		case nx < ny:
			y1, y2, err := s.cut(y, nx)
			if err != nil {
				return err
			}
			bs = append([]*Axis{y1, y2}, bs[1:]...)
		default:
			x1, x2, err := s.cut(x, ny)
			if err != nil {
				return err
			}
			as = append([]*Axis{x1, x2}, as[1:]...)
		}
	}
	if len(as) != len(bs) {
		return fmt.Errorf("concatenations of different length")
	}
	return nil
}

// cut splits an axis by sum at position at (0 < at < size) into two axes that
// together are the old one.
func (s *system) cut(t *Axis, at int) (left, right *Axis, err error) {
	t = t.find()
	switch t.kind {
	case kindAtom:
		l, r := s.atom(at), s.atom(t.size-at)
		t.bind(s.sum(l, r))
		return l, r, nil
	case kindSum:
		var l, r []*Axis
		for _, x := range t.Terms() {
			n := x.Size()
			switch {
			case n < 0:
				return nil, nil, fmt.Errorf("sizes are not known")
			case at >= n:
				l = append(l, x)
				at -= n
			case at > 0:
				x1, x2, err := s.cut(x, at)
				if err != nil {
					return nil, nil, err
				}
				l, r, at = append(l, x1), append(r, x2), 0
			default:
				r = append(r, x)
			}
		}
		return s.sum(l...), s.sum(r...), nil
	}
	f := t.Factors()
	rest := 1
	for _, x := range f[1:] {
		if x.Size() < 0 {
			return nil, nil, fmt.Errorf("sizes are not known")
		}
		rest *= x.Size()
	}
	if rest == 0 || at%rest != 0 {
		return nil, nil, fmt.Errorf("a boundary at %d falls inside a block of %d", at, rest)
	}
	o1, o2, err := s.cut(f[0], at/rest)
	if err != nil {
		return nil, nil, err
	}
	return s.prod(append([]*Axis{o1}, f[1:]...)...), s.prod(append([]*Axis{o2}, f[1:]...)...), nil
}

func (s *system) unifyProds(a, b *Axis) error {
	for {
		as, bs := a.Factors(), b.Factors()
		// Factors that are already one are no question, from either end.
		for len(as) > 0 && len(bs) > 0 && as[0].find() == bs[0].find() {
			as, bs = as[1:], bs[1:]
		}
		for len(as) > 0 && len(bs) > 0 && as[len(as)-1].find() == bs[len(bs)-1].find() {
			as, bs = as[:len(as)-1], bs[:len(bs)-1]
		}
		switch {
		case len(as) == 0 && len(bs) == 0:
			return nil
		case len(as) == 0 || len(bs) == 0:
			return fmt.Errorf("products of different length")
		case len(as) == 1 && len(bs) == 1:
			return s.unify(as[0], bs[0])
		case len(as) == 1 || len(bs) == 1:
			return s.unifyOneMany(as, bs)
		}
		x, y := as[len(as)-1], bs[len(bs)-1]
		if x.Size() < 0 || y.Size() < 0 {
			// Unknown inner factors: go on from the outer end.
			x, y = as[0], bs[0]
			if x.Size() < 0 || x.Size() != y.Size() {
				return fmt.Errorf("sizes are not known")
			}
			if err := s.unify(x, y); err != nil {
				return err
			}
			a, b = s.prod(as[1:]...), s.prod(bs[1:]...)
			continue
		}
		if x.Size() > y.Size() {
			x, y = y, x
		}
		inner := y
		if x.Size() != y.Size() {
			var err error
			if _, inner, err = s.divide(y, x.Size()); err != nil {
				return err
			}
		}
		if err := s.unify(x, inner); err != nil {
			return err
		}
		a, b = s.prod(as...), s.prod(bs...)
	}
}

// unifyOneMany joins a single factor with a product.
func (s *system) unifyOneMany(as, bs []*Axis) error {
	if len(bs) == 1 {
		as, bs = bs, as
	}
	one := as[0].find()
	if one.kind == kindAtom {
		return s.refine(one, s.prod(bs...))
	}
	// one is a sum: divide it by the inner factors, one after the other.
	for len(bs) > 1 {
		in := bs[len(bs)-1]
		if in.Size() < 0 {
			return fmt.Errorf("sizes are not known")
		}
		outer, inner, err := s.divide(one, in.Size())
		if err != nil {
			return s.unifySums(one, s.prod(bs...))
		}
		if err := s.unify(inner, in); err != nil {
			return err
		}
		one, bs = outer, bs[:len(bs)-1]
	}
	return s.unify(one, bs[0])
}

// divide splits an axis by product so that its inner factor has the given size.
func (s *system) divide(t *Axis, inner int) (out, in *Axis, err error) {
	t = t.find()
	n := t.Size()
	if n < 0 || inner <= 0 || n%inner != 0 {
		return nil, nil, fmt.Errorf("%d does not divide into blocks of %d", n, inner)
	}
	switch t.kind {
	case kindAtom:
		o, i := s.atom(n/inner), s.atom(inner)
		t.bind(s.prod(o, i))
		return o, i, nil
	case kindProd:
		f := t.Factors()
		last := f[len(f)-1]
		m := last.Size()
		switch {
		case m == inner:
			return s.prod(f[:len(f)-1]...), last, nil
		case m > 0 && m%inner == 0:
			o, i, err := s.divide(last, inner)
			if err != nil {
				return nil, nil, err
			}
			return s.prod(append(append([]*Axis{}, f[:len(f)-1]...), o)...), i, nil
		case m > 0 && inner%m == 0:
			o, i, err := s.divide(s.prod(f[:len(f)-1]...), inner/m)
			if err != nil {
				return nil, nil, err
			}
			return o, s.prod(i, last), nil
		}
		return nil, nil, fmt.Errorf("no common boundaries of blocks of %d and %d", m, inner)
	}
	var outs []*Axis
	for _, x := range t.Terms() {
		o, i, err := s.divide(x, inner)
		if err != nil {
			return nil, nil, err
		}
		if in == nil {
			in = i
		} else if err := s.unify(in, i); err != nil {
			return nil, nil, err
		}
		outs = append(outs, o)
	}
	return s.sum(outs...), in, nil
}
