package lossless

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A reader is one consumption of a space: a weight at a node, with the activation that the weight
// is multiplied with.
type reader struct {
	use   coupling.Use
	strip *strip
	input string // "" where it is not clear
	bias  *bias  // nil where the node takes no constant in; why says so
	why   string
}

// readers lists who consumes a space.
func (p *pass) readers(v *verdict) []reader {
	var out []reader
	for _, u := range v.space.Consumers() {
		st := v.stripOf(u.Tensor, u.Axis)
		if st == nil {
			return nil
		}
		r := reader{use: u, strip: st}
		along := 0
		for _, in := range u.Node.GetInput() {
			if p.live(in) && p.runsAlong(in, v.space) {
				r.input = in
				along++
			}
		}
		if along != 1 {
			r.input = ""
		}
		r.bias, r.why = p.biasOf(r)
		out = append(out, r)
	}
	return out
}

// given is what a reader's weights see of a channel.
func (p *pass) given(r reader, id int) level {
	if !r.strip.holds[id].nonzero {
		return zero
	}
	if s := p.levels[row{r.input, r.strip.space}]; s != nil {
		return s[id]
	}
	return level{}
}

// findConstants looks for channels that are constant wherever they are read.
func (p *pass) findConstants() {
	for _, v := range p.verdicts {
		if v.whole {
			continue
		}
		rs := p.readers(v)
		for id, f := range v.fate {
			if f.kind != kept || len(rs) == 0 {
				continue
			}
			switch isConstant, why := p.constantFor(rs, id); {
			case why != "":
				v.left[why]++
			case isConstant:
				v.fate[id].kind = constant
			}
		}
	}
}

// constantFor reports whether all readers are given a constant; why says that one of them takes
// none in.
func (p *pass) constantFor(rs []reader, id int) (is bool, why string) {
	for _, r := range rs {
		l := p.given(r, id)
		if !l.known {
			return false, ""
		}
		if l.v != 0 && r.bias == nil {
			why = r.why
		}
	}
	return true, why
}

// A bias is what a reader adds to its outputs, or can be made to add.
type bias struct {
	*onnxio.Linear
	typ  onnxpb.TensorProto_DataType
	dims []int     // one per output on the last axis
	add  []float64 // what it shall grow by, one number for each output
}

// biasOf finds the bias of a reader that takes in a nonzero constant, or says why there is none.
func (p *pass) biasOf(r reader) (*bias, string) {
	l, ok := p.s.Graph.Linear(r.use.Node)
	if !ok || l.In.Tensor != r.input || l.Weight.Tensor() != r.use.Tensor || l.Out.Axis == -2 {
		return nil, leftComputed
	}
	switch {
	case l.Kind == onnxio.Convolution:
		if l.Window.Padded() {
			return nil, leftPadding
		}
	case l.Kind != onnxio.Product, l.Bias.Node == nil, l.Beta == 0, len(r.strip.dims) != 2, l.In.Weight != r.use.Axis:
		return nil, leftNoBias
	}
	b := &bias{Linear: l, typ: r.strip.weight.Type}
	if !precise(b.typ) {
		return nil, leftHalf
	}
	n := r.strip.dims[l.Out.Weight]
	b.dims, b.add = []int{n}, make([]float64, n)
	name := l.Bias.Tensor()
	if name == "" {
		return b, ""
	}
	w := p.s.Analysis.Weights[name]
	if w == nil {
		return nil, leftComputed
	}
	if b.typ = w.Type; !precise(b.typ) {
		return nil, leftHalf
	}
	if len(w.Axes) > 0 {
		b.dims = w.Dims()
		b.dims[len(b.dims)-1] = n
	}
	if w.Len() != n && w.Len() != 1 || (&onnxio.Tensor{Dims: b.dims}).Len() != n {
		return nil, leftNoBias
	}
	return b, ""
}

// foldConstants adds what the removed constant channels gave their readers to the readers' biases
// in the edited model.
func (p *pass) foldConstants(out *onnxio.Model, maps edit.Maps) error {
	biases, err := p.grownBiases(maps)
	if err != nil || len(biases) == 0 {
		return err
	}
	g, err := out.Graph()
	if err != nil {
		return err
	}
	for i, n := range p.s.Graph.Proto.GetNode() {
		if b := biases[n]; b != nil {
			if err := p.setBias(g, g.Proto.GetNode()[i], b, maps); err != nil {
				return err
			}
		}
	}
	return g.Refresh()
}

// grownBiases holds the biases that take in the constant channels of the edited spaces, by the node
// that adds them.
func (p *pass) grownBiases(maps edit.Maps) (map[*onnxpb.NodeProto]*bias, error) {
	out := map[*onnxpb.NodeProto]*bias{}
	for _, v := range p.verdicts {
		if maps[v.space] == nil || !slices.ContainsFunc(v.fate, func(f fate) bool { return f.kind == constant }) {
			continue
		}
		for _, r := range p.readers(v) {
			values := p.constants(v, r)
			if values == nil {
				continue
			}
			if r.bias == nil {
				return nil, fmt.Errorf("%s: %s", onnxio.Label(r.use.Node), r.why)
			}
			at := r.bias.Bias.Node
			if out[at] == nil {
				out[at] = r.bias
			}
			if err := p.grow(out[at], r, values); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// constants are the values of the removed constant channels as a reader is given them, by channel;
// nil if all are zero.
func (p *pass) constants(v *verdict, r reader) []float64 {
	var out []float64
	for id, f := range v.fate {
		if f.kind != constant {
			continue
		}
		if c := p.given(r, id).v; c != 0 {
			if out == nil {
				out = make([]float64, len(v.fate))
			}
			out[id] = c
		}
	}
	return out
}

// grow adds to a bias what a reader makes of constant channels.
func (p *pass) grow(b *bias, r reader, values []float64) error {
	data, err := p.floats(r.use.Tensor)
	if err != nil {
		return err
	}
	l := r.bias
	n, stride := r.strip.dims[l.Out.Weight], 1
	for _, d := range r.strip.dims[l.Out.Weight+1:] {
		stride *= d
	}
	r.strip.each(func(e, id int) { b.add[e/stride%n] += l.Alpha / l.Beta * values[id] * data[e] })
	return nil
}

// setBias stores the old bias plus what it grows by, both of the old width, at a node of the edited
// model.
func (p *pass) setBias(g *onnxio.Graph, n *onnxpb.NodeProto, b *bias, maps edit.Maps) error {
	add, name := b.add, b.Bias.Tensor()
	if name != "" {
		old, err := p.floats(name)
		if err != nil {
			return err
		}
		for i := range add {
			add[i] += old[i%len(old)]
		}
	}
	axis := b.Out.Axis
	if axis < 0 {
		axis += len(p.s.Analysis.Activations[b.Out.Tensor])
	}
	rows, err := p.s.TargetRows(b.Out.Tensor, axis, maps, 1)
	if err != nil {
		return err
	}
	if rows != nil {
		narrow := make([]float64, len(rows))
		for j, row := range rows {
			for _, e := range row {
				narrow[j] += e.Val * add[e.Col]
			}
		}
		add = narrow
	}
	b.dims[len(b.dims)-1] = len(add)
	if name != "" && len(g.Consumers(name)) == 1 && !g.IsOutput(name) {
		return g.SetConstant(onnxio.NewTensor(name, b.typ, b.dims, add))
	}
	if name == "" {
		name = n.GetInput()[1] + "_bias"
	}
	name = g.Fresh(name)
	if err := g.AddInitializer(onnxio.NewTensor(name, b.typ, b.dims, add)); err != nil {
		return err
	}
	onnxio.SetInput(n, b.Bias.Input, name)
	return nil
}
