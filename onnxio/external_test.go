package onnxio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
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
				if n, _ := strconv.Atoi(e.GetValue()); e.GetKey() == "offset" && n%64 != 0 {
					t.Errorf("%s: %q begins at %d", name, p.GetName(), n)
				}
			}
		}
		samePayloads(t, m, ext)

		// Moved to another folder, the data comes along; inside again, the model is what it was.
		other := filepath.Join(t.TempDir(), "moved.onnx")
		moved := reload(t, other, ext, onnxio.SaveOptions{})
		samePayloads(t, m, moved)
		onlyFiles(t, filepath.Dir(other), append(dataFiles(t, moved), "moved.onnx")...)
		whole := reload(t, filepath.Join(t.TempDir(), "whole.onnx"), moved, onnxio.SaveOptions{External: onnxio.Never})
		if !proto.Equal(m.Proto, whole.Proto) {
			t.Errorf("%s: the model differs after going out and in", name)
		}
	}
}

func TestThreshold(t *testing.T) {
	m := small() // w has 432 bytes, all others at most 32
	path := filepath.Join(t.TempDir(), "m.onnx")
	ext := reload(t, path, m, onnxio.SaveOptions{External: onnxio.Always, Threshold: 100, Align: 64})
	onlyFiles(t, filepath.Dir(path), append(dataFiles(t, ext), "m.onnx")...)
	for _, p := range ext.Proto.Graph.Initializer {
		if isExt := p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL; isExt != (p.GetName() == "w") {
			t.Errorf("%q external: %v", p.GetName(), isExt)
		}
	}
	// Nothing reaches the default threshold: no data file at all.
	path = filepath.Join(t.TempDir(), "m.onnx")
	reload(t, path, m, onnxio.SaveOptions{External: onnxio.Always})
	onlyFiles(t, filepath.Dir(path), "m.onnx")
}

// dataFiles are the names of the data files of a model, of which it has one: after the model and
// the content.
func dataFiles(t *testing.T, m *onnxio.Model) []string {
	t.Helper()
	s, err := m.Storage()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.DataFiles) != 1 {
		t.Fatalf("data files are %q, want one", s.DataFiles)
	}
	name := filepath.Base(s.DataFiles[0])
	if ok, _ := regexp.MatchString("^"+regexp.QuoteMeta(filepath.Base(m.Path))+`\.[0-9a-f]{16}\.data$`, name); !ok {
		t.Errorf("the data file of %s is %s", m.Path, name)
	}
	return []string{name}
}

// change multiplies a weight.
func change(t *testing.T, m *onnxio.Model, by float64) {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Tensor(g.Constant("w"))
	if err != nil {
		t.Fatal(err)
	}
	v := w.Float64()
	for i := range v {
		v[i] *= by
	}
	w.SetFloat64(w.Dims, v)
	if err := g.SetConstant(w); err != nil {
		t.Fatal(err)
	}
}

var outside = onnxio.SaveOptions{External: onnxio.Always, Threshold: -1}

// Saving over its own files never destroys what the model still reads, unless that is asked for.
func TestSaveOverItself(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	ext := reload(t, path, small(), outside)
	first := dataFiles(t, ext)[0]
	before, err := os.ReadFile(filepath.Join(dir, first))
	if err != nil {
		t.Fatal(err)
	}
	change(t, ext, 2)
	again := reload(t, path, ext, outside)
	samePayloads(t, ext, again)
	second := dataFiles(t, again)[0]
	after, err := os.ReadFile(filepath.Join(dir, first))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the source was overwritten")
	}
	both := slices.Sorted(slices.Values([]string{first, second}))
	onlyFiles(t, dir, append([]string{"m.onnx"}, both...)...)

	// With the same content nothing changes.
	same := reload(t, path, again, outside)
	samePayloads(t, again, same)
	onlyFiles(t, dir, append([]string{"m.onnx"}, both...)...)

	source := filepath.Join(dir, second)
	if err := onnxio.Save(t.Context(), source, same, onnxio.SaveOptions{}); err == nil {
		t.Error("the data file was overwritten by a model file")
	}
	if err := os.Remove(filepath.Join(dir, first)); err != nil {
		t.Fatal(err)
	}
	change(t, same, 3)
	force := outside
	force.Force = true
	third := reload(t, path, same, force)
	onlyFiles(t, dir, "m.onnx", dataFiles(t, third)[0])
	want := payloads(t, third)["w"]
	if dataFiles(t, third)[0] == second {
		t.Error("another content has the same name")
	}
	inline := reload(t, path, third, onnxio.SaveOptions{External: onnxio.Never, Force: true})
	if payloads(t, inline)["w"] != want {
		t.Error("the weights differ")
	}
	onlyFiles(t, dir, "m.onnx")
}

// The data file of a model that is replaced goes, but only where Save has made it, and nobody else
// reads it.
func TestReplacedData(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	copyOf := func(from, to string) {
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	first := dataFiles(t, reload(t, path, small(), outside))[0]
	other := small()
	change(t, other, 2)
	second := dataFiles(t, reload(t, path, other, outside))[0]
	onlyFiles(t, dir, "m.onnx", second)
	if first == second {
		t.Fatal("two contents have one name")
	}

	// A copy reads it, whatever it is called.
	backup := filepath.Join(dir, "a copy of it")
	copyOf(path, backup)
	third := small()
	change(t, third, 3)
	last := dataFiles(t, reload(t, path, third, outside))[0]
	if _, err := onnxio.Load(backup); err != nil {
		t.Error(err)
	}

	// Named as an input.
	if err := os.Remove(backup); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, second)); err != nil {
		t.Fatal(err)
	}
	reload(t, path, small(), onnxio.SaveOptions{Inputs: []string{filepath.Join(dir, last)}})
	onlyFiles(t, dir, "m.onnx", last)

	// Made by others.
	foreign := small()
	raw := make([]byte, 4*108)
	if err := os.WriteFile(filepath.Join(dir, "m.onnx.data"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	foreign.Proto.Graph.Initializer[0] = externalTensor("w", "m.onnx.data", "0", "432", 4, 3, 3, 3)
	text, err := foreign.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	reload(t, path, small(), onnxio.SaveOptions{})
	onlyFiles(t, dir, "m.onnx", "m.onnx.data", last)
}

// Inputs are not replaced, by whatever name, unless that is asked for.
func TestInputsStay(t *testing.T) {
	dir := t.TempDir()
	input, link := filepath.Join(dir, "data.npy"), filepath.Join(dir, "link.onnx")
	if err := os.WriteFile(input, []byte("keep"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(input, link); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{input, link, filepath.Join(dir, ".", "data.npy")} {
		err := onnxio.Save(t.Context(), path, small(), onnxio.SaveOptions{Inputs: []string{input}})
		if err == nil || !strings.Contains(err.Error(), "input") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, _ := os.ReadFile(input); string(text) != "keep" {
		t.Error("the input was replaced")
	}
	reload(t, link, small(), onnxio.SaveOptions{Inputs: []string{input}, Force: true})
	onlyFiles(t, dir, "data.npy", "link.onnx")
}

// A link is written through: it stays, and what it leads to is the model.
func TestSaveThroughLinks(t *testing.T) {
	dir := t.TempDir()
	far := filepath.Join(dir, "far")
	if err := os.Mkdir(far, 0o777); err != nil {
		t.Fatal(err)
	}
	link, second := filepath.Join(dir, "link.onnx"), filepath.Join(dir, "second.onnx")
	if err := os.Symlink(filepath.Join("far", "m.onnx"), link); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink("link.onnx", second); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first time there is no file yet
		samePayloads(t, small(), reload(t, second, small(), onnxio.SaveOptions{}))
		onlyFiles(t, far, "m.onnx")
		onlyFiles(t, dir, "far", "link.onnx", "second.onnx")
		for _, l := range []string{link, second} {
			if info, err := os.Lstat(l); err != nil || info.Mode()&os.ModeSymlink == 0 {
				t.Errorf("%s is no link any more", l)
			}
		}
	}
	// Who loads the model by the link looks for its weights beside the link.
	if err := onnxio.Save(t.Context(), link, small(), outside); err == nil || !strings.Contains(err.Error(), "link to") {
		t.Error(err)
	}
	onlyFiles(t, far, "m.onnx")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("near.onnx", link); err != nil {
		t.Fatal(err)
	}
	samePayloads(t, small(), reload(t, link, small(), outside))

	if err := os.Symlink("loop.onnx", filepath.Join(dir, "loop.onnx")); err != nil {
		t.Fatal(err)
	}
	if err := onnxio.Save(t.Context(), filepath.Join(dir, "loop.onnx"), small(), onnxio.SaveOptions{}); err == nil {
		t.Error("saved to a link to itself")
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

// The layout of a hub's cache: the model and its data are links to files that are called after their
// content, in a folder elsewhere.
func TestLinkedModelAndData(t *testing.T) {
	for name, beside := range map[string]bool{"data linked beside the link": true, "data beside the file": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			blobs, snapshot := filepath.Join(dir, "blobs"), filepath.Join(dir, "snapshots", "abc")
			for _, d := range []string{blobs, snapshot} {
				if err := os.MkdirAll(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			m := small()
			ext := reload(t, filepath.Join(blobs, "model.onnx"), m, onnxio.SaveOptions{External: onnxio.Always, Threshold: 100})
			data := dataFiles(t, ext)[0]
			blob := data
			if beside {
				blob = "222"
				if err := os.Rename(filepath.Join(blobs, data), filepath.Join(blobs, blob)); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(filepath.Join("..", "..", "blobs", blob), filepath.Join(snapshot, data)); err != nil {
					t.Skip(err)
				}
			}
			if err := os.Rename(filepath.Join(blobs, "model.onnx"), filepath.Join(blobs, "111")); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(snapshot, "model.onnx")
			if err := os.Symlink(filepath.Join("..", "..", "blobs", "111"), link); err != nil {
				t.Skip(err)
			}
			back, err := onnxio.Load(link)
			if err != nil {
				t.Fatal(err)
			}
			samePayloads(t, m, back)
			// A link beside the model to anything else stays refused.
			if !beside {
				return
			}
			secret := filepath.Join(dir, "secret")
			if err := os.Rename(filepath.Join(blobs, blob), secret); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(snapshot, data)); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(secret, filepath.Join(snapshot, data)); err != nil {
				t.Fatal(err)
			}
			if _, err := onnxio.Load(link); err == nil {
				t.Error("data outside of both folders are read")
			}
		})
	}
}

// What somebody has stored outside comes back where it belongs: shapes inside, what two tensors
// share once, small weights without pages of padding between them.
func TestDataFileIsTidied(t *testing.T) {
	dir := t.TempDir()
	m, err := onnxtest.Parse(`
		x: N 300
		p = MatMul(x, a[300 10])
		q = MatMul(x, b[300 10])
		r = Add(p, q)
		t = Reshape(r, s{2 5})
		y = MatMul(t, c[5 80])`)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 16384)
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	at := map[string][2]int{"a": {0, 12000}, "b": {0, 12000}, "c": {12288, 1600}, "s": {16368, 16}}
	for _, tp := range m.Proto.Graph.Initializer {
		place := at[tp.GetName()]
		tp.RawData, tp.FloatData, tp.Int64Data = nil, nil, nil
		tp.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
		for k, v := range map[string]string{"location": "w.bin", "offset": strconv.Itoa(place[0]), "length": strconv.Itoa(place[1])} {
			tp.ExternalData = append(tp.ExternalData, &onnxpb.StringStringEntryProto{Key: &k, Value: &v})
		}
	}
	m.Dir = dir
	out := filepath.Join(t.TempDir(), "m.onnx")
	back := reload(t, out, m, onnxio.SaveOptions{})
	samePayloads(t, m, back)
	for _, tp := range back.Proto.Graph.Initializer {
		if outside := tp.GetDataLocation() == onnxpb.TensorProto_EXTERNAL; outside == (tp.GetName() == "s") {
			t.Errorf("%q outside: %v", tp.GetName(), outside)
		}
	}
	info, err := os.Stat(filepath.Join(filepath.Dir(out), dataFiles(t, back)[0]))
	if err != nil {
		t.Fatal(err)
	}
	if n := info.Size(); n < 13600 || n > 13600+64 {
		t.Errorf("the data file has %d bytes, the weights 13600", n)
	}
}
