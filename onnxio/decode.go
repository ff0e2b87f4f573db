package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Tensor decodes a tensor of the model from raw_data, from the typed fields or
// from its external file. The result shares no memory with tp.
func (m *Model) Tensor(tp *onnxpb.TensorProto) (*Tensor, error) {
	if tp == nil {
		return nil, errors.New("no tensor")
	}
	t, err := m.decodeTensor(tp)
	if err != nil {
		return nil, m.errorf("tensor %q: %w", tp.GetName(), err)
	}
	return t, nil
}

// Rows is Tensor for n rows of the first axis, from one on: a large tensor can be
// worked on without decoding all of it at once where it is stored as raw_data.
func (m *Model) Rows(tp *onnxpb.TensorProto, from, n int) (*Tensor, error) {
	if tp == nil {
		return nil, errors.New("no tensor")
	}
	if len(tp.Dims) == 0 || from < 0 || n < 0 || int64(from)+int64(n) > tp.Dims[0] {
		return nil, m.errorf("tensor %q: no rows %d to %d in %v", tp.GetName(), from, from+n, tp.Dims)
	}
	t, err := m.decodeRows(tp, from, n)
	if err != nil {
		return nil, m.errorf("tensor %q: %w", tp.GetName(), err)
	}
	return t, nil
}

func (m *Model) decodeTensor(tp *onnxpb.TensorProto) (*Tensor, error) {
	return m.decodeRows(tp, 0, -1)
}

// decodeRows decodes some rows of the first axis, all if n is negative.
func (m *Model) decodeRows(tp *onnxpb.TensorProto, from, n int) (*Tensor, error) {
	s, err := storageOf(tp)
	if err != nil {
		return nil, err
	}
	t := &Tensor{Name: tp.GetName(), Type: onnxpb.TensorProto_DataType(tp.GetDataType()), Dims: make([]int, len(tp.Dims))}
	for i, d := range tp.Dims {
		t.Dims[i] = int(d)
	}
	raw := tp.RawData
	switch s.kind {
	case inTyped:
		t.fromTyped(tp, s)
		if n >= 0 {
			t.cut(from, n)
		}
		return t, nil
	case inFile:
		if raw, err = m.readExternal(s); err != nil {
			return nil, err
		}
	}
	if n >= 0 {
		row := 0
		if t.Dims[0] > 0 {
			row = int(s.n) / t.Dims[0]
		}
		if row*s.dtype.bits%8 != 0 {
			t.fromRaw(raw, s)
			t.cut(from, n)
			return t, nil
		}
		bytes := row * s.dtype.bits / 8
		raw = raw[from*bytes : (from+n)*bytes]
		s.n, t.Dims[0] = int64(n*row), n
	}
	t.fromRaw(raw, s)
	return t, nil
}

// cut leaves n rows of the first axis.
func (t *Tensor) cut(from, n int) {
	row := 1
	for _, d := range t.Dims[1:] {
		row *= d
	}
	size := len(t.Raw) / max(1, row*t.Dims[0]) // of a complex number
	t.F32, t.F64, t.I64 = part(t.F32, from*row, n*row), part(t.F64, from*row, n*row), part(t.I64, from*row, n*row)
	t.Strings, t.Raw = part(t.Strings, from*row, n*row), part(t.Raw, from*row*size, n*row*size)
	t.Dims[0] = n
}

func part[T any](v []T, from, n int) []T {
	if v == nil {
		return nil
	}
	return v[from : from+n]
}

// fromRaw decodes raw_data whose length was checked.
func (t *Tensor) fromRaw(raw []byte, s storage) {
	n, bits := int(s.n), s.dtype.bits
	switch s.dtype.family {
	case rawFamily:
		t.Raw = append([]byte{}, raw...)
	case f64Family:
		t.F64 = make([]float64, n)
		decodeNumbers(t.F64, raw, decode64)
	case i64Family:
		t.I64 = make([]int64, n)
		for i := range t.I64 {
			t.I64[i] = s.dtype.integer(unpackBits(raw, i, bits))
		}
	case f32Family:
		t.F32 = make([]float32, n)
		if t.Type == onnxpb.TensorProto_FLOAT {
			decodeNumbers(t.F32, raw, decode32)
			return
		}
		value := floatDecoder(t.Type)
		for i := range t.F32 {
			t.F32[i] = value(uint32(unpackBits(raw, i, bits)))
		}
	}
}

// integer extends a code to 64 bits.
func (d dtype) integer(code uint64) int64 {
	shift := 64 - d.bits
	if d.signed {
		return int64(code<<shift) >> shift
	}
	return int64(code << shift >> shift)
}

func floatDecoder(typ onnxpb.TensorProto_DataType) func(uint32) float32 {
	if f, ok := minifloatOf(typ); ok {
		return f.decode
	}
	return decodeE8M0
}

// fromTyped decodes the typed field that goes with the type.
func (t *Tensor) fromTyped(tp *onnxpb.TensorProto, s storage) {
	switch {
	case t.Type == onnxpb.TensorProto_STRING:
		t.Strings = make([][]byte, len(tp.StringData))
		for i, v := range tp.StringData {
			t.Strings[i] = append([]byte{}, v...)
		}
	case t.Type == onnxpb.TensorProto_FLOAT:
		t.F32 = append([]float32{}, tp.FloatData...)
	case t.Type == onnxpb.TensorProto_DOUBLE:
		t.F64 = append([]float64{}, tp.DoubleData...)
	case t.Type == onnxpb.TensorProto_INT64:
		t.I64 = append([]int64{}, tp.Int64Data...)
	case t.Type == onnxpb.TensorProto_UINT64, t.Type == onnxpb.TensorProto_UINT32:
		t.I64 = make([]int64, len(tp.Uint64Data))
		for i, v := range tp.Uint64Data {
			t.I64[i] = s.dtype.integer(v)
		}
	case t.Type == onnxpb.TensorProto_COMPLEX64:
		for _, v := range tp.FloatData {
			t.Raw = binary.LittleEndian.AppendUint32(t.Raw, math.Float32bits(v))
		}
	case t.Type == onnxpb.TensorProto_COMPLEX128:
		for _, v := range tp.DoubleData {
			t.Raw = binary.LittleEndian.AppendUint64(t.Raw, math.Float64bits(v))
		}
	case s.dtype.bits == 4 || s.dtype.bits == 2:
		// int32_data holds one byte of packed elements each.
		raw := make([]byte, len(tp.Int32Data))
		for i, v := range tp.Int32Data {
			raw[i] = byte(v)
		}
		t.fromRaw(raw, s)
	case s.dtype.family == f32Family:
		t.F32 = make([]float32, len(tp.Int32Data))
		value, mask := floatDecoder(t.Type), uint32(1)<<s.dtype.bits-1
		for i, v := range tp.Int32Data {
			t.F32[i] = value(uint32(v) & mask)
		}
	default:
		t.I64 = make([]int64, len(tp.Int32Data))
		for i, v := range tp.Int32Data {
			t.I64[i] = s.dtype.integer(uint64(v))
		}
	}
}

// storage says where the elements of a tensor lie.
type storage struct {
	kind  storageKind
	dtype dtype
	n     int64 // elements
	file  external
}

type storageKind uint8

const (
	inRaw storageKind = iota
	inTyped
	inFile
)

// storageOf checks a tensor's dims, type and payload length against each
// other, before anything is allocated, and says where the payload is.
func storageOf(tp *onnxpb.TensorProto) (storage, error) {
	var s storage
	var err error
	typ := onnxpb.TensorProto_DataType(tp.GetDataType())
	if s.dtype, err = dtypeOf(typ); err != nil {
		return s, err
	}
	if s.n, err = elements(tp.Dims); err != nil {
		return s, err
	}
	if tp.Segment != nil {
		return s, errors.New("tensors stored in segments are not supported")
	}
	need := s.dtype.bytes(s.n)
	if tp.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		if typ == onnxpb.TensorProto_STRING {
			return s, errors.New("strings cannot be external data")
		}
		s.kind = inFile
		s.file, err = externalOf(tp, need)
		return s, err
	}
	field, have, want := typedField(tp, s)
	if other := otherField(tp, field); other != "" {
		return s, fmt.Errorf("%s does not go with %v", other, typ)
	}
	if len(tp.RawData) > 0 {
		if typ == onnxpb.TensorProto_STRING {
			return s, errors.New("raw_data does not go with STRING")
		}
		if have > 0 {
			return s, fmt.Errorf("both raw_data and %s are set", field)
		}
		if int64(len(tp.RawData)) != need {
			return s, fmt.Errorf("raw_data holds %d bytes, dims %v of %v need %d", len(tp.RawData), tp.Dims, typ, need)
		}
		return s, nil
	}
	s.kind = inTyped
	if int64(have) != want {
		return s, fmt.Errorf("%s holds %d values, dims %v of %v need %d", field, have, tp.Dims, typ, want)
	}
	return s, nil
}

// typedField returns the name of the typed field that goes with a tensor's
// type, its length, and the length that dims ask for.
func typedField(tp *onnxpb.TensorProto, s storage) (field string, have int, want int64) {
	switch onnxpb.TensorProto_DataType(tp.GetDataType()) {
	case onnxpb.TensorProto_FLOAT:
		return "float_data", len(tp.FloatData), s.n
	case onnxpb.TensorProto_COMPLEX64:
		return "float_data", len(tp.FloatData), 2 * s.n
	case onnxpb.TensorProto_DOUBLE:
		return "double_data", len(tp.DoubleData), s.n
	case onnxpb.TensorProto_COMPLEX128:
		return "double_data", len(tp.DoubleData), 2 * s.n
	case onnxpb.TensorProto_INT64:
		return "int64_data", len(tp.Int64Data), s.n
	case onnxpb.TensorProto_UINT32, onnxpb.TensorProto_UINT64:
		return "uint64_data", len(tp.Uint64Data), s.n
	case onnxpb.TensorProto_STRING:
		return "string_data", len(tp.StringData), s.n
	}
	want = s.n
	if s.dtype.bits < 5 {
		want = s.dtype.bytes(s.n)
	}
	return "int32_data", len(tp.Int32Data), want
}

// otherField names a typed field that is filled although it is not field.
func otherField(tp *onnxpb.TensorProto, field string) string {
	for _, f := range []struct {
		name string
		n    int
	}{
		{"float_data", len(tp.FloatData)}, {"int32_data", len(tp.Int32Data)}, {"string_data", len(tp.StringData)},
		{"int64_data", len(tp.Int64Data)}, {"double_data", len(tp.DoubleData)}, {"uint64_data", len(tp.Uint64Data)},
	} {
		if f.n > 0 && f.name != field {
			return f.name
		}
	}
	return ""
}
