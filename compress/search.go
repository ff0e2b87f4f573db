package compress

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
)

// A Search tells how MaxDrop was met.
type Search struct {
	// Measure is "top1" or "agreement", whose drop from the original's was limited: for agreement
	// (eval.OutputResult; of several outputs the worst) from 1; or "metric", of which a drop is a
	// share of the original's.
	Measure string  `json:"measure"`
	Limit   float64 `json:"limit"`
	// Original is what the metric says of the original, After of the result; nil where there is none.
	Original *float64 `json:"original,omitempty"`
	After    *float64 `json:"after,omitempty"`
	// Drop is that of the result.
	Drop float64 `json:"drop"`
	// Data is the set that it was measured on, Samples of it, HeldOut if they are part of the data
	// that the rest was used for; "" and 0 with a metric, which has data of its own.
	Data    string  `json:"data"`
	Samples int     `json:"samples"`
	HeldOut bool    `json:"held_out"`
	Trials  []Trial `json:"trials"`
}

// A Trial is a model that was made and measured.
type Trial struct {
	MACs   float64 `json:"macs_share"` // that was asked for
	Size   Size    `json:"size"`       // that was had
	Drop   float64 `json:"drop"`
	Within bool    `json:"within"` // the limit
	// Metric is what the metric says; nil where there is none.
	Metric *float64 `json:"metric,omitempty"`
}

// resolution is how finely a search tells shares of MACs apart, relative to the share.
const resolution = 1.0 / 8

// search halves the range of shares of MACs between the least possible one and all of them, and
// keeps the smallest model within the limit.
func (c *compression) search(ctx context.Context, b budget) (*onnxio.Model, *Report, error) {
	out := &Search{Limit: c.o.MaxDrop, Trials: []Trial{}}
	if held := c.Report.Split.Judge; held != nil && !c.o.Metric.Given() {
		out.Data, out.Samples, out.HeldOut = held.Name(), held.Len(), c.Report.Split.HeldOut
	}
	s, folded, err := c.prepare(b, none)
	if err != nil {
		return nil, nil, err
	}
	all := max(c.limit(b), 1)
	lo, hi := c.leastCost(s.Analysis, b)/all, c.cost(s.Analysis, b, shape{})/all
	// With everything kept nothing is lost.
	report := c.report()
	report.describe(s.Analysis, c, shape{}, nil)
	original, err := c.form.Restore(c.model)
	if err != nil {
		return nil, nil, err
	}
	report.After.Params, _ = original.Size()
	best, progress := original, c.Progress
	if c.o.Metric.Given() { // at once: a command that fails does so before the work
		if out.Original, err = c.originally(ctx, original); err != nil {
			return nil, nil, err
		}
		out.Measure, out.After = "metric", out.Original
	}
	if c.o.DType != "" {
		next, r, err := c.written(ctx, c.model, report)
		if err != nil {
			return nil, nil, err
		}
		t := Trial{MACs: 1, Size: r.After}
		if out.Measure, err = c.drop(ctx, original, next, out.Limit, &t); err != nil {
			return nil, nil, err
		}
		if out.Trials = append(out.Trials, t); t.Within {
			best, out.Drop, out.After = next, t.Drop, t.Metric
		} else {
			report.Precision = nil
		}
	}
	defer func() { c.Progress = progress }()
	for hi-lo > resolution*hi {
		b.share = (lo + hi) / 2
		if progress != nil {
			c.Progress = func(stage string, done, total int) {
				progress(fmt.Sprintf("try %d, MACs ×%.2f: %s", len(out.Trials)+1, b.share, stage), done, total)
			}
		}
		c.Stage("compare")(0, 0)
		next, r, err := c.meet(ctx, s, folded, b)
		if errors.Is(err, ErrUnmet) { // widths come in steps
			lo = b.share
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		t := Trial{MACs: b.share, Size: r.After}
		if out.Measure, err = c.drop(ctx, original, next, out.Limit, &t); err != nil {
			return nil, nil, err
		}
		c.Spend(&r.Spent.Candidates)
		out.Trials = append(out.Trials, t)
		if t.Within {
			best, report, hi, out.Drop, out.After = next, r, b.share, t.Drop, t.Metric
		} else {
			lo = b.share
		}
	}
	report.Search = out
	return best, report, nil
}

// A loss is by how much a model is worse than the original: in so many of so many decisions, or,
// where rows is 0, by a part of what agreement there was.
type loss struct {
	count, rows int
	part        float64
}

func (l loss) share() float64 {
	if l.rows > 0 {
		return float64(l.count) / float64(l.rows)
	}
	return l.part
}

// within compares counts exactly: 148/160 − 140/160 is more than 0.05 in floating-point numbers.
func (l loss) within(limit float64) bool {
	if l.rows == 0 {
		return l.part <= limit
	}
	// The limit is the decimal number that the user wrote.
	most, ok := new(big.Rat).SetString(strconv.FormatFloat(limit, 'g', -1, 64))
	return ok && big.NewRat(int64(l.count), int64(l.rows)).Cmp(most) <= 0
}

// drop measures by how much a model is worse than the original, and whether that is within a limit:
// of the samples with labels, or output by output.
func (c *compression) drop(ctx context.Context, original, m *onnxio.Model, limit float64, t *Trial) (measure string, err error) {
	if c.o.Metric.Given() {
		c.Stage("metric")(0, 0)
		x, err := c.o.Metric.Model(ctx, m)
		if err != nil {
			return "", err
		}
		t.Metric = &x
		if t.Drop, err = c.o.Metric.Drop(*c.metric, x); err != nil {
			return "", err
		}
		t.Within = t.Drop <= limit+metricRounding
		return "metric", nil
	}
	evals, err := eval.Models(ctx, []*onnxio.Model{original, m}, c.Report.Split.Judge, eval.Options{NoLatency: true, Outputs: c.Report.Outputs, StreamOptions: c.Stream("measure")})
	if err != nil {
		return "", err
	}
	c.doubt(evals[0])
	var lost []loss
	if a, b := evals[0], evals[1]; a.Top1 != nil && b.Top1 != nil {
		measure, lost = "top1", []loss{{count: a.Right - b.Right, rows: a.Samples}}
	} else {
		measure = "agreement"
		for _, e := range evals[1].Outputs {
			lost = append(lost, loss{count: e.Rows - e.Same, rows: e.Rows, part: 1 - e.Agreement})
		}
	}
	t.Within = true
	for i, l := range lost {
		t.Within = t.Within && l.within(limit)
		if i == 0 || l.share() > t.Drop {
			t.Drop = l.share()
		}
	}
	return measure, nil
}

// metricRounding is a share that arithmetic alone may bring about: 0.95 is 0.05 less than 1.
const metricRounding = 1e-12

// originally is what the metric says of the model as it came, which is asked once.
func (c *compression) originally(ctx context.Context, original *onnxio.Model) (*float64, error) {
	if c.metric == nil {
		c.Stage("metric of the original")(0, 0)
		x, err := c.o.Metric.Model(ctx, original)
		if err != nil {
			return nil, err
		}
		if _, err := c.o.Metric.Drop(x, x); err != nil && c.o.MaxDrop > 0 {
			return nil, err
		}
		c.metric = &x
	}
	return c.metric, nil
}

// doubt warns, once, that labels do not count.
func (c *compression) doubt(of eval.Result) {
	if judge := c.Report.Split.Judge; of.Doubt != "" && judge.Labels() != nil {
		c.Warnf("%s: labels are not used: %s", judge.Name(), of.Doubt)
		c.Report.Split.Judge = judge.Unlabelled()
	}
}
