package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// FuzzCommands hands files that were models once to the commands that need no onnxruntime: each
// ends with a result, or with one line that says what is wrong and no file. What compress and
// convert write is read again.
func FuzzCommands(f *testing.F) {
	var bases [][]byte
	for i, form := range onnxtest.Forms() {
		m, err := form.Model()
		if err != nil {
			f.Fatal(err)
		}
		data, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, data)
		f.Add(uint8(i), []byte{byte(i), 1, 2}, uint16(0), byte(0))
		f.Add(uint8(i), []byte{}, uint16(37*i), byte(1))
	}
	// A flip of one byte finds what is wrong with reading, a program what is wrong after it.
	f.Fuzz(func(t *testing.T, base uint8, program []byte, at uint16, flip byte) {
		if len(program) > 64 {
			return
		}
		m, err := onnxio.Decode(bases[int(base)%len(bases)], "")
		if err != nil {
			t.Fatal(err)
		}
		onnxtest.Mutate(m.Proto, program)
		data, err := proto.Marshal(m.Proto)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 {
			data[int(at)%len(data)] ^= flip
		}
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in.onnx"), filepath.Join(dir, "out.onnx")
		if err := os.WriteFile(in, data, 0o644); err != nil {
			t.Fatal(err)
		}
		without := func() (engine.Library, error) { return engine.Library{}, engine.ErrNoRuntime }
		for _, args := range [][]string{
			{"inspect", in},
			{"inspect", in, "--json"},
			{"diff", in, in, "--all"},
			{"convert", in, "-o", out, "--external-data"},
			{"compress", in, "-o", out, "--keep", "0.5", "--data", "none", "--no-lossless"},
			{"fuse", in, in, "-o", out, "--data", "none", "--no-lossless"},
		} {
			r := runWith(t, context.Background(), without, args...)
			switch r.code {
			case exitOK:
				if args[0] == "inspect" || args[0] == "diff" {
					continue
				}
				if _, err := onnxio.Load(out); err != nil {
					t.Fatalf("%v: what was written cannot be read: %v", args, err)
				}
				written, err := filepath.Glob(out + "*")
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range written {
					os.Remove(f)
				}
			case exitFailed:
				if lines := strings.Count(r.stderr, "\n"); lines != 1 || r.stdout != "" {
					t.Fatalf("%v: stderr %q, stdout %q", args, r.stderr, r.stdout)
				}
			default:
				t.Fatalf("%v: exit code %d: %s", args, r.code, r.stderr)
			}
			empty(t, dir, "in.onnx")
		}
	})
}
