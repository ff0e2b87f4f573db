package stats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"github.com/monge-ml/monge/engine"
	"io"
	"math"
	"os"
	"path/filepath"
)

// A flowStore keeps values: in memory up to a cap, beyond it in files of a temporary folder, one per tensor.
type flowStore struct {
	cap, used int64
	dir       string // "" until a file is needed
	files     int    // made so far, for their names
}

// A keptTensor is a tensor for all batches.
type keptTensor struct {
	typ  engine.DType
	info *tensorShape
	file *os.File // nil until needed
	end  int64    // of the file
	at   []keptValue
}

// A keptValue is one batch of a tensor, in memory or in the tensor's file.
type keptValue struct {
	value  *engine.Value // nil if in the file
	dims   []int
	offset int64
}

// A tensorShape gathers the sizes that all batches agree in.
type tensorShape struct {
	dims    []int // -1 where batches differ
	anyRank bool  // even the number of axes differs
}

func (s *tensorShape) add(dims []int) *tensorShape {
	if s == nil {
		return &tensorShape{dims: append([]int{}, dims...)}
	}
	if len(s.dims) != len(dims) {
		s.anyRank = true
		return s
	}
	for i, d := range dims {
		if s.dims[i] != d {
			s.dims[i] = -1
		}
	}
	return s
}

// add appends the next batch of a tensor.
func (s *flowStore) add(t *keptTensor, v *engine.Value) error {
	t.typ = v.Type
	t.info = t.info.add(v.Dims)
	size := valueBytes(v)
	if s.used+size <= s.cap {
		s.used += size
		t.at = append(t.at, keptValue{value: v, dims: v.Dims})
		return nil
	}
	if err := s.spill(t, v); err != nil {
		return fmt.Errorf("keeping tensor %q: %w", v.Name, err)
	}
	return nil
}

func (s *flowStore) spill(t *keptTensor, v *engine.Value) error {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "monge-flow-*")
		if err != nil {
			return err
		}
		s.dir = dir
	}
	if t.file == nil {
		s.files++
		f, err := os.OpenFile(filepath.Join(s.dir, fmt.Sprint(s.files)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		t.file = f
	}
	raw := encodeElements(v)
	if _, err := t.file.WriteAt(raw, t.end); err != nil {
		return err
	}
	t.at = append(t.at, keptValue{dims: v.Dims, offset: t.end})
	t.end += int64(len(raw))
	return nil
}

// get returns one batch.
func (t *keptTensor) get(name string, i int) (*engine.Value, error) {
	k := t.at[i]
	if k.value != nil {
		return k.value, nil
	}
	v := &engine.Value{Name: name, Type: t.typ, Dims: k.dims}
	raw := make([]byte, int64(engine.Count(k.dims))*wordBytes(t.typ))
	if _, err := t.file.ReadAt(raw, k.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading back tensor %q: %w", name, err)
	}
	decodeElements(v, raw)
	return v, nil
}

// remove forgets a tensor, and removes its file.
func (s *flowStore) remove(t *keptTensor) error {
	for _, k := range t.at {
		if k.value != nil {
			s.used -= valueBytes(k.value)
		}
	}
	t.at = nil
	if t.file == nil {
		return nil
	}
	name := t.file.Name()
	err := t.file.Close()
	t.file = nil
	return errors.Join(err, os.Remove(name))
}

func (s *flowStore) close() error {
	if s.dir == "" {
		return nil
	}
	dir := s.dir
	s.dir = ""
	return os.RemoveAll(dir)
}

// wordBytes is the size of an element as a Value holds it.
func wordBytes(t engine.DType) int64 {
	if engine.KindOf(t) == engine.KindFloat32 {
		return 4
	}
	return 8
}

func valueBytes(v *engine.Value) int64 { return int64(v.Len()) * wordBytes(v.Type) }

// encodeElements returns the elements of a value as little-endian bytes.
func encodeElements(v *engine.Value) []byte {
	le := binary.LittleEndian
	raw := make([]byte, valueBytes(v))
	for i, x := range v.F32 {
		le.PutUint32(raw[4*i:], math.Float32bits(x))
	}
	for i, x := range v.F64 {
		le.PutUint64(raw[8*i:], math.Float64bits(x))
	}
	for i, x := range v.I64 {
		le.PutUint64(raw[8*i:], uint64(x))
	}
	return raw
}

// decodeElements is the inverse: it fills a value of known type and shape.
func decodeElements(v *engine.Value, raw []byte) {
	le := binary.LittleEndian
	n := v.Len()
	switch engine.KindOf(v.Type) {
	case engine.KindFloat32:
		v.F32 = make([]float32, n)
		for i := range v.F32 {
			v.F32[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
		}
	case engine.KindFloat64:
		v.F64 = make([]float64, n)
		for i := range v.F64 {
			v.F64[i] = math.Float64frombits(le.Uint64(raw[8*i:]))
		}
	default:
		v.I64 = make([]int64, n)
		for i := range v.I64 {
			v.I64[i] = int64(le.Uint64(raw[8*i:]))
		}
	}
}
