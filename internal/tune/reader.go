package tune

import (
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// A reader reads what the child takes in one run: units of samples, single ones or as many as a
// model that fixes its batch size takes.
type reader struct {
	inputs []engine.IOInfo
	unit   int // samples
	units  int // in one run
	runs   int // in one step
}

// newReader makes a reader whose steps are of so many samples, as far as the model allows.
func newReader(m *onnxio.Model, data *dataset.Data, batch int) (*reader, error) {
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	feed, err := data.For(inputs)
	if err != nil {
		return nil, err
	}
	batch = min(batch, data.Len())
	if fixed := feed.BatchSize(1); fixed > 1 || feed.BatchSize(2) == 1 {
		return &reader{inputs: inputs, unit: fixed, units: 1, runs: max(1, batch/fixed)}, nil
	}
	return &reader{inputs: inputs, unit: 1, units: batch, runs: 1}, nil
}

// limit makes runs of at most so many units, and of no more than now. A step keeps its samples where
// that is possible with runs of one size, and else loses some.
func (r *reader) limit(units int) {
	all := r.units * r.runs
	most := min(max(units, 1), r.units)
	r.units, r.runs = most, all/most
	for n := most; n > most/2; n-- {
		if all%n == 0 {
			r.units, r.runs = n, all/n
			return
		}
	}
}

// singly reads the first units one by one, at most so many.
func (r *reader) singly(data *dataset.Data, most int) ([]map[string]*engine.Value, error) {
	feed, err := data.For(r.inputs)
	if err != nil {
		return nil, err
	}
	starts := r.starts(0, data.Len())
	var out []map[string]*engine.Value
	for _, from := range starts[:min(most, len(starts))] {
		in, err := r.read(feed, data.Len(), []int{from})
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

// samples is the number of samples of one step.
func (r *reader) samples() int { return r.unit * r.units * r.runs }

// starts are the first samples of all whole units from one sample to another, or the first of a
// unit that is to be filled up.
func (r *reader) starts(from, to int) []int {
	out := []int{from}
	for from += r.unit; from+r.unit <= to; from += r.unit {
		out = append(out, from)
	}
	return out
}

// steps is the number of steps in which so many samples are seen once.
func (r *reader) steps(samples int) int {
	return max(1, len(r.starts(0, samples))/(r.units*r.runs))
}

// step are the units of each run of the s-th step through all units.
func (r *reader) step(all []int, s int) [][]int {
	out := make([][]int, r.runs)
	for k := range out {
		at := (s*r.runs + k) * r.units % len(all)
		out[k] = all[at:min(at+r.units, len(all))]
	}
	return out
}

// examples reads the first samples, as many as one step takes.
func (r *reader) examples(data *dataset.Data) ([]map[string]*engine.Value, error) {
	feed, err := data.For(r.inputs)
	if err != nil {
		return nil, err
	}
	var out []map[string]*engine.Value
	all := r.starts(0, data.Len())
	for k := range min(r.runs, max(1, len(all)/r.units)) {
		in, err := r.read(feed, data.Len(), all[k*r.units:(k+1)*r.units])
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

// read reads the units that start at some of so many samples and lays them behind each other. What
// has no axes is the same for all.
func (r *reader) read(feed *dataset.Feed, samples int, starts []int) (map[string]*engine.Value, error) {
	pieces := map[string][]*engine.Value{}
	for _, from := range starts {
		in, err := feed.Batch(from, min(r.unit, samples-from))
		if err != nil {
			return nil, err
		}
		for name, v := range in {
			pieces[name] = append(pieces[name], v)
		}
	}
	out := map[string]*engine.Value{}
	for name, list := range pieces {
		if out[name] = list[0]; len(list[0].Dims) > 0 {
			out[name] = engine.Join(list)
		}
	}
	return out, nil
}
