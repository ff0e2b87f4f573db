package tune

import (
	"context"
	"maps"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
)

const (
	// mostLengths bounds the number of training graphs of a model that reads sequences: one for each
	// length that runs are cut to.
	mostLengths = 4
	// worthLength is the share of all places that a further length must save.
	worthLength = 0.1
)

// lengthsFor are the lengths that sequences are cut to, at most mostLengths, so that few places are
// read behind their ends. The last one is that of the longest.
func lengthsFor(ends []int) []int {
	if len(ends) == 0 {
		return nil
	}
	count := make([]int, slices.Max(ends)+1) // of sequences, by length
	for _, n := range ends {
		count[n]++
	}
	for n := 1; n < len(count); n++ {
		count[n] += count[n-1] // up to it
	}
	// read[n] is how many places are read of the sequences up to n, if n is the last of so many
	// lengths; before has, for each number of lengths but one, the last but one by the last, 0 for none.
	read := make([]int, len(count))
	for n := range read {
		read[n] = n * count[n]
	}
	var before [][]int
	for len(before)+1 < mostLengths {
		next, from := slices.Clone(read), make([]int, len(read))
		for n := range next {
			next[n] = n * count[n]
			for m := range n {
				if v := read[m] + n*(count[n]-count[m]); v < next[n] {
					next[n], from[n] = v, m
				}
			}
		}
		last := len(read) - 1
		if float64(read[last]-next[last]) < worthLength*float64(read[last]) {
			break
		}
		read, before = next, append(before, from)
	}
	out := []int{len(count) - 1}
	for _, from := range slices.Backward(before) {
		n := from[out[0]]
		if n == 0 {
			break
		}
		out = slices.Insert(out, 0, n)
	}
	return out
}

// A stage is what one step runs on: some samples, and the trainer for their length.
type stage struct {
	trainer *trainer
	runs    [][]int
}

// shorten prepares training on sequences that end before the longest one does: a trainer for each
// length, with the parameters of the one that there is.
func (r *run) shorten(ctx context.Context, seen *sights) error {
	r.trainers = []*trainer{r.trainer}
	lengths := lengthsFor(r.o.Data.Lengths())
	if len(lengths) < 2 {
		return nil
	}
	feed, err := r.o.Data.For(r.reader.inputs)
	if err != nil {
		return err
	}
	for _, n := range slices.Backward(lengths[:len(lengths)-1]) {
		example, err := r.reader.read(feed.Padded(n), r.o.Data.Len(), r.reader.starts(0, r.o.Data.Len())[:r.reader.units])
		if err != nil {
			return err
		}
		t, err := r.shorter(ctx, seen, example)
		if err != nil {
			return err
		}
		if t == nil {
			continue // what cannot be trained on short sequences is trained on longer ones
		}
		t.length = n
		r.trainers = slices.Insert(r.trainers, 0, t)
	}
	return nil
}

// shorter is the trainer again, for runs of other sizes; nil if there is none that trains the same
// parameters.
func (r *run) shorter(ctx context.Context, seen *sights, example map[string]*engine.Value) (*trainer, error) {
	s := &sights{dims: maps.Clone(seen.dims), values: maps.Clone(seen.values), rms: seen.rms}
	if err := s.resize(ctx, r.child, example); err != nil {
		return nil, ctx.Err()
	}
	var goals []*goal
	for _, g := range r.trainer.goals {
		g := *g
		g.dims = s.dims[g.Tensor]
		goals = append(goals, &g)
	}
	t, err := newTrainer(ctx, r.child, goals, s, r.o.Threads)
	if err != nil {
		return nil, ctx.Err()
	}
	if !slices.Equal(t.names, r.trainer.names) {
		t.session.Close()
		return nil, nil
	}
	t.params, t.unit = r.trainer.params, r.trainer.unit
	return t, nil
}

// share is how many places runs read, relative to those of the longest sequences.
func (r *run) share() float64 {
	ends := r.o.Data.Lengths()
	if len(r.trainers) == 1 || len(ends) == 0 {
		return 1
	}
	read, long := 0, slices.Max(ends)
	for _, n := range ends {
		if t := r.trainerFor(n); t.length > 0 {
			read += t.length
		} else {
			read += long
		}
	}
	return float64(read) / float64(long*len(ends))
}

// trainerFor is the trainer for sequences of that length.
func (r *run) trainerFor(length int) *trainer {
	return r.trainers[slices.IndexFunc(r.trainers, func(t *trainer) bool { return t.length == 0 || t.length >= length })]
}

// stages are what the steps of an epoch run on: so many, of units in any order. Sequences that do not
// fill a step of their length are run with longer ones.
func (r *run) stages(data *dataset.Data, units []int, steps int) []stage {
	var out []stage
	if len(r.trainers) == 1 {
		for k := range steps {
			out = append(out, stage{r.trainer, r.reader.step(units, k)})
		}
		return out
	}
	ends := data.Lengths()
	of := map[*trainer][]int{}
	for _, from := range units {
		t := r.trainerFor(slices.Max(ends[from:min(from+r.reader.unit, len(ends))]))
		of[t] = append(of[t], from)
	}
	each := r.reader.units * r.reader.runs
	var left []int // of shorter ones
	for _, t := range r.trainers {
		list := slices.Concat(left, of[t])
		for ; len(list) >= each; list = list[each:] {
			out = append(out, stage{t, r.reader.step(list[:each], 0)})
		}
		left = list
	}
	if len(out) == 0 {
		out = append(out, stage{r.trainer, r.reader.step(left, 0)})
	}
	r.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(steps, len(out))]
}
