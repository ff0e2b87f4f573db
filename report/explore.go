package report

import (
	"cmp"
	"fmt"
	"io"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/job"
)

// An Exploration tells what a model costs at several shares of its multiply-accumulates.
type Exploration struct {
	Model  string `json:"model"`  // path
	Output string `json:"output"` // folder of the models
	job.Report
	Data     string   `json:"data"` // that the models were judged on
	Judged   int      `json:"judged_samples"`
	HeldOut  bool     `json:"held_out"`
	Threads  int      `json:"threads"` // that worked on one operator while latency was measured; 0 if it was not
	Before   Explored `json:"before"`
	Points   []Point  `json:"points"`
	Warnings []string `json:"warnings"` // what a person has to know about the run; never nil
	Cost
}

// Explored is a model with what it costs and is worth.
type Explored struct {
	Size
	Quality
}

// A Point is a model that was made.
type Point struct {
	Share float64 `json:"share"` // of the multiply-accumulates, that was asked for
	Model string  `json:"model"` // path
	Explored
	Front        bool    `json:"front"` // no other model is as good with no more multiply-accumulates
	Knee         bool    `json:"knee"`
	PointSeconds float64 `json:"point_seconds"` // that the point took; the first one's with what all share
}

// Explore takes over what was measured. sizes are those of the files, the original's first.
func Explore(model, output string, e *compress.Exploration, paths []string, sizes []Size) *Exploration {
	r := &Exploration{Model: model, Output: output, Report: e.Report, Points: []Point{}}
	if on := e.Split.Judge; on != nil {
		r.Data, r.Judged, r.HeldOut = on.Name(), on.Len(), e.Split.HeldOut
	}
	r.Before = Explored{sizes[0], Judge(e.Original).Quality}
	for i, p := range e.Points {
		r.Points = append(r.Points, Point{
			Share: p.Share, Model: paths[i], Explored: Explored{sizes[i+1], Judge(p.Result).Quality}, Front: p.Front, Knee: p.Knee, PointSeconds: p.Seconds,
		})
	}
	return r
}

// Print writes the models as a table.
func (r *Exploration) Print(w io.Writer) {
	t := newTable("<model", "MACs", "left", "params", "size", "latency", "top-1", "agreement", "took", "<")
	add := func(name string, e Explored, took, mark string) {
		t.add(name, e.macs(), ofWhole(e.MACs, r.Before.MACs), count(e.Params), size(e.Bytes), optional(e.LatencyMS, ms),
			optional(e.Top1, percent), optional(e.Agreement, percent), took, mark)
	}
	add(r.Model, r.Before, "", "")
	for _, p := range r.Points {
		add(p.Model, p.Explored, seconds(p.PointSeconds), cmp.Or(note(p.Knee, "knee"), note(p.Front, "front")))
	}
	t.print(w)
	fmt.Fprintf(w, "front: no other of these is as good with no more MACs; knee: where the front bends\n")
	on := "sample"
	if r.HeldOut {
		on = "held-out sample"
	}
	fmt.Fprintf(w, "judged on %s of %s\n", plural(r.Judged, on), screen.Name(r.Data))
	fmt.Fprint(w, tasks(r.Outputs))
	if r.Before.OpenDims {
		fmt.Fprintln(w, openNote)
	}
	fmt.Fprintf(w, "\n%s and explore.json written to %s %s\n", plural(len(r.Points), "model"), screen.Name(r.Output), r.Cost.text())
}
