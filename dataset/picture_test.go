package dataset_test

import (
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// Pictures look as they are stored, whatever they become on the way into a model.
func TestPicture(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	left, right := color.NRGBA{200, 100, 50, 255}, color.NRGBA{10, 20, 30, 255}
	picture(t, filepath.Join(dir, "a", "x.png"), 16, 16, left, right)
	pre := dataset.Preprocess{Scale: 1. / 255, Mean: []float64{0.4, 0.5, 0.6}, Std: []float64{0.2, 0.2, 0.2}, BGR: true}
	planes := func(lowest, step float32) *engine.Value {
		v := make([]float32, 3*16*16)
		for i := range v {
			v[i] = lowest + step*float32(i/256)
		}
		return engine.Float32(v, 1, 3, 16, 16)
	}
	made := func(v *engine.Value) *dataset.Data {
		d, err := dataset.New("memory", map[string]*engine.Value{"x": v}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		name        string
		data        *dataset.Data
		in          engine.IOInfo
		left, right color.NRGBA
	}{
		{"folder, BGR, nchw", openData(t, dir, pre, dataset.Options{}), input("x", onnxio.Float, -1, 3, 16, 16), left, right},
		{"folder, BGR, nhwc", openData(t, dir, pre, dataset.Options{}), input("x", onnxio.Float, -1, 16, 16, 3), left, right},
		{"pixels", made(planes(0, 100)), input("x", onnxio.Float, -1, 3, 16, 16), color.NRGBA{0, 100, 200, 255}, color.NRGBA{0, 100, 200, 255}},
		{"shares", made(planes(0, 0.5)), input("x", onnxio.Float, -1, 3, 16, 16), color.NRGBA{0, 128, 255, 255}, color.NRGBA{0, 128, 255, 255}},
		{"normalised", made(planes(-2, 2)), input("x", onnxio.Float, -1, 3, 16, 16), color.NRGBA{0, 128, 255, 255}, color.NRGBA{0, 128, 255, 255}},
	} {
		p, ok := c.data.Picture(0, []engine.IOInfo{c.in})
		if !ok || p.Bounds() != image.Rect(0, 0, 16, 16) {
			t.Errorf("%s: %v %v", c.name, ok, p)
			continue
		}
		if l, r := p.At(1, 8), p.At(14, 8); l != c.left || r != c.right {
			t.Errorf("%s: %v and %v", c.name, l, r)
		}
	}
	for name, d := range map[string]*dataset.Data{
		"numbers": made(engine.Float32(make([]float32, 64), 1, 64)), "maps": made(engine.Float32(make([]float32, 5*256), 1, 5, 16, 16)),
		"few": made(engine.Float32(make([]float32, 12), 1, 3, 2, 2)),
	} {
		if p, ok := d.Picture(0, []engine.IOInfo{{Name: "x", Type: onnxio.Float}}); ok {
			t.Errorf("%s: a picture of %v", name, p.Bounds())
		}
	}
}
