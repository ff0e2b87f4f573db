package latency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Cached returns the table of a model on this machine: from the user's cache, if it was measured
// before with the same version of onnxruntime, number of threads and shapes, for a model that differs
// in nothing but the values of weights; else it is measured and kept there, unless it does not even
// tell what it was made from ([Table.Doubtful]). A cache that cannot be written is no error.
func Cached(ctx context.Context, m *onnxio.Model, o Options) (_ *Table, err error) {
	defer guard.Recover(&err)
	path, err := cachePath(m, o)
	if err != nil {
		return Measure(ctx, m, o)
	}
	if t, err := Read(path); err == nil && !o.Fresh {
		return t, nil
	}
	t, err := Measure(ctx, m, o)
	if err != nil {
		return nil, err
	}
	if !t.Doubtful() && os.MkdirAll(filepath.Dir(path), 0o777) == nil {
		_ = t.Save(path)
	}
	return t, nil
}

// cachePath is the file for a table in the user's cache.
func cachePath(m *onnxio.Model, o Options) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	lib, err := engine.Available()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	threads := o.Threads
	if threads <= 0 {
		threads = runtime.NumCPU()
	}
	fmt.Fprintln(h, layout, lib.Version, processor(), threads)
	inputs, err := engine.Inputs(m)
	if err != nil {
		return "", err
	}
	shapes := dataset.Shapes(m, o.Data, o.Shapes)
	for _, in := range inputs {
		fmt.Fprintln(h, in.Name, shapes[in.Name])
	}
	for _, part := range structure(m) {
		if err := binary.Write(h, binary.LittleEndian, int64(len(part))); err != nil {
			return "", err
		}
		h.Write(part)
	}
	return filepath.Join(dir, "monge", "latency", hex.EncodeToString(h.Sum(nil)[:16])+".json"), nil
}

// layout changes whenever what is measured does.
const layout = "3"

// structure is what a model's time depends on: all but the values of initializers.
func structure(m *onnxio.Model) (parts [][]byte) {
	g := m.Proto.GetGraph()
	bare := &onnxpb.GraphProto{Node: g.GetNode(), Input: g.GetInput(), Output: g.GetOutput()}
	for _, t := range g.GetInitializer() {
		bare.Initializer = append(bare.Initializer, &onnxpb.TensorProto{Name: t.Name, DataType: t.DataType, Dims: t.Dims})
	}
	all := []proto.Message{bare}
	for _, o := range m.Proto.GetOpsetImport() {
		all = append(all, o)
	}
	for _, f := range m.Proto.GetFunctions() {
		all = append(all, f)
	}
	for _, p := range all {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
		if err != nil {
			text = []byte(err.Error())
		}
		parts = append(parts, text)
	}
	return parts
}

// processor names the kind of processor of this machine.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			return runtime.GOARCH + " " + strings.TrimSpace(value)
		}
	}
	return runtime.GOOS + " " + runtime.GOARCH
}
