package precision

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// HalfOptions say what computes with numbers of 16 bits.
type HalfOptions struct {
	// Keep, if set, says which nodes go on with numbers of 32 bits.
	Keep func(n *onnxpb.NodeProto) bool
	// Data, if set, are inputs on which the sizes of numbers are looked at.
	Data *dataset.Data
	// StreamOptions say how the model is run on them.
	dataset.StreamOptions
}

// Kept is a node that computes with numbers of 32 bits beside others of 16.
type Kept struct {
	Node     string `json:"node"`
	Operator string `json:"operator"`
	Reason   string `json:"reason"`
}

const (
	// largestHalf is the largest number of float16, and headroom how many times as far numbers may
	// reach on inputs that were not seen. smallestHalf is half of its smallest.
	largestHalf, headroom, smallestHalf = 65504, 2, 0x1p-25
)

// ports are the inputs and outputs of an operator that have one floating-point type. nil means all
// inputs, and the first output.
type ports struct{ in, out []int }

var (
	every   = ports{}
	first   = ports{in: []int{0}}
	outputs = ports{in: []int{0}, out: []int{}} // all of them
)

// halved lists operators that compute with float16 as they do with float32, in every operator set
// that has them.
var halved = map[string]ports{
	"Add": every, "Sub": every, "Mul": every, "Div": every, "Pow": every, "Sum": every, "Mean": every, "Max": every, "Min": every,
	"Neg": every, "Abs": every, "Sqrt": every, "Exp": every, "Log": every, "Reciprocal": every, "Erf": every, "Sin": every, "Cos": every,
	"Floor": every, "Ceil": every, "Relu": every, "LeakyRelu": every, "PRelu": every, "Elu": every, "Selu": every, "Celu": every,
	"Sigmoid": every, "HardSigmoid": every, "HardSwish": every, "Tanh": every, "Softplus": every, "Softsign": every, "Gelu": every,
	"Mish": every, "ThresholdedRelu": every, "Clip": every, "Softmax": every, "LogSoftmax": every,
	"Conv": every, "ConvTranspose": every, "Gemm": every, "MatMul": every, "Einsum": every,
	"MaxPool": every, "AveragePool": every, "LpPool": every, "GlobalAveragePool": every, "GlobalMaxPool": every,
	"BatchNormalization": every, "InstanceNormalization": every, "LayerNormalization": every, "GroupNormalization": every,
	"RMSNormalization": every, "LpNormalization": every, "LRN": every,
	"Concat": every, "Identity": every, "Transpose": every, "Flatten": every, "DepthToSpace": every, "SpaceToDepth": every,
	"Reshape": first, "Squeeze": first, "Unsqueeze": first, "Slice": first, "Split": outputs, "Gather": first, "GatherElements": first,
	"GatherND": first, "Expand": first, "Tile": first, "Resize": first, "Upsample": first, "Dropout": first, "Trilu": first,
	"ReduceMean": first, "ReduceSum": first, "ReduceMax": first, "ReduceMin": first, "ReduceL1": first, "ReduceL2": first,
	"ReduceLogSumExp": first, "ReduceSumSquare": first, "CumSum": first,
	"Pad": {in: []int{0, 2}}, "Where": {in: []int{1, 2}}, "ScatterND": {in: []int{0, 2}}, "ScatterElements": {in: []int{0, 2}},
}

// otherwise lists operators whose first output is no floating-point number, whatever they read.
var otherwise = map[string]bool{
	"Shape": true, "Size": true, "NonZero": true, "ArgMax": true, "ArgMin": true, "Equal": true, "Greater": true, "GreaterOrEqual": true,
	"Less": true, "LessOrEqual": true, "IsNaN": true, "IsInf": true, "QuantizeLinear": true, "DynamicQuantizeLinear": true,
	"NonMaxSuppression": true, "Bernoulli": true, "Multinomial": true,
}

// either lists operators that read numbers of any type, and say the same of them.
var either = map[string]bool{"Shape": true, "Size": true, "Cast": true}

// Compute16 returns a model that computes with float16, but for nodes that keep float32: those that
// o.Keep names, those that meet numbers beyond the range of float16 or below it, and those of
// operators that have no such form. Inputs and outputs of the model keep their types. Weights of
// nodes that keep float32 are stored as [Half] does.
func Compute16(ctx context.Context, m *onnxio.Model, o HalfOptions) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	c := &computing{model: m.Clone(), known: map[string]bool{}, misfits: map[string]misfit{}}
	if c.Graph, err = c.model.Graph(); err != nil {
		return nil, nil, err
	}
	c.findTypes()
	if err := c.look(ctx, o); err != nil {
		return nil, nil, err
	}
	if c.decide(o); c.report.Operators == 0 {
		return nil, nil, m.InFile(fmt.Errorf("no operator can compute with numbers of 16 bits"))
	}
	if err := c.write(); err != nil {
		return nil, nil, err
	}
	out, rest, err := Half(ctx, c.model, FP16)
	if err != nil {
		return nil, nil, err
	}
	c.report.Type, c.report.Opset, c.report.Stay = FP16, rest.Opset, rest.Stay
	c.report.Weights += rest.Weights
	return out, &c.report, nil
}

// A misfit says why numbers do not fit float16: they are too far from zero or, otherwise, too near.
type misfit struct {
	why string
	far bool
}

// A computing model is one whose nodes are sorted into those of 16 bits and those of 32.
type computing struct {
	model *onnxio.Model
	*onnxio.Graph
	// known are the tensors that hold float32.
	known map[string]bool
	// misfits are the tensors that do not fit float16.
	misfits map[string]misfit
	// short are the nodes that compute with float16.
	short  map[*onnxpb.NodeProto]bool
	report Report
}

// findTypes finds the tensors that hold float32: what the model says, and what follows from that.
func (c *computing) findTypes() {
	for _, v := range slices.Concat(c.Proto.Input, c.Proto.Output, c.Proto.ValueInfo) {
		c.known[v.GetName()] = onnxio.ElemType(v) == onnxio.Float
	}
	for _, t := range c.Proto.Initializer {
		c.known[t.GetName()] = onnxpb.TensorProto_DataType(t.GetDataType()) == onnxio.Float
	}
	for _, n := range c.Proto.Node {
		p, ok := halved[onnxio.StandardOp(n)]
		for i, name := range n.GetOutput() {
			if _, said := c.known[name]; said || name == "" {
				continue
			}
			switch op := n.GetOpType(); {
			case op == "Constant":
				c.known[name] = onnxpb.TensorProto_DataType(c.Constant(name).GetDataType()) == onnxio.Float
			case op == "Cast":
				c.known[name] = onnxio.AttrInt(n, "to", 0) == int64(onnxio.Float)
			case op == "ConstantOfShape":
				t := onnxio.Attr(n, "value").GetT()
				c.known[name] = t == nil || onnxpb.TensorProto_DataType(t.GetDataType()) == onnxio.Float
			case op == "DequantizeLinear":
				c.known[name] = c.holds(n, 1)
			case ok:
				in := p.inputs(n)
				c.known[name] = slices.Contains(p.outputs(n), i) && len(in) > 0 && c.holds(n, in[0])
			default: // of other operators, outputs are most often what the first input is
				c.known[name] = i == 0 && !otherwise[op] && c.holds(n, 0)
			}
		}
	}
}

func (c *computing) holds(n *onnxpb.NodeProto, input int) bool {
	return input < len(n.GetInput()) && c.known[n.GetInput()[input]]
}

// inputs are the positions of inputs that a node has and that share its type.
func (p ports) inputs(n *onnxpb.NodeProto) (at []int) {
	for i, name := range n.GetInput() {
		if name != "" && (p.in == nil || slices.Contains(p.in, i)) {
			at = append(at, i)
		}
	}
	return at
}

func (p ports) outputs(n *onnxpb.NodeProto) (at []int) {
	for i := range n.GetOutput() {
		if i == 0 || p.out != nil {
			at = append(at, i)
		}
	}
	return at
}

// touched are the tensors of a node that would be float16.
func (p ports) touched(n *onnxpb.NodeProto) (names []string) {
	for _, i := range p.inputs(n) {
		names = append(names, n.GetInput()[i])
	}
	for _, i := range p.outputs(n) {
		names = append(names, n.GetOutput()[i])
	}
	return names
}

// look finds the tensors whose numbers do not fit float16: constants that reach beyond it or vanish
// in it, and activations that do so on the data.
func (c *computing) look(ctx context.Context, o HalfOptions) error {
	var names []string
	seen := map[string]bool{}
	for _, n := range c.Proto.Node {
		p, ok := halved[onnxio.StandardOp(n)]
		if !ok {
			continue
		}
		for _, name := range p.touched(n) {
			if seen[name] || !c.known[name] {
				continue
			}
			seen[name] = true
			stored := c.Constant(name)
			if stored == nil {
				names = append(names, name)
				continue
			}
			t, err := c.model.Tensor(stored)
			if err != nil {
				return c.model.InFile(err)
			}
			far := 0.0
			for _, x := range t.Float64() {
				far = larger(far, math.Abs(x))
			}
			c.bound(name, far, largestHalf)
		}
	}
	if o.Data == nil || len(names) == 0 {
		return nil
	}
	if o.Batch == 0 {
		o.Batch = 4 // all activations are looked at
	}
	far := map[string]float64{}
	err := dataset.Stream(ctx, c.model, o.Data, names, o.StreamOptions, func(_, _ int, values map[string]*engine.Value) error {
		for name, v := range values {
			for _, x := range v.Float32() {
				far[name] = larger(far[name], math.Abs(float64(x)))
			}
		}
		return nil
	})
	c.report.Samples = o.Data.Len()
	for name, x := range far {
		c.bound(name, x, largestHalf/headroom)
	}
	return err
}

// larger is the larger of two numbers, where none is larger than any.
func larger(a, b float64) float64 {
	if b > a || b != b {
		return b
	}
	return a
}

// bound enters a tensor whose numbers reach as far as x if float16 has none like that.
func (c *computing) bound(name string, x, largest float64) {
	switch {
	case !(x <= largest):
		c.misfits[name] = misfit{fmt.Sprintf("%q reaches %.3g", name, x), true}
	case x > 0 && x < smallestHalf:
		c.misfits[name] = misfit{fmt.Sprintf("%q vanishes: its largest number is %.3g", name, x), false}
	}
}

// bounded lists operators whose outputs are small, however large their inputs are.
var bounded = map[string]bool{
	"Softmax": true, "Sigmoid": true, "HardSigmoid": true, "Tanh": true, "Softsign": true, "Erf": true, "Sin": true, "Cos": true,
	"InstanceNormalization": true, "LayerNormalization": true, "GroupNormalization": true,
	"RMSNormalization": true, "LpNormalization": true,
}

// decide sorts the nodes. Without data, what is made of numbers beyond the range is beyond it too: a
// mask of −3e38 reaches to the Softmax that it is for.
func (c *computing) decide(o HalfOptions) {
	c.short = map[*onnxpb.NodeProto]bool{}
	for _, n := range c.Proto.Node {
		why := c.stays(n, o)
		if m := c.misfit(n); o.Data == nil && m.far && !bounded[n.GetOpType()] {
			for _, name := range n.GetOutput() {
				c.misfits[name] = m
			}
		}
		switch {
		case why == "":
			c.short[n] = true
			c.report.Operators++
		case why != noFloat:
			c.report.Kept = append(c.report.Kept, Kept{cmp.Or(n.GetName(), n.GetOutput()[0]), n.GetOpType(), why})
		}
	}
}

// misfit is a tensor of a node that does not fit float16, or none.
func (c *computing) misfit(n *onnxpb.NodeProto) misfit {
	if p, ok := halved[onnxio.StandardOp(n)]; ok {
		for _, name := range p.touched(n) {
			if m := c.misfits[name]; c.known[name] && m.why != "" {
				return m
			}
		}
	}
	return misfit{}
}

// noFloat is said of nodes that do not compute with float32 anyhow.
const noFloat = "no number of it is a float32"

// stays says why a node keeps float32; "": it does not.
func (c *computing) stays(n *onnxpb.NodeProto, o HalfOptions) string {
	if op := onnxio.StandardOp(n); op == "Constant" || either[op] || !slices.ContainsFunc(slices.Concat(rewire.Reads(n), n.GetOutput()), func(name string) bool { return c.known[name] }) {
		return noFloat
	}
	p, ok := halved[onnxio.StandardOp(n)]
	if !ok {
		return "its operator is not one that is known to work with 16 bits"
	}
	for i, name := range n.GetOutput() {
		if name != "" && !slices.Contains(p.outputs(n), i) {
			return "it has a second output"
		}
	}
	if slices.ContainsFunc(p.touched(n), func(name string) bool { return name != "" && !c.known[name] }) {
		return noFloat
	}
	if m := c.misfit(n); m.why != "" {
		return m.why
	}
	if o.Keep != nil && o.Keep(n) {
		return "it was asked for"
	}
	return ""
}

// write gives nodes of 16 bits their tensors, and puts a Cast where a tensor is read or put out in the
// other type.
func (c *computing) write() error {
	name16 := map[string]string{}
	made := map[string]bool{} // float16 tensors that exist, by the name of their float32 ones
	fresh := c.Namer()
	short := func(name string) string {
		if name16[name] == "" {
			name16[name] = fresh(name + "_fp16")
		}
		return name16[name]
	}
	// What is read as float32 is made so, if it is made as float16: by other nodes, or as an output.
	long := map[string]bool{}
	for _, v := range c.Proto.Output {
		long[v.GetName()] = true
	}
	for _, n := range c.Proto.Node {
		p := halved[n.GetOpType()]
		for i, name := range rewire.Reads(n) {
			if either[onnxio.StandardOp(n)] && c.short[c.Producer(name)] {
				continue
			}
			if !c.short[n] || i >= len(n.GetInput()) || !slices.Contains(p.inputs(n), i) {
				long[name] = true
			}
		}
	}
	var nodes, head []*onnxpb.NodeProto
	gone := map[string]bool{}
	cast := func(from, to string, typ onnxpb.TensorProto_DataType) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{
			OpType: proto.String("Cast"), Name: proto.String(fresh("Cast_" + to)), Input: []string{from}, Output: []string{to},
			Attribute: []*onnxpb.AttributeProto{onnxio.NewAttrInt("to", int(typ))},
		}
	}
	for _, n := range c.Proto.Node {
		if !c.short[n] {
			if either[onnxio.StandardOp(n)] && c.short[c.Producer(n.GetInput()[0])] {
				n.Input[0] = short(n.Input[0])
			}
			nodes = append(nodes, n)
			continue
		}
		p := halved[n.GetOpType()]
		for _, i := range p.inputs(n) {
			name := n.Input[i]
			n.Input[i] = short(name)
			if made[name] {
				continue
			}
			made[name] = true
			stored := c.Constant(name)
			if stored == nil {
				nodes = append(nodes, cast(name, short(name), onnxio.Float16))
				continue
			}
			t, err := c.model.Tensor(stored)
			if err != nil {
				return c.model.InFile(err)
			}
			if err := c.AddInitializer(onnxio.NewTensor(short(name), onnxio.Float16, t.Dims, t.Float64())); err != nil {
				return c.model.InFile(err)
			}
			c.report.Weights++
			if gone[name] = true; long[name] {
				head = append(head, cast(short(name), name, onnxio.Float)) // stored once
			}
		}
		nodes = append(nodes, n)
		for _, i := range p.outputs(n) {
			name := n.Output[i]
			if name == "" {
				continue
			}
			n.Output[i] = short(name)
			if made[name] = true; long[name] {
				nodes = append(nodes, cast(short(name), name, onnxio.Float))
			} else {
				gone[name] = true
			}
		}
	}
	drop(c.Graph, gone)
	nodes = slices.DeleteFunc(nodes, func(n *onnxpb.NodeProto) bool { return n.GetOpType() == "Constant" && gone[n.GetOutput()[0]] })
	c.Proto.Node = append(head, nodes...)
	c.Proto.ValueInfo = slices.DeleteFunc(c.Proto.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return gone[v.GetName()] })
	return c.Refresh()
}
