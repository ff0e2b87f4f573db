package onnxio

import (
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Window is how a Conv or a pool moves over its input: the attributes of the node, with one entry
// per spatial axis. A field left nil has its default.
type Window struct {
	Kernel    []int  // -1 where the size is not known
	Strides   []int  // nil: 1
	Dilations []int  // nil: 1
	Pads      []int  // before each axis, then after each; nil: 0
	AutoPad   string // NOTSET or empty, VALID, SAME_UPPER, SAME_LOWER
	// Ceil rounds the number of positions up, so that the last window may read beyond the padding.
	Ceil bool
}

// WindowOf returns the window of a node. kernel is the shape of a Conv's weight without its first
// two axes; nil stands for the node's kernel_shape.
func WindowOf(n *onnxpb.NodeProto, kernel []int) *Window {
	if kernel == nil {
		kernel = attrSizes(n, "kernel_shape")
	}
	return &Window{
		Kernel:    kernel,
		Strides:   attrSizes(n, "strides"),
		Dilations: attrSizes(n, "dilations"),
		Pads:      attrSizes(n, "pads"),
		AutoPad:   AttrString(n, "auto_pad", ""),
		Ceil:      AttrInt(n, "ceil_mode", 0) != 0,
	}
}

func attrSizes(n *onnxpb.NodeProto, name string) []int {
	var out []int
	for _, v := range AttrInts(n, name) {
		out = append(out, int(v))
	}
	return out
}

// WindowAxis is a window on one spatial axis of an input. Sizes that are not known, and what
// depends on them, are -1.
type WindowAxis struct {
	In, Out                  int // size of the input, number of positions
	Kernel, Stride, Dilation int
	Before, After            int // padding
	// Unread is how many positions at the end of the padded input no window reaches. A negative
	// number (possible with Window.Ceil) says how far the last window reads beyond it.
	Unread int
}

// At returns the input position that tap t of output position o reads; -1 where it reads padding.
func (a WindowAxis) At(o, t int) int {
	if p := a.Stride*o + a.Dilation*t - a.Before; p >= 0 && p < a.In {
		return p
	}
	return -1
}

// Place puts the window on an input of the given spatial sizes, -1 where one is not known. An axis
// on which the kernel finds no place has an Out of 0. It is an error if the attributes are not
// those of a window with as many axes as in.
func (w *Window) Place(in []int) ([]WindowAxis, error) {
	k := len(w.Kernel)
	fits := func(list []int, n int) bool { return list == nil || len(list) == n }
	if len(in) != k || !fits(w.Strides, k) || !fits(w.Dilations, k) || !fits(w.Pads, 2*k) {
		return nil, fmt.Errorf("kernel %v, strides %v, dilations %v and pads %v do not fit spatial sizes %v",
			w.Kernel, w.Strides, w.Dilations, w.Pads, in)
	}
	axes := make([]WindowAxis, k)
	for i := range axes {
		a := w.axis(i)
		if a.Kernel < 1 && a.Kernel != -1 || a.Stride < 1 || a.Dilation < 1 {
			return nil, fmt.Errorf("window of kernel %d, stride %d, dilation %d", a.Kernel, a.Stride, a.Dilation)
		}
		a.In = in[i]
		a.place(w)
		axes[i] = a
	}
	return axes, nil
}

// TransposedSizes returns the spatial sizes that a ConvTranspose with a kernel makes of given ones;
// -1 where one is not known, or the attributes do not fit.
func TransposedSizes(n *onnxpb.NodeProto, kernel, in []int) []int {
	unknown := slices.Repeat([]int{-1}, len(in))
	w, fixed, padding := WindowOf(n, kernel), attrSizes(n, "output_shape"), attrSizes(n, "output_padding")
	axes, err := w.Place(unknown)
	if err != nil || fixed != nil && len(fixed) != len(in) || padding != nil && len(padding) != len(in) {
		return unknown
	}
	out := slices.Clone(unknown)
	for i, a := range axes {
		switch {
		case fixed != nil:
			out[i] = fixed[i]
		case in[i] < 0 || a.Kernel < 0:
		case w.same():
			out[i] = in[i] * a.Stride
		default:
			out[i] = a.Stride*(in[i]-1) + a.span() - a.Before - a.After
			if padding != nil {
				out[i] += padding[i]
			}
		}
		out[i] = max(out[i], -1)
	}
	return out
}

// axis returns what the attributes say of axis i.
func (w *Window) axis(i int) WindowAxis {
	a := WindowAxis{Kernel: w.Kernel[i], Stride: 1, Dilation: 1}
	if w.Strides != nil {
		a.Stride = w.Strides[i]
	}
	if w.Dilations != nil {
		a.Dilation = w.Dilations[i]
	}
	if w.Pads != nil && !w.same() && w.AutoPad != "VALID" {
		a.Before, a.After = w.Pads[i], w.Pads[len(w.Kernel)+i]
	}
	return a
}

func (w *Window) same() bool { return strings.HasPrefix(w.AutoPad, "SAME") }

// place finds the padding and the number of positions.
func (a *WindowAxis) place(w *Window) {
	if a.In < 0 || a.Kernel < 0 {
		a.Out, a.Unread = -1, -1
		if w.same() {
			a.Before, a.After = -1, -1
		}
		return
	}
	span := a.span()
	if w.same() {
		a.Out = (a.In + a.Stride - 1) / a.Stride
		short := max(0, (a.Out-1)*a.Stride+span-a.In)
		a.Before, a.After = short/2, short-short/2
		if w.AutoPad == "SAME_LOWER" {
			a.Before, a.After = a.After, a.Before
		}
	} else if room := a.In + a.Before + a.After - span; room >= 0 {
		a.Out = room/a.Stride + 1
		if w.Ceil {
			a.Out = (room+a.Stride-1)/a.Stride + 1
			if (a.Out-1)*a.Stride >= a.In+a.Before {
				a.Out-- // ONNX leaves out a window that starts in the padding at the end
			}
		}
	}
	a.Unread = a.In + a.Before + a.After
	if a.Out > 0 {
		a.Unread -= (a.Out-1)*a.Stride + span
	}
}

// span is how many input positions a window stretches over.
func (a WindowAxis) span() int { return a.Dilation*(a.Kernel-1) + 1 }

// KeepsSize reports whether there are as many positions as the input has, for an input of any size.
func (w *Window) KeepsSize() bool {
	k := len(w.Kernel)
	in := slices.Repeat([]int{-1}, k)
	axes, err := w.Place(in)
	return err == nil && !slices.ContainsFunc(axes, func(a WindowAxis) bool {
		return a.Kernel < 0 || a.Stride != 1 || !w.same() && a.Before+a.After+1 != a.span()
	})
}

// Padded reports whether a window may read padding, for an input of any size.
func (w *Window) Padded() bool {
	switch {
	case w.AutoPad == "VALID":
		return false
	case w.same():
		return slices.ContainsFunc(w.Kernel, func(k int) bool { return k != 1 })
	}
	return slices.ContainsFunc(w.Pads, func(p int) bool { return p != 0 })
}
