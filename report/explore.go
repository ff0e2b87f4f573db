package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/job"
)

// An Exploration tells what a model costs at several shares of its multiply-accumulates.
type Exploration struct {
	Model  string `json:"model"`  // path
	Output string `json:"output"` // folder of the models
	job.Report
	// ModelSHA256 and DataSHA256 are hashes of what was read, "" where that can be read only once;
	// Settings are the flags that say how the models were made and judged. Explorations that share them
	// can be merged.
	ModelSHA256 string   `json:"model_sha256"`
	DataSHA256  string   `json:"data_sha256"`
	Settings    string   `json:"settings"`
	Merged      []string `json:"merged,omitempty"` // folders that this was merged of

	Data     string   `json:"data"` // that the models were judged on
	Judged   int      `json:"judged_samples"`
	HeldOut  bool     `json:"held_out"`
	Threads  int      `json:"threads"` // that worked on one operator while latency was measured; 0 if it was not
	Before   Explored `json:"before"`
	Points   []Point  `json:"points"`
	Metric   *Metric  `json:"metric,omitempty"`
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
	t := newTable("<model", "MACs", "left", "params", "size", "latency", "metric", "top-1", "agreement", "took", "<")
	add := func(name string, e Explored, took, mark string) {
		t.add(name, e.macs(), ofWhole(e.MACs, r.Before.MACs), screen.Count(e.Params), screen.Bytes(e.Bytes), optional(e.LatencyMS, ms),
			optional(e.Metric, metricNumber), optional(e.Top1, percent), optional(e.Agreement, percent), took, mark)
	}
	add(r.Model, r.Before, "", "")
	for _, p := range r.Points {
		add(p.Model, p.Explored, seconds(p.PointSeconds), cmp.Or(note(p.Knee, "knee"), note(p.Front, "front")))
	}
	t.print(w)
	front := note(slices.ContainsFunc(r.Points, func(p Point) bool { return p.Front }), "front: no other of these is as good with no more MACs")
	if knee := slices.ContainsFunc(r.Points, func(p Point) bool { return p.Knee }); knee {
		front += "; knee: where the front bends"
	}
	if front != "" {
		fmt.Fprintln(w, front)
	}
	on := "sample"
	if r.HeldOut {
		on = "held-out sample"
	}
	fmt.Fprintf(w, "judged on %s of %s\n", plural(r.Judged, on), screen.Name(r.Data))
	fmt.Fprint(w, r.Metric.text())
	fmt.Fprint(w, tasks(r.Outputs))
	if r.Before.OpenDims {
		fmt.Fprintln(w, openNote)
	}
	switch {
	case r.Output == "":
		fmt.Fprintf(w, "\n%s of %s; done %s\n", plural(len(r.Points), "model"), plural(len(r.Merged), "folder"), r.Cost.text())
	case r.Merged != nil:
		fmt.Fprintf(w, "\n%s of %s; explore.json written to %s %s\n", plural(len(r.Points), "model"), plural(len(r.Merged), "folder"), screen.Name(r.Output), r.Cost.text())
	default:
		fmt.Fprintf(w, "\n%s and explore.json written to %s %s\n", plural(len(r.Points), "model"), screen.Name(r.Output), r.Cost.text())
	}
}

// Merge makes one table of explorations of the same model on the same data, whose folders are given.
// A share that several have is taken from the first. Latencies are of the machines of each.
func Merge(folders []string, all []*Exploration) (*Exploration, error) {
	out := *all[0]
	out.Output, out.Points, out.Merged = "", nil, folders
	for i, r := range all {
		for _, same := range []struct{ what, here, there string }{
			{"models", out.ModelSHA256, r.ModelSHA256}, {"data", out.DataSHA256, r.DataSHA256}, {"settings", out.Settings, r.Settings},
		} {
			if same.here == same.there && (same.here != "" || same.what == "settings") {
				continue
			}
			told := ""
			if same.what == "settings" {
				told = fmt.Sprintf(" (%q and %q)", same.here, same.there)
			}
			if same.here == "" || same.there == "" {
				told = " (of one nothing is known)"
			}
			return nil, fmt.Errorf("%s and %s are of different %s%s", folders[0], folders[i], same.what, told)
		}
		for _, p := range r.Points {
			if !slices.ContainsFunc(out.Points, func(q Point) bool { return q.Share == p.Share }) {
				out.Points = append(out.Points, p)
			}
		}
		if a, b := out.Before.LatencyMS, r.Before.LatencyMS; a != nil && b != nil && (*a > 1.05**b || *b > 1.05**a) {
			out.Warnings = append(slices.Clone(out.Warnings), fmt.Sprintf("%s and %s were timed on different machines, or under different load: the original took %.3g and %.3g ms; compare latencies within a folder alone", folders[0], folders[i], *a, *b))
		}
		if m := r.Metric; i > 0 && m != nil && out.Metric != nil {
			out.Metric = &Metric{m.Command, m.Lower, out.Metric.Calls + m.Calls, out.Metric.Seconds + m.Seconds}
		}
	}
	slices.SortStableFunc(out.Points, func(a, b Point) int { return cmp.Compare(b.Share, a.Share) })
	metric := eval.Metric{Lower: out.Metric != nil && out.Metric.Lower}
	worth := func(q Quality) float64 {
		return compress.Quality(eval.Result{Metric: q.Metric, Top1: q.Top1, Agreement: q.Agreement}, metric)
	}
	macs, worths := []int64{out.Before.MACs}, []float64{worth(out.Before.Quality)}
	for _, p := range out.Points {
		macs, worths = append(macs, p.MACs), append(worths, worth(p.Quality))
	}
	front, knee := compress.Front(macs, worths)
	for i := range out.Points {
		out.Points[i].Front, out.Points[i].Knee = front[i+1], knee == i+1
	}
	return &out, nil
}
