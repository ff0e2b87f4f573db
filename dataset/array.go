package dataset

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// An array is a column whose samples lie in memory, in the type in which they were stored,
// little-endian, row major.
type array struct {
	title string
	typ   engine.DType
	dims  []int // of the whole array; the first axis is the sample, unless there is none
	raw   []byte
}

// arrayOf keeps a value.
func arrayOf(title string, v *engine.Value) *array {
	return &array{title: title, typ: v.Type, dims: v.Dims, raw: v.Proto().GetRawData()}
}

func (a *array) name() string { return a.title }

// width is the number of bytes of an element.
func (a *array) width() int { return int(onnxio.StoredBytes(a.typ, 1)) }

// gather copies the bytes of some samples, one after the other.
func (a *array) gather(samples []int) []byte {
	row := engine.Count(a.dims[1:]) * a.width()
	out := make([]byte, 0, len(samples)*row)
	for _, s := range samples {
		out = append(out, a.raw[s*row:(s+1)*row]...)
	}
	return out
}

// bind matches the array with an input by its rank: the same rank is stacked samples, one more is
// complete inputs, none at all is a constant.
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

// bindTurned matches images whose channels are another axis than the input's, or that lack the axis
// of a single channel.
func (a *array) bindTurned(in engine.IOInfo, p Preprocess) (binding, bool) {
	switch d := a.dims; {
	case len(in.Dims) != 4:
	case len(d) == 3:
		for _, axis := range []int{1, 3} {
			b := *a
			if b.dims = slices.Insert(slices.Clone(d), axis, 1); in.Dims[axis] == 1 && fits(in, b.dims, 1) == nil {
				out, err := b.bind(in, p)
				out.note = fmt.Sprintf("array %q %s has no axis of channels: it is fed as %s", a.title, engine.DimString(d), engine.DimString(b.dims))
				return out, err == nil
			}
		}
	case len(d) == 4:
		for _, turn := range []struct {
			channels, rows int // the image is a matrix, of which this is the number of rows
			to             []int
		}{{d[3], d[1] * d[2], []int{d[0], d[3], d[1], d[2]}}, {d[1], d[1], []int{d[0], d[2], d[3], d[1]}}} {
			if !isChannels(turn.channels) || fits(in, turn.to, 1) != nil {
				continue
			}
			return binding{
				note: fmt.Sprintf("array %q %s has its channels elsewhere than input %q %s: it is turned to %s", a.title, engine.DimString(d), in.Name, in.Shape(), engine.DimString(turn.to)),
				read: func(samples []int) (*engine.Value, error) {
					v, err := a.value(a.gather(samples), append([]int{len(samples)}, d[1:]...), in, p)
					if err != nil {
						return nil, err
					}
					size := engine.Count(d[1:])
					return &engine.Value{
						Name: v.Name, Type: v.Type, Dims: append([]int{len(samples)}, turn.to[1:]...),
						F32: transposed(v.F32, size, turn.rows), F64: transposed(v.F64, size, turn.rows), I64: transposed(v.I64, size, turn.rows),
					}, nil
				},
			}, true
		}
	}
	return binding{}, false
}

// isChannels says whether so many channels are those of an image.
func isChannels[T int | int64](n T) bool { return n == 1 || n == 3 || n == 4 }

// transposed turns matrices of so many elements and rows that lie behind each other; nil stays nil.
func transposed[T any](v []T, size, rows int) []T {
	if v == nil {
		return nil
	}
	out, cols := make([]T, 0, len(v)), size/rows
	for from := 0; from < len(v); from += size {
		for c := range cols {
			for r := range rows {
				out = append(out, v[from+r*cols+c])
			}
		}
	}
	return out
}

func (a *array) value(raw []byte, dims []int, in engine.IOInfo, p Preprocess) (*engine.Value, error) {
	return decode(a.typ, raw, dims, in.Type, p)
}

// fits compares sizes with an input's, from axis on.
func fits(in engine.IOInfo, dims []int, axis int) error {
	if in.Takes(dims, axis) {
		return nil
	}
	hint, want := "", int64(1)
	for _, d := range in.Dims[min(1, len(in.Dims)):] {
		if want *= d; d < 0 {
			want = -1
			break
		}
	}
	if have := engine.Count(dims[min(1, len(dims)):]); int64(have) == want && axis > 0 {
		hint = ": reshape the array, it has the right number of elements"
	}
	return fmt.Errorf("shape %s does not fit input %q %s%s", engine.DimString(dims), in.Name, in.Shape(), hint)
}

// decode makes a value of raw little-endian elements: preprocessed if the target is a
// floating-point type, then cast.
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
	axis, err := p.axis(dims)
	if err != nil {
		return nil, err
	}
	v := &engine.Value{Type: target, Dims: dims}
	if target == onnxio.Double {
		v.F64, err = preprocessed[float64](typ, raw, dims, axis, p)
	} else {
		v.F32, err = preprocessed[float32](typ, raw, dims, axis, p)
	}
	return v, err
}

// preprocessed returns elements after preprocessing.
func preprocessed[T float32 | float64](typ engine.DType, raw []byte, dims []int, axis int, p Preprocess) ([]T, error) {
	out := make([]T, engine.Count(dims))
	if typ == onnxpb.TensorProto_UINT8 { // of which there are 256
		pixels := make([][256]T, p.channels())
		for c := range pixels {
			for x := range pixels[c] {
				pixels[c][x] = T(p.channel(c).apply(float64(x)))
			}
		}
		eachChannel(dims, axis, func(c, from, to int) {
			of := &pixels[c]
			for i, x := range raw[from:to] {
				out[from+i] = of[x]
			}
		})
		return out, nil
	}
	v, err := plain(typ, raw, dims)
	if err != nil {
		return nil, err
	}
	x := v.Float64()
	eachChannel(dims, axis, func(c, from, to int) {
		a := p.channel(c)
		for i := from; i < to; i++ {
			out[i] = T(a.apply(x[i]))
		}
	})
	return out, nil
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

// plain makes a value of raw elements as they are. The value owns its elements.
func plain(typ engine.DType, raw []byte, dims []int) (*engine.Value, error) {
	long := make([]int64, len(dims))
	for i, d := range dims {
		long[i] = int64(d)
	}
	return (&onnxio.Model{}).Tensor(&onnxpb.TensorProto{DataType: new(int32(typ)), Dims: long, RawData: raw})
}
