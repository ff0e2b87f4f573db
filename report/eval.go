package report

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/screen"
)

// An Evaluation compares models on one data set.
type Evaluation struct {
	Data     string   `json:"data,omitempty"` // path; "" without data
	Samples  int      `json:"samples"`
	Threads  int      `json:"threads"` // that worked on one operator while latency was measured; 0 if it was not
	Models   []Judged `json:"models"`
	Metric   *Metric  `json:"metric,omitempty"`
	Warnings []string `json:"warnings"` // what a person has to know about the run; never nil
	// Tasks say what the outputs are for; nil without data.
	Tasks []eval.Output `json:"tasks,omitempty"`
	Cost
}

// Judged is what was measured about one model. Figures that could not be had are missing from the
// JSON.
type Judged struct {
	Model string `json:"model"` // path
	// MACs is nil where the graph could not be analysed.
	MACs   *int64 `json:"macs,omitempty"`
	Params int64  `json:"params"`
	Bytes  int64  `json:"bytes"`
	// OpenDims is set where free dimensions were counted as one in MACs.
	OpenDims bool `json:"open_dims"`

	Quality

	Outputs  []eval.OutputResult `json:"outputs,omitempty"`
	Recorded []eval.OutputResult `json:"recorded,omitempty"` // against the outputs in a test_data_set

	// Changes are the samples that the model decides otherwise about than the first one does.
	Changes []eval.Change `json:"-"`

	LatencyRuns  int `json:"latency_runs,omitempty"`
	LatencyBatch int `json:"latency_batch,omitempty"`
}

// Quality is how good a model is, and how fast.
type Quality struct {
	Top1 *float64 `json:"top1,omitempty"` // share of samples
	Top5 *float64 `json:"top5,omitempty"`

	// Against the first model: the worst of the outputs.
	Agreement *float64 `json:"agreement,omitempty"`
	Cosine    *float64 `json:"cosine,omitempty"`
	MaxDiff   *float64 `json:"max_diff,omitempty"`

	NonFinite int `json:"non_finite,omitempty"` // numbers of the outputs that are NaN or infinite

	// Metric is what a person's own measure says.
	Metric *float64 `json:"metric,omitempty"`

	LatencyMS *float64 `json:"latency_ms,omitempty"` // median
}

// Judge takes over what the engine measured.
func Judge(e eval.Result) Judged {
	j := Judged{
		Model: e.Model, Params: e.Params, Bytes: e.Bytes, Outputs: e.Outputs, Recorded: e.Recorded,
		Quality: Quality{Top1: e.Top1, Top5: e.Top5, Agreement: e.Agreement, Cosine: e.Cosine, MaxDiff: e.MaxDiff, NonFinite: e.NonFinite, Metric: e.Metric},
	}
	if t := e.Latency; t != nil {
		j.LatencyMS, j.LatencyRuns, j.LatencyBatch = &t.MedianMS, t.Runs, t.Batch
	}
	return j
}

// Print writes the comparison for a person.
func (r *Evaluation) Print(w io.Writer) {
	t := newTable("<model", "metric", "top-1", "top-5", "agreement", "cosine", "max diff", "NaN, ±Inf", "recorded diff", "params", "MACs", "size", "latency")
	open, compared, recorded, odd := false, false, false, false
	runs, batch := math.MaxInt, 0
	for _, m := range r.Models {
		macs := ""
		if m.MACs != nil {
			macs = Size{MACs: *m.MACs, OpenDims: m.OpenDims}.macs()
		}
		open, compared, recorded = open || m.OpenDims, compared || m.Agreement != nil, recorded || len(m.Recorded) > 0
		odd = odd || m.NonFinite > 0
		latency := optional(m.LatencyMS, ms)
		if m.LatencyMS != nil {
			runs, batch = min(runs, m.LatencyRuns), max(batch, m.LatencyBatch)
		}
		t.add(m.Model, optional(m.Metric, metricNumber), optional(m.Top1, percent), optional(m.Top5, percent), optional(m.Agreement, percent), optional(m.Cosine, six), optional(m.MaxDiff, three),
			someOf(m.NonFinite), worst(m.Recorded), screen.Count(m.Params), macs, screen.Bytes(m.Bytes), latency)
	}
	t.print(w)
	fmt.Fprintln(w)
	if r.Data != "" {
		fmt.Fprintf(w, "%s of %s\n", plural(r.Samples, "sample"), screen.Name(r.Data))
	}
	fmt.Fprint(w, r.Metric.text())
	fmt.Fprint(w, tasks(r.Tasks))
	if compared {
		fmt.Fprintln(w, "agreement, cosine, max diff: with the first model, the worst of the outputs")
	}
	if odd {
		fmt.Fprintln(w, "NaN, ±Inf: how many numbers of the outputs are none")
	}
	if recorded {
		fmt.Fprintln(w, "recorded diff: largest difference from the outputs in the test data")
	}
	if batch > 0 {
		fmt.Fprintf(w, "latency: median of at least %s, batch %d, %s\n", plural(runs, "run"), batch, plural(r.Threads, "thread"))
	}
	if open {
		fmt.Fprintln(w, openNote)
	}
	fmt.Fprintf(w, "done %s\n", r.Cost.text())
}

// someOf prints a number of things of which there should be none, in full; "" where there is none.
func someOf(n int) string {
	if n == 0 {
		return ""
	}
	return grouped(int64(n))
}

func six(x float64) string   { return strconv.FormatFloat(x, 'f', 6, 64) }
func three(x float64) string { return strconv.FormatFloat(x, 'g', 3, 64) }

// worst is the largest difference from recorded outputs.
func worst(list []eval.OutputResult) string {
	if len(list) == 0 {
		return ""
	}
	d := 0.0
	for _, o := range list {
		d = max(d, o.MaxDiff)
	}
	return three(d)
}
