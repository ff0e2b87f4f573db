package stats

import (
	"fmt"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Window says how a Conv reads its input, in the terms of ONNX. There is one entry per spatial axis.
type Window struct {
	Kernel    []int
	Strides   []int  // nil: 1
	Dilations []int  // nil: 1
	Pads      []int  // all begins, then all ends; nil: 0
	AutoPad   string // NOTSET or empty, VALID, SAME_UPPER, SAME_LOWER
	Group     int    // 0: 1
}

// WindowOf returns the window of a Conv node whose weight has the shape dims: [O, I/group, kernel...].
func WindowOf(conv *onnxpb.NodeProto, dims []int) (*Window, error) {
	if len(dims) < 3 {
		return nil, fmt.Errorf("%s: weight of shape %s", onnxio.Label(conv), engine.DimString(dims))
	}
	return &Window{
		Kernel:    dims[2:],
		Strides:   engine.Convert[int](onnxio.AttrInts(conv, "strides")),
		Dilations: engine.Convert[int](onnxio.AttrInts(conv, "dilations")),
		Pads:      engine.Convert[int](onnxio.AttrInts(conv, "pads")),
		AutoPad:   onnxio.AttrString(conv, "auto_pad", ""),
		Group:     int(onnxio.AttrInt(conv, "group", 1)),
	}, nil
}

// A dimension is one spatial axis of a convolution: tap t of output position o reads input position
// stride·o + dilation·t − pad, which is zero outside [0, in).
type dimension struct {
	in, out, kernel, stride, dilation, pad int
}

// at is the input position that tap t reads for output position o; -1 outside.
func (d dimension) at(o, t int) int {
	if p := d.stride*o + d.dilation*t - d.pad; p >= 0 && p < d.in {
		return p
	}
	return -1
}

// dimensions places the window on an input with these spatial sizes.
func (w *Window) dimensions(in []int) ([]dimension, error) {
	k := len(w.Kernel)
	for _, list := range [][]int{w.Strides, w.Dilations, w.Pads, in} {
		if len(list) != k && len(list) != 0 && len(list) != 2*k {
			return nil, fmt.Errorf("a window of %d axes does not fit", k)
		}
	}
	if len(in) != k {
		return nil, fmt.Errorf("kernel %s for an input of spatial size %s", engine.DimString(w.Kernel), engine.DimString(in))
	}
	out := make([]dimension, k)
	for i := range out {
		d := dimension{in: in[i], kernel: w.Kernel[i], stride: 1, dilation: 1}
		if len(w.Strides) > i {
			d.stride = w.Strides[i]
		}
		if len(w.Dilations) > i {
			d.dilation = w.Dilations[i]
		}
		if d.kernel < 1 || d.stride < 1 || d.dilation < 1 {
			return nil, fmt.Errorf("kernel %d, stride %d, dilation %d", d.kernel, d.stride, d.dilation)
		}
		d.place(w, i)
		if d.out < 1 {
			return nil, fmt.Errorf("kernel %s finds no place on spatial size %s", engine.DimString(w.Kernel), engine.DimString(in))
		}
		out[i] = d
	}
	return out, nil
}

// place finds padding and number of positions along axis i.
func (d *dimension) place(w *Window, i int) {
	span := d.dilation*(d.kernel-1) + 1
	switch w.AutoPad {
	case "SAME_UPPER", "SAME_LOWER":
		d.out = (d.in + d.stride - 1) / d.stride
		total := max(0, (d.out-1)*d.stride+span-d.in)
		d.pad = total / 2
		if w.AutoPad == "SAME_LOWER" {
			d.pad = total - total/2
		}
		return
	case "VALID":
		d.out = floorDiv(d.in-span, d.stride) + 1
		return
	}
	end := 0
	if len(w.Pads) == 2*len(w.Kernel) {
		d.pad, end = w.Pads[i], w.Pads[len(w.Kernel)+i]
	}
	d.out = floorDiv(d.in+d.pad+end-span, d.stride) + 1
}

func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}
