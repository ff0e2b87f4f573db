package dataset

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
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
