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

	// Within ends the timing after so long for each model, though there are fewer runs than asked
	// for: five at least. 0: it does not.
	Within time.Duration
}

// A Timing is a measured latency.
type Timing struct {
	MedianMS float64 `json:"latency_ms"` // milliseconds per run
	// QuickMS is what one run in ten takes less than: what it takes where a machine does nothing
	// else in the meantime.
	QuickMS float64 `json:"quick_ms"`
	Batch   int     `json:"batch"`   // samples per run: 1, or what the model has built in
	Runs    int     `json:"runs"`    // timed runs
	Threads int     `json:"threads"` // threads that worked on one operator
	// Reduced: onnxruntime's optimiser fails on the model, which ran with fewer optimisations, or
	// none.
	Reduced bool `json:"reduced_optimization,omitempty"`
}

// Latency measures how long one run of a model takes: the median of at least 30 runs of a single
// sample, after warm-up. Threads spin while a run lasts ([engine.Options]). Inputs and outputs
// are copied in that time, as any program would.
func Latency(ctx context.Context, m *onnxio.Model, o LatencyOptions) (Timing, error) {
	t, err := Latencies(ctx, []*onnxio.Model{m}, o)
	if err != nil {
		return Timing{}, err
	}
	return t[0], nil
}

// Latencies measures several models as [Latency] does, side by side: they take turns of some
// milliseconds, A B B A and so on, so that whatever else the machine does falls on all of them. All
// are loaded at once.
func Latencies(ctx context.Context, models []*onnxio.Model, o LatencyOptions) (_ []Timing, err error) {
	defer guard.Recover(&err)
	if o.Data == nil { // inputs are made up, of whatever size the model asks for
		if err := Admit(ctx, models, AdmitOptions{Shapes: o.Shapes}); err != nil {
			return nil, err
		}
	}
	out := make([]Timing, len(models))
	opened := time.Now()
	x, err := sit(ctx, models, o, out)
	if err != nil {
		return nil, err
	}
	defer func() { x.close() }()
	w := &watch{now: time.Now, least: max(o.Runs, MinRuns), within: o.Within, run: func(i int) error { return x.run(ctx, i) }, sittings: 1}
	if out[0].Threads > 1 {
		if err := x.run(ctx, 0); err != nil {
			return nil, err
		}
		if time.Since(opened) < soon*time.Duration(len(models)) {
			w.sittings = sittings
		}
	}
	medians, quicks := make([][]time.Duration, len(models)), make([][]time.Duration, len(models))
	for k := range w.sittings {
		if k > 0 {
			x.close()
			if x, err = sit(ctx, models, o, out); err != nil {
				return nil, err
			}
		}
		times, err := w.time(len(models))
		if err != nil {
			return nil, err
		}
		for i, t := range times {
			medians[i], quicks[i] = append(medians[i], median(t)), append(quicks[i], quick(t))
			out[i].Runs += len(t)
		}
	}
	for i := range models {
		out[i].MedianMS, out[i].QuickMS = ms(median(medians[i])), ms(median(quicks[i]))
	}
	return out, nil
}

// A sitting has models loaded, with an input for each.
type sitting struct {
	sessions []*engine.Session
	inputs   []map[string]*engine.Value
}

// sit loads models, and notes how they run.
func sit(ctx context.Context, models []*onnxio.Model, o LatencyOptions, out []Timing) (_ *sitting, err error) {
	x := &sitting{}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	for i, m := range models {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := engine.Open(m, engine.Options{Threads: o.Threads, Spin: true})
		if err != nil {
			return nil, err
		}
		x.sessions = append(x.sessions, s)
		out[i].Threads, out[i].Reduced = s.Threads(), s.Reduced()
		in, batch, err := firstSample(s, o)
		if err != nil {
			return nil, err
		}
		out[i].Batch, x.inputs = batch, append(x.inputs, in)
	}
	return x, nil
}

func (x *sitting) run(ctx context.Context, i int) error {
	_, err := x.sessions[i].Run(ctx, x.inputs[i])
	return err
}

func (x *sitting) close() {
	if x == nil {
		return
	}
	for _, s := range x.sessions {
		s.Close()
	}
	x.sessions = nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

const (
	// warmUp runs come first, and are not timed; of slow models only those that are begun in the time
	// that there is.
	warmUp = 5
	// enough is how long a model is timed if there are runs enough, and mostRuns are all that count.
	enough, mostRuns = time.Second / 3, 1000
	// turn is how long a model runs before it is the next one's turn. Disturbances of a machine last
	// as long or longer.
	turn = 10 * time.Millisecond
	// fewestRuns are timed however short the time is.
	fewestRuns = 5
	// sittings is how often models are loaded anew, if loading and running one takes no longer than
	// soon: not all sessions of one model are equally fast.
	sittings = 5
	soon     = 100 * time.Millisecond
)

// A watch times runs of models that take turns.
type watch struct {
	run    func(model int) error
	now    func() time.Time
	least  int           // runs of each model
	within time.Duration // for each model; 0: no limit
	// sittings share the numbers of runs and the time.
	sittings int
}

// time returns the times of the runs of n models.
func (w *watch) time(n int) ([][]time.Duration, error) {
	times := make([][]time.Duration, n)
	for i := range n {
		start := w.now()
		for k := range warmUp {
			if k > 0 && w.within > 0 && w.now().Sub(start) >= w.part(w.within) {
				break
			}
			if err := w.run(i); err != nil {
				return nil, err
			}
		}
	}
	start := w.now()
	for round := 0; !w.done(times, w.now().Sub(start)/time.Duration(n)); round++ {
		for k := range n {
			i := k
			if round%2 == 1 {
				i = n - 1 - k
			}
			if err := w.turn(i, &times[i]); err != nil {
				return nil, err
			}
		}
	}
	return times, nil
}

// done reports whether the runs suffice after so long for each model.
func (w *watch) done(times [][]time.Duration, each time.Duration) bool {
	few := len(times[0])
	for _, t := range times {
		few = min(few, len(t))
	}
	few *= max(w.sittings, 1) // in all
	if w.within > 0 && each >= w.part(w.within) && few >= fewestRuns {
		return true
	}
	return few >= w.least && (each >= w.part(enough) || few >= mostRuns)
}

// part is what one sitting has of a time.
func (w *watch) part(d time.Duration) time.Duration { return d / time.Duration(max(w.sittings, 1)) }

// turn runs a model for a while, and once at least.
func (w *watch) turn(i int, times *[]time.Duration) error {
	start := w.now()
	for last, now := start, start; now == start || now.Sub(start) < turn; last = now {
		if err := w.run(i); err != nil {
			return err
		}
		now = w.now()
		*times = append(*times, now.Sub(last))
	}
	return nil
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	n := len(times)
	return (times[(n-1)/2] + times[n/2]) / 2
}

// quick returns the tenth percentile.
func quick(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/10]
}

// firstSample makes the inputs of one run, and says how many samples they are.
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

// Profile runs a model as [Latency] does and returns what its operators took in each timed run.
func Profile(ctx context.Context, m *onnxio.Model, o LatencyOptions) (_ [][]engine.Kernel, err error) {
	defer guard.Recover(&err)
	if o.Data == nil {
		if err := Admit(ctx, []*onnxio.Model{m}, AdmitOptions{Shapes: o.Shapes}); err != nil {
			return nil, err
		}
	}
	s, err := engine.Open(m, engine.Options{Threads: o.Threads, Spin: true, Profile: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	in, _, err := firstSample(s, o)
	if err != nil {
		return nil, err
	}
	w := &watch{now: time.Now, least: max(o.Runs, MinRuns), within: o.Within, run: func(int) error {
		_, err := s.Run(ctx, in)
		return err
	}}
	times, err := w.time(1)
	if err != nil {
		return nil, err
	}
	runs, err := s.Profile()
	if err != nil || len(runs) < len(times[0]) {
		return runs, err
	}
	return runs[len(runs)-len(times[0]):], nil // without those that warmed up
}
