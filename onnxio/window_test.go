package onnxio_test

import (
	"slices"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func TestWindowPlace(t *testing.T) {
	type axis = onnxio.WindowAxis
	for name, c := range map[string]struct {
		w    onnxio.Window
		in   int
		want axis
	}{
		"plain":        {onnxio.Window{Kernel: []int{3}}, 8, axis{In: 8, Out: 6, Kernel: 3, Stride: 1, Dilation: 1}},
		"strided":      {onnxio.Window{Kernel: []int{3}, Strides: []int{2}}, 8, axis{In: 8, Out: 3, Kernel: 3, Stride: 2, Dilation: 1, Unread: 1}},
		"dilated":      {onnxio.Window{Kernel: []int{3}, Dilations: []int{3}}, 8, axis{In: 8, Out: 2, Kernel: 3, Stride: 1, Dilation: 3}},
		"padded":       {onnxio.Window{Kernel: []int{3}, Strides: []int{2}, Pads: []int{1, 2}}, 8, axis{In: 8, Out: 5, Kernel: 3, Stride: 2, Dilation: 1, Before: 1, After: 2}},
		"cropped":      {onnxio.Window{Kernel: []int{2}, Pads: []int{-1, 0}}, 8, axis{In: 8, Out: 6, Kernel: 2, Stride: 1, Dilation: 1, Before: -1}},
		"same upper":   {onnxio.Window{Kernel: []int{4}, Strides: []int{2}, Pads: []int{9, 9}, AutoPad: "SAME_UPPER"}, 7, axis{In: 7, Out: 4, Kernel: 4, Stride: 2, Dilation: 1, Before: 1, After: 2}},
		"same lower":   {onnxio.Window{Kernel: []int{4}, Strides: []int{2}, AutoPad: "SAME_LOWER"}, 7, axis{In: 7, Out: 4, Kernel: 4, Stride: 2, Dilation: 1, Before: 2, After: 1}},
		"same, spare":  {onnxio.Window{Kernel: []int{1}, Strides: []int{3}, AutoPad: "SAME_UPPER"}, 6, axis{In: 6, Out: 2, Kernel: 1, Stride: 3, Dilation: 1, Unread: 2}},
		"valid":        {onnxio.Window{Kernel: []int{3}, Pads: []int{1, 1}, AutoPad: "VALID"}, 8, axis{In: 8, Out: 6, Kernel: 3, Stride: 1, Dilation: 1}},
		"ceil":         {onnxio.Window{Kernel: []int{3}, Strides: []int{2}, Ceil: true}, 8, axis{In: 8, Out: 4, Kernel: 3, Stride: 2, Dilation: 1, Unread: -1}},
		"ceil, even":   {onnxio.Window{Kernel: []int{2}, Strides: []int{2}, Ceil: true}, 8, axis{In: 8, Out: 4, Kernel: 2, Stride: 2, Dilation: 1}},
		"ceil, beyond": {onnxio.Window{Kernel: []int{2}, Strides: []int{3}, Pads: []int{0, 1}, Ceil: true}, 6, axis{In: 6, Out: 2, Kernel: 2, Stride: 3, Dilation: 1, After: 1, Unread: 2}},
		"no place":     {onnxio.Window{Kernel: []int{5}, Strides: []int{2}}, 4, axis{In: 4, Kernel: 5, Stride: 2, Dilation: 1, Unread: 4}},
		"no input":     {onnxio.Window{Kernel: []int{1}}, 0, axis{Kernel: 1, Stride: 1, Dilation: 1}},
		"any size":     {onnxio.Window{Kernel: []int{3}, Pads: []int{1, 2}}, -1, axis{In: -1, Out: -1, Kernel: 3, Stride: 1, Dilation: 1, Before: 1, After: 2, Unread: -1}},
		"any, same":    {onnxio.Window{Kernel: []int{3}, AutoPad: "SAME_UPPER"}, -1, axis{In: -1, Out: -1, Kernel: 3, Stride: 1, Dilation: 1, Before: -1, After: -1, Unread: -1}},
		"any kernel":   {onnxio.Window{Kernel: []int{-1}}, 8, axis{In: 8, Out: -1, Kernel: -1, Stride: 1, Dilation: 1, Unread: -1}},
	} {
		axes, err := c.w.Place([]int{c.in})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if axes[0] != c.want {
			t.Errorf("%s: placed as %+v, want %+v", name, axes[0], c.want)
		}
	}
}

// Every position of the padded input that a window may start from, in steps of the stride, is a
// position of the output.
func TestWindowReads(t *testing.T) {
	for _, pads := range [][]int{nil, {1, 0}, {2, 3}, {-1, 1}} {
		for in := range 12 {
			for kernel := 1; kernel < 5; kernel++ {
				for stride := 1; stride < 4; stride++ {
					for dilation := 1; dilation < 3; dilation++ {
						w := onnxio.Window{Kernel: []int{kernel}, Strides: []int{stride}, Dilations: []int{dilation}, Pads: pads}
						axes, err := w.Place([]int{in})
						if err != nil {
							t.Fatal(err)
						}
						a := axes[0]
						size, out := in+a.Before+a.After, 0
						for start := 0; start+dilation*(kernel-1) < size; start += stride {
							for tap := range kernel {
								want := start + dilation*tap - a.Before
								if want < 0 || want >= in {
									want = -1
								}
								if got := a.At(out, tap); got != want {
									t.Fatalf("%+v on %d: tap %d of position %d reads %d, want %d", w, in, tap, out, got, want)
								}
							}
							out++
						}
						if a.Out != out {
							t.Errorf("%+v on %d: %d positions, want %d", w, in, a.Out, out)
						}
						if w.KeepsSize() && out != in {
							t.Errorf("%+v on %d gives %d, but is said to keep the size", w, in, out)
						}
						if last := (out-1)*stride + dilation*(kernel-1) + 1; out > 0 && a.Unread != size-last {
							t.Errorf("%+v on %d: %d positions unread, want %d", w, in, a.Unread, size-last)
						}
					}
				}
			}
		}
	}
}

func TestWindowErrors(t *testing.T) {
	for name, c := range map[string]struct {
		w  onnxio.Window
		in []int
	}{
		"axes":      {onnxio.Window{Kernel: []int{3}}, []int{8, 8}},
		"strides":   {onnxio.Window{Kernel: []int{3}, Strides: []int{1, 1}}, []int{8}},
		"dilations": {onnxio.Window{Kernel: []int{3}, Dilations: []int{1, 1}}, []int{8}},
		"pads":      {onnxio.Window{Kernel: []int{3}, Pads: []int{1}}, []int{8}},
		"kernel":    {onnxio.Window{Kernel: []int{0}}, []int{8}},
		"stride":    {onnxio.Window{Kernel: []int{3}, Strides: []int{0}}, []int{8}},
		"dilation":  {onnxio.Window{Kernel: []int{3}, Dilations: []int{-1}}, []int{8}},
	} {
		if axes, err := c.w.Place(c.in); err == nil {
			t.Errorf("%s: placed as %+v", name, axes)
		}
		if c.w.KeepsSize() && name != "axes" {
			t.Errorf("%s: keeps the size", name)
		}
	}
}

func TestWindowOf(t *testing.T) {
	m := onnxtest.Model(nil, nil, onnxtest.Node("MaxPool", "x", "p", onnxtest.Attr("kernel_shape", 3, 2), onnxtest.Attr("strides", 2, 2),
		onnxtest.Attr("dilations", 1, 2), onnxtest.Attr("pads", 0, 1, 2, 3), onnxtest.Attr("ceil_mode", 1)),
		onnxtest.Node("Conv", "p w", "y", onnxtest.Attr("auto_pad", "SAME_UPPER")))
	pool, conv := m.Proto.GetGraph().GetNode()[0], m.Proto.GetGraph().GetNode()[1]
	axes, err := onnxio.WindowOf(pool, nil).Place([]int{9, 10})
	if err != nil {
		t.Fatal(err)
	}
	if want := []onnxio.WindowAxis{
		{In: 9, Out: 5, Kernel: 3, Stride: 2, Dilation: 1, After: 2},
		{In: 10, Out: 6, Kernel: 2, Stride: 2, Dilation: 2, Before: 1, After: 3, Unread: 1},
	}; !slices.Equal(axes, want) {
		t.Errorf("%+v, want %+v", axes, want)
	}
	for kernel, padded := range map[int]bool{1: false, 3: true} {
		w := onnxio.WindowOf(conv, []int{kernel, kernel})
		if w.Padded() != padded || !w.KeepsSize() {
			t.Errorf("kernel %d: padded %v, keeps size %v", kernel, w.Padded(), w.KeepsSize())
		}
	}
	valid := onnxio.Window{Kernel: []int{3}, Pads: []int{1, 1}}
	if !valid.Padded() {
		t.Error("pads of 1 and 1 are not seen")
	}
	valid.AutoPad = "VALID"
	if valid.Padded() || valid.KeepsSize() {
		t.Error("VALID leaves the pads out")
	}
}

func TestTransposedSizes(t *testing.T) {
	for _, c := range []struct {
		attrs    []*onnxpb.AttributeProto
		in, want []int
	}{
		{nil, []int{4, -1}, []int{6, -1}},
		{[]*onnxpb.AttributeProto{onnxtest.Attr("strides", 2, 3), onnxtest.Attr("pads", 1, 0, 1, 1), onnxtest.Attr("output_padding", 1, 0)}, []int{4, 5}, []int{8, 14}},
		{[]*onnxpb.AttributeProto{onnxtest.Attr("strides", 2, 1), onnxtest.Attr("dilations", 2, 2)}, []int{3, 3}, []int{9, 7}},
		{[]*onnxpb.AttributeProto{onnxtest.Attr("strides", 2, 3), onnxtest.Attr("auto_pad", "SAME_UPPER")}, []int{4, 5}, []int{8, 15}},
		{[]*onnxpb.AttributeProto{onnxtest.Attr("output_shape", 9, 10)}, []int{4, -1}, []int{9, 10}},
		{[]*onnxpb.AttributeProto{onnxtest.Attr("pads", 9, 9, 9, 9)}, []int{4, 5}, []int{-1, -1}},
		{[]*onnxpb.AttributeProto{onnxtest.Attr("strides", []int64{2})}, []int{4, 5}, []int{-1, -1}},
	} {
		m := onnxtest.Model(nil, nil, onnxtest.Node("ConvTranspose", "x w", "y", c.attrs...))
		if got := onnxio.TransposedSizes(m.Proto.GetGraph().GetNode()[0], []int{3, 3}, c.in); !slices.Equal(got, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.attrs, c.in, got, c.want)
		}
	}
}
