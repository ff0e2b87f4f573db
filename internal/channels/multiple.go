package channels

import (
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// block is the number of channels that onnxruntime's kernels of convolutions take at once on a
// processor with vectors of 512 bits; with 256 bits it is half of that. The rest of a block is
// computed too: 24 channels take as long as 32. Widths that are no multiple of four are not laid out
// in blocks at all, so that a convolution of 31 channels takes up to twice as long as one of 32, and
// a depthwise convolution that does not fill up its blocks five times as long.
const block = 16

// Multiple is what widths of a space are multiples of: of what is given, if it is above zero (see
// [coupling.Space.Step]). Zero means what suits the convolutions over images that the space goes
// through, if its own width does: multiples of 8, or below 32 channels of 4; where a depthwise one
// carries it, of 16, or below 32 channels of 8. Narrower spaces, and those of other operators, may
// have any width.
func Multiple(s *coupling.Space, given int) int {
	m := MultipleOfShare(s, given)
	if given > 0 {
		return m
	}
	for _, u := range s.Uses {
		if u.Role != coupling.Carried && overImages(u.Node) {
			m = max(m, whole(s.Width, block/2))
		}
	}
	return m
}

// MultipleOfShare is [Multiple] where every space is to keep the share that was asked for: only
// depthwise convolutions, which suffer most, keep their blocks.
func MultipleOfShare(s *coupling.Space, given int) int {
	if given > 0 {
		return s.Step(given)
	}
	if slices.ContainsFunc(s.Uses, depthwise) {
		return whole(s.Width, block)
	}
	return 1
}

// MultipleOfRank is what ranks of an operator of some full rank are multiples of where it becomes two:
// as [Multiple], for the space between the two.
func MultipleOfRank(op *onnxpb.NodeProto, full, given int) int {
	switch {
	case given > 0:
		return given
	case overImages(op):
		return whole(full, block/2)
	}
	return 1
}

// whole is a number of channels, or half of it, of which a width is a multiple: half of it for
// widths below 32, and 1 for those below 16 and those that are multiples of neither.
func whole(width, channels int) int {
	switch {
	case width < block:
		return 1
	case width >= 2*block && width%channels == 0:
		return channels
	case width%(channels/2) == 0:
		return channels / 2
	}
	return 1
}

// depthwise reports whether a use is that of the kernels of a depthwise convolution, one for each
// channel.
func depthwise(u coupling.Use) bool {
	return u.Role == coupling.Carried && u.Node.GetOpType() == "Conv" && u.Tensor == u.Node.GetInput()[1] &&
		u.Axis == 0 && onnxio.AttrInt(u.Node, "group", 1) > 1
}

// overImages reports whether a node is an ordinary convolution over two dimensions, the kind that
// works on blocks. A node that does not state its kernel's dimensions is taken for one.
func overImages(n *onnxpb.NodeProto) bool {
	if n.GetOpType() != "Conv" || onnxio.AttrInt(n, "group", 1) != 1 {
		return false
	}
	k := onnxio.AttrInts(n, "kernel_shape")
	return k == nil || len(k) == 2
}
