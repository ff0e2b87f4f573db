package coupling

import (
	"fmt"
	"strings"
)

// along writes the axis expression of an operator that works along some axes:
// they are put in the given brackets, the others pass. Where size is not nil it
// names the new size of the worked axes in the output.
func (c *call) along(axes []int64, brackets string, size *int) (string, sizeMap, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return "", nil, errUnranked
	}
	worked := map[int]bool{}
	for _, a := range axes {
		k := normAxis(a, x.rank())
		if k < 0 {
			return "", nil, fmt.Errorf("%s: axis %d is out of range", c.label(), a)
		}
		worked[k] = true
	}
	sizes := sizeMap{}
	var in, out []string
	for k := range x.axes {
		name := fmt.Sprintf("a%d", k)
		switch {
		case !worked[k]:
			out = append(out, name)
		case size == nil:
			name = brackets[:1] + name + brackets[1:]
			out = append(out, name)
		default:
			u := fmt.Sprintf("u%d", k)
			sizes[u] = *size
			out = append(out, u)
			name = brackets[:1] + name + brackets[1:]
		}
		in = append(in, name)
	}
	side := strings.Join(out, " ")
	if n := len(c.node.GetOutput()); n > 1 {
		side += strings.Repeat(", "+side, n-1)
	}
	c.in = c.in[:1] // the other inputs are settings
	return strings.Join(in, " ") + " -> " + side, sizes, nil
}

// topKAxes: the largest entries along one axis, and where they stood.
func topKAxes(c *call) (string, sizeMap, restMap, error) {
	k := int(c.attrInt("k", -1))
	if known, ok := c.input(1).knownInts(); ok && len(known) == 1 && known[0] >= 0 && known[0] <= maxSize {
		k = int(known[0])
	}
	expr, sizes, err := c.along([]int64{c.attrInt("axis", -1)}, "[]", &k)
	return expr, sizes, nil, err
}

// cumSumAxes: running sums depend on the order along one axis.
func cumSumAxes(c *call) (string, sizeMap, restMap, error) {
	axis, ok := c.input(1).knownInts()
	if !ok || len(axis) != 1 {
		return "", nil, nil, errUnranked
	}
	expr, sizes, err := c.along(axis, "[]", nil)
	return expr, sizes, nil, err
}

// reverseSequenceAxes: steps of a sample change places.
func reverseSequenceAxes(c *call) (string, sizeMap, restMap, error) {
	lengths := c.input(1)
	if lengths == nil || lengths.live() {
		return "", nil, nil, errUnranked
	}
	expr, sizes, err := c.along([]int64{c.attrInt("time_axis", 0), c.attrInt("batch_axis", 1)}, "[]", nil)
	return expr, sizes, nil, err
}

// triluAxes: a triangle of the last two axes.
func triluAxes(c *call) (string, sizeMap, restMap, error) {
	expr, sizes, err := c.along([]int64{-2, -1}, "[]", nil)
	return expr, sizes, nil, err
}

// lpNormalizationAxes: division by a norm over one axis, which sees no order.
func lpNormalizationAxes(c *call) (string, sizeMap, restMap, error) {
	expr, sizes, err := c.along([]int64{c.attrInt("axis", -1)}, "{}", nil)
	return expr, sizes, nil, err
}

// meanVarianceAxes: mean and variance over batch and space unless other axes
// are given.
func meanVarianceAxes(c *call) (string, sizeMap, restMap, error) {
	axes := c.attrInts("axes")
	if axes == nil {
		axes = []int64{0, 2, 3}
	}
	expr, sizes, err := c.along(axes, "{}", nil)
	return expr, sizes, nil, err
}

// groupNormAxes: mean and variance over space and the channels of each group.
// Up to opset 20 scale and bias belong to groups, from 21 on to channels.
func groupNormAxes(c *call) (string, sizeMap, restMap, error) {
	groups := c.attrInt("num_groups", 0)
	if groups < 1 || groups > maxSize {
		return "", nil, nil, fmt.Errorf("%s: num_groups is %d", c.label(), groups)
	}
	c.sizeRefs = map[string][]string{"num_groups": {"g"}}
	scale := "g"
	if c.opset >= 21 {
		scale = "(g: c)"
	}
	return fmt.Sprintf("n (g: {c}) {s...}, %s, %s -> n (g: {c}) {s...}", scale, scale), sizeMap{"g": int(groups)}, nil, nil
}
