package dataset

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// A Feed is a data set brought together with the inputs of a model: a source of batches. It may be
// used by several goroutines at once.
type Feed struct {
	data  *Data
	slots []slot
	batch int // the only batch size that the model takes; 0 if it takes any
	// length is that of all sequences; 0: as the data are.
	length int
}

type slot struct {
	in engine.IOInfo
	binding
}

// For matches the data set with the inputs of a model, by name, or as the only array with the only
// input. Errors name the file, the array, and both shapes.
func (d *Data) For(inputs []engine.IOInfo) (*Feed, error) {
	f := &Feed{data: d}
	if d.pre.changes() && !slices.ContainsFunc(inputs, func(in engine.IOInfo) bool { return onnxio.IsFloat(in.Type) || in.Type == 0 }) {
		return nil, fmt.Errorf("%s: scale, mean and std need an input of floating-point type, the model has none", d.name)
	}
	for i, in := range inputs {
		c, err := d.column(i, in, len(inputs))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		b, err := c.bind(in, d.pre)
		if err != nil {
			if c.name() != "" {
				err = fmt.Errorf("array %q: %w", c.name(), err)
			}
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		if a, ok := c.(*array); ok && onnxio.IsInteger(a.typ) {
			b.finite = true
		}
		f.slots = append(f.slots, slot{in, b})
	}
	return f, f.fixBatch()
}

// checked refuses NaN and infinite numbers, as Finite does, which names all samples that have some.
func (d *Data) checked(v *engine.Value, samples []int) error {
	bad := nonFiniteRows(v, len(samples))
	if len(bad) == 0 {
		return nil
	}
	sample := samples[bad[0]]
	if d.rows != nil {
		sample = d.rows[sample]
	}
	return fmt.Errorf("sample %d, counted from 0, has NaN or infinite numbers in it: --data has to be finite numbers", sample)
}

// column finds the column for input i of n.
func (d *Data) column(i int, in engine.IOInfo, n int) (column, error) {
	for _, c := range d.columns {
		if c.name() == in.Name {
			return c, nil
		}
	}
	if d.labelled != nil && d.labelled.name() == in.Name {
		return d.labelled, nil
	}
	switch {
	case d.complete:
		// Test data is matched by position, as its file names say.
		if i < len(d.columns) {
			return d.columns[i], nil
		}
		return nil, fmt.Errorf("no input_%d.pb for input %q", i, in.Name)
	case n == 1 && len(d.columns) == 1:
		return d.columns[0], nil
	}
	if reason, there := d.left[in.Name]; there {
		return nil, fmt.Errorf("array %q: %s", in.Name, reason)
	}
	var names []string
	for _, c := range d.columns {
		names = append(names, fmt.Sprintf("%q", c.name()))
	}
	return nil, fmt.Errorf("no array %q for input %s (arrays: %v)", in.Name, in, names)
}

// remarks says what was made to fit.
func (f *Feed) remarks() []string {
	var list []string
	for _, s := range f.slots {
		if s.note != "" {
			list = append(list, fmt.Sprintf("%s: %s", f.data.name, s.note))
		}
	}
	return list
}

// fixBatch finds the batch size that the inputs force.
func (f *Feed) fixBatch() error {
	var first string
	for _, s := range f.slots {
		size := 0
		switch {
		case s.whole:
			size = 1
		case len(s.in.Dims) > 0 && s.in.Dims[0] > 0:
			size = int(s.in.Dims[0])
		}
		if size == 0 {
			continue
		}
		if f.batch != 0 && f.batch != size {
			return fmt.Errorf("%s: input %q wants batches of %d, input %q of %d", f.data.name, first, f.batch, s.in.Name, size)
		}
		f.batch, first = size, s.in.Name
	}
	return f.checkBatch()
}

// mostBatch bounds the values of the inputs of one run, in bytes, where a model says how many
// samples that is, its file may claim anything, and nobody says what memory there is.
const mostBatch = 4 << 30

// checkBatch refuses a model whose inputs are larger than any.
func (f *Feed) checkBatch() error {
	most := float64(cmp.Or(f.data.memory, mostBatch))
	total := 8 * float64(f.batch) // the numbers of its samples
	for _, s := range f.slots {
		bytes := float64(onnxio.StoredBytes(s.in.Type, 1))
		for _, d := range s.in.Dims {
			bytes *= float64(max(d, 1))
		}
		if total += bytes; total > most {
			return fmt.Errorf("%s: input %q %s: a single run takes %.3g GB of input, more than %.3g GB (more --memory allows more)", f.data.name, s.in.Name, s.in.Shape(), total/1e9, most/1e9)
		}
	}
	return nil
}

// Fixed reports whether the model takes batches of one size only.
func (f *Feed) Fixed() bool { return f.batch != 0 }

// Rows is the number of rows that the model gets for n samples.
func (f *Feed) Rows(n int) int {
	if f.Fixed() {
		return f.batch
	}
	return n
}

// Inputs lists the inputs that are fed.
func (f *Feed) Inputs() []engine.IOInfo {
	out := make([]engine.IOInfo, len(f.slots))
	for i, s := range f.slots {
		out[i] = s.in
	}
	return out
}

// BatchSize is the batch size to use where size is wanted (0: DefaultBatch): the model's own, if it
// takes no other.
func (f *Feed) BatchSize(size int) int {
	if size <= 0 {
		size = DefaultBatch
	}
	return f.Rows(size)
}

// Trim cuts the rows of n samples out of what a model makes of their batch, where the first axis is
// the batch or a multiple of it.
func (f *Feed) Trim(v *engine.Value, n int) *engine.Value {
	size := f.Rows(n)
	if n == size || len(v.Dims) == 0 || v.Dims[0]%size != 0 {
		return v
	}
	return engine.Rows(v, 0, v.Dims[0]/size*n)
}

// Batch returns the inputs for n samples from the given one on. Where the model has a fixed batch
// axis that is longer, it is filled up by repeating the last sample.
func (f *Feed) Batch(from, n int) (map[string]*engine.Value, error) {
	places := make([]int, f.Rows(n))
	for i := range places {
		places[i] = f.data.order[from+min(i, n-1)]
	}
	samples := f.data.samplesOf(places)
	values := make(map[string]*engine.Value, len(f.slots))
	for _, s := range f.slots {
		v, err := s.read(samples)
		if err != nil {
			return nil, fmt.Errorf("%s: input %q: %w", f.data.name, s.in.Name, err)
		}
		if err := f.data.checked(v, samples); err != nil {
			return nil, fmt.Errorf("%s: input %q: %w", f.data.name, s.in.Name, err)
		}
		v.Name = s.in.Name
		values[s.in.Name] = v
	}
	if err := f.vary(places, values); err != nil {
		return nil, fmt.Errorf("%s: %w", f.data.name, err)
	}
	f.cut(places, values)
	return values, nil
}
