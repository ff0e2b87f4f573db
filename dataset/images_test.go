package dataset_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// copyImage copies an image of testdata, which images.py made.
func copyImage(t *testing.T, name, to string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "images", name))
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, raw)
}

// write writes a file, and the folders that lead to it.
func write(t *testing.T, file string, raw []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// quarters returns the colours in the middle of the four quarters of the first image.
func quarters(v *engine.Value) []float32 {
	c, h, w := v.Dims[1], v.Dims[2], v.Dims[3]
	var out []float32
	for _, y := range []int{h / 4, h * 3 / 4} {
		for _, x := range []int{w / 4, w * 3 / 4} {
			for k := range c {
				out = append(out, v.F32[(k*h+y)*w+x])
			}
		}
	}
	return out
}

func alike(a, b []float32, tolerance float64) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x-y)) <= tolerance })
}

// TestImageFormats: the same picture in all formats and depths, as PIL shows it.
func TestImageFormats(t *testing.T) {
	want := []float32{200, 30, 20, 20, 160, 40, 30, 50, 220, 128, 128, 128}
	for name, tolerance := range map[string]float64{
		"lossless.webp": 0, "lossy.webp": 3, "plain.bmp": 0, "lzw.tiff": 0, "deflate.tif": 0, "animated.gif": 0,
		"progressive.jpg": 2, "cmyk.jpg": 2, "palette.png": 0, "alpha.png": 0, "alpha.webp": 0,
	} {
		dir := t.TempDir()
		copyImage(t, name, filepath.Join(dir, name))
		v := all(t, openData(t, dir, dataset.Preprocess{}, dataset.Options{}), input("x", onnxio.Float, -1, 3, 24, 32))
		if got := quarters(v); !alike(got, want, tolerance) {
			t.Errorf("%s shows %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"grey.png", "grey16.png", "lossless.webp"} {
		dir := t.TempDir()
		copyImage(t, name, filepath.Join(dir, name))
		v := all(t, openData(t, dir, dataset.Preprocess{}, dataset.Options{}), input("x", onnxio.Float, -1, 1, 24, 32))
		if got := quarters(v); !alike(got, []float32{80, 104, 63, 128}, 1) {
			t.Errorf("%s in grey shows %v", name, got)
		}
	}
	for name, left := range map[string]float32{"alpha.png": 0, "alpha.webp": 0, "plain.bmp": 255} {
		dir := t.TempDir()
		copyImage(t, name, filepath.Join(dir, name))
		d := openData(t, dir, dataset.Preprocess{}, dataset.Options{})
		for _, last := range []bool{false, true} {
			in := input("x", onnxio.Float, -1, 4, 24, 32)
			if last {
				in = input("x", onnxio.Float, -1, 24, 32, 4)
			}
			v := all(t, d, in)
			at := func(k, y, x int) float32 {
				if last {
					return v.F32[(y*32+x)*4+k]
				}
				return v.F32[(k*24+y)*32+x]
			}
			got := []float32{at(0, 6, 8), at(1, 6, 8), at(2, 6, 8), at(3, 6, 8), at(3, 6, 24)}
			if !alike(got, []float32{200, 30, 20, left, 255}, 0) {
				t.Errorf("%s with four channels, last %v: %v", name, last, got)
			}
		}
	}
}

// TestImageOrientation: cameras store pictures turned. They are turned back only if that is asked
// for.
func TestImageOrientation(t *testing.T) {
	upright := []float32{200, 30, 20, 20, 160, 40, 30, 50, 220, 128, 128, 128}
	names := []string{"orient6.png", "orient6.webp", "plain.bmp", "progressive.jpg"}
	for o := 2; o <= 8; o++ {
		names = append(names, fmt.Sprintf("orient%d.jpg", o))
	}
	for _, name := range names {
		dir := t.TempDir()
		copyImage(t, name, filepath.Join(dir, name))
		v := all(t, openData(t, dir, dataset.Preprocess{AutoOrient: true}, dataset.Options{}), input("x", onnxio.Float, -1, 3, -1, -1))
		if got := quarters(v); !alike(got, upright, 3) || v.Dims[2] != 24 {
			t.Errorf("%s turned: %v %v", name, v.Dims, got)
		}
		v = all(t, openData(t, dir, dataset.Preprocess{}, dataset.Options{}), input("x", onnxio.Float, -1, 3, -1, -1))
		if got := quarters(v); alike(got, upright, 3) == strings.HasPrefix(name, "orient") {
			t.Errorf("%s as it is stored: %v %v", name, v.Dims, got)
		}
	}
}

// hugePNG is the head of an image of some size, which is all there is to it.
func hugePNG(w, h uint32) []byte {
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(chunk, w)
	chunk = binary.BigEndian.AppendUint32(chunk, h)
	chunk = append(chunk, 8, 2, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(out, chunk...), crc32.ChecksumIEEE(chunk))
}

// TestMessyFolders: folders as they come out of archives, cameras and careless hands.
func TestMessyFolders(t *testing.T) {
	tree := func(files ...string) string {
		dir := t.TempDir()
		for _, f := range files {
			path := filepath.Join(dir, filepath.FromSlash(f))
			switch {
			case strings.HasSuffix(f, "/"):
				if err := os.MkdirAll(path, 0o755); err != nil {
					t.Fatal(err)
				}
			case strings.Contains(f, "broken"):
				write(t, path, []byte("no image"))
			case strings.Contains(f, "empty"):
				write(t, path, nil)
			case strings.Contains(f, "huge"):
				write(t, path, hugePNG(1<<20, 1<<20))
			case strings.Contains(f, "strip"):
				write(t, path, hugePNG(1<<24, 1))
			case strings.HasSuffix(f, ".heic"):
				copyImage(t, "photo.heic", path)
			case filepath.Ext(f) == ".jpg":
				copyImage(t, "progressive.jpg", path)
			default:
				copyImage(t, "grey.png", path)
			}
		}
		return dir
	}
	link := func(dir, target, name string) string {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skip("no symbolic links")
		}
		return dir
	}
	for name, c := range map[string]struct {
		dir     string
		classes []string // asked for
		labels  []int
		names   []string
		remarks []string // of which each has to hold one
		fails   string
	}{
		"unpacked on a Mac": {dir: tree("a/1.png", "a/._1.png", "b/2.jpg", "__MACOSX/a/._1.png", "__MACOSX/x.png", ".DS_Store", "a/Thumbs.db", ".git/x.png"),
			labels: []int{0, 1}, names: []string{"a", "b"}},
		"class without an image": {dir: tree("a/1.png", "b/", "c/2.png", "d/notes.txt"),
			labels: []int{0, 2}, names: []string{"a", "b", "c", "d"}, remarks: []string{"2 folders have no image"}},
		"class without a readable image": {dir: tree("a/1.png", "b/broken.png", "c/2.png", "d/3.heic"),
			labels: []int{0, 2}, names: []string{"a", "b", "c", "d"}, remarks: []string{"1 folder has no image", "3.heic", "1 of 3 images cannot be read and are left out, the first: "}},
		"no labels, and a folder of other things": {dir: tree("1.png", "2.jpg", "notes/x.txt", "notes/")},
		"blanks and other scripts": {dir: tree("große Katze/Bild 1.png", "犬/写真 (2).jpg"),
			labels: []int{0, 1}, names: []string{"große Katze", "犬"}},
		"two levels":            {dir: tree("train/cat/1.png", "train/dog/2.png"), fails: "lies two folders down"},
		"two levels, some":      {dir: tree("a/1.png", "a/deep/2.png"), fails: "lies two folders down"},
		"two levels, as wanted": {dir: tree("b/images/1.png", "a/images/2.png", "b/images/more/3.png"), classes: []string{"b", "a"}, labels: []int{1, 0, 0}, names: []string{"b", "a"}},
		"beside the folders":    {dir: tree("a/1.png", "2.png"), fails: "beside the folders of classes"},
		"formats":               {dir: tree("1.JPG", "2.png", "3.heic", "4.HEIC"), remarks: []string{"2 images are skipped, since their format is not read: "}},
		"one is broken":         {dir: tree("1.png", "2.png", "broken.png", "empty.jpg"), remarks: []string{"2 of 4 images cannot be read"}},
		"all are broken":        {dir: tree("broken1.png", "broken2.png"), fails: "no image can be read"},
		"too large":             {dir: tree("1.png", "huge.png", "strip.png"), remarks: []string{"2 of 3 images cannot be read"}},
		"only foreign ones":     {dir: tree("1.heic"), fails: "no images in a format that is read (PNG, JPEG, WebP, GIF, BMP, TIFF): "},
		"link to a folder":      {dir: link(tree("a/1.png"), tree("x.png", "y.jpg"), "b"), labels: []int{0, 1, 1}, names: []string{"a", "b"}},
		"link to an image":      {dir: link(tree("1.png"), filepath.Join(tree("x.png"), "x.png"), "2.png")},
		"link to nothing":       {dir: link(tree("1.png"), "nowhere.png", "2.png"), remarks: []string{"1 entry is skipped"}},
		"link in a circle":      {dir: link(tree("a/1.png"), "..", "a/up"), labels: []int{0}, names: []string{"a"}},
		"link to itself":        {dir: link(tree("a/1.png"), "self", "self"), labels: []int{0}, names: []string{"a"}},
		"the folder is a link":  {dir: filepath.Join(link(t.TempDir(), tree("a/1.png", "b/2.png"), "set"), "set"), labels: []int{0, 1}, names: []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := dataset.Open(c.dir, dataset.Preprocess{Classes: c.classes}, dataset.Options{})
			if err == nil {
				d, err = d.Readable(nil)
			}
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v, want %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			all(t, d, input("x", onnxio.Float, -1, 1, 8, 8))
			if diff := cmp.Diff(c.labels, d.Labels()); diff != "" {
				t.Error("labels", diff)
			}
			if diff := cmp.Diff(c.names, d.Classes()); diff != "" {
				t.Error("classes", diff)
			}
			said := d.Remarks()
			if len(said) != len(c.remarks) {
				t.Errorf("said %q", said)
			}
			for i, want := range c.remarks {
				if i < len(said) && (!strings.Contains(strings.Join(said, "\n"), want) || strings.Contains(said[i], "\n")) {
					t.Errorf("said %q, want %q", said, want)
				}
			}
		})
	}
}

// A folder or a file that may not be read is told, not passed over.
func TestForbiddenImages(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	for _, name := range []string{"a/1.png", "a/2.png", "b/3.png", "c/4.png"} {
		copyImage(t, "grey.png", filepath.Join(dir, filepath.FromSlash(name)))
	}
	for _, name := range []string{"a/2.png", "b"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(path, 0o755)
	}
	d, err := openData(t, dir, dataset.Preprocess{}, dataset.Options{}).Readable(nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{0, 2}, d.Labels()); diff != "" {
		t.Error(diff)
	}
	said := strings.Join(d.Remarks(), "\n")
	for _, want := range []string{filepath.Join(dir, "b") + ": permission denied", filepath.Join("a", "2.png") + ": permission denied"} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
	}
}

// A file is decoded once for each way to look at it.
func TestImagesAreKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plain.bmp")
	copyImage(t, "plain.bmp", file)
	d := openData(t, dir, dataset.Preprocess{}, dataset.Options{})
	color, grey := input("x", onnxio.Float, -1, 3, 24, 32), input("x", onnxio.Float, -1, 1, 24, 32)
	first := all(t, d, color)
	if got := all(t, d, grey); got.Len() != first.Len()/3 {
		t.Errorf("%v in grey", got.Dims)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if again := all(t, d, color); !slices.Equal(again.F32, first.F32) || !slices.Equal(again.Dims, first.Dims) {
		t.Error("an image that was kept is another one")
	}
}
