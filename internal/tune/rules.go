package tune

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// rules are the operators that gradients pass through. An operator that is not listed keeps what
// lies before it from being trained.
var rules = map[string]rule{
	"Conv": conv, "Gemm": gemm, "MatMul": matMul, "Einsum": einsum, "Concat": concat,

	"Add": spread(func(_ *tape, _ *op, dy string, _ int) string { return dy }),
	"Sum": spread(func(_ *tape, _ *op, dy string, _ int) string { return dy }),
	"Sub": spread(func(t *tape, _ *op, dy string, i int) string { return t.signed(dy, i) }),
	"Mul": spread(func(t *tape, n *op, dy string, i int) string { return t.mul(dy, n.in[1-i]) }),
	"Div": spread(func(t *tape, n *op, dy string, i int) string {
		d := t.do("Div", dy, n.in[1])
		if i == 1 {
			d = t.mul(d, n.out)
		}
		return t.signed(d, i)
	}),

	"Max":    spread(func(t *tape, n *op, dy string, i int) string { return t.mul(dy, t.least(n.in[i], n.out)) }),
	"Min":    spread(func(t *tape, n *op, dy string, i int) string { return t.mul(dy, t.least(n.out, n.in[i])) }),
	"Where":  spread(chosen),
	"Expand": spread(func(_ *tape, _ *op, dy string, _ int) string { return dy }),

	"Relu": each(func(t *tape, _ *op, _, y string) string { return t.positive(y) }),
	"LeakyRelu": each(func(t *tape, n *op, x, _ string) string {
		alpha := n.float("alpha", 0.01)
		return t.do("Add", t.scale(t.positive(x), 1-alpha), t.scalar(alpha))
	}),
	"PRelu": each(func(t *tape, n *op, x, _ string) string {
		up := t.positive(x)
		return t.do("Add", up, t.mul(t.do("Sub", t.scalar(1), up), n.in[1]))
	}),
	"Sigmoid":    each(func(t *tape, _ *op, _, y string) string { return t.mul(y, t.do("Sub", t.scalar(1), y)) }),
	"Tanh":       each(func(t *tape, _ *op, _, y string) string { return t.do("Sub", t.scalar(1), t.mul(y, y)) }),
	"Exp":        each(func(_ *tape, _ *op, _, y string) string { return y }),
	"Log":        each(func(t *tape, _ *op, x, _ string) string { return t.do("Reciprocal", x) }),
	"Abs":        each(func(t *tape, _ *op, x, _ string) string { return t.do("Sign", x) }),
	"Sin":        each(func(t *tape, _ *op, x, _ string) string { return t.do("Cos", x) }),
	"Cos":        each(func(t *tape, _ *op, x, _ string) string { return t.do("Neg", t.do("Sin", x)) }),
	"Reciprocal": each(func(t *tape, _ *op, _, y string) string { return t.do("Neg", t.mul(y, y)) }),
	"Softplus":   each(func(t *tape, _ *op, x, _ string) string { return t.do("Sigmoid", x) }),
	"Elu": each(func(t *tape, n *op, x, y string) string {
		return t.either(t.positive(x), t.scalar(1), t.do("Add", y, t.scalar(n.float("alpha", 1))))
	}),
	"Selu": each(func(t *tape, n *op, x, y string) string {
		gamma, alpha := n.float("gamma", 1.0507), n.float("alpha", 1.67326)
		return t.either(t.positive(x), t.scalar(gamma), t.do("Add", y, t.scalar(gamma*alpha)))
	}),
	"Gelu": each(gelu),
	"Mish": each(func(t *tape, _ *op, x, _ string) string {
		h := t.do("Tanh", t.do("Softplus", x))
		return t.do("Add", h, t.mul(t.mul(x, t.do("Sigmoid", x)), t.do("Sub", t.scalar(1), t.mul(h, h))))
	}),
	"HardSigmoid": each(func(t *tape, n *op, _, y string) string { return t.scale(t.within(y, 0, 1), n.float("alpha", 0.2)) }),
	"HardSwish": each(func(t *tape, _ *op, x, _ string) string {
		inside := t.mul(t.within(x, -3, 3), t.do("Add", t.scale(x, 1.0/3), t.scalar(0.5)))
		return t.do("Add", inside, t.least(x, t.scalar(3)))
	}),
	"Erf": each(func(t *tape, _ *op, x, _ string) string {
		return t.scale(t.do("Exp", t.do("Neg", t.mul(x, x))), 2/math.Sqrt(math.Pi))
	}),
	"GlobalMaxPool": each(func(t *tape, _ *op, x, y string) string { return t.least(x, y) }),

	"Neg":      first(func(t *tape, _ *op, dy string) (string, error) { return t.do("Neg", dy), nil }),
	"Sqrt":     first(func(t *tape, n *op, dy string) (string, error) { return t.scale(t.do("Div", dy, n.out), 0.5), nil }),
	"Identity": first(same), "Dropout": first(same),
	"Flatten": first(reshaped), "Reshape": first(reshaped), "Squeeze": first(reshaped), "Unsqueeze": first(reshaped),
	"Transpose": first(transposed), "Slice": first(sliced), "Pad": first(padded), "Split": first(split),
	"Gather": first(gathered), "Tile": first(tiled), "DepthToSpace": first(toDepth), "SpaceToDepth": first(toSpace), "Resize": first(resized),
	"Clip": first(clip), "Pow": first(power), "Softmax": first(softmax), "LogSoftmax": first(softmax), "Cast": first(cast),
	"LayerNormalization": first(layerNorm), "RMSNormalization": first(rmsNorm), "BatchNormalization": first(batchNorm),
	"InstanceNormalization": first(instanceNorm), "ConvTranspose": first(convTranspose),
	"MaxPool": first(maxPool), "AveragePool": first(averagePool),
	"GlobalAveragePool": first(reduced), "ReduceMean": first(reduced), "ReduceSum": first(reduced),
	"ReduceL2": first(reduced), "ReduceMax": first(reduced), "ReduceMin": first(reduced),
}

// spread is the rule of an operator that broadcasts.
func spread(f func(t *tape, n *op, dy string, i int) string) rule {
	return func(t *tape, n *op, dy string, i int) (string, error) {
		return t.unbroadcast(f(t, n, dy, i), n.y, n.dims[i]), nil
	}
}

// first is the rule of an operator whose other inputs are settings, or parameters that stay.
func first(f func(t *tape, n *op, dy string) (string, error)) rule {
	return func(t *tape, n *op, dy string, i int) (string, error) {
		if i > 0 {
			return "", nil
		}
		return f(t, n, dy)
	}
}

// each is the rule of an operator that works on every number by itself: slope is what its output y
// changes by with its first input x.
func each(slope func(t *tape, n *op, x, y string) string) rule {
	return first(func(t *tape, n *op, dy string) (string, error) {
		return t.mul(dy, slope(t, n, n.in[0], n.out)), nil
	})
}

// window is a window in its place on an input, with one entry per spatial axis.
type window []onnxio.WindowAxis

// placed finds the window of a node on an input of a spatial size; kernel is that of a Conv's
// weight.
func placed(n *onnxpb.NodeProto, kernel, in []int) (window, error) {
	w, err := onnxio.WindowOf(n, kernel).Place(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoRule, err)
	}
	if slices.ContainsFunc(w, func(a onnxio.WindowAxis) bool { return a.Unread < 0 }) {
		return nil, fmt.Errorf("%w: windows reach beyond the padding", errNoRule)
	}
	return w, nil
}

// each lists one number per axis.
func (w window) each(of func(a onnxio.WindowAxis) int) []int {
	out := make([]int, len(w))
	for i, a := range w {
		out[i] = of(a)
	}
	return out
}

func (w window) kernel() []int  { return w.each(func(a onnxio.WindowAxis) int { return a.Kernel }) }
func (w window) strides() []int { return w.each(func(a onnxio.WindowAxis) int { return a.Stride }) }
func (w window) before() []int  { return w.each(func(a onnxio.WindowAxis) int { return a.Before }) }
func (w window) after() []int   { return w.each(func(a onnxio.WindowAxis) int { return a.After }) }

func (w window) padded() bool {
	return slices.ContainsFunc(w, func(a onnxio.WindowAxis) bool { return a.Before+a.After > 0 })
}

func (w window) attrs(group int) []*onnxpb.AttributeProto {
	return []*onnxpb.AttributeProto{
		onnxio.NewAttrInts("kernel_shape", w.kernel()...), onnxio.NewAttrInts("strides", w.strides()...),
		onnxio.NewAttrInts("dilations", w.each(func(a onnxio.WindowAxis) int { return a.Dilation })...),
		onnxio.NewAttrInts("pads", append(w.before(), w.after()...)...), onnxio.NewAttrInt("group", group),
	}
}

// back is the transposed convolution: what each input position gets from all windows that read it.
func (t *tape) back(dy, weight string, w window, group int) string {
	unread := w.each(func(a onnxio.WindowAxis) int { return a.Unread })
	return t.node("ConvTranspose", []string{dy, weight}, append(w.attrs(group), onnxio.NewAttrInts("output_padding", unread...))...)
}

// taps is the kernel [c·taps, 1, kernel...] that picks every position under a window on its own.
func (t *tape) taps(c int, kernel []int) string {
	n := engine.Count(kernel)
	v := make([]float64, c*n*n)
	for i := range c * n {
		v[i*n+i%n] = 1
	}
	return t.floats(append([]int{c * n, 1}, kernel...), v...)
}

// unfold returns all that the windows see: [N, c·taps, out...].
func (t *tape) unfold(x string, c int, w window) string {
	if engine.Count(w.kernel()) == 1 && engine.Count(w.strides()) == 1 && !w.padded() {
		return x
	}
	return t.node("Conv", []string{x, t.taps(c, w.kernel())}, w.attrs(c)...)
}

func conv(t *tape, n *op, dy string, i int) (string, error) {
	x, weight := n.dims[0], n.dims[1]
	w, err := placed(n.NodeProto, weight[2:], x[2:])
	if err != nil {
		return "", err
	}
	switch group := n.int("group", 1); i {
	case 0:
		return t.toInput(dy, n.in[1], x, n.y, weight, w, group), nil
	case 1:
		if group > 1 && t.inBlocksIsFaster(weight, group) {
			return t.blockedKernel(n.in[0], dy, x, n.y, weight, w), nil
		}
		return t.toKernel(n.in[0], dy, x, n.y, weight, w, group), nil
	}
	return t.reduce(dy, false, slices.Delete(upTo(len(n.y)), 1, 2)...), nil
}

// toInput is the gradient of a convolution's input. Under a stride of one it is a convolution
// itself, with the kernel turned around, which onnxruntime does up to twice as fast as the
// transposed one.
func (t *tape) toInput(dy, kernel string, x, y, size []int, w window, group int) string {
	if group > 1 && t.inBlocksIsFaster(size, group) {
		if dx := t.blockedInput(dy, kernel, x, y, size, w); dx != "" {
			return dx
		}
	}
	back := slices.Clone(w)
	for i, a := range w {
		reach := a.Dilation * (a.Kernel - 1)
		if a.Stride != 1 || a.Before > reach || a.After > reach {
			return t.back(dy, kernel, w, group)
		}
		back[i].Before, back[i].After = reach-a.Before, reach-a.After
	}
	if engine.Count(size[2:]) == 1 && group == 1 && !w.padded() {
		k := t.transpose(t.reshape(kernel, size[:2]...), 1, 0)
		dx := t.do("MatMul", k, t.reshape(dy, y[0], y[1], engine.Count(y[2:])))
		return t.reshape(dx, x...)
	}
	turned := append([]int{group * size[1], size[0] / group}, size[2:]...)
	return t.convolve(convolution{x: dy, dims: y, kernel: t.turned(kernel, size, group), size: turned, w: back, group: group})
}

// mostTaps is the size of a kernel up to which toKernel writes nodes for every position in it.
const mostTaps = 25

// toKernel is the gradient of a convolution's kernel: what each of its positions reads times dy,
// over all places. One product for all samples is best where there are few places, since its
// results are kernels, and one for each sample where there are many, since nothing is transposed.
func (t *tape) toKernel(in, dy string, x, y, size []int, w window, group int) string {
	c, o, taps, places := x[1], y[1], engine.Count(w.kernel()), engine.Count(y[2:])
	if group > 1 || taps > mostTaps || t.opset < 10 && engine.Count(w.strides()) > 1 {
		u := t.reshape(t.unfold(in, c, w), x[0], group, c/group*taps, places)
		d := t.transpose(t.reshape(dy, y[0], group, o/group, places), 0, 1, 3, 2)
		each := t.do("MatMul", u, d) // N, group, inputs, outputs
		return t.reshape(t.transpose(t.reduce(each, false, 0), 0, 2, 1), size...)
	}
	together := places <= 2*o
	if together && t.inBlocksIsFaster(size, group) && t.whole(x[0])*2 <= x[0]*3 {
		return t.blockedProduct(in, dy, x, y, size, w)
	}
	swap := append([]int{1, 0}, upTo(len(x))[2:]...)
	if together {
		in = t.transpose(in, swap...)
	}
	if w.padded() {
		in = t.pad(in, append([]int{0, 0}, w.before()...), append([]int{0, 0}, w.after()...))
	}
	parts := t.seen(in, y[2:], w)
	if together {
		all := t.transpose(t.reshape(t.concat(parts, 0), taps*c, x[0]*places), 1, 0)
		k := t.do("MatMul", t.reshape(t.transpose(dy, swap...), o, x[0]*places), all)
		if taps > 1 {
			k = t.transpose(t.reshape(k, o, taps, c), 0, 2, 1)
		}
		return t.reshape(k, size...)
	}
	d := t.reshape(dy, x[0], o, places)
	for i, p := range parts {
		each := t.do("MatMul", d, t.transpose(t.reshape(p, x[0], c, places), 0, 2, 1))
		parts[i] = t.reshape(t.reduce(each, false, 0), o, c, 1)
	}
	return t.reshape(t.concat(parts, 2), size...)
}

// seen lists what each position of a window reads at all places, of a padded tensor whose first two
// axes the window does not move along.
func (t *tape) seen(x string, places []int, w window) []string {
	if engine.Count(w.kernel()) == 1 && engine.Count(w.strides()) == 1 {
		return []string{x}
	}
	k := len(w)
	cut := [][]int{upTo(k + 2)[2:]}
	if steps := w.strides(); engine.Count(steps) > 1 {
		cut = append(cut, steps)
	}
	at := make([]int, k)
	var out []string
	for range engine.Count(w.kernel()) {
		from, to := make([]int, k), make([]int, k)
		for i := range k {
			from[i] = at[i] * w[i].Dilation
			to[i] = from[i] + (places[i]-1)*w[i].Stride + 1
		}
		out = append(out, t.slice(x, from, to, cut...))
		for i := k - 1; i >= 0; i-- {
			if at[i]++; at[i] < w[i].Kernel {
				break
			}
			at[i] = 0
		}
	}
	return out
}

// convTranspose is the gradient of its input; its own kernel stays.
func convTranspose(t *tape, n *op, dy string) (string, error) {
	weight := n.dims[1]
	if onnxio.AttrInts(n.NodeProto, "output_shape") != nil {
		return "", errNoRule
	}
	if auto := onnxio.AttrString(n.NodeProto, "auto_pad", "NOTSET"); auto != "NOTSET" && auto != "VALID" {
		return "", errNoRule
	}
	w, err := placed(n.NodeProto, weight[2:], n.y[2:])
	if err != nil {
		return "", err
	}
	return t.node("Conv", []string{dy, n.in[1]}, w.attrs(n.int("group", 1))...), nil
}

func gemm(t *tape, n *op, dy string, i int) (string, error) {
	if i == 2 {
		return t.unbroadcast(t.scale(dy, n.float("beta", 1)), n.y, n.dims[2]), nil
	}
	turnA, turnB := n.int("transA", 0) != 0, n.int("transB", 0) != 0
	d := t.scale(dy, n.float("alpha", 1))
	if i == 0 {
		return t.product(d, n.in[1], false, !turnB, turnA), nil
	}
	return t.product(n.in[0], d, !turnA, false, turnB), nil
}

// product is that of two matrices, each transposed or not, or its transpose. Nothing but a factor
// is transposed, which onnxruntime does on the way.
func (t *tape) product(a, b string, turnA, turnB, turn bool) string {
	if turn {
		a, b, turnA, turnB = b, a, !turnB, !turnA
	}
	flip := func(x string, do bool) string {
		if do {
			return t.transpose(x, 1, 0)
		}
		return x
	}
	return t.do("MatMul", flip(a, turnA), flip(b, turnB))
}

func matMul(t *tape, n *op, dy string, i int) (string, error) {
	a, b, y := n.dims[0], n.dims[1], n.y
	switch {
	case len(a) < 2 || len(b) < 2:
		return "", errNoRule
	case i == 0:
		d := t.do("MatMul", dy, t.swapped(n.in[1], len(b)))
		return t.unbroadcast(d, append(slices.Clone(y[:len(y)-1]), a[len(a)-1]), a), nil
	case len(b) == 2:
		x := t.reshape(n.in[0], -1, b[0])
		return t.do("MatMul", t.transpose(x, 1, 0), t.reshape(dy, -1, b[1])), nil
	}
	d := t.do("MatMul", t.swapped(n.in[0], len(a)), dy)
	return t.unbroadcast(d, append(slices.Clone(y[:len(y)-2]), b[len(b)-2:]...), b), nil
}

// einsum of two tensors is an einsum of the gradient and the other one, where each letter of the
// input is one of these, once.
func einsum(t *tape, n *op, dy string, i int) (string, error) {
	sides := strings.Split(strings.ReplaceAll(onnxio.AttrString(n.NodeProto, "equation", ""), " ", ""), "->")
	terms := strings.Split(sides[0], ",")
	if len(sides) != 2 || len(terms) != 2 || strings.Contains(sides[0], ".") {
		return "", errNoRule
	}
	own, other := terms[i], terms[1-i]
	for k, letter := range own {
		if strings.ContainsRune(own[:k], letter) || !strings.ContainsRune(sides[1]+other, letter) {
			return "", errNoRule
		}
	}
	equation := onnxio.NewAttr("equation", sides[1]+","+other+"->"+own)
	return t.node("Einsum", []string{dy, n.in[1-i]}, equation), nil
}

// signed is x, or −x of the second input.
func (t *tape) signed(x string, input int) string {
	if input == 1 {
		return t.do("Neg", x)
	}
	return x
}

// above is 1 where x > y, else 0.
func (t *tape) above(x, y string) string { return t.mask(t.do("Greater", x, y)) }

// least is 1 where x ≥ y, else 0.
func (t *tape) least(x, y string) string { return t.mask(t.do("Not", t.do("Less", x, y))) }

// positive is 1 where a tensor is above zero, else 0.
func (t *tape) positive(x string) string { return t.above(x, t.scalar(0)) }

// within is 1 where lo < x < hi, else 0.
func (t *tape) within(x string, lo, hi float64) string {
	return t.mul(t.above(x, t.scalar(lo)), t.above(t.scalar(hi), x))
}

// clip passes a gradient on where the output is between the bounds. That needs no input, so that
// onnxruntime can clip what a convolution makes at once.
func clip(t *tape, n *op, dy string) (string, error) {
	var within []string
	low, high := t.bounds(n.NodeProto)
	if low != "" {
		within = append(within, t.do("Greater", n.out, low))
	}
	if high != "" {
		within = append(within, t.do("Less", n.out, high))
	}
	switch len(within) {
	case 0:
		return dy, nil
	case 2:
		within[0] = t.do("And", within...)
	}
	return t.mul(dy, t.mask(within[0])), nil
}

// either is x where a mask is 1, and y where it is 0.
func (t *tape) either(mask, x, y string) string {
	return t.do("Add", t.mul(mask, x), t.mul(t.do("Sub", t.scalar(1), mask), y))
}

// chosen passes a gradient to the input of a Where that a place is taken from.
func chosen(t *tape, n *op, dy string, i int) string {
	mask := t.mask(n.in[0])
	if i == 2 {
		mask = t.do("Sub", t.scalar(1), mask)
	}
	return t.mul(dy, mask)
}

// gelu is Φ(x) + x·φ(x), or the slope of the approximation by tanh.
func gelu(t *tape, n *op, x, _ string) string {
	one, half := t.scalar(1), t.scalar(0.5)
	square := t.mul(x, x)
	if onnxio.AttrString(n.NodeProto, "approximate", "none") == "tanh" {
		a := math.Sqrt(2 / math.Pi)
		h := t.do("Tanh", t.mul(t.scale(x, a), t.do("Add", one, t.scale(square, 0.044715))))
		inner := t.scale(t.do("Add", one, t.scale(square, 3*0.044715)), a)
		rest := t.mul(t.mul(x, t.do("Sub", one, t.mul(h, h))), inner)
		return t.mul(half, t.do("Add", t.do("Add", one, h), rest))
	}
	phi := t.scale(t.do("Exp", t.scale(square, -0.5)), 1/math.Sqrt(2*math.Pi))
	below := t.mul(half, t.do("Add", one, t.do("Erf", t.scale(x, math.Sqrt(0.5)))))
	return t.do("Add", below, t.mul(x, phi))
}

// cast passes a gradient on where numbers stay what they are.
func cast(_ *tape, n *op, dy string) (string, error) {
	if n.int("to", 0) != int(onnxio.Float) {
		return "", errNoRule
	}
	return dy, nil
}

// bounds are the tensors that hold those of a Clip, "" where there is none.
func (t *tape) bounds(n *onnxpb.NodeProto) (low, high string) {
	if t.opset < 11 {
		return t.scalar(float64(onnxio.AttrFloat(n, "min", -math.MaxFloat32))), t.scalar(float64(onnxio.AttrFloat(n, "max", math.MaxFloat32)))
	}
	in := append(slices.Clone(n.GetInput()), "", "")
	return in[1], in[2]
}

// power passes through x^p for a constant p.
func power(t *tape, n *op, dy string) (string, error) {
	v, err := t.value(n.in[1])
	if err != nil {
		return "", err
	}
	p := v.Float64()
	if len(p) != 1 {
		return "", errNoRule
	}
	slope := n.in[0]
	if p[0] != 2 {
		slope = t.do("Pow", slope, t.scalar(p[0]-1))
	}
	return t.scale(t.mul(dy, slope), p[0]), nil
}

// layerNorm passes through the normalisation of the last axis, whose own parameters stay. With g =
// dy·scale and z the normalised input
//
//	dx = (g − mean g − z·mean(g·z))/σ
func layerNorm(t *tape, n *op, dy string) (string, error) {
	x := n.in[0]
	rank := len(n.y)
	if axis := n.int("axis", -1); axis != -1 && axis != rank-1 {
		return "", errNoRule
	}
	mean := func(v string) string { return t.mean(v, rank-1) }
	d := t.do("Sub", x, mean(x))
	eps := t.scalar(n.float("epsilon", 1e-5))
	sigma := t.do("Sqrt", t.do("Add", mean(t.mul(d, d)), eps))
	z := t.do("Div", d, sigma)
	g := t.mul(dy, n.in[1])
	g = t.do("Sub", t.do("Sub", g, mean(g)), t.mul(z, mean(t.mul(g, z))))
	return t.do("Div", g, sigma), nil
}

// rmsNorm is layerNorm without the mean: dx = (g − z·mean(g·z))/σ with σ² the mean square.
func rmsNorm(t *tape, n *op, dy string) (string, error) {
	x := n.in[0]
	rank := len(n.y)
	if axis := n.int("axis", -1); axis != -1 && axis != rank-1 {
		return "", errNoRule
	}
	mean := func(v string) string { return t.mean(v, rank-1) }
	sigma := t.do("Sqrt", t.do("Add", mean(t.mul(x, x)), t.scalar(n.float("epsilon", 1e-5))))
	z := t.do("Div", x, sigma)
	g := t.mul(dy, n.in[1])
	return t.do("Div", t.do("Sub", g, t.mul(z, mean(t.mul(g, z)))), sigma), nil
}

// softmax also stands for its logarithm, with dx = dy − exp(y)·Σ dy.
func softmax(t *tape, n *op, dy string) (string, error) {
	axis := n.axis(-1)
	if t.opset < 13 {
		if axis = n.axis(1); axis != len(n.y)-1 {
			return "", errNoRule // over several axes at once
		}
	}
	if n.GetOpType() == "LogSoftmax" {
		return t.do("Sub", dy, t.mul(t.do("Exp", n.out), t.reduce(dy, true, axis))), nil
	}
	mean := t.reduce(t.mul(dy, n.out), true, axis)
	return t.mul(n.out, t.do("Sub", dy, mean)), nil
}

// instanceNorm is layerNorm over the places of each channel, whose own parameters stay.
func instanceNorm(t *tape, n *op, dy string) (string, error) {
	places := upTo(len(n.y))[2:]
	mean := func(v string) string {
		return t.scale(t.reduce(v, true, places...), 1/float64(engine.Count(n.y[2:])))
	}
	d := t.do("Sub", n.in[0], mean(n.in[0]))
	sigma := t.do("Sqrt", t.do("Add", mean(t.mul(d, d)), t.scalar(n.float("epsilon", 1e-5))))
	z := t.do("Div", d, sigma)
	g := t.mul(dy, t.reshape(n.in[1], append([]int{n.y[1]}, slices.Repeat([]int{1}, len(places))...)...))
	g = t.do("Sub", t.do("Sub", g, mean(g)), t.mul(z, mean(t.mul(g, z))))
	return t.do("Div", g, sigma), nil
}

// batchNorm passes through the normalisation, whose own parameters stay.
func batchNorm(t *tape, n *op, dy string) (string, error) {
	scale, err := t.value(n.in[1])
	if err != nil {
		return "", err
	}
	variance, err := t.value(n.in[4])
	if err != nil {
		return "", err
	}
	slope, v := scale.Float64(), variance.Float64()
	for i := range slope {
		slope[i] /= math.Sqrt(v[i] + n.float("epsilon", 1e-5))
	}
	dims := slices.Repeat([]int{1}, len(n.y))
	dims[1] = len(slope)
	return t.mul(dy, t.floats(dims, slope...)), nil
}

func ints(v []int64) []int {
	out := make([]int, len(v))
	for i := range v {
		out[i] = int(v[i])
	}
	return out
}

// maxPool gives the gradient to the largest value under each window; to all of them where several
// are equal.
func maxPool(t *tape, n *op, dy string) (string, error) {
	x, y := n.dims[0], n.y
	w, err := placed(n.NodeProto, nil, x[2:])
	if err != nil {
		return "", err
	}
	c, taps, places := x[1], engine.Count(w.kernel()), engine.Count(y[2:])
	u := t.reshape(t.unfold(n.in[0], c, w), y[0], c, taps, places)
	top := t.reshape(n.out, y[0], c, 1, places)
	is := t.least(u, top)
	d := t.reshape(t.mul(is, t.reshape(dy, y[0], c, 1, places)), append([]int{y[0], c * taps}, y[2:]...)...)
	return t.back(d, t.taps(c, w.kernel()), w, c), nil
}

func averagePool(t *tape, n *op, dy string) (string, error) {
	x := n.dims[0]
	w, err := placed(n.NodeProto, nil, x[2:])
	if err != nil {
		return "", err
	}
	if n.int("count_include_pad", 0) == 0 && w.padded() {
		return "", errNoRule
	}
	kernel := t.filled(append([]int{x[1], 1}, w.kernel()...), 1/float64(engine.Count(w.kernel())))
	return t.back(dy, kernel, w, x[1]), nil
}

// reduced hands a gradient back over the axes that a sum, a mean, a length or an extreme was taken
// over: of a mean evenly, of an extreme to all that are equal to it.
func reduced(t *tape, n *op, dy string) (string, error) {
	x := n.dims[0]
	axes, err := t.axes(n, "axes", 1)
	if err != nil {
		return "", err
	}
	if n.GetOpType() == "GlobalAveragePool" {
		axes = upTo(len(x))[2:]
	}
	if len(axes) == 0 && n.int("noop_with_empty_axes", 0) != 0 {
		return "", errNoRule
	}
	kept, over := slices.Clone(x), slices.Repeat([]int{1}, len(x))
	for i := range over {
		if len(axes) == 0 || slices.Contains(axes, i) || slices.Contains(axes, i-len(x)) {
			over[i], kept[i] = x[i], 1
		}
	}
	dy = t.reshape(dy, kept...)
	switch n.GetOpType() {
	case "ReduceSum":
		return t.mul(dy, t.filled(over, 1)), nil
	case "ReduceL2":
		return t.mul(n.in[0], t.do("Div", dy, t.reshape(n.out, kept...))), nil
	case "ReduceMax":
		return t.mul(dy, t.least(n.in[0], t.reshape(n.out, kept...))), nil
	case "ReduceMin":
		return t.mul(dy, t.least(t.reshape(n.out, kept...), n.in[0])), nil
	}
	return t.mul(dy, t.filled(over, 1/float64(engine.Count(over)))), nil
}

// axes is a list of integers that is an attribute in old operator sets and an input in new ones,
// nil where it is left out.
func (t *tape) axes(n *op, name string, input int) ([]int, error) {
	if v := onnxio.AttrInts(n.NodeProto, name); v != nil {
		return ints(v), nil
	}
	if len(n.in) <= input || n.in[input] == "" {
		return nil, nil
	}
	if v, ok := t.values[n.in[input]]; ok {
		return v, nil
	}
	v, err := t.value(n.in[input])
	if err != nil {
		return nil, err
	}
	return ints(v.I64), nil
}

func reshaped(t *tape, n *op, dy string) (string, error) {
	return t.reshape(dy, n.dims[0]...), nil
}

func same(t *tape, n *op, dy string) (string, error) {
	return dy, nil
}

func transposed(t *tape, n *op, dy string) (string, error) {
	back := upTo(len(n.y))
	slices.Reverse(back)
	for i, p := range onnxio.AttrInts(n.NodeProto, "perm") {
		back[p] = i
	}
	return t.transpose(dy, back...), nil
}

// split lays the gradients of all its outputs behind each other; those that nothing reads are zero.
func split(t *tape, n *op, _ string) (string, error) {
	axis := n.axis(0)
	var parts []string
	for _, o := range n.GetOutput() {
		d := t.sum(o)
		if d == "" {
			d = t.filled(t.dims[o], 0)
		}
		parts = append(parts, d)
	}
	return t.node("Concat", parts, onnxio.NewAttrInt("axis", axis)), nil
}

func concat(t *tape, n *op, dy string, i int) (string, error) {
	axis := n.axis(1)
	from, to := make([]int, len(n.y)), slices.Clone(n.y)
	for _, d := range n.dims[:i] {
		from[axis] += d[axis]
	}
	to[axis] = from[axis] + n.dims[i][axis]
	return t.slice(dy, from, to), nil
}

// A cut is where a Slice starts on an axis, and its step.
type cut struct{ start, step int }

// cuts are those of a Slice of an input of size x, by axis.
func (t *tape) cuts(n *op, x []int) ([]cut, error) {
	var lists [4][]int // starts, ends, axes, steps
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		var err error
		if lists[i], err = t.axes(n, name, i+1); err != nil {
			return nil, err
		}
	}
	out := slices.Repeat([]cut{{0, 1}}, len(x))
	for k, start := range lists[0] {
		axis, step := k, 1
		if len(lists[2]) > 0 {
			axis = (lists[2][k] + len(x)) % len(x)
		}
		if len(lists[3]) > 0 {
			step = lists[3][k]
		}
		if step < 1 {
			return nil, errNoRule
		}
		if start < 0 {
			start += x[axis]
		}
		out[axis] = cut{min(max(start, 0), x[axis]), step}
	}
	return out, nil
}

// sliced puts a gradient back where it was cut out, zeros around it and, under steps, between.
func sliced(t *tape, n *op, dy string) (string, error) {
	x := n.dims[0]
	cuts, err := t.cuts(n, x)
	if err != nil {
		return "", err
	}
	size := slices.Clone(n.y)
	before, after := make([]int, len(x)), make([]int, len(x))
	for axis, c := range cuts {
		if c.step > 1 {
			dy = t.dilate(dy, size, axis, c.step)
		}
		before[axis], after[axis] = c.start, x[axis]-c.start-size[axis]
	}
	return t.pad(dy, before, after), nil
}

// dilate puts step−1 zeros behind each index of an axis of a tensor, whose size it changes.
func (t *tape) dilate(x string, size []int, axis, step int) string {
	apart := slices.Insert(slices.Clone(size), axis+1, 1)
	after := make([]int, len(apart))
	after[axis+1] = step - 1
	x = t.pad(t.reshape(x, apart...), make([]int, len(apart)), after)
	size[axis] *= step
	return t.reshape(x, size...)
}

func padded(t *tape, n *op, dy string) (string, error) {
	pads, err := t.axes(n, "pads", 1)
	if err != nil {
		return "", err
	}
	// Pads of some axes only have another length.
	if len(pads) != 2*len(n.y) || slices.Min(pads) < 0 || onnxio.AttrString(n.NodeProto, "mode", "constant") != "constant" {
		return "", errNoRule
	}
	less := make([]int, len(pads))
	for i, k := range pads {
		less[i] = -k
	}
	return t.pad(dy, less[:len(n.y)], less[len(n.y):]), nil
}
