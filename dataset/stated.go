package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Stated is what a model says about the pixels that it takes.
type Stated struct {
	// Preprocess turns pixels of 0…255 into what the model takes. Its Resize, Crop and BGR are set
	// where the model says something about them.
	Preprocess Preprocess
	// Where says it: a file, or what in the model.
	Where string
}

// String says it in one line.
func (s *Stated) String() string {
	p := s.Preprocess
	var parts []string
	if p.Scale != 0 && p.Scale != 1 {
		if n := 1 / p.Scale; math.Abs(n-math.Round(n)) < 1e-6*n {
			parts = append(parts, fmt.Sprintf("scale 1/%.0f", n))
		} else {
			parts = append(parts, fmt.Sprintf("scale %.6g", p.Scale))
		}
	}
	for _, l := range []struct {
		name string
		list []float64
	}{{"mean", p.Mean}, {"std", p.Std}} {
		if len(l.list) > 0 {
			parts = append(parts, l.name+" "+listed(l.list))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "pixels of 0…255 as they are")
	}
	if p.BGR {
		parts = append(parts, "blue before red")
	}
	if p.Resize > 0 {
		parts = append(parts, fmt.Sprintf("resized to %d", p.Resize))
	}
	if p.Crop > 0 {
		parts = append(parts, fmt.Sprintf("cut to %d×%[1]d", p.Crop))
	}
	return fmt.Sprintf("%s, found in %s", strings.Join(parts, ", "), s.Where)
}

func listed(list []float64) string {
	var out []string
	for _, x := range list {
		out = append(out, strconv.FormatFloat(x, 'g', 6, 64))
	}
	return strings.Join(out, ",")
}

// StatedBy looks for what a model says about the pixels that it takes: first operators that
// normalise them, properties in its metadata, or a file of settings beside it. It returns nil where
// that is not known, and of models that do not take one image of real numbers. A file of settings
// that cannot be read is an error, which names it.
func StatedBy(m *onnxio.Model) (_ *Stated, err error) {
	defer guard.Recover(&err)
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	in, channels := imageInput(inputs)
	if in == nil {
		return nil, nil
	}
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	s := firstOperators(g, in.Name)
	if s == nil {
		s = properties(m)
	}
	if s == nil {
		if s, err = besideModel(m.Path); err != nil {
			return nil, err
		}
	}
	if s == nil || !fitsChannels(s.Preprocess.Mean, channels) || !fitsChannels(s.Preprocess.Std, channels) || s.Preprocess.check() != nil {
		return nil, nil
	}
	if !free(in, channels) {
		s.Preprocess.Crop = 0 // the model's size is cut out in any case
	}
	return s, nil
}

// imageInput is the only input that takes images, and how many channels these have; 0 if that is
// free.
func imageInput(inputs []engine.IOInfo) (image *engine.IOInfo, channels int) {
	for i, in := range inputs {
		if len(in.Dims) != 4 || !onnxio.IsFloat(in.Type) {
			continue
		}
		if image != nil {
			return nil, 0
		}
		switch d := in.Dims; {
		case d[1] > 0 && isChannels(int(d[1])):
			image, channels = &inputs[i], int(d[1])
		case d[3] > 0 && isChannels(int(d[3])):
			image, channels = &inputs[i], int(d[3])
		case d[1] < 0:
			image = &inputs[i]
		}
	}
	return image, channels
}

func fitsChannels(list []float64, channels int) bool {
	return len(list) <= 1 || channels == 0 || len(list) == channels
}

// free reports whether height and width are.
func free(in *engine.IOInfo, channels int) bool {
	at := []int64{in.Dims[2], in.Dims[3]}
	if int64(channels) == in.Dims[3] && int64(channels) != in.Dims[1] {
		at = []int64{in.Dims[1], in.Dims[2]}
	}
	return at[0] < 0 && at[1] < 0
}

// between0and1 makes numbers from 0 to 1 of pixels.
var between0and1 = Preprocess{Scale: 1. / 255}

// firstOperators tells from the operators right behind an input whether they normalise pixels of
// 0…255 or numbers from 0 to 1.
func firstOperators(g *onnxio.Graph, input string) *Stated {
	scale, shift := 1.0, 0.0
	var ops []string
	for tensor := input; ; {
		readers := g.Consumers(tensor)
		if len(readers) != 1 || readers[0].Input < 0 || g.IsOutput(tensor) {
			break
		}
		n := readers[0].Node
		op := onnxio.StandardOp(n)
		if op == "BatchNormalization" && len(ops) == 0 {
			return ofStatistics(g, n)
		}
		switch {
		case slices.Contains([]string{"Add", "Sub", "Mul", "Div"}, op) && len(n.GetInput()) == 2:
			other, ok := meanOf(g, n.GetInput()[1-readers[0].Input])
			if !ok || readers[0].Input != 0 && (op == "Sub" || op == "Div") || other == 0 && op == "Div" {
				return nil
			}
			switch op {
			case "Add":
				shift += other
			case "Sub":
				shift -= other
			case "Mul":
				scale, shift = scale*other, shift*other
			case "Div":
				scale, shift = scale/other, shift/other
			}
			ops = append(ops, op)
		case !slices.Contains([]string{"Identity", "Cast", "Transpose"}, op):
			return ofRange(scale, shift, ops)
		}
		tensor = n.GetOutput()[0]
	}
	return ofRange(scale, shift, ops)
}

// ofRange tells pixels from numbers of 0 to 1 by what the first operators make of them.
func ofRange(scale, shift float64, ops []string) *Stated {
	if scale == 1 && shift == 0 {
		return nil
	}
	// Networks are trained on numbers about zero, or from 0 to 1.
	suits := func(most float64) bool {
		low, high := min(shift, most*scale+shift), max(shift, most*scale+shift)
		span := high - low
		return span > 0.4 && (math.Abs(low+high)/2 <= 0.35*span || math.Abs(low) < 0.01 && high < 2)
	}
	where := "the model's first operators (" + strings.Join(ops, ", ") + ")"
	switch pixels, shares := suits(255), suits(1); {
	case pixels && !shares:
		return &Stated{Where: where}
	case shares && !pixels:
		return &Stated{Preprocess: between0and1, Where: where}
	}
	return nil
}

// ofStatistics tells by what a first normalisation has seen when it was trained.
func ofStatistics(g *onnxio.Graph, n *onnxpb.NodeProto) *Stated {
	in := n.GetInput()
	if len(in) < 5 {
		return nil
	}
	mean, ok := meanOf(g, in[3])
	variance, known := meanOf(g, in[4])
	if !ok || !known || !(variance > 0) {
		return nil
	}
	const where = "the model's first BatchNormalization"
	switch std := math.Sqrt(variance); {
	case mean > 20 && mean < 235 && std > 10 && std < 120:
		return &Stated{Where: where}
	case mean > 0.1 && mean < 0.9 && std > 0.04 && std < 0.5:
		return &Stated{Preprocess: between0and1, Where: where}
	}
	return nil
}

// mostChannels bounds the constants that are taken for those of channels.
const mostChannels = 16

// meanOf is the mean of a constant with a number for each channel, or a single one.
func meanOf(g *onnxio.Graph, name string) (mean float64, ok bool) {
	p := g.Constant(name)
	if p == nil || onnxio.Elements(p) < 1 || onnxio.Elements(p) > mostChannels {
		return 0, false
	}
	t, err := g.Model.Tensor(p)
	if err != nil || !onnxio.IsFloat(t.Type) {
		return 0, false
	}
	v := t.Float64()
	for _, x := range v {
		mean += x / float64(len(v))
	}
	return mean, !math.IsNaN(mean) && !math.IsInf(mean, 0)
}

// properties reads the metadata of a model: the image properties of the ONNX standard
// (MetadataProps.md), what Ultralytics writes, and means and deviations by their names.
func properties(m *onnxio.Model) *Stated {
	get := func(names ...string) string {
		for _, n := range names {
			if v, ok := m.Metadata(n); ok {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	s := &Stated{Where: "the model's metadata"}
	switch get("Image.NominalPixelRange") {
	case "NominalRange_0_255":
	case "Normalized_0_1":
		s.Preprocess = between0and1
	case "Normalized_1_1":
		s.Preprocess = Preprocess{Scale: 1. / 255, Mean: []float64{0.5}, Std: []float64{0.5}}
	default:
		if get("author") == "Ultralytics" {
			s.Preprocess = between0and1
			if size := numbersIn(get("imgsz")); len(size) == 2 && size[0] == size[1] {
				s.Preprocess.Crop = int(size[0])
			}
			s.Where += " (Ultralytics)"
			return s
		}
		mean, std := numbersIn(get("mean", "image_mean")), numbersIn(get("std", "image_std"))
		if mean == nil || std == nil {
			return nil
		}
		s.Preprocess = Preprocess{Scale: unitOf(mean, std), Mean: mean, Std: std}
	}
	s.Preprocess.BGR = strings.HasPrefix(get("Image.BitmapPixelFormat"), "Bgr")
	return s
}

// unitOf is the scale of the numbers that means and deviations are of.
func unitOf(mean, std []float64) float64 {
	for _, x := range append(slices.Clone(mean), std...) {
		if math.Abs(x) > 2 {
			return 1
		}
	}
	return 1. / 255
}

// numbersIn reads 0.5, or 0.485 0.456,0.406 with or without brackets; nil if that is none.
func numbersIn(text string) []float64 {
	var out []float64
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("[](), \t;", r) }) {
		x, err := strconv.ParseFloat(f, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		out = append(out, x)
	}
	return out
}

// mostSettings is the size in bytes up to which a file of settings is read.
const mostSettings = 1 << 20

// besideModel reads the settings of the Hugging Face libraries beside a model, or in the folder above
// where that is called onnx: preprocessor_config.json of transformers, config.json of timm.
func besideModel(path string) (*Stated, error) {
	if path == "" {
		return nil, nil
	}
	dirs := []string{filepath.Dir(path)}
	if abs, err := filepath.Abs(dirs[0]); err == nil && filepath.Base(abs) == "onnx" {
		dirs = append(dirs, filepath.Dir(abs))
	}
	for _, dir := range dirs {
		for _, f := range []struct {
			name string
			read func([]byte) (*Preprocess, error)
		}{{"preprocessor_config.json", ofTransformers}, {"config.json", ofTimm}} {
			file := filepath.Join(dir, f.name)
			text, err := settings(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			var p *Preprocess
			if err == nil {
				p, err = f.read(text)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if p != nil {
				return &Stated{Preprocess: *p, Where: file}, nil
			}
		}
	}
	return nil, nil
}

func settings(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostSettings+1))
	if err == nil && len(text) > mostSettings {
		err = errors.New("more than a MiB of settings")
	}
	return text, err
}

// A pixelSize is a number, or an object with one of several names for it.
type pixelSize int

func (s *pixelSize) UnmarshalJSON(text []byte) error {
	var n float64
	if json.Unmarshal(text, &n) == nil {
		*s = pixelSize(n)
		return nil
	}
	var o map[string]float64
	if json.Unmarshal(text, &o) != nil {
		return nil // something else
	}
	switch {
	case o["shortest_edge"] > 0:
		*s = pixelSize(o["shortest_edge"])
	case o["height"] > 0 && o["height"] == o["width"]:
		*s = pixelSize(o["height"])
	}
	return nil
}

// ofTransformers reads an image processor's settings; nil if they are another one's.
func ofTransformers(text []byte) (*Preprocess, error) {
	var c struct {
		Rescale   *bool           `json:"do_rescale"`
		Factor    *float64        `json:"rescale_factor"`
		Normalize *bool           `json:"do_normalize"`
		Mean      json.RawMessage `json:"image_mean"`
		Std       json.RawMessage `json:"image_std"`
		Resize    *bool           `json:"do_resize"`
		Size      pixelSize       `json:"size"`
		CutOut    *bool           `json:"do_center_crop"`
		Crop      pixelSize       `json:"crop_size"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	is := func(b *bool, otherwise bool) bool { return b == nil && otherwise || b != nil && *b }
	mean, std := numbersIn(string(c.Mean)), numbersIn(string(c.Std))
	if c.Rescale == nil && c.Normalize == nil && (mean == nil || std == nil) {
		return nil, nil // of sounds, say
	}
	p := &Preprocess{}
	if is(c.Rescale, true) {
		p.Scale = 1. / 255
		if c.Factor != nil {
			p.Scale = *c.Factor
		}
	}
	if is(c.Normalize, true) {
		p.Mean, p.Std = mean, std
	}
	if is(c.CutOut, false) {
		p.Crop = int(c.Crop)
		if is(c.Resize, true) {
			p.Resize = int(c.Size)
		}
	} else if is(c.Resize, true) {
		p.Crop = int(c.Size)
	}
	return p, nil
}

// ofTimm reads what timm says of a pretrained network; nil if the file is another one's.
func ofTimm(text []byte) (*Preprocess, error) {
	type timm struct {
		Mean []float64 `json:"mean"`
		Std  []float64 `json:"std"`
		Size []int     `json:"input_size"` // channels, height, width
		Part float64   `json:"crop_pct"`
	}
	var c struct {
		timm
		Pretrained *timm `json:"pretrained_cfg"`
	}
	if json.Unmarshal(text, &c) != nil {
		return nil, nil // any program may have a config.json
	}
	t := c.timm
	if c.Pretrained != nil {
		t = *c.Pretrained
	}
	if t.Mean == nil || t.Std == nil {
		return nil, nil
	}
	p := &Preprocess{Scale: unitOf(t.Mean, t.Std), Mean: t.Mean, Std: t.Std}
	if len(t.Size) == 3 && t.Size[1] == t.Size[2] {
		p.Crop = t.Size[1]
		if t.Part > 0 && t.Part <= 1 {
			p.Resize = int(float64(p.Crop) / t.Part)
		}
	}
	return p, nil
}

// Pixels reports whether samples are images, or numbers that look like their pixels: 0…255, not
// scaled.
func (d *Data) Pixels() bool {
	if d.complete {
		return false
	}
	for _, c := range d.columns {
		switch c := c.(type) {
		case *images:
			return true
		case *array:
			if len(c.dims) < 3 {
				continue
			}
			s, err := c.spanOf(d.Sample(mostExamined, 0).order)
			if err == nil && s.low >= 0 && s.high > 16 && s.high <= 255 && s.whole {
				return true
			}
		}
	}
	return false
}

// With returns the data set with other preprocessing. Which folder is which class, and whether
// pictures are turned, was decided when it was opened.
func (d *Data) With(p Preprocess) (*Data, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	c := *d
	c.pre = p
	return &c, nil
}
