package ot

import (
	"runtime"

	"github.com/monge-ml/monge/internal/guard"
)

// parallelWork is the number of matrix entries below which a second goroutine does not pay.
const parallelWork = 1 << 16

// workers returns how many goroutines should share work on entries matrix entries.
func (s Solver) workers(entries int) int {
	n := s.Threads
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return max(1, min(n, entries/parallelWork))
}

// share calls f for workers consecutive parts of 0 … n−1, at the same time.
func share(n, workers int, f func(worker, from, to int)) {
	var wait guard.Group
	for w := 1; w < workers; w++ {
		wait.Go(func() { f(w, w*n/workers, (w+1)*n/workers) })
	}
	f(0, 0, n/workers)
	wait.Wait()
}
