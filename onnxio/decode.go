package onnxio

import (
	"errors"
	"fmt"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Tensor decodes a tensor of the model from raw_data, from the typed fields or from its external
// file. The result shares no memory with tp.
func (m *Model) Tensor(tp *onnxpb.TensorProto) (*Tensor, error) { return m.decode(tp, 0, -1) }

// Rows is Tensor for n rows of the first axis, from one on: a large tensor can be worked on without
// decoding all of it at once.
func (m *Model) Rows(tp *onnxpb.TensorProto, from, n int) (*Tensor, error) {
	if tp != nil && (len(tp.Dims) == 0 || from < 0 || n < 0 || int64(from)+int64(n) > tp.Dims[0]) {
		return nil, m.errorf("tensor %q: no rows %d to %d in %v", tp.GetName(), from, from+n, tp.Dims)
	}
	return m.decode(tp, from, n)
}

// decode decodes some rows of the first axis, all if n is negative.
func (m *Model) decode(tp *onnxpb.TensorProto, from, n int) (*Tensor, error) {
	if tp == nil {
		return nil, errors.New("no tensor")
	}
	s, err := storageOf(tp)
	var raw []byte
	if err == nil {
		raw, err = m.raw(tp, s)
	}
	if err != nil {
		return nil, m.errorf("tensor %q: %w", tp.GetName(), err)
	}
	t := &Tensor{Name: tp.GetName(), Type: onnxpb.TensorProto_DataType(tp.GetDataType())}
	t.Dims = convert(tp.Dims, func(d int64) int { return int(d) })
	end := int(s.n)
	if n >= 0 {
		row := end / max(1, t.Dims[0])
		from, end, t.Dims[0] = from*row, (from+n)*row, n
	}
	if s.dtype.family == stringFamily {
		t.Strings = convert(tp.StringData[from:end], func(v []byte) []byte { return append([]byte{}, v...) })
	} else {
		t.fromRaw(raw, s.dtype, from, end)
	}
	return t, nil
}

// fromRaw decodes the elements from one on to before another of raw_data whose length was checked.
func (t *Tensor) fromRaw(raw []byte, d dtype, from, end int) {
	if d.bits >= 8 {
		raw = raw[from*d.bits/8 : end*d.bits/8]
		from, end = 0, end-from
	}
	switch {
	case d.family == rawFamily:
		t.Raw = append([]byte{}, raw...)
	case d.family == f64Family:
		t.F64 = decodeNumbers[float64](raw)
	case t.Type == Float:
		t.F32 = decodeNumbers[float32](raw)
	case d.family == i64Family && d.bits == 64:
		t.I64 = decodeNumbers[int64](raw)
	case d.family == i64Family:
		t.I64 = unpackBits(raw, d.bits, from, end, d.integer)
	default:
		decode, _ := codingOf(t.Type)
		t.F32 = unpackBits(raw, d.bits, from, end, decode)
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

// raw returns a tensor's elements as raw_data has them, nil of strings. It may be memory of tp.
func (m *Model) raw(tp *onnxpb.TensorProto, s storage) ([]byte, error) {
	switch {
	case s.kind == inRaw:
		return tp.RawData, nil
	case s.kind == inFile:
		return m.readExternal(s.file)
	}
	switch s.dtype.field {
	case "string_data":
		return nil, nil
	case "float_data":
		return encodeNumbers(tp.FloatData), nil
	case "double_data":
		return encodeNumbers(tp.DoubleData), nil
	case "int64_data":
		return encodeNumbers(tp.Int64Data), nil
	case "uint64_data":
		return packBits(tp.Uint64Data, s.dtype.bits, func(v uint64) uint64 { return v }), nil
	}
	bits := s.dtype.bits
	if bits < 5 {
		bits = 8 // a byte of packed elements each
	}
	return packBits(tp.Int32Data, bits, func(v int32) uint64 { return uint64(v) }), nil
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

// storageOf checks a tensor's dims, type and payload length against each other, before anything is
// allocated, and says where the payload is.
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
	field, have := s.dtype.field, 0
	for _, f := range [...]struct {
		name string
		n    int
	}{
		{"float_data", len(tp.FloatData)}, {"int32_data", len(tp.Int32Data)}, {"string_data", len(tp.StringData)},
		{"int64_data", len(tp.Int64Data)}, {"double_data", len(tp.DoubleData)}, {"uint64_data", len(tp.Uint64Data)},
	} {
		switch {
		case f.name == field:
			have = f.n
		case f.n > 0:
			return s, fmt.Errorf("%s does not go with %v", f.name, typ)
		}
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
	if want := s.dtype.fieldLen(s.n); int64(have) != want {
		return s, fmt.Errorf("%s holds %d values, dims %v of %v need %d", field, have, tp.Dims, typ, want)
	}
	return s, nil
}
