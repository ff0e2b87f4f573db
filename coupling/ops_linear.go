package coupling

import (
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

type sizeMap = map[string]int

// convolution reads what a convolution or its transpose works on.
func (c *call) convolution(transposed bool) (x, w *value, group int, err error) {
	x, w, group = c.input(0), c.input(1), int(c.attrInt("group", 1))
	switch {
	case x == nil || w == nil || !w.ranked:
		err = errUnranked
	case group < 1:
		err = c.errorf("group is %d", group)
	case w.rank() < 2 || x.ranked && x.rank() != w.rank():
		err = c.errorf("input has %d axes, weight %q %d", x.rank(), w.name, w.rank())
	case transposed && !c.has(x, w.rank(), w.axes[0].Size()), !c.has(x, w.rank(), total(kindProd, []int{group, w.axes[1].Size()})):
		err = errUnranked
	}
	return x, w, group, err
}

// convAxes: grouped convolution of any rank. With one input channel per group (depthwise) the
// groups themselves are the channels.
func convAxes(c *call) (string, error) {
	x, w, group, err := c.convolution(false)
	if err != nil {
		return "", err
	}
	before, after, err := c.window(x.axes[2:], w.sizes()[2:])
	if err != nil {
		return "", err
	}
	if group == 1 {
		return "n i " + before + ", o i k..., o -> n o " + after, nil
	}
	if c.sizes = (sizeMap{"g": group}); w.axes[1].Size() > 0 {
		c.sizes["i"] = w.axes[1].Size()
	}
	c.sizeRefs = map[string][]string{"group": {"g"}}
	return "n (g: i) " + before + ", (g: o) i k..., (g: o) -> n (g: o) " + after, nil
}

// deformConvAxes: a Conv whose taps are moved by offsets and weighed by a mask, both with an entry
// for each tap and position. The taps of several groups of input channels move apart, which is not
// told here.
func deformConvAxes(c *call) (string, error) {
	if c.attrInt("offset_group", 1) != 1 {
		return "", errUnranked
	}
	expr, err := convAxes(c)
	if err != nil {
		return "", err
	}
	in, out, _ := strings.Cut(expr, " -> ")
	operands := strings.Split(in, ", ")
	fields := strings.Fields(out)
	positions := strings.Trim(fields[len(fields)-1], "[]")
	operands = slices.Insert(operands, 2, "n U "+positions)
	return strings.Join(operands, ", ") + ", n V " + positions + " -> " + out, nil
}

// convTransposeAxes: the transpose of a grouped convolution; its weight holds the input channels of
// all groups and the output channels of one.
func convTransposeAxes(c *call) (string, error) {
	x, w, group, err := c.convolution(true)
	if err != nil {
		return "", err
	}
	c.runs = map[string][]int{"t": onnxio.TransposedSizes(c.node, w.sizes()[2:], x.sizes()[2:])}
	c.moving = slices.ContainsFunc(x.axes[2:], (*Axis).open)
	if group == 1 {
		return "n i s..., i o k..., o -> n o t...", nil
	}
	c.sizes = sizeMap{"g": group}
	c.sizeRefs = map[string][]string{"group": {"g"}}
	n := w.axes[1].Size()
	if n == 1 { // the groups themselves are the channels
		return "n (g: i) s..., (g: i) 1 k..., g -> n g t...", nil
	}
	if n >= 0 {
		c.sizes["o"] = n
	}
	return "n (g: i) s..., (g: i) o k..., (g: o) -> n (g: o) t...", nil
}

// gemmAxes: Y = αA'B' + βC; C broadcasts to m×o.
func gemmAxes(c *call) (string, error) {
	if c.input(0) == nil || c.input(1) == nil {
		return "", errUnranked
	}
	a, b, inner := "m i", "i o", 0
	if c.attrInt("transB", 0) != 0 {
		b, inner = "o i", 1
	}
	if c.attrInt("transA", 0) != 0 {
		a = "i m"
	} else if w := c.input(1); w.rank() == 2 {
		c.has(c.input(0), 2, w.axes[inner].Size())
	}
	expr := a + ", " + b
	if v := c.input(2); v != nil {
		if !v.ranked || v.rank() > 2 {
			return "", errUnranked
		}
		pat := make([]string, 0, 2)
		for k, letter := range []string{"m", "o"}[2-v.rank():] {
			if v.axes[k].Size() == 1 {
				letter = "u" + letter // a broadcast axis of its own
			}
			pat = append(pat, letter)
		}
		expr += ", " + strings.Join(pat, " ")
	}
	return expr + " -> m o", nil
}

// matMulAxes: numpy matrix product, either side constant or both live.
func matMulAxes(c *call) (string, error) {
	a, b := c.in[0], c.in[1]
	if a.rank() == 0 || b.rank() == 0 {
		return "", errUnranked
	}
	left, right, out := []string{"m", "i"}, []string{"i", "o"}, []string{"m", "o"}
	if a.rank() == 1 {
		left, out = left[1:], out[1:]
	}
	if b.rank() == 1 {
		right, out = right[:1], out[:len(out)-1]
	}
	// Batch axes broadcast from the right; an axis of size one stands alone.
	var batchA, batchB, batch []string
	for k := max(a.rank(), b.rank()); k > 2; k-- {
		letter := fmt.Sprintf("b%d", k-2)
		batch = append(batch, letter)
		ofA, ofB := c.batch(a, k, letter, b), c.batch(b, k, letter, a)
		batchA, batchB = append(batchA, ofA...), append(batchB, ofB...)
		if len(ofA) > 0 && slices.Equal(ofA, ofB) && a.live() && b.live() {
			// Attention: every head has dimensions of its own.
			c.heads = append(c.heads, letter)
			for _, d := range []string{"m", "i", "o"} {
				c.indexed = append(c.indexed, [2]string{letter, d})
			}
		}
	}
	list := func(batch, rest []string) string { return strings.Join(slices.Concat(batch, rest), " ") }
	return list(batchA, left) + ", " + list(batchB, right) + " -> " + list(batch, out), nil
}

// batch is the letter of an operand's k-th axis from the end: none where it has no such axis, one
// of its own where it has one position for many of the other.
func (c *call) batch(v *value, k int, letter string, other *value) []string {
	size := func(v *value) int { return v.axes[v.rank()-k].Size() }
	switch {
	case k > v.rank():
		return nil
	case k <= other.rank() && size(v) == 1 && size(other) != 1:
		return []string{"u" + letter}
	}
	return []string{letter}
}

// batchNormAxes: statistics of each channel, stored ones or (in training, which before opset 14 is
// told by further outputs) those of the batch.
func batchNormAxes(c *call) (string, error) {
	if c.attrInt("training_mode", 0) != 0 || c.opset < 14 && len(c.node.GetOutput()) > 1 {
		return "{n} c {s...}, c, c, c, c -> {n} c {s...}, c, c, c, c", nil
	}
	return "n c s..., c, c, c, c -> n c s...", nil
}

// layerNormAxes: normalises over the axes from `axis` on; scale and bias broadcast to them from the
// right. The normalised axes are mixed symmetrically when there is one of them.
func layerNormAxes(c *call) (string, error) {
	x := c.in[0]
	axis, err := c.position(c.attrInt("axis", -1), x.rank())
	if err != nil {
		return "", err
	}
	names, mixed := letters(x.rank()), letters(x.rank())
	brackets := "{}"
	if x.rank()-axis > 1 {
		brackets = "[]"
	}
	for k := axis; k < x.rank(); k++ {
		mixed[k] = within(brackets, mixed[k])
	}
	data := strings.Join(mixed, " ")
	expr := data
	for k := 1; k < 3; k++ {
		v := c.input(k)
		if v == nil {
			continue
		}
		if !v.ranked || v.rank() > x.rank()-axis {
			return "", errUnranked
		}
		expr += ", " + strings.Join(names[x.rank()-v.rank():], " ")
	}
	return expr + " -> " + data, nil
}

// normAxis maps a possibly negative axis into [0, rank), or returns -1.
func normAxis(axis int64, rank int) int {
	if axis < 0 {
		axis += int64(rank)
	}
	if axis < 0 || axis >= int64(rank) {
		return -1
	}
	return int(axis)
}

// window writes the spatial axes before and after a Conv or pool. Sizes that are not known, but
// that it leaves as they are, stay the sizes of the same axes.
func (c *call) window(space []*Axis, kernel []int) (before, after string, err error) {
	in := sizesOf(space)
	c.moving = slices.ContainsFunc(space, (*Axis).open)
	w := onnxio.WindowOf(c.node, kernel)
	if slices.Contains(in, -1) && w.KeepsSize() {
		return "[s...]", "[s...]", nil
	}
	placed, err := w.Place(in)
	if err != nil {
		return "", "", c.errorf("%w", err)
	}
	out := make([]int, len(in))
	for i, a := range placed {
		if out[i] = a.Out; a.Out == 0 {
			out[i] = -1 // made for larger inputs
		}
	}
	c.runs = map[string][]int{"t": out}
	return "s...", "t...", nil
}
