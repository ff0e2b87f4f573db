package onnxio_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func rng() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func ptr[T any](v T) *T { return &v }

// small is Conv, BatchNormalization, Relu, with a weight in a Constant node.
func small() *onnxio.Model {
	w := onnxio.NewTensor("", onnxio.Float, []int{2, 4}, []float64{1, 2, 3, 4, 5, 6, 7, 8}).Proto()
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3, 8, 8)),
		onnxtest.Values(onnxtest.Value("y", "N", 2)),
		onnxtest.Weights("w", []int{4, 3, 3, 3}, rng()),
		onnxtest.Weights("b", []int{4}, rng()),
		onnxtest.Floats("scale", []int{4}, 1, 2, 3, 4), onnxtest.Floats("shift", []int{4}, 0, 1, 0, 1),
		onnxtest.Floats("mean", []int{4}, 0, 0, 0, 0), onnxtest.Floats("var", []int{4}, 1, 1, 1, 1),
		onnxtest.Node("Conv", "x w b", "c", onnxtest.Attr("pads", 1, 1, 1, 1)),
		onnxtest.Node("BatchNormalization", "c scale shift mean var", "n"),
		onnxtest.Node("Relu", "n", "r"),
		onnxtest.Node("GlobalAveragePool", "r", "p"),
		onnxtest.Node("Flatten", "p", "f"),
		onnxtest.Node("Constant", "", "v", onnxtest.Attr("value", w)),
		onnxtest.Node("Gemm", "f v", "y", onnxtest.Attr("transB", 1)),
	)
}

// fill sets every field of a message, recursively down to some depth, to something distinct, and
// adds an unknown field.
func fill(m protoreflect.Message, depth int, next *int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		isMessage := fd.Message() != nil
		if isMessage && depth == 0 {
			continue
		}
		*next++
		switch {
		case fd.IsList() && isMessage:
			for range 2 {
				fill(m.Mutable(fd).List().AppendMutable().Message(), depth-1, next)
			}
		case fd.IsList():
			m.Mutable(fd).List().Append(scalar(fd, *next))
			m.Mutable(fd).List().Append(scalar(fd, *next+1))
		case isMessage:
			fill(m.Mutable(fd).Message(), depth-1, next)
		default:
			m.Set(fd, scalar(fd, *next))
		}
	}
	u := protowire.AppendTag(nil, 1000, protowire.BytesType)
	m.SetUnknown(protowire.AppendBytes(u, []byte{byte(*next), 0xff}))
}

func scalar(fd protoreflect.FieldDescriptor, n int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("\xffno UTF-8" + string(rune('a'+n%26)))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{byte(n), 0})
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(n % values.Len()).Number())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	default:
		return protoreflect.ValueOfInt64(int64(n))
	}
}

// Every field of the schema, and fields beyond it, survive encoding and Clone.
func TestEveryFieldSurvives(t *testing.T) {
	n := 0
	p := new(onnxpb.ModelProto)
	fill(p.ProtoReflect(), 4, &n)
	m := &onnxio.Model{Proto: p}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back := new(onnxpb.ModelProto)
	if err := proto.Unmarshal(data, back); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(p, back) {
		t.Error("decoded message differs")
	}
	if !proto.Equal(p, m.Clone().Proto) {
		t.Error("clone differs")
	}
	again, err := m.Clone().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, again) {
		t.Error("a clone has other bytes")
	}
}

func TestCloneSharesPayloadButNotStructure(t *testing.T) {
	m := small()
	before := proto.Clone(m.Proto)
	c := m.Clone()
	if &m.Proto.Graph.Initializer[0].RawData[0] != &c.Proto.Graph.Initializer[0].RawData[0] {
		t.Error("payload was copied")
	}
	c.Proto.Graph.Node[0].Input[0] = "other"
	c.Proto.Graph.Node[0].Attribute[0].Ints[0] = 7
	c.Proto.Graph.Initializer[0].Dims[0] = 9
	c.Proto.Graph.Initializer[0].RawData = append(c.Proto.Graph.Initializer[0].RawData, 1)
	c.SetMetadata("k", "v")
	if !proto.Equal(before, m.Proto) {
		t.Error("editing the clone changed the original")
	}
}

func TestSaveLoad(t *testing.T) {
	m := small()
	m.SetMetadata("made by", "test")
	m.SetMetadata("made by", "Monge")
	m.Proto.Graph.Node[0].ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 5))
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	back, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(m.Proto, back.Proto) {
		t.Error("loaded model differs")
	}
	if v, ok := back.Metadata("made by"); !ok || v != "Monge" {
		t.Errorf("metadata is %q, %v", v, ok)
	}
	if back.Opset("") != 17 || back.Opset("ai.onnx") != 17 || back.Opset("com.microsoft") != 0 {
		t.Error("wrong opset")
	}
	if back.Path != path || back.Dir != filepath.Dir(path) {
		t.Errorf("path %q, folder %q", back.Path, back.Dir)
	}
	// Over its own file.
	if err := onnxio.Save(t.Context(), path, back, onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	onlyFiles(t, filepath.Dir(path), "m.onnx")
}

func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if len(got) != len(want) {
		t.Fatalf("folder holds %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("folder holds %q, want %q", got, want)
		}
	}
}

func TestFailedSaveLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	m := small()
	target := filepath.Join(dir, "sub")
	if err := os.Mkdir(target, 0o777); err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(dir, "ro.onnx")
	if err := os.WriteFile(readOnly, []byte("keep"), 0o444); err != nil {
		t.Fatal(err)
	}
	for _, o := range []onnxio.SaveOptions{{}, {External: onnxio.Always, Threshold: -1}} {
		for _, path := range []string{target, filepath.Join(dir, "missing", "m.onnx"), readOnly} {
			if err := onnxio.Save(t.Context(), path, m, o); err == nil {
				t.Errorf("saving to %s succeeded", path)
			}
		}
	}
	broken := small()
	broken.Proto.Graph.Initializer[0].Dims[0] = 5
	if err := onnxio.Save(t.Context(), filepath.Join(dir, "broken.onnx"), broken, onnxio.SaveOptions{}); err == nil {
		t.Error("a broken model was saved")
	}
	onlyFiles(t, dir, "ro.onnx", "sub")
	onlyFiles(t, target)
	if got, _ := os.ReadFile(readOnly); string(got) != "keep" {
		t.Errorf("read-only file now holds %q", got)
	}
}

func TestSaveKeepsPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := onnxio.Save(t.Context(), path, small(), onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v", info.Mode())
	}
}

// All models of testdata are read, indexed and written without loss.
func TestTestdata(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			m, err := onnxio.Load(f)
			if err != nil {
				t.Fatal(err)
			}
			g, err := m.Graph()
			if err != nil {
				t.Fatal(err)
			}
			if len(g.Linears()) == 0 {
				t.Error("no layers found")
			}
			path := filepath.Join(t.TempDir(), "copy.onnx")
			if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{}); err != nil {
				t.Fatal(err)
			}
			back, err := onnxio.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(m.Proto, back.Proto) {
				t.Error("copy differs")
			}
		})
	}
}
