package lossless

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// A Check compares the result's outputs with the original's.
type Check struct {
	Runs int `json:"runs"` // random inputs that both were run on
	// Diff is the largest |y − y₀| over all outputs and runs, in units of the
	// largest |y₀| of that output and run; for outputs of integers the share
	// that differs.
	Diff float64 `json:"diff"`
	// Tolerance is what Diff may be: 1e-5 (integers: 1e-3), or where that is
	// larger what rounding does to the original: its own difference between
	// onnxruntime's optimisation levels, or to inputs changed in the last digit.
	// An output that keeps peaks only, y where y is the maximum of its neighbours,
	// jumps wherever two neighbours are almost equal: which of the jumps is the
	// largest is chance, so that the levels alone are too few to tell by.
	Tolerance float64 `json:"tolerance"`
}

const (
	tolerance    = 1e-5
	toleranceInt = 1e-3 // an arg-max of two equal numbers may fall either way
)

// verify runs both models on a few random inputs. Without onnxruntime, or where
// the original does not run, the report says that nothing was checked.
func (o Options) verify(ctx context.Context, before, after *onnxio.Model, r *Report) error {
	if o.Runs < 0 {
		return nil
	}
	unchecked := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Check, r.Notes = nil, append(r.Notes, fmt.Sprintf("the result was not run: %v", err))
		return nil
	}
	if _, err := engine.Available(); err != nil {
		return unchecked(err)
	}
	if err := o.affordable(before); err != nil {
		return unchecked(err)
	}
	var sessions [3]*engine.Session // the original, the same as written, the result
	for k, m := range []*onnxio.Model{before, before, after} {
		s, err := engine.Open(m, engine.Options{Threads: o.Threads, AsWritten: k == 1})
		if err != nil && k == 2 {
			r.revert(fmt.Sprintf("the result does not load: %v", err))
			return nil
		}
		if err != nil {
			return unchecked(err)
		}
		defer s.Close()
		sessions[k] = s
	}
	runs := max(o.Runs, 1)
	if o.Runs == 0 {
		runs = 3
	}
	r.Check = &Check{Runs: runs}
	skipped := map[string]bool{}
	worst, allowed := map[string]float64{}, map[string]float64{} // over all runs
	for i := range runs {
		in, err := o.inputs(sessions[0].Inputs(), i, false)
		if err != nil {
			return unchecked(err)
		}
		nudged, err := o.inputs(sessions[0].Inputs(), i, true)
		if err != nil {
			return unchecked(err)
		}
		want, err := sessions[0].Run(ctx, in)
		if err != nil {
			return unchecked(err)
		}
		got, err := sessions[2].Run(ctx, in)
		if err != nil && ctx.Err() == nil {
			r.revert(fmt.Sprintf("the result does not run: %v", err))
			return nil
		}
		asWritten, err1 := sessions[1].Run(ctx, in)
		rounded, err2 := sessions[0].Run(ctx, nudged)
		for _, err := range []error{err, err1, err2} {
			if err != nil {
				return unchecked(err)
			}
		}
		for _, info := range sessions[0].Outputs() {
			name := info.Name
			y := want[name]
			own, stable := 0.0, true
			for _, again := range []*engine.Value{asWritten[name], rounded[name]} {
				d, ok := difference(y, again)
				own, stable = max(own, d), stable && ok
			}
			if !stable { // its shape, or what is finite, hangs on rounding
				skipped[name] = true
				continue
			}
			least := tolerance
			if y.I64 != nil {
				least = toleranceInt
			}
			diff, ok := difference(y, got[name])
			if !ok {
				r.revert(fmt.Sprintf("%q changed its shape, or what is finite in it", name))
				return nil
			}
			worst[name], allowed[name] = max(worst[name], diff), max(allowed[name], own, least)
		}
	}
	for _, info := range sessions[0].Outputs() {
		name := info.Name
		if worst[name] > allowed[name] {
			r.Check.Diff, r.Check.Tolerance = worst[name], allowed[name]
			r.revert(fmt.Sprintf("%q differs by %.2g, more than %.2g", name, worst[name], allowed[name]))
			return nil
		}
		r.Check.Diff, r.Check.Tolerance = max(r.Check.Diff, worst[name]), max(r.Check.Tolerance, allowed[name])
	}
	for _, info := range sessions[0].Outputs() {
		if skipped[info.Name] {
			r.Notes = append(r.Notes, fmt.Sprintf("%q was not compared: its shape, or what is finite in it, hangs on rounding", info.Name))
		}
	}
	return nil
}

// mostElements bounds the tensors of models that are run: a file of a few bytes can
// ask for more memory than there is.
const mostElements = 1 << 28

// affordable is an error that names an activation of more than mostElements
// elements per sample.
func (o Options) affordable(m *onnxio.Model) error {
	an, err := coupling.Analyze(m, coupling.Options{InputShapes: o.InputShapes, Opaque: true})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(an.Activations)) {
		n := 1.0 // the product may overflow an int
		for _, a := range an.Activations[name] {
			n *= float64(max(a.Size(), 1)) // −1 where it is open
		}
		if n > mostElements {
			return fmt.Errorf("%q has %.2g elements", name, n)
		}
	}
	return nil
}

// difference is max|a−b| / max|a|, of integers the share that differs; ok is
// false where the shapes, or the places of what is not finite, differ.
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

// freeSize stands for a free dimension behind the first one where no shape is given.
const freeSize = 64

// inputs makes random numbers for each input, for nudged ones changed in the
// last digit: pixels between 0 and 1 and Gaussian numbers in turns.
func (o Options) inputs(infos []engine.IOInfo, round int, nudged bool) (map[string]*engine.Value, error) {
	rng := rand.New(rand.NewPCG(o.Seed, uint64(round)))
	in := map[string]*engine.Value{}
	for _, info := range infos {
		shape := o.InputShapes[info.Name]
		if info.Dims == nil && shape == nil {
			return nil, fmt.Errorf("input %s has no known rank", info)
		}
		dims := make([]int, max(len(info.Dims), len(shape)))
		n := 1
		for k := range dims {
			switch {
			case k < len(info.Dims) && info.Dims[k] >= 0:
				dims[k] = int(info.Dims[k])
			case k < len(shape) && shape[k] > 0:
				dims[k] = shape[k]
			case k == 0:
				dims[k] = 1
			default:
				dims[k] = freeSize
			}
			n *= dims[k]
		}
		data := make([]float32, n)
		for i := range data {
			switch info.Type {
			case 0, onnxio.Float, onnxio.Double, onnxio.Float16, onnxio.BFloat16:
				data[i] = rng.Float32()
				if round%2 == 1 {
					data[i] = float32(rng.NormFloat64())
				}
			default:
				data[i] = float32(rng.IntN(2))
			}
			if nudged {
				data[i] *= 1 + 0x1p-23
			}
		}
		in[info.Name] = engine.Float32(data, dims...)
	}
	return in, nil
}
