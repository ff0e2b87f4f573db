package channels

import (
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
)

// block is the number of channels that onnxruntime's depthwise kernels take at once on a processor
// with vectors of 512 bits; with 256 bits it is half of that. Where channels do not fill up blocks,
// convolutions of other kinds lose the rest of one block, but a depthwise one falls back on a
// kernel that takes five times as long.
const block = 16

// Multiple is what widths of a space are multiples of: of what is given, if it is above zero (see
// [coupling.Space.Step]). Zero means 1, but where a depthwise convolution carries the space, which
// then keeps to whole blocks if it did: to 16 channels, or below 32 channels to 8.
func Multiple(s *coupling.Space, given int) int {
	switch {
	case given > 0:
		return s.Step(given)
	case !slices.ContainsFunc(s.Uses, depthwise):
		return 1
	case s.Width >= 2*block && s.Width%block == 0:
		return block
	case s.Width >= block && s.Width%(block/2) == 0:
		return block / 2
	}
	return 1
}

// depthwise reports whether a use is that of the kernels of a depthwise convolution, one for each
// channel.
func depthwise(u coupling.Use) bool {
	return u.Role == coupling.Carried && u.Node.GetOpType() == "Conv" && u.Tensor == u.Node.GetInput()[1] &&
		u.Axis == 0 && onnxio.AttrInt(u.Node, "group", 1) > 1
}
