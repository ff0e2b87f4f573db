//go:build cgo

package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Sessions are made from files here, not through package engine: the original is not to pass
// through the codec that is under test.

// session loads a file with one thread.
func session(path string, ins, outs []string) (*ort.DynamicAdvancedSession, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if err := errors.Join(options.SetIntraOpNumThreads(1), options.SetInterOpNumThreads(1)); err != nil {
		return nil, err
	}
	s, err := ort.NewDynamicAdvancedSession(path, ins, outs, options)
	if err != nil {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	return s, nil
}

// loads reports whether onnxruntime takes a file.
func loads(path string) error {
	s, err := session(path, nil, nil)
	if err != nil {
		return err
	}
	return s.Destroy()
}

// inputs makes values for the inputs of a model: those of test_data_set_0 beside it, or seeded
// random ones.
func inputs(path string, m *onnxio.Model, o options) (values []ort.Value, recorded bool, err error) {
	g, err := m.Graph()
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			destroy(values)
			values = nil
		}
	}()
	rng := rand.New(rand.NewPCG(1, 2))
	folder := filepath.Join(filepath.Dir(path), "test_data_set_0")
	for i, in := range g.Inputs() {
		var v ort.Value
		raw, readErr := os.ReadFile(filepath.Join(folder, fmt.Sprintf("input_%d.pb", i)))
		if readErr == nil {
			recorded = true
			v, err = decode(raw, in)
		} else {
			v, err = random(in, o, rng)
		}
		if err != nil {
			return values, recorded, err
		}
		values = append(values, v)
	}
	return values, recorded, nil
}

// decode reads a recorded input, a tensor or a sequence of tensors.
func decode(raw []byte, in *onnxpb.ValueInfoProto) (ort.Value, error) {
	switch in.GetType().GetValue().(type) {
	case *onnxpb.TypeProto_TensorType, nil:
		t := new(onnxpb.TensorProto)
		if err := proto.Unmarshal(raw, t); err != nil {
			return nil, err
		}
		if want := onnxio.ElemType(in); want != 0 && int32(want) != t.GetDataType() {
			return nil, errors.New("a recorded input is of another type than the model's")
		}
		return tensor(t)
	case *onnxpb.TypeProto_SequenceType:
		return sequence(raw)
	}
	return nil, errors.New("an input is optional, which the binding does not take")
}

// sequence reads a SequenceProto of tensors: field 2 is the type of the elements (1 for tensors),
// field 3 the tensors.
func sequence(raw []byte) (ort.Value, error) {
	var list []ort.Value
	defer func() { destroy(list) }()
	for len(raw) > 0 {
		number, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		raw = raw[n:]
		if number != 3 {
			if n = protowire.ConsumeFieldValue(number, typ, raw); n < 0 {
				return nil, protowire.ParseError(n)
			}
			raw = raw[n:]
			continue
		}
		one, n := protowire.ConsumeBytes(raw)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		raw = raw[n:]
		t := new(onnxpb.TensorProto)
		if err := proto.Unmarshal(one, t); err != nil {
			return nil, err
		}
		v, err := tensor(t)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, errors.New("an input is an empty sequence, which the binding does not take")
	}
	return ort.NewSequence(list)
}

func random(in *onnxpb.ValueInfoProto, o options, rng *rand.Rand) (ort.Value, error) {
	if in.GetType().GetTensorType() == nil {
		return nil, errors.New("an input is a sequence or optional, without a recorded value")
	}
	dims, _, ranked := onnxio.Dims(in)
	shape, ok := o.shapes[in.GetName()]
	if !ok || ranked && len(dims) != len(shape) { // of another model's input
		shape = nil
		for _, d := range dims {
			shape = append(shape, max(1, int(d)))
		}
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float64, n)
	typ := onnxio.ElemType(in)
	for i := range v {
		x, given := o.values[in.GetName()]
		switch {
		case given:
			v[i] = x
		case isFloat(typ):
			v[i] = rng.NormFloat64()
		default:
			v[i] = float64(rng.IntN(2))
		}
	}
	return tensor(onnxio.NewTensor("", typ, shape, v).Proto())
}

func isFloat(t onnxpb.TensorProto_DataType) bool {
	return t == onnxio.Float || t == onnxio.Double || t == onnxio.Float16 || t == onnxio.BFloat16
}

// tensor hands a tensor over to onnxruntime.
func tensor(p *onnxpb.TensorProto) (ort.Value, error) {
	t, err := (&onnxio.Model{}).Tensor(p)
	if err != nil {
		return nil, err
	}
	shape := make(ort.Shape, len(t.Dims))
	for i, d := range t.Dims {
		shape[i] = int64(d)
	}
	if t.Type == onnxpb.TensorProto_STRING {
		if len(shape) == 0 || t.Len() == 0 {
			return nil, errors.New("an input is a scalar or empty tensor of strings, which the binding does not take")
		}
		s, err := ort.NewStringTensor(shape)
		if err != nil {
			return nil, err
		}
		text := make([]string, len(t.Strings))
		for i, b := range t.Strings {
			text[i] = string(b)
		}
		return s, s.SetContents(text)
	}
	if len(shape) == 0 {
		return scalar(t)
	}
	if t.Len() == 0 {
		return nil, errors.New("an input is empty, which the binding does not take")
	}
	return ort.NewCustomDataTensor(shape, t.Proto().RawData, ort.TensorElementDataType(t.Type))
}

func scalar(t *onnxio.Tensor) (ort.Value, error) {
	switch t.Type {
	case onnxpb.TensorProto_FLOAT:
		return ort.NewScalar(t.F32[0])
	case onnxpb.TensorProto_DOUBLE:
		return ort.NewScalar(t.F64[0])
	case onnxpb.TensorProto_INT64:
		return ort.NewScalar(t.I64[0])
	case onnxpb.TensorProto_INT32:
		return ort.NewScalar(int32(t.I64[0]))
	case onnxpb.TensorProto_INT16:
		return ort.NewScalar(int16(t.I64[0]))
	case onnxpb.TensorProto_INT8:
		return ort.NewScalar(int8(t.I64[0]))
	case onnxpb.TensorProto_UINT64:
		return ort.NewScalar(uint64(t.I64[0]))
	case onnxpb.TensorProto_UINT32:
		return ort.NewScalar(uint32(t.I64[0]))
	case onnxpb.TensorProto_UINT16:
		return ort.NewScalar(uint16(t.I64[0]))
	case onnxpb.TensorProto_UINT8:
		return ort.NewScalar(uint8(t.I64[0]))
	case onnxpb.TensorProto_BOOL:
		return ort.NewScalar(t.I64[0] != 0)
	}
	return nil, fmt.Errorf("an input is a scalar of type %v, which the binding does not take", t.Type)
}

// room makes a value for an output without axes or of a 16-bit float, which the binding cannot
// allocate; nil for all others.
func room(v *onnxpb.ValueInfoProto) (ort.Value, error) {
	dims, _, ok := onnxio.Dims(v)
	typ := onnxio.ElemType(v)
	if v.GetType().GetTensorType() == nil || !ok {
		return nil, nil
	}
	if len(dims) > 0 {
		if typ != onnxio.Float16 && typ != onnxio.BFloat16 || slices.Min(dims) < 1 {
			return nil, nil
		}
		shape := ort.Shape(dims)
		return ort.NewCustomDataTensor(shape, make([]byte, 2*shape.FlattenedSize()), ort.TensorElementDataType(typ))
	}
	if typ == onnxpb.TensorProto_STRING {
		return nil, errors.New("an output is a scalar string, which the binding does not take")
	}
	return scalar(onnxio.NewTensor("", typ, nil, []float64{0}))
}

// outputs runs a file and returns a digest of all its outputs: types, shapes and bits.
func outputs(path string, m *onnxio.Model, in []ort.Value) (string, error) {
	g, err := m.Graph()
	if err != nil {
		return "", err
	}
	var ins, outs []string
	for _, v := range g.Inputs() {
		ins = append(ins, v.GetName())
	}
	if len(ins) == 0 {
		return "", errors.New("there are no inputs, which the binding does not take")
	}
	out := make([]ort.Value, len(g.Outputs()))
	defer func() { destroy(out) }()
	for i, v := range g.Outputs() {
		outs = append(outs, v.GetName())
		if out[i], err = room(v); err != nil {
			return "", err
		}
	}
	s, err := session(path, ins, outs)
	if err != nil {
		return "", err
	}
	defer s.Destroy()
	if err := s.Run(in, out); err != nil {
		return "", reason(err)
	}
	d := &digest{}
	for _, v := range out {
		if err := d.add(v); err != nil {
			return "", err
		}
	}
	h := fnv.New128a()
	h.Write([]byte(d.text.String()))
	return fmt.Sprintf("%d bytes %x", d.text.Len(), h.Sum(nil)), nil
}

// reason puts an error of a run on one line.
func reason(err error) error {
	if errors.Is(err, ort.ZeroShapeLengthError) {
		return errors.New("an output without axes, and without a declared shape, which the binding does not take")
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// digest is the text form of values, bit by bit.
type digest struct{ text strings.Builder }

func (d *digest) add(v ort.Value) error {
	switch v := v.(type) {
	case *ort.Sequence:
		values, err := v.GetValues()
		if err != nil {
			return err
		}
		fmt.Fprintf(&d.text, "sequence of %d\n", len(values))
		for _, x := range values {
			if err := d.add(x); err != nil {
				return err
			}
		}
		return nil
	case *ort.Map:
		keys, values, err := v.GetKeysAndValues()
		if err != nil {
			return err
		}
		d.text.WriteString("map\n")
		return errors.Join(d.add(keys), d.add(values))
	case *ort.StringTensor:
		text, err := v.GetContents()
		fmt.Fprintf(&d.text, "strings %v %q\n", v.GetShape(), text)
		return err
	case *ort.CustomDataTensor:
		fmt.Fprintf(&d.text, "%v %v %x\n", v.DataType(), v.GetShape(), v.GetData())
		return nil
	}
	bits, ok := bitsOf(v)
	if !ok {
		return fmt.Errorf("an output is of a kind (%T) that is not compared", v)
	}
	fmt.Fprintf(&d.text, "%v %v %v\n", v.DataType(), v.GetShape(), bits)
	return nil
}

// bitsOf returns the elements of a tensor or scalar, floats as their bits: NaN does not equal
// itself.
func bitsOf(v ort.Value) (any, bool) {
	switch v := v.(type) {
	case *ort.Tensor[float32]:
		bits := make([]uint32, len(v.GetData()))
		for i, x := range v.GetData() {
			bits[i] = math.Float32bits(x)
		}
		return bits, true
	case *ort.Tensor[float64]:
		bits := make([]uint64, len(v.GetData()))
		for i, x := range v.GetData() {
			bits[i] = math.Float64bits(x)
		}
		return bits, true
	case *ort.Scalar[float32]:
		return math.Float32bits(v.GetData()), true
	case *ort.Scalar[float64]:
		return math.Float64bits(v.GetData()), true
	case *ort.Tensor[int64]:
		return v.GetData(), true
	case *ort.Tensor[int32]:
		return v.GetData(), true
	case *ort.Tensor[int16]:
		return v.GetData(), true
	case *ort.Tensor[int8]:
		return v.GetData(), true
	case *ort.Tensor[uint64]:
		return v.GetData(), true
	case *ort.Tensor[uint32]:
		return v.GetData(), true
	case *ort.Tensor[uint16]:
		return v.GetData(), true
	case *ort.Tensor[uint8]:
		return v.GetData(), true
	case *ort.Tensor[bool]:
		return v.GetData(), true
	case *ort.Scalar[int64]:
		return v.GetData(), true
	case *ort.Scalar[int32]:
		return v.GetData(), true
	case *ort.Scalar[int16]:
		return v.GetData(), true
	case *ort.Scalar[int8]:
		return v.GetData(), true
	case *ort.Scalar[uint64]:
		return v.GetData(), true
	case *ort.Scalar[uint32]:
		return v.GetData(), true
	case *ort.Scalar[uint16]:
		return v.GetData(), true
	case *ort.Scalar[uint8]:
		return v.GetData(), true
	case *ort.Scalar[bool]:
		return v.GetData(), true
	}
	return nil, false
}

func destroy(values []ort.Value) {
	for _, v := range values {
		// After an error the binding leaves nil pointers in non-nil interfaces.
		if v != nil && !reflect.ValueOf(v).IsNil() {
			v.Destroy()
		}
	}
}

// eachTensor calls f for every tensor of a message, wherever it is.
func eachTensor(m protoreflect.Message, f func(*onnxpb.TensorProto) error) error {
	if t, ok := m.Interface().(*onnxpb.TensorProto); ok {
		return f(t)
	}
	var err error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = eachTensor(v.List().Get(i).Message(), f)
			}
		default:
			err = eachTensor(v.Message(), f)
		}
		return err == nil
	})
	return err
}
