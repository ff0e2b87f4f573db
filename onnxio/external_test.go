package onnxio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// payloads maps tensor names to values, wherever they are stored.
func payloads(t *testing.T, m *onnxio.Model) map[string]string {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	collect(t, g, "", out)
	return out
}

func collect(t *testing.T, g *onnxio.Graph, prefix string, out map[string]string) {
	add := func(p *onnxpb.TensorProto) {
		x, err := g.Model.Tensor(p)
		if err != nil {
			t.Fatal(err)
		}
		out[prefix+x.Name] = fmt.Sprint(x.Type, x.Dims, x.Float64(), x.Strings, x.Raw)
	}
	for _, p := range g.Proto.Initializer {
		add(p)
	}
	for _, n := range g.Nodes {
		for _, o := range n.Output {
			if p := g.Constant(o); p != nil {
				add(p)
			}
		}
		for i, s := range g.Subgraphs(n) {
			collect(t, s, fmt.Sprintf("%s%s/%d/", prefix, n.Output[0], i), out)
		}
	}
}

func samePayloads(t *testing.T, want, got *onnxio.Model) {
	t.Helper()
	w, g := payloads(t, want), payloads(t, got)
	if len(w) != len(g) {
		t.Fatalf("%d tensors, want %d", len(g), len(w))
	}
	for name := range w {
		if w[name] != g[name] {
			t.Errorf("tensor %q is %.80s, want %.80s", name, g[name], w[name])
		}
	}
}

func reload(t *testing.T, path string, m *onnxio.Model, o onnxio.SaveOptions) *onnxio.Model {
	t.Helper()
	if err := onnxio.Save(t.Context(), path, m, o); err != nil {
		t.Fatal(err)
	}
	back, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestExternalRoundTrip(t *testing.T) {
	dir, all := t.TempDir(), onnxio.SaveOptions{External: onnxio.Always, Threshold: -1}
	for name, m := range map[string]*onnxio.Model{"small": small(), "all": allTypes(), "subgraph": withSubgraph()} {
		path := filepath.Join(dir, name+".onnx")
		before := proto.Clone(m.Proto)
		ext := reload(t, path, m, all)
		if !proto.Equal(m.Proto, before) {
			t.Error("saving changed the model in memory")
		}
		for _, p := range ext.Proto.Graph.Initializer {
			want := p.GetDataType() != int32(onnxpb.TensorProto_STRING) && len(p.Dims) > 1
			if got := p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL; got != want {
				t.Errorf("%s: %q external: %v", name, p.GetName(), got)
			}
			for _, e := range p.ExternalData {
				if n, _ := strconv.Atoi(e.GetValue()); e.GetKey() == "offset" && n%4096 != 0 {
					t.Errorf("%s: %q begins at %d", name, p.GetName(), n)
				}
			}
		}
		samePayloads(t, m, ext)

		// Moved to another folder, the data comes along; inside again, the model is what it was.
		other := filepath.Join(t.TempDir(), "moved.onnx")
		moved := reload(t, other, ext, onnxio.SaveOptions{})
		samePayloads(t, m, moved)
		onlyFiles(t, filepath.Dir(other), "moved.onnx", "moved.onnx.data")
		whole := reload(t, filepath.Join(t.TempDir(), "whole.onnx"), moved, onnxio.SaveOptions{External: onnxio.Never})
		if !proto.Equal(m.Proto, whole.Proto) {
			t.Errorf("%s: the model differs after going out and in", name)
		}
	}
}

func TestThreshold(t *testing.T) {
	m := small() // w has 432 bytes, all others at most 32
	path := filepath.Join(t.TempDir(), "m.onnx")
	ext := reload(t, path, m, onnxio.SaveOptions{External: onnxio.Always, Threshold: 100, Align: 64, DataFile: "weights"})
	onlyFiles(t, filepath.Dir(path), "m.onnx", "weights")
	for _, p := range ext.Proto.Graph.Initializer {
		if isExt := p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL; isExt != (p.GetName() == "w") {
			t.Errorf("%q external: %v", p.GetName(), isExt)
		}
	}
	// Nothing reaches the default threshold: no data file at all.
	path = filepath.Join(t.TempDir(), "m.onnx")
	reload(t, path, m, onnxio.SaveOptions{External: onnxio.Always})
	onlyFiles(t, filepath.Dir(path), "m.onnx")
	for _, bad := range []string{"../weights", "m.onnx", "sub/weights", ".."} {
		if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{External: onnxio.Always, DataFile: bad}); err == nil {
			t.Errorf("data file %q was accepted", bad)
		}
	}
}

// Saving over its own files never destroys what the model still reads.
func TestSaveOverItself(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	m := small()
	ext := reload(t, path, m, onnxio.SaveOptions{External: onnxio.Always, Threshold: -1})
	source := filepath.Join(dir, "m.onnx.data")
	before, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	g, err := ext.Graph()
	if err != nil {
		t.Fatal(err)
	}
	w, err := ext.Tensor(g.Constant("w"))
	if err != nil {
		t.Fatal(err)
	}
	v := w.Float64()
	v[0] = 42
	w.SetFloat64(w.Dims, v)
	if err := g.SetConstant(w); err != nil {
		t.Fatal(err)
	}
	again := reload(t, path, ext, onnxio.SaveOptions{Threshold: -1})
	samePayloads(t, ext, again)
	after, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the source was overwritten")
	}
	onlyFiles(t, dir, "m.onnx", "m.onnx.1.data", "m.onnx.data")

	// The next turn uses the first name again, which is free by then.
	third := reload(t, path, again, onnxio.SaveOptions{Threshold: -1})
	samePayloads(t, ext, third)
	onlyFiles(t, dir, "m.onnx", "m.onnx.1.data", "m.onnx.data")

	if err := onnxio.Save(t.Context(), source, third, onnxio.SaveOptions{}); err == nil {
		t.Error("the data file was overwritten by a model file")
	}
	if err := onnxio.Save(t.Context(), filepath.Join(dir, "n.onnx"), third, onnxio.SaveOptions{External: onnxio.Always, DataFile: "m.onnx.data"}); err == nil {
		t.Error("the data file was overwritten by another")
	}
}

// Loading reads no weights: a sparse file of 8 GiB costs no memory, and one tensor of it can be
// read and replaced.
func TestLargerThanMemory(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const each = 1 << 33 // bytes of a tensor
	if err := f.Truncate(2*each + 8); err != nil {
		t.Skip(err)
	}
	if _, err := f.WriteAt([]byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}, 2*each); err != nil {
		t.Skip(err)
	}
	m := chain()
	m.Proto.Graph.Initializer = []*onnxpb.TensorProto{
		externalTensor("a", "d", "0", strconv.Itoa(each), each/4),
		externalTensor("b", "d", strconv.Itoa(each), strconv.Itoa(each), each/4),
		externalTensor("c", "d", strconv.Itoa(2*each), "8", 2),
	}
	path := filepath.Join(dir, "m.onnx")
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	big, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	g, err := big.Graph()
	if err != nil {
		t.Fatal(err)
	}
	c, err := big.Tensor(g.Constant("c"))
	if err != nil {
		t.Fatal(err)
	}
	if c.F32[0] != 1 || c.F32[1] != 2 {
		t.Errorf("c is %v", c.F32)
	}
	err = onnxio.Save(t.Context(), filepath.Join(dir, "never.onnx"), big, onnxio.SaveOptions{External: onnxio.Never})
	if err == nil {
		t.Error("16 GiB were saved as one protobuf file")
	}
	onlyFiles(t, dir, "d", "m.onnx")
}

// tooLate is a context that ends after it was asked a few times.
type tooLate struct {
	context.Context
	left int
}

func (c *tooLate) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Whenever the context ends, nothing is left behind.
func TestSaveEndsWithItsContext(t *testing.T) {
	m := small()
	source := reload(t, filepath.Join(t.TempDir(), "m.onnx"), m, onnxio.SaveOptions{External: onnxio.Always, Threshold: -1})
	for _, o := range []onnxio.SaveOptions{{External: onnxio.Always, Threshold: -1}, {External: onnxio.Never}} {
		saved := false
		for left := 0; !saved; left++ {
			dir := t.TempDir()
			err := onnxio.Save(&tooLate{context.Background(), left}, filepath.Join(dir, "m.onnx"), source, o)
			if saved = err == nil; saved {
				if left == 0 {
					t.Error("the context was not asked")
				}
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			onlyFiles(t, dir)
		}
	}
}

// More than 2 GiB, from many tensors that share one payload.
func TestTooLargeForOneFile(t *testing.T) {
	m := chain()
	shared := make([]byte, 1<<20)
	for i := range 2049 {
		m.Proto.Graph.Initializer = append(m.Proto.Graph.Initializer, &onnxpb.TensorProto{
			Name: ptr(fmt.Sprint("w", i)), DataType: ptr(int32(onnxio.Float)), Dims: []int64{1 << 18}, RawData: shared})
	}
	if _, err := m.Encode(); err == nil {
		t.Error("encoded beyond 2 GiB")
	}
	dir := t.TempDir()
	if err := onnxio.Save(t.Context(), filepath.Join(dir, "m.onnx"), m, onnxio.SaveOptions{External: onnxio.Never}); err == nil {
		t.Error("saved beyond 2 GiB")
	}
	onlyFiles(t, dir)
}
