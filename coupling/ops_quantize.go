package coupling

import (
	"strings"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Quantization says how a weight of small integers stands for real numbers, (q − zero)·scale,
// with one scale for all or one for each position of an axis.
type Quantization struct {
	// Nodes are the DequantizeLinear that read the weight.
	Nodes []*onnxpb.NodeProto
	// Scale and Zero name the constants; Zero is "" where it is 0.
	Scale, Zero string
	// Axis has the scales; -1 with one scale for the whole tensor.
	Axis int
}

// quantize: a constant stays a weight that can be edited where it is stored, if all its numbers are
// rounded alike; it is rounded again when the model runs.
func quantize(c *call) ([]*value, error) {
	expr, err := quantizeAxes(c)
	if err != nil {
		return nil, err
	}
	if x := c.in[0]; !c.anyLive() && c.alike() {
		return []*value{{axes: x.axes, ranked: true, konst: true, roots: x.roots, origin: x.origin, rounded: true}}, nil
	}
	return c.axes(expr)
}

// alike reports whether a QuantizeLinear or DequantizeLinear has one scale for all.
func (c *call) alike() bool {
	axis, err := c.scaleAxis()
	return err == nil && axis < 0
}

// quantizeAxes: QuantizeLinear and DequantizeLinear of an activation, with one scale or with one
// for each position of an axis.
func quantizeAxes(c *call) (string, error) {
	axis, err := c.scaleAxis()
	if err != nil {
		return "", err
	}
	names := letters(c.in[0].rank())
	data := strings.Join(names, " ")
	expr := data
	for i := 1; i < min(len(c.in), 3); i++ {
		switch {
		case axis >= 0:
			expr += ", " + names[axis]
		case c.in[i] != nil && c.in[i].rank() == 1:
			expr += ", one"
		default:
			expr += ", "
		}
	}
	return expr + " -> " + data, nil
}

// scaleAxis is the axis that has a scale for each position, -1 where one scale serves all.
func (c *call) scaleAxis() (int, error) {
	x, scale := c.in[0], c.in[1]
	if c.attrInt("block_size", 0) != 0 {
		return 0, errUnranked
	}
	if scale.rank() == 0 || scale.rank() == 1 && scale.axes[0].Size() == 1 {
		return -1, nil
	}
	axis := normAxis(c.attrInt("axis", 1), x.rank())
	if scale.rank() != 1 || axis < 0 {
		return 0, c.errorf("scale has %d axes and stands on axis %d of %d", scale.rank(), c.attrInt("axis", 1), x.rank())
	}
	return axis, nil
}

// dequantize: of a stored weight the result is the same weight, whose integers and scales are
// edited together.
func dequantize(c *call) ([]*value, error) {
	x := c.in[0]
	if x.rounded && !c.anyLive() && c.alike() {
		return []*value{{axes: x.axes, ranked: true, konst: true, roots: x.roots, origin: x.origin}}, nil
	}
	if c.anyLive() || len(x.roots) != 1 {
		expr, err := quantizeAxes(c)
		if err != nil {
			return nil, err
		}
		if !c.anyLive() {
			c.freeze(x, "dequantises what is put together of several weights")
		}
		return c.axes(expr)
	}
	axis, err := c.scaleAxis()
	if err != nil {
		return nil, err
	}
	root := c.an.values[x.roots[0]]
	q := &Quantization{Nodes: []*onnxpb.NodeProto{c.node}, Axis: -1}
	q.Scale, q.Zero = c.scale(1, axis), c.scale(2, axis)
	if axis >= 0 {
		q.Axis = x.originOf(axis)
	}
	if axis >= 0 && (q.Axis < 0 || x.rank() != root.rank()) {
		c.freeze(x, "takes scales along an axis that the stored weight has not")
	}
	if old := root.quant; old != nil {
		if old.Scale != q.Scale || old.Zero != q.Zero || old.Axis != q.Axis {
			c.freeze(x, "dequantises in another way than others do")
		}
		q.Nodes = append(old.Nodes, q.Nodes...)
	}
	root.quant = q
	return []*value{{axes: x.axes, ranked: true, konst: true, roots: x.roots, origin: x.origin}}, nil
}

// scale is the constant that gives a weight its scales or zeros, along one of its axes or (-1) one
// for all; "" where there is none.
func (c *call) scale(input, axis int) string {
	x, v := c.in[0], c.input(input)
	if v == nil {
		return ""
	}
	if len(v.roots) != 1 || v.roots[0] != v.name {
		c.freeze(x, "takes scales that are computed")
	}
	if axis >= 0 && v.rank() == 1 {
		c.join(x.axes[axis], v.axes[0])
	}
	return v.name
}
