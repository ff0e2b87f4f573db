package lossless

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/admit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Check compares the result's outputs with the original's.
type Check struct {
	Runs int `json:"runs"` // random inputs that both were run on
	// Diff is the largest |y − y₀| over all outputs and runs, in units of the largest |y₀| of that
	// output and run; for outputs of integers the share that differs.
	Diff float64 `json:"diff"`
	// Tolerance is what Diff may be: 1e-5 (integers: 1e-3), or where that is larger what rounding
	// does to the original: its own difference between onnxruntime's optimisation levels, or to
	// inputs changed in the last digit. An output that keeps peaks only, y where y is the maximum
	// of its neighbours, jumps wherever two neighbours are almost equal: which of the jumps is the
	// largest is chance, so that the levels alone are too few to tell by.
	Tolerance float64 `json:"tolerance"`
}

const (
	tolerance    = 1e-5
	toleranceInt = 1e-3 // an arg-max of two equal numbers may fall either way
)

// A mismatch says how the result differs from the original.
type mismatch string

func (m mismatch) Error() string { return string(m) }

// verify runs both models on a few random inputs, and takes the result back if it differs. Without
// onnxruntime, or where the original does not run, the report says that nothing was checked.
func (o Options) verify(ctx context.Context, before, after *onnxio.Model, r *Report) error {
	if o.NoCheck {
		return nil
	}
	var different mismatch
	check, notes, err := o.check(ctx, before, after)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &different):
		r.Check = check
		r.revert(string(different))
	case err != nil:
		r.Notes = append(r.Notes, fmt.Sprintf("the result was not run: %v", err))
	default:
		r.Check, r.Notes = check, append(r.Notes, notes...)
	}
	return nil
}

// check compares the outputs of both models. The error is a mismatch if they differ; any other says
// why they were not compared.
func (o Options) check(ctx context.Context, before, after *onnxio.Model) (c *Check, notes []string, err error) {
	if _, err := engine.Available(); err != nil {
		return nil, nil, err
	}
	if err := admit.Model(ctx, before, admit.Options{Shapes: o.InputShapes, Trial: o.Trial}); err != nil {
		return nil, nil, err
	}
	t := &trial{}
	defer t.close()
	if err := t.open(before, after, o.Threads); err != nil {
		return nil, nil, err
	}
	c = &Check{Runs: cmp.Or(o.Runs, 3)}
	for i := range c.Runs {
		in, nudged, err := o.inputs(t.original.Inputs(), i)
		if err != nil {
			return nil, nil, err
		}
		if err := t.run(ctx, in, nudged); err != nil {
			return c, nil, err
		}
	}
	notes, err = t.judge(c)
	return c, notes, err
}

// A trial runs three models side by side: the original, the same without onnxruntime's
// optimisations, and the result.
type trial struct {
	original, asWritten, result *engine.Session
	outputs                     []*output
}

// An output sums up all runs.
type output struct {
	name           string
	worst, allowed float64 // difference
	unstable       bool    // its shape, or what is finite in it, hangs on rounding
}

func (t *trial) open(before, after *onnxio.Model, threads int) (err error) {
	if t.original, err = engine.Open(before, engine.Options{Threads: threads}); err != nil {
		return err
	}
	if t.asWritten, err = engine.Open(before, engine.Options{Threads: threads, AsWritten: true}); err != nil {
		return err
	}
	if t.result, err = engine.Open(after, engine.Options{Threads: threads}); err != nil {
		return mismatch(fmt.Sprintf("the result does not load: %v", err))
	}
	for _, info := range t.original.Outputs() {
		t.outputs = append(t.outputs, &output{name: info.Name})
	}
	return nil
}

func (t *trial) close() {
	for _, s := range []*engine.Session{t.original, t.asWritten, t.result} {
		if s != nil {
			s.Close()
		}
	}
}

// run compares the models on one input. nudged is the same, changed in the last digit.
func (t *trial) run(ctx context.Context, in, nudged map[string]*engine.Value) error {
	want, err := t.original.Run(ctx, in)
	if err != nil {
		return err
	}
	got, err := t.result.Run(ctx, in)
	if err != nil {
		return mismatch(fmt.Sprintf("the result does not run: %v", err))
	}
	asWritten, err := t.asWritten.Run(ctx, in)
	if err != nil {
		return err
	}
	rounded, err := t.original.Run(ctx, nudged)
	if err != nil {
		return err
	}
	for _, o := range t.outputs {
		if err := o.compare(want[o.name], got[o.name], asWritten[o.name], rounded[o.name]); err != nil {
			return err
		}
	}
	return nil
}

// compare enters an output of the result, of which the original gave want, and again in other ways
// of rounding.
func (o *output) compare(want, got *engine.Value, again ...*engine.Value) error {
	allowed := tolerance
	if want.I64 != nil {
		allowed = toleranceInt
	}
	for _, y := range again {
		d, ok := difference(want, y)
		if !ok {
			o.unstable = true
			return nil
		}
		allowed = max(allowed, d)
	}
	d, ok := difference(want, got)
	if !ok {
		return mismatch(fmt.Sprintf("%q changed its shape, or what is finite in it", o.name))
	}
	o.worst, o.allowed = max(o.worst, d), max(o.allowed, allowed)
	return nil
}

// judge enters the largest difference. notes name the outputs that could not be compared.
func (t *trial) judge(c *Check) (notes []string, err error) {
	for _, o := range t.outputs {
		if o.worst > o.allowed {
			c.Diff, c.Tolerance = o.worst, o.allowed
			return nil, mismatch(fmt.Sprintf("%q differs by %.2g, more than %.2g", o.name, o.worst, o.allowed))
		}
		c.Diff, c.Tolerance = max(c.Diff, o.worst), max(c.Tolerance, o.allowed)
		if o.unstable {
			notes = append(notes, fmt.Sprintf("%q was not compared: its shape, or what is finite in it, hangs on rounding", o.name))
		}
	}
	return notes, nil
}

// difference is max|a−b| / max|a|, of integers the share that differs; ok is false where the
// shapes, or the places of what is not finite, differ.
func difference(a, b *engine.Value) (diff float64, ok bool) {
	if b == nil || !slices.Equal(a.Dims, b.Dims) {
		return 0, false
	}
	if a.I64 != nil {
		n := 0
		for i, x := range a.I64 {
			if b.I64[i] != x {
				n++
			}
		}
		return float64(n) / float64(max(len(a.I64), 1)), true
	}
	x, y := a.Float64(), b.Float64()
	scale := 0.0
	for i, u := range x {
		w := y[i]
		switch {
		case math.IsNaN(u) && math.IsNaN(w), math.IsInf(u, 0) && u == w:
			continue
		case math.IsNaN(u), math.IsNaN(w), math.IsInf(u, 0), math.IsInf(w, 0):
			return 0, false
		}
		scale = max(scale, math.Abs(u))
		diff = max(diff, math.Abs(u-w))
	}
	if diff == 0 {
		return 0, true
	}
	return diff / max(scale, math.SmallestNonzeroFloat32), true
}

// inputs makes random numbers for each input, pixels between 0 and 1 and Gaussian numbers in turns,
// and the same changed in the last digit.
func (o Options) inputs(infos []engine.IOInfo, round int) (in, nudged map[string]*engine.Value, err error) {
	rng := rand.New(rand.NewPCG(o.Seed, uint64(round)))
	in, nudged = map[string]*engine.Value{}, map[string]*engine.Value{}
	for _, info := range infos {
		dims, err := info.Sizes(o.InputShapes[info.Name])
		if err != nil {
			return nil, nil, err
		}
		data, other := make([]float32, engine.Count(dims)), make([]float32, engine.Count(dims))
		for i := range data {
			data[i] = random(rng, info.Type, round%2 == 1)
			other[i] = data[i] * (1 + 0x1p-23)
		}
		in[info.Name], nudged[info.Name] = engine.Float32(data, dims...), engine.Float32(other, dims...)
	}
	return in, nudged, nil
}

// random is a number for an input of a type, of which 0 is one that is not known.
func random(rng *rand.Rand, typ onnxpb.TensorProto_DataType, gaussian bool) float32 {
	if typ != 0 && !onnxio.IsFloat(typ) {
		return float32(rng.IntN(2))
	}
	x := rng.Float32()
	if gaussian {
		x = float32(rng.NormFloat64())
	}
	return x
}
