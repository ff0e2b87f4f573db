package compress

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

// A Candidate is a way to narrow the model that was made and judged whole, on
// samples that it was neither chosen by nor fitted on, and variants of them.
type Candidate struct {
	Name Kind `json:"name"`
	// Size is that of the model.
	Size Size `json:"size"`
	// Divergence from the original's predictions; see teach.Judge.
	Divergence float64 `json:"divergence"`
	Taken      bool    `json:"taken"`
}

// Kind says how a candidate's widths and channels were chosen.
type Kind string

const (
	// Allocated widths are chosen by measured predictions, space by space.
	Allocated Kind = "allocated"
	// Mixed widths lie halfway between allocated and uniform ones.
	Mixed Kind = "mixed"
	// Even widths are an equal share of every space.
	Even Kind = "uniform"
	// Blind is an equal share of every space too; channels are merged by weights,
	// and nothing is refitted, since the data are few.
	Blind Kind = "by weights"
)

const (
	// heldEvery says that one sample in so many is kept from the fits by which
	// candidates are compared, and at most mostJudged are.
	heldEvery, mostJudged = 5, 100
	// quickSamples is the number of samples that candidates are refitted on.
	quickSamples = 100
	// fewSamples is the number of samples below which it is asked whether they are
	// better than none.
	fewSamples = 100
	// doubt is the share of the divergence of a model made by weights that another
	// must be below on fewer than fewJudged samples: one or two may be easy ones.
	doubt, fewJudged = 0.5, 5
)

// choose makes the candidates of a budget, judges them as whole models, and
// returns the widths of the best. What moves predictions when a space is narrowed
// alone does not add up over spaces, so that an allocation may be worse than equal
// shares. Where there is one candidate only, nothing is measured.
func (o Options) choose(ctx context.Context, s *edit.Subject, ratio float64, report *Report) (*allocation, error) {
	even := &allocation{kind: Even, widths: o.widths(s.Analysis, ratio)}
	if !changes(even.widths) && o.Keep != 0 {
		return even, nil
	}
	if same, err := o.allAlike(s.Model); err != nil || same {
		even.kind = Blind
		return even, err
	}
	few, allocates := o.data().Len() < fewSamples, o.Keep == 0 && !o.Uniform
	if !few && !allocates {
		return even, nil
	}
	fit, held := o.data().Split(min(heldEvery, o.data().Len()))
	trial := o
	trial.RefitData = fit
	all := []*allocation{even}
	if allocates {
		a, err := trial.allocate(ctx, s)
		if err != nil && !errors.Is(err, ErrUnmet) {
			return nil, err
		}
		if err == nil && !maps.Equal(a.widths, even.widths) {
			even.evidence = a.evidence
			all = []*allocation{a, o.mixture(s, a, even), even}
		}
	}
	if few {
		all = append(all, &allocation{kind: Blind, widths: even.widths})
	}
	if o.base.taken != "" { // another attempt at the same size
		if i := slices.IndexFunc(all, func(a *allocation) bool { return a.kind == o.base.taken }); i >= 0 {
			return all[i], nil
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	best, err := trial.judge(ctx, s, all, held.Sample(mostJudged, dataset.FileOrder), report)
	if err == nil && o.Size > 0 {
		o.base.taken = best.kind
	}
	return best, err
}

// judge refits every candidate on some samples and returns the one whose
// predictions are nearest to the original's on others.
func (o Options) judge(ctx context.Context, s *edit.Subject, all []*allocation, held *dataset.Data, report *Report) (*allocation, error) {
	judge, err := teach.NewJudge(ctx, []teach.Parent{{Subject: s, Share: 1}}, teach.Judged(held), teach.Options{Threads: o.Align.Threads, Batch: o.Align.Batch, Outputs: o.base.outputs})
	if err != nil {
		return nil, err
	}
	o.RefitData, o.Tune = o.data().Sample(quickSamples, 1), -1
	progress := o.progress("compare")
	o.Progress = nil
	best := 0
	report.Candidates = nil
	for i, a := range all {
		made := o.base.report()
		m, err := o.make(ctx, s, a, made)
		if err != nil {
			return nil, err
		}
		d, err := judge.Divergence(ctx, m)
		if err != nil {
			return nil, err
		}
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		report.Candidates = append(report.Candidates, Candidate{Name: a.kind, Size: made.After, Divergence: d})
		progress(i+1, len(all))
	}
	least := math.Inf(1)
	for i, c := range report.Candidates {
		d := c.Divergence
		if c.Name == Blind && held.Len() < fewJudged {
			d *= doubt
		}
		if d < least {
			best, least = i, d
		}
	}
	report.Candidates[best].Taken = true
	return all[best], nil
}

// make narrows the model to the widths of an allocation.
func (o Options) make(ctx context.Context, s *edit.Subject, a *allocation, report *Report) (*onnxio.Model, error) {
	var plan *match.Result
	var err error
	if o.fits() && a.kind != Blind {
		plan, err = choose.Select(ctx, s, a.widths, a.evidence, o.selection())
	} else {
		by := o.Align
		if a.kind == Blind {
			by.By = match.Weights
		}
		plan, err = match.Merge(ctx, s, a.widths, by)
	}
	if err != nil {
		return nil, err
	}
	report.Blind = a.kind == Blind
	return o.finish(ctx, s, plan, !report.Blind, report)
}

// mixture lies halfway between two allocations that meet a budget: products of
// widths do not, so that it is taken towards fewer equal shares until it does.
func (o Options) mixture(s *edit.Subject, a, even *allocation) *allocation {
	between := func(ratio float64) map[*coupling.Space]int {
		out := map[*coupling.Space]int{}
		for sp, k := range a.widths {
			m := o.multiple(sp)
			half := (k + min(even.widths[sp], o.share(ratio, sp)) + m) / (2 * m) * m
			out[sp] = min(max(half, o.least(sp)), sp.Width)
		}
		return out
	}
	lo, hi := 0.0, 1.0
	for range 20 {
		mid := (lo + hi) / 2
		if o.cost(s.Analysis, widthsOf(between(mid))) <= o.budget() {
			lo = mid
		} else {
			hi = mid
		}
	}
	return &allocation{kind: Mixed, widths: between(lo), evidence: a.evidence}
}

func widthsOf(m map[*coupling.Space]int) coupling.Widths {
	out := coupling.Widths{}
	for s, k := range m {
		out.Set(s, k)
	}
	return out
}

// allAlike reports whether no two samples of the data differ, so that nothing can
// be told from them.
func (o Options) allAlike(m *onnxio.Model) (bool, error) {
	data := o.data()
	if data.Len() < 2 {
		return true, nil
	}
	inputs, err := engine.Inputs(m)
	if err != nil {
		return false, err
	}
	feed, err := data.For(inputs)
	if err != nil {
		return false, err
	}
	first, err := feed.Batch(0, 1, 1)
	if err != nil {
		return false, err
	}
	for i := 1; i < data.Len(); i++ {
		next, err := feed.Batch(i, 1, 1)
		if err != nil {
			return false, err
		}
		for name, v := range next {
			if !slices.Equal(v.Float64(), first[name].Float64()) {
				return false, nil
			}
		}
	}
	return true, nil
}
