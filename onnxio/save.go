package onnxio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// External says where [Save] puts the weights.
type External uint8

const (
	// Auto uses a data file when the model uses external data now, or is too large for one protobuf
	// file (2 GiB).
	Auto External = iota
	// Always uses a data file.
	Always
	// Never puts everything into the one file, and fails beyond 2 GiB.
	Never
)

// SaveOptions says how a model is written. The zero value keeps weights where they are now, inside
// or outside of the model file.
type SaveOptions struct {
	External External
	// Threshold is the payload size in bytes from which on a weight goes to the data file. 0 means
	// 1024; negative means every weight. Scalars and vectors below 1024 bytes stay in the model
	// file in any case: among them are shapes, pads and scales, which onnxruntime must see when it
	// infers shapes, before it looks into data files.
	Threshold int64
	// Align is the multiple in bytes at which each payload begins in the data file, for
	// memory-mapping. 0 means 4096, the usual page size, for payloads of 64 KiB and more, and 64 for
	// smaller ones, which would be mostly padding.
	Align int64
	// Inputs are files that were read on the way to the model, beside the data files that it reads
	// from itself. None of them is replaced or removed.
	Inputs []string
	// Force lets the save replace and remove inputs. The model in memory cannot be read any more
	// where its data file is among them.
	Force bool
	// Temporary is for files that end with the process: they need not outlast a power failure, and
	// the data file is called after the model alone. An existing one is replaced.
	Temporary bool
}

// Save writes a model file and, where weights are external, one data file beside it, so that
// whatever ends the program leaves the old model or the new one, whole, and nobody who reads the
// path ever sees anything else. Both are written under temporary names and synced. The data file is
// called after the model and its content (m.onnx.0123456789abcdef.data), so that it takes no other
// one's place; it is renamed first, the model last. A failed save, or one that ctx ends, leaves
// nothing behind. External weights are copied one at a time.
//
// Then the data file of the model that stood there before is removed, if Save has made it and no
// other model in the folder refers to it. What saves that were killed have left in the folder is
// removed too. Of several processes that save to one path the last one wins.
//
// Up to IR version 3, which asks for it, all initializers of the main graph are written as graph
// inputs too. A symbolic link is written through. The model in memory is not changed: it keeps its
// Path and Dir, its inputs, and the places of its external data.
func Save(ctx context.Context, path string, m *Model, o SaveOptions) (err error) {
	defer guard.Recover(&err)
	if err := m.Validate(); err != nil {
		return err
	}
	if err := save(ctx, files.OS{}, path, m, o); err != nil {
		return fmt.Errorf("saving %s: %w", path, err)
	}
	return nil
}

func save(ctx context.Context, sys files.System, path string, m *Model, o SaveOptions) error {
	now, err := m.Storage()
	if err != nil {
		return err
	}
	external, err := o.splits(now)
	if err != nil {
		return err
	}
	s, err := newSaving(sys, path, o, now.DataFiles)
	if err != nil {
		return err
	}
	defer s.abort()
	out := m.Clone() // takes the new locations; shares the payloads
	g, err := out.Graph()
	if err != nil {
		return err
	}
	g.DeclareInitializers()
	if external {
		err = s.writeData(ctx, out)
	} else {
		err = out.internalize(ctx)
	}
	if err != nil {
		return err
	}
	if s.file, err = files.Create(sys, s.dir, s.perm); err != nil {
		return err
	}
	if err := out.writeTo(ctx, s.file); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.commit(ctx)
}

// splits reports whether there is to be a data file for a model whose weights lie as now says.
func (o SaveOptions) splits(now Storage) (bool, error) {
	if o.External == Always || o.External == Auto && (now.ExternalBytes > 0 || now.FileBytes > maxProtoSize) {
		return true, nil
	}
	if now.FileBytes+now.ExternalBytes > maxProtoSize {
		return false, errors.New("the model is too large for one protobuf file (2 GiB)")
	}
	return false, nil
}

// shapeLimit is the size in bytes below which vectors never become external.
const shapeLimit = 1024

// alignFrom is the size in bytes of the payloads that begin at pages; lineSize aligns smaller ones.
const alignFrom, pageSize, lineSize = 64 << 10, 4096, 64

// externalize writes the payloads of weights to w and makes the tensors refer to them. What was
// external before stays external, wherever it is used, unless it may be a shape; what several tensors
// referred to is written once. What the tensors call the file is told by the function that it
// returns.
func (m *Model) externalize(ctx context.Context, w *dataFile, o SaveOptions) (called func(name string), err error) {
	var moved []func(name string)
	threshold := o.Threshold
	if threshold == 0 {
		threshold = shapeLimit
	}
	written := map[external]int64{} // offsets of payloads that were external
	for _, t := range contentsOf(m.Proto).tensors {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := storageOf(t.TensorProto)
		if err != nil {
			return nil, t.wrap(err)
		}
		size := s.dtype.bytes(s.n)
		shape := len(t.Dims) <= 1 && size < shapeLimit
		switch {
		case s.kind == inFile && shape:
			if err := m.inside(t.TensorProto, s); err != nil {
				return nil, t.wrap(err)
			}
			continue
		case s.kind != inFile && (shape || size == 0 || size < threshold || s.dtype.family == stringFamily || t.place == otherPlace):
			continue
		}
		offset, done := written[s.file]
		if !done || s.kind != inFile {
			if err := w.pad(o.align(size)); err != nil {
				return nil, err
			}
			offset = w.n
			if err := m.copyRaw(w, t.TensorProto, s); err != nil {
				return nil, t.wrap(err)
			}
		}
		if s.kind == inFile {
			written[s.file] = offset
		}
		moved = append(moved, func(name string) { refer(t.TensorProto, name, offset, size) })
	}
	return func(name string) {
		for _, f := range moved {
			f(name)
		}
	}, nil
}

// align is the multiple at which a payload of a size begins.
func (o SaveOptions) align(size int64) int64 {
	switch {
	case o.Align > 0:
		return o.Align
	case size >= alignFrom:
		return pageSize
	}
	return lineSize
}

// inside reads an external payload into raw_data.
func (m *Model) inside(t *onnxpb.TensorProto, s storage) error {
	raw, err := m.readExternal(s.file)
	if err != nil {
		return err
	}
	clearPayload(t)
	t.RawData = raw
	return nil
}

// copyRaw writes a tensor's elements in their raw form; of a data file without holding them.
func (m *Model) copyRaw(w io.Writer, t *onnxpb.TensorProto, s storage) error {
	if s.kind == inFile {
		return m.copyExternal(w, s.file)
	}
	raw, err := m.raw(t, s)
	if err == nil {
		_, err = w.Write(raw)
	}
	return err
}

// internalize reads all external payloads into raw_data.
func (m *Model) internalize(ctx context.Context) error {
	for _, t := range contentsOf(m.Proto).tensors {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := storageOf(t.TensorProto)
		if err == nil && s.kind == inFile {
			err = m.inside(t.TensorProto, s)
		}
		if err != nil {
			return t.wrap(err)
		}
	}
	return nil
}

// clearPayload removes a tensor's elements, or the reference to them.
func clearPayload(t *onnxpb.TensorProto) {
	t.RawData, t.FloatData, t.Int32Data, t.StringData = nil, nil, nil, nil
	t.Int64Data, t.DoubleData, t.Uint64Data = nil, nil, nil
	t.ExternalData, t.DataLocation = nil, nil
}

// refer makes a tensor's payload a stretch of a data file.
func refer(t *onnxpb.TensorProto, location string, offset, length int64) {
	clearPayload(t)
	t.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
	t.ExternalData = []*onnxpb.StringStringEntryProto{entry("location", location),
		entry("offset", strconv.FormatInt(offset, 10)), entry("length", strconv.FormatInt(length, 10))}
}

func entry(key, value string) *onnxpb.StringStringEntryProto {
	return &onnxpb.StringStringEntryProto{Key: &key, Value: &value}
}
