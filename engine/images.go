package engine

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // decoder
	_ "image/png"  // decoder
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/image/draw"
	"golang.org/x/sync/errgroup"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// maxPixels bounds the images that are decoded: what a header claims is allocated before a pixel is read.
const maxPixels = 1 << 28

// images is a column of image files, decoded when they are asked for.
type images struct {
	files []string
}

func (c *images) name() string { return "" }

// openImages lists the images of a folder. Its sub-folders are classes, with whatever folders are inside them; a folder
// without sub-folders of images has no labels.
func openImages(root string, p Preprocess, o DataOptions) (*Data, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Name(), ".") && path != root {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".png", ".jpg", ".jpeg":
			if !e.IsDir() {
				files = append(files, path)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no PNG or JPEG images, and no input_0.pb, in this folder")
	}
	labels, classes, err := classify(root, files, p.Classes)
	if err != nil {
		return nil, err
	}
	s := choose(len(files), o)
	if s.rows != nil {
		files, labels = pick(files, s.rows), pick(labels, s.rows)
	}
	d := &Data{columns: []column{&images{files: files}}, labels: labels, classes: classes}
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

// classify numbers the sub-folders of root that files lie in: sorted, or as named by the caller.
func classify(root string, files, names []string) (labels []int, classes []string, err error) {
	folders := make([]string, len(files))
	for i, f := range files {
		rel, err := filepath.Rel(root, f)
		if err != nil {
			return nil, nil, err
		}
		first, _, nested := strings.Cut(filepath.ToSlash(rel), "/")
		if nested {
			folders[i] = first
		}
	}
	classes = slices.Compact(slices.Sorted(slices.Values(folders)))
	if len(classes) == 1 && classes[0] == "" && names == nil {
		return nil, nil, nil
	}
	if i := slices.Index(folders, ""); i >= 0 {
		return nil, nil, fmt.Errorf("%s lies beside the folders of classes", files[i])
	}
	if names != nil {
		classes = names
	}
	labels = make([]int, len(files))
	for i, folder := range folders {
		if labels[i] = slices.Index(classes, folder); labels[i] < 0 {
			return nil, nil, fmt.Errorf("folder %q is not among the %d classes", folder, len(classes))
		}
	}
	return labels, classes, nil
}

// A frame is the form in which a model wants images.
type frame struct {
	height, width int  // 0: as the images come
	channels      int  // 1 or 3
	last          bool // channels are the last axis
	pre           Preprocess
}

func (c *images) bind(in IOInfo, p Preprocess) (binding, error) {
	f, err := frameOf(in, p)
	if err != nil {
		return binding{}, fmt.Errorf("input %q %s: %w", in.Name, in.shape(), err)
	}
	p.Layout = LayoutNCHW
	if f.last {
		p.Layout = LayoutNHWC
	}
	return binding{read: func(samples []int) (*Value, error) {
		raw, dims, err := c.load(samples, f)
		if err != nil {
			return nil, err
		}
		return decode(onnxpb.TensorProto_UINT8, raw, dims, in.Type, p)
	}}, nil
}

// frameOf reads the frame off an input's shape.
func frameOf(in IOInfo, p Preprocess) (frame, error) {
	f := frame{channels: 3, last: p.Layout == LayoutNHWC, pre: p}
	if in.Dims == nil {
		f.height, f.width = p.Crop, p.Crop
		return f, nil
	}
	if len(in.Dims) != 4 {
		return f, errors.New("images need an input with 4 axes")
	}
	isChannels := func(d int64) bool { return d == 1 || d == 3 }
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
		return f, fmt.Errorf("images have 1 or 3 channels, not %d (layout %s)", c, layoutName(f.last))
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

// load decodes images into one block of bytes, in parallel. All have to come out the same size.
func (c *images) load(samples []int, f frame) (raw []byte, dims []int, err error) {
	pictures := make([]*image.NRGBA, len(samples))
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i, s := range samples {
		group.Go(func() error {
			p, err := readImage(c.files[s])
			if err == nil {
				pictures[i], err = f.fit(p)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.files[s], err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	size := pictures[0].Rect.Size()
	for i, p := range pictures {
		if p.Rect.Size() != size {
			return nil, nil, fmt.Errorf("%s is %d×%d, %s is %d×%d: choose a resize and a crop", c.files[samples[0]],
				size.X, size.Y, c.files[samples[i]], p.Rect.Dx(), p.Rect.Dy())
		}
	}
	plane := size.X * size.Y
	raw = make([]byte, len(samples)*plane*f.channels)
	for i, p := range pictures {
		f.write(raw[i*plane*f.channels:(i+1)*plane*f.channels], p)
	}
	if f.last {
		return raw, []int{len(samples), size.Y, size.X, f.channels}, nil
	}
	return raw, []int{len(samples), f.channels, size.Y, size.X}, nil
}

// readImage decodes a file into red, green, blue and alpha, not premultiplied: what is transparent keeps its color.
func readImage(file string) (*image.NRGBA, error) {
	r, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	config, _, err := image.DecodeConfig(r)
	if err != nil {
		return nil, err
	}
	if config.Width*config.Height > maxPixels || config.Width*config.Height <= 0 {
		return nil, fmt.Errorf("%d×%d pixels", config.Width, config.Height)
	}
	if _, err := r.Seek(0, 0); err != nil {
		return nil, err
	}
	decoded, _, err := image.Decode(r)
	if err != nil {
		return nil, err
	}
	b := decoded.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	if o, ok := decoded.(interface{ Opaque() bool }); ok && o.Opaque() {
		draw.Draw(out, out.Rect, decoded, b.Min, draw.Src)
		return out, nil
	}
	for y := range b.Dy() {
		for x := range b.Dx() {
			c := color.NRGBAModel.Convert(decoded.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
			c.A = 255
			out.SetNRGBA(x, y, c)
		}
	}
	return out, nil
}

// fit resizes an image and cuts out its middle.
func (f frame) fit(p *image.NRGBA) (*image.NRGBA, error) {
	size := p.Rect.Size()
	if to := f.resized(size); to != size {
		scaled := image.NewNRGBA(image.Rectangle{Max: to})
		draw.BiLinear.Scale(scaled, scaled.Rect, p, p.Rect, draw.Src, nil)
		p, size = scaled, to
	}
	h, w := f.height, f.width
	if h == 0 {
		h = size.Y
	}
	if w == 0 {
		w = size.X
	}
	if size.Y < h || size.X < w {
		return nil, fmt.Errorf("%d×%d pixels after resizing, %d×%d wanted: choose a larger resize", size.X, size.Y, w, h)
	}
	// As torchvision's CenterCrop: halves are rounded to even.
	x, y := halfToEven(size.X-w), halfToEven(size.Y-h)
	return p.SubImage(image.Rect(x, y, x+w, y+h)).(*image.NRGBA), nil
}

// halfToEven is n/2, ties to even.
func halfToEven(n int) int {
	h := n / 2
	if n%2 == 1 && h%2 == 1 {
		h++
	}
	return h
}

// resized is the size an image is scaled to: its shorter side has Resize pixels, the longer one is cut off to whole
// pixels. Without Resize it just covers the frame.
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

// write lays out the channels of an image.
func (f frame) write(dst []byte, p *image.NRGBA) {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	order := [3]int{0, 1, 2}
	if f.pre.BGR {
		order = [3]int{2, 1, 0}
	}
	for y := range h {
		row := p.Pix[p.PixOffset(p.Rect.Min.X, p.Rect.Min.Y+y):]
		for x := range w {
			px := row[4*x : 4*x+3]
			if f.channels == 1 {
				dst[y*w+x] = color.GrayModel.Convert(color.NRGBA{px[0], px[1], px[2], 255}).(color.Gray).Y
				continue
			}
			for c, from := range order {
				if f.last {
					dst[(y*w+x)*3+c] = px[from]
				} else {
					dst[(c*h+y)*w+x] = px[from]
				}
			}
		}
	}
}
