// Package admit decides whether a model is run at all: a file of a few bytes can ask for more memory
// than there is, and onnxruntime dies of some.
package admit

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options say with what a model is going to be run.
type Options struct {
	// Inputs are one sample, by input name. nil: ones, or zeros where integers are wanted.
	Inputs map[string]*engine.Value
	// Shapes are the sizes of inputs, by name, where Inputs is nil and the model leaves them open.
	Shapes map[string][]int
	// Trial runs the model in a program of its own; nil for none.
	Trial *engine.Trial
}

// batchElements is how many elements of a tensor are made at once: half a gigabyte of single numbers.
const batchElements = 1 << 27

// most is how many elements a tensor may have per sample: as many as take a quarter of the memory that
// a model may take, a gigabyte where nothing else is said. What is made of stored weights, such as an
// embedding turned around, may be as large as they are.
func most(m *onnxio.Model, t *engine.Trial) float64 {
	const share, single = 4, 4 // bytes
	n := float64(t.Most()) / share / single
	for _, p := range m.Proto.GetGraph().GetInitializer() {
		n = max(n, float64(onnxio.Elements(p)))
	}
	return n
}

// Batch is how many samples to run at once, of at most n: so many that no tensor takes more than half
// a gigabyte of single numbers for it, or one.
func Batch(m *onnxio.Model, shapes map[string][]int, n int) int {
	an, err := coupling.Analyze(m, coupling.Options{InputShapes: shapes, Opaque: true})
	if err != nil {
		return n
	}
	_, elements := largest(an)
	return max(1, min(n, int(batchElements/max(elements, 1))))
}

// Model is an error if a model must not be run: one that wraps [engine.ErrMemory] if a tensor of one
// sample takes a quarter of the memory of the trial or more, or its functions make too many nodes, or
// the error of the trial. Whatever else is wrong with it is left to who runs it.
func Model(ctx context.Context, m *onnxio.Model, o Options) error {
	if n := writtenOut(m.Proto); n > mostNodes {
		return fmt.Errorf("%s: %w: its functions, written out, have %.2g nodes, more than %.2g", m.Title(), engine.ErrMemory, n, float64(mostNodes))
	}
	shapes := o.Shapes
	if o.Inputs != nil {
		shapes = map[string][]int{}
		for name, v := range o.Inputs {
			shapes[name] = v.Dims
		}
	}
	if an, err := coupling.Analyze(m, coupling.Options{InputShapes: shapes, Opaque: true}); err == nil {
		if name, n := largest(an); n > most(m, o.Trial) {
			return fmt.Errorf("%s: %w: %q has %.2g elements per sample, more than %.2g (more --memory allows more)", m.Title(), engine.ErrMemory, name, n, most(m, o.Trial))
		}
	}
	if o.Trial == nil {
		return nil
	}
	in := o.Inputs
	if in == nil {
		var err error
		if in, err = plain(m, shapes, most(m, o.Trial)); err != nil {
			return nil // it cannot be run
		}
	}
	return o.Trial.Run(ctx, m, in)
}

// On is Model with the first sample of data, which may be nil.
func On(ctx context.Context, m *onnxio.Model, data *dataset.Data, o Options) error {
	if data != nil && data.Len() > 0 {
		if infos, err := engine.Inputs(m); err == nil {
			if feed, err := data.For(infos); err == nil {
				o.Inputs, _ = feed.Batch(0, min(feed.BatchSize(1), data.Len()))
			}
		}
	}
	return Model(ctx, m, o)
}

// largest is the first by name of the largest tensors, and its number of elements, where open sizes
// count as one.
func largest(an *coupling.Analysis) (name string, elements float64) {
	for _, tensor := range slices.Sorted(maps.Keys(an.Activations)) {
		n := 1.0 // the product may overflow an int
		for _, a := range an.Activations[tensor] {
			n *= float64(max(a.Size(), 1)) // −1 where it is open
		}
		if n > elements {
			name, elements = tensor, n
		}
	}
	return name, elements
}

// plain is one sample of ones, and zeros where a model takes integers.
func plain(m *onnxio.Model, shapes map[string][]int, most float64) (map[string]*engine.Value, error) {
	infos, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	in := map[string]*engine.Value{}
	for _, info := range infos {
		dims, err := info.Sizes(shapes[info.Name])
		if err != nil {
			return nil, err
		}
		n := 1.0
		for _, d := range dims {
			n *= float64(d)
		}
		if n > most {
			return nil, fmt.Errorf("%q has %.2g elements", info.Name, n)
		}
		v := engine.Float32(make([]float32, int(n)), dims...)
		for i := range v.F32 {
			if onnxio.IsFloat(info.Type) || info.Type == onnxpb.TensorProto_UNDEFINED {
				v.F32[i] = 1
			}
		}
		if in[info.Name], err = engine.Cast(v, info.Type); err != nil {
			return nil, err
		}
	}
	return in, nil
}
