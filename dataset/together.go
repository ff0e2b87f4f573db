package dataset

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// StreamTogether streams the same samples through several models side by side and hands f the named
// tensors of each, batch by batch, with the number of samples. Names may repeat. Progress is that
// of the first model.
func StreamTogether(ctx context.Context, models []*onnxio.Model, data *Data, tensors [][]string, o StreamOptions,
	f func(n int, values []map[string]*engine.Value) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type batch struct {
		n      int
		values map[string]*engine.Value
		err    error // with which the stream ended
	}
	rest := o
	rest.Progress = nil
	others := make([]chan batch, len(models)-1)
	for i := range others {
		others[i] = make(chan batch)
		hand := func(b batch) error {
			select {
			case others[i] <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		go func() {
			defer close(others[i])
			err := Stream(ctx, models[i+1], data, tensors[i+1], rest, func(_, n int, values map[string]*engine.Value) error {
				return hand(batch{n, values, nil})
			})
			hand(batch{err: err})
		}()
	}
	err := Stream(ctx, models[0], data, tensors[0], o, func(_, n int, values map[string]*engine.Value) error {
		all := []map[string]*engine.Value{values}
		for _, other := range others {
			b := <-other
			if b.err != nil {
				return b.err
			}
			if b.n != n {
				return fmt.Errorf("the models take batches of different sizes, %d and %d samples", n, b.n)
			}
			all = append(all, b.values)
		}
		return f(n, all)
	})
	cancel()
	for i := range others { // let the other sides end
		for range others[i] {
		}
	}
	return err
}
