package stats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// maxFlowWorkers bounds the batches that are run at a time, and with them the memory that operators
// need.
const maxFlowWorkers = 4

// threadsOf resolves an option of which 0 means one per core.
func threadsOf(option int) int {
	if option > 0 {
		return option
	}
	return runtime.NumCPU()
}

// A Flow evaluates a model piece by piece over a fixed data set. It keeps the activations that the
// next piece starts from, so that a walk along the whole graph runs every node once, although nodes
// behind the walker may be edited in between ([Flow.SetModel]).
//
//	f, err := stats.NewFlow(m, data, dataset.StreamOptions{})
//	err = f.Compute(ctx, "h1")      // runs the graph from its inputs to h1
//	v, err := f.Batch(0, "h1")
//	err = f.Compute(ctx, "h2")      // runs from h1 on
//	f.Drop("h1")
//
// Models in float16 or bfloat16 are evaluated through a float32 copy. Where the model fixes the
// batch size, samples that do not fill a last batch are left out, unless there are fewer than one
// batch.
//
// One goroutine at a time may use the methods that change a Flow (Compute, Use, Drop,
// SetModel, Close); Batch may be called by several.
type Flow struct {
	// Room is for the activations that are kept; it is the flow's own unless it is replaced by one
	// that several flows share, before anything is computed.
	Room *Room

	given   *onnxio.Model // as it was handed over
	model   *onnxio.Model // in float32: given itself if it is
	layout  *layout       // of model; nil until it is needed
	feed    *dataset.Feed
	size    int // samples per batch
	samples int // in all batches
	used    int // batches that are worked with, the first ones
	threads int
	kept    map[string]*keptTensor
	lender  lender // of sessions that sum moments of what is kept
}

// NewFlow brings a model and a data set together. It runs the model once, on two samples, to find
// out whether it takes more than one: exporters leave the batch axis free although a Reshape inside
// has its size built in.
func NewFlow(m *onnxio.Model, data *dataset.Data, o dataset.StreamOptions) (_ *Flow, err error) {
	defer guard.Recover(&err)
	data = data.Sample(o.Samples, o.Seed)
	f := &Flow{Room: &Room{Bytes: defaultRoom}, threads: threadsOf(o.Threads), kept: map[string]*keptTensor{}, samples: data.Len()}
	inputs, err := f.setModel(m)
	if err != nil {
		return nil, err
	}
	f.given = m
	if f.feed, err = data.For(inputs); err != nil {
		return nil, err
	}
	f.size = f.feed.BatchSize(o.Batch)
	if f.feed, err = data.Ragged(f.size).For(inputs); err != nil {
		return nil, err
	}
	if f.feed.Fixed() && f.samples > f.size {
		f.samples -= f.samples % f.size
	}
	if f.size > 1 && !f.feed.Fixed() && f.samples > 1 {
		err = f.probe()
	}
	f.used = f.all()
	return f, err
}

// probe falls back to batches of one sample, if the model refuses more.
func (f *Flow) probe() error {
	s, err := engine.Open(f.model, engine.Options{Threads: f.threads, Unpacked: true})
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := f.feed.Batch(0, 2)
	if err != nil {
		return err
	}
	if _, err := s.Run(context.Background(), in); err != nil {
		f.size = 1
	}
	return nil
}

// setModel returns the inputs.
func (f *Flow) setModel(m *onnxio.Model) ([]engine.IOInfo, error) {
	m, err := rewire.WithoutBFloat16(m)
	if err == nil {
		m, err = rewire.Widen(m, onnxpb.TensorProto_FLOAT16)
	}
	if err != nil {
		return nil, err
	}
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	f.model, f.layout = m, nil
	return inputs, nil
}

// SetModel replaces the model by an edited one, whose inputs are the same. Kept tensors stay as
// they are; what is computed from now on is computed from them, by the new model. The model is not
// copied: constants that are set in it before the next Compute count too. To set the model that
// there is, with other constants, costs little, unless it is not in float32.
func (f *Flow) SetModel(m *onnxio.Model) error {
	if m == f.given && m == f.model {
		return nil
	}
	old, given, layout := f.model, f.given, f.layout
	inputs, err := f.setModel(m)
	if err != nil {
		return err
	}
	f.given = m
	for i, in := range f.feed.Inputs() {
		if len(inputs) != len(f.feed.Inputs()) || inputs[i].Name != in.Name || inputs[i].Type != in.Type {
			f.model, f.given, f.layout = old, given, layout
			return fmt.Errorf("%s: the inputs are others than those of %s", m.Title(), old.Title())
		}
	}
	return nil
}

// Samples is the number of samples in the batches that are worked with.
func (f *Flow) Samples() int { return min(f.samples, f.used*f.size) }

// Batches is the number of batches that are worked with: all of them, unless Use says otherwise.
func (f *Flow) Batches() int { return f.used }

// all is the number of batches that there are.
func (f *Flow) all() int { return (f.samples + f.size - 1) / f.size }

// Use works with so many batches, the first ones, from now on. What is kept of others is forgotten;
// for batches that come in, what is kept is computed from the graph's inputs, in one go, by the
// model as it is now. After an error nothing has changed.
func (f *Flow) Use(ctx context.Context, batches int) (err error) {
	defer guard.Recover(&err)
	batches = max(1, min(batches, f.all()))
	old := f.used
	f.used = batches
	if batches > old && len(f.kept) > 0 {
		err = f.fill(ctx, f.kept, nil, old)
	}
	if err != nil {
		f.used = old
	}
	for _, t := range f.kept {
		f.Room.cut(t, f.used)
	}
	return err
}

// BatchLen is the number of samples in a batch: the same for all but the last.
func (f *Flow) BatchLen(batch int) int { return min(f.size, f.samples-batch*f.size) }

// Keep lists the kept tensors, sorted.
func (f *Flow) Keep() []string { return slices.Sorted(maps.Keys(f.kept)) }

// Drop forgets tensors. Those that are not kept are passed over.
func (f *Flow) Drop(tensors ...string) error {
	var errs []error
	for _, name := range tensors {
		if t := f.kept[name]; t != nil {
			errs = append(errs, f.Room.remove(t))
			delete(f.kept, name)
		}
	}
	return errors.Join(errs...)
}

// places is the layout of the model.
func (f *Flow) places() (_ *layout, err error) {
	if f.layout == nil {
		f.layout, err = layoutOf(f.model)
	}
	return f.layout, err
}

// startingFrom returns the nearest kept tensors, and graph inputs, behind the given ones, in a
// fixed order.
func (f *Flow) startingFrom(tensors []string, kept func(string) bool) ([]string, error) {
	l, err := f.places()
	if err != nil {
		return nil, err
	}
	g := l.graph
	var starts []string
	seen := map[string]bool{}
	work := slices.Clone(tensors)
	for len(work) > 0 {
		name := work[len(work)-1]
		work = work[:len(work)-1]
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		if kept(name) || g.IsInput(name) {
			starts = append(starts, name)
		} else if n := g.Producer(name); n != nil {
			work = append(work, rewire.Reads(n)...)
		}
	}
	slices.Sort(starts)
	return starts, nil
}

// Compute evaluates tensors of the main graph for all batches and keeps them. It starts from the
// nearest kept tensors (the graph's inputs are always there) and runs every node in between once.
// Tensors that are kept already stay as they are: drop them first to have them computed anew. After
// an error none of the new tensors is kept.
func (f *Flow) Compute(ctx context.Context, tensors ...string) (err error) {
	defer guard.Recover(&err)
	var want []string
	for _, name := range tensors {
		if f.kept[name] == nil && !slices.Contains(want, name) {
			want = append(want, name)
		}
	}
	if len(want) == 0 {
		return ctx.Err()
	}
	made := make(map[string]*keptTensor, len(want))
	for _, name := range want {
		made[name] = &keptTensor{}
	}
	if err := f.fill(ctx, made, f.kept, 0); err != nil {
		for _, t := range made {
			err = errors.Join(err, f.Room.remove(t))
		}
		return err
	}
	maps.Copy(f.kept, made)
	return nil
}

// fill computes tensors from others that are kept, and from graph inputs, for the batches from one
// on.
func (f *Flow) fill(ctx context.Context, made, kept map[string]*keptTensor, from int) error {
	want := slices.Sorted(maps.Keys(made))
	part, err := f.part(want, kept)
	if err != nil {
		return err
	}
	// Several batches at a time keep all cores busy where operators are small, and while values are
	// copied.
	workers := min(f.threads, f.used-from, maxFlowWorkers)
	s, err := engine.Open(part, engine.Options{Threads: f.threads / workers, Outputs: want, Unpacked: true})
	if err != nil {
		return err
	}
	defer s.Close()
	return f.run(ctx, s, workers, made, kept, from)
}

// part cuts out what computes some tensors from kept ones.
func (f *Flow) part(want []string, kept map[string]*keptTensor) (*onnxio.Model, error) {
	starts, err := f.startingFrom(want, func(name string) bool { return kept[name] != nil })
	if err != nil {
		return nil, err
	}
	var from []*onnxpb.ValueInfoProto
	for _, name := range starts {
		if t := kept[name]; t != nil {
			from = append(from, t.declare(name))
		}
	}
	l, err := f.places()
	if err != nil {
		return nil, err
	}
	return l.part(from, want)
}

// declare describes a kept tensor as an input. Sizes that are known let onnxruntime optimise more.
func (t *keptTensor) declare(name string) *onnxpb.ValueInfoProto {
	if t.info == nil || t.info.anyRank {
		return rewire.OutputInfo(name, t.typ)
	}
	return declare(name, t.typ, t.info.dims)
}

// declare describes an input whose sizes, but for those that are negative, are known.
func declare(name string, typ engine.DType, dims []int) *onnxpb.ValueInfoProto {
	known := make([]any, len(dims))
	for i, d := range dims {
		if d >= 0 {
			known[i] = d
		}
	}
	return onnxio.NewValueInfo(name, typ, known...)
}

// run fills the tensors that a session computes, some batches at a time.
func (f *Flow) run(ctx context.Context, s *engine.Session, workers int, made, kept map[string]*keptTensor, from int) error {
	var reads []string
	for _, in := range s.Inputs() {
		reads = append(reads, in.Name)
	}
	batches := ordered[map[string]*engine.Value]{limit: workers, take: func(out map[string]*engine.Value) error {
		for name, t := range made {
			if err := f.Room.add(t, out[name]); err != nil {
				return err
			}
		}
		return nil
	}}
	defer batches.abandon()
	for i := from; i < f.used; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := batches.start(func() (map[string]*engine.Value, error) {
			in, err := f.values(i, reads, kept)
			if err != nil {
				return nil, err
			}
			return s.Run(ctx, in)
		})
		if err != nil {
			return err
		}
	}
	return batches.finish(0)
}

// values returns one batch of kept tensors or graph inputs.
func (f *Flow) values(batch int, tensors []string, kept map[string]*keptTensor) (map[string]*engine.Value, error) {
	out := make(map[string]*engine.Value, len(tensors))
	var graph map[string]*engine.Value
	var err error
	for _, name := range tensors {
		if t := kept[name]; t != nil {
			out[name], err = t.get(name, batch)
		} else {
			if graph == nil {
				graph, err = f.feed.Batch(batch*f.size, f.BatchLen(batch))
			}
			out[name] = graph[name]
		}
		switch {
		case err != nil:
			return nil, err
		case out[name] == nil:
			return nil, fmt.Errorf("%s: tensor %q is not kept", f.model.Title(), name)
		}
	}
	return out, nil
}

// Batch returns one batch of kept tensors or graph inputs. Values may be shared: they must not be
// changed. Where a fixed batch axis is longer than there are samples, they are cut as by
// [dataset.Stream].
func (f *Flow) Batch(batch int, tensors ...string) (map[string]*engine.Value, error) {
	if batch < 0 || batch >= f.Batches() {
		return nil, fmt.Errorf("no batch %d: there are %d", batch, f.Batches())
	}
	out, err := f.values(batch, tensors, f.kept)
	for name, v := range out {
		out[name] = f.feed.Trim(v, f.BatchLen(batch))
	}
	return out, err
}

// Close forgets everything and removes the temporary files.
func (f *Flow) Close() error {
	f.lender.close()
	return f.Drop(f.Keep()...)
}
