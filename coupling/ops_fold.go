package coupling

import (
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// constantNode: the values of Constant nodes are weights like initializers.
func constantNode(c *call) ([]*value, error) {
	out := c.node.GetOutput()
	if len(out) == 0 {
		return nil, errUnranked
	}
	tp := c.an.graph.Constant(out[0])
	if tp == nil { // sparse values, strings
		return []*value{{konst: true}}, nil
	}
	v, err := c.an.constant(out[0], tp)
	if err != nil {
		return nil, err
	}
	return []*value{v}, nil
}

// shapeOf: the sizes of an axis list, whether known or not.
func shapeOf(c *call) ([]*value, error) {
	x := c.input(0)
	if x == nil || !x.ranked {
		return []*value{{konst: true, ranked: true, axes: []*Axis{c.an.sys.frozen(-1, "a shape")}}}, nil
	}
	from, to := c.attrInt("start", 0), c.attrInt("end", int64(x.rank()))
	lo, hi := span{start: from, end: to, step: 1}.bounds(int64(x.rank()))
	o := &value{konst: true, ranked: true, ints: []elem{}}
	for i := lo; i < hi; i++ {
		a := x.axes[i]
		o.ints = append(o.ints, elem{known: a.Size() >= 0, v: int64(max(a.Size(), 0)), size: a, tied: true})
		if x.live() {
			o.follows = append(o.follows, a)
		}
	}
	o.axes = []*Axis{c.an.sys.frozen(len(o.ints), "a shape")}
	return []*value{o}, nil
}

func sizeOf(c *call) ([]*value, error) {
	x := c.input(0)
	o := &value{konst: true, ranked: true, ints: []elem{{}}}
	if x == nil || !x.ranked {
		return []*value{o}, nil
	}
	if n := x.elements(); n >= 0 {
		o.ints[0] = elem{known: true, v: int64(n)}
	}
	if x.live() {
		o.follows = x.axes
	}
	return []*value{o}, nil
}

// constantOfShape makes a constant whose axes are as large as its input says; they may be joined to
// a space, and then follow it.
func constantOfShape(c *call) ([]*value, error) {
	v := c.input(0)
	if v == nil || v.ints == nil {
		return []*value{{konst: true}}, nil
	}
	o := &value{konst: true, ranked: true, even: true}
	ref := ShapeRef{Node: c.node, Input: 0}
	for _, e := range v.ints {
		a := e.size
		switch {
		case a == nil && e.known && e.v >= 0:
			a = c.an.sys.atom(int(e.v))
		case a == nil:
			a = c.made(-1)
		}
		o.axes = append(o.axes, a)
		ref.Elems = append(ref.Elems, sizeElem(a))
	}
	n := o.elements()
	if _, ok := v.knownInts(); ok && n >= 0 && !anyTied(v) {
		c.note(ref)
	}
	c.claim(0)
	t := onnxio.Attr(c.node, "value").GetT()
	if t == nil || !isInteger(onnxpb.TensorProto_DataType(t.GetDataType())) || n < 0 || n > foldLimit {
		return []*value{o}, nil
	}
	fill, err := c.an.model.Tensor(t)
	if err != nil {
		return nil, err
	}
	if len(fill.I64) == 1 {
		o.ints = slices.Repeat([]elem{{known: true, v: fill.I64[0]}}, n)
	}
	return []*value{o}, nil
}

// anyTied reports whether a part of a shape is computed when the model runs. Its constant parts are
// then rewritten where they enter it (see putTogether), and nothing is where it is used: sizes
// given for the analysis are not those of a run.
func anyTied(shape *value) bool {
	return slices.ContainsFunc(shape.ints, func(e elem) bool { return e.tied })
}

func rangeOf(c *call) ([]*value, error) {
	o := &value{konst: !c.anyLive(), ranked: true, strides: c.counts()}
	if o.strides != nil {
		o.axes = []*Axis{c.in[1].ints[0].size}
		return []*value{o}, nil
	}
	var arg [3]int64
	for i := range arg {
		known, ok := c.input(i).knownInts()
		if !ok || len(known) != 1 {
			o.axes = []*Axis{c.made(-1)}
			return []*value{o}, nil
		}
		arg[i] = known[0]
	}
	n := int64(0)
	if arg[2] != 0 {
		n = steps(arg[0], arg[1], arg[2])
	}
	if n <= foldLimit {
		o.ints = []elem{}
		for i := int64(0); i < n; i++ {
			o.ints = append(o.ints, elem{known: true, v: arg[0] + i*arg[2]})
		}
	}
	o.axes = []*Axis{c.made(int(n))}
	return []*value{o}, nil
}

// foldTranspose moves the values of a small integer matrix.
func foldTranspose(x *value, perm []int64) []elem {
	if x.ints == nil || x.rank() > 2 {
		return nil
	}
	if x.rank() < 2 || perm[0] == 0 {
		return x.ints
	}
	rows, cols := x.axes[0].Size(), x.axes[1].Size()
	if rows*cols != len(x.ints) {
		return nil
	}
	out := make([]elem, 0, len(x.ints))
	for j := 0; j < cols; j++ {
		for i := 0; i < rows; i++ {
			out = append(out, x.ints[i*cols+j])
		}
	}
	return out
}

// foldSlice takes a range of a small integer vector or of the rows of a matrix.
func foldSlice(x *value, spans []span) []elem {
	if x.ints == nil || x.rank() == 0 || len(spans) != 1 || spans[0].axis != 0 {
		return nil
	}
	rows := x.axes[0].Size()
	if rows <= 0 || len(x.ints)%rows != 0 {
		return nil
	}
	width := len(x.ints) / rows
	step := spans[0].step
	lo, hi := spans[0].bounds(int64(rows))
	out := []elem{}
	for k := range steps(lo, hi, step) {
		r := int(lo + k*step)
		out = append(out, x.ints[r*width:(r+1)*width]...)
	}
	return out
}

// oneHot writes indices as rows of two values, of which the second stands at the index. Exporters
// write shapes so: how often each axis is repeated.
func oneHot(c *call) ([]*value, error) {
	idx, depth, values := c.in[0], c.input(1), c.input(2)
	rank := idx.rank() + 1
	axis, err := c.position(c.attrInt("axis", -1), rank)
	if err != nil {
		return nil, err
	}
	n := -1
	if d, ok := depth.knownInts(); ok && len(d) == 1 && d[0] >= 0 && d[0] <= maxSize {
		n = int(d[0])
	}
	c.freeze(idx, "indexes with it")
	o := c.output(slices.Insert(slices.Clone(idx.axes), axis, c.made(n)))
	at, known := idx.knownInts()
	if !known || n < 0 || idx.rank() > 1 || values == nil || len(values.ints) != 2 || n*len(at) > foldLimit {
		return []*value{o}, nil
	}
	o.ints = make([]elem, n*len(at))
	for i := range o.ints {
		o.ints[i] = values.ints[0]
	}
	for i, k := range at {
		switch k = int64(normAxis(k, n)); {
		case k < 0: // out of range: the first value everywhere
		case axis == 0 && rank == 2:
			o.ints[int(k)*len(at)+i] = values.ints[1]
		default:
			o.ints[i*n+int(k)] = values.ints[1]
		}
	}
	c.claim(2)
	return []*value{o}, nil
}
