package tune

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// onnxruntime has kernels for convolutions that take channels in blocks, as many as a vector
// register holds: [N, C/block, H, W, block], declared as [N, C', H, W] with C' the next multiple of
// the block. It uses them of its own accord where a kernel is a constant. In training kernels are
// inputs, so the nodes are written here. On one core of 16 lanes a depthwise convolution (two
// samples, 240 channels, 28², 5 × 5) took 0.5 ms instead of 2.7, and the gradient of its kernel
// 1.0 ms instead of 14; one of 3 × 3 (62 samples, 32 channels, 16²) took 2.3 ms instead of 4.3.
const blockedDomain = "com.microsoft.nchwc"

// blockSizes are the numbers of channels in a block, by what processors can do.
var blockSizes = []int{16, 8}

const (
	// evenChannels divides the channels of what ReorderInput takes.
	evenChannels = 4
	// mostWaste is how many times as many products the channels that fill up blocks may cost.
	mostWaste = 1.5
)

// probeBlocks is the number of channels in a block, or 0 where onnxruntime has no such kernels
// here: small convolutions in blocks are compared with ordinary ones.
func probeBlocks(ctx context.Context) int {
	if runtime.GOARCH != "amd64" {
		return 0
	}
	for _, block := range blockSizes {
		if blocksAre(ctx, block) {
			return block
		}
	}
	return 0
}

// blocksAre says whether convolutions come out right in blocks of that many channels.
func blocksAre(ctx context.Context, block int) bool {
	x, dense, depthwise := []int{1, 32, 3, 4}, []int{32, 32, 3, 3}, []int{32, 1, 3, 3}
	w := window{{In: 3, Out: 3, Kernel: 3, Stride: 1, Dilation: 1, Before: 1, After: 1}, {In: 4, Out: 4, Kernel: 3, Stride: 1, Dilation: 1, Before: 1, After: 1}}
	p := &onnxpb.GraphProto{Name: new("blocks"), Input: []*onnxpb.ValueInfoProto{declare("x", x), declare("dense", dense), declare("depthwise", depthwise)}}
	t := &tape{proto: p, opset: 17, inBlocks: map[string]string{}}
	var outputs [2][2]string
	for i, b := range []int{0, block} {
		t.block = b
		outputs[i][0] = t.convolve(convolution{x: "x", dims: x, kernel: "dense", size: dense, w: w, group: 1})
		outputs[i][1] = t.convolve(convolution{x: "x", dims: x, kernel: "depthwise", size: depthwise, w: w, group: 32})
		p.Output = append(p.Output, declare(outputs[i][0], x), declare(outputs[i][1], x))
	}
	s, err := engine.Open(&onnxio.Model{Proto: &onnxpb.ModelProto{IrVersion: new(int64(8)), OpsetImport: opsets(t.opset), Graph: p}}, engine.Options{Threads: 1})
	if err != nil {
		return false
	}
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	feed := map[string]*engine.Value{}
	for name, dims := range map[string][]int{"x": x, "dense": dense, "depthwise": depthwise} {
		v := make([]float32, engine.Count(dims))
		for i := range v {
			v[i] = float32(rng.IntN(9) - 4) // all sums are exact
		}
		feed[name] = engine.Float32(v, dims...)
	}
	out, err := s.Run(ctx, feed)
	if err != nil {
		return false
	}
	return slices.Equal(out[outputs[0][0]].F32, out[outputs[1][0]].F32) && slices.Equal(out[outputs[0][1]].F32, out[outputs[1][1]].F32)
}

// opsets are the operator sets of a model that may hold nodes in blocks.
func opsets(version int64) []*onnxpb.OperatorSetIdProto {
	return []*onnxpb.OperatorSetIdProto{{Version: new(version)}, {Domain: new(blockedDomain), Version: new(int64(1))}}
}

// A convolution is one to be written: of x, of a size [N, C, ...], by a kernel of a size [O,
// C/group, ...]. The bias may be "".
type convolution struct {
	x          string
	dims       []int
	kernel     string
	size       []int
	bias       string
	w          window
	group      int
	out        string // what the output is to be called; "" for any name
	activation []*onnxpb.AttributeProto
}

// depthwise reports whether every channel is read on its own, by kernels of that size in groups.
func depthwise(size []int, group int) bool { return group > 1 && len(size) > 1 && size[1] == 1 }

// inBlocksIsFaster reports whether a convolution by a kernel of that size is best done in blocks. A
// kernel of one position is a matrix product, which needs none.
func (t *tape) inBlocksIsFaster(size []int, group int) bool {
	if t.block == 0 || len(size) != 4 || size[2]*size[3] == 1 {
		return false
	}
	if group > 1 {
		return depthwise(size, group) && size[0] == group // one kernel for each
	}
	waste := float64(t.whole(size[0])*t.whole(size[1])) / float64(size[0]*size[1])
	return size[1] >= evenChannels && waste <= mostWaste
}

// whole is the number of channels in whole blocks.
func (t *tape) whole(channels int) int { return roundUp(channels, t.block) }

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// convolve writes a convolution, in blocks where that is faster.
func (t *tape) convolve(c convolution) string {
	if c.out == "" {
		c.out = t.fresh()
	}
	if !t.inBlocksIsFaster(c.size, c.group) {
		inputs := []string{c.x, c.kernel}
		if c.bias != "" {
			inputs = append(inputs, c.bias)
		}
		return t.emit("", "Conv", inputs, c.out, c.w.attrs(c.group)...)
	}
	group := c.group
	if group > 1 {
		group = t.whole(group)
	}
	inputs := []string{t.toBlocks(c.x, c.dims), t.kernelToBlocks(c.kernel, c.size, c.group)}
	if c.bias != "" {
		inputs = append(inputs, t.filledUp(c.bias, c.size[:1], t.whole(c.size[0])))
	}
	y := t.emit(blockedDomain, "Conv", inputs, t.fresh(), append(c.w.attrs(group), c.activation...)...)
	return t.emit(blockedDomain, "ReorderOutput", []string{y}, c.out, onnxio.NewAttrInt("channels", c.size[0]))
}

// filledUp pads the first axes of a tensor of that size with zeros up to whole numbers.
func (t *tape) filledUp(x string, size []int, whole ...int) string {
	after := make([]int, len(size))
	for i, n := range whole {
		after[i] = n - size[i]
	}
	if slices.Max(after) == 0 {
		return x
	}
	return t.pad(x, make([]int, len(size)), after)
}

// toBlocks is a tensor [N, C, H, W] in blocks.
func (t *tape) toBlocks(x string, dims []int) string {
	if b, ok := t.inBlocks[x]; ok {
		return b
	}
	even := t.filledUp(x, dims, dims[0], roundUp(dims[1], evenChannels))
	t.inBlocks[x] = t.emit(blockedDomain, "ReorderInput", []string{even}, t.fresh())
	return t.inBlocks[x]
}

// kernelToBlocks is a kernel [O, I/group, H, W] in the order that convolutions in blocks take:
// [O/block, H, W, block] of a depthwise one, else [O/block, I/block, H, W, block of I, block of O].
func (t *tape) kernelToBlocks(k string, size []int, group int) string {
	b, out, in, h, w := t.block, t.whole(size[0]), size[1], size[2], size[3]
	split, order := []int{out / b, b, h, w}, []int{0, 2, 3, 1}
	if group == 1 {
		in = t.whole(in)
		split, order = []int{out / b, b, in / b, b, h, w}, []int{0, 2, 4, 5, 3, 1}
	}
	k = t.reshape(t.filledUp(k, size, out, in), split...)
	return t.reshape(t.transpose(k, order...), out, in, h, w)
}

// acrossPlaces is the window of a convolution that has dy for a kernel, and makes the gradient of a
// kernel of what that read: strides become dilations, and dilations strides. Where the kernel did
// not read all of its input, positions behind its last are made too.
func (w window) acrossPlaces() window {
	out := make(window, len(w))
	for i, a := range w {
		after := max(0, a.After-a.Unread)
		made := (a.In+a.Before+after-a.Stride*(a.Out-1)-1)/a.Dilation + 1
		out[i] = onnxio.WindowAxis{In: a.In, Out: made, Kernel: a.Out, Stride: a.Dilation, Dilation: a.Stride, Before: a.Before, After: after}
	}
	return out
}

// blockedKernel is the gradient of a depthwise kernel: a convolution of the input by dy, with the
// samples as further channels, which are what they read and what they weigh in the same order.
func (t *tape) blockedKernel(in, dy string, x, y, size []int, w window) string {
	n, c, over := x[0], t.whole(size[0]), w.acrossPlaces()
	inputs := []string{t.reshape(t.toBlocks(in, x), 1, n*c, x[2], x[3]), t.reshape(t.toBlocks(dy, y), n*c, 1, y[2], y[3])}
	k := t.emit(blockedDomain, "Conv", inputs, t.fresh(), over.attrs(n*c)...)
	k = t.reduce(t.reshape(k, n, c/t.block, over[0].Out, over[1].Out, t.block), false, 0)
	k = t.reshape(t.transpose(k, 0, 3, 1, 2), c, 1, over[0].Out, over[1].Out)
	return t.cut(k, []int{c, 1, over[0].Out, over[1].Out}, size)
}

// cut is the first part of a tensor that has a smaller size.
func (t *tape) cut(x string, from, to []int) string {
	if slices.Equal(from, to) {
		return x
	}
	return t.slice(x, make([]int, len(to)), to)
}

// blockedProduct is the gradient of a kernel that mixes all channels: a convolution in which samples
// stand in the place of channels, channels in that of samples, and dy in that of the kernel.
func (t *tape) blockedProduct(in, dy string, x, y, size []int, w window) string {
	n, o, b, places := t.whole(x[0]), t.whole(size[0]), t.block, engine.Count(y[2:])
	turned := t.transpose(t.filledUp(in, x, n), 1, 0, 2, 3)
	d := t.filledUp(t.toBlocks(dy, y), append([]int{y[0], o}, y[2:]...), n)
	d = t.transpose(t.reshape(d, n/b, b, o/b, places, b), 2, 0, 3, 1, 4)
	over := w.acrossPlaces()
	inputs := []string{t.emit(blockedDomain, "ReorderInput", []string{turned}, t.fresh()), t.reshape(d, o, n, y[2], y[3])}
	k := t.emit(blockedDomain, "Conv", inputs, t.fresh(), over.attrs(1)...)
	k = t.emit(blockedDomain, "ReorderOutput", []string{k}, t.fresh(), onnxio.NewAttrInt("channels", size[0]))
	return t.cut(t.transpose(k, 1, 0, 2, 3), []int{size[0], size[1], over[0].Out, over[1].Out}, size)
}

// blockedInput is the gradient of a depthwise convolution's input: dy, with zeros between where
// there are strides, under the kernel turned around; "" where that would need padding of less than
// nothing.
func (t *tape) blockedInput(dy, kernel string, x, y, size []int, w window) string {
	back, apart, spread := make(window, len(w)), make([]int, 6), slices.Clone(y)
	for i, a := range w {
		reach, wide := a.Dilation*(a.Kernel-1), a.Stride*a.Out
		back[i] = onnxio.WindowAxis{In: wide, Out: a.In, Kernel: a.Kernel, Stride: 1, Dilation: a.Dilation, Before: reach - a.Before}
		back[i].After = a.In + reach - wide - back[i].Before
		if back[i].Before < 0 || back[i].After < 0 {
			return ""
		}
		apart[2+2*i], spread[2+i] = a.Stride-1, wide
	}
	out := convolution{x: dy, dims: y, kernel: t.turned(kernel, size, size[0]), size: size, w: back, group: size[0]}
	if slices.Max(apart) > 0 {
		c := t.whole(size[0])
		rows := t.reshape(t.toBlocks(dy, y), y[0]*c/t.block, y[2], 1, y[3], 1, t.block)
		rows = t.pad(rows, make([]int, 6), apart)
		out.x, out.dims = t.fresh(), spread
		t.inBlocks[out.x] = t.reshape(rows, y[0], c, spread[2], spread[3])
	}
	return t.convolve(out)
}

// turned is a kernel [O, I/group, ...] with inputs and outputs of a group exchanged, and every
// position where the opposite one was.
func (t *tape) turned(kernel string, size []int, groups int) string {
	out, in, taps := size[0]/groups, size[1], engine.Count(size[2:])
	k := t.transpose(t.reshape(kernel, groups, out, in, taps), 0, 2, 1, 3)
	if taps > 1 {
		order := upTo(taps)
		slices.Reverse(order)
		k = t.node("Gather", []string{k, t.ints(order...)}, onnxio.NewAttrInt("axis", 3))
	}
	return t.reshape(k, append([]int{groups * in, out}, size[2:]...)...)
}

// forward writes the nodes of a model: convolutions by trained kernels in blocks where that is
// faster, with the Relu or Clip behind them as one node where nothing else reads between.
func (t *tape) forward(nodes []*onnxpb.NodeProto, goals []*goal) {
	t.proto.Node = nil
	done := map[*onnxpb.NodeProto]bool{}
	for _, n := range nodes {
		if done[n] {
			continue
		}
		c, ok := t.trained(n)
		if !ok {
			t.proto.Node = append(t.proto.Node, n)
			continue
		}
		if next := t.activationOf(n, goals); next != nil {
			c.out, c.activation = next.GetOutput()[0], t.activation(next)
			done[next] = c.activation != nil
		}
		if c.activation == nil {
			c.out = n.GetOutput()[0]
		}
		t.convolve(c)
	}
}

// trained is a convolution by a trained kernel that is best done in blocks.
func (t *tape) trained(n *onnxpb.NodeProto) (convolution, bool) {
	if n.GetOpType() != "Conv" || n.GetDomain() != "" || !t.live[n.GetInput()[1]] {
		return convolution{}, false
	}
	in := append(slices.Clone(n.GetInput()), "")
	c := convolution{x: in[0], kernel: in[1], bias: in[2], group: int(onnxio.AttrInt(n, "group", 1)), dims: t.dims[in[0]]}
	var err error
	if c.size, err = t.shape(c.kernel); err != nil || !t.inBlocksIsFaster(c.size, c.group) || len(c.dims) != 4 {
		return c, false
	}
	c.w, err = placed(n, c.size[2:], c.dims[2:])
	return c, err == nil
}

// activationOf is the only node that reads what another makes, if it works on every number by
// itself.
func (t *tape) activationOf(n *onnxpb.NodeProto, goals []*goal) *onnxpb.NodeProto {
	out := n.GetOutput()[0]
	readers := t.graph.Consumers(out)
	if len(readers) != 1 || readers[0].Input != 0 || slices.ContainsFunc(goals, func(g *goal) bool { return g.Tensor == out }) {
		return nil
	}
	return readers[0].Node
}

// activation are the attributes by which a convolution in blocks does as a Relu or Clip; nil of
// other nodes.
func (t *tape) activation(n *onnxpb.NodeProto) []*onnxpb.AttributeProto {
	if n.GetDomain() != "" {
		return nil
	}
	switch n.GetOpType() {
	case "Relu":
		return []*onnxpb.AttributeProto{onnxio.NewAttr("activation", "Relu")}
	case "Clip":
		bounds := make([]float32, 0, 2)
		low, high := t.bounds(n)
		for _, name := range []string{low, high} {
			v, err := t.value(name)
			if err != nil || v.Len() != 1 {
				return nil
			}
			bounds = append(bounds, v.F32...)
		}
		return []*onnxpb.AttributeProto{onnxio.NewAttr("activation", "Clip"), onnxio.NewAttr("activation_params", bounds)}
	}
	return nil
}
