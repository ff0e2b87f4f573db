package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress returns a callback that draws a bar on the terminal, and a function
// that removes it. Both do nothing where nobody watches.
func (a *app) progress(label string) (update func(done, total int), clear func()) {
	if !a.terminal || a.quiet || a.json {
		return nil, func() {}
	}
	var bar *progressbar.ProgressBar
	last, of := 0, 0
	clear = func() {
		if bar != nil {
			_ = bar.Clear() // decoration: an error here is none of the user's business
			bar = nil
		}
	}
	return func(done, total int) {
		if bar == nil || total != of || done < last {
			clear()
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(a.stderr), progressbar.OptionSetDescription(label),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
		}
		last, of = done, total
		_ = bar.Set(done)
	}, clear
}
