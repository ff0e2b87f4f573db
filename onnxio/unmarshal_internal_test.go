package onnxio

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// same reports a difference between what the two ways of decoding make of a buffer.
func same(t *testing.T, data []byte) {
	t.Helper()
	want := new(onnxpb.ModelProto)
	err := proto.Unmarshal(data, want)
	got, ok := unmarshalShared(data)
	if ok != (err == nil) {
		t.Fatalf("shared: %v, copied: %v", ok, err)
	}
	if ok && !proto.Equal(got, want) {
		t.Fatal("the two ways of decoding differ")
	}
}

func TestUnmarshalShared(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatal("no models", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		same(t, data)
		m, ok := unmarshalShared(data)
		if !ok {
			t.Fatalf("%s: not decoded", name)
		}
		raw := m.Graph.Initializer[0].RawData
		if was := raw[0]; len(raw) > 0 {
			before := append([]byte(nil), data...)
			raw[0] ^= 0xff
			changed := 0
			for i := range data {
				if data[i] != before[i] {
					changed++
				}
			}
			if changed != 1 || raw[0] == was {
				t.Errorf("%s: raw data is a copy", name)
			}
		}
	}
}

// TestUnmarshalRepeated: fields that should occur once are merged, or the last one counts.
func TestUnmarshalRepeated(t *testing.T) {
	field := func(n protowire.Number, v ...byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), v)
	}
	tensor := append(field(tensorRawData, 1, 2), field(tensorRawData, 3)...)
	graph := append(field(graphInitializer, tensor...), field(graphInitializer)...)
	empty := field(graphInitializer, field(tensorRawData)...)
	same(t, append(field(modelGraph, graph...), field(modelGraph, empty...)...))
	same(t, append(field(modelGraph, graph...), 0x3a, 5)) // truncated
	same(t, protowire.AppendVarint(protowire.AppendTag(nil, modelGraph, protowire.VarintType), 5))
	same(t, nil)
}

func FuzzUnmarshalShared(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*.onnx"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil && len(data) < 64<<10 {
			f.Add(data)
		}
	}
	f.Add([]byte{0x3a, 4, 0x2a, 2, 0x4a, 0})
	f.Fuzz(func(t *testing.T, data []byte) { same(t, data) })
}
