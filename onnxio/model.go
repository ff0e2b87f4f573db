package onnxio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// maxProtoSize is the largest message that protobuf parsers accept, in bytes.
const maxProtoSize = math.MaxInt32

// Model is an ONNX model in memory. Payloads kept in external data files stay there until
// [Model.Tensor] asks for one of them.
type Model struct {
	// Proto is the whole file, unknown fields included.
	Proto *onnxpb.ModelProto
	// Path is the file that the model was loaded from, "" when built in memory.
	Path string
	// Dir is the folder against which external-data locations resolve. With "" external data is an
	// error.
	Dir string

	scratch *scratch // changed weights that were external; nil while there are none
}

// ErrFolder says that there is a folder where a model should be.
var ErrFolder = errors.New("it is a folder, and a model is a file")

// Load reads and validates a model file. It does not read external data, but checks that the files
// are there and long enough. Errors name the file and the node or tensor.
//
// A file that another process replaces meanwhile is read once more: the data file of the model that
// stood there before may be gone.
func Load(path string) (m *Model, err error) {
	defer guard.Recover(&err)
	for range 3 {
		before, unknown := os.Stat(path)
		if m, err = load(path); err == nil || unknown != nil {
			break
		}
		if after, gone := os.Stat(path); gone != nil || os.SameFile(before, after) {
			break
		}
	}
	return m, err
}

func load(path string) (*Model, error) {
	data, err := readModelFile(path)
	if err != nil {
		return nil, err
	}
	m := new(Model)
	var ok bool
	if m.Proto, ok = unmarshalShared(data); !ok {
		if m, err = unmarshal(data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	m.Path, m.Dir = path, filepath.Dir(path)
	m.settle()
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

func readModelFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s: %w", path, ErrFolder)
	}
	if info.Size() > maxProtoSize {
		return nil, fmt.Errorf("%s: %d bytes: a protobuf file ends at 2 GiB", path, info.Size())
	}
	// The size is a hint: that of a pipe, say, is not known beforehand.
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, maxProtoSize+1)); err != nil {
		if inner := (*os.PathError)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if data.Len() > maxProtoSize {
		return nil, fmt.Errorf("%s: a protobuf file ends at 2 GiB", path)
	}
	return data.Bytes(), nil
}

// Decode parses and validates a model held in memory. External-data locations resolve against the
// folder dir; "" is fine for a model without any.
func Decode(data []byte, dir string) (_ *Model, err error) {
	defer guard.Recover(&err)
	m, err := unmarshal(data)
	if err != nil {
		return nil, err
	}
	m.Dir = dir
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

func unmarshal(data []byte) (*Model, error) {
	m := &Model{Proto: new(onnxpb.ModelProto)}
	if err := (proto.UnmarshalOptions{RecursionLimit: nesting}).Unmarshal(data, m.Proto); err != nil {
		if proto.Unmarshal(data, m.Proto) == nil { // by protobuf's own limit, which is far beyond
			return nil, fmt.Errorf("graphs or types lie in each other more than %d messages deep, which onnxruntime does not read", maxNesting)
		}
		return nil, fmt.Errorf("not an ONNX file, or a damaged one: %w", err)
	}
	return m, nil
}

// Encode returns the model's protobuf bytes, the same for equal models. External data is not pulled
// in: its locations are written as they stand. A model with changed external weights has to be
// saved instead, for they lie in no file of their own yet.
func (m *Model) Encode() ([]byte, error) {
	if m.Proto == nil {
		return nil, errors.New("model is empty")
	}
	if err := m.encodable(); err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m.Proto)
}

func (m *Model) encodable() error {
	if m.inScratch() {
		return m.errorf("changed external weights are in no file: save the model")
	}
	if size := proto.Size(m.Proto); size > maxProtoSize {
		return m.errorf("%d bytes are too many for one protobuf file (2 GiB): save with external data", size)
	}
	return nil
}

// Opset returns the version of the operator set imported for a domain, 0 where there is none. ""
// and "ai.onnx" name the same, standard one.
func (m *Model) Opset(domain string) int64 {
	for _, o := range m.Proto.GetOpsetImport() {
		if standardDomain(o.GetDomain()) == standardDomain(domain) {
			return o.GetVersion()
		}
	}
	return 0
}

func standardDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// Metadata returns the value stored under key in the model's metadata_props.
func (m *Model) Metadata(key string) (string, bool) {
	for _, e := range m.Proto.GetMetadataProps() {
		if e.GetKey() == key {
			return e.GetValue(), true
		}
	}
	return "", false
}

// SetMetadata stores a key with its value in the model's metadata_props.
func (m *Model) SetMetadata(key, value string) {
	for _, e := range m.Proto.GetMetadataProps() {
		if e.GetKey() == key {
			e.Value = &value
			return
		}
	}
	m.Proto.MetadataProps = append(m.Proto.MetadataProps, entry(key, value))
}

// errorf puts the file name, where there is one, before a message.
func (m *Model) errorf(format string, args ...any) error {
	return m.InFile(fmt.Errorf(format, args...))
}

// Title is what errors call the model: its path, or the name of its graph.
func (m *Model) Title() string {
	switch {
	case m.Path != "":
		return m.Path
	case m.Proto.GetGraph().GetName() != "":
		return "model " + m.Proto.GetGraph().GetName()
	}
	return "model"
}
