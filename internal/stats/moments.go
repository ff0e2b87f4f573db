package stats

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// A Reading says how a linear operator reads an activation: which numbers make up the vector x that
// it multiplies.
type Reading struct {
	// Tensor is the activation.
	Tensor string

	// Conv is the window of a Conv. x is then the patch under the window, zeros of the padding
	// included, in the order of the weight's axes after the first: [i, kernel...]. nil: the
	// operator contracts one axis (Gemm, MatMul).
	Conv *onnxio.Window

	// Groups is the number of groups of a Conv. 0: one.
	Groups int

	// Axis is the contracted axis, counted from the end if negative: -1 for x·W, 0 for a Gemm with
	// transA. Only without Conv.
	Axis int
}

// ReadingOf says how a convolution or a product reads its input.
func ReadingOf(l *onnxio.Linear) Reading {
	return Reading{Tensor: l.In.Tensor, Conv: l.Window, Groups: l.Groups, Axis: l.In.Axis}
}

// A Target is what a linear operator should compute: the vectors y, one for each x.
type Target struct {
	// Values returns a batch, of the same samples as that of the input's flow.
	Values func(batch int) (*engine.Value, error)

	// Axis is the axis of y's components: 1 for a Conv, -1 for x·W. The others run over samples and
	// positions.
	Axis int
}

// MomentOptions say which rows enter the moments. The zero value takes all.
type MomentOptions struct {
	// Threads is the number of threads that work on one operator. 0: one per core.
	Threads int

	// Batches says which batches of the flow enter. nil: all.
	Batches func(batch int) bool

	// MaxMACs bounds the multiplications spent on second moments, in multiply-adds; a seeded subset
	// of positions is taken where all would cost more. 0: no bound.
	MaxMACs float64

	// MaxRows bounds the number of rows (samples times positions). 0: no bound.
	MaxRows int64

	// EnoughRows is a number of rows that say what there is to say: a seeded subset of so many is
	// taken where that costs less than all. 0: all.
	EnoughRows int64

	// Seed chooses the subset.
	Seed int64
}

// Moments are sums over rows, one row for each sample and output position of an operator: of the
// vector x that it reads, of the vector y that it should compute, and of their products. Moments of
// disjoint sets of rows add up.
type Moments struct {
	Rows int64 // summed

	D, O int // lengths of x and y

	SumX []float64 // Σ x: [D]
	SumY []float64 // Σ y: [O]
	XX   []float64 // Σ x·xᵀ: [D, D], symmetric
	XY   []float64 // Σ x·yᵀ: [D, O]
	YY   []float64 // Σ y²: [O]
}

// Add adds the moments of other rows.
func (m *Moments) Add(other *Moments) {
	m.Rows += other.Rows
	for _, p := range [][2][]float64{
		{m.SumX, other.SumX}, {m.SumY, other.SumY}, {m.XX, other.XX}, {m.XY, other.XY}, {m.YY, other.YY},
	} {
		for i, v := range p[1] {
			p[0][i] += v
		}
	}
}

// CollectMoments lets onnxruntime sum up the moments of what an operator reads, and of targets,
// over the batches of a flow. There is one result per group of a Conv, otherwise one: its y holds
// the targets one after the other, each with its part of the group. Without targets O is 0.
//
// Sums run in float32 over some thousand rows, beyond that in float64. Memory does not grow with
// the number of samples.
func CollectMoments(ctx context.Context, x *Flow, r Reading, targets []Target, o MomentOptions) (_ []*Moments, err error) {
	defer guard.Recover(&err)
	c := &collector{flow: x, reading: r, targets: targets, options: o, sums: map[string]*summation{}}
	defer c.close()
	if err := c.collect(ctx); err != nil {
		return nil, fmt.Errorf("moments of tensor %q: %w", r.Tensor, err)
	}
	return c.result()
}

// A collector gathers moments batch by batch.
type collector struct {
	flow    *Flow
	reading Reading
	targets []Target
	options MomentOptions
	batches []int
	sums    map[string]*summation // by shape: batches of other spatial sizes need another plan
	order   []*summation          // in the order of their making, so that results do not depend on a map's order
	held    [][]*engine.Value     // batches that wait to be run together
	heldBy  *summation
}

func (c *collector) close() {
	for _, s := range c.order {
		s.close()
	}
}

func (c *collector) collect(ctx context.Context) error {
	for i := range c.flow.Batches() {
		if c.options.Batches == nil || c.options.Batches(i) {
			c.batches = append(c.batches, i)
		}
	}
	if len(c.batches) == 0 {
		return errors.New("no batches")
	}
	for _, i := range c.batches {
		if err := c.batch(ctx, i); err != nil {
			return err
		}
	}
	if err := c.release(ctx); err != nil {
		return err
	}
	for _, s := range c.order {
		if err := s.runs.finish(0); err != nil {
			return err
		}
	}
	return nil
}

// batch adds one batch of the flow.
func (c *collector) batch(ctx context.Context, i int) error {
	values, err := c.values(i)
	if err != nil {
		return err
	}
	shape, err := c.shapeOf(values)
	if err != nil {
		return err
	}
	key := fmt.Sprint(*shape)
	s := c.sums[key]
	if s == nil {
		if s, err = newSummation(shape, c.options, len(c.batches), values[0], &c.flow.lender); err != nil {
			return err
		}
		c.sums[key] = s
		c.order = append(c.order, s)
	}
	if s != c.heldBy {
		if err := c.release(ctx); err != nil {
			return err
		}
	}
	c.held, c.heldBy = append(c.held, values), s
	rows, bytes := 0, 0
	for _, values := range c.held {
		rows += values[0].Dims[0] * shape.perCut
		for _, v := range values {
			bytes += 4 * v.Len()
		}
	}
	if s.shape.samples && s.share*float64(rows) < chunkRows && bytes < heldBytes {
		return nil
	}
	return c.release(ctx)
}

// release runs the batches that wait.
func (c *collector) release(ctx context.Context) error {
	if len(c.held) == 0 {
		return nil
	}
	values := make([]*engine.Value, len(c.held[0]))
	for k := range values {
		pieces := make([]*engine.Value, len(c.held))
		for i, v := range c.held {
			pieces[i] = v[k]
		}
		values[k] = engine.Join(pieces)
	}
	c.held = nil
	return c.add(ctx, c.heldBy, values)
}

// add runs a batch in chunks of samples, small enough for the processor's caches and for float32
// sums.
func (c *collector) add(ctx context.Context, s *summation, values []*engine.Value) error {
	if !s.shape.samples {
		return s.run(ctx, values)
	}
	n := values[0].Dims[0]
	for from := 0; from < n; from += s.chunk {
		part := make([]*engine.Value, len(values))
		for k, v := range values {
			part[k] = engine.Rows(v, from, min(n, from+s.chunk))
		}
		if err := s.run(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// result assembles the moments.
func (c *collector) result() ([]*Moments, error) {
	var total []*Moments
	for _, s := range c.order {
		part := s.moments()
		if total == nil {
			total = part
			continue
		}
		for g, m := range part {
			if m.D != total[g].D || m.O != total[g].O {
				return nil, fmt.Errorf("moments of tensor %q: channels differ between batches", c.reading.Tensor)
			}
			total[g].Add(m)
		}
	}
	if total[0].Rows == 0 {
		return nil, fmt.Errorf("moments of tensor %q: no rows", c.reading.Tensor)
	}
	return total, nil
}

// A momentShape is what a graph of sums is made for.
type momentShape struct {
	x       []int // sizes of the input; the first is -1, free, if samples
	xAxis   int   // the axis of channels
	conv    *onnxio.Window
	dims    []onnxio.WindowAxis // of conv
	groups  int
	c       int     // channels of x per group
	ys      [][]int // sizes of the targets
	yAxes   []int
	o       []int // components of each target per group
	samples bool  // the first axis of all tensors is the sample, and may be cut anywhere
	perCut  int   // rows per index of the first axis, if samples
}

// shapeOf brings input and targets together.
func (c *collector) shapeOf(values []*engine.Value) (*momentShape, error) {
	x := values[0]
	if !onnxio.IsFloat(x.Type) {
		return nil, fmt.Errorf("elements are %v", x.Type)
	}
	s := &momentShape{x: slices.Clone(x.Dims), conv: c.reading.Conv, groups: 1, samples: true}
	if err := s.input(c.reading); err != nil {
		return nil, err
	}
	rows := s.rowsOf(x)
	for i, t := range c.targets {
		v := values[1+i]
		axis, err := axisOf(t.Axis, len(v.Dims))
		if err != nil {
			return nil, fmt.Errorf("target %d: %w", i, err)
		}
		n := v.Dims[axis]
		switch {
		case !onnxio.IsFloat(v.Type):
			err = fmt.Errorf("elements are %v", v.Type)
		case n%s.groups != 0:
			err = fmt.Errorf("%d channels for %d groups", n, s.groups)
		case n == 0 || v.Len()/n != rows:
			err = fmt.Errorf("shape %s does not give a vector for each of %d rows", engine.DimString(v.Dims), rows)
		case s.conv != nil && (axis == 0 || v.Dims[0] != s.x[0]):
			err = fmt.Errorf("shape %s does not begin with the samples", engine.DimString(v.Dims))
		}
		if err != nil {
			return nil, fmt.Errorf("target %d: %w", i, err)
		}
		if axis == 0 || v.Dims[0] != s.x[0] {
			s.samples = false
		}
		s.ys, s.yAxes, s.o = append(s.ys, slices.Clone(v.Dims)), append(s.yAxes, axis), append(s.o, n/s.groups)
	}
	if s.samples {
		s.perCut = rows / s.x[0]
		// One graph serves any number of samples.
		s.x[0] = -1
		for _, y := range s.ys {
			y[0] = -1
		}
	}
	return s, nil
}

// input takes in the reading.
func (s *momentShape) input(r Reading) error {
	var err error
	if r.Conv == nil {
		if s.xAxis, err = axisOf(r.Axis, len(s.x)); err != nil {
			return err
		}
		s.c = s.x[s.xAxis]
		s.samples = s.xAxis != 0
	} else {
		if len(s.x) < 3 {
			return fmt.Errorf("shape %s has no positions", engine.DimString(s.x))
		}
		if s.dims, err = placed(r.Conv, s.x[2:]); err != nil {
			return err
		}
		s.groups = max(1, r.Groups)
		s.xAxis = 1
		if s.x[1]%s.groups != 0 {
			return fmt.Errorf("%d channels for %d groups", s.x[1], s.groups)
		}
		s.c = s.x[1] / s.groups
	}
	if slices.Contains(s.x, 0) {
		return fmt.Errorf("shape %s is empty", engine.DimString(s.x))
	}
	return nil
}

// placed puts a window on an input that has room for it.
func placed(w *onnxio.Window, in []int) ([]onnxio.WindowAxis, error) {
	axes, err := w.Place(in)
	if slices.ContainsFunc(axes, func(a onnxio.WindowAxis) bool { return a.Out < 1 }) {
		err = fmt.Errorf("kernel %s finds no place on spatial size %s", engine.DimString(w.Kernel), engine.DimString(in))
	}
	return axes, err
}

// rowsOf is the number of rows of a batch.
func (s *momentShape) rowsOf(x *engine.Value) int {
	if s.conv == nil {
		return x.Len() / s.c
	}
	return x.Dims[0] * s.positions()
}

// positions, places and taps are the numbers of places of a window's output, of its input, and
// under it; 1 without one.
func (s *momentShape) positions() int { return engine.Count(sizes(s.dims, outOf)) }
func (s *momentShape) places() int    { return engine.Count(sizes(s.dims, inOf)) }
func (s *momentShape) taps() int      { return engine.Count(sizes(s.dims, kernelOf)) }

// axisOf resolves an axis that may count from the end.
func axisOf(axis, rank int) (int, error) {
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis >= rank {
		return 0, fmt.Errorf("no axis %d among %d", axis, rank)
	}
	return axis, nil
}
