package onnxio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

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
	// memory-mapping. 0 means 4096, the usual page size.
	Align int64
	// DataFile is the name of the data file, which lies in the model file's folder. "" means that
	// of the model file with ".data" appended.
	DataFile string
}

// Save writes a model file and, where weights are external, one data file beside it. Each is
// written under a temporary name, synced and renamed, the data file first: a failed write, or one
// that ctx ends, leaves nothing behind and the old files as they were. External weights are copied
// one at a time.
//
// A file that m itself reads external data from is never overwritten; saving over such a model
// picks another name for the data file, and the old one stays. The model in memory is not changed:
// it keeps its Path and Dir, and the places of its external data.
func Save(ctx context.Context, path string, m *Model, o SaveOptions) (err error) {
	defer guard.Recover(&err)
	if err := m.Validate(); err != nil {
		return err
	}
	if err := save(ctx, path, m, o); err != nil {
		return fmt.Errorf("saving %s: %w", path, err)
	}
	return nil
}

func save(ctx context.Context, path string, m *Model, o SaveOptions) error {
	now, err := m.Storage()
	if err != nil {
		return err
	}
	if isOneOf(path, now.DataFiles) {
		return errors.New("the model reads external data from this file")
	}
	data, err := createData(path, now, o)
	if err != nil {
		return err
	}
	out := m.Clone() // takes the new locations; shares the payloads
	if data == nil {
		err = out.internalize(ctx)
	} else {
		defer data.abort()
		err = out.externalize(ctx, data, o)
	}
	if err != nil {
		return err
	}
	file, err := createAtomic(path)
	if err != nil {
		return err
	}
	defer file.abort()
	if err := out.writeTo(ctx, file); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if data == nil || data.n == 0 {
		return file.commit()
	}
	if err := file.sync(); err != nil {
		return err
	}
	if err := data.commit(); err != nil {
		return err
	}
	return file.commit()
}

// createData opens the data file, nil where there is to be none, of a model whose weights lie as
// now says.
func createData(path string, now Storage, o SaveOptions) (*atomicFile, error) {
	if o.External == Always || o.External == Auto && (now.ExternalBytes > 0 || now.FileBytes > maxProtoSize) {
		name, err := dataName(path, o.DataFile, now.DataFiles)
		if err != nil {
			return nil, err
		}
		return createAtomic(filepath.Join(filepath.Dir(path), name))
	}
	if now.FileBytes+now.ExternalBytes > maxProtoSize {
		return nil, errors.New("the model is too large for one protobuf file (2 GiB)")
	}
	return nil, nil
}

// isOneOf reports whether a path leads to one of some existing files.
func isOneOf(path string, files []string) bool {
	info, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(files, func(f string) bool {
		other, err := os.Stat(f)
		return err == nil && os.SameFile(info, other)
	})
}

// dataName chooses the name of the data file: none of those that the model reads from, nor the
// model file itself.
func dataName(path, wanted string, sources []string) (string, error) {
	dir, base := filepath.Split(path)
	if wanted != "" {
		if wanted != filepath.Base(wanted) || checkLocation(wanted) != nil || wanted == base {
			return "", fmt.Errorf("data file %q: want a plain file name, not the model's own", wanted)
		}
		if isOneOf(filepath.Join(dir, wanted), sources) {
			return "", fmt.Errorf("data file %q: the model reads external data from it", wanted)
		}
		return wanted, nil
	}
	name := base + ".data"
	for i := 1; isOneOf(filepath.Join(dir, name), sources); i++ {
		name = fmt.Sprintf("%s.%d.data", base, i)
	}
	return name, nil
}

// shapeLimit is the size in bytes below which vectors never become external.
const shapeLimit = 1024

// externalize writes the payloads of weights to w and makes the tensors refer to them. What was
// external before stays external, wherever it is used.
func (m *Model) externalize(ctx context.Context, w *atomicFile, o SaveOptions) error {
	threshold, align := o.Threshold, o.Align
	if threshold == 0 {
		threshold = shapeLimit
	}
	if align <= 0 {
		align = 4096
	}
	for _, t := range contentsOf(m.Proto).tensors {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := storageOf(t.TensorProto)
		if err != nil {
			return t.wrap(err)
		}
		size := s.dtype.bytes(s.n)
		movable := s.dtype.family != stringFamily && t.place != otherPlace && size > 0 && size >= threshold &&
			(len(t.Dims) > 1 || size >= shapeLimit)
		if s.kind != inFile && !movable {
			continue
		}
		if err := w.pad(align); err != nil {
			return err
		}
		offset := w.n
		if err := m.copyRaw(w, t.TensorProto, s); err != nil {
			return t.wrap(err)
		}
		refer(t.TensorProto, filepath.Base(w.path), offset, size)
	}
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
			var raw []byte
			if raw, err = m.readExternal(s.file); err == nil {
				clearPayload(t.TensorProto)
				t.RawData = raw
			}
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
