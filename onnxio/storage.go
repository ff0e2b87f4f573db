package onnxio

import (
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Storage says where a model's weights lie.
type Storage struct {
	// FileBytes is the size of the model file.
	FileBytes int64
	// ExternalBytes is the size of the payloads in data files, without padding.
	ExternalBytes int64
	// Tensors counts all stored tensors, External those in data files.
	Tensors, External int
	// DataFiles are the paths of the data files, sorted.
	DataFiles []string
}

// Storage returns where the model's weights lie now. FileBytes is what [Model.Encode] would give.
func (m *Model) Storage() (Storage, error) {
	s := Storage{FileBytes: int64(proto.Size(m.Proto))}
	for _, t := range contentsOf(m.Proto).tensors {
		s.Tensors++
		at, err := storageOf(t.TensorProto)
		if err != nil {
			return s, m.errorf("%w", t.wrap(err))
		}
		if at.kind != inFile {
			continue
		}
		s.External++
		s.ExternalBytes += at.file.length
		if !m.scratch.holds(at.file.location) {
			s.DataFiles = append(s.DataFiles, filepath.Join(m.Dir, filepath.FromSlash(at.file.location)))
		}
	}
	slices.Sort(s.DataFiles)
	s.DataFiles = slices.Compact(s.DataFiles)
	return s, nil
}

// Size returns what the model holds and occupies. params counts the elements of all tensors whose
// type [IsParameter], wherever they are stored; bytes is the size of its file and of the external
// data that it refers to.
func (m *Model) Size() (params, bytes int64) {
	bytes = int64(proto.Size(m.Proto))
	for _, t := range contentsOf(m.Proto).tensors {
		n := Elements(t.TensorProto)
		typ := onnxpb.TensorProto_DataType(t.GetDataType())
		if IsParameter(typ) {
			params += n
		}
		if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			bytes += StoredBytes(typ, n)
		}
	}
	return params, bytes
}
