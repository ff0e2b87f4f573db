package coupling

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Role says what a weight's axis does to a space.
type Role uint8

const (
	// Produced: the axis is the output of a linear operator's weight.
	Produced Role = iota + 1
	// Carried: the axis moves along with the channels (bias, scale, statistics).
	Carried
	// Consumed: the axis is summed over by a linear operator.
	Consumed
	// private: the axis belongs to the weight alone (kernel taps).
	private
)

func (r Role) String() string {
	return [...]string{"none", "produced", "carried", "consumed", "private"}[min(r, private)]
}

// MarshalText makes roles readable in JSON.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// record notes the role of an axis of a constant at one node.
type record struct {
	node *onnxpb.NodeProto
	in   *value
	axis int // of in; -1 when the rule does not know it
	term *Axis
	role Role
}

// A place is one axis of one input of a call.
type place struct{ in, axis int }

// A call is one node being analysed: what a rule sees of it.
type call struct {
	an    *analyzer
	node  *onnxpb.NodeProto
	in    []*value // nil where an optional input is absent
	op    *op
	opset int64
	// claimed inputs are shape arguments that the rule follows itself.
	claimed map[int]bool
	// sizes are those of letters, as far as attributes and constants say them.
	sizes sizeMap
	// runs are the sizes of runs of axes that only the output has.
	runs map[string][]int
	// sizeRefs are attributes that hold sizes: for each element the letters whose product it is
	// (Conv's group: "g").
	sizeRefs map[string][]string
	// indexed lists pairs of letters (g, i), on axes of their own, of which the first selects the
	// plan of the second, as in (g: i).
	indexed [][2]string
	// heads are letters that count attention heads.
	heads []string
	// stiff says of letters why their sizes must stay.
	stiff map[string]string
	// moving says that the sizes of a run of axes that only the output has follow some that may be
	// other ones when the model runs.
	moving bool
}

func (c *call) input(i int) *value {
	if i >= 0 && i < len(c.in) {
		return c.in[i]
	}
	return nil
}

// errorf is an error that names the node.
func (c *call) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", c.label(), fmt.Errorf(format, args...))
}

// position is the axis, of so many, that a possibly negative number means.
func (c *call) position(axis int64, rank int) (int, error) {
	k := normAxis(axis, rank)
	if k < 0 {
		return 0, c.errorf("axis %d is out of range", axis)
	}
	return k, nil
}

// positions does so for several.
func (c *call) positions(axes []int64, rank int) ([]int, error) {
	out := make([]int, len(axes))
	for i, a := range axes {
		var err error
		if out[i], err = c.position(a, rank); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ints reads a list of integers that a node has as an input, or, as in older operator sets, as an
// attribute; ref says where it stands. The list is nil where neither is given; known is false where
// it is computed when the model runs.
func (c *call) ints(input int, attr string) (list []int64, ref ShapeRef, known bool) {
	if v := c.input(input); v != nil {
		if list, known = v.knownInts(); known {
			c.claim(input)
		}
		return list, ShapeRef{Node: c.node, Input: input}, known
	}
	if a := onnxio.Attr(c.node, attr); a != nil {
		list = append([]int64{}, a.GetInts()...)
	}
	return list, ShapeRef{Node: c.node, Input: -1, Attr: attr}, true
}

func (c *call) attrInt(name string, def int64) int64 { return onnxio.AttrInt(c.node, name, def) }

func (c *call) attrInts(name string) []int64 { return onnxio.AttrInts(c.node, name) }

// claim says that the rule accounts for input i by itself: the input holds shape arguments that are
// rewritten after an edit, or is passed on.
func (c *call) claim(i int) {
	if c.claimed == nil {
		c.claimed = map[int]bool{}
	}
	c.claimed[i] = true
}

// note keeps stored shapes that follow widths. One that was computed from sizes when the model ran
// has to be written where any of these changes.
func (c *call) note(refs ...ShapeRef) {
	for _, r := range refs {
		if v := c.input(r.Input); v != nil {
			r.follows = v.follows
		}
		c.an.refs = append(c.an.refs, r)
	}
}

func (c *call) label() string { return onnxio.Label(c.node) }

// freeze freezes all axes of a value on account of this node.
func (c *call) freeze(v *value, why string) {
	if v == nil {
		return
	}
	for _, a := range v.axes {
		a.freeze(c.label() + " " + why)
	}
}

// made is a new axis, of a size or of -1.
func (c *call) made(size int) *Axis { return c.an.sys.frozen(size, "made by "+c.label()) }

// replace makes an axis out of positions of another one, which is frozen.
func (c *call) replace(a *Axis, size int, why string) *Axis {
	c.freezeAxis(a, why)
	x := c.made(size)
	x.atom.common = a.anchored()
	return x
}

// freezeAxis freezes one axis on account of this node.
func (c *call) freezeAxis(a *Axis, why string) { a.freeze(c.label() + " " + why) }

// join makes two axes one, or freezes both where they have no common refinement.
func (c *call) join(a, b *Axis) {
	if err := c.an.sys.join(a, b); err != nil {
		c.freezeAxis(a, "joins axes without common boundaries: "+err.Error())
		c.freezeAxis(b, "joins axes without common boundaries: "+err.Error())
	}
}

// binding is what the letters of one axis expression stand for.
type binding struct {
	axis map[string]*Axis
	rest map[string][]*Axis
}

// axes applies an axis expression to the call: it joins the inputs' axes as the letters say, builds
// the outputs, and derives every letter's role.
func (c *call) axes(expr string) ([]*value, error) {
	p, err := parsePattern(expr)
	if err != nil {
		return nil, err
	}
	b := binding{axis: map[string]*Axis{}, rest: map[string][]*Axis{}}
	var indexed []axisPattern
	for i, pat := range p.in {
		v := c.input(i)
		if v == nil {
			continue
		}
		if !v.ranked {
			return nil, errUnranked
		}
		if err := c.bindInput(&b, pat, v); err != nil {
			return nil, err
		}
		indexed = append(indexed, pat...)
	}
	outs := make([]*value, 0, len(p.out))
	for _, pat := range p.out {
		var axes []*Axis
		for _, a := range pat {
			axes = append(axes, c.build(&b, a)...)
		}
		indexed = append(indexed, pat...)
		outs = append(outs, c.output(axes))
	}
	c.markIndexed(&b, indexed)
	c.noteSizes(&b)
	if c.anyLive() { // else arithmetic on weights: no activation, no roles
		c.roles(p, &b)
	}
	return outs, nil
}

// noteSizes notes the attributes that follow the sizes of letters.
func (c *call) noteSizes(b *binding) {
	for _, attr := range slices.Sorted(maps.Keys(c.sizeRefs)) {
		if onnxio.Attr(c.node, attr) == nil {
			continue // left to its default
		}
		ref := ShapeRef{Node: c.node, Input: -1, Attr: attr}
		for _, letters := range c.sizeRefs[attr] {
			var factors []*Axis
			for _, l := range strings.Fields(letters) {
				factors = append(factors, b.axis[l])
			}
			ref.Elems = append(ref.Elems, sizeElem(c.an.sys.prod(factors...)))
		}
		c.note(ref)
	}
}

func (c *call) anyLive() bool { return slices.ContainsFunc(c.in, (*value).live) }

// output is a tensor of the given axes, constant or live after the inputs. A constant remembers
// what it is made of, which is not the shapes, axes and bounds that the rule has claimed.
func (c *call) output(axes []*Axis) *value {
	o := &value{ranked: true, axes: slices.Clone(axes), konst: !c.anyLive()}
	for i, v := range c.in {
		if o.konst && v != nil && !c.claimed[i] {
			o.roots = appendNew(o.roots, v.roots...)
		}
	}
	return o
}

// appendNew appends what is not there yet.
func appendNew[T comparable](list []T, more ...T) []T {
	for _, x := range more {
		if !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	return list
}

// A refusal is a rule's reason not to follow a node, in words that go behind its name: whatever the
// node touches is frozen.
type refusal string

func (r refusal) Error() string { return string(r) }

// errUnranked says that the rank of an input, or something else that a rule needs, is not known.
const errUnranked = refusal("has inputs whose shape is not known")

// has gives an activation whose rank is not known the rank that the operator demands (a Gemm reads
// two axes), and axis 1 the size that its weight has. What these axes are made of stays unknown, so
// that they are frozen. It reports whether the rank is known then.
func (c *call) has(v *value, rank, channels int) bool {
	if v.ranked || !v.live() {
		return v.ranked
	}
	v.ranked = true
	for k := range rank {
		size := -1
		if k == 1 {
			size = channels
		}
		v.axes = append(v.axes, c.an.sys.loose(size, c.label()+" reads it, and its shape is not known"))
	}
	return true
}

// bindInput matches one input's axes with its pattern.
func (c *call) bindInput(b *binding, pat []axisPattern, v *value) error {
	rest := runIn(pat)
	fixed := len(pat)
	if rest >= 0 {
		fixed--
	}
	n := v.rank() - fixed
	if n < 0 || rest < 0 && n != 0 {
		return c.errorf("%q has %d axes, want %d", v.name, v.rank(), fixed)
	}
	for i, a := range pat {
		var err error
		if i == rest {
			err = c.bindRun(b, a.name, v.axes[i:i+n], v)
		} else {
			err = c.bindAxis(b, a, v.axes[axisOf(pat, i, v.rank())], v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runIn is where a pattern has a run of axes; -1 where it has none.
func runIn(pat []axisPattern) int {
	return slices.IndexFunc(pat, func(a axisPattern) bool { return a.op == patRest })
}

func (c *call) bindRun(b *binding, name string, run []*Axis, v *value) error {
	old, ok := b.rest[name]
	if !ok {
		b.rest[name] = run
		return nil
	}
	if len(old) != len(run) {
		return c.errorf("%q has %d axes, want %d", v.name, v.rank(), v.rank()-len(run)+len(old))
	}
	for i := range run {
		c.join(old[i], run[i])
	}
	return nil
}

func (c *call) bindAxis(b *binding, a axisPattern, x *Axis, v *value) error {
	if a.op == patName && b.axis[a.name] == nil {
		if want, ok := c.sizes[a.name]; ok && x.Size() >= 0 && want != x.Size() {
			return c.errorf("%q has %d channels, want %d", v.name, x.Size(), want)
		}
		b.axis[a.name] = x
		if isFixed(a.name) {
			x.freeze("a fixed factor")
		}
		return nil
	}
	t, err := c.term(b, a, x.Size())
	if err != nil {
		return c.errorf("%q: %w", v.name, err)
	}
	if nt, nx := t.Size(), x.Size(); nt >= 0 && nx >= 0 && nt != nx {
		return c.errorf("%q has %d channels, want %d", v.name, nx, nt)
	}
	c.join(t, x)
	return nil
}

// term builds the axis that a pattern describes, given the size of the whole (-1 when not known): a
// letter seen for the first time gets an atom.
func (c *call) term(b *binding, a axisPattern, size int) (*Axis, error) {
	switch a.op {
	case patName:
		if t := b.axis[a.name]; t != nil {
			return t, nil
		}
		if n, ok := c.sizes[a.name]; ok {
			size = n
		}
		t := c.an.sys.atom(size)
		if b.axis[a.name] = t; isFixed(a.name) {
			t.freeze("a fixed factor")
		}
		return t, nil
	case patNumber:
		return c.an.sys.frozen(a.size, "a fixed factor"), nil
	case patProd, patIndexed, patSum:
		sizes, err := c.partSizes(b, a, size)
		if err != nil {
			return nil, err
		}
		kids := make([]*Axis, len(a.parts))
		for i, part := range a.parts {
			if kids[i], err = c.term(b, part, sizes[i]); err != nil {
				return nil, err
			}
		}
		if a.op == patSum {
			return c.an.sys.sum(kids...), nil
		}
		return c.an.sys.prod(kids...), nil
	}
	return nil, errors.New("a run of axes stands inside an axis")
}

// partSizes are the sizes of a compound's parts, of which that of the whole may tell one.
func (c *call) partSizes(b *binding, a axisPattern, whole int) ([]int, error) {
	sizes := make([]int, len(a.parts))
	missing := -1
	for i, part := range a.parts {
		if sizes[i] = c.sizeOf(b, part); sizes[i] >= 0 {
			continue
		}
		if missing >= 0 {
			return nil, errors.New("its size does not say how it is made up")
		}
		missing = i
	}
	if missing < 0 || whole < 0 {
		return sizes, nil
	}
	known := total(a.kind(), slices.Delete(slices.Clone(sizes), missing, missing+1))
	switch {
	case known < 0:
		return nil, errParts
	case a.op == patSum:
		sizes[missing] = whole - known
	case known > 0 && whole%known == 0:
		sizes[missing] = whole / known
	default:
		return nil, fmt.Errorf("%d channels do not divide into blocks of %d", whole, known)
	}
	return sizes, nil
}

// isFixed reports whether a letter is a capital: a size bound to an attribute (directions, blocks),
// never a space.
func isFixed(name string) bool { return unicode.IsUpper(rune(name[0])) }

// sizeOf is the size of a pattern as far as the binding knows it, or -1.
func (c *call) sizeOf(b *binding, a axisPattern) int {
	switch a.op {
	case patNumber:
		return a.size
	case patName:
		if t := b.axis[a.name]; t != nil {
			return t.Size()
		}
		if n, ok := c.sizes[a.name]; ok {
			return n
		}
	case patProd, patIndexed, patSum:
		sizes := make([]int, len(a.parts))
		for i, part := range a.parts {
			sizes[i] = c.sizeOf(b, part)
		}
		return total(a.kind(), sizes)
	}
	return -1
}

// build makes the output axes for one pattern; letters that no input has become new frozen axes.
func (c *call) build(b *binding, a axisPattern) []*Axis {
	if a.op == patRest {
		if run, ok := b.rest[a.name]; ok {
			return run
		}
		run := make([]*Axis, len(c.runs[a.name]))
		for i, n := range c.runs[a.name] {
			run[i] = c.made(n)
			run[i].atom.open = c.moving
		}
		b.rest[a.name] = run
		return run
	}
	if a.op == patName && b.axis[a.name] == nil {
		n, ok := c.sizes[a.name]
		if !ok {
			n = -1
		}
		b.axis[a.name] = c.made(n)
	}
	t, err := c.term(b, a, -1)
	if err != nil { // only sizes can be missing here: a frozen axis stands in
		t = c.an.sys.frozen(-1, c.label()+": "+err.Error())
	}
	return []*Axis{t}
}

// markIndexed notes the index factors that (g: i) names.
func (c *call) markIndexed(b *binding, pats []axisPattern) {
	for _, a := range pats {
		if a.op == patIndexed {
			c.markIndex(b.axis[a.parts[0].name], b.axis[a.parts[1].name])
		}
	}
	for _, p := range c.indexed {
		c.markIndex(b.axis[p[0]], b.axis[p[1]])
	}
	for _, h := range c.heads {
		b.axis[h].flag(heads)
	}
	for letter, why := range c.stiff {
		b.axis[letter].stiffen(c.label() + " " + why)
	}
}

// markIndex notes that g selects the plan of i.
func (c *call) markIndex(g, i *Axis) {
	if g == nil || i == nil || g.Size() == 1 || i.Size() == 0 || i.Size() == 1 {
		return // g may be an unknown batch with heads inside, i channels beside positions
	}
	for x := range i.atoms() {
		x.index(g)
	}
}

// roles derives every letter's role from where it stands (see "Roles" in the package's
// documentation) and records it for the weights.
func (c *call) roles(p *pattern, b *binding) {
	at := standing{of: map[string]*places{}}
	for i, pat := range p.in {
		v := c.input(i)
		if v == nil {
			continue
		}
		at.visit(pat, func(letter axisPattern, k int) {
			here := place{i, axisOf(pat, k, v.rank())}
			switch pl := at.of[letter.name]; {
			case v.live():
				pl.live = appendNew(pl.live, here)
			case letter.prime:
				pl.primed = appendNew(pl.primed, here)
			default:
				pl.weights = appendNew(pl.weights, here)
			}
		})
	}
	for _, pat := range p.out {
		at.visit(pat, func(letter axisPattern, _ int) { at.of[letter.name].out = true })
	}
	c.blends(b, at)
	for _, name := range at.order {
		if !isFixed(name) { // else never a space
			c.role(b.terms(name), at.of[name])
		}
	}
}

// role applies and records the role of a letter.
func (c *call) role(terms []*Axis, pl *places) {
	if len(pl.primed) > 0 {
		// What enters as a state is made anew by the weights.
		pl.live = nil
	}
	acts := c.op.acts
	if len(pl.live) > 0 && len(pl.weights) > 0 && pl.out {
		acts |= perChannel
	}
	for _, t := range terms {
		c.letter(t, pl, acts)
		for _, i := range pl.primed {
			c.an.records = append(c.an.records, record{c.node, c.in[i.in], i.axis, t, Consumed})
		}
	}
}

// axisOf is the axis that the k-th part of a pattern means, in a tensor of some rank: -1 for a run
// of axes, further back behind it.
func axisOf(pat []axisPattern, k, rank int) int {
	switch rest := runIn(pat); {
	case rest < 0 || k < rest:
		return k
	case k == rest:
		return -1
	}
	return k + rank - len(pat)
}

// places says where a letter stands.
type places struct {
	live, weights []place
	primed        []place // weights that consume what they make elsewhere
	out           bool
	mix           byte
}

// standing says where all letters stand, in the order of their first places.
type standing struct {
	of    map[string]*places
	order []string
}

// visit looks at the letters of a tensor's axes.
func (s *standing) visit(pat []axisPattern, f func(letter axisPattern, axis int)) {
	for k, a := range pat {
		a.names(func(letter axisPattern) {
			pl := s.of[letter.name]
			if pl == nil {
				pl = &places{}
				s.of[letter.name] = pl
				s.order = append(s.order, letter.name)
			}
			if letter.mix != 0 {
				pl.mix = letter.mix
			}
			f(letter, k)
		})
	}
}

// terms are the axes that a letter stands for.
func (b *binding) terms(name string) []*Axis {
	if t := b.axis[name]; t != nil {
		return []*Axis{t}
	}
	return b.rest[name]
}

// blends notes that channels which are only taken together, in any order, may be in an order of
// their own for every position of the other axes: those of each group of a GroupNormalization that
// is made of reshapes.
func (c *call) blends(b *binding, at standing) {
	mixed := func(l string) bool { return at.of[l].mix == '{' }
	plain := func(l string) bool { return at.of[l].mix == 0 }
	for _, i := range b.all(at.order, mixed) {
		for _, g := range b.all(at.order, plain) {
			c.markIndex(g, i)
		}
	}
}

// all are the axes of some letters.
func (b *binding) all(letters []string, of func(letter string) bool) (out []*Axis) {
	for _, l := range letters {
		if of(l) {
			out = append(out, b.terms(l)...)
		}
	}
	return out
}

// flag notes what the node does to channels that pass along an axis.
func (c *call) flag(t *Axis, acts flags) {
	t.flag(acts)
	if acts&nonlinear != 0 {
		c.an.bends = append(c.an.bends, bend{c.node, t})
	}
}

// letter applies the role of one letter to the axis it stands for.
func (c *call) letter(t *Axis, pl *places, acts flags) {
	live, weights := pl.live, pl.weights
	note := func(p place, r Role) {
		c.an.records = append(c.an.records, record{c.node, c.in[p.in], p.axis, t, r})
	}
	switch {
	case len(live) > 0 && pl.out: // passes, is carried, or joined
		for _, i := range weights {
			note(i, Carried)
		}
		c.flag(t, acts)
	case len(live) == 2:
		c.an.contractions = append(c.an.contractions, contraction{c.node, c.in[live[0].in].name, c.in[live[1].in].name, t})
		t.flag(contracted)
		for _, i := range weights { // of both sides in one, such as a packed bias
			note(i, Carried)
			t.pair(c.label() + " contracts it with a weight in between")
		}
	case len(live) > 1:
		c.freezeAxis(t, "contracts several tensors over it")
	case len(live) == 1 && len(weights) > 0:
		for _, i := range weights {
			note(i, Consumed)
		}
	case len(live) == 1 && pl.mix == '{': // reduced, in any order
	case len(live) == 1:
		c.freezeAxis(t, "reduces over it")
	case len(weights) > 0 && pl.out:
		c.flag(t, acts)
		note(weights[0], Produced)
		for _, i := range weights[1:] {
			note(i, Carried)
		}
	case len(weights) > 0:
		for _, i := range weights {
			note(i, private)
		}
		t.freeze("private to " + c.label())
		t.anchor()
	default:
		c.freezeAxis(t, "makes it")
	}
	switch pl.mix {
	case '[':
		c.freezeAxis(t, "mixes its channels")
	case '{':
		t.flag(symmetric)
		t.blend(c.label() + " takes all channels together")
	}
}
