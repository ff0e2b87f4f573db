package coupling

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// An Axis is the structure of one tensor axis: how its flat index is made of the channels of
// spaces. It is a term of a small algebra,
//
//	axis = atom | (axis axis ...) | (axis + axis + ...)
//
// where a product has its outer factor first (index = outer·stride + inner) and a sum is a
// concatenation. Atoms start out whole and are split, by product or by sum, when two axes that must
// agree turn out to have boundaries in different places (see unify.go).
//
// Axes form a union-find forest: a term that was joined to, or refined into, another one forwards
// to it. Use the methods; they follow forwarding.
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
	common  bool   // its positions mean the same in every model of the architecture
	rigid   string // why its size must stay; "" while it need not
	paired  bool   // rigid since only permutations are exact
	mixed   string // which operator takes statistics over it; "" while none does
	open    bool   // its size is given for the analysis (InputShapes): when the model runs it may be another
	flags   flags
	indexed []*Axis // factors that may select a plan of their own, from (g: i)
}

// flags say what lies on the way of a space through the graph.
type flags uint8

const (
	// nonlinear: an operator that is not linear acts on the channels.
	nonlinear flags = 1 << iota
	// perChannel: an operator acts on each channel in a way of its own (BatchNormalization,
	// depthwise Conv, scale by a constant).
	perChannel
	// joined: a live Add or Sub joins two tensors along the space.
	joined
	// symmetric: an operator mixes the channels symmetrically, so permuting is exact and narrowing
	// changes its statistics (LayerNormalization).
	symmetric
	// contracted: two live tensors are contracted along the space (Q·Kᵀ).
	contracted

	// heads: the axis counts attention heads.
	heads
)

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
	return a.sizeNow(map[*Axis]bool{})
}

// sizeNow looks for a size that has become known since the term was made; unknown holds the terms
// below which that was tried in vain.
func (a *Axis) sizeNow(unknown map[*Axis]bool) int {
	a = a.find()
	if a.size >= 0 || a.kind == kindAtom || unknown[a] {
		return a.size
	}
	sizes := make([]int, len(a.kids))
	for i, k := range a.kids {
		if sizes[i] = k.sizeNow(unknown); sizes[i] < 0 {
			unknown[a] = true
			return -1
		}
	}
	a.size = total(a.kind, sizes)
	return a.size
}

func sizesOf(axes []*Axis) []int {
	out := make([]int, len(axes))
	for i, a := range axes {
		out[i] = a.Size()
	}
	return out
}

// maxSize bounds the sizes that are computed with: what is larger counts as not known, so that no
// product overflows.
const maxSize = 1 << 40

// total combines the sizes of a product's or a sum's parts; -1 where one is not known or the result
// is beyond all reason.
func total(kind axisKind, sizes []int) int {
	n := 0
	if kind == kindProd {
		n = 1
	}
	for _, k := range sizes {
		switch {
		case k < 0 || k > maxSize:
			return -1
		case kind == kindSum:
			n += k
		case k > 0 && n > maxSize/k:
			return -1
		default:
			n *= k
		}
	}
	if n > maxSize {
		return -1
	}
	return n
}

// IsAtom reports whether the axis is, after all refinement, a single atom.
func (a *Axis) IsAtom() bool { return a.find().kind == kindAtom }

// Terms returns the axis as a concatenation: the summands in order, without empty ones. An axis
// that is no sum is its own single summand.
func (a *Axis) Terms() []*Axis {
	var out []*Axis
	c := cursor{[]*Axis{a}}
	for t := c.next(); t != nil; t = c.next() {
		out = append(out, t)
	}
	return out
}

// Factors returns the axis as a product, outer factor first. A product leaves out factors of size
// one. An axis that is no product is its own single factor.
//
// An axis with more than a thousand factors counts as one: sizes cannot get there, but axes of
// unknown size can be multiplied without end.
func (a *Axis) Factors() []*Axis {
	a = a.find()
	if a.kind == kindProd {
		if out, ok := a.appendFactors(nil); ok {
			return out
		}
	}
	return []*Axis{a}
}

const maxFactors = 1000

func (a *Axis) appendFactors(out []*Axis) (_ []*Axis, ok bool) {
	a = a.find()
	if a.kind != kindProd {
		if a.size == 1 {
			return out, true
		}
		return append(out, a), len(out) < maxFactors
	}
	ok = true
	for _, k := range a.kids {
		if out, ok = k.appendFactors(out); !ok {
			break
		}
	}
	return out, ok
}

// parts visits the distinct terms that the axis is made of, itself included, in order of first
// appearance.
func (a *Axis) parts() iter.Seq[*Axis] {
	return func(yield func(*Axis) bool) {
		if a = a.find(); a.kind == kindAtom {
			yield(a)
			return
		}
		seen := map[*Axis]bool{}
		var walk func(*Axis) bool
		walk = func(x *Axis) bool {
			if x = x.find(); seen[x] {
				return true
			}
			seen[x] = true
			return yield(x) && !slices.ContainsFunc(x.kids, func(k *Axis) bool { return !walk(k) })
		}
		walk(a)
	}
}

// atoms visits those of the parts that are atoms.
func (a *Axis) atoms() iter.Seq[*Axis] {
	return func(yield func(*Axis) bool) {
		for x := range a.parts() {
			if x.kind == kindAtom && !yield(x) {
				return
			}
		}
	}
}

// Atoms returns the distinct atoms of the axis, in order of first appearance.
func (a *Axis) Atoms() []*Axis { return slices.Collect(a.atoms()) }

// Holds reports whether a term, an atom or a compound, is part of the axis.
func (a *Axis) Holds(t *Axis) bool {
	t = t.find()
	return a.some(func(x *Axis) bool { return x == t })
}

// some reports whether f holds of a part.
func (a *Axis) some(f func(*Axis) bool) bool {
	for x := range a.parts() {
		if f(x) {
			return true
		}
	}
	return false
}

// open reports whether the axis may have another size when the model runs: none is known, or one
// was given for the analysis.
func (a *Axis) open() bool {
	return a.Size() < 0 || a.some(func(x *Axis) bool { return x.kind == kindAtom && x.atom.open })
}

// leaves counts the atoms of the written-out axis, repeated ones every time, up to the limit. Terms
// are shared, so a small model can describe an axis that could never be written out.
func (a *Axis) leaves(limit int) int {
	memo := map[*Axis]int{}
	var count func(*Axis) int
	count = func(x *Axis) int {
		x = x.find()
		if x.kind == kindAtom {
			return 1
		}
		if n, ok := memo[x]; ok {
			return n
		}
		n := 0
		for _, k := range x.kids {
			n = min(n+count(k), limit)
		}
		memo[x] = n
		return n
	}
	return count(a)
}

// mark changes what is known of every atom of the axis.
func (a *Axis) mark(f func(x *atomInfo)) {
	for x := range a.atoms() {
		f(x.atom)
	}
}

// freeze says that the atoms may not change; the first reason stays.
func (a *Axis) freeze(reason string) {
	a.mark(func(x *atomInfo) { x.frozen = cmp.Or(x.frozen, reason) })
}

// stiffen says that the atoms must keep their sizes; the first reason stays.
func (a *Axis) stiffen(reason string) {
	a.mark(func(x *atomInfo) { x.rigid = cmp.Or(x.rigid, reason) })
}

// pair says that nothing but permutations of the atoms is exact; the first reason stays.
func (a *Axis) pair(reason string) {
	a.stiffen(reason)
	a.mark(func(x *atomInfo) { x.paired = true })
}

// blend says that an operator takes statistics over all positions of the atoms, so that their sizes
// had better stay; the first reason stays.
func (a *Axis) blend(reason string) {
	a.mark(func(x *atomInfo) { x.mixed = cmp.Or(x.mixed, reason) })
}

// anchor says that the positions of the axis mean the same in every model of the architecture: what
// goes in and out, kernel taps, positions that operators make.
func (a *Axis) anchor() { a.mark(func(x *atomInfo) { x.common = true }) }

func (a *Axis) flag(f flags) { a.mark(func(x *atomInfo) { x.flags |= f }) }

// anchored reports whether the positions of the axis mean the same everywhere.
func (a *Axis) anchored() bool {
	return !a.some(func(x *Axis) bool { return x.kind == kindAtom && !x.atom.common && x.size != 1 })
}

// allFrozen reports whether no atom of the axis may change.
func (a *Axis) allFrozen() bool {
	return !a.some(func(x *Axis) bool { return x.kind == kindAtom && x.atom.frozen == "" })
}

// String prints the axis in the notation of the rules, atoms as #id:size.
func (a *Axis) String() string {
	a = a.find()
	if a.kind == kindAtom {
		if a.size < 0 {
			return fmt.Sprintf("#%d:?", a.id)
		}
		return fmt.Sprintf("#%d:%d", a.id, a.size)
	}
	if a.leaves(printLimit) >= printLimit {
		return fmt.Sprintf("(… %d channels …)", a.Size())
	}
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

// printLimit is the number of atoms from which an axis is not printed in full.
const printLimit = 100
