package onnxio

import (
	"io"
	"os"
	"path/filepath"
	"regexp"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// locations lists the data files that a model file refers to, of a damaged one those before the
// damage. It steps over the weights, so that any file can be looked through.
func locations(r io.ReaderAt, size int64) (list []string) {
	w := &wire{r: r, found: func(location string) { list = append(list, location) }}
	w.message((&onnxpb.ModelProto{}).ProtoReflect().Descriptor(), 0, size, 0)
	return list
}

// A wire walks through an encoded message.
type wire struct {
	r     io.ReaderAt
	buf   [4096]byte // of the file from at on
	at    int64
	n     int
	found func(location string)
}

// maxNesting is how deep messages lie in each other, as protobuf limits it.
const maxNesting = 100

// externalData is the field that refers to a data file.
var externalData = (&onnxpb.TensorProto{}).ProtoReflect().Descriptor().Fields().ByName("external_data")

// message looks for locations in the message from one offset to another, and reports whether it is
// well-formed.
func (w *wire) message(d protoreflect.MessageDescriptor, at, end int64, depth int) bool {
	if depth > maxNesting {
		return false
	}
	for at < end {
		num, typ, n := protowire.ConsumeTag(w.bytes(at, end))
		if n < 0 {
			return false
		}
		at += int64(n)
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, w.bytes(at, end)); n < 0 {
				return false
			}
			at += int64(n)
			continue
		}
		size, n := protowire.ConsumeVarint(w.bytes(at, end))
		if n < 0 || size > uint64(end-at-int64(n)) {
			return false
		}
		at += int64(n)
		next := at + int64(size)
		switch f := d.Fields().ByNumber(num); {
		case f == externalData:
			w.entry(at, next)
		case f != nil && f.Message() != nil && !w.message(f.Message(), at, next, depth+1):
			return false
		}
		at = next
	}
	return true
}

// entry reads a pair of key and value, which is short where it is a location.
func (w *wire) entry(at, end int64) {
	e := &onnxpb.StringStringEntryProto{}
	if text := w.bytes(at, end); int64(len(text)) == end-at && proto.Unmarshal(text, e) == nil && e.GetKey() == "location" {
		w.found(e.GetValue())
	}
}

// bytes returns what lies between two offsets, or its beginning where that is long.
func (w *wire) bytes(at, end int64) []byte {
	const most = 1024 // more than any tag or number, and than names of files can be
	want := min(end-at, most)
	if at < w.at || at+want > w.at+int64(w.n) {
		n, _ := w.r.ReadAt(w.buf[:], at) // what cannot be read ends the message
		w.at, w.n = at, n
	}
	have := w.buf[at-w.at : w.n]
	return have[:min(want, int64(len(have)))]
}

// ownData is what [Save] calls data files: after the model and their content.
var ownData = regexp.MustCompile(`\.[0-9a-f]{16}(\.\d+)?\.data$`)

// ownLocations lists those data files in its folder that an open model file refers to and that Save
// has made.
func ownLocations(f *os.File) (list []string) {
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	for _, l := range locations(f, info.Size()) {
		if name := filepath.Clean(filepath.FromSlash(l)); filepath.Base(name) == name && ownData.MatchString(name) {
			list = append(list, name)
		}
	}
	return list
}

// unread drops those of some data files in a folder that a model file there refers to. What cannot
// be opened might; temporary files do not count.
func unread(dir string, names []string) (free []string) {
	if len(names) == 0 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	used := map[string]bool{}
	for _, e := range entries {
		if files.IsTemp(e.Name()) {
			continue
		}
		reads, err := readsOwn(filepath.Join(dir, e.Name()))
		if err != nil && filepath.Ext(e.Name()) == ".onnx" {
			return nil
		}
		for _, n := range reads {
			used[n] = true
		}
	}
	for _, n := range names {
		if info, err := os.Lstat(filepath.Join(dir, n)); err == nil && info.Mode().IsRegular() && !used[n] {
			free = append(free, n)
		}
	}
	return free
}

// readsOwn is ownLocations of a path; none of what is no file.
func readsOwn(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, ignoreMissing(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	defer f.Close()
	return ownLocations(f), nil
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
