package eval

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// MinRuns is the least number of runs that a latency is the median of.
const MinRuns = 30

// LatencyOptions say how a model is timed.
type LatencyOptions struct {
	// Threads is the number of threads that work on one operator. 0: one per core.
	Threads int

	// Runs is the least number of timed runs; fewer than MinRuns are raised to it. 0: MinRuns. Fast
	// models are run more often, until a third of a second is over.
	Runs int

	// Data gives the first sample to run. nil: random numbers.
	Data *dataset.Data

	// Shapes are the shapes of inputs whose sizes, but for the first, are free, by input name. Not
	// needed with Data.
	Shapes map[string][]int
}

// A Timing is a measured latency.
type Timing struct {
	MedianMS float64 `json:"latency_ms"` // milliseconds per run
	Batch    int     `json:"batch"`      // samples per run: 1, or what the model has built in
	Runs     int     `json:"runs"`       // timed runs
	Threads  int     `json:"threads"`    // threads that worked on one operator
	// Reduced: onnxruntime's optimiser fails on the model, which ran with fewer optimisations, or
	// none.
	Reduced bool `json:"reduced_optimization,omitempty"`
}

// Latency measures how long one run of a model takes: the median of at least 30 runs of a single
// sample, after warm-up. Threads spin, as is onnxruntime's default ([Options]). Inputs and outputs
// are copied in that time, as any program would.
func Latency(ctx context.Context, m *onnxio.Model, o LatencyOptions) (_ Timing, err error) {
	defer guard.Recover(&err)
	if o.Data == nil { // inputs are made up, of whatever size the model asks for
		if err := Admit(ctx, []*onnxio.Model{m}, AdmitOptions{Shapes: o.Shapes}); err != nil {
			return Timing{}, err
		}
	}
	s, err := engine.Open(m, engine.Options{Threads: o.Threads, Spin: true})
	if err != nil {
		return Timing{}, err
	}
	defer s.Close()
	in, batch, err := firstSample(s, o)
	if err != nil {
		return Timing{}, err
	}
	const warmUp, enough = 5, time.Second / 3
	for range warmUp {
		if _, err := s.Run(ctx, in); err != nil {
			return Timing{}, err
		}
	}
	var times []time.Duration
	for start := time.Now(); len(times) < max(o.Runs, MinRuns) || time.Since(start) < enough && len(times) < 1000; {
		before := time.Now()
		if _, err := s.Run(ctx, in); err != nil {
			return Timing{}, err
		}
		times = append(times, time.Since(before))
	}
	return Timing{MedianMS: median(times), Batch: batch, Runs: len(times), Threads: s.Threads(), Reduced: s.Reduced()}, nil
}

// median returns the median in milliseconds.
func median(times []time.Duration) float64 {
	slices.Sort(times)
	n := len(times)
	return (times[(n-1)/2] + times[n/2]).Seconds() * 1000 / 2
}

// firstSample makes the inputs of one run.
func firstSample(s *engine.Session, o LatencyOptions) (in map[string]*engine.Value, batch int, err error) {
	if o.Data != nil {
		feed, err := o.Data.For(s.Inputs())
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", s.Name(), err)
		}
		batch = feed.BatchSize(1)
		in, err = feed.Batch(0, min(batch, o.Data.Len()))
		return in, batch, err
	}
	rng := rand.New(rand.NewPCG(0, 0))
	in, batch = map[string]*engine.Value{}, 1
	for i, info := range s.Inputs() {
		v, err := randomValue(rng, info, o.Shapes[info.Name])
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", s.Name(), err)
		}
		if i == 0 && len(v.Dims) > 0 {
			batch = v.Dims[0]
		}
		in[info.Name] = v
	}
	return in, batch, nil
}

// randomValue makes numbers between 0 and 1, or integers 0 and 1, for an input: valid pixels,
// indices and masks alike. A free first axis has size 1.
func randomValue(rng *rand.Rand, in engine.IOInfo, shape []int) (*engine.Value, error) {
	if shape == nil {
		for k, d := range in.Dims {
			if d < 0 && k > 0 {
				return nil, fmt.Errorf("input %s has free sizes: give its shape", in)
			}
			shape = append(shape, max(int(d), 1))
		}
	}
	if in.Dims == nil && shape == nil {
		return nil, fmt.Errorf("input %s has no known rank: give its shape", in)
	}
	v := &engine.Value{Name: in.Name, Type: onnxio.Float, Dims: shape, F32: make([]float32, engine.Count(shape))}
	for i := range v.F32 {
		v.F32[i] = rng.Float32()
		if onnxio.IsInteger(in.Type) {
			v.F32[i] = float32(rng.IntN(2))
		}
	}
	return engine.Cast(v, in.Type)
}
