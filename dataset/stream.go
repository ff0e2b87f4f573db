package dataset

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
)

// DefaultBatch is the batch size where StreamOptions.Batch is 0.
const DefaultBatch = 32

// StreamOptions say how a data set is run through a model. The zero value runs all of it.
type StreamOptions struct {
	// Batch is the number of samples run at once. 0: DefaultBatch. A model with a fixed batch axis
	// uses its own.
	Batch int

	// Threads is the number of threads that work on one operator. 0: one per core.
	Threads int

	// Samples is the number of samples, the first ones of Data.Sample with Seed. 0: all.
	Samples int

	// Seed shuffles, where Samples leaves some out. FileOrder (-1): the first ones.
	Seed int64

	// Progress, if not nil, is told after each batch how many of all samples are done.
	Progress func(done, total int)
}

// Stream runs a model over a data set and hands the named tensors, any of its main graph, to f,
// batch by batch. Only what these tensors need is computed, and at most two batches are in memory.
//
// f gets the number of the batch, counted from 0, the number n of samples in it, and the tensors by
// name; they are f's to keep. Where a fixed batch axis makes the last batch longer than n, tensors
// are cut to the rows of the n samples if their first axis is the batch or a multiple of it. Stream
// ends with the first error of f, or when ctx ends.
func Stream(ctx context.Context, m *onnxio.Model, data *Data, tensors []string, o StreamOptions,
	f func(batch, n int, values map[string]*engine.Value) error) (err error) {
	defer guard.Recover(&err)
	s, err := engine.Open(m, engine.Options{Threads: o.Threads, Outputs: tensors, Unpacked: true})
	if err != nil {
		return err
	}
	defer s.Close()
	return StreamSession(ctx, s, data, o, f)
}

// StreamSession is [Stream] with the outputs and threads of an open session.
func StreamSession(ctx context.Context, s *engine.Session, data *Data, o StreamOptions,
	f func(batch, n int, values map[string]*engine.Value) error) error {
	data = data.Sample(o.Samples, o.Seed)
	feed, err := data.For(s.Inputs())
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name(), err)
	}
	var first error
	for size := feed.BatchSize(o.Batch); ; size = 1 {
		refused := false
		err := feed.each(ctx, size, func(b batch) error {
			out, err := s.Run(ctx, b.values)
			if err != nil {
				refused = b.index == 0
				return err
			}
			for name, v := range out {
				out[name] = feed.Trim(v, b.n)
			}
			if err := f(b.index, b.n, out); err != nil {
				return err
			}
			if o.Progress != nil {
				o.Progress(b.from+b.n, feed.data.Len())
			}
			return nil
		})
		switch {
		case refused && first != nil:
			return first
		case !refused || size == 1 || feed.Fixed() || ctx.Err() != nil:
			return err
		}
		first = err // exporters leave the batch axis free although a Reshape inside has its size built in
	}
}

// A batch is what goes into a model at once.
type batch struct {
	index, from, n int // its number, that of its first sample, and how many there are
	values         map[string]*engine.Value
	err            error
}

// read makes the values.
func (b *batch) read(f *Feed) {
	defer guard.Recover(&b.err)
	b.values, b.err = f.Batch(b.from, b.n)
}

// each calls f for every batch, in order, while the next one is being made.
func (f *Feed) each(ctx context.Context, size int, do func(batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan batch)
	go func() {
		defer close(next)
		total := f.data.Len()
		for index, from := 0, 0; from < total; index, from = index+1, from+size {
			b := batch{index: index, from: from, n: min(size, total-from)}
			b.read(f)
			select {
			case next <- b:
			case <-ctx.Done():
				return
			}
			if b.err != nil {
				return
			}
		}
	}()
	for b := range next {
		if b.err != nil {
			return b.err
		}
		if err := do(b); err != nil {
			return err
		}
	}
	return ctx.Err()
}
