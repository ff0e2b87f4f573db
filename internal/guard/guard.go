// Package guard turns panics into errors, so that a mistake in the program, met on a model that
// nobody thought of, is one line that names what was worked on.
//
// Functions that handle one node, weight or space defer [Recover]; whoever calls them puts the name
// before the error, as before any other. The functions that users call defer it too, for what
// happens between these. A panic in a goroutine ends the program whatever its starter defers:
// goroutines are started by a [Group], or recover by themselves.
package guard

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// A Panic is the error that a panic was turned into.
type Panic struct {
	// Value is what was panicked with.
	Value any
	// Stack is where that happened, for whoever looks for the mistake. It is no part of the
	// message.
	Stack []byte
}

func (p *Panic) Error() string {
	return fmt.Sprintf("internal error, please report it: %v", p.Value)
}

// Unwrap returns the panic's value where that is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Recover, deferred, sets an error to the panic that ends the function, if one does.
func Recover(err *error) {
	if v := recover(); v != nil {
		*err = panicOf(v)
	}
}

// At is Recover for a function whose caller does not say what it works on: what puts that before
// the error.
func At(err *error, what func() string) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%s: %w", what(), panicOf(v))
	}
}

// panicOf keeps the stack of a panic that comes from another goroutine.
func panicOf(v any) *Panic {
	if p, ok := v.(*Panic); ok {
		return p
	}
	return &Panic{v, debug.Stack()}
}

// A Group runs functions at the same time. The zero value is ready.
type Group struct {
	wait  sync.WaitGroup
	once  sync.Once
	panic *Panic // the first
}

// Go starts a function in a goroutine of its own.
func (g *Group) Go(f func()) {
	g.wait.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				g.once.Do(func() { g.panic = panicOf(v) })
			}
		}()
		f()
	})
}

// Wait waits for all functions. Where one of them has panicked, Wait does.
func (g *Group) Wait() {
	g.wait.Wait()
	if g.panic != nil {
		panic(g.panic)
	}
}
