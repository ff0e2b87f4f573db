package compress

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
)

// A Search tells how MaxDrop was met.
type Search struct {
	// Measure is "top1" or "agreement", whose drop from the original's was
	// limited: for agreement (eval.OutputResult; of several outputs the worst)
	// from 1.
	Measure string  `json:"measure"`
	Limit   float64 `json:"limit"`
	// Drop is that of the result.
	Drop float64 `json:"drop"`
	// Data is the set that it was measured on, Samples of it, HeldOut if they are
	// part of the data that the rest was used for.
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
}

// resolution is how finely a search tells shares of MACs apart, relative to the
// share.
const resolution = 1.0 / 8

// search halves the range of shares of MACs between the least possible one and
// all of them, and keeps the smallest model within the limit.
func (o Options) search(ctx context.Context, m *onnxio.Model) (*onnxio.Model, *Report, error) {
	out := &Search{Limit: o.MaxDrop, Trials: []Trial{}}
	held := o.EvalData
	if held == nil {
		out.HeldOut = true
		if o.RefitData, held = o.data().Split(5); held.Len() == 0 {
			return nil, nil, fmt.Errorf("max-drop: %d samples are too few to hold a fifth out", o.RefitData.Len())
		}
		if d := o.Align.Data; d != nil {
			o.Align.Data = o.RefitData.Sample(d.Len(), dataset.FileOrder)
		}
	}
	out.Data, out.Samples = held.Name(), held.Len()
	o.MaxDrop, o.EvalData = 0, nil
	if o.Tune == 0 {
		o.Tune = -1 // every trial would be distilled
	}

	s, folded, err := o.prepare(m, none)
	if err != nil {
		return nil, nil, err
	}
	o.MACs = 1
	least := coupling.Widths{}
	for sp, k := range o.widths(s.Analysis, 0) {
		least.Set(sp, k)
	}
	lo, hi := o.cost(s.Analysis, least)/max(o.budget(), 1), o.cost(s.Analysis, nil)/max(o.budget(), 1)
	// With everything kept nothing is lost.
	report := o.base.report()
	report.describe(s.Analysis, o, nil, nil)
	best, report, err := o.base.written(m, report)
	if err != nil {
		return nil, nil, err
	}
	m = best
	for hi-lo > resolution*hi {
		o.MACs = (lo + hi) / 2
		trial := o
		trial.Progress = func(stage string, done, total int) {
			o.progress(fmt.Sprintf("try %d, MACs ×%.2f: %s", len(out.Trials)+1, o.MACs, stage))(done, total)
		}
		next, r, err := trial.model(ctx, s, folded)
		if errors.Is(err, ErrUnmet) { // widths come in steps
			lo = o.MACs
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		measure, lost, err := trial.drop(ctx, m, next, held)
		if err != nil {
			return nil, nil, err
		}
		t := Trial{MACs: o.MACs, Size: r.After, Within: true}
		for i, l := range lost {
			if t.Within = t.Within && l.within(out.Limit); i == 0 || l.share() > t.Drop {
				t.Drop = l.share()
			}
		}
		out.Trials, out.Measure = append(out.Trials, t), measure
		if t.Within {
			best, report, hi, out.Drop = next, r, o.MACs, t.Drop
		} else {
			lo = o.MACs
		}
	}
	report.Search = out
	return best, report, nil
}

// A loss is by how much a model is worse than the original: in so many of so many
// decisions, or, where rows is 0, by a part of what agreement there was.
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

// within compares counts exactly: 148/160 − 140/160 is more than 0.05 in
// floating-point numbers.
func (l loss) within(limit float64) bool {
	if l.rows == 0 {
		return l.part <= limit
	}
	// The limit is the decimal number that the user wrote.
	most, ok := new(big.Rat).SetString(strconv.FormatFloat(limit, 'g', -1, 64))
	return ok && big.NewRat(int64(l.count), int64(l.rows)).Cmp(most) <= 0
}

// drop measures by how much a model is worse than the original: of the samples
// with labels, or output by output.
func (o Options) drop(ctx context.Context, original, m *onnxio.Model, data *dataset.Data) (measure string, lost []loss, err error) {
	evals, err := eval.Models(ctx, []*onnxio.Model{original, m}, data, eval.Options{Runs: -1, Outputs: o.base.outputs,
		StreamOptions: dataset.StreamOptions{Batch: o.Align.Batch, Threads: o.Align.Threads, Progress: o.progress("measure")}})
	if err != nil {
		return "", nil, err
	}
	if a, b := evals[0], evals[1]; a.Top1 != nil && b.Top1 != nil {
		return "top1", []loss{{count: a.Right - b.Right, rows: a.Samples}}, nil
	}
	for _, e := range evals[1].Outputs {
		lost = append(lost, loss{count: e.Rows - e.Same, rows: e.Rows, part: 1 - e.Agreement})
	}
	return "agreement", lost, nil
}
