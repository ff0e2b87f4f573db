package coupling

import (
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

// poolAxes: windows over space, every channel by itself. Axes at either end of space over which the
// window does not reach are as free as the channels: a sequence may be pooled as a picture of one
// channel, whose width are the channels.
func poolAxes(c *call) (string, error) {
	x := c.in[0]
	if x.rank() < 2 {
		return "", errUnranked
	}
	space := x.axes[2:]
	before, after, err := c.window(space, nil)
	if err != nil {
		return "", err
	}
	out := "n c " + after
	if len(c.node.GetOutput()) > 1 { // MaxPool's indices, which count positions
		return "n c " + before + " -> " + out + ", " + out, nil
	}
	lead, tail := unreached(c, space)
	if t := c.runs["t"]; t != nil {
		c.runs["t"] = t[len(lead) : len(t)-len(tail)]
	}
	around := func(run string) string {
		return strings.Join(slices.Concat([]string{"n c"}, lead, []string{run}, tail), " ")
	}
	return around(before) + " -> " + around(after), nil
}

// unreached are letters of the first and of the last axes that a window leaves as they are.
func unreached(c *call, space []*Axis) (lead, tail []string) {
	placed, err := onnxio.WindowOf(c.node, nil).Place(sizesOf(space))
	if err != nil {
		return nil, nil
	}
	as := func(a onnxio.WindowAxis) bool { return a.Kernel == 1 && a.Stride == 1 && a.Before == 0 && a.After == 0 }
	for len(lead) < len(placed) && as(placed[len(lead)]) {
		lead = append(lead, fmt.Sprintf("p%d", len(lead)))
	}
	for n := len(placed); n > len(lead) && as(placed[n-1]); n-- {
		tail = append(tail, fmt.Sprintf("q%d", n))
	}
	slices.Reverse(tail)
	return lead, tail
}

// globalPoolAxes: means and largest elements of space do not see its order.
func globalPoolAxes(c *call) (string, error) {
	x := c.in[0]
	if x.rank() < 2 {
		return "", errUnranked
	}
	c.runs = map[string][]int{"t": slices.Repeat([]int{1}, x.rank()-2)}
	return "n c {s...} -> n c t...", nil
}

// reduceProd: the product of some sizes is a size too.
func reduceProd(c *call) ([]*value, error) {
	x := c.in[0]
	expr, err := reduceAxes(c)
	if err != nil {
		return nil, err
	}
	outs, err := c.axes(expr)
	if err == nil && len(outs) == 1 && outs[0].konst && outs[0].elements() == 1 && len(x.ints) > 0 {
		if e, ok := c.an.sys.evalInts("Mul", x.ints); ok {
			outs[0].ints = []elem{e}
		}
	}
	return outs, err
}

// reduceAxes: a reduced axis may be permuted, for sums, means and norms do not see the order; the
// index that ArgMax and ArgMin give, along one axis, does.
func reduceAxes(c *call) (string, error) {
	axes, _, known := c.ints(1, "axes")
	brackets := "{}"
	if strings.HasPrefix(c.node.GetOpType(), "Arg") {
		axes, known, brackets = []int64{c.attrInt("axis", 0)}, true, "[]"
	}
	switch {
	case !known:
		return "", errUnranked
	case len(axes) > 0:
	case c.attrInt("noop_with_empty_axes", 0) != 0:
		return "a... -> a...", nil
	default: // all
		for k := range c.in[0].axes {
			axes = append(axes, int64(k))
		}
	}
	after := []int{1}
	if c.attrInt("keepdims", 1) == 0 {
		after = []int{}
	}
	return c.along(axes, brackets, after)
}

// softmaxAxes: from opset 13 on one axis is mixed; before, all axes from `axis` on.
func softmaxAxes(c *call) (string, error) {
	if c.opset >= 13 {
		return c.along([]int64{c.attrInt("axis", -1)}, "[]", nil)
	}
	rank := int64(c.in[0].rank())
	axis := c.attrInt("axis", 1)
	if axis == rank { // coerced to [all, 1]
		axis--
	}
	mixed := []int64{axis}
	for k := int64(normAxis(axis, int(rank))) + 1; k > 0 && k < rank; k++ {
		mixed = append(mixed, k)
	}
	return c.along(mixed, "[]", nil)
}

// roiAlignAxes: windows of the space of chosen samples.
func roiAlignAxes(c *call) (string, error) {
	height, width := c.attrInt("output_height", 1), c.attrInt("output_width", 1)
	if height < 1 || width < 1 || height > maxSize || width > maxSize {
		return "", c.errorf("output is %d×%d", height, width)
	}
	c.sizes = sizeMap{"P": int(height), "Q": int(width)}
	return "n c h w, r U, r -> r c P Q", nil
}
