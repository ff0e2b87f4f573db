package edit

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/dense"
)

// A Transform applies maps to weights. It knows where every piece of a space stands and which
// widths come out.
type Transform struct {
	an    *coupling.Analysis
	maps  Maps
	after coupling.Widths
	piece map[*coupling.Axis]pieceOf
	full  map[*LowRank]Rows // OutT with its rest, where that had to be written out
}

type pieceOf struct {
	space *coupling.Space
	index int
	// before and after are the first channel of the piece within its space, before and after the
	// map.
	before, after int
}

// NewTransform returns what applies maps to the weights of an analysed model.
func NewTransform(an *coupling.Analysis, maps Maps) *Transform {
	t := &Transform{an: an, maps: maps, after: maps.Widths(), piece: map[*coupling.Axis]pieceOf{}, full: map[*LowRank]Rows{}}
	for s, m := range maps {
		b, a := 0, 0
		for i, p := range s.Pieces {
			t.piece[p.Canonical()] = pieceOf{s, i, b, a}
			b += p.Size()
			a += m.Pieces[i]
		}
	}
	return t
}

// without is the transform that leaves some spaces (nil: none) as they are.
func (t *Transform) without(spaces ...*coupling.Space) *Transform {
	out := *t
	out.piece, out.after = maps.Clone(t.piece), maps.Clone(t.after)
	for _, s := range spaces {
		if s == nil {
			continue
		}
		for _, p := range s.Pieces {
			delete(out.piece, p.Canonical())
			delete(out.after, p.Canonical())
		}
	}
	return &out
}

// Beside applies the maps to a weight so that the channels of a space along one axis can be
// compared: the space itself stays as it is there, and what tells its groups apart stays
// everywhere.
func (t *Transform) Beside(w *coupling.Weight, data []float32, axis int, by Grouping) (_ []float32, dims []int, _ Layout, err error) {
	dims = w.Dims()
	var outer *coupling.Space
	if by.Index != nil {
		outer = t.an.SpaceOf(by.Index)
	}
	others := t.without(outer)
	along := others.without(by.Space)
	for _, k := range others.order(w) {
		use := others
		if k == axis {
			if use = along; !use.touches(w.Axes[k]) {
				continue
			}
		}
		if data, dims, err = applyTo(use, w, data, dims, []int{k}); err != nil {
			return nil, nil, Layout{}, err
		}
	}
	return data, dims, by.under(w.Axes, axis, along.after, others.after), nil
}

// touches reports whether a mapped space runs along the axis.
func (t *Transform) touches(a *coupling.Axis) bool {
	for _, x := range a.Atoms() {
		if _, ok := t.piece[x]; ok {
			return true
		}
	}
	return false
}

// takesOut reports whether Out of the space's map acts on an axis of a weight or an activation,
// rather than In.
func takesOut(s *coupling.Space, tensor string, axis int) bool {
	return s.Second[tensor] || slices.ContainsFunc(s.Uses, func(u coupling.Use) bool {
		return u.Tensor == tensor && u.Axis == axis && !u.TakesIn()
	})
}

// applyAll applies the maps to every axis of a weight (values row-major, dims as in the analysis).
func applyAll[T dense.Float](t *Transform, w *coupling.Weight, data []T) ([]T, []int, error) {
	return applyTo(t, w, data, w.Dims(), t.order(w))
}

// order lists the axes of a weight that maps change, in the order in which they are: plans are
// selected by the source's groups, so axes whose plan another axis selects come before that axis is
// changed. Maps that write all channels out of all others come last, where the weight is smallest.
func (t *Transform) order(w *coupling.Weight) []int {
	var selected, rest, full []int
	for k, a := range w.Axes {
		if !t.touches(a) {
			continue
		}
		if by, _, _ := t.selector(w, k); by >= 0 {
			selected = append(selected, k)
		} else if t.lowRank(w, k) == nil {
			rest = append(rest, k)
		} else {
			full = append(full, k)
		}
	}
	return slices.Concat(selected, rest, full)
}

// applyTo applies the maps to some axes, one after the other.
func applyTo[T dense.Float](t *Transform, w *coupling.Weight, data []T, dims, axes []int) ([]T, []int, error) {
	for _, k := range axes {
		if r := t.lowRank(w, k); r != nil {
			data, dims = ApplyTransfer(data, dims, k, r)
			continue
		}
		by, groups, err := t.selector(w, k)
		if err != nil {
			return nil, nil, err
		}
		made, matrices := map[int]Rows{}, make([]Rows, len(groups))
		for i, g := range groups {
			if made[g] == nil {
				if made[g], err = t.rows(w, k, g); err != nil {
					return nil, nil, err
				}
			}
			matrices[i] = made[g]
		}
		if by < 0 {
			data, dims = multiply(data, dims, k, matrices[0])
		} else {
			data, dims = multiplyEach(data, dims, k, by, matrices)
		}
	}
	return data, dims, nil
}

// A weight of largeWeight elements (64 MB) or more is moved with as little around as can be:
// largePart elements of it are read at once.
const largeWeight, largePart = 16 << 20, 1 << 20

// applyByParts is applyAll for a large weight, of which size elements are read at once: it is never
// in memory whole before its first map is applied. ok is false where the first map mixes positions
// of the first axis.
func (t *Transform) applyByParts(s *Subject, w *coupling.Weight, size int) (data []float32, dims []int, ok bool, err error) {
	axes := t.order(w)
	if len(axes) == 0 {
		return nil, nil, false, nil
	}
	if by, _, _ := t.selector(w, axes[0]); by >= 0 {
		return nil, nil, false, nil
	}
	if axes[0] > 0 {
		data, dims, err = t.applyWhileReading(s, w, axes[:1], size)
	} else {
		rows, err := t.rows(w, 0, 0)
		if err != nil || t.lowRank(w, 0) != nil || !rows.picks() {
			return nil, nil, false, err
		}
		if data, err = s.pick32(w, rows); err != nil {
			return nil, nil, false, err
		}
		dims = resized(w.Dims(), 0, len(rows))
	}
	if err == nil {
		data, dims, err = applyTo(t, w, data, dims, axes[1:])
	}
	return data, dims, true, err
}

// applyWhileReading applies the maps to axes other than the first of a weight while it is read,
// size elements at once.
func (t *Transform) applyWhileReading(s *Subject, w *coupling.Weight, axes []int, size int) (data []float32, dims []int, err error) {
	all := w.Axes[0].Size()
	step := max(1, size/(w.Len()/all))
	for from := 0; from < all; from += step {
		n := min(step, all-from)
		part, err := s.rows32(w.Name, from, n)
		if err != nil {
			return nil, nil, err
		}
		moved, after, err := applyTo(t, w, part.F32, part.Dims, axes)
		if err != nil {
			return nil, nil, err
		}
		if data == nil {
			data = make([]float32, 0, len(moved)/n*all)
		}
		data, dims = append(data, moved...), after
	}
	return data, resized(dims, 0, all), nil
}

// pick32 reads some positions of a weight's first axis, one for each of rows, which pick them.
func (s *Subject) pick32(w *coupling.Weight, rows Rows) ([]float32, error) {
	data := make([]float32, 0, w.Len()/w.Axes[0].Size()*len(rows))
	for _, r := range rows {
		part, err := s.rows32(w.Name, r[0].Col, 1)
		if err != nil {
			return nil, err
		}
		data = append(data, part.F32...)
	}
	return data, nil
}

// selector finds the other axis of the weight whose position selects the plan for axis k, and the
// group of each of its positions. by is -1, with the one group 0, when no other axis selects.
func (t *Transform) selector(w *coupling.Weight, k int) (by int, groups []int, err error) {
	var index *coupling.Axis
	for _, x := range w.Axes[k].Atoms() {
		if p, ok := t.piece[x]; ok && p.space.Index != nil && !w.Axes[k].Holds(p.space.Index) {
			index = p.space.Index.Canonical()
		}
	}
	if index == nil {
		return -1, []int{0}, nil
	}
	for b, a := range w.Axes {
		if b == k || !a.Holds(index) {
			continue
		}
		groups, _ = coupling.Widths(nil).Channels(a, index)
		for i, g := range groups {
			groups[i] = max(g, 0)
		}
		return b, groups, nil
	}
	return -1, nil, fmt.Errorf("weight %q: axis %d depends on groups that stand nowhere in it", w.Name, k)
}

// rows builds the matrix for axis k of a weight; group is the plan to use for spaces whose index is
// not part of the axis itself.
func (t *Transform) rows(w *coupling.Weight, k, group int) (Rows, error) {
	axis := w.Axes[k]
	if axis.IsAtom() {
		p := t.piece[axis.Canonical()]
		if len(p.space.Pieces) == 1 && (p.space.Index == nil || !axis.Holds(p.space.Index)) {
			return t.matrix(p.space, w.Name, k, group), nil
		}
	}
	terms := axis.Terms()
	e := expansion{t: t, tensor: w.Name, axis: k, group: group, old: map[string]int{}}
	keys := t.termKeys(terms)
	for i, term := range terms {
		for _, c := range coupling.Widths(nil).Coordinates(term) {
			e.old[positionKey(keys[i], c)] = len(e.old)
		}
	}
	var rows Rows
	for i, term := range terms {
		for _, c := range t.after.Coordinates(term) {
			row, err := e.row(portion{1, keys[i], c})
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// An expansion writes new positions along an axis of a weight out of old ones.
type expansion struct {
	t           *Transform
	tensor      string
	axis, group int
	old         map[string]int // old positions, by positionKey
}

// A portion is a part of a new position: a multiple of what stands at another one, in which some
// channels are old ones already.
type portion struct {
	val    float64
	term   termKey
	coords []coupling.Coord
}

// row expands one new position: the product of its factors' own rows.
func (e *expansion) row(p portion) ([]Entry, error) {
	parts := []portion{p}
	// First what selects no plan but may be an index, so that the others find the source's group.
	for _, indexed := range []bool{false, true} {
		for i, x := range p.coords {
			if piece, mapped := e.t.piece[x.Atom]; mapped && (piece.space.Index != nil) == indexed {
				parts = e.expand(parts, i, piece)
			}
		}
	}
	row := make([]Entry, 0, len(parts))
	for _, p := range parts {
		at, ok := e.old[positionKey(p.term, p.coords)]
		if !ok {
			return nil, fmt.Errorf("weight %q: axis %d has no counterpart for a merged channel", e.tensor, e.axis)
		}
		row = append(row, Entry{at, p.val})
	}
	return row, nil
}

// expand writes channel i of every portion, one of a piece of a mapped space, out of old channels.
func (e *expansion) expand(parts []portion, i int, piece pieceOf) []portion {
	var out []portion
	for _, p := range parts {
		group := e.group
		if index := piece.space.Index; index != nil {
			if g := indexOf(p.coords, index.Canonical()); g >= 0 {
				group = g
			}
		}
		for _, entry := range e.t.matrix(piece.space, e.tensor, e.axis, group)[piece.after+p.coords[i].Index] {
			atom, index, at := locate(piece.space, entry.Col)
			next := portion{p.val * entry.Val, p.term, slices.Clone(p.coords)}
			next.term.piece += at - piece.index
			next.coords[i] = coupling.Coord{Atom: atom, Index: index}
			out = append(out, next)
		}
	}
	return out
}

// locate finds the piece and channel at position at of a space.
func locate(s *coupling.Space, at int) (atom *coupling.Axis, index, piece int) {
	for i, p := range s.Pieces {
		if n := p.Size(); at >= n {
			at -= n
			continue
		}
		return p.Canonical(), at, i
	}
	return nil, 0, 0
}

// matrix is the side of a space's map that acts on a weight axis.
func (t *Transform) matrix(s *coupling.Space, tensor string, axis, group int) Rows {
	m := t.maps[s]
	g := m.Groups[min(group, len(m.Groups)-1)]
	if rows := m.Scale[tensor]; rows != nil {
		return rows
	}
	if !takesOut(s, tensor, axis) {
		return g.In
	}
	if g.Rest == nil {
		return g.OutT
	}
	if t.full[g.Rest] == nil {
		t.full[g.Rest] = g.Rest.Add(g.OutT)
	}
	return t.full[g.Rest]
}

// lowRank returns the transfer that acts on axis k of a weight, if one of them does for all
// positions and has a rest.
func (t *Transform) lowRank(w *coupling.Weight, k int) *Transfer {
	axis := w.Axes[k]
	if !axis.IsAtom() {
		return nil
	}
	s := t.piece[axis.Canonical()].space
	if len(s.Pieces) != 1 || s.Index != nil || !takesOut(s, w.Name, k) || t.maps[s].Groups[0].Rest == nil {
		return nil
	}
	return &t.maps[s].Groups[0]
}

// ApplyTransfer applies OutT and its rest, if there is one, along one axis.
func ApplyTransfer[T dense.Float](data []T, dims []int, axis int, g *Transfer) ([]T, []int) {
	out, after := multiply(data, dims, axis, g.OutT)
	if g.Rest != nil {
		addProduct(dense.AlongAxis(out, after, axis), dense.AlongAxis(data, dims, axis), g.Rest.Right, g.Rest.Left)
	}
	return out, after
}

// A termKey tells the summands of an axis apart: those that hold the same spaces (in different
// pieces) in the same places share a shape, and ordinal counts repetitions.
type termKey struct {
	shape, ordinal, piece int
}

func (t *Transform) termKeys(terms []*coupling.Axis) []termKey {
	shapes := map[string]int{}
	seen := map[[2]int]int{}
	keys := make([]termKey, len(terms))
	for i, term := range terms {
		var b []byte
		piece := 0
		for _, f := range term.Factors() {
			p, ok := t.piece[f.Canonical()]
			if ok {
				b = fmt.Appendf(b, "%p.", p.space)
				piece += p.index
			} else {
				b = fmt.Appendf(b, "%p ", f.Canonical())
			}
		}
		shape, ok := shapes[string(b)]
		if !ok {
			shape = len(shapes)
			shapes[string(b)] = shape
		}
		ordinal := seen[[2]int{shape, piece}]
		seen[[2]int{shape, piece}]++
		keys[i] = termKey{shape, ordinal, piece}
	}
	return keys
}

// positionKey makes a comparable name of a position. The atoms of mapped spaces enter with their
// piece in the term key, so only indices are needed.
func positionKey(t termKey, c []coupling.Coord) string {
	b := make([]byte, 0, 12+8*len(c))
	b = binary.AppendUvarint(b, uint64(t.shape))
	b = binary.AppendUvarint(b, uint64(t.ordinal))
	b = binary.AppendUvarint(b, uint64(t.piece))
	for _, x := range c {
		b = fmt.Appendf(b, "%p", x.Atom)
		b = binary.AppendUvarint(b, uint64(x.Index))
	}
	return string(b)
}

// TargetRows returns, for one axis of an activation, the matrix that makes the mapped model's
// positions out of this model's, times the model's share in them: In, or Outᵀ on the second side of
// a contraction. Channels that the model alone gives (Map.Partial) are its own whatever its share.
// It is nil where no mapped space runs along the axis.
func (s *Subject) TargetRows(tensor string, axis int, maps Maps, share float64) (Rows, error) {
	axes, ok := s.Analysis.Activations[tensor]
	if !ok || axis >= len(axes) {
		return nil, fmt.Errorf("the shape of %q is not known", tensor)
	}
	t := NewTransform(s.Analysis, maps.along(s.Analysis, axes))
	if !t.touches(axes[axis]) {
		return nil, nil
	}
	rows, err := t.rows(&coupling.Weight{Name: tensor, Axes: axes}, axis, 0)
	if err != nil || share == 1 {
		return rows, err
	}
	given := t.given(tensor, axis, axes[axis])
	out := make(Rows, len(rows))
	for j, row := range rows {
		if out[j] = row; given == nil || !given[j] {
			out[j] = slices.Clone(row)
			for i := range out[j] {
				out[j][i].Val *= share
			}
		}
	}
	return out, nil
}

// given reports, for the new positions along an axis of a weight or an activation, whether one of
// several models gives them alone (Map.Partial); nil where none is given so.
func (t *Transform) given(tensor string, k int, axis *coupling.Axis) []bool {
	var out []bool
	some := false
	for _, term := range axis.Terms() {
		alone := slices.ContainsFunc(term.Atoms(), func(x *coupling.Axis) bool {
			p, ok := t.piece[x]
			return ok && t.maps[p.space].Partial && !takesOut(p.space, tensor, k)
		})
		out = append(out, slices.Repeat([]bool{alone}, max(t.after.Size(term), 0))...)
		some = some || alone
	}
	if !some {
		return nil
	}
	return out
}

// Alone returns an axis of a weight along which some positions of the mapped weight, those marked,
// are given by one of several models alone: there the models' weights add up, elsewhere they are
// averaged. given is nil where there is no such axis.
func (s *Subject) Alone(weight string, maps Maps) (axis int, given []bool) {
	axes := s.Analysis.Weights[weight].Axes
	t := NewTransform(s.Analysis, maps.along(s.Analysis, axes))
	for k, a := range axes {
		if given = t.given(weight, k, a); given != nil {
			return k, given
		}
	}
	return 0, nil
}
