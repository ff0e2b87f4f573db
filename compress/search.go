package compress

import (
	"context"
	"errors"
	"fmt"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// A Search tells how MaxDrop was met.
type Search struct {
	// Measure is "top1" or "agreement", whose drop from the original's was
	// limited: for agreement from 1.
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
			o.Align.Data = o.RefitData.Sample(d.Len(), engine.FileOrder)
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
		if errors.Is(err, errUnmet) { // widths come in steps
			lo = o.MACs
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		measure, drop, err := trial.drop(ctx, m, next, held)
		if err != nil {
			return nil, nil, err
		}
		t := Trial{MACs: o.MACs, Size: r.After, Drop: drop, Within: drop <= out.Limit}
		out.Trials, out.Measure = append(out.Trials, t), measure
		if t.Within {
			best, report, hi, out.Drop = next, r, o.MACs, drop
		} else {
			lo = o.MACs
		}
	}
	report.Search = out
	return best, report, nil
}

// drop measures by how much a model is worse than the original.
func (o Options) drop(ctx context.Context, original, m *onnxio.Model, data *engine.Data) (measure string, drop float64, err error) {
	evals, err := engine.Evaluate(ctx, []*onnxio.Model{original, m}, data, engine.EvalOptions{Runs: -1,
		StreamOptions: engine.StreamOptions{Batch: o.Align.Batch, Threads: o.Align.Threads, Progress: o.progress("measure")}})
	if err != nil {
		return "", 0, err
	}
	if a, b := evals[0].Top1, evals[1].Top1; a != nil && b != nil {
		return "top1", *a - *b, nil
	}
	return "agreement", 1 - *evals[1].Agreement, nil
}
