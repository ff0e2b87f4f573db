package coupling

import (
	"fmt"
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

// poolAxes: windows over space, every channel by itself.
func poolAxes(c *call) (string, sizeMap, restMap, error) {
	x := c.input(0)
	if x == nil || !x.ranked || x.rank() < 2 {
		return "", nil, nil, errUnranked
	}
	before, after, sizes, err := c.window(x.axes[2:], nil)
	if err != nil {
		return "", nil, nil, err
	}
	out := "n c " + after
	if len(c.node.GetOutput()) > 1 { // MaxPool's indices
		out += ", " + out
	}
	return "n c " + before + " -> " + out, nil, sizes, nil
}

func globalPoolAxes(c *call) (string, sizeMap, restMap, error) {
	x := c.input(0)
	if x == nil || !x.ranked || x.rank() < 2 {
		return "", nil, nil, errUnranked
	}
	ones := make([]int, x.rank()-2)
	for i := range ones {
		ones[i] = 1
	}
	return "n c s... -> n c t...", nil, restMap{"t": ones}, nil
}

// reduceAxes: axes as an attribute (older opsets) or as an input; ArgMax and
// ArgMin have a single `axis`. A reduced axis may be permuted, for sums, means
// and norms do not see the order; the index that ArgMax gives does.
func reduceAxes(c *call) (string, sizeMap, restMap, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return "", nil, nil, errUnranked
	}
	var axes []int64
	all := false
	open, shut := "{", "}"
	switch {
	case strings.HasPrefix(c.node.GetOpType(), "Arg"):
		axes = []int64{c.attrInt("axis", 0)}
		open, shut = "[", "]"
	case c.input(1) != nil:
		known, ok := c.input(1).knownInts()
		if !ok {
			return "", nil, nil, errUnranked
		}
		axes = known
	default:
		axes = onnxio.AttrInts(c.node, "axes")
	}
	if len(axes) == 0 {
		if c.attrInt("noop_with_empty_axes", 0) != 0 {
			return "a... -> a...", nil, nil, nil
		}
		all = true
	}
	reduced := map[int]bool{}
	for _, a := range axes {
		k := normAxis(a, x.rank())
		if k < 0 {
			return "", nil, nil, fmt.Errorf("%s: axis %d is out of range", c.label(), a)
		}
		reduced[k] = true
	}
	keep := c.attrInt("keepdims", 1) != 0
	var in, out []string
	sizes := sizeMap{}
	for i := range x.axes {
		name := fmt.Sprintf("a%d", i)
		if !all && !reduced[i] {
			in, out = append(in, name), append(out, name)
			continue
		}
		in = append(in, open+name+shut)
		if keep {
			u := fmt.Sprintf("u%d", i)
			sizes[u] = 1
			out = append(out, u)
		}
	}
	// The axes input of newer opsets is a constant that no letter describes.
	c.in = c.in[:1]
	return strings.Join(in, " ") + " -> " + strings.Join(out, " "), sizes, nil, nil
}

// softmaxAxes: from opset 13 on one axis is mixed; before, all axes from
// `axis` on.
func softmaxAxes(c *call) (string, sizeMap, restMap, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return "", nil, nil, errUnranked
	}
	def := int64(-1)
	if c.opset < 13 {
		def = 1
	}
	axis := c.attrInt("axis", def)
	first := normAxis(axis, x.rank())
	if c.opset < 13 && int(axis) == x.rank() { // coerced to [all, 1]
		first = x.rank() - 1
	}
	if first < 0 {
		return "", nil, nil, fmt.Errorf("%s: axis %d is out of range", c.label(), axis)
	}
	var parts []string
	for i := range x.axes {
		name := fmt.Sprintf("a%d", i)
		if i == first || (c.opset < 13 && i > first) {
			name = "[" + name + "]"
		}
		parts = append(parts, name)
	}
	side := strings.Join(parts, " ")
	return side + " -> " + side, nil, nil, nil
}

// roiAlignAxes: windows of the space of chosen samples.
func roiAlignAxes(c *call) (string, sizeMap, restMap, error) {
	height, width := c.attrInt("output_height", 1), c.attrInt("output_width", 1)
	if height < 1 || width < 1 || height > maxSize || width > maxSize {
		return "", nil, nil, fmt.Errorf("%s: output is %d×%d", c.label(), height, width)
	}
	return "n c h w, r U, r -> r c P Q", sizeMap{"P": int(height), "Q": int(width)}, nil, nil
}
