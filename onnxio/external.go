package onnxio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// external is a stretch of bytes in a file beside the model.
type external struct {
	location       string // relative path with forward slashes
	offset, length int64  // bytes
}

// externalOf reads the reference of a tensor that needs some bytes.
func externalOf(tp *onnxpb.TensorProto, need int64) (external, error) {
	x := external{length: need}
	for _, e := range tp.ExternalData {
		var err error
		switch e.GetKey() {
		case "location":
			x.location = e.GetValue()
		case "offset":
			x.offset, err = parseSize("offset", e.GetValue())
		case "length":
			x.length, err = parseSize("length", e.GetValue())
		}
		if err != nil {
			return x, err
		}
	}
	if x.length != need {
		return x, fmt.Errorf("external data of %d bytes, dims %v of %v need %d",
			x.length, tp.Dims, onnxpb.TensorProto_DataType(tp.GetDataType()), need)
	}
	return x, checkLocation(x.location)
}

func parseSize(key, s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("external data: %s %q is not a byte count", key, s)
	}
	return n, nil
}

// checkLocation refuses paths that could lead out of the model's folder.
func checkLocation(location string) error {
	switch {
	case location == "":
		return errors.New("external data without a location")
	case !filepath.IsLocal(filepath.FromSlash(location)),
		slices.Contains(strings.FieldsFunc(location, func(r rune) bool { return r == '/' || r == '\\' }), ".."):
		return fmt.Errorf("external data at %q: a location must be a relative path without \"..\"", location)
	}
	return nil
}

// openExternal opens a data file. Symbolic links that leave the model's folder are refused by
// [os.Root].
func (m *Model) openExternal(location string) (*os.File, int64, error) {
	if m.Dir == "" {
		return nil, 0, fmt.Errorf("external data at %q, but the model has no folder", location)
	}
	return openIn(m.Dir, filepath.FromSlash(location))
}

// settle makes a model that was loaded through a symbolic link, as from the cache of a hub, one of
// the folder of the file that the link leads to, if that is where its data are: each data file stands
// there itself, or a link beside the model's link leads to it. Where all data are found beside the
// link nothing changes.
func (m *Model) settle() {
	real, err := filepath.EvalSymlinks(m.Path)
	if err != nil || filepath.Dir(real) == filepath.Clean(m.Dir) {
		return
	}
	folder := filepath.Dir(real)
	names := map[*onnxpb.StringStringEntryProto]string{}
	missing := false
	for _, t := range contentsOf(m.Proto).tensors {
		for _, e := range t.ExternalData {
			if e.GetKey() != "location" || checkLocation(e.GetValue()) != nil {
				continue
			}
			name := filepath.FromSlash(e.GetValue())
			missing = missing || !opens(m.Dir, name)
			if beside, err := filepath.EvalSymlinks(filepath.Join(m.Dir, name)); err == nil {
				if name, err = filepath.Rel(folder, beside); err != nil {
					return
				}
			}
			if names[e] = filepath.ToSlash(name); !opens(folder, name) {
				return
			}
		}
	}
	if !missing {
		return
	}
	m.Dir = folder
	for e, name := range names {
		e.Value = &name
	}
}

// opens reports whether there is a file in a folder.
func opens(folder, name string) bool {
	f, _, err := openIn(folder, name)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// openIn opens a file in a folder, and nothing outside of it.
func openIn(folder, name string) (*os.File, int64, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	// Stat before opening: to open a pipe would wait for a writer.
	info, err := root.Stat(name)
	if err != nil {
		return nil, 0, fmt.Errorf("external data: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("external data at %q: not a regular file", filepath.ToSlash(name))
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("external data: %w", err)
	}
	return f, info.Size(), nil
}

// check reports whether the stretch lies within a file of that size.
func (x external) check(size int64) error {
	if x.offset > size || x.length > size-x.offset {
		return fmt.Errorf("external data at %q: %d bytes from %d on, but the file has %d", x.location, x.length, x.offset, size)
	}
	return nil
}

// section opens the stretch for reading.
func (m *Model) section(x external) (*io.SectionReader, io.Closer, error) {
	if m.scratch.holds(x.location) {
		return io.NewSectionReader(m.scratch.file, x.offset, x.length), io.NopCloser(nil), nil
	}
	f, size, err := m.openExternal(x.location)
	if err != nil {
		return nil, nil, err
	}
	if err := x.check(size); err != nil {
		f.Close()
		return nil, nil, err
	}
	return io.NewSectionReader(f, x.offset, x.length), f, nil
}

// copyExternal writes the stretch to w, piece by piece.
func (m *Model) copyExternal(w io.Writer, x external) error {
	r, c, err := m.section(x)
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := io.Copy(w, r)
	if err == nil && n != x.length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("external data at %q: %w", x.location, err)
	}
	return nil
}

func (m *Model) readExternal(x external) ([]byte, error) {
	r, c, err := m.section(x)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	raw := make([]byte, x.length)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("external data at %q: %w", x.location, err)
	}
	return raw, nil
}
