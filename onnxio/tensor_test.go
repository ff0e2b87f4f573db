package onnxio_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

var memory = new(onnxio.Model)

// numeric are the types whose elements Float64 and SetFloat64 can express.
func numeric() []onnxpb.TensorProto_DataType {
	var types []onnxpb.TensorProto_DataType
	for code := range onnxpb.TensorProto_DataType_name {
		switch typ := onnxpb.TensorProto_DataType(code); typ {
		case onnxpb.TensorProto_UNDEFINED, onnxpb.TensorProto_STRING,
			onnxpb.TensorProto_COMPLEX64, onnxpb.TensorProto_COMPLEX128:
		default:
			types = append(types, typ)
		}
	}
	return types
}

// allTypes is a model with an initializer of every type there is.
func allTypes() *onnxio.Model {
	parts := []onnxtest.Part{onnxtest.Node("Identity", "x", "y")}
	for code := int32(1); onnxpb.TensorProto_DataType_name[code] != ""; code++ {
		typ := onnxpb.TensorProto_DataType(code)
		x := onnxio.NewTensor(fmt.Sprintf("t%d", code), typ, []int{5, 1}, []float64{0, 1, 2, 1, 0})
		switch typ {
		case onnxpb.TensorProto_STRING:
			x.Dims, x.Strings = []int{2, 1}, [][]byte{[]byte("a"), nil}
		case onnxpb.TensorProto_COMPLEX64:
			x.Dims, x.Raw = []int{2, 1}, make([]byte, 16)
		case onnxpb.TensorProto_COMPLEX128:
			x.Dims, x.Raw = []int{2, 1}, make([]byte, 32)
		}
		parts = append(parts, onnxtest.Initializer(x))
	}
	return onnxtest.Model(onnxtest.Values(onnxtest.Value("x")), onnxtest.Values(onnxtest.Value("y")), parts...)
}

func TestAllTypes(t *testing.T) {
	m := allTypes()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := len(m.Proto.Graph.Initializer); got != len(onnxpb.TensorProto_DataType_name)-1 {
		t.Fatalf("%d types tested", got)
	}
	for _, p := range m.Proto.Graph.Initializer {
		readTensor(t, m, p)
	}
	for _, typ := range numeric() {
		x := decode(t, onnxio.NewTensor("x", typ, []int{1, 2}, []float64{1, 2}).Proto())
		want := []float64{1, 2}
		if typ == onnxio.Bool {
			want[1] = 1
		}
		if typ == onnxpb.TensorProto_INT2 {
			want[1] = 1 // saturated: -2 ... 1
		}
		if d := cmp.Diff(want, x.Float64()); d != "" {
			t.Errorf("%v: %s", typ, d)
		}
	}
}

func decode(t testing.TB, p *onnxpb.TensorProto) *onnxio.Tensor {
	t.Helper()
	x, err := memory.Tensor(p)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// raw makes a tensor of some element codes of whole bytes.
func raw(typ onnxpb.TensorProto_DataType, width int, codes ...uint64) *onnxpb.TensorProto {
	p := &onnxpb.TensorProto{DataType: ptr(int32(typ)), Dims: []int64{int64(len(codes))}, Name: ptr("t")}
	for _, c := range codes {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], c)
		p.RawData = append(p.RawData, b[:width]...)
	}
	return p
}

// The expected values are those of the formats' definitions (IEEE 754-2019, the OCP 8-bit and
// microscaling specifications).
func TestFloatCodes(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		typ   onnxpb.TensorProto_DataType
		width int
		codes []uint64
		want  []float64
	}{
		{onnxio.Float16, 2,
			[]uint64{0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x83ff, 0x0000, 0x8000, 0x7c00, 0xfc00, 0x7e00},
			[]float64{1, -2, 65504, 0x1p-14, 0x1p-24, -0x3ffp-24, 0, math.Copysign(0, -1), inf, -inf, nan}},
		{onnxio.BFloat16, 2,
			[]uint64{0x3f80, 0xc040, 0x7f7f, 0x0080, 0x0001, 0x7f80, 0x7fc0},
			[]float64{1, -3, 0x1.fep127, 0x1p-126, 0x1p-133, inf, nan}},
		{onnxpb.TensorProto_FLOAT8E4M3FN, 1, []uint64{0x38, 0x7e, 0x01, 0x7f, 0xff, 0x80}, []float64{1, 448, 0x1p-9, nan, nan, math.Copysign(0, -1)}},
		{onnxpb.TensorProto_FLOAT8E4M3FNUZ, 1, []uint64{0x40, 0x7f, 0x01, 0x80}, []float64{1, 240, 0x1p-10, nan}},
		{onnxpb.TensorProto_FLOAT8E5M2, 1, []uint64{0x3c, 0x7b, 0x01, 0x7c, 0x7e}, []float64{1, 57344, 0x1p-16, inf, nan}},
		{onnxpb.TensorProto_FLOAT8E5M2FNUZ, 1, []uint64{0x40, 0x7f, 0x01, 0x80}, []float64{1, 57344, 0x1p-17, nan}},
		{onnxpb.TensorProto_FLOAT8E8M0, 1, []uint64{127, 0, 254, 255}, []float64{1, 0x1p-127, 0x1p127, nan}},
	} {
		p := raw(c.typ, c.width, c.codes...)
		x := decode(t, p)
		if d := cmp.Diff(c.want, x.Float64(), cmpopts.EquateNaNs()); d != "" {
			t.Errorf("%v: %s", c.typ, d)
		}
		if got := x.Proto().RawData; !cmp.Equal(p.RawData, got) {
			t.Errorf("%v: % x encodes as % x", c.typ, p.RawData, got)
		}
	}
}

// Every code of at most 16 bits decodes and encodes to itself, but for NaNs, which stay NaNs; and
// no other number of the type is nearer to a given one.
func TestSmallFloatsExhaustively(t *testing.T) {
	widths := map[onnxpb.TensorProto_DataType]int{
		onnxio.Float16: 16, onnxio.BFloat16: 16,
		onnxpb.TensorProto_FLOAT8E4M3FN: 8, onnxpb.TensorProto_FLOAT8E4M3FNUZ: 8,
		onnxpb.TensorProto_FLOAT8E5M2: 8, onnxpb.TensorProto_FLOAT8E5M2FNUZ: 8, onnxpb.TensorProto_FLOAT8E8M0: 8,
	}
	for typ, bits := range widths {
		codes := make([]uint64, 1<<bits)
		for i := range codes {
			codes[i] = uint64(i)
		}
		p := raw(typ, bits/8, codes...)
		x := decode(t, p)
		again := decode(t, x.Proto())
		if d := cmp.Diff(x.F32, again.F32, cmpopts.EquateNaNs()); d != "" {
			t.Errorf("%v: %s", typ, d)
		}
		// Rounding: midpoints between neighbours go to the even code, and what lies on either side
		// of a midpoint to its own side.
		if typ == onnxpb.TensorProto_FLOAT8E8M0 {
			continue
		}
		for c := 0; c+1 < len(codes)/2; c++ {
			lo, hi := float64(x.F32[c]), float64(x.F32[c+1])
			if math.IsNaN(lo) || math.IsNaN(hi) || math.IsInf(hi, 0) || math.IsInf(lo, 0) {
				continue
			}
			mid := (lo + hi) / 2
			even := lo
			if c%2 == 1 {
				even = hi
			}
			got := onnxio.NewTensor("", typ, []int{4}, []float64{mid, math.Nextafter(mid, lo), math.Nextafter(mid, hi), -mid}).Float64()
			if want := []float64{even, lo, hi, -even}; !cmp.Equal(want, got) {
				t.Fatalf("%v between %v and %v: got %v, want %v", typ, lo, hi, got, want)
			}
		}
	}
}

func TestOverflow(t *testing.T) {
	inf := math.Inf(1)
	for typ, want := range map[onnxpb.TensorProto_DataType][]float64{
		// 65520 is the midpoint between the largest float16 and 2^16.
		onnxio.Float16:                  {65504, inf, inf, -inf},
		onnxpb.TensorProto_FLOAT8E4M3FN: {448, 448, 448, -448},
		onnxpb.TensorProto_FLOAT4E2M1:   {6, 6, 6, -6},
		onnxpb.TensorProto_INT8:         {127, 127, 127, -128},
		onnxpb.TensorProto_UINT4:        {15, 15, 15, 0},
	} {
		got := onnxio.NewTensor("", typ, []int{4}, []float64{65519.99, 65520, inf, -inf}).Float64()
		if !cmp.Equal(want, got) {
			t.Errorf("%v: got %v, want %v", typ, got, want)
		}
	}
	limits := onnxio.NewTensor("", onnxio.Int64, []int{2}, []float64{1e30, -1e30})
	if !cmp.Equal([]int64{math.MaxInt64, math.MinInt64}, limits.I64) {
		t.Errorf("int64 limits %v", limits.I64)
	}
	u := onnxio.NewTensor("", onnxpb.TensorProto_UINT64, []int{2}, []float64{0x1p63, 1e30})
	if !cmp.Equal([]float64{0x1p63, 0x1p64}, u.Float64()) {
		t.Errorf("uint64 limits %v", u.Float64())
	}
}

// float64 → float16 must not round twice: 1+2^-11+2^-40 is above the midpoint, but rounds to it in
// float32.
func TestSingleRounding(t *testing.T) {
	v := 1 + 0x1p-11 + 0x1p-40
	if got := onnxio.NewTensor("", onnxio.Float16, nil, []float64{v}).Float64()[0]; got != 1+0x1p-10 {
		t.Errorf("got %v", got)
	}
}

func TestPackedLayout(t *testing.T) {
	for _, c := range []struct {
		typ  onnxpb.TensorProto_DataType
		v    []float64
		want []byte
	}{
		{onnxpb.TensorProto_INT4, []float64{-1, 2, -8}, []byte{0x2f, 0x08}},
		{onnxpb.TensorProto_UINT2, []float64{1, 2, 3, 0, 1}, []byte{0b00111001, 1}},
		// 0.5, 1, 1.5 are the codes 1, 2, 3.
		{onnxpb.TensorProto_FLOAT4E2M1, []float64{0.5, 1, 1.5}, []byte{0x21, 0x03}},
		// E3M2 codes of 0.0625, 0.125, 0.1875, 0.25: 1, 2, 3, 4, of six bits each.
		{onnxpb.TensorProto_FLOAT6E3M2, []float64{0.0625, 0.125, 0.1875, 0.25}, []byte{0b10_000001, 0b0011_0000, 0b000100_00}},
	} {
		p := onnxio.NewTensor("", c.typ, []int{len(c.v)}, c.v).Proto()
		if d := cmp.Diff(c.want, p.RawData); d != "" {
			t.Errorf("%v: %s", c.typ, d)
		}
		if d := cmp.Diff(c.v, decode(t, p).Float64()); d != "" {
			t.Errorf("%v: %s", c.typ, d)
		}
	}
}

func TestTypedFields(t *testing.T) {
	typed := func(typ onnxpb.TensorProto_DataType, n int64, set func(*onnxpb.TensorProto)) *onnxpb.TensorProto {
		p := &onnxpb.TensorProto{DataType: ptr(int32(typ)), Dims: []int64{n}}
		set(p)
		return p
	}
	for _, c := range []struct {
		p    *onnxpb.TensorProto
		want []float64
	}{
		{typed(onnxio.Float, 2, func(p *onnxpb.TensorProto) { p.FloatData = []float32{1, -2} }), []float64{1, -2}},
		{typed(onnxio.Double, 2, func(p *onnxpb.TensorProto) { p.DoubleData = []float64{1, -2} }), []float64{1, -2}},
		{typed(onnxio.Int64, 2, func(p *onnxpb.TensorProto) { p.Int64Data = []int64{1, -2} }), []float64{1, -2}},
		{typed(onnxio.Int32, 2, func(p *onnxpb.TensorProto) { p.Int32Data = []int32{1, -2} }), []float64{1, -2}},
		{typed(onnxpb.TensorProto_INT8, 2, func(p *onnxpb.TensorProto) { p.Int32Data = []int32{1, -2} }), []float64{1, -2}},
		{typed(onnxpb.TensorProto_UINT16, 1, func(p *onnxpb.TensorProto) { p.Int32Data = []int32{65535} }), []float64{65535}},
		{typed(onnxpb.TensorProto_UINT32, 1, func(p *onnxpb.TensorProto) { p.Uint64Data = []uint64{1<<32 - 1} }), []float64{1<<32 - 1}},
		{typed(onnxpb.TensorProto_UINT64, 1, func(p *onnxpb.TensorProto) { p.Uint64Data = []uint64{1 << 63} }), []float64{1 << 63}},
		{typed(onnxio.Bool, 2, func(p *onnxpb.TensorProto) { p.Int32Data = []int32{0, 1} }), []float64{0, 1}},
		{typed(onnxio.Float16, 2, func(p *onnxpb.TensorProto) { p.Int32Data = []int32{0x3c00, 0x8001} }), []float64{1, -0x1p-24}},
		{typed(onnxio.BFloat16, 1, func(p *onnxpb.TensorProto) { p.Int32Data = []int32{0x3f80} }), []float64{1}},
		{typed(onnxpb.TensorProto_INT4, 3, func(p *onnxpb.TensorProto) { p.Int32Data = []int32{0x2f, 0x08} }), []float64{-1, 2, -8}},
		{typed(onnxpb.TensorProto_FLOAT6E3M2, 2, func(p *onnxpb.TensorProto) { p.Int32Data = []int32{1, 4} }), []float64{0.0625, 0.25}},
		{typed(onnxio.Float, 0, func(*onnxpb.TensorProto) {}), []float64{}},
	} {
		x := decode(t, c.p)
		if d := cmp.Diff(c.want, x.Float64()); d != "" {
			t.Errorf("%v: %s", x.Type, d)
		}
		if d := cmp.Diff(c.want, decode(t, x.Proto()).Float64()); d != "" {
			t.Errorf("%v in raw_data: %s", x.Type, d)
		}
	}
}

// Values that a type can hold come back exactly, whatever the type and shape.
func TestRoundTripProperty(t *testing.T) {
	types := numeric()
	rapid.Check(t, func(r *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(r, "type")
		v := rapid.SliceOfN(rapid.Float64(), 0, 40).Draw(r, "values")
		x := onnxio.NewTensor("x", typ, []int{len(v), 1}, v)
		back, err := memory.Tensor(x.Proto())
		if err != nil {
			r.Fatal(err)
		}
		if !cmp.Equal(x.Float64(), back.Float64(), cmpopts.EquateNaNs()) || !cmp.Equal(x.Dims, back.Dims) {
			r.Fatalf("%v became %v", x, back)
		}
		// Rounding a second time changes nothing.
		again := onnxio.NewTensor("x", typ, back.Dims, back.Float64())
		if typ != onnxio.Int64 && typ != onnxpb.TensorProto_UINT64 && !cmp.Equal(back.Float64(), again.Float64(), cmpopts.EquateNaNs()) {
			r.Fatalf("%v rounded again to %v", back, again)
		}
	})
}

func TestTensorSharesNothing(t *testing.T) {
	p := onnxio.NewTensor("x", onnxio.Float, []int{2}, []float64{1, 2}).Proto()
	x := decode(t, p)
	x.F32[0], x.Dims[0] = 9, 9
	if got := decode(t, p); got.F32[0] != 1 || got.Dims[0] != 2 {
		t.Error("the proto changed with the tensor")
	}
}

// Rows of a tensor are those of all of it, however it is stored.
func TestRows(t *testing.T) {
	m := allTypes()
	for _, p := range m.Proto.Graph.Initializer {
		whole, err := m.Tensor(p)
		if err != nil {
			t.Fatal(err)
		}
		n := whole.Dims[0]
		var joined onnxio.Tensor
		for from := range n {
			one, err := m.Rows(p, from, 1)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]int{1, 1}, one.Dims); d != "" || one.Type != whole.Type {
				t.Errorf("%s: %v, %s", p.GetName(), one.Type, d)
			}
			joined.F32, joined.F64, joined.I64 = append(joined.F32, one.F32...), append(joined.F64, one.F64...), append(joined.I64, one.I64...)
			joined.Strings, joined.Raw = append(joined.Strings, one.Strings...), append(joined.Raw, one.Raw...)
		}
		joined.Name, joined.Type, joined.Dims = whole.Name, whole.Type, whole.Dims
		if d := cmp.Diff(whole, &joined, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); d != "" {
			t.Errorf("%s: %s", p.GetName(), d)
		}
		for _, c := range [][2]int{{-1, 1}, {0, n + 1}, {n, 1}, {0, -1}} {
			if _, err := m.Rows(p, c[0], c[1]); err == nil {
				t.Errorf("%s: no error for %d rows from %d on", p.GetName(), c[1], c[0])
			}
		}
	}
}
