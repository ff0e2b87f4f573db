package dataset

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// npyHeader is the head of an array of bytes.
func npyHeader(shape string) []byte { return npyOrdered(shape, "False") }

func npyOrdered(shape, fortran string) []byte {
	text := fmt.Sprintf("{'descr': '|u1', 'fortran_order': %s, 'shape': (%s), }", fortran, shape)
	text += strings.Repeat(" ", 117-len(text)) + "\n"
	return append(binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(text))), text...)
}

// TestLimitSeeks: of a file far larger than memory some rows are read, and nothing else, in whatever
// order its elements are. All of it is refused in one line, and so are rows beyond the memory that
// there is.
func TestLimitSeeks(t *testing.T) {
	for _, fortran := range []string{"False", "True"} {
		path := filepath.Join(t.TempDir(), "large.npy")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		head := npyOrdered("20000000000, 10, 5", fortran)
		if _, err := f.Write(head); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(int64(len(head)) + 1e12); err != nil {
			t.Skip(err) // no sparse files
		}
		for _, seed := range []int64{0, FileOrder} {
			d, err := Open(path, Preprocess{}, Options{Limit: 5, Seed: seed})
			if err != nil || d.Len() != 5 {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
		for _, o := range []Options{{}, {Limit: 5, Memory: 100}} {
			if _, err := Open(path, Preprocess{}, o); err == nil || !strings.Contains(err.Error(), "GB of memory, and there are") {
				t.Errorf("Fortran order %s, %+v: %v", fortran, o, err)
			}
		}
	}
}

// TestColumns: rows of an array in Fortran order are those of the array, whichever they are.
func TestColumns(t *testing.T) {
	const n, columns = 40_000, 6 // with gaps that are worth a seek
	raw := make([]byte, n*columns*2)
	at := func(row, column, byte int) byte { return uint8(row*7 + row>>8*3 + column*31 + byte*101) }
	for row := range n {
		for column := range columns {
			for b := range 2 {
				raw[(column*n+row)*2+b] = at(row, column, b)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{1, 2, 3, 50, 20_000, n} {
		rows := rng.Perm(n)[:k]
		slices.Sort(rows)
		for _, r := range []io.Reader{bytes.NewReader(raw), bufio.NewReader(bytes.NewReader(raw))} {
			got, err := readColumns(r, rows, n, columns, 2)
			if err != nil || len(got) != k*columns*2 {
				t.Fatalf("%d rows: %d bytes, %v", k, len(got), err)
			}
			for i, x := range got {
				if row, column := rows[i/2%k], i/2/k; x != at(row, column, i%2) {
					t.Fatalf("%d rows: row %d, column %d is another", k, row, column)
				}
			}
		}
	}
}

// TestBomb: arrays of an .npz file that unpack to far more than data do are refused before anything
// is allocated for them, one alone or several together.
func TestBomb(t *testing.T) {
	for name, c := range map[string]struct {
		arrays int
		bytes  int64
	}{"one": {1, 4 << 30}, "several": {4, 400 << 20}} {
		var file bytes.Buffer
		z := zip.NewWriter(&file)
		for i := range c.arrays {
			w, err := z.Create(fmt.Sprintf("a%d.npy", i))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(npyHeader(fmt.Sprintf("1, %d", c.bytes))); err != nil {
				t.Fatal(err)
			}
			if c.arrays == 1 {
				// The bytes are not needed: a file of its size is.
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
			} else if _, err := io.CopyN(w, zeros{}, c.bytes); err != nil {
				t.Fatal(err)
			}
		}
		if c.arrays == 1 {
			w, err := z.CreateHeader(&zip.FileHeader{Name: "padding", Method: zip.Store})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, 5<<20)); err != nil { // 1032 times as much are possible
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "bomb.npz")
		if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, Preprocess{}, Options{})
		if err == nil || !strings.Contains(err.Error(), "far more than data of a file of this size unpack to") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTwice: of two arrays of one name neither is the right one.
func TestTwice(t *testing.T) {
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	for _, shape := range []string{"2, 3", "3, 2"} {
		w, err := z.Create("x.npy")
		if err == nil {
			_, err = w.Write(append(npyHeader(shape), 1, 2, 3, 4, 5, 6))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "twice.npz")
	if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Preprocess{}, Options{}); err == nil || !strings.Contains(err.Error(), `array "x": is in the file twice`) {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestDeviceAsTensor: an input_0.pb that leads to a device, which has no end, is not read.
func TestDeviceAsTensor(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such devices")
	}
	dir := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "input_0.pb")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Preprocess{}, Options{}); err == nil || !strings.Contains(err.Error(), "no ordinary file") {
		t.Errorf("error %v", err)
	}
}

// TestStripIsCut: of an image that is a long strip no more is scaled than what the model sees.
func TestStripIsCut(t *testing.T) {
	p := image.NewNRGBA(image.Rect(0, 0, 900, 1))
	f := frame{height: 512, width: 512}
	out, err := f.fit(p)
	if err != nil || out.Rect.Dx() != 512 || out.Rect.Dy() != 512 || len(out.Pix) > 4*512*512 {
		t.Errorf("%v with %d bytes, %v", out.Rect, len(out.Pix), err)
	}
	if _, err := (frame{pre: Preprocess{Resize: 20000}}).fit(p); err == nil || !strings.Contains(err.Error(), "are more than 178 million") {
		t.Errorf("error %v", err)
	}
}

// TestRunInMemory: what a model asks for a single run is held against the memory that there is.
func TestRunInMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	if err := os.WriteFile(path, append(npyHeader("8, 4"), make([]byte, 32)...), 0o644); err != nil {
		t.Fatal(err)
	}
	for memory, fits := range map[int64]bool{0: true, 1 << 20: true, 1 << 10: false} {
		d, err := Open(path, Preprocess{}, Options{Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.For([]engine.IOInfo{{Name: "x", Type: onnxpb.TensorProto_FLOAT, Dims: []int64{1000, 4}}})
		if (err == nil) != fits || err != nil && !strings.Contains(err.Error(), "a single run takes") {
			t.Errorf("%d bytes: %v", memory, err)
		}
	}
}
