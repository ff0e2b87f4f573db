package dataset

import (
	"image"
	"image/color"
	"math"

	"github.com/monge-ml/monge/engine"
)

// Picture returns sample i of the data set, as it is stored, as an image, if that is what it is: the
// only one of the model's inputs that has one, three or four channels of at least leastPicture
// pixels a side. Numbers between 0 and 255, or 0 and 1, are taken for pixels; what others there are
// is stretched to these. ok is false for everything else.
func (d *Data) Picture(i int, inputs []engine.IOInfo) (p image.Image, ok bool) {
	plain := *d
	plain.pre.Scale, plain.pre.Mean, plain.pre.Std = 0, nil, nil
	feed, err := plain.For(inputs)
	if err != nil {
		return nil, false
	}
	values, err := feed.Batch(i, 1)
	if err != nil {
		return nil, false
	}
	for _, in := range inputs {
		q := pictureOf(values[in.Name], d.pre)
		if q != nil && p != nil {
			return nil, false // which of them is it?
		}
		if q != nil {
			p = q
		}
	}
	return p, p != nil
}

// leastPicture is the height and width of what may be a picture, and not a few numbers.
const leastPicture = 8

// pictureOf is the first sample of a value as an image; nil if it is none.
func pictureOf(v *engine.Value, pre Preprocess) image.Image {
	if v == nil || len(v.Dims) != 4 || v.Len() == 0 {
		return nil
	}
	c, h, w, last := v.Dims[1], v.Dims[2], v.Dims[3], false
	if pre.Layout == LayoutNHWC || pre.Layout == LayoutAuto && !isChannels(c) && isChannels(w) {
		h, w, c, last = v.Dims[1], v.Dims[2], v.Dims[3], true
	}
	if !isChannels(c) || h < leastPicture || w < leastPicture {
		return nil
	}
	x := v.Float64()[:c*h*w]
	low, high := math.Inf(1), math.Inf(-1)
	for _, a := range x {
		if math.IsNaN(a) || math.IsInf(a, 0) {
			return nil
		}
		low, high = min(low, a), max(high, a)
	}
	switch {
	case low >= 0 && high <= 1:
		low, high = 0, 1
	case low >= 0 && high <= 255:
		low, high = 0, 255
	}
	at := func(channel, row, col int) uint8 {
		k := (channel*h+row)*w + col
		if last {
			k = (row*w+col)*c + channel
		}
		return uint8(math.Round(255 * (x[k] - low) / max(high-low, math.SmallestNonzeroFloat64)))
	}
	red, blue := 0, 2
	if pre.BGR {
		red, blue = 2, 0
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for row := range h {
		for col := range w {
			p := color.NRGBA{A: 255}
			if c == 1 {
				p.R = at(0, row, col)
				p.G, p.B = p.R, p.R
			} else {
				p.R, p.G, p.B = at(red, row, col), at(1, row, col), at(blue, row, col)
			}
			if c == 4 {
				p.A = at(3, row, col)
			}
			out.SetNRGBA(col, row, p)
		}
	}
	return out
}
