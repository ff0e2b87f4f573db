package coupling

import (
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

type (
	sizeMap = map[string]int
	restMap = map[string][]int
)

// convAxes: grouped convolution of any rank. With one input channel per group
// (depthwise) the groups themselves are the channels.
func convAxes(c *call) (string, sizeMap, restMap, error) {
	x, w := c.input(0), c.input(1)
	if x == nil || w == nil || !w.ranked {
		return "", nil, nil, errUnranked
	}
	group := int(c.attrInt("group", 1))
	if group < 1 {
		return "", nil, nil, fmt.Errorf("%s: group is %d", c.label(), group)
	}
	sizes := sizeMap{"g": group}
	if w.rank() < 2 || x.ranked && x.rank() != w.rank() {
		return "", nil, nil, fmt.Errorf("%s: input has %d axes, weight %q %d", c.label(), x.rank(), w.name, w.rank())
	}
	if !c.has(x, w.rank(), total(kindProd, []int{group, w.axes[1].Size()})) {
		return "", nil, nil, errUnranked
	}
	if in := w.axes[1].Size(); in > 0 && group > 1 {
		sizes["i"] = in
	}
	before, after, out, err := c.window(x.axes[2:], w.sizes()[2:])
	if err != nil {
		return "", nil, nil, err
	}
	if group == 1 {
		return "n i " + before + ", o i k..., o -> n o " + after, nil, out, nil
	}
	c.sizeRefs = map[string][]string{"group": {"g"}}
	return "n (g: i) " + before + ", (g: o) i k..., (g: o) -> n (g: o) " + after, sizes, out, nil
}

// convTransposeAxes: the transpose of a grouped convolution; its weight holds the
// input channels of all groups and the output channels of one.
func convTransposeAxes(c *call) (string, sizeMap, restMap, error) {
	x, w := c.input(0), c.input(1)
	if x == nil || w == nil || !w.ranked {
		return "", nil, nil, errUnranked
	}
	group := int(c.attrInt("group", 1))
	if group < 1 {
		return "", nil, nil, fmt.Errorf("%s: group is %d", c.label(), group)
	}
	if w.rank() < 2 || x.ranked && x.rank() != w.rank() {
		return "", nil, nil, fmt.Errorf("%s: input has %d axes, weight %q %d", c.label(), x.rank(), w.name, w.rank())
	}
	if !c.has(x, w.rank(), w.axes[0].Size()) {
		return "", nil, nil, errUnranked
	}
	out := restMap{"t": c.transposedSizes(x.sizes()[2:], w.sizes()[2:])}
	c.moving = slices.ContainsFunc(x.axes[2:], (*Axis).open)
	if group == 1 {
		return "n i s..., i o k..., o -> n o t...", nil, out, nil
	}
	sizes := sizeMap{"g": group}
	c.sizeRefs = map[string][]string{"group": {"g"}}
	n := w.axes[1].Size()
	if n == 1 { // the groups themselves are the channels
		return "n (g: i) s..., (g: i) 1 k..., g -> n g t...", sizes, out, nil
	}
	if n >= 0 {
		sizes["o"] = n
	}
	return "n (g: i) s..., (g: i) o k..., (g: o) -> n (g: o) t...", sizes, out, nil
}

// gemmAxes: Y = αA'B' + βC; C broadcasts to m×o.
func gemmAxes(c *call) (string, sizeMap, restMap, error) {
	if c.input(0) == nil || c.input(1) == nil {
		return "", nil, nil, errUnranked
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
			return "", nil, nil, errUnranked
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
	return expr + " -> m o", nil, nil, nil
}

// matMulAxes: numpy matrix product, either side constant or both live.
func matMulAxes(c *call) (string, sizeMap, restMap, error) {
	a, b := c.input(0), c.input(1)
	if a == nil || b == nil || !a.ranked || !b.ranked || a.rank() == 0 || b.rank() == 0 {
		return "", nil, nil, errUnranked
	}
	left, right, out := "m i", "i o", "m o"
	if a.rank() == 1 {
		left, out = "i", strings.TrimPrefix(out, "m ")
	}
	if b.rank() == 1 {
		right, out = "i", strings.TrimSuffix(strings.TrimSuffix(out, "o"), " ")
	}
	// Batch axes broadcast from the right; an axis of size one stands alone.
	na, nb := max(a.rank()-2, 0), max(b.rank()-2, 0)
	var batchA, batchB, batchOut []string
	for k := max(na, nb); k > 0; k-- {
		letter := fmt.Sprintf("b%d", k)
		inA, inB := k <= na, k <= nb
		la, lb := letter, letter
		if inA && inB {
			sa, sb := a.axes[na-k].Size(), b.axes[nb-k].Size()
			if sa == 1 && sb != 1 {
				la = "u" + letter
			} else if sb == 1 && sa != 1 {
				lb = "u" + letter
			}
		}
		if inA {
			batchA = append(batchA, la)
		}
		if inB {
			batchB = append(batchB, lb)
		}
		batchOut = append(batchOut, letter)
	}
	join := func(batch []string, rest string) string {
		return strings.TrimSpace(strings.Join(batch, " ") + " " + rest)
	}
	if a.live() && b.live() {
		// Attention: every head has dimensions of its own.
		for _, h := range batchA {
			if slices.Contains(batchB, h) {
				c.heads = append(c.heads, h)
				for _, d := range []string{"m", "i", "o"} {
					c.indexed = append(c.indexed, [2]string{h, d})
				}
			}
		}
	}
	return join(batchA, left) + ", " + join(batchB, right) + " -> " + join(batchOut, out), nil, nil, nil
}

// batchNormAxes: statistics of each channel, stored ones or (in training, which
// before opset 14 is told by further outputs) those of the batch.
func batchNormAxes(c *call) (string, sizeMap, restMap, error) {
	if c.attrInt("training_mode", 0) != 0 || c.opset < 14 && len(c.node.GetOutput()) > 1 {
		return "{n} c {s...}, c, c, c, c -> {n} c {s...}, c, c, c, c", nil, nil, nil
	}
	return "n c s..., c, c, c, c -> n c s...", nil, nil, nil
}

// layerNormAxes: normalises over the axes from `axis` on; scale and bias
// broadcast to them from the right. The normalised axes are mixed symmetrically
// when there is one of them.
func layerNormAxes(c *call) (string, sizeMap, restMap, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return "", nil, nil, errUnranked
	}
	axis := normAxis(c.attrInt("axis", -1), x.rank())
	if axis < 0 {
		return "", nil, nil, fmt.Errorf("%s: axis is out of range", c.label())
	}
	var head, tail []string
	open, shut := "{", "}"
	if x.rank()-axis > 1 {
		open, shut = "[", "]"
	}
	for i := 0; i < x.rank(); i++ {
		if i < axis {
			head = append(head, fmt.Sprintf("b%d", i))
		} else {
			tail = append(tail, fmt.Sprintf("c%d", i))
		}
	}
	mixed := make([]string, len(tail))
	for i, t := range tail {
		mixed[i] = open + t + shut
	}
	data := strings.Join(append(head, mixed...), " ")
	expr := data
	for k := 1; k < 3; k++ {
		v := c.input(k)
		if v == nil {
			continue
		}
		if !v.ranked || v.rank() > len(tail) {
			return "", nil, nil, errUnranked
		}
		expr += ", " + strings.Join(tail[len(tail)-v.rank():], " ")
	}
	return expr + " -> " + data, nil, nil, nil
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

// window writes the spatial axes before and after a Conv or pool. Sizes that are
// not known, but that it leaves as they are, stay the sizes of the same axes.
func (c *call) window(space []*Axis, kernel []int) (before, after string, sizes restMap, err error) {
	in := make([]int, len(space))
	for i, a := range space {
		in[i] = a.Size()
		c.moving = c.moving || a.open()
	}
	w := onnxio.WindowOf(c.node, kernel)
	if slices.Contains(in, -1) && w.KeepsSize() {
		return "[s...]", "[s...]", nil, nil
	}
	placed, err := w.Place(in)
	if err != nil {
		return "", "", nil, fmt.Errorf("%s: %w", c.label(), err)
	}
	out := make([]int, len(in))
	for i, a := range placed {
		out[i] = a.Out
	}
	return "s...", "t...", restMap{"t": out}, nil
}

// transposedSizes is the spatial output shape of a ConvTranspose; -1 where it is
// not known.
func (c *call) transposedSizes(in, kernel []int) []int {
	list := func(name string, i int, def int) int {
		if v := onnxio.AttrInts(c.node, name); i < len(v) && v[i] >= 0 && v[i] <= maxSize {
			return int(v[i])
		}
		return def
	}
	same := strings.HasPrefix(onnxio.AttrString(c.node, "auto_pad", "NOTSET"), "SAME")
	out := make([]int, len(in))
	for i, n := range in {
		stride := max(list("strides", i, 1), 1)
		switch fixed := list("output_shape", i, -1); {
		case fixed >= 0:
			out[i] = fixed
		case n < 0 || n > maxSize/stride || kernel[i] < 0:
			out[i] = -1
		case same:
			out[i] = n * stride
		default:
			span := total(kindProd, []int{list("dilations", i, 1), max(kernel[i]-1, 0)})
			if out[i] = -1; span >= 0 {
				out[i] = max(-1, stride*(n-1)+list("output_padding", i, 0)+span+1-list("pads", i, 0)-list("pads", i+len(in), 0))
			}
		}
	}
	return out
}
