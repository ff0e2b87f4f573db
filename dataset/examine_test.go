package dataset_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// npy is the bytes of a NumPy file.
func npy(v *engine.Value) []byte {
	descr := map[engine.DType]string{onnxio.Float: "<f4", onnxio.Int64: "<i8", onnxpb.TensorProto_UINT8: "|u1"}[v.Type]
	shape := strings.NewReplacer("[", "(", "]", ",)").Replace(strings.Join(strings.Fields(fmt.Sprint(v.Dims)), ", "))
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape)
	text += strings.Repeat(" ", 117-len(text)) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(text)), 0)
	return append(append(out, text...), v.Proto().GetRawData()...)
}

// npz writes arrays into one file.
func npz(t *testing.T, arrays map[string]*engine.Value) string {
	t.Helper()
	var raw bytes.Buffer
	z := zip.NewWriter(&raw)
	for name, v := range arrays {
		w, err := z.Create(name + ".npy")
		if err == nil {
			_, err = w.Write(npy(v))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "data.npz")
	write(t, path, raw.Bytes())
	return path
}

// memory makes a data set of one array.
func memory(t *testing.T, v *engine.Value, p dataset.Preprocess) *dataset.Data {
	t.Helper()
	return openData(t, npz(t, map[string]*engine.Value{"x": v}), p, dataset.Options{})
}

// noisy is a float array whose numbers come from f.
func noisy(f func(rng *rand.Rand) float64, dims ...int) *engine.Value {
	rng := rand.New(rand.NewPCG(3, 4))
	v := &engine.Value{Type: onnxio.Float, Dims: dims}
	n := 1
	for _, d := range dims {
		n *= d
	}
	for range n {
		v.F32 = append(v.F32, float32(f(rng)))
	}
	return v
}

// TestNotFinite: a NaN anywhere is an error that says where; a mask of −∞ is none.
func TestNotFinite(t *testing.T) {
	for name, bad := range map[string]float32{"NaN": float32(math.NaN()), "+Inf": float32(math.Inf(1)), "-Inf": float32(math.Inf(-1))} {
		v := noisy((*rand.Rand).Float64, 7, 3)
		v.F32[3*5+1] = bad
		f, err := memory(t, v, dataset.Preprocess{}).For([]engine.IOInfo{input("x", onnxio.Float, -1, 3)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Batch(4, 3); err == nil || !strings.Contains(err.Error(), `input "x": sample 5,`) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := f.Batch(0, 5); err != nil {
			t.Errorf("%s elsewhere: %v", name, err)
		}
	}
	mask := engine.Float32([]float32{0, float32(math.Inf(-1)), 0, 0}, 2, 2)
	all(t, memory(t, mask, dataset.Preprocess{}), input("x", onnxio.Float, -1, 2))
}

// TestFinite: samples with numbers that are none are named, all of them, or left out and counted;
// those that the model does not see do not matter.
func TestFinite(t *testing.T) {
	v, other, mask := noisy((*rand.Rand).Float64, 70, 3), noisy((*rand.Rand).Float64, 70, 2), noisy((*rand.Rand).Float64, 70, 2)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	v.F32[3*5+1], v.F32[3*6], v.F32[3*69+2] = nan, -inf, inf
	other.F32[8] = nan
	for i := range mask.F32 {
		mask.F32[i] = float32(i%2) * -inf
		if i%2 == 0 {
			mask.F32[i] = 0
		}
	}
	d, err := dataset.New("some", map[string]*engine.Value{"x": v, "other": other, "mask": mask}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnxtest.Parse("x: N 3\nmask: N 2\ny = Identity(x)")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Finite(m, false); err == nil || !strings.Contains(err.Error(), `some: input "x": 3 of 70 samples have NaN or infinite numbers in them, number 5-6,69, counted from 0`) || !strings.Contains(err.Error(), "--drop-bad") {
		t.Error(err)
	}
	kept, err := d.Finite(m, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := kept.Places(); len(got) != 67 || slices.Contains(got, 5) || slices.Contains(got, 6) || slices.Contains(got, 69) {
		t.Errorf("kept %v", got)
	}
	if r := kept.Remarks(); len(r) != 1 || !strings.Contains(r[0], "3 of 70 samples") || !strings.Contains(r[0], "5-6,69") || !strings.Contains(r[0], "left out") {
		t.Errorf("remarks %q", r)
	}
	if again, err := kept.Finite(m, false); err != nil || again.Len() != 67 {
		t.Errorf("once more: %v", err)
	}
	if _, err := d.Range(5, 7).Finite(m, true); err == nil || !strings.Contains(err.Error(), "no sample is left") {
		t.Errorf("none left: %v", err)
	}
}

// TestFractions: integers are what they are, whatever type they were saved in; fractions are none.
func TestFractions(t *testing.T) {
	whole := engine.Float32([]float32{0, 7, 255, 3}, 4, 1)
	parts := engine.Float32([]float32{0, 0.5, 1, 0.25}, 4, 1)
	for typ, hint := range map[engine.DType]string{onnxpb.TensorProto_UINT8: "multiply them by 255", onnxpb.TensorProto_INT64: "words", onnxpb.TensorProto_INT32: "words"} {
		if v := all(t, memory(t, whole, dataset.Preprocess{}), input("x", typ, -1, 1)); cmp.Diff([]int64{0, 7, 255, 3}, v.I64) != "" {
			t.Errorf("%v: %v", typ, v.I64)
		}
		f, err := memory(t, parts, dataset.Preprocess{}).For([]engine.IOInfo{input("x", typ, -1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Batch(0, 4); err == nil || !strings.Contains(err.Error(), "0.5 is not an integer") || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v: %v", typ, err)
		}
	}
}

// TestTurnedImages: channels where the model does not have them are moved, and missing ones made.
func TestTurnedImages(t *testing.T) {
	v := &engine.Value{Type: onnxio.Float, Dims: []int{1, 2, 2, 3}, F32: []float32{0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32}}
	planes := []float32{0, 10, 20, 30, 1, 11, 21, 31, 2, 12, 22, 32}
	back := &engine.Value{Type: onnxio.Float, Dims: []int{1, 3, 2, 2}, F32: planes}
	mean := dataset.Preprocess{Mean: []float64{0, 1, 2}}
	for name, c := range map[string]struct {
		v    *engine.Value
		p    dataset.Preprocess
		in   engine.IOInfo
		want []float32
	}{
		"to NCHW":            {v, dataset.Preprocess{}, input("x", onnxio.Float, -1, 3, 2, 2), planes},
		"to NCHW, free":      {v, dataset.Preprocess{}, input("x", onnxio.Float, -1, 3, -1, -1), planes},
		"to NCHW, with mean": {v, mean, input("x", onnxio.Float, -1, 3, 2, 2), []float32{0, 10, 20, 30, 0, 10, 20, 30, 0, 10, 20, 30}},
		"to NHWC":            {back, dataset.Preprocess{}, input("x", onnxio.Float, -1, 2, 2, 3), v.F32},
		"no channel":         {&engine.Value{Type: onnxio.Float, Dims: []int{1, 2, 2}, F32: planes[:4]}, dataset.Preprocess{}, input("x", onnxio.Float, -1, 1, 2, 2), planes[:4]},
		"no channel, last":   {&engine.Value{Type: onnxio.Float, Dims: []int{1, 2, 2}, F32: planes[:4]}, dataset.Preprocess{}, input("x", onnxio.Float, -1, 2, 2, 1), planes[:4]},
	} {
		got := all(t, memory(t, c.v, c.p), c.in)
		if diff := cmp.Diff(c.want, got.F32); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for k, d := range c.in.Dims {
			if d > 0 && int(d) != got.Dims[k] {
				t.Errorf("%s: fed as %v", name, got.Dims)
			}
		}
	}
	for dims, hint := range map[[4]int64]string{{-1, 3, 5, 5}: "does not fit", {-1, 4, 3, 1}: "reshape the array", {-1, 2, 3, 2}: "reshape the array"} {
		_, err := memory(t, v, dataset.Preprocess{}).For([]engine.IOInfo{input("x", onnxio.Float, dims[:]...)})
		if err == nil || !strings.Contains(err.Error(), "[1,2,2,3]") || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v: %v", dims, err)
		}
	}
}

// convNet is a network with biases, for images of numbers around 1, which scales its input itself
// if own is an operator.
func convNet(own string, factor float64) *onnxio.Model {
	rng := rand.New(rand.NewPCG(5, 6))
	in, first := "x", onnxtest.Node("Identity", "w", "unused")
	if own != "" {
		in, first = "scaled", onnxtest.Node(own, "x factor", "scaled")
	}
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3, 8, 8)), onnxtest.Values(onnxtest.Value("s", "N", 5)),
		onnxtest.Floats("factor", []int{1}, factor), first,
		onnxtest.Weights("w", []int{8, 3, 3, 3}, rng), onnxtest.Weights("b", []int{8}, rng),
		onnxtest.Weights("v", []int{8, 5}, rng), onnxtest.Weights("c", []int{5}, rng),
		onnxtest.Node("Conv", in+" w b", "c1"), onnxtest.Node("Relu", "c1", "r1"),
		onnxtest.Node("GlobalAveragePool", "r1", "p1"), onnxtest.Node("Flatten", "p1", "f1"),
		onnxtest.Node("Gemm", "f1 v c", "y"), onnxtest.Node("Softmax", "y", "s"),
	)
}

// TestExamine: what is most often wrong with data is said, and nothing of what is right.
func TestExamine(t *testing.T) {
	enginetest.Require(t)
	pixel := func(rng *rand.Rand) float64 { return float64(rng.IntN(256)) }
	unit := (*rand.Rand).Float64
	pixels := noisy(pixel, 40, 3, 8, 8)
	bytes8 := &engine.Value{Type: onnxpb.TensorProto_UINT8, Dims: pixels.Dims}
	for _, x := range pixels.F32 {
		bytes8.I64 = append(bytes8.I64, int64(x))
	}
	same := noisy(pixel, 1, 3, 8, 8)
	copies := &engine.Value{Type: onnxio.Float, Dims: []int{40, 3, 8, 8}}
	for range 40 {
		copies.F32 = append(copies.F32, same.F32...)
	}
	few := &engine.Value{Type: onnxio.Float, Dims: []int{40, 3, 8, 8}, F32: append(append([]float32{}, copies.F32[:30*192]...), pixels.F32[:10*192]...)}
	scaled := dataset.Preprocess{Scale: 1. / 255}
	plain := convNet("", 1)
	cntk := convNet("", 1)
	cntk.Proto.ProducerName = proto.String("CNTK")
	for name, c := range map[string]struct {
		m    *onnxio.Model
		v    *engine.Value
		p    dataset.Preprocess
		want []string
	}{
		"pixels":                     {plain, bytes8, dataset.Preprocess{}, []string{"--scale 1/255"}},
		"pixels, as floats":          {plain, pixels, dataset.Preprocess{}, []string{"--scale 1/255"}},
		"pixels, BGR alone":          {plain, pixels, dataset.Preprocess{BGR: true}, []string{"--scale 1/255"}},
		"pixels, scaled":             {plain, bytes8, scaled, nil},
		"pixels, and mean":           {plain, bytes8, dataset.Preprocess{Mean: []float64{127}}, nil},
		"pixels, and mean of others": {plain, bytes8, dataset.Preprocess{Mean: []float64{.5}, Std: []float64{.25}}, []string{"--scale 1/255 is missing"}},
		"numbers from 0 to 1":        {plain, noisy(unit, 40, 3, 8, 8), dataset.Preprocess{}, nil},
		"scaled twice":               {plain, noisy(unit, 40, 3, 8, 8), scaled, []string{"from 0 to 1 already"}},
		"normal numbers":             {plain, noisy((*rand.Rand).NormFloat64, 40, 3, 8, 8), dataset.Preprocess{}, nil},
		"the model divides":          {convNet("Div", 255), bytes8, dataset.Preprocess{}, nil},
		"the model multiplies":       {convNet("Mul", 1./255), bytes8, dataset.Preprocess{}, nil},
		"the model is for pixels":    {cntk, bytes8, dataset.Preprocess{}, nil},
		"copies":                     {plain, copies, scaled, []string{"all 40 samples are the same"}},
		"few different ones":         {plain, few, scaled, []string{"of 40 samples only 10 are different"}},
	} {
		said, err := dataset.Examine(t.Context(), c.m, memory(t, c.v, c.p), 1)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(said) != len(c.want) {
			t.Errorf("%s: said %q, want %q", name, said, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(said[i], want) || strings.Contains(said[i], "\n") {
				t.Errorf("%s: said %q, want %q", name, said[i], want)
			}
		}
	}
}

// TestBeyondTable: words that an embedding does not have are an error before the model runs.
func TestBeyondTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	m := onnxtest.Model(onnxtest.Values(onnxtest.TypedValue("x", onnxio.Int64, "N", 4)), onnxtest.Values(onnxtest.Value("y")),
		onnxtest.Weights("table", []int{10, 3}, rng), onnxtest.Node("Gather", "table x", "y"))
	for last, fails := range map[int64]bool{9: false, 0: false, -10: false, 10: true, -11: true} {
		v := engine.Int64([]int64{1, 2, 3, 4, 5, 6, 7, last}, 2, 4)
		_, err := dataset.Examine(t.Context(), m, memory(t, v, dataset.Preprocess{}), 1)
		if fails != (err != nil) || fails && !strings.Contains(err.Error(), fmt.Sprintf(`array "x" has %d, but input "x" picks rows of a table of 10`, last)) {
			t.Errorf("%d: %v", last, err)
		}
	}
}

// TestOtherLabels: integers under another usual name are labels too, unless the model reads them or
// they are no labels.
func TestOtherLabels(t *testing.T) {
	x := noisy((*rand.Rand).NormFloat64, 3, 2)
	y := engine.Int64([]int64{2, 0, 1}, 3)
	for _, name := range []string{"labels", "label", "y", "targets", "target", "y_test", "classes"} {
		path := npz(t, map[string]*engine.Value{"pixels": x, name: y})
		d := openData(t, path, dataset.Preprocess{}, dataset.Options{})
		if diff := cmp.Diff([]int{2, 0, 1}, d.Labels()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if said := strings.Join(d.Remarks(), "\n"); (name != "labels") != strings.Contains(said, fmt.Sprintf("array %q is taken for the labels", name)) {
			t.Errorf("%s: said %q", name, said)
		}
		all(t, d, input("x", onnxio.Float, -1, 2))
	}
	d := openData(t, npz(t, map[string]*engine.Value{"x": x, "y": y}), dataset.Preprocess{}, dataset.Options{})
	f, err := d.For([]engine.IOInfo{input("x", onnxio.Float, -1, 2), input("y", onnxio.Int64, -1)})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := f.Batch(0, 3); err != nil || cmp.Diff(y.I64, v["y"].I64) != "" {
		t.Errorf("an input y: %v, %v", v, err)
	}
	for name, v := range map[string]*engine.Value{"numbers": noisy((*rand.Rand).Float64, 3), "rows": engine.Int64(make([]int64, 6), 3, 2)} {
		d := openData(t, npz(t, map[string]*engine.Value{"x": x, "y": v}), dataset.Preprocess{}, dataset.Options{})
		if d.Labels() != nil || d.Remarks() != nil {
			t.Errorf("%s are labels: %v", name, d.Labels())
		}
	}
}

// TestChecksum: an array that has changed since it was written is an error.
func TestChecksum(t *testing.T) {
	path := npz(t, map[string]*engine.Value{"x": noisy((*rand.Rand).Float64, 50, 20)})
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	// The checksum lies in the directory at the end.
	at := bytes.Index(raw, binary.LittleEndian.AppendUint32(nil, z.File[0].CRC32))
	for ; at >= 0; at = bytes.Index(raw, binary.LittleEndian.AppendUint32(nil, z.File[0].CRC32)) {
		raw[at] ^= 1
	}
	write(t, path, raw)
	for _, o := range []dataset.Options{{}, {Limit: 5}, {Limit: 5, Seed: dataset.FileOrder}} {
		if _, err := dataset.Open(path, dataset.Preprocess{}, o); err == nil || !strings.Contains(err.Error(), `array "x": zip: checksum error`) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
