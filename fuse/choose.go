package fuse

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

const (
	// leastTried is the number of samples from which on candidates are compared.
	leastTried = 5
	// quick is the number of samples that all candidates are fitted on first, and
	// finalists how many of them are then fitted on the rest too.
	quick, finalists = 250, 2
)

// The balance moves from equal shares in a few steps: for two models to 0.65,
// 0.76, 0.83 and 0.88 of the leading one.
const (
	balanceStep  = 0.3
	balanceSteps = 4
)

// choose measures candidates by the divergence of the result from the parents'
// mean prediction on held-out inputs and variants of them (dataset.Data.Varied:
// what a candidate has kept of a parent that was trained on these very inputs
// flatters it on them alone), then makes the best of them on all inputs.
// Candidates are both methods, and without given weights each model whole beside
// what is best of the others', where the result is wide enough, and, if that is
// not best already, other balances of the better method: moved, step by step, towards the parent for
// which the first step helps most, as long as that helps. Parents' own
// divergences do not tell which that is: an unsure parent is near to every mean.
//
// Most is known after few samples: all candidates are fitted on these, and the
// best on all that are not held out (Jamieson & Talwalkar, Non-stochastic best
// arm identification, AISTATS 2016).
func (f *fusion) choose(ctx context.Context, method Method) (*onnxio.Model, *Report, error) {
	if f.Report.Split.Fit.Len() < leastTried {
		if method == Auto {
			method = OT
		}
		return f.finish(ctx, recipe{method: method, shares: f.votes})
	}
	fitting := f.Report.Split.Trial().Fit
	judge, err := f.Judge(ctx, f.voters(), teach.Judged(f.Report.Split.Trial().Held))
	if err != nil {
		return nil, nil, err
	}
	s := &search{f: f, judge: judge, data: fitting}
	if fitting.Len() >= 2*quick {
		s.data = fitting.Sample(quick, 1)
	}
	if err := s.candidates(ctx, method); err != nil {
		return nil, nil, err
	}
	best := s.best()
	if s.data != fitting {
		first := slices.Clone(s.tried)
		slices.SortStableFunc(first, func(a, b Candidate) int { return cmp.Compare(a.Divergence, b.Divergence) })
		s.data = fitting
		for _, c := range first[:min(finalists, len(first))] {
			if _, err := s.try(ctx, c.recipe()); err != nil {
				return nil, nil, err
			}
		}
		best = s.best()
	}
	out, report, err := f.finish(ctx, best.recipe())
	if err != nil {
		return nil, nil, err
	}
	report.Divergence, report.Candidates = best.Divergence, s.tried
	return out, report, nil
}

// voters are the models with their parts in what the outputs aim at.
func (f *fusion) voters() teach.Parents {
	out := make(teach.Parents, len(f.subjects))
	for i, s := range f.subjects {
		out[i] = teach.Parent{Subject: s, Vote: f.votes[i]}
	}
	return out
}

// A search is what has been tried.
type search struct {
	f     *fusion
	judge *teach.Judge
	data  *dataset.Data // that candidates are fitted on
	tried []Candidate
}

func (c *Candidate) recipe() recipe {
	return recipe{method: c.Method, shares: c.Weights, whole: c.Whole}
}

// try measures a recipe, unless that has been done.
func (s *search) try(ctx context.Context, how recipe) (divergence float64, err error) {
	for _, c := range s.tried {
		if c.Samples == s.data.Len() && c.Method == how.method && c.Whole == how.whole && slices.Equal(c.Weights, how.shares) {
			return c.Divergence, nil
		}
	}
	report := s.f.report(how.method, how.shares)
	child, err := s.f.Trial(ctx, s.data, true, s.f.making(how, report), &report.Report)
	if err != nil {
		return 0, err
	}
	d, err := s.judge.Divergence(ctx, child)
	if err != nil {
		return 0, err
	}
	if math.IsNaN(d) {
		d = math.Inf(1)
	}
	s.tried = append(s.tried, Candidate{Method: how.method, Weights: how.shares, Whole: how.whole, Samples: s.data.Len(), Divergence: d})
	s.f.Stage(how.String())(len(s.tried), 0)
	return d, nil
}

// best is the best of the candidates that were fitted on the present data.
func (s *search) best() *Candidate {
	var best *Candidate
	for i := range s.tried {
		c := &s.tried[i]
		if c.Samples == s.data.Len() && (best == nil || c.Divergence < best.Divergence) {
			best = c
		}
	}
	return best
}

// candidates tries all that is worth a try.
func (s *search) candidates(ctx context.Context, method Method) error {
	f := s.f
	methods := []Method{method}
	if method == Auto {
		methods = []Method{OT, Union}
	}
	now, at := recipe{}, math.Inf(1)
	for _, m := range methods {
		how := recipe{method: m, shares: f.votes}
		d, err := s.try(ctx, how)
		if err != nil {
			return err
		}
		if now.method == "" || d < at {
			now, at = how, d
		}
	}
	if f.o.Weights != nil {
		return nil
	}
	beside := false // a model whole, with channels of others beside it, is best
	for i := range f.models {
		room, spare := f.roomFor(i)
		if method == OT || !room {
			continue
		}
		d, err := s.try(ctx, recipe{method: Union, shares: f.votes, whole: i + 1})
		if err != nil {
			return err
		}
		beside = beside || (spare && d < at)
	}
	if beside {
		return nil
	}
	equal, lead := now, -1
	for i := range f.models {
		how := recipe{method: now.method, shares: towards(equal.shares, i, balanceStep)}
		d, err := s.try(ctx, how)
		if err != nil {
			return err
		}
		if d < at {
			now, at, lead = how, d, i
		}
	}
	for range balanceSteps - 1 {
		if lead < 0 {
			break // equal shares are best
		}
		how := recipe{method: now.method, shares: towards(now.shares, lead, balanceStep)}
		d, err := s.try(ctx, how)
		if err != nil {
			return err
		}
		if d >= at {
			break
		}
		now, at = how, d
	}
	return nil
}

// roomFor reports whether the result has a place for every channel of a model,
// and whether places are left beside them.
func (f *fusion) roomFor(i int) (room, spare bool) {
	for s, k := range f.widths {
		if own := f.spaceOf(i, s); own != nil {
			if own.Width > k {
				return false, false
			}
			spare = spare || own.Width < k
		}
	}
	return true, spare
}

// towards gives part of all other shares to one model.
func towards(w []float64, lead int, part float64) []float64 {
	out := slices.Clone(w)
	for i := range out {
		if i != lead {
			out[i] *= 1 - part
			out[lead] += part * w[i]
		}
	}
	return out
}
