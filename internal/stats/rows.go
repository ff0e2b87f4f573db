package stats

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// A RowSet holds what an operator reads, and what it should compute, row by row: one row for each
// sample and output position. Where there are fewer rows than inputs it takes less memory than
// [Moments] of it, and says the same.
type RowSet struct {
	N    int       // rows
	D, O int       // lengths of x and y
	X    []float32 // [N, D]
	Y    []float32 // [N, O]
}

// CountRows returns how many rows [CollectRows] would find in all batches, and the length of each.
// d is 0 where rows cannot be told: the operator has groups, or what it reads is not of a
// floating-point type.
func CountRows(x *Flow, r Reading) (n, d int, err error) {
	c := &collector{flow: x, reading: r}
	for i := range x.Batches() {
		in, err := x.Batch(i, r.Tensor)
		if err != nil {
			return 0, 0, err
		}
		v := in[r.Tensor]
		if !onnxio.IsFloat(v.Type) {
			return 0, 0, nil
		}
		s, err := c.shapeOf([]*engine.Value{v})
		if err != nil {
			return 0, 0, fmt.Errorf("rows of tensor %q: %w", r.Tensor, err)
		}
		if s.groups != 1 {
			return 0, 0, nil
		}
		n, d = n+s.rowsOf(v), s.c*s.taps()
	}
	return n, d, nil
}

// CollectRows gathers the rows of what an operator without groups reads, and of targets, over the
// batches of a flow. x is laid out as by [CollectMoments]. Of the options Batches is used.
func CollectRows(ctx context.Context, x *Flow, r Reading, targets []Target, o MomentOptions) (_ *RowSet, err error) {
	defer guard.Recover(&err)
	c := &collector{flow: x, reading: r, targets: targets}
	out := &RowSet{}
	for i := range x.Batches() {
		if o.Batches != nil && !o.Batches(i) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.rows(i, out); err != nil {
			return nil, fmt.Errorf("rows of tensor %q: %w", r.Tensor, err)
		}
	}
	if out.N == 0 {
		return nil, fmt.Errorf("rows of tensor %q: there are none", r.Tensor)
	}
	return out, nil
}

// rows appends those of one batch.
func (c *collector) rows(i int, out *RowSet) error {
	values, err := c.values(i)
	if err != nil {
		return err
	}
	s, err := c.shapeOf(values)
	if err != nil {
		return err
	}
	if s.groups != 1 {
		return fmt.Errorf("there are %d groups", s.groups)
	}
	d, o := s.c*s.taps(), 0
	for _, k := range s.o {
		o += k
	}
	if out.N > 0 && (d != out.D || o != out.O) {
		return fmt.Errorf("channels differ between batches")
	}
	x := values[0].Float32()
	n := s.rowsOf(values[0])
	if s.conv == nil {
		out.X = appendChannels(out.X, x, values[0].Dims, s.xAxis)
	} else {
		out.X = s.appendPatches(out.X, x)
	}
	out.Y = append(out.Y, make([]float32, n*o)...)
	at := 0
	for k, v := range values[1:] {
		y := appendChannels(nil, v.Float32(), v.Dims, s.yAxes[k])
		for row := range n {
			copy(out.Y[(out.N+row)*o+at:][:s.o[k]], y[row*s.o[k]:])
		}
		at += s.o[k]
	}
	out.N, out.D, out.O = out.N+n, d, o
	return nil
}

// values returns one batch of input and targets.
func (c *collector) values(i int) ([]*engine.Value, error) {
	in, err := c.flow.Batch(i, c.reading.Tensor)
	if err != nil {
		return nil, err
	}
	values := []*engine.Value{in[c.reading.Tensor]}
	for _, t := range c.targets {
		v, err := t.Values(i)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// appendChannels appends a tensor with an axis moved to the end.
func appendChannels(to, v []float32, dims []int, axis int) []float32 {
	inner, n := engine.Count(dims[axis+1:]), dims[axis]
	if inner == 1 {
		return append(to, v...)
	}
	from := len(to)
	to = append(to, make([]float32, len(v))...)
	out := to[from:]
	for start := 0; start < len(v); start += n * inner {
		for c := range n {
			for i, x := range v[start+c*inner:][:inner] {
				out[start+i*n+c] = x
			}
		}
	}
	return to
}

// appendPatches appends what a window sees at all of its positions.
func (s *momentShape) appendPatches(to, v []float32) []float32 {
	places := direct(s.dims, nil).products[0].left.places // [positions, taps]
	in, taps := s.places(), s.taps()
	for start := 0; start < len(v); start += s.c * in {
		for p := 0; p < len(places); p += taps {
			for c := range s.c {
				plane := v[start+c*in:][:in]
				for _, at := range places[p : p+taps] {
					if at < 0 {
						to = append(to, 0)
					} else {
						to = append(to, plane[at])
					}
				}
			}
		}
	}
	return to
}
