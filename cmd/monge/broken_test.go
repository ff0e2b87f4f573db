package main

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbinet/npyio"
	"gonum.org/v1/gonum/mat"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// edited writes a changed mlp_a, unchecked, and returns its path.
func edited(t *testing.T, name string, edit func(g *onnxpb.GraphProto)) string {
	t.Helper()
	m := modeltest.Load(t, "mlp_a").Clone()
	edit(m.Proto.Graph)
	raw, err := proto.Marshal(m.Proto)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, name, raw)
}

func file(t *testing.T, name string, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// weight finds an initializer.
func weight(t *testing.T, g *onnxpb.GraphProto, name string) *onnxpb.TensorProto {
	t.Helper()
	for _, w := range g.Initializer {
		if w.GetName() == name {
			return w
		}
	}
	t.Fatalf("no weight %q", name)
	return nil
}

// classes changes the number of classes of mlp_a.
func classes(t *testing.T, n int) func(g *onnxpb.GraphProto) {
	return func(g *onnxpb.GraphProto) {
		for _, w := range []*onnxio.Tensor{
			onnxio.NewTensor("fc3.weight", onnxio.Float, []int{n, 32}, make([]float64, n*32)),
			onnxio.NewTensor("fc3.bias", onnxio.Float, []int{n}, make([]float64, n)),
		} {
			proto.Reset(weight(t, g, w.Name))
			proto.Merge(weight(t, g, ""), w.Proto())
		}
		onnxio.SetDims(g.Output[0], []int{1, n})
		g.Output[0].Type.GetTensorType().Shape.Dim[0].Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "N"}
	}
}

func TestBrokenInputs(t *testing.T) {
	whole, err := os.ReadFile(model("mlp_a"))
	if err != nil {
		t.Fatal(err)
	}
	var odd bytes.Buffer
	if err := npyio.Write(&odd, mat.NewDense(20, 7, nil)); err != nil {
		t.Fatal(err)
	}
	oddData := file(t, "odd.npy", odd.Bytes())
	truncated := file(t, "truncated.onnx", whole[:len(whole)/2])
	text := file(t, "text.onnx", []byte("This is no model, but a sentence.\n"))
	blank := file(t, "blank.onnx", nil)
	cyclic := edited(t, "cyclic.onnx", func(g *onnxpb.GraphProto) {
		g.Node[1].Input[0] = g.Node[len(g.Node)-2].Output[0]
	})
	missing := edited(t, "missing.onnx", func(g *onnxpb.GraphProto) {
		for i, w := range g.Initializer {
			if w.GetName() == "fc2.weight" {
				g.Initializer = append(g.Initializer[:i], g.Initializer[i+1:]...)
				return
			}
		}
	})
	short := edited(t, "short.onnx", func(g *onnxpb.GraphProto) { weight(t, g, "fc2.weight").Dims[0]++ })
	turned := edited(t, "turned.onnx", func(g *onnxpb.GraphProto) {
		d := weight(t, g, "fc2.weight").Dims
		d[0], d[1] = d[1], d[0]
	})
	nan := edited(t, "nan.onnx", func(g *onnxpb.GraphProto) {
		w := weight(t, g, "fc2.weight")
		v := make([]float64, w.Dims[0]*w.Dims[1])
		v[5] = math.NaN()
		w.RawData = onnxio.NewTensor("", onnxio.Float, []int{len(v)}, v).Proto().RawData
	})
	lone := filepath.Join(t.TempDir(), "lone.onnx")
	pairOf := filepath.Join(t.TempDir(), "pair.onnx")
	for path, text := range map[string]string{
		lone:   "input: N 1 28 28\nx = Flatten(input)\ny = Gemm(x, w[784 10])",
		pairOf: "input: N 1 28 28\nx = Flatten(input)\ny = Gemm(x, w[784 10])\nz = Gemm(x, v[784 10])\n-> y z",
	} {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	deep := t.TempDir()
	for _, class := range []string{"train/cat", "train/dog", "val/cat"} {
		dir := filepath.Join(deep, class)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "1.png"), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	eleven := edited(t, "eleven.onnx", classes(t, 11))
	five := edited(t, "five.onnx", classes(t, 5))
	a := model("mlp_a")
	result := out(t)
	inFile := filepath.Join(a, "out.onnx") // beneath a file
	nowhere := filepath.Join(t.TempDir(), "nowhere", "out.onnx")
	folder := t.TempDir()

	for _, c := range []struct {
		name  string
		args  []string
		names []string // what the error has to name
	}{
		{"truncated file", []string{"inspect", truncated}, []string{truncated}},
		{"truncated file, compress", []string{"compress", truncated, "-o", result, "--keep", "0.5"}, []string{truncated}},
		{"truncated file, fuse", []string{"fuse", a, truncated, "-o", result}, []string{truncated}},
		{"not ONNX", []string{"compress", text, "-o", result, "--keep", "0.5"}, []string{text}},
		{"not ONNX, empty", []string{"inspect", blank}, []string{blank}},
		{"not ONNX, data", []string{"inspect", modeltest.Dir("mnist_test.npz")}, []string{"mnist_test.npz"}},
		{"no such file", []string{"inspect", nowhere}, []string{nowhere}},
		{"cyclic graph", []string{"compress", cyclic, "-o", result, "--keep", "0.5"}, []string{cyclic, "cycle", "/fc1/Gemm"}},
		{"missing initializer", []string{"compress", missing, "-o", result, "--keep", "0.5"}, []string{missing, "fc2.weight"}},
		{"wrong dims, too few bytes", []string{"compress", short, "-o", result, "--keep", "0.5"}, []string{short, "fc2.weight"}},
		{"wrong dims, turned", []string{"compress", turned, "-o", result, "--keep", "0.5"}, []string{turned, "/fc2/Gemm"}},
		{"wrong dims, fuse", []string{"fuse", turned, a, "-o", result}, []string{turned, "/fc2/Gemm"}},
		{"NaN weights", []string{"compress", nan, "-o", result, "--keep", "0.5", "--tune", "0"}, []string{nan, "fc2.weight", "NaN"}},
		{"NaN weights, into", []string{"compress", model("mlp_wide"), "-o", result, "--into", nan, "--data", "none"}, []string{nan, "fc2.weight", "NaN"}},
		{"NaN weights, fuse", []string{"fuse", a, nan, "-o", result}, []string{nan, "fc2.weight", "NaN"}},
		{"mismatched architectures", []string{"fuse", a, model("cnn_a"), "-o", result}, []string{a, model("cnn_a")}},
		{"mismatched architectures, into", []string{"compress", model("cnn_a"), "-o", result, "--into", a}, []string{model("cnn_a"), a}},
		{"class counts differ", []string{"fuse", a, eleven, "-o", result}, []string{a, eleven, "logits", "10", "11"}},
		{"class counts differ, into", []string{"compress", model("mlp_wide"), "-o", result, "--into", eleven}, []string{model("mlp_wide"), eleven, "logits", "10", "11"}},
		{"class counts differ, eval", with(data(t, "mnist_calib"), "eval", a, five), []string{a, five, "logits"}},
		{"data with a wrong shape", []string{"compress", a, "-o", result, "--keep", "0.5", "--data", oddData}, []string{oddData, "input"}},
		{"data with a wrong shape, eval", []string{"eval", a, "--data", oddData}, []string{oddData, "input"}},
		{"one output and two, eval", with(data(t, "mnist_calib"), "eval", pairOf, lone), []string{lone + " has 1 output, " + pairOf + " has 2"}},
		{"one output and two, fuse", []string{"fuse", lone, pairOf, "-o", result}, []string{"1 output against 2"}},
		{"two folders down", []string{"eval", a, "--data", deep}, []string{filepath.Join(deep, "train", "cat", "1.png") + " lies two folders down or more, and", "give " + filepath.Join(deep, "train") + " if they are in there, or --classes train,val\n"}},
		{"a folder for a model", []string{"compress", folder, "-o", result}, []string{"monge: " + folder + ": it is a folder, and a model is a file; a folder of inputs goes to --data\n"}},
		{"a folder for a model, convert", []string{"convert", folder, "-o", result}, []string{"monge: " + folder + ": it is a folder, and a model is a file\n"}},
		{"no such data", []string{"eval", a, "--data", nowhere}, []string{nowhere}},
		{"unwritable output, no folder", []string{"compress", a, "-o", nowhere, "--keep", "0.5"}, []string{nowhere}},
		{"unwritable output, a folder", []string{"compress", a, "-o", folder, "--keep", "0.5"}, []string{folder}},
		{"unwritable output, beneath a file", []string{"fuse", a, a, "-o", inFile}, []string{inFile}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, c.args...)
			if r.code != exitFailed {
				t.Errorf("exit code %d, want %d", r.code, exitFailed)
			}
			if r.stdout != "" {
				t.Errorf("printed %q", r.stdout)
			}
			if !strings.HasPrefix(r.stderr, "monge: ") || strings.Count(r.stderr, "\n") != 1 || !strings.HasSuffix(r.stderr, "\n") {
				t.Errorf("stderr is not one line: %q", r.stderr)
			}
			for _, n := range c.names {
				if !strings.Contains(r.stderr, n) {
					t.Errorf("%q does not name %q", r.stderr, n)
				}
			}
			t.Log(r.stderr)
			empty(t, filepath.Dir(result))
			empty(t, folder)
		})
	}
}
