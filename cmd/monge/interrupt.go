package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// A phase is how far a command is that makes a model.
type phase int

const (
	other      phase = iota // no model is made
	working                 // there is nothing to write yet
	distilling              // and what was distilled is written
)

// interrupts decides what signals do to a command. The first ends a distillation, whose result is
// written; the next, or the first where nothing is distilled, ends the command.
type interrupts struct {
	cancel context.CancelFunc
	stop   chan struct{} // closed: the distillation shall end
	say    func(line string)

	mu    sync.Mutex
	phase phase
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
		i.cancel()
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
	i.cancel()
	return false
}

// catch passes the signals that end programs on to a function, until it has seen enough of them. The
// next one ends the program at once.
func catch(f func() (more bool)) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() {
		for more := true; more; {
			<-c
			more = f()
		}
		signal.Stop(c)
	}()
}
