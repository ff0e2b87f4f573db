package main

import (
	"bytes"
	"crypto/sha256"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// hashes are those of all files below a folder, by path.
func hashes(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out[path] = sha256.Sum256(raw)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// copyFile copies a file.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, raw)
}

func write(t *testing.T, path string, raw []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// split writes a model of testdata with its weights in a data file of a given name.
func split(t *testing.T, name, path, data string) {
	t.Helper()
	dir := filepath.Dir(path)
	if err := onnxio.Save(t.Context(), path, modeltest.Load(t, name), onnxio.SaveOptions{External: onnxio.Always}); err != nil {
		t.Fatal(err)
	}
	m, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Storage()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range m.Proto.Graph.Initializer {
		for _, e := range w.ExternalData {
			if e.GetKey() == "location" {
				e.Value = &data
			}
		}
	}
	raw, err := proto.Marshal(m.Proto)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.DataFiles[0], filepath.Join(dir, data)); err != nil {
		t.Fatal(err)
	}
	write(t, path, raw)
}

// Whatever is read, by whatever name, is not replaced without --force.
func TestInputsStay(t *testing.T) {
	calib := data(t, "mnist_calib")
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 28, 28))); err != nil {
		t.Fatal(err)
	}
	tensor := engine.Float32(make([]float32, 784), 1, 1, 28, 28).Proto()
	name := "input"
	tensor.Name = &name
	sample, err := proto.Marshal(tensor)
	if err != nil {
		t.Fatal(err)
	}
	none := []string{"--data", "none"}
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		// A data file has a name of its own.
		{"weights of the model in OUT.data", []string{"compress", "split.onnx", "-o", "out.onnx", "--keep", "0.5", "--data", "none"}, exitOK},
		{"weights of the second model in OUT.data", with(none, "fuse", "a.onnx", "split.onnx", "-o", "out.onnx"), exitOK},
		{"weights of the narrow model in OUT.data", with(none, "compress", "wide.onnx", "-o", "out.onnx", "--into", "split.onnx"), exitOK},
		{"the input is called OUT.data", []string{"convert", "plain.onnx.data", "-o", "plain.onnx", "--external-data"}, exitOK},
		{"model", []string{"convert", "a.onnx", "-o", "a.onnx"}, exitUsage},
		{"model by a link", []string{"convert", "a.onnx", "-o", "link.onnx"}, exitUsage},
		{"model by another name", []string{"convert", "a.onnx", "-o", "hard.onnx"}, exitUsage},
		{"weights of the model", []string{"convert", "split.onnx", "-o", "out.onnx.data", "--inline"}, exitUsage},
		{"weights of the second model", with(none, "fuse", "a.onnx", "split.onnx", "-o", "out.onnx.data", "--onto", "1"), exitUsage},
		{"weights of the narrow model", with(none, "compress", "wide.onnx", "-o", "out.onnx.data", "--into", "split.onnx"), exitUsage},
		{"narrow model", with(none, "compress", "wide.onnx", "-o", "split.onnx", "--into", "split.onnx"), exitUsage},
		{"data", []string{"compress", "a.onnx", "-o", "t.npz", "--keep", "0.5", "--data", "t.npz"}, exitUsage},
		{"data to judge on", []string{"compress", "a.onnx", "-o", "t.npz", "--keep", "0.5", "--data", "none", "--eval-data", "t.npz"}, exitUsage},
		{"image", []string{"compress", "a.onnx", "-o", "images/zero/b.png", "--keep", "0.5", "--data", "images", "--limit", "1"}, exitUsage},
		{"list of classes", []string{"compress", "a.onnx", "-o", "classes.txt", "--keep", "0.5", "--data", "images", "--classes", "classes.txt"}, exitUsage},
		{"test data", []string{"compress", "a.onnx", "-o", "tests/test_data_set_1/input_0.pb", "--keep", "0.5", "--data", "tests", "--limit", "1"}, exitUsage},
		{"existing file that is none", []string{"convert", "a.onnx", "-o", "wide.onnx"}, exitOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for from, to := range map[string]string{"mlp_a": "a.onnx", "mlp_wide": "wide.onnx"} {
				copyFile(t, model(from), to)
			}
			copyFile(t, model("mlp_a"), "plain.onnx.data")
			copyFile(t, calib[1], "t.npz")
			split(t, "mlp_a", "split.onnx", "out.onnx.data")
			write(t, "images/zero/a.png", picture.Bytes())
			write(t, "images/zero/b.png", picture.Bytes())
			write(t, "classes.txt", []byte("zero\n"))
			write(t, "tests/test_data_set_0/input_0.pb", sample)
			write(t, "tests/test_data_set_1/input_0.pb", sample)
			if err := os.Symlink("a.onnx", "link.onnx"); err != nil {
				t.Skip(err)
			}
			if err := os.Link("a.onnx", "hard.onnx"); err != nil {
				t.Skip(err)
			}
			before := hashes(t, ".")
			r := run(t, append(c.args, "-q")...)
			if r.code != c.code {
				t.Errorf("exit code %d, want %d: %s", r.code, c.code, r.stderr)
			}
			after := hashes(t, ".")
			for path, h := range before {
				if after[path] != h && !(c.code == exitOK && path == c.args[3]) {
					t.Errorf("%s was changed", path)
				}
			}
			if c.code == exitUsage && (!strings.Contains(r.stderr, "--force") || len(after) != len(before)) {
				t.Errorf("%d files, before %d: %s", len(after), len(before), r.stderr)
			}
		})
	}
}

// With --force the result takes the place of what it is made of and judged against, once all of that
// is read.
func TestForceReadsFirst(t *testing.T) {
	calib := data(t, "mnist_calib")
	dir := t.TempDir()
	t.Chdir(dir)
	split(t, "mlp_a", "own.onnx", "own.onnx.data")
	split(t, "mlp_a", "other.onnx", "other.onnx.data")
	run := func(in, to string) report.Compression {
		t.Helper()
		var r report.Compression
		mustJSON(t, &r, with(calib, "compress", in, "-o", to, "--keep", "0.5", "--limit", "200", "--tune", "0", "--no-latency", "--force")...)
		if r.Evaluation == nil || r.Evaluation.After.Agreement == nil {
			t.Fatalf("%s to %s: not judged: %q", in, to, r.Warnings)
		}
		return r
	}
	want := *run("other.onnx", "new.onnx").Evaluation.After.Agreement
	for _, to := range []string{"own.onnx", "own.onnx.data"} {
		split(t, "mlp_a", "own.onnx", "own.onnx.data")
		if got := *run("own.onnx", to).Evaluation.After.Agreement; got != want {
			t.Errorf("to %s: agreement %g, want %g", to, got, want)
		}
		if _, err := onnxio.Load(to); err != nil {
			t.Error(err)
		}
	}
}
