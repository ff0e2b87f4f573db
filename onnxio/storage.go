package onnxio

import (
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

// Storage returns where the model's weights lie now. FileBytes is what
// [Model.Encode] would give.
func (m *Model) Storage() (Storage, error) {
	s := Storage{FileBytes: int64(proto.Size(m.Proto))}
	err := visitTensors(m.Proto, func(t *onnxpb.TensorProto, _ place, _ string) error {
		s.Tensors++
		if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			s.External++
		}
		return nil
	})
	if err != nil {
		return s, m.errorf("%w", err)
	}
	if s.DataFiles, s.ExternalBytes, err = m.dataFiles(); err != nil {
		return s, m.errorf("%w", err)
	}
	slices.Sort(s.DataFiles)
	return s, nil
}
