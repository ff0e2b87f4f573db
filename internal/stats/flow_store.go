package stats

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio"
)

// defaultRoom is 2 GiB.
const defaultRoom = 2 << 30

// A Room is memory for activations that flows keep, one or several that one goroutine uses. What is
// kept beyond it goes to temporary files.
type Room struct {
	Bytes int64
	used  int64
}

// A keptTensor is a tensor for all batches.
type keptTensor struct {
	typ  engine.DType
	info *tensorShape
	file *files.Scratch // of what is kept beyond the room; nil until needed
	end  int64          // of the file
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

// add appends the next batch of a tensor, in memory as long as there is room.
func (room *Room) add(t *keptTensor, v *engine.Value) error {
	t.typ = v.Type
	t.info = t.info.add(v.Dims)
	size := valueBytes(v)
	if room.used+size <= room.Bytes {
		room.used += size
		t.at = append(t.at, keptValue{value: v, dims: v.Dims})
		return nil
	}
	if err := t.spill(v); err != nil {
		return fmt.Errorf("keeping tensor %q: %w", v.Name, err)
	}
	return nil
}

// spill appends the next batch of a tensor to its file.
func (t *keptTensor) spill(v *engine.Value) error {
	if t.file == nil {
		f, err := files.NewScratch()
		if err != nil {
			return err
		}
		t.file = f
	}
	if err := binary.Write(io.NewOffsetWriter(t.file, t.end), binary.LittleEndian, elements(v)); err != nil {
		return err
	}
	t.at = append(t.at, keptValue{dims: v.Dims, offset: t.end})
	t.end += valueBytes(v)
	return nil
}

// get returns one batch.
func (t *keptTensor) get(name string, i int) (*engine.Value, error) {
	k := t.at[i]
	if k.value != nil {
		return k.value, nil
	}
	v := &engine.Value{Name: name, Type: t.typ, Dims: k.dims}
	switch n := v.Len(); {
	case onnxio.IsInteger(t.typ):
		v.I64 = make([]int64, n)
	case t.typ == onnxio.Double:
		v.F64 = make([]float64, n)
	default:
		v.F32 = make([]float32, n)
	}
	from := io.NewSectionReader(t.file, k.offset, valueBytes(v))
	if err := binary.Read(from, binary.LittleEndian, elements(v)); err != nil {
		return nil, fmt.Errorf("reading back tensor %q: %w", name, err)
	}
	return v, nil
}

// cut forgets the batches of a tensor but for so many.
func (room *Room) cut(t *keptTensor, batches int) {
	if batches >= len(t.at) {
		return
	}
	for i, k := range slices.Backward(t.at[batches:]) {
		if k.value != nil {
			room.used -= valueBytes(k.value)
		} else {
			t.end = k.offset
		}
		t.at[batches+i] = keptValue{}
	}
	t.at = t.at[:batches]
}

// remove forgets a tensor, and removes its file.
func (room *Room) remove(t *keptTensor) error {
	room.cut(t, 0)
	if t.file == nil {
		return nil
	}
	f := t.file
	t.file = nil
	return f.Close()
}

// elements is the slice that holds a value's elements.
func elements(v *engine.Value) any {
	switch {
	case v.I64 != nil:
		return v.I64
	case v.F64 != nil:
		return v.F64
	}
	return v.F32
}

func valueBytes(v *engine.Value) int64 { return int64(binary.Size(elements(v))) }
