package lossless

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A fateKind says what becomes of a channel.
type fateKind uint8

const (
	kept      fateKind = iota
	unread             // every consumer's weights for it are zero, or there is no consumer
	constant           // it does not depend on the input
	duplicate          // another channel is made by the same numbers
)

// A fate is what becomes of one channel; of is the channel (of the same group) that a duplicate is
// merged onto.
type fate struct {
	kind fateKind
	of   int
}

// A verdict holds the fates of all channels of a space. Channels are numbered group·Width + channel
// throughout the lossless pass.
type verdict struct {
	space *coupling.Space
	fate  []fate
	left  map[string]int // reasons why channels that carry nothing stay
	// made and read are the weight axes that make or carry the space, and those that consume it.
	made, read []*strip
	// whole: only all channels together can be judged (see classify).
	whole bool
}

func (v *verdict) keep(id int, why string) {
	v.fate[id] = fate{}
	v.left[why]++
}

// Reasons why channels stay.
const (
	leftOnAxis   = "one channel must stay on the axis"
	leftGroups   = "all groups keep one width"
	leftBlocks   = "the width stays a multiple of what is fast"
	leftPadding  = "constant across zero padding"
	leftNoBias   = "constant, and its reader takes no bias"
	leftComputed = "constant, and its reader's weight or bias is computed"
	leftHalf     = "constant, and its reader's bias is of too low a precision"
	leftHalfSum  = "duplicate, and its readers' weights are of too low a precision to be added"
)

// A pass is one look at all spaces of a model.
type pass struct {
	s        *edit.Subject
	o        Options
	verdicts []*verdict
	of       map[*coupling.Space]*verdict
	values   map[string][]float64 // of weights, as far as they are kept
	held     int                  // numbers in values
	levels   map[row][]level      // of activations; nil: nothing is known
	notes    []string
}

func newPass(s *edit.Subject, o Options) (*pass, error) {
	p := &pass{s: s, o: o, of: map[*coupling.Space]*verdict{}, values: map[string][]float64{}, levels: map[row][]level{}}
	for _, sp := range s.Analysis.Spaces {
		transposed := slices.ContainsFunc(sp.Uses, func(u coupling.Use) bool { return u.Transposed })
		if transposed || !sp.Narrowable() || o.Keep != nil && o.Keep(sp) {
			continue
		}
		v := &verdict{space: sp, fate: make([]fate, sp.Groups*sp.Width), left: map[string]int{}}
		v.whole = slices.ContainsFunc(sp.Pieces, func(a *coupling.Axis) bool { return a.Size() == 1 })
		p.of[sp] = v
	}
	p.guard()
	if err := p.touch(); err != nil {
		return nil, err
	}
	for _, sp := range s.Analysis.Spaces {
		if v := p.of[sp]; v != nil {
			p.verdicts = append(p.verdicts, v)
		}
	}
	return p, nil
}

// guard takes out spaces whose channels may matter to an operator without any weight that says so.
func (p *pass) guard() {
	for _, n := range p.s.Graph.Nodes {
		for _, name := range n.GetInput() {
			if !p.live(name) {
				continue
			}
			for _, sp := range p.spacesIn(name) {
				if !p.accounted(n, sp) {
					delete(p.of, sp)
				}
			}
		}
	}
}

// accounted reports whether a node that reads a space does so with a weight, cuts it, or hands it
// on; a space that ends or is mixed otherwise is not.
func (p *pass) accounted(n *onnxpb.NodeProto, sp *coupling.Space) bool {
	ok := slices.ContainsFunc(sp.Uses, func(u coupling.Use) bool { return u.Node == n && u.Role == coupling.Consumed })
	switch n.GetOpType() {
	case "Slice", "Split", "Gather", "Shape", "Size":
		ok = true
	case "InstanceNormalization":
		if p.alongPositions(n.GetInput(), sp) {
			return false
		}
	}
	for _, name := range n.GetOutput() {
		if !p.live(name) {
			continue
		}
		if _, known := p.s.Analysis.Activations[name]; !known {
			return false
		}
		ok = ok || p.runsAlong(name, sp)
	}
	return ok
}

// alongPositions reports whether a space runs along an axis behind samples and channels.
func (p *pass) alongPositions(tensors []string, sp *coupling.Space) bool {
	return slices.ContainsFunc(tensors, func(name string) bool {
		axes := p.s.Analysis.Activations[name]
		return slices.Contains(p.spacesOn(axes[min(2, len(axes)):]...), sp)
	})
}

// live reports whether a tensor is an activation.
func (p *pass) live(name string) bool {
	_, constant := p.s.Analysis.Roots[name]
	return name != "" && !constant
}

// spacesIn lists the judged spaces that run along an activation.
func (p *pass) spacesIn(tensor string) []*coupling.Space {
	return p.spacesOn(p.s.Analysis.Activations[tensor]...)
}

func (p *pass) spacesOn(axes ...*coupling.Axis) []*coupling.Space {
	var out []*coupling.Space
	for _, a := range axes {
		for _, x := range a.Atoms() {
			if sp := p.s.Analysis.SpaceOf(x); sp != nil && p.of[sp] != nil && !slices.Contains(out, sp) {
				out = append(out, sp)
			}
		}
	}
	return out
}

// runsAlong reports whether a space runs along an activation, or a constant that a tensor is made
// of.
func (p *pass) runsAlong(tensor string, sp *coupling.Space) bool {
	if p.live(tensor) {
		return slices.Contains(p.spacesIn(tensor), sp)
	}
	return slices.ContainsFunc(p.s.Analysis.Roots[tensor], func(root string) bool {
		w := p.s.Analysis.Weights[root]
		return w != nil && slices.Contains(p.spacesOn(w.Axes...), sp)
	})
}

// touch finds every weight axis along which a judged space runs. A space whose channels cannot be
// told apart in some weight, or with a weight that holds a NaN or an infinity, is not judged.
func (p *pass) touch() error {
	an := p.s.Analysis
	for _, name := range slices.Sorted(maps.Keys(an.Weights)) {
		for k, a := range an.Weights[name].Axes {
			for _, sp := range p.spacesOn(a) {
				if err := p.touchAxis(an.Weights[name], k, sp); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// touchAxis looks at one axis of a weight.
func (p *pass) touchAxis(w *coupling.Weight, axis int, sp *coupling.Space) error {
	data, err := p.floats(w.Name)
	if err != nil {
		return err
	}
	v := p.of[sp]
	st, ok := newStrip(w, axis, sp)
	ok = ok && onnxio.IsFloat(w.Type) // the zero of a quantised weight is elsewhere
	if !ok && !v.whole || slices.ContainsFunc(data, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }) {
		delete(p.of, sp)
		return nil
	}
	if ok {
		st.look(data)
	}
	consumed := slices.ContainsFunc(sp.Uses, func(u coupling.Use) bool {
		return u.Tensor == w.Name && u.Axis == axis && u.Role == coupling.Consumed
	})
	if consumed {
		v.read = append(v.read, st)
	} else {
		v.made = append(v.made, st)
	}
	return nil
}

// cached is how many numbers of weights are kept between one look and the next; a model may be
// larger than memory, and its weights are read again then.
const cached = 8 << 20

// floats returns a constant's values.
func (p *pass) floats(name string) ([]float64, error) {
	if v, ok := p.values[name]; ok {
		return v, nil
	}
	t, err := p.s.Model.Tensor(p.s.Graph.Constant(name))
	if err != nil {
		return nil, err
	}
	v := t.Float64()
	if p.held += len(v); p.held <= cached {
		p.values[name] = v
	} else {
		p.held -= len(v)
	}
	return v, nil
}

// classify decides the fate of every channel.
func (p *pass) classify() error {
	if err := p.propagate(); err != nil {
		return err
	}
	for _, v := range p.verdicts {
		v.findUnread()
	}
	p.findConstants()
	for _, v := range p.verdicts {
		if !v.whole && !p.opaque(v.space) {
			if err := p.findDuplicates(v); err != nil {
				return err
			}
		}
		v.equalise(channels.Multiple(v.space, p.o.Multiple))
	}
	p.keepAxes()
	return nil
}

func (v *verdict) findUnread() {
	if v.whole && len(v.read) > 0 {
		return
	}
	for id := range v.fate {
		if !slices.ContainsFunc(v.read, func(st *strip) bool { return st.holds[id].nonzero }) {
			v.fate[id].kind = unread
		}
	}
}

// findDuplicates compares all numbers that make or carry each channel, bit by bit. Channels of
// different pieces may differ in what no weight says (a pad of zeros), so they are not compared.
func (p *pass) findDuplicates(v *verdict) error {
	if slices.ContainsFunc(v.space.Uses, func(u coupling.Use) bool { return u.Role == coupling.Produced && p.s.Analysis.Weights[u.Tensor] == nil }) {
		return nil
	}
	numbers := make([][]byte, len(v.fate))
	for _, st := range v.made {
		data, err := p.floats(st.weight.Name)
		if err != nil {
			return err
		}
		for id, e := range st.holds {
			numbers[id] = slices.Grow(numbers[id], 8*e.n)
		}
		st.each(func(e, id int) {
			numbers[id] = binary.LittleEndian.AppendUint64(numbers[id], math.Float64bits(data[e]))
		})
	}
	half := slices.ContainsFunc(v.read, func(st *strip) bool { return !precise(st.weight.Type) })
	type class struct {
		group, piece int
		numbers      string
	}
	first := map[class]int{}
	for id, f := range v.fate {
		if f.kind != kept {
			continue
		}
		c := class{id / v.space.Width, v.pieceOf(id), string(numbers[id])}
		switch of, found := first[c]; {
		case !found:
			first[c] = id
		case half:
			v.keep(id, leftHalfSum)
		default:
			v.fate[id] = fate{duplicate, of}
		}
	}
	return nil
}

// precise reports whether sums stored in a type keep seven digits.
func precise(t onnxpb.TensorProto_DataType) bool { return t == onnxio.Float || t == onnxio.Double }

func (v *verdict) pieceOf(id int) int {
	c := id % v.space.Width
	for i, a := range v.space.Pieces {
		if c < a.Size() {
			return i
		}
		c -= a.Size()
	}
	return -1
}

// opaque reports whether an operator combines the space with a constant whose values this package
// does not see, such as a Range: channels that look equal may then differ.
func (p *pass) opaque(sp *coupling.Space) bool {
	for _, n := range p.s.Graph.Nodes {
		if !combines(n) || !slices.ContainsFunc(n.GetOutput(), func(o string) bool { return p.runsAlong(o, sp) }) {
			continue
		}
		for _, in := range n.GetInput() {
			_, isConstant := p.s.Analysis.Roots[in]
			seen := p.s.Analysis.Weights[in] != nil || p.runsAlong(in, sp)
			if isConstant && !seen {
				return true
			}
		}
	}
	return false
}

// combines reports whether an operator computes with constants along the channels.
func combines(n *onnxpb.NodeProto) bool {
	switch onnxio.StandardOp(n) {
	case "Concat", "BatchNormalization", "InstanceNormalization", "LayerNormalization":
		return true
	}
	return onnxio.FactsOf(n).Has(onnxio.Broadcasts)
}

// equalise gives all groups the width of the widest, rounded up to a multiple.
func (v *verdict) equalise(multiple int) {
	removed := make([]int, v.space.Groups)
	for id, f := range v.fate {
		if f.kind != kept {
			removed[id/v.space.Width]++
		}
	}
	fewest := slices.Min(removed)
	most := v.space.Width - min((v.space.Width-fewest+multiple-1)/multiple*multiple, v.space.Width)
	for g, r := range removed {
		for id := (g+1)*v.space.Width - 1; r > most; id-- {
			if v.fate[id].kind == kept {
				continue
			}
			why := leftGroups
			if r <= fewest {
				why = leftBlocks
			}
			v.keep(id, why)
			r--
		}
	}
}

// keepAxes gives channels back where an axis of some tensor would vanish.
func (p *pass) keepAxes() {
	an := p.s.Analysis
	w := coupling.Widths{}
	for _, v := range p.verdicts {
		v.widths(w)
	}
	var axes []*coupling.Axis
	for _, name := range slices.Sorted(maps.Keys(an.Weights)) {
		axes = append(axes, an.Weights[name].Axes...)
	}
	for _, name := range slices.Sorted(maps.Keys(an.Activations)) {
		axes = append(axes, an.Activations[name]...)
	}
	for _, a := range axes {
		for a.Size() > 0 && w.Size(a) == 0 {
			for _, x := range a.Atoms() {
				v := p.of[an.SpaceOf(x)]
				if n, ok := w[x]; v == nil || !ok || n > 0 {
					continue
				}
				v.giveBack(x)
				v.widths(w)
				break
			}
		}
	}
}

// giveBack keeps the first channel of a piece in every group.
func (v *verdict) giveBack(piece *coupling.Axis) {
	at := 0
	for _, a := range v.space.Pieces {
		if a.Canonical() == piece.Canonical() {
			break
		}
		at += a.Size()
	}
	for g := range v.space.Groups {
		v.keep(g*v.space.Width+at, leftOnAxis)
	}
}

// widths enters the new sizes of the space's pieces, which all groups share.
func (v *verdict) widths(w coupling.Widths) {
	for i, n := range v.pieces() {
		w[v.space.Pieces[i].Canonical()] = n
	}
}

func (v *verdict) pieces() []int {
	out := make([]int, len(v.space.Pieces))
	for id, f := range v.fate[:v.space.Width] {
		if f.kind == kept {
			out[v.pieceOf(id)]++
		}
	}
	return out
}

// newMap is the map that carries the fates out; nil where nothing changes. Dropped channels have no
// place in it, and consumers add up what they read of duplicates.
func (v *verdict) newMap() *edit.Map {
	m := &edit.Map{Pieces: v.pieces()}
	changed := false
	for g := range v.space.Groups {
		var t edit.Transfer
		row := make([]int, v.space.Width)
		from := g * v.space.Width
		for c, f := range v.fate[from:][:v.space.Width] {
			switch f.kind {
			case kept:
				row[c] = len(t.In)
				t.In = append(t.In, []edit.Entry{{Col: c, Val: 1}})
				t.OutT = append(t.OutT, []edit.Entry{{Col: c, Val: 1}})
				continue
			case duplicate:
				r := row[f.of-from]
				t.OutT[r] = append(t.OutT[r], edit.Entry{Col: c, Val: 1})
			}
			changed = true
		}
		m.Groups = append(m.Groups, t)
	}
	if !changed {
		return nil
	}
	return m
}

// edit carries the fates out. Where all spaces together cannot be edited, those that can are, and
// the others are reported.
func (p *pass) edit() (edit.Maps, *onnxio.Model, error) {
	maps := edit.Maps{}
	for _, v := range p.verdicts {
		if m := v.newMap(); m != nil {
			maps[v.space] = m
		}
	}
	if len(maps) == 0 {
		return nil, nil, nil
	}
	out, err := edit.Edit(p.s, maps)
	if err == nil {
		return maps, out, nil
	}
	some := edit.Maps{}
	var model *onnxio.Model
	for _, v := range p.verdicts {
		if maps[v.space] == nil {
			continue
		}
		some[v.space] = maps[v.space]
		next, err := edit.Edit(p.s, some)
		if err == nil {
			model = next
			continue
		}
		delete(some, v.space)
		p.notes = append(p.notes, fmt.Sprintf("space %q stays: %v", v.space.Name, err))
	}
	return some, model, nil
}

// left lists what could not be removed.
func (p *pass) left() []Left {
	out := []Left{}
	for _, v := range p.verdicts {
		for _, why := range slices.Sorted(maps.Keys(v.left)) {
			out = append(out, Left{Space: v.space.Name, Channels: v.left[why], Reason: why})
		}
	}
	return out
}
