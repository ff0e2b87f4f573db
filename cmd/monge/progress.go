package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// A watcher is told what is being done, and how much of how much is done.
type watcher func(stage string, done, total int)

// progress returns a watcher that draws a bar on the terminal, nil where nobody
// looks, and a function that removes the bar.
func (a *app) progress() (w watcher, clear func()) {
	if !a.terminal || a.quiet || a.json {
		return nil, func() {}
	}
	var bar *progressbar.ProgressBar
	var name string
	last, of := 0, 0
	clear = func() {
		if bar != nil {
			_ = bar.Clear() // decoration: an error here is none of the user's business
			bar = nil
		}
	}
	return func(stage string, done, total int) {
		if total <= 0 {
			total = -1 // a spinner
		}
		if bar == nil || stage != name || total != of || done < last {
			clear()
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(a.stderr), progressbar.OptionSetDescription(stage),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
		}
		name, last, of = stage, done, total
		_ = bar.Set(done)
	}, clear
}

// stage is a watcher for one stage; nil if w is.
func stage(w watcher, name string) func(done, total int) {
	if w == nil {
		return nil
	}
	return func(done, total int) { w(name, done, total) }
}
