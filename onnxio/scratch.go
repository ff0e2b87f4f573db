package onnxio

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// scratchLimit is the payload size in bytes from which on the new value of an external weight is
// kept in a file.
const scratchLimit = 64 << 10

// scratch is a temporary file for changed weights of models whose weights are external: such a
// model may be larger than memory, and so may be what becomes of it. Clones share it. It only
// grows, and it goes when no model needs it any more, or with the process.
type scratch struct {
	name string // location that tensors refer to
	file *files.Scratch

	mu sync.Mutex
	n  int64 // bytes written
}

func newScratch() (*scratch, error) {
	f, err := files.NewScratch()
	if err != nil {
		return nil, err
	}
	s := &scratch{name: filepath.Base(f.Name()), file: f}
	runtime.AddCleanup(s, func(f *files.Scratch) { f.Close() }, f)
	return s, nil
}

// spill moves a tensor's raw_data into the scratch file.
func (m *Model) spill(t *onnxpb.TensorProto) error {
	if m.scratch == nil {
		s, err := newScratch()
		if err != nil {
			return fmt.Errorf("no temporary file: %w", err)
		}
		m.scratch = s
	}
	s := m.scratch
	s.mu.Lock()
	at := s.n
	s.n += int64(len(t.RawData))
	s.mu.Unlock()
	if _, err := s.file.WriteAt(t.RawData, at); err != nil {
		return fmt.Errorf("temporary file: %w", err)
	}
	refer(t, s.name, at, int64(len(t.RawData)))
	return nil
}

// holds reports whether a location is that of the scratch file.
func (s *scratch) holds(location string) bool { return s != nil && location == s.name }

// inScratch reports whether any weight lies in the scratch file.
func (m *Model) inScratch() bool {
	return m.scratch != nil && slices.ContainsFunc(contentsOf(m.Proto).tensors, func(t tensorAt) bool {
		s, err := storageOf(t.TensorProto)
		return err == nil && s.kind == inFile && m.scratch.holds(s.file.location)
	})
}
