package dataset_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// pixelModel begins with some operators on its input, whose constants are given by name.
func pixelModel(input []any, constants map[string][]float64, nodes ...string) *onnxio.Model {
	var parts []onnxtest.Part
	for name, v := range constants {
		dims := []int{1, len(v), 1, 1}
		if strings.HasPrefix(name, "bn") {
			dims = []int{len(v)}
		}
		parts = append(parts, onnxtest.Floats(name, dims, v...))
	}
	last := "x"
	for _, n := range nodes {
		op, other, _ := strings.Cut(n, " ")
		ins := last + " " + other
		if strings.HasPrefix(op, "!") {
			op, ins = op[1:], other+" "+last
		}
		last += "'"
		parts = append(parts, onnxtest.Node(op, ins, last))
	}
	parts = append(parts, onnxtest.Node("GlobalAveragePool", last, "y"))
	return onnxtest.Model(onnxtest.Values(onnxtest.Value("x", input...)), onnxtest.Values(onnxtest.Value("y", "N", 3, 1, 1)), parts...)
}

var (
	photo  = []any{"N", 3, 32, 32}
	sized  = []any{"N", 3, "h", "w"}
	share  = dataset.Preprocess{Scale: 1. / 255}
	centre = dataset.Preprocess{Scale: 1. / 255, Mean: []float64{0.5}, Std: []float64{0.5}}
	usual  = dataset.Preprocess{Scale: 1. / 255, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}}
)

// What a model says about its pixels is found: in its first operators, its metadata, or a file
// beside it; and nothing is made up where it says nothing.
func TestStatedBy(t *testing.T) {
	numbers := map[string][]float64{"m": {0.485, 0.456, 0.406}, "s": {0.229, 0.224, 0.225}, "m255": {123.7, 116.3, 103.5}, "s255": {58.4, 57.1, 57.4}, "k": {1. / 255}, "h": {127.5}, "one": {1}, "two": {2}, "zero": {0}, "w": {0.3, 0.2, 0.1}}
	seen := func(mean, variance float64) map[string][]float64 {
		return map[string][]float64{"bn_s": {1, 1, 1}, "bn_b": {0, 0, 0}, "bn_m": {mean, mean, mean}, "bn_v": {variance, variance, variance}}
	}
	const first = "the model's first operators"
	for name, c := range map[string]struct {
		m     *onnxio.Model
		props map[string]string
		files map[string]string
		in    string // the folder of the model
		want  *dataset.Preprocess
		where string
	}{
		"nothing":             {m: pixelModel(photo, numbers)},
		"only an activation":  {m: pixelModel(photo, numbers, "Relu")},
		"0..1, normalised":    {m: pixelModel(photo, numbers, "Sub m", "Div s"), want: &share, where: first},
		"pixels, normalised":  {m: pixelModel(photo, numbers, "Sub m255", "Div s255"), want: &dataset.Preprocess{}, where: first},
		"pixels, both":        {m: pixelModel(photo, numbers, "Mul k", "Sub m", "Div s"), want: &dataset.Preprocess{}, where: first},
		"pixels to -1..1":     {m: pixelModel(photo, numbers, "Div h", "Sub one"), want: &dataset.Preprocess{}, where: first},
		"pixels to 0..1":      {m: pixelModel(photo, numbers, "Mul k"), want: &dataset.Preprocess{}, where: first},
		"means alone":         {m: pixelModel(photo, numbers, "Sub m255"), want: &dataset.Preprocess{}, where: first},
		"0..1 to -1..1":       {m: pixelModel(photo, numbers, "Mul two", "Sub one"), want: &share, where: first},
		"a scale that is 1":   {m: pixelModel(photo, numbers, "Mul one")},
		"divided by zero":     {m: pixelModel(photo, numbers, "Div zero")},
		"one minus pixels":    {m: pixelModel(photo, numbers, "!Sub one")},
		"of no constant":      {m: pixelModel(photo, numbers, "Mul x")},
		"statistics of 0…255": {m: pixelModel(photo, seen(120, 3600), "BatchNormalization bn_s bn_b bn_m bn_v"), want: &dataset.Preprocess{}, where: "BatchNormalization"},
		"statistics of 0..1":  {m: pixelModel(photo, seen(0.45, 0.06), "BatchNormalization bn_s bn_b bn_m bn_v"), want: &share, where: "BatchNormalization"},
		"other statistics":    {m: pixelModel(photo, seen(0, 1), "BatchNormalization bn_s bn_b bn_m bn_v")},
		"Ultralytics":         {m: pixelModel(photo, numbers), props: map[string]string{"author": "Ultralytics", "imgsz": "[320, 320]"}, want: &share, where: "metadata (Ultralytics)"},
		"Ultralytics, free":   {m: pixelModel(sized, numbers), props: map[string]string{"author": "Ultralytics", "imgsz": "[320, 320]"}, want: &dataset.Preprocess{Scale: 1. / 255, Crop: 320}, where: "metadata (Ultralytics)"},
		"standard properties": {m: pixelModel(photo, numbers), props: map[string]string{"Image.NominalPixelRange": "Normalized_1_1", "Image.BitmapPixelFormat": "Bgr8"}, want: &dataset.Preprocess{Scale: centre.Scale, Mean: centre.Mean, Std: centre.Std, BGR: true}, where: "metadata"},
		"standard, as stored": {m: pixelModel(photo, numbers), props: map[string]string{"Image.NominalPixelRange": "NominalRange_0_255"}, want: &dataset.Preprocess{}, where: "metadata"},
		"means by name":       {m: pixelModel(photo, numbers), props: map[string]string{"mean": "[0.485, 0.456, 0.406]", "std": "0.229 0.224 0.225"}, want: &usual, where: "metadata"},
		"means of pixels":     {m: pixelModel(photo, numbers), props: map[string]string{"mean": "127.5", "std": "127.5"}, want: &dataset.Preprocess{Scale: 1, Mean: []float64{127.5}, Std: []float64{127.5}}, where: "metadata"},
		"means of two":        {m: pixelModel(photo, numbers), props: map[string]string{"mean": "1,2", "std": "1,2"}},
		"means that are none": {m: pixelModel(photo, numbers), props: map[string]string{"mean": "x", "std": "1"}},
		"std zero":            {m: pixelModel(photo, numbers), props: map[string]string{"mean": "0.5", "std": "0"}},
		"transformers": {m: pixelModel(sized, numbers), files: map[string]string{"preprocessor_config.json": `{"do_rescale": true, "rescale_factor": 0.00392156862745098,
			"do_normalize": true, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_resize": true, "size": {"shortest_edge": 256}, "do_center_crop": true, "crop_size": {"height": 224, "width": 224}}`},
			want: &dataset.Preprocess{Scale: usual.Scale, Mean: usual.Mean, Std: usual.Std, Resize: 256, Crop: 224}, where: "preprocessor_config.json"},
		"transformers, above":  {m: pixelModel(photo, numbers), in: "onnx", files: map[string]string{"../preprocessor_config.json": `{"do_normalize": false, "size": 224, "do_rescale": true}`}, want: &share, where: "preprocessor_config.json"},
		"transformers, other":  {m: pixelModel(photo, numbers), in: "model", files: map[string]string{"../preprocessor_config.json": `{"do_normalize": false}`}},
		"a tokenizer's":        {m: pixelModel(photo, numbers), files: map[string]string{"preprocessor_config.json": `{"sampling_rate": 16000}`}},
		"timm":                 {m: pixelModel(photo, numbers), files: map[string]string{"config.json": `{"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "input_size": [3, 32, 32], "crop_pct": 0.875}}`}, want: &dataset.Preprocess{Scale: 1. / 255, Mean: []float64{0.5, 0.5, 0.5}, Std: []float64{0.5, 0.5, 0.5}, Resize: 36}, where: "config.json"},
		"any config":           {m: pixelModel(photo, numbers), files: map[string]string{"config.json": `not JSON`}},
		"operators come first": {m: pixelModel(photo, numbers, "Sub m", "Div s"), props: map[string]string{"Image.NominalPixelRange": "NominalRange_0_255"}, want: &share, where: first},
		"not an image":         {m: pixelModel([]any{"N", 7, 3, 9}, numbers), props: map[string]string{"author": "Ultralytics"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), c.in)
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			c.m.Path = filepath.Join(dir, "model.onnx")
			for k, v := range c.props {
				c.m.SetMetadata(k, v)
			}
			for path, text := range c.files {
				write(t, filepath.Join(dir, path), []byte(text))
			}
			got, err := dataset.StatedBy(c.m)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case got == nil && c.want == nil:
			case got == nil || c.want == nil:
				t.Errorf("got %v, want %+v", got, c.want)
			case cmp.Diff(*c.want, got.Preprocess) != "" || !strings.Contains(got.Where, c.where):
				t.Errorf("%s, want it in %q\n%s", got, c.where, cmp.Diff(*c.want, got.Preprocess))
			}
		})
	}
}

// A file of settings that cannot be read is named.
func TestStatedByBrokenFile(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{`{"do_rescale":`: "preprocessor_config.json", strings.Repeat(" ", 1<<20+1): "more than a MiB"} {
		write(t, filepath.Join(dir, "preprocessor_config.json"), []byte(text))
		m := pixelModel(photo, nil)
		m.Path = filepath.Join(dir, "model.onnx")
		if _, err := dataset.StatedBy(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q in it", text, err, want)
		}
	}
}

// Preprocessing of pixels is for pixels, not for numbers that somebody has scaled already.
func TestPixels(t *testing.T) {
	image := func(typ onnxpb.TensorProto_DataType, v ...float32) *engine.Value {
		all := make([]float32, 48)
		for i := range all {
			all[i] = v[i%len(v)]
		}
		if typ == onnxio.Float {
			return &engine.Value{Type: typ, Dims: []int{1, 3, 4, 4}, F32: all}
		}
		ints := make([]int64, len(all))
		for i, x := range all {
			ints[i] = int64(x)
		}
		return &engine.Value{Type: typ, Dims: []int{1, 3, 4, 4}, I64: ints}
	}
	for name, c := range map[string]struct {
		v    *engine.Value
		want bool
	}{
		"bytes":             {image(onnxpb.TensorProto_UINT8, 0, 17, 255), true},
		"floats of pixels":  {image(onnxio.Float, 0, 128, 255), true},
		"scaled":            {image(onnxio.Float, 0, 0.5, 1), false},
		"normalised":        {image(onnxio.Float, -2, 0, 2), false},
		"a few grey levels": {image(onnxpb.TensorProto_UINT8, 0, 1), false},
	} {
		if got := memory(t, c.v, dataset.Preprocess{}).Pixels(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	d, err := memory(t, image(onnxpb.TensorProto_UINT8, 0, 255), dataset.Preprocess{}).With(share)
	if err != nil {
		t.Fatal(err)
	}
	feed, err := d.For([]engine.IOInfo{{Name: "x", Type: onnxio.Float, Dims: []int64{-1, 3, 4, 4}}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := feed.Batch(0, 1)
	if err != nil || v["x"].F32[0] != 0 || v["x"].F32[1] != 1 {
		t.Errorf("%v, %v", v["x"], err)
	}
	if _, err := d.With(dataset.Preprocess{Std: []float64{0}}); err == nil {
		t.Error("a deviation of zero is taken")
	}
}
