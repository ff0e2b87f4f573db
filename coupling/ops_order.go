package coupling

import (
	"fmt"
	"slices"
	"strings"
)

// along writes the axis expression of an operator that works along some axes: they are put in the
// given brackets, the others pass. In the output the sizes after stand in place of each: nil leaves
// it as it is, an empty list drops it.
func (c *call) along(axes []int64, brackets string, after []int) (string, error) {
	x := c.in[0]
	worked, err := c.positions(axes, x.rank())
	if err != nil {
		return "", err
	}
	c.sizes = sizeMap{}
	in := letters(x.rank())
	var out []string
	for k := range in {
		works := slices.Contains(worked, k)
		if works {
			in[k] = within(brackets, in[k])
		}
		if after == nil || !works {
			out = append(out, in[k])
			continue
		}
		for _, n := range after {
			u := fmt.Sprintf("u%d", k)
			c.sizes[u] = n
			out = append(out, u)
		}
	}
	side := strings.Join(out, " ")
	if n := len(c.node.GetOutput()); n > 1 {
		side += strings.Repeat(", "+side, n-1)
	}
	c.in = c.in[:1] // the other inputs are settings
	return strings.Join(in, " ") + " -> " + side, nil
}

// letters are names for so many axes.
func letters(n int) []string {
	out := make([]string, n)
	for k := range out {
		out[k] = fmt.Sprintf("a%d", k)
	}
	return out
}

func within(brackets, name string) string { return brackets[:1] + name + brackets[1:] }

// alongAttr is the rule of an operator that works along the axis which an attribute gives.
func alongAttr(attr string, def int64, brackets string) func(c *call) (string, error) {
	return func(c *call) (string, error) { return c.along([]int64{c.attrInt(attr, def)}, brackets, nil) }
}

// topKAxes: the largest entries along one axis, and where they stood.
func topKAxes(c *call) (string, error) {
	k := int(c.attrInt("k", -1))
	if known, ok := c.input(1).knownInts(); ok && len(known) == 1 && known[0] >= 0 && known[0] <= maxSize {
		k = int(known[0])
	}
	return c.along([]int64{c.attrInt("axis", -1)}, "[]", []int{k})
}

// cumSumAxes: running sums depend on the order along one axis.
func cumSumAxes(c *call) (string, error) {
	axis, ok := c.input(1).knownInts()
	if !ok || len(axis) != 1 {
		return "", errUnranked
	}
	return c.along(axis, "[]", nil)
}

// reverseSequenceAxes: steps of a sample change places.
func reverseSequenceAxes(c *call) (string, error) {
	if c.in[1].live() {
		return "", errUnranked
	}
	return c.along([]int64{c.attrInt("time_axis", 0), c.attrInt("batch_axis", 1)}, "[]", nil)
}

// meanVarianceAxes: mean and variance over batch and space unless other axes are given.
func meanVarianceAxes(c *call) (string, error) {
	axes := c.attrInts("axes")
	if axes == nil {
		axes = []int64{0, 2, 3}
	}
	return c.along(axes, "{}", nil)
}

// groupNormAxes: mean and variance over space and the channels of each group. Up to opset 20 scale
// and bias belong to groups, from 21 on to channels.
func groupNormAxes(c *call) (string, error) {
	groups := c.attrInt("num_groups", 0)
	if groups < 1 || groups > maxSize {
		return "", c.errorf("num_groups is %d", groups)
	}
	c.sizeRefs = map[string][]string{"num_groups": {"g"}}
	c.sizes = sizeMap{"g": int(groups)}
	scale := "g"
	if c.opset >= 21 {
		scale = "(g: c)"
	}
	return fmt.Sprintf("n (g: {c}) {s...}, %s, %s -> n (g: {c}) {s...}", scale, scale), nil
}
