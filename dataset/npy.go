package dataset

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// labelsName is the array of an .npz file that holds the classes; otherNames are what else it is
// called.
const labelsName = "labels"

var otherNames = []string{"label", "y", "targets", "target", "y_test", "y_train", "classes"}

// labelsIn returns the name of the array that holds the classes: labels, or an array of another
// usual name that is nothing but integers, one per sample, beside others that are. "" if there is
// none.
func labelsIn(headers map[string]header, n int) string {
	if _, ok := headers[labelsName]; ok {
		return labelsName
	}
	for _, name := range otherNames {
		h, ok := headers[name]
		if ok && len(headers) > 1 && len(h.dims) > 0 && h.dims[0] == n && engine.Count(h.dims) == n && onnxio.IsInteger(h.typ) {
			return name
		}
	}
	return ""
}

// maxHeader bounds the header of an array, in bytes. NumPy writes 128.
const maxHeader = 1 << 16

// wellFormed is the form of every header that NumPy writes. Nothing else is read.
var wellFormed = regexp.MustCompile(
	`^\{'descr': '([<>|=])([a-zA-Z][0-9]*)', 'fortran_order': (True|False), 'shape': \(((?:[0-9]+(?:, ?[0-9]+)*,?)?)\), \} *\n$`)

// A selection says which rows of a file are kept. The zero value keeps all.
type selection struct {
	rows  []int // ascending; nil for all
	order []int // the kept rows in the order in which they are samples, as indices into rows
}

// choose applies Options to n rows, where n is what a file claims.
func choose(n int, o Options) selection {
	if o.Limit <= 0 || o.Limit >= n {
		return selection{}
	}
	first := FirstShuffled(n, o.Limit, o.Seed)
	s := selection{rows: slices.Sorted(slices.Values(first))}
	for _, row := range first {
		i, _ := slices.BinarySearch(s.rows, row)
		s.order = append(s.order, i)
	}
	return s
}

// samples is the order of a data set of n rows after the selection.
func (s selection) samples(n int) []int {
	if s.rows == nil {
		return FirstShuffled(n, n, FileOrder)
	}
	return s.order
}

// openNPY reads a single array.
func openNPY(path string, o Options) (*Data, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h, err := readHeader(f)
	if err != nil {
		return nil, err
	}
	if len(h.dims) == 0 {
		return nil, errors.New("the array has no axes, hence no samples")
	}
	s := choose(h.dims[0], o)
	var r io.Reader = f // of which rows are skipped without being read
	if s.rows == nil {
		r = bufio.NewReader(f)
	}
	a, err := h.read(r, s.rows, info.Size(), o.room())
	if err != nil {
		return nil, err
	}
	a.title = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return &Data{columns: []column{a}, rows: s.rows, order: s.samples(a.dims[0])}, nil
}

// openNPZ reads the arrays that are samples: those as long as the labels, or without labels as the
// longest, and those without axes. The others are left out, with the reason.
func openNPZ(path string, o Options) (*Data, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	left, room := unpackedLimit(info.Size()), o.room()
	headers := map[string]header{}
	for _, f := range z.File {
		key, isArray := strings.CutSuffix(f.Name, ".npy")
		if !isArray {
			continue
		}
		if _, twice := headers[key]; twice {
			return nil, fmt.Errorf("array %q: is in the file twice", key)
		}
		h, err := headerOf(f)
		if err != nil {
			return nil, fmt.Errorf("array %q: %w", key, err)
		}
		headers[key] = h
	}
	n := rowsOf(headers)
	d := &Data{left: map[string]string{}}
	s := choose(n, o)
	labels := labelsIn(headers, n)
	for _, key := range slices.Sorted(maps.Keys(headers)) {
		h := headers[key]
		switch {
		case h.typ == onnxpb.TensorProto_UNDEFINED:
			d.left[key] = fmt.Sprintf("its elements (%s) are not numbers", h.descr)
			continue
		case len(h.dims) > 0 && h.dims[0] != n:
			d.left[key] = fmt.Sprintf("it has %d rows, the data set has %d samples", h.dims[0], n)
			continue
		}
		a, err := h.readFrom(z, key, s.rows, left, room)
		if err != nil {
			return nil, fmt.Errorf("array %q: %w", key, err)
		}
		left, room = left-int64(len(a.raw)), room-int64(len(a.raw))
		if key != labels {
			d.columns = append(d.columns, a)
			continue
		}
		if d.labels, err = labelsOf(a); err != nil {
			return nil, fmt.Errorf("array %q: %w", key, err)
		}
		if key != labelsName {
			d.labelled = a // a model may have an input of that name
			d.remarks = append(d.remarks, fmt.Sprintf("%s: array %q is taken for the labels", path, key))
		}
	}
	if !slices.ContainsFunc(d.columns, func(c column) bool { return len(c.(*array).dims) > 0 }) {
		return nil, errors.New("no array of samples in it")
	}
	d.rows, d.order = s.rows, s.samples(n)
	return d, nil
}

// unpackedLimit is how many bytes the arrays of an .npz file of some size may have together: what
// Deflate can make of it, which shrinks to 1/1032 at best, but if that is more than a gigabyte no
// more than a hundred times the file. Whatever shrinks further are not data but the same byte again
// and again.
func unpackedLimit(size int64) int64 { return min(1032*size, max(1<<30, 100*size)) }

// rowsOf is the number of samples of an .npz file: as many as labels, or as the longest array of
// numbers has rows.
func rowsOf(headers map[string]header) int {
	if h, ok := headers[labelsName]; ok && len(h.dims) > 0 {
		return h.dims[0]
	}
	n := 0
	for _, h := range headers {
		if len(h.dims) > 0 && h.typ != onnxpb.TensorProto_UNDEFINED {
			n = max(n, h.dims[0])
		}
	}
	return n
}

// labelsOf reads the classes of all samples: integers, with one axis, or a second one of size 1.
func labelsOf(a *array) ([]int, error) {
	if len(a.dims) == 0 || engine.Count(a.dims) != a.dims[0] || !onnxio.IsInteger(a.typ) {
		return nil, fmt.Errorf("%v of shape %s: labels are integers, one per sample", a.typ, engine.DimString(a.dims))
	}
	v, err := plain(a.typ, a.raw, a.dims)
	if err != nil {
		return nil, err
	}
	labels := make([]int, len(v.I64))
	for i, x := range v.I64 {
		labels[i] = int(x)
	}
	return labels, nil
}

// A header says what an array of a NumPy file holds.
type header struct {
	descr   string       // NumPy's name of the element type
	typ     engine.DType // UNDEFINED if the elements are not numbers
	swap    bool         // big-endian
	fortran bool         // first axis fastest
	dims    []int
}

// readHeader reads the head of an .npy file. It allocates no more than maxHeader bytes.
func readHeader(r io.Reader) (header, error) {
	truncated := errors.New("truncated header")
	lead := make([]byte, 12)
	if _, err := io.ReadFull(r, lead[:10]); err != nil {
		return header{}, truncated
	}
	size := int(binary.LittleEndian.Uint16(lead[8:]))
	if lead[6] > 1 { // format 2 has a length of four bytes
		if _, err := io.ReadFull(r, lead[10:]); err != nil {
			return header{}, truncated
		}
		size = int(binary.LittleEndian.Uint32(lead[8:]))
	}
	switch {
	case string(lead[:6]) != "\x93NUMPY":
		return header{}, errors.New("not a NumPy file")
	case lead[6] < 1 || lead[6] > 2:
		return header{}, fmt.Errorf("format %d is not supported", lead[6])
	case size > maxHeader:
		return header{}, fmt.Errorf("header of %d bytes", size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, truncated
	}
	found := wellFormed.FindSubmatch(text)
	if found == nil {
		return header{}, fmt.Errorf("unsupported header %q", bytes.TrimSpace(text))
	}
	typ := string(found[2])
	h := header{descr: string(found[1]) + typ, typ: npyTypes[typ], swap: found[1][0] == '>', fortran: found[3][0] == 'T'}
	for _, d := range strings.FieldsFunc(string(found[4]), func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(d)
		if err != nil {
			return header{}, err
		}
		h.dims = append(h.dims, n)
	}
	return h, nil
}

// headerOf reads the head of an array of an .npz file.
func headerOf(f *zip.File) (header, error) {
	r, err := f.Open()
	if err != nil {
		return header{}, err
	}
	defer r.Close()
	return readHeader(r)
}

// npyTypes maps NumPy's names, without the byte order, to element types.
var npyTypes = map[string]engine.DType{
	"b1": onnxpb.TensorProto_BOOL,
	"i1": onnxpb.TensorProto_INT8, "i2": onnxpb.TensorProto_INT16, "i4": onnxpb.TensorProto_INT32, "i8": onnxpb.TensorProto_INT64,
	"u1": onnxpb.TensorProto_UINT8, "u2": onnxpb.TensorProto_UINT16, "u4": onnxpb.TensorProto_UINT32, "u8": onnxpb.TensorProto_UINT64,
	"f2": onnxpb.TensorProto_FLOAT16, "f4": onnxpb.TensorProto_FLOAT, "f8": onnxpb.TensorProto_DOUBLE,
}

// readFrom reads an array of an .npz file.
func (h header) readFrom(z *zip.ReadCloser, key string, rows []int, limit, room int64) (*array, error) {
	if n := h.bytes(); n > float64(limit) {
		return nil, fmt.Errorf("shape %s needs %.0f bytes, far more than data of a file of this size unpack to", engine.DimString(h.dims), n)
	}
	f, err := z.Open(key + ".npy")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if _, err := readHeader(r); err != nil {
		return nil, err
	}
	a, err := h.read(r, rows, limit, room)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the checksum is compared at the end
		return nil, err
	}
	a.title = key
	return a, nil
}

// bytes is what all elements take; the product may overflow an int.
func (h header) bytes() float64 {
	total := float64(onnxio.StoredBytes(h.typ, 1))
	for _, d := range h.dims {
		total *= float64(d)
	}
	return total
}

// read reads the elements that follow the header: some rows (ascending), or all if rows is nil. The
// file can hold limit bytes at most; no more than room are allocated, or in Fortran order twice as
// much for a while.
func (h header) read(r io.Reader, rows []int, limit, room int64) (*array, error) {
	if h.typ == onnxpb.TensorProto_UNDEFINED {
		return nil, fmt.Errorf("its elements (%s) are not numbers", h.descr)
	}
	a := &array{typ: h.typ, dims: slices.Clone(h.dims)}
	total := h.bytes()
	switch {
	case total == 0:
		return nil, fmt.Errorf("shape %s has no elements", engine.DimString(h.dims))
	case total > float64(limit):
		return nil, fmt.Errorf("truncated: shape %s needs %.0f bytes", engine.DimString(h.dims), total)
	}
	pick := rows != nil && len(h.dims) > 0
	kept := total
	if pick {
		kept *= float64(len(rows)) / float64(h.dims[0])
		a.dims[0] = len(rows)
	}
	if kept > float64(room) {
		return nil, fmt.Errorf("shape %s takes %.3g GB of memory, and there are %.3g GB for it (--limit reads fewer samples)", engine.DimString(a.dims), kept/1e9, float64(room)/1e9)
	}
	var err error
	switch {
	case pick && h.fortran:
		a.raw, err = readColumns(r, rows, h.dims[0], int(total)/h.dims[0]/a.width(), a.width())
	case pick:
		a.raw, err = readRows(r, rows, int(total)/h.dims[0])
	default:
		a.raw = make([]byte, int(total))
		_, err = io.ReadFull(r, a.raw)
	}
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("truncated: shape %s promises more than there is", engine.DimString(h.dims))
	case err != nil:
		return nil, err
	}
	if h.fortran {
		a.raw = rowMajor(a.raw, a.dims, a.width())
	}
	if h.swap {
		for w, i := a.width(), 0; i < len(a.raw); i += w {
			slices.Reverse(a.raw[i : i+w])
		}
	}
	return a, nil
}

// readRows reads some rows of so many bytes.
func readRows(r io.Reader, rows []int, size int) ([]byte, error) {
	out := make([]byte, len(rows)*size)
	at := 0
	for i, want := range rows {
		if err := skip(r, int64(want-at)*int64(size)); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(r, out[i*size:(i+1)*size]); err != nil {
			return nil, err
		}
		at = want + 1
	}
	return out, nil
}

// mostGap is how many bytes that are not wanted are read, rather than passed over.
const mostGap = 1 << 14

// readColumns reads some of the n rows of an array whose first axis is the fastest: of each column of
// n elements, one after the other, those that lie near each other at once.
func readColumns(r io.Reader, rows []int, n, columns, width int) ([]byte, error) {
	out := make([]byte, 0, columns*len(rows)*width)
	var run []byte
	for range columns {
		at := 0
		for i := 0; i < len(rows); {
			from, end := rows[i], i
			for end < len(rows) && (end == i || (rows[end]-rows[end-1])*width <= mostGap) && (rows[end]-from+1)*width <= 64*mostGap {
				end++
			}
			if err := skip(r, int64(from-at)*int64(width)); err != nil {
				return nil, err
			}
			at = rows[end-1] + 1
			run = slices.Grow(run[:0], (at-from)*width)[:(at-from)*width]
			if _, err := io.ReadFull(r, run); err != nil {
				return nil, err
			}
			for ; i < end; i++ {
				out = append(out, run[(rows[i]-from)*width:][:width]...)
			}
		}
		if err := skip(r, int64(n-at)*int64(width)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// skip passes over some bytes, without reading them where that can be.
func skip(r io.Reader, n int64) error {
	if n == 0 {
		return nil
	}
	if s, ok := r.(io.Seeker); ok {
		if _, err := s.Seek(n, io.SeekCurrent); err == nil {
			return nil
		}
	}
	_, err := io.CopyN(io.Discard, r, n)
	return err
}

// rowMajor copies elements of some width out of an array whose first axis is the fastest.
func rowMajor(raw []byte, dims []int, width int) []byte {
	out := make([]byte, 0, len(raw))
	n := len(raw) / width
	for i := range n {
		at, rest, stride := 0, i, n
		for _, d := range slices.Backward(dims) {
			stride /= d
			at += rest % d * stride
			rest /= d
		}
		out = append(out, raw[at*width:(at+1)*width]...)
	}
	return out
}
