package stats

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A momentGraph writes the ONNX graph that computes the sums of a plan for some samples.
//
// x and y become [N, P, C]: sample, place, channel (for an operator without a window [1, rows, C]).
// An operand is gathered from the places; where some are padding, x and y get a place P of zeros.
// Operands are [rows, shifts·C]. Where there are groups, of few channels each, x and y become
// [C, P, N] and operands [groups, shifts·C, rows], for which less has to be moved about.
type momentGraph struct {
	shape *momentShape
	plan  *plan
	graph *onnxpb.GraphProto
	made  map[*operand]string
	from  map[bool]string // the tensor [N, P, C] of y (true) and x
	zeros map[bool]string // the same with a place of zeros
}

// Names of the graph's inputs and outputs. Products are numbered.
const (
	momentX      = "x"
	momentOnes   = "ones" // in place of targets
	momentXIndex = "x_index"
	momentYIndex = "y_index"
	momentSumY   = "sum_y"
	momentYY     = "yy"
)

func momentY(i int) string       { return fmt.Sprintf("y%d", i) }
func momentProduct(i int) string { return fmt.Sprintf("p%d", i) }

// buildMoments returns the graph. sampled makes the places of the plan's operands inputs.
func buildMoments(s *momentShape, p *plan, sampled bool) *onnxio.Model {
	b := &momentGraph{
		shape: s, plan: p, graph: &onnxpb.GraphProto{Name: new("moments")},
		made: map[*operand]string{}, from: map[bool]string{}, zeros: map[bool]string{},
	}
	b.input(momentX, s.x)
	b.from[false] = b.placesOf(momentX, s.x, s.xAxis)
	b.targets()
	if sampled {
		b.index(p.products[0].left, momentXIndex)
		b.index(p.y, momentYIndex)
	}
	for i, q := range p.products {
		b.product(q, momentProduct(i))
	}
	if len(s.o) > 0 {
		y := b.operand(p.y)
		axes := b.ints("row_axis", b.rowAxis())
		b.node("ReduceSum", []string{y, axes}, momentSumY, onnxio.NewAttrInt("keepdims", 0))
		b.node("ReduceSum", []string{b.node("Mul", []string{y, y}, "y_squared"), axes}, momentYY, onnxio.NewAttrInt("keepdims", 0))
		b.output(momentSumY)
		b.output(momentYY)
	}
	return b.model()
}

func (b *momentGraph) model() *onnxio.Model {
	return &onnxio.Model{Proto: &onnxpb.ModelProto{
		IrVersion:   new(int64(8)),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: new(""), Version: new(int64(17))}},
		Graph:       b.graph,
	}}
}

// rowAxis is the axis of an operand that holds its rows.
func (b *momentGraph) rowAxis() int64 {
	if b.shape.groups > 1 {
		return 2
	}
	return 0
}

// placesOf brings a tensor with a channel axis into the form [N, P, C], or [C, P, N].
func (b *momentGraph) placesOf(name string, dims []int, axis int) string {
	c := int64(dims[axis])
	if b.shape.conv != nil && axis == 1 && len(dims) > 2 {
		flat, perm := name, []int64{0, 2, 1}
		if len(dims) > 3 {
			flat = b.node("Reshape", []string{name, b.ints(name+"_planes", 0, c, -1)}, name+"_flat")
		}
		if b.shape.groups > 1 {
			perm = []int64{1, 2, 0}
		}
		return b.node("Transpose", []string{flat}, name+"_places", onnxio.NewAttrInts("perm", perm...))
	}
	if axis != len(dims)-1 {
		perm := make([]int64, 0, len(dims))
		for i := range dims {
			if i != axis {
				perm = append(perm, int64(i))
			}
		}
		name = b.node("Transpose", []string{name}, name+"_last", onnxio.NewAttrInts("perm", append(perm, int64(axis))...))
	}
	first := int64(1) // all rows are of one kind
	if b.shape.conv != nil {
		first = 0
	}
	name = b.node("Reshape", []string{name, b.ints(name+"_rows", first, -1, c)}, name+"_places")
	if b.shape.groups > 1 {
		name = b.node("Transpose", []string{name}, name+"_turned", onnxio.NewAttrInts("perm", 2, 1, 0))
	}
	return name
}

// targets joins the targets and a column of ones, group by group: groups·(O+1) channels.
func (b *momentGraph) targets() {
	s := b.shape
	if len(s.o) == 0 {
		b.input(momentOnes, []int{-1, -1, -1})
		b.from[true] = momentOnes
		return
	}
	var parts []string
	total := 1
	for i, o := range s.o {
		b.input(momentY(i), s.ys[i])
		y := b.placesOf(momentY(i), s.ys[i], s.yAxes[i])
		if s.groups > 1 {
			y = b.node("Reshape", []string{y, b.ints(y+"_split", int64(s.groups), int64(o), int64(s.positions()), -1)}, y+"_groups")
		}
		parts = append(parts, y)
		total += o
	}
	y, axis, pads := parts[0], int64(2), []int64{0, 0, 0, 0, 0, 1}
	if s.groups > 1 {
		axis, pads = 1, []int64{0, 0, 0, 0, 0, 1, 0, 0}
	}
	if len(parts) > 1 {
		y = b.node("Concat", parts, "y_joined", onnxio.NewAttrInt("axis", axis))
	}
	y = b.node("Pad", []string{y, b.ints("y_pads", pads...), b.float("one", 1)}, "y_ones")
	if s.groups > 1 {
		y = b.node("Reshape", []string{y, b.ints("y_join", int64(s.groups*total), int64(s.positions()), -1)}, "y_together")
	}
	b.from[true] = y
}

// product multiplies two operands.
func (b *momentGraph) product(p product, name string) {
	left, right := b.operand(p.left), b.operand(p.right)
	// onnxruntime fuses the Transpose into the product.
	if b.shape.groups > 1 {
		right = b.node("Transpose", []string{right}, name+"_right", onnxio.NewAttrInts("perm", 0, 2, 1))
	} else {
		left = b.node("Transpose", []string{left}, name+"_left", onnxio.NewAttrInts("perm", 1, 0))
	}
	b.node("MatMul", []string{left, right}, name)
	b.output(name)
}

// operand gathers a matrix, once.
func (b *momentGraph) operand(op *operand) string {
	if name := b.made[op]; name != "" {
		return name
	}
	name := fmt.Sprintf("operand%d", len(b.made))
	v := b.from[op.y]
	if op.places != nil {
		idx, dims := b.shape.index(op)
		v = b.gather(op, b.initializer(onnxio.NewInts(name+"_index", dims, idx)), name)
	}
	b.made[op] = b.matrix(op, v, name)
	return b.made[op]
}

// index makes an operand whose places are an input.
func (b *momentGraph) index(op *operand, input string) {
	b.graph.Input = append(b.graph.Input, onnxio.NewValueInfo(input, onnxpb.TensorProto_INT64, nil, nil))
	b.made[op] = b.matrix(op, b.gather(op, input, input), input+"_operand")
}

// gather picks [N, rows, shifts, C], or [C, shifts, rows, N], from the places.
func (b *momentGraph) gather(op *operand, index, name string) string {
	v := b.from[op.y]
	if b.shape.pads(op) {
		if b.zeros[op.y] == "" {
			b.zeros[op.y] = b.node("Pad", []string{v, b.ints(v+"_pads", 0, 0, 0, 0, 1, 0)}, v+"_zero")
		}
		v = b.zeros[op.y]
	}
	return b.node("Gather", []string{v, index}, name+"_gathered", onnxio.NewAttrInt("axis", 1))
}

// matrix makes rows of what was gathered, group by group.
func (b *momentGraph) matrix(op *operand, v, name string) string {
	s := b.shape
	groups, shifts, c := int64(s.groups), int64(op.shifts), int64(s.width(op))
	if groups == 1 {
		return b.node("Reshape", []string{v, b.ints(name+"_shape", -1, shifts*c)}, name)
	}
	if shifts > 1 && c > 1 {
		v = b.node("Reshape", []string{v, b.ints(name+"_split", groups, c, shifts, -1)}, name+"_groups")
		v = b.node("Transpose", []string{v}, name+"_transposed", onnxio.NewAttrInts("perm", 0, 2, 1, 3))
	}
	return b.node("Reshape", []string{v, b.ints(name+"_shape", groups, shifts*c, -1)}, name)
}

// width is the number of columns per shift and group of an operand.
func (s *momentShape) width(op *operand) int {
	if !op.y {
		return s.c
	}
	o := 1 // ones
	for _, n := range s.o {
		o += n
	}
	return o
}

// index returns the places of an operand, [rows, shifts] or [shifts, rows] as gather takes them,
// padding as the place of zeros after the last.
func (s *momentShape) index(op *operand) (places []int64, dims []int) {
	zeros := s.places()
	if op.y {
		zeros = s.positions()
	}
	dims = []int{op.rows, op.shifts}
	if s.groups > 1 {
		dims = []int{op.shifts, op.rows}
	}
	places = make([]int64, len(op.places))
	for i, p := range op.places {
		if p < 0 {
			p = zeros
		}
		if s.groups > 1 {
			i = i%op.shifts*op.rows + i/op.shifts
		}
		places[i] = int64(p)
	}
	return places, dims
}

// pads says whether an operand needs a place of zeros.
func (s *momentShape) pads(op *operand) bool { return slices.Contains(op.places, -1) }

func (b *momentGraph) input(name string, dims []int) {
	b.graph.Input = append(b.graph.Input, declare(name, onnxio.Float, dims))
}

func (b *momentGraph) output(name string) {
	b.graph.Output = append(b.graph.Output, rewire.OutputInfo(name, onnxpb.TensorProto_FLOAT))
}

// node adds a node with one output, and returns that.
func (b *momentGraph) node(op string, in []string, out string, attrs ...*onnxpb.AttributeProto) string {
	b.graph.Node = append(b.graph.Node, &onnxpb.NodeProto{
		OpType: new(op), Name: new(out), Input: in, Output: []string{out}, Attribute: attrs,
	})
	return out
}

func (b *momentGraph) initializer(t *onnxio.Tensor) string {
	b.graph.Initializer = append(b.graph.Initializer, t.Proto())
	return t.Name
}

func (b *momentGraph) ints(name string, v ...int64) string {
	return b.initializer(onnxio.NewInts(name, []int{len(v)}, v))
}

func (b *momentGraph) float(name string, v float64) string {
	return b.initializer(onnxio.NewTensor(name, onnxio.Float, nil, []float64{v}))
}
