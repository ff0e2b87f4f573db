package tune

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// errNoRule says that an operator's gradient is not known here.
var errNoRule = errors.New("no gradient")

// A tape writes the nodes that compute gradients behind the nodes of a model, in reverse order
// (reverse-mode differentiation).
type tape struct {
	graph *onnxio.Graph
	proto *onnxpb.GraphProto
	opset int64
	dims  map[string][]int // sizes of activations in one run
	// values are lists of integers that the model computes from sizes.
	values map[string][]int
	live   map[string]bool // tensors that gradients are wanted for
	sums   map[string][]string
	n      int
	// block is the number of channels in a block of onnxruntime's own layout, 0 where there is
	// none; inBlocks are the tensors that are laid out so already.
	block    int
	inBlocks map[string]string
}

// A rule makes the gradient of a node's i-th input of that of its first output, dy. It is "" for a
// parameter that stays as it is.
type rule func(t *tape, n *op, dy string, i int) (string, error)

// An op is a node of the model with its sizes.
type op struct {
	*onnxpb.NodeProto
	in   []string
	dims [][]int // of the inputs; nil for one that is left out
	out  string  // the first output
	y    []int   // of it
}

func (n *op) int(attr string, def int64) int { return int(onnxio.AttrInt(n.NodeProto, attr, def)) }

func (n *op) float(attr string, def float32) float64 {
	return float64(onnxio.AttrFloat(n.NodeProto, attr, def))
}

// axis is the attribute of that name, counted from the first axis.
func (n *op) axis(def int64) int {
	axis := n.int("axis", def)
	if axis < 0 {
		axis += len(n.y)
	}
	return axis
}

// sum is the gradient of a tensor, all uses added up; "" where there is none.
func (t *tape) sum(tensor string) string {
	parts := t.sums[tensor]
	if len(parts) == 0 {
		return ""
	}
	for len(parts) > 1 {
		parts = append([]string{t.node("Add", parts[:2])}, parts[2:]...)
	}
	t.sums[tensor] = parts
	return parts[0]
}

// give adds to the gradient of a tensor.
func (t *tape) give(tensor, gradient string) {
	t.sums[tensor] = append(t.sums[tensor], gradient)
}

// shape is the size of a tensor, constant or not.
func (t *tape) shape(tensor string) ([]int, error) {
	if d, ok := t.dims[tensor]; ok {
		return d, nil
	}
	if c := t.graph.Constant(tensor); c != nil {
		return ints(c.GetDims()), nil
	}
	return nil, fmt.Errorf("%w: the size of %q is not known", errNoRule, tensor)
}

func (t *tape) fresh() string {
	t.n++
	return fmt.Sprintf("gradient/%d", t.n)
}

// node appends a node with one output and returns that.
func (t *tape) node(op string, inputs []string, attrs ...*onnxpb.AttributeProto) string {
	return t.emit("", op, inputs, t.fresh(), attrs...)
}

// emit appends a node of a domain with an output of that name, which it returns.
func (t *tape) emit(domain, op string, inputs []string, out string, attrs ...*onnxpb.AttributeProto) string {
	t.proto.Node = append(t.proto.Node, &onnxpb.NodeProto{Domain: &domain, OpType: &op, Input: slices.Clone(inputs), Output: []string{out}, Attribute: attrs})
	return out
}

// do appends a node without attributes.
func (t *tape) do(op string, inputs ...string) string { return t.node(op, inputs) }

// listed appends a node with lists of integers, which are attributes of these names before an
// operator set, and inputs from it on.
func (t *tape) listed(op string, since int64, x, names string, lists [][]int, attrs ...*onnxpb.AttributeProto) string {
	inputs := []string{x}
	for i, v := range lists {
		if t.opset < since {
			attrs = append(attrs, onnxio.NewAttrInts(strings.Fields(names)[i], v...))
		} else {
			inputs = append(inputs, t.ints(v...))
		}
	}
	return t.node(op, inputs, attrs...)
}

func (t *tape) constant(c *onnxio.Tensor) string {
	t.proto.Initializer = append(t.proto.Initializer, c.Proto())
	return c.Name
}

func (t *tape) ints(v ...int) string {
	x := make([]int64, len(v))
	for i := range v {
		x[i] = int64(v[i])
	}
	return t.constant(onnxio.NewInts(t.fresh(), []int{len(v)}, x))
}

func (t *tape) floats(dims []int, v ...float64) string {
	return t.constant(onnxio.NewTensor(t.fresh(), onnxpb.TensorProto_FLOAT, dims, v))
}

func (t *tape) scalar(v float64) string { return t.floats(nil, v) }

// filled is a constant of one value.
func (t *tape) filled(dims []int, v float64) string {
	return t.floats(dims, slices.Repeat([]float64{v}, engine.Count(dims))...)
}

func (t *tape) mul(a, b string) string { return t.do("Mul", a, b) }

func (t *tape) scale(x string, by float64) string {
	if by == 1 {
		return x
	}
	return t.mul(x, t.scalar(by))
}

// mask turns a Bool into 0 and 1.
func (t *tape) mask(x string) string {
	return t.node("Cast", []string{x}, onnxio.NewAttrInt("to", int(onnxpb.TensorProto_FLOAT)))
}

func (t *tape) reshape(x string, dims ...int) string {
	return t.do("Reshape", x, t.ints(dims...))
}

func (t *tape) transpose(x string, perm ...int) string {
	return t.node("Transpose", []string{x}, onnxio.NewAttrInts("perm", perm...))
}

// swapped transposes the last two axes.
func (t *tape) swapped(x string, rank int) string {
	perm := upTo(rank)
	perm[rank-2], perm[rank-1] = rank-1, rank-2
	return t.transpose(x, perm...)
}

func (t *tape) reduce(x string, keep bool, axes ...int) string {
	kept := onnxio.NewAttrInt("keepdims", 0)
	if keep {
		kept = onnxio.NewAttrInt("keepdims", 1)
	}
	return t.listed("ReduceSum", 13, x, "axes", [][]int{axes}, kept)
}

// mean is that over an axis, which stays.
func (t *tape) mean(x string, axis int) string {
	return t.listed("ReduceMean", 18, x, "axes", [][]int{{axis}}, onnxio.NewAttrInt("keepdims", 1))
}

// slice takes a range of every axis, or of the axes that are given, from operator set 10 on perhaps
// with steps.
func (t *tape) slice(x string, from, to []int, axesAndSteps ...[]int) string {
	return t.listed("Slice", 10, x, "starts ends axes steps", append([][]int{from, to}, axesAndSteps...))
}

func (t *tape) concat(parts []string, axis int) string {
	if len(parts) == 1 {
		return parts[0]
	}
	return t.node("Concat", parts, onnxio.NewAttrInt("axis", axis))
}

// pad puts zeros before and after, or takes off where a number is negative: the last step of a
// Slice may reach beyond the end.
func (t *tape) pad(x string, before, after []int) string {
	return t.listed("Pad", 11, x, "pads", [][]int{slices.Concat(before, after)})
}

// unbroadcast sums a gradient of size from over the axes along which a tensor of size to was
// repeated.
func (t *tape) unbroadcast(x string, from, to []int) string {
	var axes []int
	lead := len(from) - len(to)
	for i, d := range from {
		if i < lead || (to[i-lead] == 1 && d != 1) {
			axes = append(axes, i)
		}
	}
	if len(axes) > 0 {
		x = t.reduce(x, true, axes...)
	}
	if lead > 0 {
		x = t.reshape(x, to...)
	}
	return x
}

// backward writes the gradients of all nodes, last first. Nodes without a rule are returned; the
// gradients before them are not complete then.
func (t *tape) backward(nodes []*onnxpb.NodeProto) (missing []*onnxpb.NodeProto, err error) {
	for _, n := range slices.Backward(nodes) {
		if !slices.ContainsFunc(n.GetInput(), func(in string) bool { return t.live[in] }) {
			continue
		}
		dy := t.sum(n.GetOutput()[0])
		others := slices.ContainsFunc(n.GetOutput()[1:], func(o string) bool { return len(t.sums[o]) > 0 })
		if dy == "" && !others {
			continue
		}
		err := errNoRule
		if r := rules[n.GetOpType()]; r != nil && n.GetDomain() == "" && (!others || n.GetOpType() == "Split") {
			err = t.apply(r, n, dy)
		}
		switch {
		case errors.Is(err, errNoRule):
			missing = append(missing, n)
		case err != nil:
			return nil, fmt.Errorf("gradient of %s: %w", onnxio.Label(n), err)
		}
	}
	return missing, nil
}

// apply applies a rule.
func (t *tape) apply(r rule, n *onnxpb.NodeProto, dy string) (err error) {
	defer guard.Recover(&err)
	o := &op{NodeProto: n, in: n.GetInput(), dims: make([][]int, len(n.GetInput())), out: n.GetOutput()[0]}
	o.y = t.dims[o.out]
	for i, in := range o.in {
		if in == "" {
			continue
		}
		if o.dims[i], err = t.shape(in); err != nil {
			return err
		}
	}
	for i, in := range o.in {
		if !t.live[in] {
			continue
		}
		d, err := r(t, o, dy, i)
		if err != nil {
			return err
		}
		if d != "" {
			t.give(in, d)
		}
	}
	return nil
}

// value is what a constant holds.
func (t *tape) value(name string) (*onnxio.Tensor, error) {
	c := t.graph.Constant(name)
	if c == nil {
		return nil, fmt.Errorf("%w: the value of %q is not known", errNoRule, name)
	}
	return t.graph.Model.Tensor(c)
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
