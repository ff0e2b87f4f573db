package dataset

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// An array is a column whose samples lie in memory, in the type in which they were stored, little-endian, row major.
type array struct {
	title string
	typ   engine.DType
	dims  []int // of the whole array; the first axis is the sample, unless there is none
	raw   []byte
}

func (a *array) name() string { return a.title }

// width is the number of bytes of an element.
func (a *array) width() int { return elemBytes(a.typ) }

func elemBytes(t engine.DType) int {
	switch t {
	case onnxpb.TensorProto_BOOL, onnxpb.TensorProto_INT8, onnxpb.TensorProto_UINT8:
		return 1
	case onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16, onnxpb.TensorProto_INT16, onnxpb.TensorProto_UINT16:
		return 2
	case onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_INT32, onnxpb.TensorProto_UINT32:
		return 4
	case onnxpb.TensorProto_DOUBLE, onnxpb.TensorProto_INT64, onnxpb.TensorProto_UINT64:
		return 8
	}
	return 0
}

// gather copies the bytes of some samples, one after the other.
func (a *array) gather(samples []int) []byte {
	row := engine.Count(a.dims[1:]) * a.width()
	out := make([]byte, 0, len(samples)*row)
	for _, s := range samples {
		out = append(out, a.raw[s*row:(s+1)*row]...)
	}
	return out
}

// bind matches the array with an input by its rank: the same rank is stacked samples, one more is complete inputs, none at
// all is a constant.
func (a *array) bind(in engine.IOInfo, p Preprocess) (binding, error) {
	switch rank := len(in.Dims); {
	case len(a.dims) == 0:
		if err := fits(in, nil, 0); err != nil {
			return binding{}, err
		}
		return binding{read: func([]int) (*engine.Value, error) { return a.value(a.raw, nil, in, p) }}, nil
	case in.Dims != nil && len(a.dims) == rank+1:
		if err := fits(in, a.dims[1:], 0); err != nil {
			return binding{}, err
		}
		return binding{whole: true, read: func(samples []int) (*engine.Value, error) {
			return a.value(a.gather(samples), a.dims[1:], in, p)
		}}, nil
	}
	if err := fits(in, a.dims, 1); err != nil {
		if b, ok := a.bindTurned(in, p); ok {
			return b, nil
		}
		return binding{}, err
	}
	return binding{read: func(samples []int) (*engine.Value, error) {
		dims := append([]int{len(samples)}, a.dims[1:]...)
		return a.value(a.gather(samples), dims, in, p)
	}}, nil
}

// bindTurned matches images whose channels are another axis than the input's, or that lack the axis of a single channel.
func (a *array) bindTurned(in engine.IOInfo, p Preprocess) (binding, bool) {
	if len(in.Dims) != 4 {
		return binding{}, false
	}
	if len(a.dims) == 3 {
		for _, axis := range []int{1, 3} {
			b := *a
			if b.dims = slices.Insert(slices.Clone(a.dims), axis, 1); in.Dims[axis] == 1 && fits(in, b.dims, 1) == nil {
				out, err := b.bind(in, p)
				out.note = fmt.Sprintf("array %q %s has no axis of channels: it is fed as %s", a.title, engine.DimString(a.dims), engine.DimString(b.dims))
				return out, err == nil
			}
		}
		return binding{}, false
	}
	for _, order := range [][]int{{0, 3, 1, 2}, {0, 2, 3, 1}} {
		to := make([]int, len(order))
		for k, from := range order {
			if from >= len(a.dims) {
				return binding{}, false
			}
			to[k] = a.dims[from]
		}
		channels := a.dims[3]
		if order[1] != 3 {
			channels = a.dims[1]
		}
		if channels != 1 && channels != 3 && channels != 4 || fits(in, to, 1) != nil {
			continue
		}
		return binding{
			note: fmt.Sprintf("array %q %s has its channels elsewhere than input %q %s: it is turned to %s", a.title, engine.DimString(a.dims), in.Name, in.Shape(), engine.DimString(to)),
			read: func(samples []int) (*engine.Value, error) {
				v, err := a.value(a.gather(samples), append([]int{len(samples)}, a.dims[1:]...), in, p)
				if err != nil {
					return nil, err
				}
				return turned(v, order), nil
			},
		}, true
	}
	return binding{}, false
}

// turned returns a value of rank 4 with its axes in another order.
func turned(v *engine.Value, order []int) *engine.Value {
	out := &engine.Value{Name: v.Name, Type: v.Type, Dims: make([]int, 4)}
	strides := []int{v.Dims[1] * v.Dims[2] * v.Dims[3], v.Dims[2] * v.Dims[3], v.Dims[3], 1}
	var step [4]int
	for k, from := range order {
		out.Dims[k], step[k] = v.Dims[from], strides[from]
	}
	at := make([]int, 0, v.Len())
	for n := range out.Dims[0] {
		for i := range out.Dims[1] {
			for j := range out.Dims[2] {
				for k := range out.Dims[3] {
					at = append(at, n*step[0]+i*step[1]+j*step[2]+k*step[3])
				}
			}
		}
	}
	if v.F32 != nil {
		out.F32 = pick(v.F32, at)
	}
	if v.F64 != nil {
		out.F64 = pick(v.F64, at)
	}
	if v.I64 != nil {
		out.I64 = pick(v.I64, at)
	}
	return out
}

func (a *array) value(raw []byte, dims []int, in engine.IOInfo, p Preprocess) (*engine.Value, error) {
	return decode(a.typ, raw, dims, in.Type, p)
}

// fits compares sizes with an input's, from axis on.
func fits(in engine.IOInfo, dims []int, axis int) error {
	if in.Dims == nil {
		return nil
	}
	ok := len(dims) == len(in.Dims)
	for k := axis; ok && k < len(dims); k++ {
		ok = in.Dims[k] < 0 || int(in.Dims[k]) == dims[k]
	}
	if !ok {
		hint := ""
		if have, want := engine.Count(dims[min(1, len(dims)):]), sizeOf(in.Dims[min(1, len(in.Dims)):]); have == want && axis > 0 {
			hint = ": reshape the array, it has the right number of elements"
		}
		return fmt.Errorf("shape %s does not fit input %q %s%s", engine.DimString(dims), in.Name, in.Shape(), hint)
	}
	return nil
}

// sizeOf is the number of elements of an input; 0 or less where a size is free.
func sizeOf(dims []int64) int {
	n := int64(1)
	for _, d := range dims {
		if d < 0 {
			return -1
		}
		n *= d
	}
	return int(n)
}

// decode makes a value of raw little-endian elements: preprocessed if the target is a floating-point type, then cast.
func decode(typ engine.DType, raw []byte, dims []int, target engine.DType, p Preprocess) (*engine.Value, error) {
	if target == onnxpb.TensorProto_UNDEFINED {
		target = onnxpb.TensorProto_FLOAT
	}
	if !onnxio.IsFloat(target) || !p.changes() {
		v, err := plain(typ, raw, dims)
		if err != nil {
			return nil, err
		}
		return engine.Cast(v, target)
	}
	at, err := elementAt(typ, raw)
	if err != nil {
		return nil, err
	}
	axis, err := p.axis(dims)
	if err != nil {
		return nil, err
	}
	v := &engine.Value{Type: target, Dims: dims}
	n := engine.Count(dims)
	if engine.KindOf(target) == engine.KindFloat64 {
		v.F64 = make([]float64, n)
		eachChannel(dims, axis, func(c, from, to int) { transform(v.F64[from:to], at, from, p.channel(c)) })
	} else {
		v.F32 = make([]float32, n)
		eachChannel(dims, axis, func(c, from, to int) { transform(v.F32[from:to], at, from, p.channel(c)) })
	}
	return v, nil
}

// eachChannel calls f for every run of elements that share a channel.
func eachChannel(dims []int, axis int, f func(channel, from, to int)) {
	n := engine.Count(dims)
	if axis == 0 {
		f(0, 0, n)
		return
	}
	inner := engine.Count(dims[axis+1:])
	for i, from := 0, 0; from < n; i, from = i+1, from+inner {
		f(i%dims[axis], from, from+inner)
	}
}

func transform[T float32 | float64](dst []T, at func(int) float64, from int, a affine) {
	for i := range dst {
		dst[i] = T(a.apply(at(from + i)))
	}
}

// plain makes a value of raw elements as they are. The value owns its elements.
func plain(typ engine.DType, raw []byte, dims []int) (*engine.Value, error) {
	long := make([]int64, len(dims))
	for i, d := range dims {
		long[i] = int64(d)
	}
	return (&onnxio.Model{}).Tensor(&onnxpb.TensorProto{DataType: new(int32(typ)), Dims: long, RawData: raw})
}

// elementAt returns a function that reads one element as a number.
func elementAt(typ engine.DType, raw []byte) (func(i int) float64, error) {
	le := binary.LittleEndian
	switch typ {
	case onnxpb.TensorProto_UINT8, onnxpb.TensorProto_BOOL:
		return func(i int) float64 { return float64(raw[i]) }, nil
	case onnxpb.TensorProto_INT8:
		return func(i int) float64 { return float64(int8(raw[i])) }, nil
	case onnxpb.TensorProto_UINT16:
		return func(i int) float64 { return float64(le.Uint16(raw[2*i:])) }, nil
	case onnxpb.TensorProto_INT16:
		return func(i int) float64 { return float64(int16(le.Uint16(raw[2*i:]))) }, nil
	case onnxpb.TensorProto_UINT32:
		return func(i int) float64 { return float64(le.Uint32(raw[4*i:])) }, nil
	case onnxpb.TensorProto_INT32:
		return func(i int) float64 { return float64(int32(le.Uint32(raw[4*i:]))) }, nil
	case onnxpb.TensorProto_UINT64:
		return func(i int) float64 { return float64(le.Uint64(raw[8*i:])) }, nil
	case onnxpb.TensorProto_INT64:
		return func(i int) float64 { return float64(int64(le.Uint64(raw[8*i:]))) }, nil
	case onnxpb.TensorProto_FLOAT:
		return func(i int) float64 { return float64(math.Float32frombits(le.Uint32(raw[4*i:]))) }, nil
	case onnxpb.TensorProto_DOUBLE:
		return func(i int) float64 { return math.Float64frombits(le.Uint64(raw[8*i:])) }, nil
	case onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16:
		v, err := plain(typ, raw, []int{len(raw) / 2})
		if err != nil {
			return nil, err
		}
		return func(i int) float64 { return float64(v.F32[i]) }, nil
	}
	return nil, fmt.Errorf("elements of type %v are not supported", typ)
}
