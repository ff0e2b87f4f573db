package lossless

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A reader is one consumption of a space: a weight at a node, with the
// activation that the weight is multiplied with.
type reader struct {
	use   coupling.Use
	strip *strip
	zero  []bool // channels whose weights are zero
	input string // "" where it is not clear
}

// readers lists who consumes a space.
func (p *pass) readers(v *verdict) []reader {
	var out []reader
	for _, u := range v.space.Consumers() {
		st := p.stripOf(v, u.Tensor, u.Axis)
		if st == nil {
			return nil
		}
		r := reader{use: u, strip: st, zero: st.zeros(p.value(st.weight.Name))}
		along := 0
		for _, in := range u.Node.GetInput() {
			if p.live(in) && slices.Contains(p.spacesIn(in), v.space) {
				r.input = in
				along++
			}
		}
		if along != 1 {
			r.input = ""
		}
		out = append(out, r)
	}
	return out
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
			constantFor := func(r reader) bool { return r.zero[id] || p.levelAt(r.input, v.space, id).known }
			if !allOf(rs, constantFor) {
				continue
			}
			why := ""
			for _, r := range rs {
				if !r.zero[id] && p.levelAt(r.input, v.space, id).v != 0 {
					if _, reason := p.biasOf(r); reason != "" {
						why = reason
					}
				}
			}
			if why != "" {
				v.left[why]++
			} else {
				v.fate[id].kind = constant
			}
		}
	}
}

func allOf[T any](list []T, f func(T) bool) bool {
	return !slices.ContainsFunc(list, func(x T) bool { return !f(x) })
}

func (p *pass) levelAt(tensor string, sp *coupling.Space, id int) level {
	if s := p.state[tensor][sp]; s != nil {
		return s[id]
	}
	return level{}
}

// A slot is where a reader's bias is stored, or can be.
type slot struct {
	node   *onnxpb.NodeProto // Conv, Gemm, or the Add behind a MatMul
	input  int               // of node
	name   string            // the bias, "" where there is none yet
	output string            // the activation that the bias is added to, on axis
	axis   int
	typ    onnxpb.TensorProto_DataType
	dims   []int   // of the bias: one per channel on the last axis
	scale  float64 // what a unit of the bias adds
	gain   float64 // what the weight is multiplied with
	out    int     // axis of the weight that makes the output
}

// biasOf finds the bias of a reader that takes in a nonzero constant, or says
// why there is none.
func (p *pass) biasOf(r reader) (slot, string) {
	n := r.use.Node
	in := n.GetInput()
	if len(in) < 2 || in[0] != r.input || in[1] != r.use.Tensor {
		return slot{}, leftComputed
	}
	s := slot{node: n, input: 2, output: n.GetOutput()[0], axis: 1, typ: r.strip.weight.Type, scale: 1, gain: 1}
	switch n.GetOpType() {
	case "Conv":
		if padded(n, r.strip.weight) {
			return slot{}, leftPadding
		}
	case "Gemm":
		s.out = 1 - r.use.Axis
		s.gain, s.scale = float64(onnxio.AttrFloat(n, "alpha", 1)), float64(onnxio.AttrFloat(n, "beta", 1))
		if s.scale == 0 {
			return slot{}, leftNoBias
		}
	case "MatMul":
		add := p.addBehind(n)
		if add == nil || len(r.strip.dims) != 2 || r.use.Axis != 0 {
			return slot{}, leftNoBias
		}
		s.node, s.input, s.out = add, 0, 1
		if in := add.GetInput(); in[0] == s.output {
			s.input = 1
		}
		s.axis = len(p.s.Analysis.Activations[s.output]) - 1
	default:
		return slot{}, leftNoBias
	}
	if !precise(s.typ) {
		return slot{}, leftHalf
	}
	n0 := r.strip.dims[s.out]
	s.dims = []int{n0}
	if in := s.node.GetInput(); len(in) > s.input && in[s.input] != "" {
		s.name = in[s.input]
		w := p.s.Analysis.Weights[s.name]
		if w == nil {
			return slot{}, leftComputed
		}
		if s.typ = w.Type; !precise(s.typ) {
			return slot{}, leftHalf
		}
		if len(w.Axes) > 0 {
			s.dims = nil
			for _, a := range w.Axes {
				s.dims = append(s.dims, a.Size())
			}
			s.dims[len(s.dims)-1] = n0
		}
		if w.Len() != n0 && w.Len() != 1 || (&onnxio.Tensor{Dims: s.dims}).Len() != n0 {
			return slot{}, leftNoBias
		}
	}
	return s, ""
}

// addBehind finds the Add of a constant that alone reads a MatMul.
func (p *pass) addBehind(n *onnxpb.NodeProto) *onnxpb.NodeProto {
	out := n.GetOutput()[0]
	readers := p.s.Graph.Consumers(out)
	if p.s.Graph.IsOutput(out) || len(readers) != 1 || readers[0].Input < 0 || readers[0].Node.GetOpType() != "Add" {
		return nil
	}
	add := readers[0].Node
	other := add.GetInput()[1-readers[0].Input]
	axes := p.s.Analysis.Activations[out]
	w := p.s.Analysis.Weights[other]
	if w == nil || len(axes) == 0 || len(w.Axes) > len(axes) {
		return nil
	}
	return add
}

// foldConstants adds what the removed constant channels gave their readers to
// the readers' biases in the edited model.
func (p *pass) foldConstants(out *onnxio.Model, maps edit.Maps) error {
	type sum struct {
		slot slot
		add  []float64
	}
	sums := map[*onnxpb.NodeProto]*sum{}
	for _, v := range p.verdicts {
		if maps[v.space] == nil || !slices.ContainsFunc(v.fate, func(f fate) bool { return f.kind == constant }) {
			continue
		}
		for _, r := range p.readers(v) {
			value := make([]float64, len(v.fate))
			any := false
			for id, f := range v.fate {
				if f.kind == constant && !r.zero[id] {
					value[id] = p.levelAt(r.input, v.space, id).v
					any = any || value[id] != 0
				}
			}
			if !any {
				continue
			}
			b, why := p.biasOf(r)
			if why != "" {
				return fmt.Errorf("%s: %s", onnxio.Label(r.use.Node), why)
			}
			n := r.strip.dims[b.out]
			if sums[b.node] == nil {
				sums[b.node] = &sum{b, make([]float64, n)}
			}
			stride := 1
			for _, d := range r.strip.dims[b.out+1:] {
				stride *= d
			}
			add, data := sums[b.node].add, p.value(r.use.Tensor)
			r.strip.each(func(e, id int) { add[e/stride%n] += b.gain / b.scale * value[id] * data[e] })
		}
	}
	if len(sums) == 0 {
		return nil
	}
	g, err := out.Graph()
	if err != nil {
		return err
	}
	for i, n := range p.s.Graph.Proto.GetNode() {
		if s := sums[n]; s != nil {
			if err := p.setBias(g, g.Proto.GetNode()[i], s.slot, s.add, maps); err != nil {
				return err
			}
		}
	}
	return g.Refresh()
}

// setBias stores the old bias plus add, both of the old width, at a node of the
// edited model.
func (p *pass) setBias(g *onnxio.Graph, n *onnxpb.NodeProto, s slot, add []float64, maps edit.Maps) error {
	if s.name != "" {
		old, err := p.floats(s.name)
		if err != nil {
			return err
		}
		for i := range add {
			add[i] += old[i%len(old)]
		}
	}
	rows, err := p.s.TargetRows(s.output, s.axis, maps, 1)
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
	dims := slices.Clone(s.dims)
	dims[len(dims)-1] = len(add)
	if s.name != "" && len(g.Consumers(s.name)) == 1 && !g.IsOutput(s.name) {
		return g.SetConstant(onnxio.NewTensor(s.name, s.typ, dims, add))
	}
	name := s.name
	if name == "" {
		name = n.GetInput()[1] + "_bias"
	}
	name = g.Fresh(name)
	if err := g.AddInitializer(onnxio.NewTensor(name, s.typ, dims, add)); err != nil {
		return err
	}
	for len(n.Input) <= s.input {
		n.Input = append(n.Input, "")
	}
	n.Input[s.input] = name
	return nil
}
