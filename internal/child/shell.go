package child

import (
	"context"
	"errors"
	"os/exec"
	"time"
)

// Said is what a program printed: the ends of both streams.
type Said struct{ Out, Err string }

// Shell runs a command line by the system's shell: sh, or cmd on Windows. It reads nothing. Once it
// has ended, or ctx is done, all programs that it has started are ended, as far as the system lets
// that be seen (on Unix, its process group). The error is that of ctx, or says how the command ended.
func Shell(ctx context.Context, line string) (Said, error) {
	cmd := shell(ctx, line)
	var out, errs tail
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Cancel = func() error { return endAll(cmd) }
	cmd.WaitDelay = patience
	err := Run(cmd)
	if cmd.Process != nil {
		_ = endAll(cmd) // what it has left running
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has ended itself; another program still held its output
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return Said{string(out.last), string(errs.last)}, err
}

// patience is how long output is waited for that programs may still hold which a command has left.
const patience = 2 * time.Second

// A tail keeps the end of what is written to it.
type tail struct{ last []byte }

// mostKept is how many bytes are kept at least.
const mostKept = 1 << 16

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	if len(t.last) > 2*mostKept {
		t.last = append(t.last[:0], t.last[len(t.last)-mostKept:]...)
	}
	return len(p), nil
}
