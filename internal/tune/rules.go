package tune

import (
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// rules are the operators that gradients pass through. An operator that is not
// listed keeps what lies before it from being trained.
var rules map[string]rule

func init() {
	rules = map[string]rule{
		"Conv": conv, "Gemm": gemm, "MatMul": matMul,
		"Add": add, "Sub": sub, "Mul": multiply, "Div": divide, "Sum": add,
		"Relu": each(relu), "LeakyRelu": each(leakyRelu), "Sigmoid": each(sigmoid), "Tanh": each(tanh), "Exp": each(exponential),
		"HardSigmoid": each(hardSigmoid), "HardSwish": each(hardSwish), "Erf": each(erf), "GlobalMaxPool": each(greatest),
		"PRelu": pRelu, "Clip": clip, "Sqrt": root, "Pow": power, "Neg": negative,
		"LayerNormalization": layerNorm, "Split": split, "Softmax": softmax, "BatchNormalization": batchNorm,
		"MaxPool": maxPool, "AveragePool": averagePool, "GlobalAveragePool": globalAverage, "ReduceMean": reduceMean,
		"Flatten": reshaped, "Reshape": reshaped, "Squeeze": reshaped, "Unsqueeze": reshaped, "Identity": same, "Dropout": same,
		"Transpose": transposed, "Concat": concat, "Slice": sliced, "Pad": padded,
	}
}

// window is a window in its place on an input, with one entry per spatial axis.
type window []onnxio.WindowAxis

// placed finds the window of a node on an input of a spatial size; kernel is that
// of a Conv's weight.
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

// back is the transposed convolution: what each input position gets from all
// windows that read it.
func (t *tape) back(dy, weight string, w window, group int) string {
	unread := w.each(func(a onnxio.WindowAxis) int { return a.Unread })
	return t.node("ConvTranspose", []string{dy, weight}, append(w.attrs(group), onnxio.NewAttrInts("output_padding", unread...))...)
}

// taps is the kernel [c·taps, 1, kernel...] that picks every position under a
// window on its own.
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

func conv(t *tape, n *onnxpb.NodeProto, dy string) error {
	x, err := t.shape(n.GetInput()[0])
	if err != nil {
		return err
	}
	weight, err := t.shape(n.GetInput()[1])
	if err != nil {
		return err
	}
	y := t.dims[n.GetOutput()[0]]
	w, err := placed(n, weight[2:], x[2:])
	if err != nil {
		return err
	}
	group := int(onnxio.AttrInt(n, "group", 1))
	if t.needs(n, 0) {
		t.give(n.GetInput()[0], t.toInput(dy, n.GetInput()[1], weight, w, group))
	}
	if t.needs(n, 1) {
		t.give(n.GetInput()[1], t.toKernel(n.GetInput()[0], dy, x, y, weight, w, group))
	}
	if t.needs(n, 2) {
		axes := append([]int{0}, upTo(len(y))[2:]...)
		t.give(n.GetInput()[2], t.reduce(dy, false, axes...))
	}
	return nil
}

// toInput is the gradient of a convolution's input. Under a stride of one it is
// a convolution itself, with the kernel turned around, which onnxruntime does up
// to twice as fast as the transposed one.
func (t *tape) toInput(dy, kernel string, size []int, w window, group int) string {
	back := slices.Clone(w)
	for i, a := range w {
		reach := a.Dilation * (a.Kernel - 1)
		if a.Stride != 1 || a.Before > reach || a.After > reach {
			return t.back(dy, kernel, w, group)
		}
		back[i].Before, back[i].After = reach-a.Before, reach-a.After
	}
	out, in, taps := size[0]/group, size[1], engine.Count(w.kernel())
	k := t.transpose(t.reshape(kernel, group, out, in, taps), 0, 2, 1, 3)
	if taps > 1 {
		turned := upTo(taps)
		slices.Reverse(turned)
		k = t.node("Gather", []string{k, t.ints(turned...)}, onnxio.NewAttrInt("axis", 3))
	}
	k = t.reshape(k, append([]int{group * in, out}, w.kernel()...)...)
	return t.node("Conv", []string{dy, k}, back.attrs(group)...)
}

// mostTaps is the size of a kernel up to which toKernel writes nodes for every
// position in it.
const mostTaps = 25

// toKernel is the gradient of a convolution's kernel: what each of its positions
// reads times dy, over all places. One product for all samples is best where
// there are few places, since its results are kernels, and one for each sample
// where there are many, since nothing is transposed.
func (t *tape) toKernel(in, dy string, x, y, size []int, w window, group int) string {
	c, o, taps, places := x[1], y[1], engine.Count(w.kernel()), engine.Count(y[2:])
	if group > 1 || taps > mostTaps || t.opset < 10 && engine.Count(w.strides()) > 1 {
		u := t.reshape(t.unfold(in, c, w), x[0], group, c/group*taps, places)
		d := t.transpose(t.reshape(dy, y[0], group, o/group, places), 0, 1, 3, 2)
		each := t.node("MatMul", []string{u, d}) // N, group, inputs, outputs
		return t.reshape(t.transpose(t.reduce(each, false, 0), 0, 2, 1), size...)
	}
	together := places <= 2*o
	rank := len(x)
	swap := upTo(rank)
	swap[0], swap[1] = 1, 0
	if together {
		in = t.transpose(in, swap...)
	}
	if w.padded() {
		in = t.pad(in, append([]int{0, 0}, w.before()...), append([]int{0, 0}, w.after()...))
	}
	parts := t.seen(in, y[2:], w)
	if together {
		all := t.reshape(t.concat(parts, 0), taps*c, x[0]*places)
		d := t.reshape(t.transpose(dy, append(append([]int{0}, upTo(rank)[2:]...), 1)...), x[0]*places, o)
		k := t.reshape(t.node("MatMul", []string{all, d}), taps, c, o)
		return t.reshape(t.transpose(k, 2, 1, 0), size...)
	}
	d := t.transpose(t.reshape(dy, x[0], o, places), 0, 2, 1)
	for i, p := range parts {
		each := t.node("MatMul", []string{t.reshape(p, x[0], c, places), d})
		parts[i] = t.reshape(t.reduce(each, false, 0), c, o, 1)
	}
	return t.reshape(t.transpose(t.concat(parts, 2), 1, 0, 2), size...)
}

// seen lists what each position of a window reads at all places, of a padded
// tensor whose first two axes the window does not move along.
func (t *tape) seen(x string, places []int, w window) []string {
	if engine.Count(w.kernel()) == 1 && engine.Count(w.strides()) == 1 {
		return []string{x}
	}
	k := len(w)
	axes := upTo(k + 2)[2:]
	at := make([]int, k)
	var out []string
	for range engine.Count(w.kernel()) {
		from, to := make([]int, k), make([]int, k)
		for i := range k {
			from[i] = at[i] * w[i].Dilation
			to[i] = from[i] + (places[i]-1)*w[i].Stride + 1
		}
		out = append(out, t.strided(x, from, to, axes, w.strides()))
		for i := k - 1; i >= 0; i-- {
			if at[i]++; at[i] < w[i].Kernel {
				break
			}
			at[i] = 0
		}
	}
	return out
}

func gemm(t *tape, n *onnxpb.NodeProto, dy string) error {
	alpha, beta := float64(onnxio.AttrFloat(n, "alpha", 1)), float64(onnxio.AttrFloat(n, "beta", 1))
	turnA, turnB := onnxio.AttrInt(n, "transA", 0) != 0, onnxio.AttrInt(n, "transB", 0) != 0
	in := n.GetInput()
	flip := func(x string, do bool) string {
		if do {
			return t.transpose(x, 1, 0)
		}
		return x
	}
	d := t.scale(dy, alpha)
	if t.needs(n, 0) {
		t.give(in[0], flip(t.node("MatMul", []string{d, flip(in[1], !turnB)}), turnA))
	}
	if t.needs(n, 1) {
		t.give(in[1], flip(t.node("MatMul", []string{flip(in[0], !turnA), d}), turnB))
	}
	if t.needs(n, 2) {
		c, err := t.shape(in[2])
		if err != nil {
			return err
		}
		t.give(in[2], t.unbroadcast(t.scale(dy, beta), t.dims[n.GetOutput()[0]], c))
	}
	return nil
}

func matMul(t *tape, n *onnxpb.NodeProto, dy string) error {
	in := n.GetInput()
	a, err := t.shape(in[0])
	if err != nil {
		return err
	}
	b, err := t.shape(in[1])
	if err != nil {
		return err
	}
	y := t.dims[n.GetOutput()[0]]
	if len(a) < 2 || len(b) < 2 {
		return errNoRule
	}
	if t.needs(n, 0) {
		d := t.node("MatMul", []string{dy, t.swapped(in[1], len(b))})
		t.give(in[0], t.unbroadcast(d, append(slices.Clone(y[:len(y)-1]), a[len(a)-1]), a))
	}
	if !t.needs(n, 1) {
		return nil
	}
	if len(b) == 2 {
		x := t.reshape(in[0], -1, b[0])
		t.give(in[1], t.node("MatMul", []string{t.transpose(x, 1, 0), t.reshape(dy, -1, b[1])}))
		return nil
	}
	d := t.node("MatMul", []string{t.swapped(in[0], len(a)), dy})
	t.give(in[1], t.unbroadcast(d, append(slices.Clone(y[:len(y)-2]), b[len(b)-2:]...), b))
	return nil
}

// spread gives the gradient f(i) to input i of an operator that broadcasts.
func (t *tape) spread(n *onnxpb.NodeProto, f func(i int) string) error {
	for i, in := range n.GetInput() {
		if !t.needs(n, i) {
			continue
		}
		to, err := t.shape(in)
		if err != nil {
			return err
		}
		t.give(in, t.unbroadcast(f(i), t.dims[n.GetOutput()[0]], to))
	}
	return nil
}

func add(t *tape, n *onnxpb.NodeProto, dy string) error {
	return t.spread(n, func(int) string { return dy })
}

func sub(t *tape, n *onnxpb.NodeProto, dy string) error {
	return t.spread(n, func(i int) string {
		if i == 1 {
			return t.node("Neg", []string{dy})
		}
		return dy
	})
}

func multiply(t *tape, n *onnxpb.NodeProto, dy string) error {
	return t.spread(n, func(i int) string { return t.mul(dy, n.GetInput()[1-i]) })
}

func divide(t *tape, n *onnxpb.NodeProto, dy string) error {
	in := n.GetInput()
	return t.spread(n, func(i int) string {
		d := t.node("Div", []string{dy, in[1]})
		if i == 1 {
			d = t.node("Neg", []string{t.mul(d, n.GetOutput()[0])})
		}
		return d
	})
}

// positive is 1 where a tensor is above zero, else 0.
func (t *tape) positive(x string) string {
	return t.mask(t.node("Greater", []string{x, t.scalar(0)}))
}

// each is the rule of an operator that works on every number by itself: slope is
// what its output y changes by with its input x.
func each(slope func(t *tape, n *onnxpb.NodeProto, x, y string) string) rule {
	return func(t *tape, n *onnxpb.NodeProto, dy string) error {
		x := n.GetInput()[0]
		t.give(x, t.mul(dy, slope(t, n, x, n.GetOutput()[0])))
		return nil
	}
}

func relu(t *tape, _ *onnxpb.NodeProto, _, y string) string { return t.positive(y) }

func leakyRelu(t *tape, n *onnxpb.NodeProto, x, _ string) string {
	alpha := float64(onnxio.AttrFloat(n, "alpha", 0.01))
	return t.node("Add", []string{t.scale(t.positive(x), 1-alpha), t.scalar(alpha)})
}

func pRelu(t *tape, n *onnxpb.NodeProto, dy string) error {
	in := n.GetInput()
	up := t.positive(in[0])
	down := t.node("Sub", []string{t.scalar(1), up})
	if t.needs(n, 0) {
		t.give(in[0], t.mul(dy, t.node("Add", []string{up, t.mul(down, in[1])})))
	}
	return nil
}

func clip(t *tape, n *onnxpb.NodeProto, dy string) error {
	in := n.GetInput()
	low, high := "", ""
	if t.opset < 11 {
		low = t.scalar(float64(onnxio.AttrFloat(n, "min", -math.MaxFloat32)))
		high = t.scalar(float64(onnxio.AttrFloat(n, "max", math.MaxFloat32)))
	} else {
		if len(in) > 1 {
			low = in[1]
		}
		if len(in) > 2 {
			high = in[2]
		}
	}
	if low != "" {
		dy = t.mul(dy, t.mask(t.node("Greater", []string{in[0], low})))
	}
	if high != "" {
		dy = t.mul(dy, t.mask(t.node("Less", []string{in[0], high})))
	}
	t.give(in[0], dy)
	return nil
}

func sigmoid(t *tape, _ *onnxpb.NodeProto, _, y string) string {
	return t.mul(y, t.node("Sub", []string{t.scalar(1), y}))
}

func tanh(t *tape, _ *onnxpb.NodeProto, _, y string) string {
	return t.node("Sub", []string{t.scalar(1), t.mul(y, y)})
}

func exponential(_ *tape, _ *onnxpb.NodeProto, _, y string) string { return y }

// within is 1 where lo < x < hi.
func (t *tape) within(x string, lo, hi float64) string {
	return t.mul(t.mask(t.node("Greater", []string{x, t.scalar(lo)})), t.mask(t.node("Less", []string{x, t.scalar(hi)})))
}

func hardSigmoid(t *tape, n *onnxpb.NodeProto, _, y string) string {
	return t.scale(t.within(y, 0, 1), float64(onnxio.AttrFloat(n, "alpha", 0.2)))
}

func hardSwish(t *tape, _ *onnxpb.NodeProto, x, _ string) string {
	inside := t.mul(t.within(x, -3, 3), t.node("Add", []string{t.scale(x, 1.0/3), t.scalar(0.5)}))
	above := t.mask(t.node("Not", []string{t.node("Less", []string{x, t.scalar(3)})}))
	return t.node("Add", []string{inside, above})
}

func erf(t *tape, _ *onnxpb.NodeProto, x, _ string) string {
	return t.scale(t.node("Exp", []string{t.node("Neg", []string{t.mul(x, x)})}), 2/math.Sqrt(math.Pi))
}

// greatest is 1 where an input is what a GlobalMaxPool found.
func greatest(t *tape, _ *onnxpb.NodeProto, x, y string) string {
	return t.mask(t.node("Not", []string{t.node("Less", []string{x, y})}))
}

func root(t *tape, n *onnxpb.NodeProto, dy string) error {
	t.give(n.GetInput()[0], t.scale(t.node("Div", []string{dy, n.GetOutput()[0]}), 0.5))
	return nil
}

func negative(t *tape, n *onnxpb.NodeProto, dy string) error {
	t.give(n.GetInput()[0], t.node("Neg", []string{dy}))
	return nil
}

// power passes through x^p for a constant p.
func power(t *tape, n *onnxpb.NodeProto, dy string) error {
	c := t.graph.Constant(n.GetInput()[1])
	if c == nil {
		return errNoRule
	}
	v, err := t.graph.Model.Tensor(c)
	if err != nil {
		return err
	}
	p := v.Float64()
	if len(p) != 1 {
		return errNoRule
	}
	x := n.GetInput()[0]
	slope := x
	if p[0] != 2 {
		slope = t.node("Pow", []string{x, t.scalar(p[0] - 1)})
	}
	t.give(x, t.scale(t.mul(dy, slope), p[0]))
	return nil
}

// layerNorm passes through the normalisation of the last axis, whose own
// parameters stay. With g = dy·scale and z the normalised input
//
//	dx = (g − mean g − z·mean(g·z))/σ
func layerNorm(t *tape, n *onnxpb.NodeProto, dy string) error {
	x := n.GetInput()[0]
	rank := len(t.dims[n.GetOutput()[0]])
	if axis := int(onnxio.AttrInt(n, "axis", -1)); axis != -1 && axis != rank-1 {
		return errNoRule
	}
	last := rank - 1
	mean := func(v string) string {
		return t.node("ReduceMean", []string{v}, onnxio.NewAttrInts("axes", last), onnxio.NewAttrInt("keepdims", 1))
	}
	if t.opset >= 18 {
		mean = func(v string) string {
			return t.node("ReduceMean", []string{v, t.ints(last)}, onnxio.NewAttrInt("keepdims", 1))
		}
	}
	d := t.node("Sub", []string{x, mean(x)})
	eps := t.scalar(float64(onnxio.AttrFloat(n, "epsilon", 1e-5)))
	sigma := t.node("Sqrt", []string{t.node("Add", []string{mean(t.mul(d, d)), eps})})
	z := t.node("Div", []string{d, sigma})
	g := t.mul(dy, n.GetInput()[1])
	g = t.node("Sub", []string{t.node("Sub", []string{g, mean(g)}), t.mul(z, mean(t.mul(g, z)))})
	t.give(x, t.node("Div", []string{g, sigma}))
	return nil
}

func softmax(t *tape, n *onnxpb.NodeProto, dy string) error {
	y := n.GetOutput()[0]
	rank := len(t.dims[y])
	axis := int(onnxio.AttrInt(n, "axis", -1))
	if t.opset < 13 {
		axis = int(onnxio.AttrInt(n, "axis", 1))
	}
	if axis < 0 {
		axis += rank
	}
	if t.opset < 13 && axis != rank-1 {
		return errNoRule // over several axes at once
	}
	mean := t.reduce(t.mul(dy, y), true, axis)
	t.give(n.GetInput()[0], t.mul(y, t.node("Sub", []string{dy, mean})))
	return nil
}

// batchNorm passes through the normalisation, whose own parameters stay.
func batchNorm(t *tape, n *onnxpb.NodeProto, dy string) error {
	in := n.GetInput()
	var p [2][]float64 // scale and variance
	for i, name := range []string{in[1], in[4]} {
		c := t.graph.Constant(name)
		if c == nil {
			return errNoRule
		}
		v, err := t.graph.Model.Tensor(c)
		if err != nil {
			return err
		}
		p[i] = v.Float64()
	}
	eps := float64(onnxio.AttrFloat(n, "epsilon", 1e-5))
	slope := make([]float64, len(p[0]))
	for i := range slope {
		slope[i] = p[0][i] / math.Sqrt(p[1][i]+eps)
	}
	dims := make([]int, len(t.dims[n.GetOutput()[0]]))
	for i := range dims {
		dims[i] = 1
	}
	dims[1] = len(slope)
	t.give(in[0], t.mul(dy, t.floats(dims, slope...)))
	return nil
}

func ints(v []int64) []int {
	out := make([]int, len(v))
	for i := range v {
		out[i] = int(v[i])
	}
	return out
}

// pool finds the window of a pooling.
func (t *tape) pool(n *onnxpb.NodeProto) (x, y []int, w window, err error) {
	if x, err = t.shape(n.GetInput()[0]); err != nil {
		return nil, nil, nil, err
	}
	y = t.dims[n.GetOutput()[0]]
	w, err = placed(n, nil, x[2:])
	return x, y, w, err
}

// maxPool gives the gradient to the largest value under each window; to all of
// them where several are equal.
func maxPool(t *tape, n *onnxpb.NodeProto, dy string) error {
	x, y, w, err := t.pool(n)
	if err != nil {
		return err
	}
	c, taps, places := x[1], engine.Count(w.kernel()), engine.Count(y[2:])
	u := t.reshape(t.unfold(n.GetInput()[0], c, w), y[0], c, taps, places)
	top := t.reshape(n.GetOutput()[0], y[0], c, 1, places)
	is := t.mask(t.node("Not", []string{t.node("Less", []string{u, top})}))
	d := t.reshape(t.mul(is, t.reshape(dy, y[0], c, 1, places)), append([]int{y[0], c * taps}, y[2:]...)...)
	t.give(n.GetInput()[0], t.back(d, t.taps(c, w.kernel()), w, c))
	return nil
}

func averagePool(t *tape, n *onnxpb.NodeProto, dy string) error {
	x, _, w, err := t.pool(n)
	if err != nil {
		return err
	}
	if onnxio.AttrInt(n, "count_include_pad", 0) == 0 && w.padded() {
		return errNoRule
	}
	kernel := t.filled(append([]int{x[1], 1}, w.kernel()...), 1/float64(engine.Count(w.kernel())))
	t.give(n.GetInput()[0], t.back(dy, kernel, w, x[1]))
	return nil
}

func globalAverage(t *tape, n *onnxpb.NodeProto, dy string) error {
	x, err := t.shape(n.GetInput()[0])
	if err != nil {
		return err
	}
	ones := t.filled(append([]int{1, 1}, x[2:]...), 1/float64(engine.Count(x[2:])))
	t.give(n.GetInput()[0], t.mul(dy, ones))
	return nil
}

func reduceMean(t *tape, n *onnxpb.NodeProto, dy string) error {
	x, err := t.shape(n.GetInput()[0])
	if err != nil {
		return err
	}
	axes, err := t.axes(n, "axes", 1)
	if err != nil {
		return err
	}
	kept, over := slices.Clone(x), make([]int, len(x))
	for i := range over {
		over[i] = 1
		if len(axes) == 0 || slices.Contains(axes, i) || slices.Contains(axes, i-len(x)) {
			over[i], kept[i] = x[i], 1
		}
	}
	t.give(n.GetInput()[0], t.mul(t.reshape(dy, kept...), t.filled(over, 1/float64(engine.Count(over)))))
	return nil
}

// axes is a list of integers that is an attribute in old operator sets and an
// input in new ones, nil where it is left out.
func (t *tape) axes(n *onnxpb.NodeProto, name string, input int) ([]int, error) {
	if v := onnxio.AttrInts(n, name); v != nil {
		return ints(v), nil
	}
	in := n.GetInput()
	if len(in) <= input || in[input] == "" {
		return nil, nil
	}
	if v, ok := t.values[in[input]]; ok {
		return v, nil
	}
	c := t.graph.Constant(in[input])
	if c == nil {
		return nil, fmt.Errorf("%w: %s is not known", errNoRule, name)
	}
	v, err := t.graph.Model.Tensor(c)
	if err != nil {
		return nil, err
	}
	return ints(v.I64), nil
}

func reshaped(t *tape, n *onnxpb.NodeProto, dy string) error {
	x, err := t.shape(n.GetInput()[0])
	if err != nil {
		return err
	}
	t.give(n.GetInput()[0], t.reshape(dy, x...))
	return nil
}

func same(t *tape, n *onnxpb.NodeProto, dy string) error {
	t.give(n.GetInput()[0], dy)
	return nil
}

func transposed(t *tape, n *onnxpb.NodeProto, dy string) error {
	rank := len(t.dims[n.GetOutput()[0]])
	perm := ints(onnxio.AttrInts(n, "perm"))
	back := make([]int, rank)
	for i := range rank {
		if len(perm) == 0 {
			back[i] = rank - 1 - i
		} else {
			back[perm[i]] = i
		}
	}
	t.give(n.GetInput()[0], t.transpose(dy, back...))
	return nil
}

// split lays the gradients of all its outputs behind each other; those that
// nothing reads are zero.
func split(t *tape, n *onnxpb.NodeProto, _ string) error {
	x, err := t.shape(n.GetInput()[0])
	if err != nil {
		return err
	}
	axis := int(onnxio.AttrInt(n, "axis", 0))
	if axis < 0 {
		axis += len(x)
	}
	var parts []string
	for _, o := range n.GetOutput() {
		d := t.sum(o)
		if d == "" {
			d = t.filled(t.dims[o], 0)
		}
		parts = append(parts, d)
	}
	t.give(n.GetInput()[0], t.node("Concat", parts, onnxio.NewAttrInt("axis", axis)))
	return nil
}

func concat(t *tape, n *onnxpb.NodeProto, dy string) error {
	y := t.dims[n.GetOutput()[0]]
	axis := int(onnxio.AttrInt(n, "axis", 1))
	if axis < 0 {
		axis += len(y)
	}
	at := 0
	for i, in := range n.GetInput() {
		x, err := t.shape(in)
		if err != nil {
			return err
		}
		if t.needs(n, i) {
			from, to := make([]int, len(y)), slices.Clone(y)
			from[axis], to[axis] = at, at+x[axis]
			t.give(in, t.slice(dy, from, to))
		}
		at += x[axis]
	}
	return nil
}

// A cut is where a Slice starts on an axis, and its step.
type cut struct{ start, step int }

// cuts are those of a Slice of an input of size x, by axis.
func (t *tape) cuts(n *onnxpb.NodeProto, x []int) ([]cut, error) {
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

// sliced puts a gradient back where it was cut out, zeros around it and, under
// steps, between.
func sliced(t *tape, n *onnxpb.NodeProto, dy string) error {
	x, err := t.shape(n.GetInput()[0])
	if err != nil {
		return err
	}
	cuts, err := t.cuts(n, x)
	if err != nil {
		return err
	}
	size := slices.Clone(t.dims[n.GetOutput()[0]])
	before, after := make([]int, len(x)), make([]int, len(x))
	for axis, c := range cuts {
		if c.step > 1 {
			dy = t.dilate(dy, size, axis, c.step)
			size[axis] *= c.step
		}
		before[axis], after[axis] = c.start, x[axis]-c.start-size[axis]
	}
	to := slices.Clone(size)
	for i, n := range after { // the last step may reach beyond the end
		to[i], after[i] = to[i]+min(n, 0), max(n, 0)
	}
	if !slices.Equal(to, size) {
		dy = t.slice(dy, make([]int, len(x)), to)
	}
	t.give(n.GetInput()[0], t.pad(dy, before, after))
	return nil
}

// dilate puts step−1 zeros behind each index of an axis.
func (t *tape) dilate(x string, size []int, axis, step int) string {
	apart := slices.Insert(slices.Clone(size), axis+1, 1)
	after := make([]int, len(apart))
	after[axis+1] = step - 1
	x = t.pad(t.reshape(x, apart...), make([]int, len(apart)), after)
	together := slices.Clone(size)
	together[axis] *= step
	return t.reshape(x, together...)
}

func padded(t *tape, n *onnxpb.NodeProto, dy string) error {
	x, err := t.shape(n.GetInput()[0])
	if err != nil {
		return err
	}
	if m := onnxio.AttrString(n, "mode", "constant"); m != "constant" {
		return errNoRule
	}
	y := t.dims[n.GetOutput()[0]]
	pads, err := t.axes(n, "pads", 1)
	if err != nil {
		return err
	}
	if len(pads) != 2*len(x) {
		return errNoRule // of some axes only
	}
	from, to := make([]int, len(x)), make([]int, len(x))
	for i := range x {
		if pads[i] < 0 || pads[len(x)+i] < 0 {
			return errNoRule
		}
		from[i], to[i] = pads[i], y[i]-pads[len(x)+i]
	}
	t.give(n.GetInput()[0], t.slice(dy, from, to))
	return nil
}
