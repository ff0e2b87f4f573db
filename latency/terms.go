package latency

import (
	"fmt"
	"slices"
	"strings"
)

// An operator's time is taken to be a sum of terms, none of them negative: what a call takes in any
// case, and what goes with the numbers that are read, those that are written, and the
// multiply-accumulates. Kernels that work on blocks of channels take as long for a part of a block
// as for a whole one, so that sizes are rounded up to blocks first; and where channels do not fill
// up blocks, what goes in or out has to be laid out anew, which goes with its size too.
const terms = 6

// A call is an operator with the shapes of what it reads and makes; nil for what is not known.
type call struct {
	op      string
	in, out [][]int
}

// blocked are the operators whose kernels may work on blocks of channels, which stand on axis 1.
var blocked = []string{
	"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ConvInteger", "QLinearConv",
}

func (c *call) blocked() bool { return slices.Contains(blocked, c.op) && len(c.first()) > 2 }

// first is the shape of the first input.
func (c *call) first() []int {
	if len(c.in) == 0 {
		return nil
	}
	return c.in[0]
}

// made is the shape of the first output.
func (c *call) made() []int {
	if len(c.out) == 0 {
		return nil
	}
	return c.out[0]
}

// convolves reports whether the operator is a convolution, or the transpose of one.
func (c *call) convolves() bool {
	return strings.Contains(c.op, "Conv") && c.blocked() && c.kernel() != nil
}

// kernel is the shape of a convolution's weight: of a quantised one scales stand before it.
func (c *call) kernel() []int {
	for _, s := range c.in[min(1, len(c.in)):] {
		if len(s) == len(c.first()) {
			return s
		}
	}
	return nil
}

// kind is what calls have in common whose times differ by widths alone.
func (c *call) kind() string {
	k := c.kernel()
	if !c.convolves() || len(c.made()) < 2 {
		return c.op
	}
	return fmt.Sprint(c.op, k[2:], c.first()[2:], c.made()[2:], c.first()[1] != k[1])
}

// block is the number of channels that a kernel works on for n of them. Fewer than a block are read
// one by one.
func block(n, size int, reads bool) int {
	if reads && n < size {
		return n
	}
	return (n + size - 1) / size * size
}

// terms are what the time of the call is a sum of, for blocks of so many channels.
func (c *call) terms(size int) [terms]float64 {
	if !c.blocked() {
		size = 1
	}
	in := elements(c.first(), size, true)
	out := elements(c.made(), size, false)
	t := [terms]float64{1, in, out, c.macs(size)}
	if !c.convolves() { // whose weights go with the multiply-accumulates
		for _, s := range c.in[min(1, len(c.in)):] {
			t[1] += elements(s, 1, true)
		}
	}
	for _, s := range c.out[min(1, len(c.out)):] {
		t[2] += elements(s, 1, false)
	}
	if s := c.first(); size > 1 && s[1]%size != 0 {
		t[4] = in
	}
	if s := c.made(); size > 1 && len(s) > 1 && s[1]%size != 0 {
		t[5] = out
	}
	return t
}

// elements is the number of elements of a tensor whose channels stand on axis 1 in blocks.
func elements(dims []int, size int, reads bool) float64 {
	n := 1.0
	if dims == nil {
		n = 0
	}
	for i, d := range dims {
		if i == 1 && size > 1 {
			d = block(d, size, reads)
		}
		n *= float64(d)
	}
	return n
}

// macs counts the multiply-accumulates of the operators that most networks spend their time in; 0
// for others.
func (c *call) macs(size int) float64 {
	in, out := c.first(), c.made()
	switch op := c.op; {
	case c.convolves() && op == "ConvTranspose":
		return elements(in, size, true) * elements(c.kernel(), 1, true) / float64(max(c.kernel()[0], 1))
	case c.convolves():
		k := c.kernel()
		n := elements(out, size, false) * float64(block(k[1], size, true))
		for _, d := range k[2:] {
			n *= float64(d)
		}
		return n
	case slices.Contains([]string{"Gemm", "QGemm"}, op) && len(in) == 2 && len(out) == 2:
		return elements(out, 1, false) * elements(in, 1, true) / float64(max(out[0], 1))
	case strings.Contains(op, "MatMul") && len(in) > 0:
		return elements(out, 1, false) * float64(in[len(in)-1])
	case slices.Contains([]string{"LSTM", "GRU", "RNN"}, op) && len(in) == 3 && len(c.in) > 2:
		return float64(in[0]*in[1]) * (elements(c.in[1], 1, true) + elements(c.in[2], 1, true))
	}
	return 0
}
