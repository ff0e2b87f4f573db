package compress

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/monge-ml/monge/eval"
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
	// Report is what compress would say of it.
	Report *Report
	Result eval.Result
	// Front: no other point, the original included, is as good with no more multiply-accumulates.
	// Knee: of these it lies furthest above the line between the first and the last.
	Front, Knee bool
	// Seconds is what the point took; the first one's are those of all that the points share, too.
	Seconds float64
}

// Quality is what points are compared by: accuracy where there are labels, else agreement with the
// original.
func Quality(r eval.Result) float64 {
	switch {
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
func Explore(ctx context.Context, m *onnxio.Model, o Options, shares []float64) (_ *Exploration, err error) {
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
	b, _ := (&Options{MACs: 1, Floor: o.Floor}).budget()
	b.share = slices.Min(shares)
	s, folded, err := c.prepare(b, none)
	if err != nil {
		return nil, err
	}
	out := &Exploration{Report: c.Run.Report, Before: c.size}
	progress := c.Progress
	defer func() { c.Progress = progress }()
	for i, share := range shares {
		if progress != nil {
			c.Progress = func(stage string, done, total int) {
				progress(fmt.Sprintf("point %d of %d, MACs ×%g: %s", i+1, len(shares), share, stage), done, total)
			}
		}
		p := Point{Share: share}
		b.share = share
		if p.Model, p.Report, err = c.meet(ctx, s, folded, b); err != nil {
			return nil, fmt.Errorf("at %g: %w", share, err)
		}
		p.Seconds = time.Since(began).Seconds()
		began = time.Now()
		out.Points = append(out.Points, p)
	}
	if err := c.compare(ctx, m, out); err != nil {
		return nil, err
	}
	out.mark()
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
	out.Original = results[0]
	for i := range out.Points {
		out.Points[i].Result = results[i+1]
	}
	return nil
}

// mark finds the front and its knee.
func (e *Exploration) mark() {
	type place struct{ cost, quality float64 }
	at := []place{{float64(e.Before.MACs), Quality(e.Original)}}
	for _, p := range e.Points {
		at = append(at, place{float64(p.Report.After.MACs), Quality(p.Result)})
	}
	var front []int // of at
	for i, p := range at {
		if !slices.ContainsFunc(at, func(q place) bool {
			return q.cost <= p.cost && q.quality >= p.quality && q != p
		}) {
			front = append(front, i)
			if i > 0 {
				e.Points[i-1].Front = true
			}
		}
	}
	slices.SortFunc(front, func(i, j int) int { return int(math.Copysign(1, at[i].cost-at[j].cost)) })
	if len(front) < 3 {
		return
	}
	first, last := at[front[0]], at[front[len(front)-1]]
	best, most := -1, 0.0
	for _, i := range front[1 : len(front)-1] {
		p := at[i]
		over := (p.quality-first.quality)/(last.quality-first.quality) - (p.cost-first.cost)/(last.cost-first.cost)
		if over > most && i > 0 {
			best, most = i, over
		}
	}
	if best > 0 {
		e.Points[best-1].Knee = true
	}
}
