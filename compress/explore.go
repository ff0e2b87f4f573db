package compress

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// An Exploration tells what a model costs in predictions at several shares of its
// multiply-accumulates.
type Exploration struct {
	job.Report
	Before Size `json:"-"`
	// Original is the model as it came, judged on the same samples.
	Original eval.Result `json:"-"`
	Points   []Point     `json:"-"`
}

// A Point is a model that was made.
type Point struct {
	// Share of the multiply-accumulates that was asked for.
	Share float64
	Model *onnxio.Model
	Size  Size
	// Report is what compress would say of it; nil for a point that was known.
	Report *Report
	Result eval.Result
	// Front: no other point, the original included, is as good with no more multiply-accumulates.
	// Knee: of these it lies furthest above the line between the first and the last.
	Front, Knee bool
	// Seconds is what the point took; the first one's are those of all that the points share, too.
	Seconds float64
}

// Pieces let an exploration go on where another one was stopped. The zero value is a new one.
type Pieces struct {
	// Known returns the point of a share that was made before, with what a metric said of it
	// (Result.Metric), or nil.
	Known func(share float64) *Point
	// Original is what the metric said of the original; nil: it is asked.
	Original *float64
	// Made is told of every point that is made, before it is compared with others.
	Made func(context.Context, *Point) error
}

// Quality is what points are compared by: a metric if there is one, else accuracy where there are
// labels, else agreement with the original. More is better.
func Quality(r eval.Result, m eval.Metric) float64 {
	switch {
	case r.Metric != nil:
		return m.Worth(*r.Metric)
	case r.Top1 != nil:
		return *r.Top1
	case r.Agreement != nil:
		return *r.Agreement
	}
	return 1 // the original
}

// Explore compresses a model to several shares of its multiply-accumulates. What the data say is
// found once, and all points share it. Nothing is distilled unless Tune is on. It needs data, some of
// which are held out to judge by, or EvalData. Of the options those of the budget have no meaning.
func Explore(ctx context.Context, m *onnxio.Model, o Options, shares []float64, pieces Pieces) (_ *Exploration, err error) {
	defer guard.Recover(&err)
	if err := o.explorable(shares); err != nil {
		return nil, err
	}
	o.explores = true
	began := time.Now()
	c, err := start(ctx, m, o, false)
	if err != nil {
		return nil, err
	}
	out := &Exploration{Report: c.Run.Report, Before: c.size}
	c.metric = pieces.Original
	if o.Metric.Given() { // at once: a command that fails does so before the work
		if out.Original.Metric, err = c.originally(ctx, m); err != nil {
			return nil, err
		}
	}
	b, _ := (&Options{MACs: 1, Floor: o.Floor}).budget()
	b.share = slices.Min(shares)
	var s *edit.Subject
	folded := 0
	progress := c.Progress
	defer func() { c.Progress = progress }()
	for i, share := range shares {
		if pieces.Known != nil {
			if p := pieces.Known(share); p != nil {
				out.Points = append(out.Points, *p)
				continue
			}
		}
		if progress != nil {
			c.Progress = func(stage string, done, total int) {
				progress(fmt.Sprintf("point %d of %d, MACs ×%g: %s", i+1, len(shares), share, stage), done, total)
			}
		}
		c.Stage("compare")(0, 0)
		if s == nil {
			if s, folded, err = c.prepare(b, none); err != nil {
				return nil, err
			}
		}
		p := Point{Share: share}
		b.share = share
		if p.Model, p.Report, err = c.meet(ctx, s, folded, b); err != nil {
			return nil, fmt.Errorf("at %g: %w", share, err)
		}
		p.Size = p.Report.After
		if o.Metric.Given() {
			c.Stage("metric")(0, 0)
			x, err := o.Metric.Model(ctx, p.Model)
			if err != nil {
				return nil, fmt.Errorf("at %g: %w", share, err)
			}
			p.Result.Metric = &x
		}
		p.Seconds = time.Since(began).Seconds()
		began = time.Now()
		if pieces.Made != nil {
			if err := pieces.Made(ctx, &p); err != nil {
				return nil, err
			}
		}
		out.Points = append(out.Points, p)
	}
	if err := c.compare(ctx, m, out); err != nil {
		return nil, err
	}
	macs, worth := []int64{out.Before.MACs}, []float64{Quality(out.Original, o.Metric)}
	for _, p := range out.Points {
		macs, worth = append(macs, p.Size.MACs), append(worth, Quality(p.Result, o.Metric))
	}
	front, knee := Front(macs, worth)
	for i := range out.Points {
		out.Points[i].Front, out.Points[i].Knee = front[i+1], knee == i+1
	}
	return out, nil
}

// explorable checks the options of an exploration.
func (o *Options) explorable(shares []float64) error {
	switch {
	case o.Keep != 0 || o.MACs != 0 || o.Params != 0 || o.Size != 0 || o.Latency != (Latency{}) || o.MaxDrop != 0 || o.Plan != nil:
		return pipeline.Mistakef("an exploration has budgets of its own: keep, macs, params, size, latency, max-drop and plan have no place beside it")
	case o.Data == nil && o.EvalData == nil || o.NoData:
		return pipeline.Mistakef("an exploration needs data to judge by")
	case o.DryRun:
		return pipeline.Mistakef("an exploration measures models: a dry run makes none")
	case len(shares) == 0:
		return pipeline.Mistakef("an exploration needs a share to make a model for")
	case !(o.Floor >= 0 && o.Floor <= 1):
		return pipeline.Mistakef("floor is %g: want a share from 0 to 1", o.Floor)
	case o.Multiple < 0:
		return pipeline.Mistakef("multiple is %d: want 1 or more, or 0 for what suits each space", o.Multiple)
	}
	for _, share := range shares {
		if !(share > 0 && share <= 1) {
			return pipeline.Mistakef("a share is %g: want one above 0, up to 1", share)
		}
	}
	return nil
}

// compare judges the original and all points on the same samples.
func (c *compression) compare(ctx context.Context, original *onnxio.Model, out *Exploration) error {
	models := []*onnxio.Model{original}
	for _, p := range out.Points {
		models = append(models, p.Model)
	}
	results, err := eval.Models(ctx, models, c.Report.Split.Judge, eval.Options{NoLatency: true, Outputs: c.Report.Outputs, StreamOptions: c.Stream("measure")})
	if err != nil {
		return err
	}
	c.doubt(results[0])
	results[0].Metric = out.Original.Metric
	out.Original = results[0]
	for i := range out.Points {
		results[i+1].Metric = out.Points[i].Result.Metric
		out.Points[i].Result = results[i+1]
	}
	return nil
}

// Front finds, of models that cost so many multiply-accumulates and are worth so much, those than
// which no other one is as good with no more; the first is the original. The knee is the one of them,
// but not the original, that lies furthest above the line between the ends of the front; -1 if there
// is none.
func Front(macs []int64, worth []float64) (on []bool, knee int) {
	on = make([]bool, len(macs))
	var front []int
	for i := range macs {
		better := func(j int) bool {
			return macs[j] <= macs[i] && worth[j] >= worth[i] && (macs[j] != macs[i] || worth[j] != worth[i])
		}
		on[i] = true
		for j := range macs {
			on[i] = on[i] && !better(j)
		}
		if on[i] {
			front = append(front, i)
		}
	}
	slices.SortStableFunc(front, func(i, j int) int { return cmp.Compare(macs[i], macs[j]) })
	knee = -1
	if len(front) < 3 {
		return on, knee
	}
	first, last := front[0], front[len(front)-1]
	most := 0.0
	for _, i := range front[1 : len(front)-1] {
		over := (worth[i]-worth[first])/(worth[last]-worth[first]) - float64(macs[i]-macs[first])/float64(macs[last]-macs[first])
		if over > most && i > 0 {
			knee, most = i, over
		}
	}
	return on, knee
}
