package main

import (
	"cmp"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/progress"
	"github.com/monge-ml/monge/job"
)

// progress returns a function that shows how far the command is, until it prints something; nil
// where that is not wanted.
func (a *app) progress() func(stage string, done, total int) {
	if a.display == nil || a.quiet || a.json && !a.terminal {
		return nil
	}
	return func(name string, done, total int) { a.display.Update(stageName(name), done, total) }
}

// working is progress for work that makes a model: it also tells when that is distilled, since
// signals do something else then.
func (a *app) working() func(stage string, done, total int) {
	show := a.progress()
	a.interrupts.enter(working)
	return func(name string, done, total int) {
		if name == job.Distilling {
			a.interrupts.enter(distilling)
		}
		if show != nil {
			show(name, done, total)
		}
	}
}

// stream is how data are run through a model in a stage.
func (a *app) stream(stage string, batch int) dataset.StreamOptions {
	o := job.Options{Batch: batch, Threads: a.threads, Progress: a.progress()}
	return o.Stream(stage)
}

// stageNames says in words what the packages call their stages.
var stageNames = map[string]string{
	"select": "choosing channels", "allocate": "allocating widths", "refit": "refitting layers", "measure": "measuring",
	"distil": "distilling", "match": "comparing activations", "read": "reading the data", "compare": "comparing candidates", "lossless": "removing what does not matter",
	"tasks": "looking at the outputs", "price blocks": "pricing blocks", "price blocks together": "pricing blocks together", "price ranks": "pricing ranks",
	"time": "timing", "time operators": "timing operators",
	"metric": "asking the metric", "metric of the original": "asking the metric about the original",
}

// stageName is a stage in words; where it is one of several attempts, that stands before it.
func stageName(name string) string {
	at := strings.LastIndex(name, ": ") + 1
	attempt, stage := name[:at], strings.TrimSpace(name[at:])
	return strings.TrimSpace(attempt + " " + cmp.Or(stageNames[stage], stage))
}

// newDisplay shows progress on a file: a line that is drawn over if it is a terminal that can do
// that, else plain lines.
func newDisplay(f *os.File) *progress.Display {
	if term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return progress.OnTerminal(f, func() int { return columns(f) })
	}
	return progress.Plain(f)
}
