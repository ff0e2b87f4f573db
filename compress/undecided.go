package compress

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// DefaultDrop is what MaxDrop is where data but no budget are given, and a search is cheap.
const DefaultDrop = 0.01

// An Undecided is the error of a compression with data and without a budget, where a search for
// MaxDrop takes longer than Options.Time, or DefaultTime where that is zero.
type Undecided struct {
	// Takes is about how long the search takes.
	Takes time.Duration
}

func (u *Undecided) Error() string {
	return fmt.Sprintf("no budget is given, and a search for one would take about %s", screen.Duration(Rough(u.Takes)))
}

// Rough rounds a time to what an estimate deserves.
func Rough(t time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Hour, 10 * time.Minute, time.Minute, 10 * time.Second, time.Second} {
		if t >= 2*unit {
			return t.Round(unit)
		}
	}
	return time.Second
}

// unspoken reports whether no budget is given.
func (o *Options) unspoken() bool {
	return o.Keep == 0 && o.MACs == 0 && o.Params == 0 && o.Size == 0 && o.Latency == (Latency{}) && o.MaxDrop == 0 && o.Plan == nil && o.DType == ""
}

// settle chooses a budget where none is given: with data the fewest multiply-accumulates with which
// nothing much is lost; without, nothing is done that can lose anything.
func (o *Options) settle() (searches bool) {
	switch {
	case !o.unspoken() || o.DryRun:
		return false
	case o.Metric.Given() && !o.NoData: // it judges what is made on data, which may be made up
	case (o.Data == nil || o.NoData) && o.EvalData == nil && o.Lossless == job.Off:
		return false // nothing would be left to do
	case (o.Data == nil || o.NoData) && o.EvalData == nil:
		o.Keep, o.Lossless, o.Data, o.NoData, o.Align = 1, job.On, nil, true, "weights"
		return false
	}
	o.MaxDrop = DefaultDrop
	return true
}

// undecided is an error where a search takes too long to be begun without having been asked for.
func (c *compression) undecided(ctx context.Context, m *onnxio.Model) error {
	takes, err := c.searchTime(ctx)
	if err != nil {
		return err
	}
	if c.o.Metric.Given() {
		began := time.Now()
		if _, err := c.originally(ctx, m); err != nil {
			return err
		}
		takes += usualTrials * time.Since(began)
	}
	if takes > cmp.Or(c.Time, job.DefaultTime(m)) {
		return &Undecided{Takes: takes}
	}
	return nil
}

// What the parts of a search take, roughly: what it took on perceptrons and residual networks of up
// to 70 nodes and 4e7 multiply-accumulates, with 150 to 1,200 samples, on two cores.
const (
	usualTrials   = 5                     // models that a search makes
	mostKinds     = 4                     // of candidates for each of them
	tryBase       = 10 * time.Millisecond // to edit and load a model
	tryNode       = 1500 * time.Microsecond
	tryBytes      = 100 << 20 // that are copied and loaded in a second
	judgedEach    = 3         // an input and its variants
	fitPasses     = 8         // runs of a sample that its part in a fit is worth
	solvedASecond = 1e10      // multiply-accumulates of a factorisation
)

// searchTime estimates how long a search takes, from how long one run of the model does.
func (c *compression) searchTime(ctx context.Context) (time.Duration, error) {
	split := c.Report.Split
	data := cmp.Or(split.Fit, split.Judge)
	if data == nil { // channels are merged by weights, which is soon done
		return 0, nil
	}
	t, err := eval.Latency(ctx, c.model, eval.LatencyOptions{Threads: c.Threads, Data: data, Within: 300 * time.Millisecond})
	if err != nil {
		return 0, err
	}
	run := t.QuickMS / 1000 // what else the machine does now is no measure of the next minutes
	s, err := edit.NewSubject(c.model, c.Coupling())
	if err != nil {
		return 0, err
	}
	spaces, solve := 0, 0.0
	for _, sp := range s.Analysis.Spaces {
		if c.kept(sp) == "" || c.may(Width) && c.inner(sp) {
			spaces++
		}
	}
	for _, l := range s.Graph.Linears() {
		if w := s.Analysis.Weights[l.Weight.Name]; w != nil && len(w.Axes) > l.Out.Weight && l.Out.Weight >= 0 {
			inputs := float64(w.Len()) / float64(max(w.Axes[l.Out.Weight].Size(), 1))
			solve += inputs * inputs * inputs / 3 / solvedASecond
		}
	}
	most := (&observed{subject: s}).most()
	tries := len(c.probes()) * min(spaces, most)
	b := budget{unit: inMACs}
	kinds, kernels := 3, 0 // of those tried that are fitted
	if c.moving(b) {
		ranks := 2 * min(c.ranked(), most, len(s.Analysis.Ops))
		tries += min(len(s.Analysis.Blocks()), most) + ranks
		for _, l := range s.Graph.Linears() {
			if edit.Across(l) > 1 {
				kernels = min(kernels+2, ranks)
			}
		}
		kinds = mostKinds
	}
	_, bytes := c.model.Size()
	load := tryBase.Seconds() + tryNode.Seconds()*float64(len(s.Graph.Nodes)) + float64(bytes)/tryBytes
	fit := func(samples int) float64 { return fitPasses*float64(samples)*run + solve }
	seconds := float64(tries) * (load + judgedEach*float64(c.compared())/2*run)
	seconds += float64(kernels) * fitPasses * float64(c.tried(quickSamples)) * run
	candidate := load + fit(c.tried(quickSamples)) + judgedEach*float64(c.tried(mostJudged))*run
	samples, judged := 0, 0
	if split.Fit != nil {
		samples = split.Fit.Len()
	}
	if split.Judge != nil { // a metric needs none
		judged = split.Judge.Len()
	}
	result := load + fit(samples) + 2*float64(judged)*run
	seconds += fit(samples) + usualTrials*(float64(kinds)*candidate+result)
	return time.Duration(seconds * float64(time.Second)), nil
}
