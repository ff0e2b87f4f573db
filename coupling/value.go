package coupling

import (
	"cmp"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// foldLimit bounds the integer tensors whose values are followed.
const foldLimit = 4096

// placesLimit bounds the tensors of which is seen whether they are places in a list.
const placesLimit = 1 << 20

// realLimit bounds the float tensors whose values are followed: an element for each axis of a
// tensor.
const realLimit = 16

// A value is what the analysis knows of one tensor.
type value struct {
	name   string
	axes   []*Axis
	ranked bool // axes are known (in number); false: rank unknown
	konst  bool // no live input flows into it
	// learnt: numbers of weights flow into it, so that it may mean anything in another model of the
	// architecture, as places of the largest of some channels do.
	learnt bool
	// roots are the constants (initializers or Constant nodes) it is made of by reshaping,
	// transposing and the like; set for constants only.
	roots []string
	// origin says, for constants, which axis of its root each axis is; -1 where that is not one
	// axis. Nil: not known.
	origin []int
	// quant says how stored integers are read, where DequantizeLinear reads them.
	quant *Quantization
	// rounded: it is integers that a QuantizeLinear makes of a weight, whose roots these are.
	rounded bool
	// ints holds the values of small integer tensors, flat, row-major.
	ints []elem
	// reals holds the values of small float constants, such as the scales of a Resize that an
	// exporter put together, or 1/√d computed from the size d of a head; typ is their type.
	reals []float64
	typ   onnxpb.TensorProto_DataType
	// even: all elements of a constant are one number, as a zero spread over a shape.
	even bool
	// strides are set where an element is the sum of its positions along the axes, each times the
	// stride of the axis: places in a list, as exporters compute them for views of memory.
	strides []int
	// follows lists axes of activations whose sizes flowed into this constant (Shape arithmetic):
	// it changes at run time when they are narrowed.
	follows []*Axis
}

// elem is one folded integer. An unknown one may still be known to be the size of an axis.
type elem struct {
	known bool
	v     int64
	size  *Axis
	// tied: the integer is that size in the edited model too, since it is taken from the axis when
	// the model runs, or is written anew where it stands.
	tied bool
}

func (v *value) originOf(axis int) int {
	if axis >= 0 && axis < len(v.origin) {
		return v.origin[axis]
	}
	return -1
}

func (v *value) rank() int { return len(v.axes) }

// live reports whether v is an activation.
func (v *value) live() bool { return v != nil && !v.konst }

// knownInts returns the values when every one is known.
func (v *value) knownInts() ([]int64, bool) {
	if v == nil || v.ints == nil {
		return nil, false
	}
	out := make([]int64, len(v.ints))
	for i, e := range v.ints {
		if !e.known {
			return nil, false
		}
		out[i] = e.v
	}
	return out, true
}

// hasAxis reports whether a is one of the value's axes.
func (v *value) hasAxis(a *Axis) bool {
	return slices.ContainsFunc(v.axes, func(b *Axis) bool { return b.is(a) })
}

// holds reports whether a term is part of one of the value's axes.
func (v *value) holds(t *Axis) bool {
	return slices.ContainsFunc(v.axes, func(a *Axis) bool { return a.Holds(t) })
}

// elements is their number; -1 where it is not known.
func (v *value) elements() int { return total(kindProd, v.sizes()) }

// sizes returns the axis sizes, -1 where unknown.
func (v *value) sizes() []int { return sizesOf(v.axes) }

func isInteger(t onnxpb.TensorProto_DataType) bool {
	switch t {
	case onnxpb.TensorProto_INT64, onnxpb.TensorProto_INT32, onnxpb.TensorProto_INT16, onnxpb.TensorProto_INT8,
		onnxpb.TensorProto_UINT8, onnxpb.TensorProto_UINT16, onnxpb.TensorProto_UINT32, onnxpb.TensorProto_BOOL:
		return true
	}
	return false
}

// constant makes the value of an initializer or Constant node. Every axis gets an atom of its own.
func (an *analyzer) constant(name string, tp *onnxpb.TensorProto) (*value, error) {
	v := &value{name: name, ranked: true, konst: true, roots: []string{name}}
	for k, d := range tp.GetDims() {
		v.axes = append(v.axes, an.sys.atom(int(max(d, -1))))
		v.origin = append(v.origin, k)
	}
	typ, n := onnxpb.TensorProto_DataType(tp.GetDataType()), v.elements()
	v.even = n == 1
	v.learnt = n != 1 && (onnxio.IsFloat(typ) || typ == onnxpb.TensorProto_INT8 || typ == onnxpb.TensorProto_UINT8)
	if n > foldLimit && n <= placesLimit && (typ == onnxpb.TensorProto_INT64 || typ == onnxpb.TensorProto_INT32) {
		t, err := an.model.Tensor(tp)
		if err != nil {
			return nil, err
		}
		v.strides = strided(t.I64, v.sizes())
		return v, nil
	}
	integers := isInteger(typ) && n <= foldLimit
	if n < 0 || !integers && (!onnxio.IsFloat(typ) || n > realLimit) {
		return v, nil
	}
	t, err := an.model.Tensor(tp)
	if err != nil {
		return nil, err
	}
	if !integers {
		v.reals, v.typ = t.Float64(), typ
		return v, nil
	}
	v.ints = make([]elem, len(t.I64))
	for i, x := range t.I64 {
		v.ints[i] = elem{known: true, v: x}
	}
	return v, nil
}

// declared makes the value of a graph input (or of a tensor that only value_info describes) from
// its stated shape; dims of one name share an atom.
func (an *analyzer) declared(vi *onnxpb.ValueInfoProto, reason string) *value {
	v := &value{name: vi.GetName()}
	dims, params, ok := onnxio.Dims(vi)
	if !ok {
		return v
	}
	v.ranked = true
	given := an.opts.InputShapes[vi.GetName()]
	for i, d := range dims {
		size, p := int(d), params[i]
		if d <= 0 && len(given) == len(dims) && given[i] > 1 {
			size = given[i]
		}
		a := an.params[p]
		if size > 0 || p == "" || a == nil {
			a = an.sys.frozen(cmp.Or(max(size, 0), -1), reason)
			a.atom.open = size > 0 && int64(size) != d
		}
		if size <= 0 && p != "" {
			an.params[p] = a
		}
		v.axes = append(v.axes, a)
	}
	return v
}
