package coupling

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Space is a set of channels that must be changed together.
type Space struct {
	// Name is taken from the first weight that produces the space, with the
	// range of channels where it holds only part of the axis.
	Name string
	// Width is the number of channels; with Groups > 1, of each group.
	Width int
	// Groups counts the values of the index factor (the groups of a grouped
	// Conv): each has channels and a plan of its own, all of one width.
	Groups int
	// Frozen says that nothing may change, Reason why.
	Frozen bool
	Reason string
	// Rigid says why the width must stay although channels may be permuted;
	// "" if they may also be merged.
	Rigid string
	// Normalised: the space is Rigid for no other reason than that a
	// normalisation takes statistics over all its channels (LayerNormalization).
	// Fewer channels have other statistics, so the width is left alone unless it
	// is given by another model, and then the normalisation has to be refitted.
	Normalised bool
	// Whole: the space is Rigid for no other reason than that what it is a factor
	// of loses whole blocks of it already (the channels of a depthwise multiplier,
	// the dimensions of heads). Another model may give it another width.
	Whole bool
	// Paired: what makes the channels and what reads them cannot take different
	// matrices, since one weight does both, or a tensor is contracted with itself.
	// Only permutations are exact, so that the space is Rigid too.
	Paired bool
	// Heads: the channels are attention heads.
	Heads bool
	// Second lists the activations on the second side of a contraction of two
	// (the K of Q·Kᵀ), which take Outᵀ where others take In; see Use.Transposed.
	Second map[string]bool
	// Residual: a live Add joins two produced tensors along the space.
	Residual bool
	// Linear: only operators that are linear and act alike on every channel lie
	// between producers and consumers, so any matrix may act on the space.
	Linear bool
	// Pieces are the atoms that make up the space; more than one where several
	// ranges of channels have identical uses.
	Pieces []*Axis
	// Index is the factor that selects the plan; nil when Groups is 1.
	Index *Axis
	// Uses lists every weight axis the space touches.
	Uses []Use

	// beside are the sizes of what stands beside the space in the products of
	// weights' axes: a product has Width times as many positions.
	beside []int
}

// A Use is one weight axis that a space runs along.
type Use struct {
	Tensor string
	Axis   int
	Role   Role
	Node   *onnxpb.NodeProto
	// Transposed: the weight stands on the second side of a contraction of two
	// activations (the K of Q·Kᵀ), so that it takes Outᵀ where its role would
	// take In, and the other way round.
	Transposed bool
}

// Producers returns the uses in which the space is a weight's output.
func (s *Space) Producers() []Use { return s.role(Produced) }

// Consumers returns the uses in which the space is summed over.
func (s *Space) Consumers() []Use { return s.role(Consumed) }

func (s *Space) role(r Role) []Use {
	var out []Use
	for _, u := range s.Uses {
		if u.Role == r {
			out = append(out, u)
		}
	}
	return out
}

// Narrowable reports whether the space may get fewer channels.
func (s *Space) Narrowable() bool { return !s.Frozen && s.Rigid == "" }

// Resizable reports whether the space may take the width that another model
// has.
func (s *Space) Resizable() bool {
	return !s.Frozen && (s.Rigid == "" || s.Normalised || s.Whole)
}

// Step is what the width must be a multiple of for every axis that operators see
// to have multiples of the given number of positions. Heads are counted one by
// one.
func (s *Space) Step(multiple int) int {
	step := 1
	if s.Heads {
		return step
	}
	for _, n := range s.beside {
		step = lcm(step, multiple/gcd(multiple, n))
	}
	return step
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func lcm(a, b int) int { return a / gcd(a, b) * b }

// SpaceOf returns the space an atom belongs to, or nil.
func (a *Analysis) SpaceOf(atom *Axis) *Space { return a.spaceOf[atom.find()] }

// finish resolves the axes into spaces and their uses.
func (an *analyzer) finish() (*Analysis, error) {
	a := &Analysis{Graph: an.graph, Weights: map[string]*Weight{}, Refs: an.refs, Ops: an.linear, Activations: map[string][]*Axis{}, Roots: map[string][]string{}, spaceOf: map[*Axis]*Space{}}
	for _, v := range an.order {
		if !v.konst {
			if v.ranked {
				a.Activations[v.name] = v.axes
			}
			continue
		}
		a.Roots[v.name] = v.roots
		if tp := an.graph.Constant(v.name); tp != nil && v.ranked && len(v.roots) == 1 && v.roots[0] == v.name {
			a.Weights[v.name] = &Weight{Name: v.name, Type: onnxpb.TensorProto_DataType(tp.GetDataType()), Axes: v.axes, Quant: v.quant}
		}
	}
	a.otherParams, _ = an.model.Size()
	for _, wt := range a.Weights {
		if onnxio.IsParameter(wt.Type) {
			a.otherParams -= Widths(nil).Elements(wt)
		}
	}
	a.copies = an.opts.Copies
	an.bound()
	uses, order := an.uses()
	beside := an.beside()
	contexts := an.contexts()
	index := an.indexes(order)
	bySignature := map[string]*Space{}
	for _, atom := range order {
		us := uses[atom]
		if !slices.ContainsFunc(us, func(u Use) bool { return u.Role == Produced || u.Role == Consumed }) {
			continue
		}
		var second map[string]bool
		if atom.atom.frozen == "" && atom.atom.flags&Contracted != 0 {
			second = an.transpose(atom, us)
		}
		an.judge(a, atom, us)
		produced := slices.ContainsFunc(us, func(u Use) bool { return u.Role == Produced })
		if !produced && (atom.size <= 1 || beside[atom] || !a.wholly(us[0], atom)) {
			continue // positions beside the channels: h·w of a Flatten
		}
		sig := fmt.Sprintf("#%d", atom.id)
		if atom.atom.frozen == "" {
			sig = contexts[atom]
		}
		s := bySignature[sig]
		if s != nil && s.Index == nil && index[atom] == nil {
			s.Width += atom.size
			s.Pieces = append(s.Pieces, atom)
			a.spaceOf[atom] = s
			continue
		}
		width := max(atom.size, 0)
		if !produced { // the atom stands for the whole axis that is read
			if w := a.Weights[us[0].Tensor]; w != nil {
				width = w.Axes[us[0].Axis].Size()
			}
		}
		s = &Space{
			Width: width, Groups: 1, Pieces: []*Axis{atom}, Uses: us,
			Frozen: atom.atom.frozen != "", Reason: atom.atom.frozen,
			Linear: atom.atom.flags&(Nonlinear|PerChannel|Symmetric|Contracted) == 0,
		}
		if !s.Frozen {
			if g := index[atom]; g != nil {
				s.Groups, s.Index = g.Size(), g
			}
			s.Rigid, s.Paired = atom.atom.rigid, atom.atom.paired
			s.Second = second
			if s.Rigid == "" && atom.atom.mixed != "" {
				s.Rigid, s.Normalised = atom.atom.mixed, true
			}
			if s.Width < 1 || s.Groups < 1 {
				s.Frozen, s.Reason, s.Rigid, s.Groups, s.Index = true, "it has no channels", "", 1, nil
			}
		}
		s.Heads = atom.atom.flags&heads != 0
		s.Residual = atom.atom.flags&Joined != 0 && len(s.Producers()) > 1
		bySignature[sig] = s
		a.spaceOf[atom] = s
		a.Spaces = append(a.Spaces, s)
	}
	a.settle()
	a.name()
	return a, nil
}

// settle decides between a factor that selects plans and the channels that each
// of its positions has: both could be narrowed, but a ratio is meant once.
// Groups of a Conv stay and their channels are narrowed. Attention heads are
// removed whole, and so are groups whose channels may not be narrowed. A single
// channel stays.
func (a *Analysis) settle() {
	for _, s := range a.Spaces {
		for _, x := range s.Pieces {
			for _, g := range x.find().atom.indexed {
				g.eachAtom(func(g *Axis) bool {
					outer := a.spaceOf[g]
					if outer != nil && outer != s && !outer.Frozen && !s.Frozen && (s.Rigid == "" || s.Rigid == errSelf.Error()) && g.atom.flags&heads != 0 {
						s.Rigid = "the dimensions of an attention head stay together"
					}
					return true
				})
			}
		}
	}
	for _, s := range a.Spaces {
		if s.Width == 1 && !s.Frozen && s.Rigid == "" { // it may be spread over others
			s.Rigid = "it is a single channel"
		}
	}
	a.share()
	for _, s := range a.Spaces {
		if s.Index == nil || s.Frozen || s.Rigid != "" {
			continue
		}
		if outer := a.IndexOf(s); outer != nil && !outer.Frozen {
			outer.Rigid, outer.Whole = "", false
			outer.Frozen, outer.Reason = true, fmt.Sprintf("its groups have channels of their own (space of %d)", s.Width)
		}
	}
}

// A term is one summand of a weight's axis: a product of the atoms, some of which
// are spaces, of size positions.
type term struct {
	atoms []*Axis
	size  int
}

// terms lists the summands of all axes of weights that spaces run along, in the
// order of the spaces' uses.
func (a *Analysis) terms() []term {
	type axis struct {
		tensor string
		index  int
	}
	var out []term
	seen := map[axis]bool{}
	for _, s := range a.Spaces {
		for _, u := range s.Uses {
			w, at := a.Weights[u.Tensor], axis{u.Tensor, u.Axis}
			if w == nil || seen[at] {
				continue
			}
			seen[at] = true
			for _, t := range w.Axes[u.Axis].Terms() {
				out = append(out, term{t.Atoms(), t.Size()})
			}
		}
	}
	return out
}

// products tells which terms of weights' axes hold a space, and which of a term's
// spaces is narrowed.
type products struct {
	*Analysis
	terms    []term
	in       map[*Space][]int
	narrowed []*Space // by term; nil where none is
}

func (a *Analysis) products() *products {
	p := &products{Analysis: a, terms: a.terms(), in: map[*Space][]int{}}
	p.narrowed = make([]*Space, len(p.terms))
	for i, t := range p.terms {
		for _, x := range t.atoms {
			s := a.spaceOf[x]
			if s == nil || x.size < 1 {
				continue
			}
			p.in[s] = appendNew(p.in[s], i)
			beside := t.size / x.size
			if s.Index != nil && !slices.Contains(t.atoms, s.Index.find()) {
				beside *= s.Groups // the axis of one group
			}
			s.beside = appendNew(s.beside, beside)
		}
	}
	return p
}

// share decides which factor of a product of spaces is narrowed: a ratio is meant
// once, and would be taken as often as there are factors. A factor that stands
// wherever another one does, and elsewhere, goes first (the keys' heads before
// the queries of each, the channels before what a depthwise multiplier makes of
// them), then the widest, which a ratio divides best; what shares a product with
// it stays whole. The groups of a Conv that are nothing but groups do not count.
func (a *Analysis) share() {
	p := a.products()
	groups := map[*Space]bool{}
	for _, s := range a.Spaces {
		if g := a.IndexOf(s); g != nil && s.Narrowable() && !g.Heads && !slices.Contains(g.beside, 1) {
			groups[g] = true
		}
	}
	free := map[*Space]bool{}
	var order []*Space
	for _, s := range a.Spaces {
		if s.Narrowable() && !groups[s] && len(p.in[s]) > 0 {
			order, free[s] = append(order, s), true
		}
	}
	slices.SortStableFunc(order, func(s, t *Space) int { return cmp.Compare(t.Width, s.Width) })
	for _, last := range []bool{false, true} {
		for _, s := range order {
			if p.rival(s) != nil || !last && p.outdone(s, free) {
				continue
			}
			for _, i := range p.in[s] {
				p.narrowed[i] = s
			}
		}
	}
	for _, s := range order {
		if t := p.rival(s); t != nil {
			s.Rigid, s.Whole = fmt.Sprintf("a factor beside it is narrowed instead (space of %d)", t.Width), true
		}
	}
}

// rival is another space that is narrowed in a product which holds this one.
func (p *products) rival(s *Space) *Space {
	for _, i := range p.in[s] {
		if t := p.narrowed[i]; t != nil && t != s {
			return t
		}
	}
	return nil
}

// outdone reports whether another free space stands wherever s does, and
// elsewhere, and has no rival.
func (p *products) outdone(s *Space, free map[*Space]bool) bool {
	for _, x := range p.terms[p.in[s][0]].atoms {
		t := p.spaceOf[x]
		if t == s || !free[t] || len(p.in[t]) <= len(p.in[s]) || p.rival(t) != nil {
			continue
		}
		if !slices.ContainsFunc(p.in[s], func(i int) bool { return !slices.Contains(p.in[t], i) }) {
			return true
		}
	}
	return false
}

// Unaligned says of an atom why its positions may mean different things in two
// models of one architecture though no space moves them: something that Monge
// cannot follow reads or makes it. It is "" for the channels of spaces that may
// change, and for what means the same everywhere: inputs and outputs of the model,
// kernel taps, positions.
func (a *Analysis) Unaligned(atom *Axis) string {
	atom = atom.find()
	s := a.spaceOf[atom]
	switch {
	case atom.atom.common || atom.size == 1 || s != nil && !s.Frozen:
		return ""
	case atom.atom.frozen != "":
		return atom.atom.frozen
	case s != nil:
		return s.Reason
	}
	return ""
}

// IndexOf is the space whose channels each have channels of this one: the heads
// of their dimensions. It is nil for a space of one group, and where groups are
// no channels.
func (a *Analysis) IndexOf(s *Space) *Space {
	if s.Index == nil {
		return nil
	}
	return a.spaceOf[s.Index.find()]
}

// wholly reports whether the used axis is this atom, or starts with it and
// holds nothing that may change: then the atom stands for the frozen axis.
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

// beside finds the atoms that are only ever consumed together with channels
// that some weight produces: the positions of a Flatten, whose weight may keep
// them on axes of their own.
func (an *analyzer) beside() map[*Axis]bool {
	produced := map[*Axis]bool{}
	for _, r := range an.records {
		if r.role == Produced {
			r.term.eachAtom(func(x *Axis) bool { produced[x] = true; return true })
		}
	}
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

// uses resolves the records to weight axes per atom, and lists the atoms in
// the order of their first producer.
func (an *analyzer) uses() (map[*Axis][]Use, []*Axis) {
	uses := map[*Axis][]Use{}
	var order []*Axis
	seen := map[*Axis]map[Use]bool{}
	for _, r := range an.records {
		atoms := map[*Axis]bool{}
		for _, x := range r.term.Atoms() {
			atoms[x] = true
		}
		for _, root := range r.in.roots {
			rv := an.values[root]
			if rv == nil {
				continue
			}
			for k, axis := range rv.axes {
				if o := r.in.originOf(r.axis); o >= 0 && o != k && len(r.in.roots) == 1 {
					continue
				}
				for _, x := range axis.Atoms() {
					if !atoms[x] {
						continue
					}
					if seen[x] == nil {
						seen[x] = map[Use]bool{}
						order = append(order, x)
					}
					u := Use{Tensor: root, Axis: k, Role: r.role, Node: r.node}
					if !seen[x][u] {
						seen[x][u] = true
						uses[x] = append(uses[x], u)
					}
				}
			}
		}
	}
	// First produced first; a space nobody produces stands where it is first used.
	pos := map[*onnxpb.NodeProto]int{}
	for i, n := range an.graph.Nodes {
		pos[n] = i
	}
	first := map[*Axis]int{}
	for x, us := range uses {
		first[x] = len(an.graph.Nodes)
		for _, u := range us {
			if u.Role == Produced {
				first[x] = min(first[x], pos[u.Node])
			}
		}
		if first[x] == len(an.graph.Nodes) && len(us) > 0 {
			first[x] = pos[us[0].Node]
		}
	}
	slices.SortStableFunc(order, func(x, y *Axis) int { return cmp.Compare(first[x], first[y]) })
	return uses, order
}

// judge freezes an atom that cannot be changed on account of its uses, or
// stiffens it where only permuting is exact.
func (an *analyzer) judge(a *Analysis, atom *Axis, us []Use) {
	if atom.atom.frozen != "" {
		return
	}
	produced := false
	takesIn := map[[2]any]bool{}
	for _, u := range us {
		produced = produced || u.Role == Produced
		w := a.Weights[u.Tensor]
		if w == nil {
			atom.freeze(fmt.Sprintf("weight %q is not a plain constant", u.Tensor))
			return
		}
		switch {
		case w.Type == onnxpb.TensorProto_FLOAT, w.Type == onnxpb.TensorProto_DOUBLE, w.Type == onnxpb.TensorProto_FLOAT16, w.Type == onnxpb.TensorProto_BFLOAT16:
		case isInteger(w.Type) && w.Quant != nil:
			if s := a.Weights[w.Quant.Scale]; s == nil || isInteger(s.Type) || w.Quant.Zero != "" && a.Weights[w.Quant.Zero] == nil {
				atom.freeze(fmt.Sprintf("weight %q has scales that are no plain constants", u.Tensor))
				return
			}
		case isInteger(w.Type):
			atom.stiffen(fmt.Sprintf("weight %q holds integers (%v)", u.Tensor, w.Type))
		default:
			atom.freeze(fmt.Sprintf("weight %q is of type %v", u.Tensor, w.Type))
			return
		}
		if an.graph.IsOutput(u.Tensor) {
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

// TakesIn reports whether a map of the space acts on the weight's axis by In,
// how channels are made; the others take Outᵀ, how they are read.
func (u Use) TakesIn() bool { return (u.Role != Consumed) != u.Transposed }

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

// contexts gives every atom a signature: all places where it stands, with its
// neighbours inside products. Atoms of one signature are interchangeable.
func (an *analyzer) contexts() map[*Axis]string {
	parts := map[*Axis][]string{}
	for i, v := range an.order {
		for k, axis := range v.axes {
			if axis.allFrozen() {
				continue
			}
			for _, t := range axis.Terms() {
				factors := t.Factors()
				for j, f := range factors {
					if f.kind != kindAtom {
						// A sum inside a product: keep its atoms apart.
						for _, x := range f.Atoms() {
							parts[x] = append(parts[x], fmt.Sprintf("!%d", x.id))
						}
						continue
					}
					var b strings.Builder
					fmt.Fprintf(&b, "%d.%d:", i, k)
					for q, o := range factors {
						if q == j {
							b.WriteString("_ ")
						} else {
							fmt.Fprintf(&b, "%d ", o.find().id)
						}
					}
					parts[f] = append(parts[f], b.String())
				}
			}
		}
	}
	out := map[*Axis]string{}
	for x, p := range parts {
		out[x] = strings.Join(p, "|")
	}
	return out
}

// indexes finds, for atoms named as i in some (g: i), the index g: a factor
// that stands in every tensor that holds i. Where some tensor holds i without
// g, one plan must serve all copies and there is no index.
func (an *analyzer) indexes(order []*Axis) map[*Axis]*Axis {
	out := map[*Axis]*Axis{}
	for _, x := range order {
		for _, g := range x.atom.indexed {
			g.eachAtom(func(g *Axis) bool {
				if out[x] == nil && g != x && g.size > 1 && x.size > 1 && an.always(x, g) {
					out[x] = g
				}
				return true
			})
		}
	}
	return out
}

// always reports whether every tensor that holds x also holds g.
func (an *analyzer) always(x, g *Axis) bool {
	for _, v := range an.order {
		hasX, hasG := false, false
		for _, a := range v.axes {
			hasX = hasX || a.Holds(x)
			hasG = hasG || a.Holds(g)
		}
		if hasX && !hasG {
			return false
		}
	}
	return true
}

// name names every space after its first producer, or first use.
func (a *Analysis) name() {
	for _, s := range a.Spaces {
		u := s.Uses[0]
		if p := s.Producers(); len(p) > 0 {
			u = p[0]
		}
		name := u.Node.GetName()
		if name == "" {
			name = u.Tensor
		}
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

// ranges prints which positions of an axis belong to a space.
func ranges(axis *Axis, s *Space) string {
	var parts []string
	at := 0
	for _, t := range axis.Terms() {
		n := t.Size()
		if slices.ContainsFunc(s.Pieces, func(p *Axis) bool { return t.Holds(p) }) {
			parts = append(parts, fmt.Sprintf("%d:%d", at, at+n))
		}
		at += n
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Widths says how many channels each atom shall have; a missing atom keeps its
// size.
type Widths map[*Axis]int

// Set gives a space k channels, spread over its pieces in proportion to their
// sizes (largest remainder).
func (w Widths) Set(s *Space, k int) {
	left := k
	type part struct {
		i    int
		rest int
	}
	var parts []part
	give := make([]int, len(s.Pieces))
	for i, p := range s.Pieces {
		give[i] = k * p.Size() / s.Width
		left -= give[i]
		parts = append(parts, part{i, k * p.Size() % s.Width})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.rest, a.rest) })
	for _, p := range parts {
		if left == 0 {
			break
		}
		give[p.i]++
		left--
	}
	for i, p := range s.Pieces {
		w[p.find()] = give[i]
	}
}

// Size is the size of an axis under the widths, or -1 if it is not known.
func (w Widths) Size(a *Axis) int {
	a = a.find()
	switch a.kind {
	case kindAtom:
		if n, ok := w[a]; ok {
			return n
		}
		return a.size
	case kindSum:
		n := 0
		for _, k := range a.kids {
			m := w.Size(k)
			if m < 0 {
				return -1
			}
			n += m
		}
		return n
	}
	n := 1
	for _, k := range a.kids {
		m := w.Size(k)
		if m < 0 {
			return -1
		}
		n *= m
	}
	return n
}

// Of is the number of channels the space has under the widths.
func (w Widths) Of(s *Space) int {
	n := 0
	for _, p := range s.Pieces {
		n += w.Size(p)
	}
	return n
}

// Elem is the new value of a stored shape's element.
func (w Widths) Elem(e ShapeElem) int64 {
	v := e.Value
	for _, a := range e.Sizes {
		v += int64(w.Size(a))
	}
	return v
}

// Changes reports whether a stored shape must be written anew.
func (w Widths) Changes(ref ShapeRef) bool {
	changes := func(a *Axis) bool {
		return a != nil && slices.ContainsFunc(a.Atoms(), func(x *Axis) bool { return w.Size(x) != x.size })
	}
	return slices.ContainsFunc(ref.Follows, changes) || slices.ContainsFunc(ref.Elems, func(e ShapeElem) bool {
		return changes(e.Open) || w.Elem(e) != Widths(nil).Elem(e)
	})
}

// MACs counts multiply-accumulates per sample under the widths (nil: as the
// model is). open is set where free dimensions were counted as one.
func (a *Analysis) MACs(w Widths) (macs int64, open bool) {
	for _, op := range a.Ops {
		macs += op.MACs(w)
		open = open || op.Open
	}
	return macs, open
}

// MACs counts the operator's multiply-accumulates per sample.
func (op *LinearOp) MACs(w Widths) int64 {
	n := int64(op.Positions)
	for _, x := range op.Axes {
		n *= int64(max(w.Size(x), 1))
	}
	return n
}

// Params counts the model's parameters under the widths as [onnxio.Model.Size]
// does; for nil widths the two are equal, but for Options.Copies.
func (a *Analysis) Params(w Widths) int64 {
	total := a.otherParams
	for _, wt := range a.Weights {
		if onnxio.IsParameter(wt.Type) && a.Stored(wt, w) {
			total += w.Elements(wt)
		}
	}
	return total
}

// Stored reports whether a weight has a place of its own in a file under the
// widths: it is no copy of another one, or no longer.
func (a *Analysis) Stored(wt *Weight, w Widths) bool {
	of := a.Weights[a.copies[wt.Name]]
	return of == nil || !slices.EqualFunc(of.Axes, wt.Axes, func(x, y *Axis) bool { return w.Size(x) == w.Size(y) })
}

// Elements is the number of elements of a weight under the widths.
func (w Widths) Elements(wt *Weight) int64 {
	n := int64(1)
	for _, x := range wt.Axes {
		n *= int64(max(w.Size(x), 0))
	}
	return n
}

// NarrowableShare is the share of the parameters of linear operators that lie
// in weights with at least one axis in a space that is not frozen.
func (a *Analysis) NarrowableShare() float64 {
	total, free := 0, 0
	seen := map[string]bool{}
	for _, op := range a.Ops {
		w := a.Weights[op.Weight]
		if w == nil || seen[w.Name] {
			continue
		}
		seen[w.Name] = true
		n := w.Len()
		total += n
		if slices.ContainsFunc(w.Axes, func(x *Axis) bool {
			return slices.ContainsFunc(x.Atoms(), func(at *Axis) bool {
				s := a.spaceOf[at]
				return s != nil && !s.Frozen
			})
		}) {
			free += n
		}
	}
	if total == 0 {
		return 0
	}
	return float64(free) / float64(total)
}

// Producer labels of a space, for messages.
func (u Use) String() string {
	return fmt.Sprintf("%s of %q (%s)", u.Role, u.Tensor, onnxio.Label(u.Node))
}
