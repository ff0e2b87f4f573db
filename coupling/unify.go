package coupling

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A system owns the terms of one analysis and joins them.
type system struct {
	next int
	// fuel bounds the work of one join. Terms are shared, so a few hundred bytes of model can ask
	// for a refinement with more parts than any memory holds.
	fuel int
}

// joinFuel is the number of steps that one join may take; a Concat of thousands of parts needs
// thousands.
const joinFuel = 1 << 17

var (
	errParts = errors.New("too many parts")
	errSizes = errors.New("sizes are not known")
)

func (s *system) atom(size int) *Axis {
	s.next++
	return &Axis{kind: kindAtom, size: size, id: s.next, atom: &atomInfo{}}
}

// loose makes a frozen atom whose positions may mean anything.
func (s *system) loose(size int, reason string) *Axis {
	a := s.frozen(size, reason)
	a.atom.common = false
	return a
}

func (s *system) frozen(size int, reason string) *Axis {
	a := s.atom(size)
	a.atom.frozen = reason
	a.atom.common = size >= 0 // nothing that is learnt makes it
	return a
}

// prod makes a product, outer factor first. Factors of size one are left out.
func (s *system) prod(kids ...*Axis) *Axis { return s.compound(kindProd, kids, 1) }

// sum makes a concatenation. Empty parts are left out.
func (s *system) sum(kids ...*Axis) *Axis { return s.compound(kindSum, kids, 0) }

func (s *system) compound(kind axisKind, kids []*Axis, neutral int) *Axis {
	keep := slices.DeleteFunc(slices.Clone(kids), func(k *Axis) bool { return k.Size() == neutral })
	switch {
	case len(keep) == 1:
		return keep[0]
	case len(keep) == 0 && len(kids) > 0:
		return kids[len(kids)-1]
	}
	s.next++
	return &Axis{kind: kind, size: total(kind, sizesOf(keep)), kids: keep, id: s.next}
}

// unit is the product of nothing: an axis of one position.
func (s *system) unit() *Axis { return s.prod() }

// join makes a and b equal by refining both to common boundaries: afterwards both enumerate the
// same channels position by position. It returns an error where they have no common refinement; the
// caller then freezes both, since a partial refinement is still a true statement about each of them
// alone.
func (s *system) join(a, b *Axis) error {
	s.fuel = joinFuel
	return s.unify(a, b)
}

// cutAt splits an axis by sum at a position (see cut).
func (s *system) cutAt(t *Axis, at int) (left, right *Axis, err error) {
	s.fuel = joinFuel
	return s.cut(t, at)
}

// spend takes one unit of fuel.
func (s *system) spend() error {
	if s.fuel--; s.fuel < 0 {
		return errParts
	}
	return nil
}

func (s *system) unify(a, b *Axis) error {
	a, b = a.find(), b.find()
	if a == b {
		return nil
	}
	if err := s.spend(); err != nil {
		return err
	}
	if na, nb := a.Size(), b.Size(); na >= 0 && nb >= 0 && na != nb {
		return fmt.Errorf("%d channels against %d", na, nb)
	}
	switch {
	case a.kind == kindAtom && b.kind == kindAtom:
		if b.size < 0 { // keep the known size
			a, b = b, a
		}
		if a.size < 0 && b.size >= 0 {
			b.freeze(sizeNotKnown)
		}
		a.bind(b)
		return nil
	case a.kind == kindAtom:
		return s.refine(a, b)
	case b.kind == kindAtom:
		return s.refine(b, a)
	}
	join := s.unifyProds
	if a.kind == kindSum && b.kind == kindSum {
		join = s.unifySums
	}
	if err := join(a, b); err != nil {
		return err
	}
	// From now on they are one term, so that joining them again costs nothing.
	if a, b = a.find(), b.find(); a != b && a.kind != kindAtom && !b.Holds(a) && !a.Holds(b) {
		a.forward = b
	}
	return nil
}

const sizeNotKnown = "its size is not known everywhere (see --input-shape)"

// bind makes atom forward to t and hands its marks down to t's atoms.
func (atom *Axis) bind(t *Axis) {
	info := atom.atom
	atom.forward, atom.atom = t, nil
	for x := range t.atoms() {
		x.atom.frozen = cmp.Or(x.atom.frozen, info.frozen)
		x.atom.rigid = cmp.Or(x.atom.rigid, info.rigid)
		x.atom.mixed = cmp.Or(x.atom.mixed, info.mixed)
		x.atom.common = x.atom.common || info.common
		x.atom.open = x.atom.open || info.open
		x.atom.paired = x.atom.paired || info.paired
		x.atom.flags |= info.flags
		for _, g := range info.indexed {
			x.index(g)
		}
	}
}

// index notes that the atom stands as i in some (g: i).
func (atom *Axis) index(g *Axis) {
	if !slices.ContainsFunc(atom.atom.indexed, func(old *Axis) bool { return old.is(g) }) {
		atom.atom.indexed = append(atom.atom.indexed, g)
	}
}

// refine binds an atom to a compound term.
func (s *system) refine(atom, t *Axis) error {
	if t.Holds(atom) {
		if f := t.Factors(); len(f) == 1 && f[0] == atom {
			return nil // the other factors have size one
		}
		return fmt.Errorf("%v would contain itself", atom)
	}
	if atom.size >= 0 && t.Size() < 0 {
		if t = s.deduce(t, atom.size); t == nil {
			return errSizes
		}
	}
	if atom.size < 0 && t.Size() >= 0 {
		t.freeze(sizeNotKnown)
	}
	atom.bind(t)
	return nil
}

// deduce replaces the one run of unknown factors of a product by a frozen atom of the size that the
// whole demands.
func (s *system) deduce(t *Axis, size int) *Axis {
	if t.kind != kindProd {
		return nil
	}
	f := t.Factors()
	first := slices.IndexFunc(f, func(x *Axis) bool { return x.Size() < 0 })
	if first < 0 {
		return nil
	}
	last := first
	for last < len(f) && f[last].Size() < 0 {
		last++
	}
	rest := slices.Concat(f[:first], f[last:])
	known := total(kindProd, sizesOf(rest)) // -1 where the run is not the only one
	if known <= 0 || size%known != 0 {
		return nil
	}
	return s.prod(slices.Insert(rest, first, s.frozen(size/known, "spatial size"))...)
}

// A cursor walks the summands of an axis, cutting them as needed.
type cursor struct {
	stack []*Axis // what is still to come, last first
}

// next removes and returns the next summand, nil at the end.
func (c *cursor) next() *Axis {
	for len(c.stack) > 0 {
		t := c.stack[len(c.stack)-1].find()
		c.stack = c.stack[:len(c.stack)-1]
		if t.kind != kindSum {
			if t.size == 0 {
				continue
			}
			return t
		}
		for _, k := range slices.Backward(t.kids) {
			c.push(k)
		}
	}
	return nil
}

func (c *cursor) push(t *Axis) { c.stack = append(c.stack, t) }

// cut puts a summand back in two parts, the first of the given size.
func (c *cursor) cut(s *system, t *Axis, at int) error {
	first, rest, err := s.cut(t, at)
	if err == nil {
		c.push(rest)
		c.push(first)
	}
	return err
}

// done reports whether no summand is left.
func (c *cursor) done() bool {
	t := c.next()
	if t != nil {
		c.push(t)
	}
	return t == nil
}

// unifySums joins two axes summand by summand, cutting the longer one where boundaries differ.
func (s *system) unifySums(a, b *Axis) error {
	as, bs := cursor{[]*Axis{a}}, cursor{[]*Axis{b}}
	for {
		x, y := as.next(), bs.next()
		switch {
		case x == nil && y == nil:
			return nil
		case x == nil || y == nil:
			return errors.New("concatenations of different length")
		case x == y:
			if err := s.spend(); err != nil {
				return err
			}
			continue
		}
		var err error
		switch nx, ny := x.Size(), y.Size(); {
		case nx < 0 || ny < 0:
			if as.done() && bs.done() {
				return s.unify(x, y)
			}
			return errSizes
		case nx == ny:
			err = s.unify(x, y)
		case nx < ny:
			as.push(x)
			err = bs.cut(s, y, nx)
		default:
			bs.push(y)
			err = as.cut(s, x, ny)
		}
		if err != nil {
			return err
		}
	}
}

// cut splits an axis by sum at position at (0 < at < size) into two axes that together are the old
// one.
func (s *system) cut(t *Axis, at int) (left, right *Axis, err error) {
	if err := s.spend(); err != nil {
		return nil, nil, err
	}
	t = t.find()
	n := t.Size()
	if n < 0 {
		return nil, nil, errSizes
	}
	if at <= 0 || at >= n {
		return nil, nil, fmt.Errorf("a boundary at %d lies outside %d channels", at, n)
	}
	switch t.kind {
	case kindAtom:
		l, r := s.atom(at), s.atom(n-at)
		t.bind(s.sum(l, r))
		return l, r, nil
	case kindSum:
		var l, r []*Axis
		for _, x := range t.kids {
			n := x.Size()
			switch {
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
	return s.cutProd(t.Factors(), at)
}

// cutProd splits a product. A boundary inside a block parts its inner factors, and leaves the
// channel whose block it is by itself (channels that are shuffled and split at an odd number of
// them).
func (s *system) cutProd(f []*Axis, at int) (left, right *Axis, err error) {
	outer, rest := f[0], s.prod(f[1:]...)
	blocks, inside := at/rest.Size(), at%rest.Size()
	var l, r []*Axis
	if blocks > 0 {
		var before *Axis
		if before, outer, err = s.cut(outer, blocks); err != nil {
			return nil, nil, err
		}
		l = append(l, s.prod(before, rest))
	}
	if inside > 0 {
		one, after := outer, (*Axis)(nil)
		if outer.Size() > 1 {
			if one, after, err = s.cut(outer, 1); err != nil {
				return nil, nil, err
			}
		}
		first, second, err := s.cut(rest, inside)
		if err != nil {
			return nil, nil, err
		}
		l, r = append(l, s.prod(one, first)), append(r, s.prod(one, second))
		outer = after
	}
	if outer != nil {
		r = append(r, s.prod(outer, rest))
	}
	return s.sum(l...), s.sum(r...), nil
}

// unifyProds joins two axes factor by factor from the inner end, dividing the larger one where
// boundaries differ.
func (s *system) unifyProds(a, b *Axis) error {
	as, bs := []*Axis{a}, []*Axis{b}
	for {
		if err := s.spend(); err != nil {
			return err
		}
		// Earlier steps may have refined factors.
		as, bs = unlike(flat(as), flat(bs))
		if len(as) > 1 && len(bs) > 1 && as[0].kind != kindProd && bs[0].kind != kindProd {
			var err error
			if as, bs, err = s.unifyEnd(as, bs); err != nil {
				return err
			}
			continue
		}
		switch {
		case len(as) == 0 && len(bs) == 0:
			return nil
		case len(as) == 0 || len(bs) == 0:
			return errors.New("products of different length")
		case as[0].kind == kindProd || bs[0].kind == kindProd:
			return errParts // see Factors
		case len(as) == 1:
			return s.unifyFactor(as[0], bs)
		}
		return s.unifyFactor(bs[0], as)
	}
}

// unlike leaves out, from either end of two lists, what is already the same.
func unlike(as, bs []*Axis) (_, _ []*Axis) {
	for len(as) > 0 && len(bs) > 0 && as[0] == bs[0] {
		as, bs = as[1:], bs[1:]
	}
	for len(as) > 0 && len(bs) > 0 && as[len(as)-1] == bs[len(bs)-1] {
		as, bs = as[:len(as)-1], bs[:len(bs)-1]
	}
	return as, bs
}

// unifyEnd joins the innermost factors of two products as far as the smaller one reaches, or the
// outermost ones where the inner are not known. It returns what is left of both.
func (s *system) unifyEnd(as, bs []*Axis) (_, _ []*Axis, err error) {
	x, y := as[len(as)-1], bs[len(bs)-1]
	if x.Size() < 0 || y.Size() < 0 {
		if as[0].Size() < 0 || as[0].Size() != bs[0].Size() {
			return nil, nil, errSizes
		}
		return as[1:], bs[1:], s.unify(as[0], bs[0])
	}
	if x.Size() < y.Size() {
		as, bs, x, y = bs, as, y, x
	}
	as, bs = as[:len(as)-1:len(as)-1], bs[:len(bs)-1]
	outer, inner, err := s.divide(x, y.Size())
	if err != nil {
		return nil, nil, err
	}
	return append(as, outer), bs, s.unify(inner, y)
}

// flat writes a product of axes out as the product of their factors.
func flat(axes []*Axis) []*Axis {
	var out []*Axis
	for _, a := range axes {
		for _, f := range a.Factors() {
			if f.size != 1 {
				out = append(out, f)
			}
		}
	}
	return out
}

// unifyFactor joins a single factor with a product.
func (s *system) unifyFactor(one *Axis, many []*Axis) error {
	if one.kind == kindAtom && len(many) > 1 {
		return s.refine(one, s.prod(many...))
	}
	// one is a sum: divide it by the inner factors, one after the other.
	for len(many) > 1 {
		last := many[len(many)-1]
		outer, inner, err := s.divide(one, last.Size())
		if err != nil {
			return s.unifySums(one, s.prod(many...))
		}
		if err := s.unify(inner, last); err != nil {
			return err
		}
		one, many = outer, many[:len(many)-1]
	}
	return s.unify(one, many[0])
}

// divide splits an axis by product so that its inner factor has the given size.
func (s *system) divide(t *Axis, inner int) (out, in *Axis, err error) {
	if err := s.spend(); err != nil {
		return nil, nil, err
	}
	t = t.find()
	n := t.Size()
	switch {
	case n < 0 || inner < 0:
		return nil, nil, errSizes
	case inner == 0 || n == 0 || n%inner != 0:
		return nil, nil, fmt.Errorf("%d does not divide into blocks of %d", n, inner)
	case n == inner:
		return s.unit(), t, nil
	case inner == 1:
		return t, s.unit(), nil
	}
	switch t.kind {
	case kindAtom:
		o, i := s.atom(n/inner), s.atom(inner)
		t.bind(s.prod(o, i))
		return o, i, nil
	case kindProd:
		return s.divideProd(t, inner)
	}
	return s.divideSum(t, inner)
}

func (s *system) divideProd(t *Axis, inner int) (out, in *Axis, err error) {
	f := t.Factors()
	last := f[len(f)-1]
	rest := s.prod(f[:len(f)-1]...)
	switch m := last.Size(); {
	case m%inner == 0:
		if out, in, err = s.divide(last, inner); err == nil {
			out = s.prod(rest, out)
		}
	case inner%m == 0:
		if out, in, err = s.divide(rest, inner/m); err == nil {
			in = s.prod(in, last)
		}
	default:
		err = fmt.Errorf("no common boundaries of blocks of %d and %d", m, inner)
	}
	return out, in, err
}

// divideSum: every summand must divide alike, and their inner factors are then one.
func (s *system) divideSum(t *Axis, inner int) (out, in *Axis, err error) {
	var outs []*Axis
	for _, x := range t.kids {
		if x.Size() == 0 {
			continue
		}
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
	out = s.sum(outs...)
	if whole := s.prod(out, in); t.find() == t && !whole.Holds(t) {
		t.forward = whole
	}
	return out, in, nil
}
