package dataset_test

import (
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

func input(name string, t engine.DType, dims ...int64) engine.IOInfo {
	return engine.IOInfo{Name: name, Type: t, Dims: dims, Params: make([]string, len(dims))}
}

func openData(t *testing.T, path string, p dataset.Preprocess, o dataset.Options) *dataset.Data {
	t.Helper()
	d, err := dataset.Open(path, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// all returns one input for all samples.
func all(t *testing.T, d *dataset.Data, in engine.IOInfo) *engine.Value {
	t.Helper()
	f, err := d.For([]engine.IOInfo{in})
	if err != nil {
		t.Fatal(err)
	}
	values, err := f.Batch(0, d.Len())
	if err != nil {
		t.Fatal(err)
	}
	return values[in.Name]
}

func sequence(from, n int, step float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(from+i) * step
	}
	return out
}

// TestArrays reads what NumPy wrote: testdata/make.py says what is in it.
func TestArrays(t *testing.T) {
	d := openData(t, "testdata/arrays.npz", dataset.Preprocess{}, dataset.Options{})
	if diff := cmp.Diff([]int{3, 1, 2, 0}, d.Labels()); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		in   engine.IOInfo
		want []float64
	}{
		{input("input", onnxio.Float, -1, 3, 2, 1), sequence(0, 24, 1)},
		{input("input", onnxio.Double, -1, 3, -1, -1), sequence(0, 24, 1)},
		{input("input", onnxio.Int64, -1, 3, 2, 1), sequence(0, 24, 1)},
		{input("input", onnxpb.TensorProto_UINT8, -1, 3, 2, 1), sequence(0, 24, 1)},
		{input("half", onnxio.Float, -1, 2), sequence(0, 8, .25)},
		{input("half", onnxio.Float16, -1, 2), sequence(0, 8, .25)},
		{input("fortran", onnxio.Float, -1, 3, 2), sequence(0, 24, 1)},
		{input("big", onnxpb.TensorProto_INT32, -1, 2), sequence(-4, 8, 1)},
		{input("flags", onnxio.Bool, -1), []float64{1, 0, 1, 0}},
		{input("scalar", onnxio.Int64), []float64{16000}},
	} {
		v := all(t, d, c.in)
		if v.Type != c.in.Type {
			t.Errorf("%s: type %v", c.in, v.Type)
		}
		if diff := cmp.Diff(c.want, v.Float64()); diff != "" {
			t.Errorf("%s: %s", c.in, diff)
		}
	}
}

func TestPreprocess(t *testing.T) {
	for _, c := range []struct {
		p    dataset.Preprocess
		file string
		in   engine.IOInfo
		want func(i int) float64
	}{
		{dataset.Preprocess{Scale: .5}, "single.npz", input("x", onnxio.Double, -1, 3, 2, 1), func(i int) float64 { return float64(i) * .5 }},
		{dataset.Preprocess{Scale: .5, Mean: []float64{1}, Std: []float64{4}}, "input.npy", input("x", onnxio.Double, -1, 3, 2, 1),
			func(i int) float64 { return (float64(i)*.5 - 1) / 4 }},
		{dataset.Preprocess{Mean: []float64{1, 2, 3}, Std: []float64{2}}, "single.npz", input("x", onnxio.Double, -1, 3, 2, 1),
			func(i int) float64 { return (float64(i) - float64(1+i/2%3)) / 2 }},
		{dataset.Preprocess{Mean: []float64{1}, Std: []float64{5}, Layout: dataset.LayoutNHWC}, "single.npz", input("x", onnxio.Double, -1, 3, 2, 1),
			func(i int) float64 { return (float64(i) - 1) / 5 }},
		{dataset.Preprocess{Mean: []float64{1, 2}}, "arrays.npz", input("half", onnxio.Double, -1, 2),
			func(i int) float64 { return float64(i)/4 - float64(1+i%2) }},
	} {
		v := all(t, openData(t, "testdata/"+c.file, c.p, dataset.Options{}), c.in)
		for i, x := range v.F64 {
			if x != c.want(i) {
				t.Errorf("%+v: element %d is %g, want %g", c.p, i, x, c.want(i))
			}
		}
	}
}

func TestLimit(t *testing.T) {
	in := input("input", onnxio.Float, -1, 3, 2, 1)
	full := all(t, openData(t, "testdata/arrays.npz", dataset.Preprocess{}, dataset.Options{}), in)
	labels := []int{3, 1, 2, 0}
	seen := map[string]bool{}
	for seed := range int64(20) {
		for _, file := range []string{"arrays.npz", "input.npy"} {
			d := openData(t, "testdata/"+file, dataset.Preprocess{}, dataset.Options{Limit: 2, Seed: seed})
			v := all(t, d, in)
			rows := []int{int(v.F32[0]) / 6, int(v.F32[6]) / 6}
			for i, row := range rows {
				if diff := cmp.Diff(full.F32[row*6:row*6+6], v.F32[i*6:i*6+6]); diff != "" {
					t.Errorf("seed %d: %s", seed, diff)
				}
				if l := d.Labels(); l != nil && l[i] != labels[row] {
					t.Errorf("seed %d: label of row %d is %d", seed, row, l[i])
				}
			}
			seen[fmt.Sprint(seed, rows)] = true
		}
	}
	if len(seen) != 20 {
		t.Errorf("npz and npy choose different rows: %v", seen)
	}
	d := openData(t, "testdata/arrays.npz", dataset.Preprocess{}, dataset.Options{Limit: 2, Seed: dataset.FileOrder})
	if diff := cmp.Diff(labels[:2], d.Labels()); diff != "" {
		t.Error(diff)
	}
	d = openData(t, "testdata/arrays.npz", dataset.Preprocess{}, dataset.Options{Limit: 4, Seed: 7})
	if diff := cmp.Diff(labels, d.Labels()); diff != "" {
		t.Error(diff)
	}
}

// TestSample: a sample is made of different rows, is the same for the same seed, and the first k of
// n are the first k of any larger sample.
func TestSample(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		labels := make([]int, n)
		for i := range labels {
			labels[i] = i
		}
		d, err := dataset.New("memory", map[string]*engine.Value{"x": engine.Float32(make([]float32, n), n)}, labels)
		if err != nil {
			t.Fatal(err)
		}
		k := rapid.IntRange(1, n).Draw(t, "k")
		seed := rapid.Int64Range(0, 1<<40).Draw(t, "seed")
		got := d.Sample(k, seed).Labels()
		sorted := slices.Compact(slices.Sorted(slices.Values(got)))
		if len(sorted) != k || sorted[0] < 0 || sorted[k-1] >= n {
			t.Fatalf("sample %v of %d", got, n)
		}
		if k < n && !slices.Equal(got, d.Sample(k, seed).Labels()) {
			t.Fatal("not the same for the same seed")
		}
		if j := rapid.IntRange(1, k).Draw(t, "j"); k < n && !slices.Equal(got[:j], d.Sample(j, seed).Labels()) {
			t.Fatal("not the first ones")
		}
		if !slices.Equal(labels[:k], d.Sample(k, dataset.FileOrder).Labels()) {
			t.Fatal("not in file order")
		}
	})
}

func TestDataErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good, err := os.ReadFile("testdata/input.npy")
	if err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{
		"truncated: shape [4,3,2,1] needs 192 bytes":  write("short.npy", good[:len(good)-150]),
		"truncated: shape [4,3,2,1] promises more":    write("short1.npy", good[:len(good)-1]),
		"truncated header":                            write("head.npy", good[:50]),
		"not a NumPy file":                            write("text.npy", []byte(strings.Repeat("hello ", 30))),
		"unsupported header":                          write("shape.npy", []byte(strings.Replace(string(good), "(4, 3", "(-4,3", 1))),
		"not a valid zip file":                        write("bad.npz", good),
		"not a data set":                              write("data.csv", nil),
		"no images (PNG, JPEG, WebP, GIF, BMP, TIFF)": filepath.Dir(write("empty/readme.txt", nil)),
		"lies beside the folders of classes":          filepath.Dir(filepath.Dir(write("mixed/a/x.png", nil))) + string(write("mixed/y.png", nil)[:0]),
		"input_0.pb: not a tensor":                    filepath.Dir(write("set/input_0.pb", []byte{0xff})),
		"no such file":                                filepath.Join(dir, "nothing.npz"),
	} {
		_, err := dataset.Open(path, dataset.Preprocess{}, dataset.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	for want, p := range map[string]dataset.Preprocess{
		`layout "nchw8": want nchw or nhwc`:    {Layout: "nchw8"},
		"mean has 3 channels, std 2":           {Mean: []float64{1, 2, 3}, Std: []float64{1, 2}},
		"std is 0":                             {Std: []float64{0}},
		"resize and crop must not be negative": {Crop: -1},
	} {
		if _, err := dataset.Open("testdata/single.npz", p, dataset.Options{}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestMatchErrors(t *testing.T) {
	f := onnxio.Float
	for want, c := range map[string]struct {
		file string
		p    dataset.Preprocess
		in   []engine.IOInfo
	}{
		`testdata/single.npz: array "pixels": shape [4,3,2,1] does not fit input "x" [?,1,28,28]`:                                                          {"single.npz", dataset.Preprocess{}, []engine.IOInfo{input("x", f, -1, 1, 28, 28)}},
		`testdata/arrays.npz: array "short": it has 3 rows, the data set has 4 samples`:                                                                    {"arrays.npz", dataset.Preprocess{}, []engine.IOInfo{input("short", f, -1, 2)}},
		`testdata/arrays.npz: array "names": its elements (<U1) are not numbers`:                                                                           {"arrays.npz", dataset.Preprocess{}, []engine.IOInfo{input("names", f, -1)}},
		`testdata/single.npz: no array "y" for input y float [?] (arrays: ["pixels"])`:                                                                     {"single.npz", dataset.Preprocess{}, []engine.IOInfo{input("pixels", f, -1, 3, 2, 1), input("y", f, -1)}},
		`testdata/single.npz: scale, mean and std need an input of floating-point type, the model has none`:                                                {"single.npz", dataset.Preprocess{Scale: 2}, []engine.IOInfo{input("x", onnxio.Int64, -1, 3, 2, 1)}},
		`testdata/arrays.npz: input "input" [1099511627776,3,2,1]: a single run takes 3.52e+04 GB of input, more than 4.29 GB (more --memory allows more)`: {"arrays.npz", dataset.Preprocess{}, []engine.IOInfo{input("input", f, 1<<40, 3, 2, 1)}},
		`testdata/arrays.npz: input "input" wants batches of 2, input "half" of 4`:                                                                         {"arrays.npz", dataset.Preprocess{}, []engine.IOInfo{input("input", f, 2, 3, 2, 1), input("half", f, 4, 2)}},
	} {
		d := openData(t, "testdata/"+c.file, c.p, dataset.Options{})
		if _, err := d.For(c.in); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	d := openData(t, "testdata/single.npz", dataset.Preprocess{Mean: []float64{1, 2}}, dataset.Options{})
	feed, err := d.For([]engine.IOInfo{input("x", f, -1, 3, 2, 1)})
	if err != nil {
		t.Fatal(err)
	}
	want := `testdata/single.npz: input "x": mean and std have 2 channels, shape [4,3,2,1] has not that many on its first or last axis`
	if _, err := feed.Batch(0, 4); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	d = openData(t, "testdata/arrays.npz", dataset.Preprocess{}, dataset.Options{})
	feed, err = d.For([]engine.IOInfo{input("big", onnxpb.TensorProto_UINT8, -1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := feed.Batch(0, 4); err == nil || err.Error() != `testdata/arrays.npz: input "big": -4 does not fit UINT8` {
		t.Errorf("got %v", err)
	}
}

// TestWhole: an array with one axis more than its input holds complete inputs.
func TestWhole(t *testing.T) {
	d := openData(t, "testdata/arrays.npz", dataset.Preprocess{}, dataset.Options{})
	f, err := d.For([]engine.IOInfo{input("input", onnxio.Float, -1, 2, 1), input("half", onnxio.Float, -1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if f.BatchSize(32) != 1 {
		t.Errorf("batch size %d", f.BatchSize(32))
	}
	v, err := f.Batch(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*engine.Value{
		"input": {Name: "input", Type: onnxio.Float, Dims: []int{3, 2, 1}, F32: []float32{12, 13, 14, 15, 16, 17}},
		"half":  {Name: "half", Type: onnxio.Float, Dims: []int{1, 2}, F32: []float32{1, 1.25}},
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Error(diff)
	}
}

func writeTensor(t *testing.T, file string, v *engine.Value) {
	t.Helper()
	raw, err := proto.Marshal(v.Proto())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// testDataFolder writes twelve sets, whose shapes differ, for the model mlp.
func testDataFolder(t *testing.T) string {
	dir := t.TempDir()
	for i := range 12 {
		n := 1 + i%3
		v := &engine.Value{Name: "x", Type: onnxio.Float, Dims: []int{n, 3}, F32: make([]float32, 3*n)}
		for k := range v.F32 {
			v.F32[k] = float32(i)
		}
		set := filepath.Join(dir, fmt.Sprintf("test_data_set_%d", i))
		writeTensor(t, filepath.Join(set, "input_0.pb"), v)
		// x·W = (2i, 0) for rows of i, and y = (2i, 4i).
		y := &engine.Value{Name: "y", Type: onnxio.Float, Dims: []int{n, 2}}
		for range n {
			y.F32 = append(y.F32, float32(2*i), float32(4*i))
		}
		writeTensor(t, filepath.Join(set, "output_0.pb"), y)
	}
	return dir
}

func TestTestData(t *testing.T) {
	dir := testDataFolder(t)
	d := openData(t, dir, dataset.Preprocess{}, dataset.Options{})
	f, err := d.For([]engine.IOInfo{input("other_name", onnxio.Float, -1, 3)})
	if err != nil {
		t.Fatal(err)
	}
	if d.Len() != 12 {
		t.Errorf("%d samples", d.Len())
	}
	for i := range d.Len() {
		v, err := f.Batch(i, 1)
		if err != nil {
			t.Fatal(err)
		}
		if x := v["other_name"]; x.Dims[0] != 1+i%3 || x.F32[0] != float32(i) {
			t.Errorf("set %d: %v", i, x)
		}
	}
	if d := openData(t, filepath.Join(dir, "test_data_set_3"), dataset.Preprocess{}, dataset.Options{}); d.Len() != 1 {
		t.Errorf("%d samples in one set", d.Len())
	}
	if d := openData(t, dir, dataset.Preprocess{}, dataset.Options{Limit: 5}); d.Len() != 5 {
		t.Errorf("%d samples with limit 5", d.Len())
	}
}

// picture writes an image whose left half has one color and whose right half another.
func picture(t *testing.T, file string, w, h int, left, right color.Color) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			if x < w/2 {
				img.Set(x, y, left)
			} else {
				img.Set(x, y, right)
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if strings.HasSuffix(file, ".png") {
		err = png.Encode(f, img)
	} else {
		err = jpeg.Encode(f, img, &jpeg.Options{Quality: 100})
	}
	if err != nil {
		t.Fatal(err)
	}
}

var (
	red  = color.NRGBA{255, 0, 0, 255}
	blue = color.NRGBA{0, 51, 255, 255}
)

func TestImages(t *testing.T) {
	dir := t.TempDir()
	picture(t, filepath.Join(dir, "b", "1.png"), 4, 2, red, blue)
	picture(t, filepath.Join(dir, "a", "1.PNG"), 1, 1, red, blue) // JPEG by content, PNG by name: content counts
	picture(t, filepath.Join(dir, "a", "deep", "2.jpeg"), 4, 2, red, red)
	if err := os.WriteFile(filepath.Join(dir, "a", ".hidden.png"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Open(dir, dataset.Preprocess{}, dataset.Options{}); err == nil || !strings.Contains(err.Error(), "2.jpeg lies two folders down") {
		t.Errorf("an image two folders down: %v", err)
	}
	d := openData(t, dir, dataset.Preprocess{Classes: []string{"c", "b", "a"}}, dataset.Options{})
	if diff := cmp.Diff([]int{2, 2, 1}, d.Labels()); diff != "" {
		t.Error(diff)
	}
	if _, err := dataset.Open(dir, dataset.Preprocess{Classes: []string{"a"}}, dataset.Options{}); err == nil {
		t.Error("a folder that is not among the classes: no error")
	}
}

func TestImageLayouts(t *testing.T) {
	dir := t.TempDir()
	picture(t, filepath.Join(dir, "x.png"), 4, 2, red, blue)
	r, g, b := []float32{255, 255, 0, 0}, []float32{0, 0, 51, 51}, []float32{0, 0, 255, 255}
	planes := func(rows ...[]float32) (out []float32) {
		for _, r := range rows {
			out = append(append(out, r...), r...) // two equal lines
		}
		return out
	}
	line := []float32{255, 0, 0, 255, 0, 0, 0, 51, 255, 0, 51, 255}
	for name, c := range map[string]struct {
		p    dataset.Preprocess
		in   engine.IOInfo
		want []float32
	}{
		"nchw":                 {dataset.Preprocess{}, input("x", onnxio.Float, -1, 3, -1, -1), planes(r, g, b)},
		"bgr":                  {dataset.Preprocess{BGR: true}, input("x", onnxio.Float, -1, 3, 2, 4), planes(b, g, r)},
		"nhwc":                 {dataset.Preprocess{}, input("x", onnxio.Float, -1, -1, -1, 3), planes(line)},
		"nhwc asked":           {dataset.Preprocess{Layout: dataset.LayoutNHWC}, input("x", onnxio.Float, -1, -1, -1, -1), planes(line)},
		"no shape":             {dataset.Preprocess{}, engine.IOInfo{Name: "x", Type: onnxio.Float}, planes(r, g, b)},
		"crop":                 {dataset.Preprocess{Crop: 2}, input("x", onnxio.Float, -1, 3, -1, -1), planes(r[1:3], g[1:3], b[1:3])},
		"cropped to the input": {dataset.Preprocess{}, input("x", onnxio.Float, -1, 3, 2, 2), planes(r[1:3], g[1:3], b[1:3])},
		// Rec. 601 luma, as image/color has it.
		"gray":         {dataset.Preprocess{}, input("x", onnxio.Float, -1, 1, -1, -1), planes([]float32{76, 76, 59, 59})},
		"preprocessed": {dataset.Preprocess{Scale: 1. / 255, Mean: []float64{1, 0, 0}, Std: []float64{1, .2, 1}}, input("x", onnxio.Float, -1, 3, -1, -1), planes([]float32{0, 0, -1, -1}, []float32{0, 0, 1, 1}, []float32{0, 0, 1, 1})},
	} {
		v := all(t, openData(t, dir, c.p, dataset.Options{}), c.in)
		if diff := cmp.Diff(c.want, v.F32); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestImageResize(t *testing.T) {
	dir := t.TempDir()
	picture(t, filepath.Join(dir, "x.png"), 64, 32, red, blue)
	// The shorter side of 32 becomes 8, the longer one 16, of which the middle 6 are cut: 3 red
	// ones, 3 blue ones, and a soft edge between them.
	v := all(t, openData(t, dir, dataset.Preprocess{Resize: 8, Crop: 6}, dataset.Options{}), input("x", onnxio.Float, -1, 3, -1, -1))
	if diff := cmp.Diff([]int{1, 3, 6, 6}, v.Dims); diff != "" {
		t.Fatal(diff)
	}
	line := v.F32[:6]
	if line[0] != 255 || line[1] != 255 || line[4] != 0 || line[5] != 0 || line[2] < 200 || line[3] > 55 || line[2]+line[3] != 255 {
		t.Errorf("red channel of a line: %v", line)
	}
	for name, p := range map[string]dataset.Preprocess{"too small": {Resize: 8, Crop: 9}, "contradiction": {Crop: 16}} {
		d := openData(t, dir, p, dataset.Options{})
		f, err := d.For([]engine.IOInfo{input("x", onnxio.Float, -1, 3, 9, 9)})
		if err == nil {
			_, err = f.Batch(0, 1)
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	picture(t, filepath.Join(dir, "y.png"), 3, 3, red, blue)
	f, err := openData(t, dir, dataset.Preprocess{}, dataset.Options{}).For([]engine.IOInfo{input("x", onnxio.Float, -1, 3, -1, -1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Batch(0, 2); err == nil || !strings.Contains(err.Error(), "choose --resize and --crop") {
		t.Errorf("images of different sizes: %v", err)
	}
	picture(t, filepath.Join(dir, "z.png"), 1, 1, red, blue)
	if err := os.WriteFile(filepath.Join(dir, "z.png"), []byte("no image"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err = openData(t, dir, dataset.Preprocess{Resize: 4, Crop: 4}, dataset.Options{}).For([]engine.IOInfo{input("x", onnxio.Float, -1, 3, -1, -1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Batch(0, 3); err == nil || !strings.Contains(err.Error(), "z.png") {
		t.Errorf("broken image: %v", err)
	}
}

// FuzzData: whatever a file holds, opening and reading it ends in samples or an error, and samples
// hold what they claim.
func FuzzData(f *testing.F) {
	for _, name := range []string{"arrays.npz", "single.npz", "input.npy"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, filepath.Ext(name))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, ext string) {
		if ext != ".npz" {
			ext = ".npy"
		}
		file := filepath.Join(dir, "data"+ext)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{0, 2} {
			d, err := dataset.Open(file, dataset.Preprocess{Scale: 2}, dataset.Options{Limit: limit})
			if err != nil {
				continue
			}
			if l := d.Labels(); l != nil && len(l) != d.Len() {
				t.Fatalf("%d labels, %d samples", len(l), d.Len())
			}
			feed, err := d.For([]engine.IOInfo{{Name: "input", Type: onnxio.Float}})
			if err != nil {
				continue
			}
			v, err := feed.Batch(0, 1)
			if err != nil {
				t.Fatal(err)
			}
			if x := v["input"]; len(x.F32) != x.Len() {
				t.Fatalf("%d elements, shape %v", len(x.F32), x.Dims)
			}
		}
	})
}
