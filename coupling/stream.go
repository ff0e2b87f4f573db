package coupling

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Stream says how a residual stream may be narrowed over whose channels normalisations take
// statistics. Where all operators on it treat its channels alike, a matrix P with orthonormal rows
// may act on it: in k coordinates of n the mean square of √(k/n)·P·x is that of x, as far as x lies
// in the rows of P, whatever the normalisation divides by (computational invariance; Ashkboos et
// al., SliceGPT, 2024). A normalisation that takes off the mean commutes with a P that leads the
// vector of ones to that of ones. Where no such matrix may act, some of the channels can be kept,
// and the normalisations refitted.
type Stream struct {
	// Bent says why nothing but permutations of the channels is exact; "" where rotations are.
	Bent string
	// Skewed says of a stream that would not be bent otherwise which scales act on the stream
	// itself, as in a post-norm transformer. A rotation is exact but for how far these are from
	// uniform.
	Skewed string
	// Centred: P has to keep the mean of the channels.
	Centred bool
	// Scales are what normalisations multiply their channels by. Those of which not all numbers are
	// alike are foldings that have to be carried out before P may act (edit.FoldScales).
	Scales []*NormScale
}

// A NormScale is what a normalisation multiplies its channels by, and what it adds.
type NormScale struct {
	// Weight is the constant.
	Weight string
	// Scale is where a node reads it, Shifts where nodes add others; none where nothing is added.
	Scale  Place
	Shifts []Place
	// Uniform: all numbers of the weight are alike.
	Uniform bool
	// Readers are the linear operators that read the scaled channels.
	Readers []Use

	// joins is the first node that does anything else with the scaled channels than to read them.
	joins *onnxpb.NodeProto
	// sums: a sum over positions lies before a reader, so that the shift would have to be counted.
	sums bool
}

// A Place is an input of a node.
type Place struct {
	Node  *onnxpb.NodeProto
	Input int
}

// Folds reports whether readers have to take the scale, or the shift, in.
func (n *NormScale) Folds() bool { return n.joins == nil && (!n.Uniform || len(n.Shifts) > 0) }

// Rotates reports whether a matrix with orthonormal rows may act on the stream as the model is,
// exactly, or, where the stream is skewed, nearly.
func (s *Stream) Rotates() bool {
	return s != nil && s.Bent == "" && !slices.ContainsFunc(s.Scales, func(n *NormScale) bool { return !n.Uniform && n.joins == nil })
}

// streams finds out how normalised streams may be narrowed: residual ones, and others that may be
// rotated. For a rotation, what a weight makes the channels on has to be an axis of its own: where
// groups of the channels are read by themselves, as by a convolution of positions, as many are kept
// of each group.
func (g *gathering) streams() {
	for _, s := range g.a.Spaces {
		if !s.Normalised || s.Heads {
			continue
		}
		stream := &Stream{Bent: "its channels stand beside others on one axis"}
		if s.Index == nil && !slices.ContainsFunc(s.Producers(), func(u Use) bool { return !g.a.Weights[u.Tensor].Axes[u.Axis].IsAtom() }) {
			stream = g.stream(s)
		}
		if s.Residual || stream.Bent == "" && stream.Skewed == "" {
			s.Stream = stream
		}
	}
	for _, s := range g.a.Spaces {
		beside := func(t *Space) bool { return t.Narrowable() || t.Stream != nil && t.Width > s.Width }
		if s.Stream != nil && slices.ContainsFunc(g.factors(s), beside) {
			s.Stream = nil // a ratio is meant once
		}
	}
}

// factors are the other spaces on the axes on which weights make the channels of one.
func (g *gathering) factors(s *Space) (out []*Space) {
	for _, u := range s.Producers() {
		for x := range g.a.Weights[u.Tensor].Axes[u.Axis].atoms() {
			if t := g.a.spaceOf[x]; t != nil && t != s {
				out = appendNew(out, t)
			}
		}
	}
	return out
}

// vectors follows the channels of a stream from operator to operator.
type vectors struct {
	*gathering
	atom   *Axis
	space  *Space
	stream *Stream
	state  map[string]vector
}

// A vector says what a tensor that holds the stream's channels is to a matrix that acts on them.
type vector struct {
	squared bool // each channel of a vector, squared
	// scaled is what a normalisation has multiplied the vector by, as long as nothing but what
	// treats all channels alike lies behind it; nil where there is none.
	scaled *NormScale
}

func (g *gathering) stream(s *Space) *Stream {
	w := &vectors{gathering: g, space: s, stream: &Stream{}, state: map[string]vector{}}
	switch {
	case len(s.Pieces) != 1:
		return &Stream{Bent: "its channels stand in several places"}
	case s.Paired:
		return &Stream{Bent: s.Rigid}
	case s.Pieces[0].find().atom.flags&contracted != 0:
		return &Stream{Bent: "two activations are contracted over it"}
	}
	w.atom = s.Pieces[0].find()
	for _, n := range g.graph.Nodes {
		if why := w.node(n); why != "" {
			return &Stream{Bent: onnxio.Label(n) + " " + why}
		}
	}
	w.settle()
	return w.stream
}

// settle decides about the scales that were met: which readers take in, and which cannot be folded.
func (w *vectors) settle() {
	for _, n := range w.stream.Scales {
		switch {
		case n.joins != nil || n.Uniform && n.sums: // the shift is a constant of the stream
			n.Shifts = nil
			if !n.Uniform {
				w.stream.Skewed = cmp.Or(w.stream.Skewed, fmt.Sprintf("%s scales each channel by a number of its own on the way of %s", onnxio.Label(n.Scale.Node), onnxio.Label(n.joins)))
			}
		case n.sums && len(n.Shifts) > 0:
			w.stream.Bent = onnxio.Label(n.Scale.Node) + " shifts channels that are summed up"
		}
	}
}

// An operand is an input of a node as the stream sees it.
type operand struct {
	*value
	vector
	index int
	holds bool // the channels run along one of its axes
}

func (o operand) isVector() bool { return o.holds && o.live() && !o.squared }

// node follows the channels through an operator; why is not empty where it does not treat all of
// them alike.
func (w *vectors) node(n *onnxpb.NodeProto) (why string) {
	if len(n.GetOutput()) == 0 || !w.made(n) && !w.reads(n) {
		return ""
	}
	var ins []operand
	live := false
	for i, name := range n.GetInput() {
		o := operand{value: w.values[name], index: i}
		if name == "" || o.value == nil {
			continue
		}
		o.vector, o.holds = w.state[name], o.value.holds(w.atom)
		live = live || o.holds && o.live()
		ins = append(ins, o)
	}
	if !live {
		return w.source(n)
	}
	switch op := strings.TrimPrefix(n.GetDomain()+"/"+n.GetOpType(), "/"); strings.TrimPrefix(op, "ai.onnx/") {
	case "LayerNormalization":
		return w.normalise(n, ins, 1, 2, true)
	case "RMSNormalization", "SimplifiedLayerNormalization":
		return w.normalise(n, ins, 1, -1, false)
	case "com.microsoft/SkipLayerNormalization":
		return w.normalise(n, ins, 2, 3, true)
	case "com.microsoft/SkipSimplifiedLayerNormalization":
		return w.normalise(n, ins, 2, -1, false)
	case "Add", "Sub", "Sum":
		return w.add(n, ins)
	case "Mul":
		return w.multiply(n, ins)
	case "Div":
		if len(ins) == 2 && ins[0].isVector() && !ins[1].holds {
			return w.pass(n, w.join(ins[0].scaled, n))
		}
	case "Pow":
		if len(ins) == 2 && ins[0].isVector() && slices.Equal(ins[1].reals, []float64{2}) {
			w.join(ins[0].scaled, n)
			return w.pass(n, vector{squared: true})
		}
	case "ReduceMean":
		return w.mean(n, ins[0])
	case "ReduceSum":
		if ins[0].isVector() && w.made(n) {
			if ins[0].scaled != nil {
				ins[0].scaled.sums = true
			}
			return w.pass(n, ins[0].vector)
		}
	case "GlobalAveragePool":
		return w.pass(n, ins[0].vector)
	case "Shape", "Size":
		return ""
	default:
		return w.others(n, ins)
	}
	return alone
}

// alone says of an operator that it does not treat all channels alike.
const alone = "acts on each of its channels by itself"

// reads reports whether an activation that holds the channels goes into a node.
func (w *vectors) reads(n *onnxpb.NodeProto) bool {
	return slices.ContainsFunc(n.GetInput(), func(name string) bool { return w.live(name) })
}

// made reports whether an activation that holds the channels comes out of it.
func (w *vectors) made(n *onnxpb.NodeProto) bool {
	return slices.ContainsFunc(n.GetOutput(), func(name string) bool { return w.live(name) })
}

func (w *vectors) live(name string) bool {
	v := w.values[name]
	return name != "" && v.live() && v.ranked && v.holds(w.atom)
}

// pass marks what a node makes.
func (w *vectors) pass(n *onnxpb.NodeProto, v vector) string {
	for _, out := range n.GetOutput() {
		if w.live(out) {
			w.state[out] = v
		}
	}
	return ""
}

// join notes that a node does anything else with scaled channels than to read them.
func (w *vectors) join(s *NormScale, n *onnxpb.NodeProto) vector {
	if s != nil && s.joins == nil {
		s.joins = n
	}
	return vector{}
}

// source is a node that makes the channels out of other things.
func (w *vectors) source(n *onnxpb.NodeProto) string {
	op := w.ops[strings.TrimPrefix(n.GetDomain()+"/"+n.GetOpType(), "/")]
	product := n.GetOpType() == "Mul" // of one feature by a row of weights
	additive := op.acts == joined
	if op.acts&(nonlinear|symmetric) != 0 && !product && !additive {
		return alone
	}
	w.stream.Centred = w.stream.Centred || additive
	return w.pass(n, vector{})
}

// normalise is a normalisation in one operator, of the input before the scale: with a skip input,
// of the sum.
func (w *vectors) normalise(n *onnxpb.NodeProto, ins []operand, scale, shift int, centred bool) string {
	w.stream.Centred = w.stream.Centred || centred
	out := vector{}
	for _, o := range ins {
		switch {
		case o.index == scale:
			if !o.holds || !o.konst || len(o.roots) != 1 {
				return "has a scale that is no constant"
			}
			out.scaled = w.scale(n, o)
		case o.index == shift && o.konst && o.holds:
			w.shift(out.scaled, n, o)
		case o.isVector():
			w.join(o.scaled, n)
			if last := o.axes[o.rank()-1]; last.find() != w.atom || onnxio.AttrInt(n, "axis", -1) >= 0 && int(onnxio.AttrInt(n, "axis", -1)) != o.rank()-1 {
				return "normalises more than its channels"
			}
		case o.holds && o.konst && o.index > scale: // a bias before the norm
		default:
			return alone
		}
	}
	for i, name := range n.GetOutput() {
		switch {
		case !w.live(name):
		case i == 0:
			w.state[name] = out
		default:
			w.state[name] = vector{}
		}
	}
	return ""
}

// scale is the NormScale that a node multiplies by.
func (w *vectors) scale(n *onnxpb.NodeProto, by operand) *NormScale {
	s := &NormScale{Weight: by.roots[0], Scale: Place{n, by.index}, Uniform: w.uniform(by.roots[0])}
	w.stream.Scales = append(w.stream.Scales, s)
	return s
}

// uniform reports whether all numbers of a constant are alike.
func (w *vectors) uniform(name string) bool {
	v := w.numbers(name)
	return len(v) > 0 && !slices.ContainsFunc(v, func(x float64) bool { return x != v[0] })
}

// numbers are those of a constant; nil where they cannot be read.
func (w *vectors) numbers(name string) []float64 {
	tp := w.graph.Constant(name)
	if tp == nil {
		return nil
	}
	t, err := w.model.Tensor(tp)
	if err != nil {
		return nil
	}
	return t.Float64()
}

// shift notes a constant that is added to scaled channels, unless it is all zeros.
func (w *vectors) shift(s *NormScale, n *onnxpb.NodeProto, o operand) {
	zero := !slices.ContainsFunc(w.numbers(o.roots[0]), func(x float64) bool { return x != 0 })
	if s != nil && !zero {
		s.Shifts = append(s.Shifts, Place{n, o.index})
	}
}

// add is a sum of vectors, constants along the channels, and numbers that are the same for all of
// them.
func (w *vectors) add(n *onnxpb.NodeProto, ins []operand) string {
	live := 0
	for _, o := range ins {
		switch {
		case o.isVector():
			live++
		case o.holds && o.live():
			return alone
		case !o.holds:
			w.stream.Centred = true
		}
	}
	if len(ins) == 2 && n.GetOpType() == "Add" && live == 1 {
		x, other := ins[0], ins[1]
		if !x.isVector() {
			x, other = other, x
		}
		if other.konst && other.holds && len(other.roots) == 1 && w.graph.Constant(other.name) != nil {
			w.shift(x.scaled, n, other)
			return w.pass(n, x.vector)
		}
	}
	for _, o := range ins {
		w.join(o.scaled, n)
	}
	return w.pass(n, vector{})
}

// multiply is a vector times a number, times itself, or times a constant for each channel.
func (w *vectors) multiply(n *onnxpb.NodeProto, ins []operand) string {
	if len(ins) != 2 {
		return alone
	}
	x, by := ins[0], ins[1]
	if !x.isVector() {
		x, by = by, x
	}
	switch {
	case !x.isVector():
	case !by.holds:
		return w.pass(n, w.join(x.scaled, n))
	case by.isVector() && by.name == x.name:
		w.join(x.scaled, n)
		return w.pass(n, vector{squared: true})
	case by.konst && len(by.roots) == 1:
		w.join(x.scaled, n)
		return w.pass(n, vector{scaled: w.scale(n, by)})
	}
	return alone
}

// mean is a mean over the channels, or over positions.
func (w *vectors) mean(n *onnxpb.NodeProto, x operand) string {
	switch over := !w.made(n); {
	case !x.holds || !x.live():
		return alone
	case x.squared && over:
		return ""
	case x.squared:
		return alone
	case over:
		w.join(x.scaled, n)
		w.stream.Centred = true
		return ""
	}
	return w.pass(n, x.vector)
}

// others are linear operators, and what moves elements.
func (w *vectors) others(n *onnxpb.NodeProto, ins []operand) string {
	op := w.ops[strings.TrimPrefix(n.GetDomain()+"/"+n.GetOpType(), "/")]
	var in []operand
	for _, o := range ins {
		if o.holds && o.live() {
			in = append(in, o)
		}
	}
	if op.moves {
		out := in[0].vector
		if len(in) > 1 || len(ins) > 1 && n.GetOpType() == "Concat" || n.GetOpType() == "Pad" {
			for _, o := range in {
				w.join(o.scaled, n)
				if o.squared {
					return alone
				}
			}
			out = vector{}
		}
		return w.pass(n, out)
	}
	if op.cost == nil || slices.ContainsFunc(in, func(o operand) bool { return o.squared }) {
		return alone
	}
	reads := slices.DeleteFunc(slices.Clone(w.space.Uses), func(u Use) bool { return u.Node != n || u.Role != Consumed })
	for _, o := range in {
		if len(reads) == 0 { // other axes are summed over, as by attention
			w.join(o.scaled, n)
		} else if o.scaled != nil {
			o.scaled.Readers = append(o.scaled.Readers, reads...)
		}
	}
	switch {
	case len(reads) == 0 && (len(in) > 1 || !w.made(n)):
		return alone
	case w.made(n) && op.acts&nonlinear != 0:
		return alone
	}
	for _, u := range w.space.Uses {
		if u.Node == n && u.Role == Carried && !w.producedAt(n) {
			return alone
		}
	}
	return w.pass(n, vector{})
}

// producedAt reports whether a weight of the node makes the channels.
func (w *vectors) producedAt(n *onnxpb.NodeProto) bool {
	return slices.ContainsFunc(w.space.Uses, func(u Use) bool { return u.Node == n && u.Role == Produced })
}

// String is how the stream can be narrowed, as reports say it.
func (s *Stream) String() string {
	switch {
	case s.Bent != "":
		return "selected: " + s.Bent
	case s.Skewed != "":
		return "selected, or nearly rotated: " + s.Skewed
	}
	return "rotated"
}
