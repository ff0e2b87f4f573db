package stats

import "github.com/monge-ml/monge/internal/guard"

// ordered runs jobs, some at a time, and hands their results on in the order in which the jobs
// began, so that nothing depends on which one ends first. It is to be used by one goroutine.
type ordered[T any] struct {
	limit   int           // jobs at a time, at least 1
	take    func(T) error // gets the results
	running []*pending[T]
}

// A pending job; result and err are set when done is closed.
type pending[T any] struct {
	done   chan struct{}
	result T
	err    error
}

// start begins a job, after waiting for the oldest one where the limit is reached. It returns the
// first error of a job or of take.
func (o *ordered[T]) start(job func() (T, error)) error {
	if err := o.finish(o.limit - 1); err != nil {
		return err
	}
	p := &pending[T]{done: make(chan struct{})}
	o.running = append(o.running, p)
	go func() {
		defer close(p.done)
		defer guard.Recover(&p.err)
		p.result, p.err = job()
	}()
	return nil
}

// finish waits for the oldest jobs until at most some are left.
func (o *ordered[T]) finish(left int) error {
	for len(o.running) > left {
		p := o.running[0]
		<-p.done
		o.running = o.running[1:]
		if p.err != nil {
			return p.err
		}
		if err := o.take(p.result); err != nil {
			return err
		}
	}
	return nil
}

// abandon waits for all jobs and drops their results.
func (o *ordered[T]) abandon() {
	for _, p := range o.running {
		<-p.done
	}
	o.running = nil
}
