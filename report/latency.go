package report

import (
	"fmt"
	"io"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Latency is what a model and its operators take, as they are and at other widths.
type Latency struct {
	Model   string  `json:"model"`
	Output  string  `json:"output,omitempty"` // path of the table; "" where it was not written
	Runtime string  `json:"onnxruntime"`      // its version
	CPU     string  `json:"cpu"`
	Threads int     `json:"threads"`
	MS      float64 `json:"latency_ms"` // what one run takes
	// Error is by how much the table is off what narrowed models took as a whole: the mean.
	Error float64 `json:"error"`
	// Multiple is the number of channels that kernels work on at once.
	Multiple  int                `json:"multiple"`
	Operators []latency.Operator `json:"operators"`
	Widths    []WidthTime        `json:"widths"`
	Warnings  []string           `json:"warnings"`
	Cost
}

// A WidthTime is what a model takes of which every space keeps a share of its channels, as the table
// predicts it.
type WidthTime struct {
	Channels float64 `json:"channels"` // the share
	Params   int64   `json:"params"`
	MACs     int64   `json:"macs"`
	MS       float64 `json:"ms"`
	Share    float64 `json:"share"` // of what the model takes
}

// widthShares are those at which a model is told.
var widthShares = []float64{1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25}

// NewLatency tells what a table says of an analysed model; as is that of [latency.Table.For].
func NewLatency(model string, t *latency.Table, an *coupling.Analysis, as func(*onnxpb.NodeProto) string) *Latency {
	r := &Latency{Model: model, Runtime: t.Runtime, CPU: t.CPU, Threads: t.Threads, MS: t.MS, Error: t.Error, Multiple: t.Multiple()}
	p := t.For(an, as)
	r.Operators = p.Operators(nil)
	whole := p.MS(latency.Shape{})
	for _, f := range widthShares {
		w := latency.Even(an, f, r.Multiple)
		macs, _ := an.MACs(w)
		r.Widths = append(r.Widths, WidthTime{f, an.Params(w), macs, p.MS(latency.Shape{Widths: w}), p.MS(latency.Shape{Widths: w}) / whole})
	}
	return r
}

// mostOperators is how many operators a person is told.
const mostOperators = 20

// Print writes the result for a person.
func (r *Latency) Print(w io.Writer) {
	t := newTable("<operator", "<kind", "time", "share")
	rest := 0.0
	for i, o := range r.Operators {
		if i < mostOperators {
			t.add(o.Name, o.Op, ms(o.MS), percent1(o.Share))
		} else {
			rest += o.MS
		}
	}
	if n := len(r.Operators) - mostOperators; n > 0 {
		t.add(plural(n, "other"), "", ms(rest), percent1(rest/max(r.sum(), 1e-12)))
	}
	t.print(w)
	fmt.Fprintln(w)
	t = newTable("channels", "params", "MACs", "time", "share")
	for _, x := range r.Widths {
		t.add(fmt.Sprintf("×%.3g", x.Channels), screen.Count(x.Params), screen.Count(x.MACs), ms(x.MS), percent1(x.Share))
	}
	t.print(w)
	fmt.Fprintf(w, "as predicted, in multiples of %s where there are so many; off by %s in the mean over the models that were timed\n\n", plural(r.Multiple, "channel"), percent1(r.Error))
	fmt.Fprintf(w, "a run takes %s on %s of %s, onnxruntime %s\n", ms(r.MS), plural(r.Threads, "thread"), r.CPU, r.Runtime)
	if r.Output != "" {
		fmt.Fprintf(w, "%s written %s\n", screen.Name(r.Output), r.Cost.text())
		return
	}
	fmt.Fprintf(w, "done %s\n", r.Cost.text())
}

// sum is what all operators take.
func (r *Latency) sum() float64 {
	s := 0.0
	for _, o := range r.Operators {
		s += o.MS
	}
	return s
}
