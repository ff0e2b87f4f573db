package coupling

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// finish gathers the atoms into spaces: those that stand in all the same places are pieces of one.
func (an *analyzer) finish() *Analysis {
	an.bound()
	an.settleSpreads()
	uses, order := an.uses()
	g := gathering{analyzer: an, a: an.tensors(), beside: an.beside(), index: an.indexes(order)}
	contexts := an.contexts()
	spaces := map[string]*Space{}
	for _, atom := range order {
		s := g.space(atom, uses[atom])
		if s == nil {
			continue
		}
		place := fmt.Sprintf("#%d", atom.id)
		if atom.atom.frozen == "" {
			place = contexts[atom]
		}
		if of := spaces[place]; of != nil && of.Index == nil && g.index[atom] == nil {
			of.Width += atom.size
			of.Pieces = append(of.Pieces, atom)
			s = of
		} else {
			spaces[place] = s
			g.a.Spaces = append(g.a.Spaces, s)
		}
		g.a.spaceOf[atom] = s
	}
	g.streams()
	g.a.settle()
	g.a.name()
	return g.a
}

// tensors is an analysis without its spaces.
func (an *analyzer) tensors() *Analysis {
	a := &Analysis{
		Graph: an.graph, Refs: an.refs, Ops: an.linear, Computed: an.computed, Copied: an.copied, copies: an.opts.Copies,
		Weights: map[string]*Weight{}, Activations: map[string][]*Axis{}, Roots: map[string][]string{}, spaceOf: map[*Axis]*Space{},
	}
	a.otherParams, _ = an.model.Size()
	for _, v := range an.order {
		if v.live() {
			if v.ranked {
				a.Activations[v.name] = v.axes
			}
			continue
		}
		a.Roots[v.name] = v.roots
		tp := an.graph.Constant(v.name)
		if tp == nil || !v.ranked || len(v.roots) != 1 || v.roots[0] != v.name {
			continue
		}
		w := &Weight{Name: v.name, Type: onnxpb.TensorProto_DataType(tp.GetDataType()), Axes: v.axes, Quant: v.quant}
		if a.Weights[v.name] = w; onnxio.IsParameter(w.Type) {
			a.otherParams -= Widths(nil).Elements(w)
		}
	}
	return a
}

// A gathering makes spaces of atoms.
type gathering struct {
	*analyzer
	a      *Analysis
	beside map[*Axis]bool
	index  map[*Axis]*Axis
}

// space is the space of a single atom, nil if that is none.
func (g *gathering) space(atom *Axis, us []Use) *Space {
	s := &Space{Width: max(atom.size, 0), Groups: 1, Pieces: []*Axis{atom}, Uses: us}
	produced := len(s.Producers()) > 0
	if !produced && len(s.Consumers()) == 0 {
		return nil
	}
	if atom.atom.frozen == "" && atom.atom.flags&contracted != 0 {
		s.Second = g.transpose(atom, us)
	}
	g.judge(atom, us)
	if !produced {
		if atom.size <= 1 || g.beside[atom] || !g.a.wholly(us[0], atom) {
			return nil // positions beside the channels: h·w of a Flatten
		}
		if w := g.a.Weights[us[0].Tensor]; w != nil { // the atom stands for the whole axis that is read
			s.Width = w.Axes[us[0].Axis].Size()
		}
	}
	mark := atom.atom
	s.Linear = mark.flags&(nonlinear|perChannel|symmetric|contracted) == 0
	s.Contracted = g.contracted(s)
	s.Heads = mark.flags&heads != 0
	s.Residual = mark.flags&joined != 0 && len(s.Producers()) > 1
	if mark.frozen != "" {
		s.Frozen, s.Reason, s.Second = true, mark.frozen, nil
		return s
	}
	index := g.index[atom]
	if index != nil {
		s.Groups = index.Size()
	}
	s.Paired = mark.paired
	switch {
	case s.Width < 1 || s.Groups < 1:
		s.Frozen, s.Reason, s.Groups = true, "it has no channels", 1
		return s
	case mark.rigid != "":
		s.Rigid = mark.rigid
	case mark.mixed != "":
		s.Rigid, s.Normalised = mark.mixed, true
	}
	s.Index = index
	return s
}

// contracted are the activations that are contracted over a space, the one on the first side first,
// where this happens once and nothing but operators that are linear and act alike on every channel
// lies before; else there are none.
func (g *gathering) contracted(s *Space) (sides [2]string) {
	atom := s.Pieces[0]
	if atom.atom.flags&contracted == 0 || atom.atom.flags&(nonlinear|perChannel|symmetric) != 0 {
		return sides
	}
	for _, c := range g.contractions {
		switch {
		case !c.term.Holds(atom):
		case sides[0] != "" || c.left == c.right:
			return [2]string{}
		case s.Second[c.left]:
			sides = [2]string{c.right, c.left}
		default:
			sides = [2]string{c.left, c.right}
		}
	}
	return sides
}

// wholly reports whether the used axis is this atom, or starts with it and holds nothing that may
// change: then the atom stands for the frozen axis.
func (a *Analysis) wholly(u Use, atom *Axis) bool {
	w := a.Weights[u.Tensor]
	if w == nil {
		return true
	}
	axis := w.Axes[u.Axis]
	if axis.find() == atom {
		return true
	}
	return axis.allFrozen() && axis.Holds(atom) && axis.Atoms()[0] == atom
}

// produced are the atoms that weights make.
func (an *analyzer) produced() map[*Axis]bool {
	out := map[*Axis]bool{}
	for _, r := range an.records {
		if r.role == Produced {
			for x := range r.term.atoms() {
				out[x] = true
			}
		}
	}
	return out
}

// settleSpreads lets constants that an activation is spread over make the channels that no other
// weight makes.
func (an *analyzer) settleSpreads() {
	made := an.produced()
	for _, r := range an.spreads {
		if !r.term.some(func(x *Axis) bool { return made[x] }) {
			an.records = append(an.records, r)
		}
	}
}

// beside finds the atoms that are only ever consumed together with channels that some weight
// produces: the positions of a Flatten, whose weight may keep them on axes of their own.
func (an *analyzer) beside() map[*Axis]bool {
	produced := an.produced()
	out := map[*Axis]bool{}
	for _, r := range an.records {
		if r.role != Consumed {
			continue
		}
		atoms := r.term.Atoms()
		with := slices.ContainsFunc(atoms, func(x *Axis) bool { return produced[x] })
		for _, x := range atoms {
			if old, ok := out[x]; !ok || old {
				out[x] = with
			}
		}
	}
	return out
}

// uses resolves the records to weight axes per atom, and lists the atoms in the order of their
// first producer; one that nobody produces stands where it is first used.
func (an *analyzer) uses() (map[*Axis][]Use, []*Axis) {
	type pair struct {
		atom *Axis
		use  Use
	}
	uses := map[*Axis][]Use{}
	var order []*Axis
	seen := map[pair]bool{}
	for _, r := range an.records {
		an.touched(r, func(x *Axis, u Use) {
			if uses[x] == nil {
				order = append(order, x)
			}
			if !seen[pair{x, u}] {
				seen[pair{x, u}] = true
				uses[x] = append(uses[x], u)
			}
		})
	}
	position := map[*onnxpb.NodeProto]int{}
	for i, n := range an.graph.Nodes {
		position[n] = i
	}
	first := map[*Axis]int{}
	for x, us := range uses {
		made := (&Space{Uses: us}).Producers()
		if len(made) == 0 {
			made = us[:1]
		}
		first[x] = len(position)
		for _, u := range made {
			first[x] = min(first[x], position[u.Node])
		}
	}
	slices.SortStableFunc(order, func(x, y *Axis) int { return cmp.Compare(first[x], first[y]) })
	return uses, order
}

// touched visits the atoms of a record in the weights that its tensor is made of.
func (an *analyzer) touched(r record, f func(atom *Axis, u Use)) {
	of := map[*Axis]bool{}
	for _, x := range r.term.Atoms() {
		of[x] = true
	}
	for _, root := range r.in.roots {
		w := an.values[root]
		if w == nil {
			continue
		}
		for k, axis := range w.axes {
			if o := r.in.originOf(r.axis); o >= 0 && o != k && len(r.in.roots) == 1 {
				continue
			}
			for x := range axis.atoms() {
				if of[x] {
					f(x, Use{Tensor: root, Axis: k, Role: r.role, Node: r.node})
				}
			}
		}
	}
}

// judge freezes an atom that cannot be changed on account of its uses, or stiffens it where only
// permuting is exact.
func (g *gathering) judge(atom *Axis, us []Use) {
	if atom.atom.frozen != "" {
		return
	}
	produced := false
	takesIn := map[[2]any]bool{}
	for _, u := range us {
		produced = produced || u.Role == Produced
		w := g.a.Weights[u.Tensor]
		if w == nil {
			atom.freeze(fmt.Sprintf("weight %q is not a plain constant", u.Tensor))
			return
		}
		switch {
		case onnxio.IsFloat(w.Type):
		case isInteger(w.Type) && w.Quant != nil:
			if s := g.a.Weights[w.Quant.Scale]; s == nil || isInteger(s.Type) || w.Quant.Zero != "" && g.a.Weights[w.Quant.Zero] == nil {
				atom.freeze(fmt.Sprintf("weight %q has scales that are no plain constants", u.Tensor))
				return
			}
		case isInteger(w.Type):
			atom.stiffen(fmt.Sprintf("weight %q holds integers (%v)", u.Tensor, w.Type))
		default:
			atom.freeze(fmt.Sprintf("weight %q is of type %v", u.Tensor, w.Type))
			return
		}
		if g.graph.IsOutput(u.Tensor) {
			atom.freeze(fmt.Sprintf("weight %q is a graph output", u.Tensor))
			return
		}
		key := [2]any{u.Tensor, u.Axis}
		if old, ok := takesIn[key]; ok && old != u.TakesIn() {
			atom.pair(fmt.Sprintf("weight %q both makes and reads it", u.Tensor))
		}
		takesIn[key] = u.TakesIn()
	}
	if !produced {
		atom.freeze("no weight produces it")
		atom.anchor()
	}
}

// maxParts bounds how many parts an axis, and all axes together, may be made of.
const (
	maxParts    = 1 << 16
	maxAllParts = 1 << 22
)

// bound freezes axes that are made of too many parts to be looked at.
func (an *analyzer) bound() {
	sum := 0
	for _, v := range an.order {
		for _, a := range v.axes {
			if n := a.leaves(maxParts); n > 1 {
				if sum += n; n >= maxParts || sum > maxAllParts {
					a.freeze(fmt.Sprintf("%q is made of too many parts", v.name))
				}
			}
		}
	}
}

// contexts gives every atom a signature: all places where it stands, with its neighbours inside
// products. Atoms of one signature are interchangeable.
func (an *analyzer) contexts() map[*Axis]string {
	places := map[*Axis][]string{}
	for i, v := range an.order {
		for k, axis := range v.axes {
			if axis.allFrozen() {
				continue
			}
			for _, t := range axis.Terms() {
				neighbours(t.Factors(), func(x *Axis, beside string) {
					places[x] = append(places[x], fmt.Sprintf("%d.%d:%s", i, k, beside))
				})
			}
		}
	}
	out := map[*Axis]string{}
	for x, p := range places {
		out[x] = strings.Join(p, "|")
	}
	return out
}

// neighbours says of the atoms of a product what stands beside them.
func neighbours(factors []*Axis, f func(atom *Axis, beside string)) {
	for j, x := range factors {
		if x.kind != kindAtom { // a sum inside a product: its atoms are kept apart
			for _, x := range x.Atoms() {
				f(x, fmt.Sprintf("!%d", x.id))
			}
			continue
		}
		var b strings.Builder
		for k, o := range factors {
			if k == j {
				b.WriteString("_ ")
			} else {
				fmt.Fprintf(&b, "%d ", o.find().id)
			}
		}
		f(x, b.String())
	}
}

// indexes finds, for atoms named as i in some (g: i), the index g: a factor that stands in every
// tensor that holds i. Where some tensor holds i without g, one plan must serve all copies and
// there is no index.
func (an *analyzer) indexes(order []*Axis) map[*Axis]*Axis {
	out := map[*Axis]*Axis{}
	for _, x := range order {
		for _, g := range x.atom.indexed {
			for g := range g.atoms() {
				if out[x] == nil && g != x && g.size > 1 && x.size > 1 && an.always(x, g) {
					out[x] = g
				}
			}
		}
	}
	return out
}

// always reports whether every tensor that holds x also holds g.
func (an *analyzer) always(x, g *Axis) bool {
	return !slices.ContainsFunc(an.order, func(v *value) bool { return v.holds(x) && !v.holds(g) })
}

// name names every space after its first producer, or first use.
func (a *Analysis) name() {
	for _, s := range a.Spaces {
		u := s.Uses[0]
		if p := s.Producers(); len(p) > 0 {
			u = p[0]
		}
		name := cmp.Or(u.Node.GetName(), u.Tensor)
		if u.Role == Consumed {
			name += " (in)"
		}
		if w := a.Weights[u.Tensor]; w != nil && !w.Axes[u.Axis].IsAtom() && w.Axes[u.Axis].Size() != s.Width*s.Groups {
			name += ranges(w.Axes[u.Axis], s)
		}
		s.Name = name
	}
	// Names are an interface (--exclude, JSON): make them unique.
	seen := map[string]int{}
	for _, s := range a.Spaces {
		seen[s.Name]++
		if k := seen[s.Name]; k > 1 {
			s.Name = fmt.Sprintf("%s#%d", s.Name, k)
		}
	}
}

// mostRanges is the number of ranges up to which each is named.
const mostRanges = 8

// ranges prints which positions of an axis belong to a space; of many ranges, those that follow each
// other as one.
func ranges(axis *Axis, s *Space) string {
	var of [][2]int
	at := 0
	for _, t := range axis.Terms() {
		n := t.Size()
		if slices.ContainsFunc(s.Pieces, func(p *Axis) bool { return t.Holds(p) }) {
			of = append(of, [2]int{at, at + n})
		}
		at += n
	}
	var parts []string
	for i, r := range of {
		if len(of) > mostRanges && i > 0 && of[i-1][1] == r[0] {
			of[i][0] = of[i-1][0]
			parts = parts[:len(parts)-1]
		}
		parts = append(parts, fmt.Sprintf("%d:%d", of[i][0], r[1]))
	}
	return "[" + strings.Join(parts, ",") + "]"
}
