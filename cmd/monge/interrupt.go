package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/monge-ml/monge/internal/guard"
)

// A phase is how far a command is that makes a model.
type phase int

const (
	other      phase = iota // no model is made
	working                 // there is nothing to write yet
	distilling              // and what was distilled is written
	writing                 // a file is about to appear
	sending                 // a stream has taken a part of the model, perhaps
	done                    // nothing is left to do
)

// patience is how long a command has to end by itself once it was told to: reading a pipe, or code
// of onnxruntime's, hears nothing.
const patience = 600 * time.Millisecond

// interrupts decides what signals do to a command. The first ends a distillation, whose result is
// written; the next, or the first where nothing is distilled, ends the command.
type interrupts struct {
	cancel context.CancelFunc
	stop   chan struct{} // closed: the distillation shall end
	say    func(line string)
	exit   func() // ends the program at once; nil where that is not to be

	mu      sync.Mutex
	phase   phase
	written string // the file that has been written; "" for none
}

func newInterrupts(cancel context.CancelFunc, say func(line string)) *interrupts {
	return &interrupts{cancel: cancel, stop: make(chan struct{}), say: say}
}

// enter is told what the command does next. It may be called of nil.
func (i *interrupts) enter(p phase) {
	if i != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.phase = p
	}
}

// wrote is told that the result is written. It may be called of nil.
func (i *interrupts) wrote(path string) {
	if i != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.written = path
	}
}

// outcome says what there is of the result when a command is interrupted.
func (i *interrupts) outcome() string {
	if i == nil {
		return "interrupted; nothing was written"
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.written != "":
		return "interrupted; " + i.written + " is written"
	case i.phase == sending:
		return "interrupted"
	}
	return "interrupted; nothing was written"
}

// end ends the command, at once where it does not hear that it shall. A file that is about to appear
// does so first.
func (i *interrupts) end() {
	i.cancel()
	if i.exit != nil {
		time.AfterFunc(patience, i.force)
	}
}

func (i *interrupts) force() {
	i.mu.Lock()
	now := i.phase
	i.mu.Unlock()
	switch now {
	case writing:
		time.AfterFunc(patience, i.force)
	case done:
	default:
		i.exit()
	}
}

// stopping is what ends a distillation; nil for nothing.
func (i *interrupts) stopping() <-chan struct{} {
	if i == nil {
		return nil
	}
	return i.stop
}

// signal does what a signal asks for, and reports whether another one may ask for more.
func (i *interrupts) signal() (more bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.stop: // it is not the first
		i.end()
		return false
	default:
	}
	switch i.phase {
	case distilling:
		close(i.stop)
		i.say("interrupted: the distillation ends, and what it has learnt is judged and written; once more, and nothing is")
		return true
	case working:
		i.say("nothing to write yet; stopping")
	}
	i.end()
	return false
}

// catch passes the signals that end programs on to a function, until it has seen enough of them. The
// next one ends the program at once. That the terminal is gone counts as well, except under nohup.
func catch(f func() (more bool)) {
	c := make(chan os.Signal, 2)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	signal.Notify(c, ends...)
	go func() {
		defer guard.Recover(new(error)) // what is said about a signal is no reason to die of
		for more := true; more; {
			<-c
			more = f()
		}
		signal.Stop(c)
	}()
}
