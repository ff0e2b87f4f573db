package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

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
