package dataset

import (
	"errors"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/engine"
)

// A Layout says which axis of an image holds the channels.
type Layout string

const (
	LayoutAuto Layout = ""     // told from the sizes
	LayoutNCHW Layout = "nchw" // sample, channel, height, width
	LayoutNHWC Layout = "nhwc" // sample, height, width, channel
)

// A Preprocess says how stored numbers become a model's input: every element x becomes (x·Scale −
// Mean) / Std, in float64, and is then cast to the input's element type. It touches inputs of
// floating-point type only; integers are cast and nothing else. The zero value changes nothing.
type Preprocess struct {
	// Scale is multiplied first. 0: 1.
	Scale float64

	// Mean is subtracted and Std divided by, after scaling: one number for all channels, or one per
	// channel. nil: 0 and 1.
	Mean, Std []float64

	// Layout says which axis holds the channels: of arrays, for Mean and Std; of image folders,
	// which layout the model wants. LayoutAuto: for arrays the first axis after the sample's that
	// is as long as Mean, for images the axis of the model's input that has 1, 3 or 4 entries.
	Layout Layout

	// Resize scales images, bilinearly (averaging where they shrink), until their shorter side has
	// this many pixels. 0: just large enough to cover the crop; no scaling where that is not known
	// either.
	Resize int

	// Crop is the height and width that is cut out of the middle of the resized image. 0: the
	// model's input size, or no crop if that is free.
	Crop int

	// BGR orders the channels of image folders blue, green, red. false: red, green, blue.
	BGR bool

	// AutoOrient turns and mirrors images as their EXIF orientation says. false: pixels stay as
	// they are stored, as with PIL, torchvision and TensorFlow (OpenCV turns them).
	AutoOrient bool

	// Classes names the sub-folders of an image folder in the order of their labels. nil: sorted
	// order.
	Classes []string
}

func (p Preprocess) check() error {
	switch p.Layout {
	case LayoutAuto, LayoutNCHW, LayoutNHWC:
	default:
		return fmt.Errorf("layout %q: want nchw or nhwc", p.Layout)
	}
	if len(p.Mean) > 1 && len(p.Std) > 1 && len(p.Mean) != len(p.Std) {
		return fmt.Errorf("mean has %d channels, std %d", len(p.Mean), len(p.Std))
	}
	if slices.Contains(p.Std, 0) {
		return errors.New("std is 0")
	}
	if p.Resize < 0 || p.Crop < 0 {
		return errors.New("resize and crop must not be negative")
	}
	return nil
}

// changes says whether numbers are changed at all.
func (p Preprocess) changes() bool {
	return p.Scale != 0 && p.Scale != 1 || slices.ContainsFunc(p.Mean, func(x float64) bool { return x != 0 }) ||
		slices.ContainsFunc(p.Std, func(x float64) bool { return x != 1 })
}

// channels is the number of channels that Mean and Std speak of; 1 if all are treated alike.
func (p Preprocess) channels() int { return max(len(p.Mean), len(p.Std), 1) }

// An affine is what happens to the numbers of one channel.
type affine struct{ scale, mean, std float64 }

func (a affine) apply(x float64) float64 { return (x*a.scale - a.mean) / a.std }

// channel returns what happens to channel c.
func (p Preprocess) channel(c int) affine {
	a := affine{1, 0, 1}
	if p.Scale != 0 {
		a.scale = p.Scale
	}
	if len(p.Mean) > 0 {
		a.mean = p.Mean[min(c, len(p.Mean)-1)]
	}
	if len(p.Std) > 0 {
		a.std = p.Std[min(c, len(p.Std)-1)]
	}
	return a
}

// axis finds the axis of a stacked value (axis 0 is the sample) that holds the channels; 0 if all
// elements are treated alike.
func (p Preprocess) axis(dims []int) (int, error) {
	n := p.channels()
	if n == 1 {
		return 0, nil
	}
	last := len(dims) - 1
	switch {
	case last < 1:
	case p.Layout == LayoutNCHW && dims[1] == n, p.Layout == LayoutAuto && dims[1] == n:
		return 1, nil
	case p.Layout == LayoutNHWC && dims[last] == n, p.Layout == LayoutAuto && dims[last] == n:
		return last, nil
	}
	where := "first or last axis" // behind the sample
	switch p.Layout {
	case LayoutNCHW:
		where = "first axis (layout nchw)"
	case LayoutNHWC:
		where = "last axis (layout nhwc)"
	}
	return 0, fmt.Errorf("mean and std have %d channels, shape %s has not that many on its %s", n, engine.DimString(dims), where)
}
