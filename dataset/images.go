package dataset

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"  // decoder
	_ "image/jpeg" // decoder
	_ "image/png"  // decoder
	"io"
	"math"
	"os"
	"runtime"
	"sync"

	_ "golang.org/x/image/bmp" // decoder
	"golang.org/x/image/draw"
	_ "golang.org/x/image/tiff" // decoder
	_ "golang.org/x/image/webp" // decoder
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// maxPixels bounds the images that are decoded, and all that are decoded at once: what a header
// claims is allocated before a pixel is read. It is what PIL, which most networks are trained with,
// bounds them by.
const maxPixels = 178_956_970

// maxRatio bounds how much longer than wide an image may be: it is scaled before its middle is cut
// out.
const maxRatio = 1000

// images is a column of image files, decoded when they are asked for.
type images struct {
	files  []string
	orient bool  // turn them as their EXIF orientation says
	kept   album // as they are fed
}

func (c *images) name() string { return "" }

// openImages lists the images of a folder. Its sub-folders are classes; a folder without
// sub-folders of images has no labels.
func openImages(root string, p Preprocess, o Options) (*Data, error) {
	f, err := listFolder(root)
	if err != nil {
		return nil, err
	}
	if len(f.files) == 0 {
		return nil, f.empty()
	}
	labels, classes, remarks, err := f.labels(p.Classes)
	if err != nil {
		return nil, err
	}
	files := f.files
	s := choose(len(files), o)
	if s.rows != nil {
		files, labels = pick(files, s.rows), pick(labels, s.rows)
	}
	d := &Data{files: f.files, columns: []column{&images{files: files, orient: p.AutoOrient}}, labels: labels, classes: classes}
	d.remarks = append(f.remarks(), remarks...)
	d.order = s.samples(len(files))
	return d, nil
}

// pick returns some elements of a list, nil of an empty one.
func pick[T any](list []T, rows []int) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = list[r]
	}
	return out
}

// A frame is the form in which a model wants images.
type frame struct {
	height, width int  // 0: as the images come
	channels      int  // 1, 3 or 4
	last          bool // channels are the last axis
	pre           Preprocess
}

func (c *images) bind(in engine.IOInfo, p Preprocess) (binding, error) {
	f, err := frameOf(in, p)
	if err != nil {
		return binding{}, fmt.Errorf("input %q %s: %w", in.Name, in.Shape(), err)
	}
	p.Layout = LayoutNCHW
	if f.last {
		p.Layout = LayoutNHWC
	}
	return binding{finite: true, read: func(samples []int) (*engine.Value, error) {
		raw, dims, err := c.load(samples, f)
		if err != nil {
			return nil, err
		}
		return decode(onnxpb.TensorProto_UINT8, raw, dims, in.Type, p)
	}}, nil
}

// frameOf reads the frame off an input's shape.
func frameOf(in engine.IOInfo, p Preprocess) (frame, error) {
	f := frame{channels: 3, last: p.Layout == LayoutNHWC, pre: p}
	if in.Dims == nil {
		f.height, f.width = p.Crop, p.Crop
		return f, nil
	}
	if len(in.Dims) != 4 {
		return f, errors.New("images need an input with 4 axes")
	}
	if p.Layout == LayoutAuto {
		f.last = !isChannels(in.Dims[1]) && isChannels(in.Dims[3])
	}
	c, h, w := in.Dims[1], in.Dims[2], in.Dims[3]
	if f.last {
		c, h, w = in.Dims[3], in.Dims[1], in.Dims[2]
	}
	switch {
	case isChannels(c):
		f.channels = int(c)
	case c >= 0:
		return f, fmt.Errorf("images have 1, 3 or 4 channels, not %d (--layout %s)", c, layoutName(f.last))
	}
	f.height, f.width = int(max(h, 0)), int(max(w, 0))
	if p.Crop > 0 {
		if f.height > 0 && f.height != p.Crop || f.width > 0 && f.width != p.Crop {
			return f, fmt.Errorf("crop %d does not fit", p.Crop)
		}
		f.height, f.width = p.Crop, p.Crop
	}
	return f, nil
}

func layoutName(last bool) Layout {
	if last {
		return LayoutNHWC
	}
	return LayoutNCHW
}

// load reads images into one block of bytes. All have to come out the same size.
func (c *images) load(samples []int, f frame) (raw []byte, dims []int, err error) {
	all, err := c.shots(samples, f)
	if err != nil {
		return nil, nil, err
	}
	size := all[0].size
	raw = make([]byte, 0, len(samples)*len(all[0].raw))
	for i, s := range all {
		if s.size != size {
			return nil, nil, fmt.Errorf("%s is %d×%d, %s is %d×%d: choose --resize and --crop", c.files[samples[0]],
				size.X, size.Y, c.files[samples[i]], s.size.X, s.size.Y)
		}
		raw = append(raw, s.raw...)
	}
	if f.last {
		return raw, []int{len(samples), size.Y, size.X, f.channels}, nil
	}
	return raw, []int{len(samples), f.channels, size.Y, size.X}, nil
}

// shots are images as they are fed: those that were kept, and others, which are decoded in parallel.
func (c *images) shots(samples []int, f frame) ([]*shot, error) {
	out := make([]*shot, len(samples))
	var missing, files []int
	for i, s := range samples {
		if out[i] = c.kept.get(s, f); out[i] == nil {
			missing, files = append(missing, i), append(files, s)
		}
	}
	errs := c.each(files, f.channels == 4, func(i int, p *image.NRGBA) error {
		p, err := f.fit(p)
		if err != nil {
			return err
		}
		out[missing[i]] = f.shot(p)
		return nil
	}, nil)
	for i, err := range errs {
		if err != nil {
			return nil, err
		}
		c.kept.put(files[i], f, out[missing[i]])
	}
	return out, nil
}

// each decodes images, in parallel, and hands image i to use. It returns what goes wrong with each.
// progress, which may be nil, is told how many of how many are done.
func (c *images) each(samples []int, alpha bool, use func(i int, p *image.NRGBA) error, progress func(done, total int)) []error {
	room := semaphore.NewWeighted(maxPixels)
	errs := make([]error, len(samples))
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	var mu sync.Mutex
	done := 0
	for i, s := range samples {
		group.Go(func() error {
			err := c.decode(c.files[s], room, alpha, func(p *image.NRGBA) error { return use(i, p) })
			if err != nil {
				errs[i] = errors.New(reason(c.files[s], err))
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; progress != nil {
				progress(done, len(samples))
			}
			return nil
		})
	}
	group.Wait()
	return errs
}

// decode hands the image in a file to use, in red, green, blue and alpha, not premultiplied.
// Without alpha what is transparent keeps its color. room is for the pixels of all images that are
// decoded at once.
func (c *images) decode(file string, room *semaphore.Weighted, alpha bool, use func(*image.NRGBA) error) (err error) {
	defer guard.Recover(&err)
	r, err := os.Open(file)
	if err != nil {
		return err
	}
	defer r.Close()
	config, format, err := image.DecodeConfig(r)
	if err != nil {
		return err
	}
	w, h := int64(config.Width), int64(config.Height)
	switch {
	case w <= 0 || h <= 0:
		return errors.New("it has no pixels")
	case w > maxPixels || h > maxPixels || w*h > maxPixels:
		return fmt.Errorf("%d×%d pixels are more than %d million", w, h, maxPixels/1_000_000)
	case max(w, h) > maxRatio*min(w, h):
		return fmt.Errorf("%d×%d pixels are a strip, not an image", w, h)
	}
	if err := room.Acquire(context.Background(), w*h); err != nil {
		return err
	}
	defer room.Release(w * h)
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	decoded, _, err := image.Decode(r)
	if err != nil {
		return err
	}
	if format == "webp" {
		decoded = widened(decoded)
	}
	p := plainImage(decoded, image.Rect(0, 0, config.Width, config.Height), alpha)
	if c.orient {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return err
		}
		p = oriented(p, orientation(r, format))
	}
	return use(p)
}

// plainImage copies an image onto a canvas, whose upper left corner is that of the image; the first
// frame of an animation may lie somewhere else.
func plainImage(p image.Image, canvas image.Rectangle, alpha bool) *image.NRGBA {
	out := image.NewNRGBA(canvas)
	b := p.Bounds()
	at := b.Intersect(canvas)
	if at.Empty() || b.Size() == canvas.Size() {
		at = canvas
	} else {
		b = at
	}
	if o, ok := p.(interface{ Opaque() bool }); ok && o.Opaque() {
		draw.Draw(out, at, p, b.Min, draw.Src)
	} else {
		for y := range at.Dy() {
			for x := range at.Dx() {
				out.SetNRGBA(at.Min.X+x, at.Min.Y+y, straight(p.At(b.Min.X+x, b.Min.Y+y)))
			}
		}
	}
	if !alpha {
		for i := 3; i < len(out.Pix); i += 4 {
			out.Pix[i] = 255
		}
	}
	return out
}

// widened turns the luma and chroma of a lossy WebP, which leave some values out at either end as
// in video (BT.601), into colors. The decoder takes them for those of a JPEG, which does not.
func widened(decoded image.Image) image.Image {
	var p *image.YCbCr
	alpha := func(int, int) uint8 { return 255 }
	switch d := decoded.(type) {
	case *image.YCbCr:
		p = d
	case *image.NYCbCrA:
		p, alpha = &d.YCbCr, func(x, y int) uint8 { return d.A[d.AOffset(x, y)] }
	default:
		return decoded
	}
	out := image.NewNRGBA(p.Rect)
	round := func(x float64) uint8 { return uint8(min(max(x+0.5, 0), 255)) }
	for y := p.Rect.Min.Y; y < p.Rect.Max.Y; y++ {
		for x := p.Rect.Min.X; x < p.Rect.Max.X; x++ {
			c := p.YCbCrAt(x, y)
			luma, cb, cr := 255./219*(float64(c.Y)-16), float64(c.Cb)-128, float64(c.Cr)-128
			out.SetNRGBA(x, y, color.NRGBA{round(luma + 1.596027*cr), round(luma - 0.391762*cb - 0.812968*cr), round(luma + 2.017232*cb), alpha(x, y)})
		}
	}
	return out
}

// straight is a color with eight bits a channel, not premultiplied.
func straight(c color.Color) color.NRGBA {
	if deep, ok := c.(color.NRGBA64); ok { // which would go through premultiplied ones, and lose what is transparent
		return color.NRGBA{uint8(deep.R >> 8), uint8(deep.G >> 8), uint8(deep.B >> 8), uint8(deep.A >> 8)}
	}
	return color.NRGBAModel.Convert(c).(color.NRGBA)
}

// fit resizes an image and cuts out its middle.
func (f frame) fit(p *image.NRGBA) (*image.NRGBA, error) {
	size := f.resized(p.Rect.Size())
	h, w := f.height, f.width
	if h == 0 {
		h = size.Y
	}
	if w == 0 {
		w = size.X
	}
	if size.Y < h || size.X < w {
		return nil, fmt.Errorf("%d×%d pixels after resizing, %d×%d wanted: choose a larger --resize", size.X, size.Y, w, h)
	}
	// As torchvision's CenterCrop: halves are rounded to even.
	half := func(n int) int { return int(math.RoundToEven(float64(n) / 2)) }
	x, y := half(size.X-w), half(size.Y-h)
	middle := image.Rect(x, y, x+w, y+h)
	if size == p.Rect.Size() {
		return p.SubImage(middle).(*image.NRGBA), nil
	}
	if int64(w)*int64(h) > maxPixels {
		return nil, fmt.Errorf("%d×%d pixels after resizing are more than %d million", w, h, maxPixels/1_000_000)
	}
	// No more is made than the middle: of a long strip the rest is far larger.
	scaled := image.NewNRGBA(middle)
	draw.BiLinear.Scale(scaled, image.Rectangle{Max: size}, p, p.Rect, draw.Src, nil)
	return scaled, nil
}

// resized is the size an image is scaled to: its shorter side has Resize pixels, the longer one is
// cut off to whole pixels. Without Resize it just covers the frame.
func (f frame) resized(size image.Point) image.Point {
	if short := f.pre.Resize; short > 0 {
		if size.X < size.Y {
			return image.Pt(short, max(1, short*size.Y/size.X))
		}
		return image.Pt(max(1, short*size.X/size.Y), short)
	}
	if f.height == 0 || f.width == 0 {
		return size
	}
	// Scale by the larger of the two ratios; the other side then is at least as long as wanted.
	if f.width*size.Y > f.height*size.X {
		return image.Pt(f.width, max(f.height, (f.width*size.Y+size.X/2)/size.X))
	}
	return image.Pt(max(f.width, (f.height*size.X+size.Y/2)/size.Y), f.height)
}

// shot lays out the channels of an image.
func (f frame) shot(p *image.NRGBA) *shot {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	dst := make([]byte, w*h*f.channels)
	order := []int{0, 1, 2, 3}[:f.channels]
	if f.pre.BGR && f.channels > 1 {
		order[0], order[2] = 2, 0
	}
	for y := range h {
		row := p.Pix[p.PixOffset(p.Rect.Min.X, p.Rect.Min.Y+y):]
		for x := range w {
			px := row[4*x : 4*x+4]
			if f.channels == 1 {
				dst[y*w+x] = color.GrayModel.Convert(color.NRGBA{px[0], px[1], px[2], 255}).(color.Gray).Y
				continue
			}
			for c, from := range order {
				if f.last {
					dst[(y*w+x)*f.channels+c] = px[from]
				} else {
					dst[(c*h+y)*w+x] = px[from]
				}
			}
		}
	}
	return &shot{p.Rect.Size(), dst}
}

// Readable returns the data set without the images that cannot be decoded, and says in its remarks
// how many these are. All are tried; progress, which may be nil, is told how many of how many are
// done. It is an error if there is none left. Other data sets are returned as they are.
func (d *Data) Readable(progress func(done, total int)) (*Data, error) {
	for _, column := range d.columns {
		if c, ok := column.(*images); ok {
			return d.readable(c, progress)
		}
	}
	return d, nil
}

func (d *Data) readable(c *images, progress func(done, total int)) (*Data, error) {
	errs := c.each(d.order, false, func(int, *image.NRGBA) error { return nil }, progress)
	out := *d
	out.order = nil
	var first error
	for i, s := range d.order {
		if errs[i] == nil {
			out.order = append(out.order, s)
		} else if first == nil {
			first = errs[i]
		}
	}
	switch left := len(d.order) - len(out.order); {
	case left == 0:
		return d, nil
	case len(out.order) == 0:
		return nil, fmt.Errorf("%s: no image can be read: %w", d.name, first)
	default:
		out.remarks = append(d.Remarks(), fmt.Sprintf("%s: %d of %s cannot be read and are left out, the first: %v",
			d.name, left, plural(len(d.order), "image", "images"), first))
		return &out, nil
	}
}
