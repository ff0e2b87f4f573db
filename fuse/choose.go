package fuse

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/monge-ml/monge/internal/pipeline"
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
	contest, err := f.Contest(ctx, f.voters(), fitting, teach.Judged(f.Report.Split.Trial().Held))
	if err != nil {
		return nil, nil, err
	}
	s := &search{f: f, contest: contest}
	if fitting.Len() >= 2*quick {
		contest.Fit = fitting.Sample(quick, 1)
	}
	s.candidates(ctx, method)
	if contest.Fit != fitting {
		first := slices.Clone(s.tried)
		slices.SortStableFunc(first, func(a, b Candidate) int { return cmp.Compare(a.Divergence, b.Divergence) })
		contest.Fit = fitting
		for _, c := range first[:min(finalists, len(first))] {
			s.try(ctx, c.recipe())
		}
	}
	if s.err != nil {
		return nil, nil, s.err
	}
	best := s.best()
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

// A search is what has been tried. After an error nothing more is tried.
type search struct {
	f       *fusion
	contest *pipeline.Contest
	tried   []Candidate
	err     error
}

func (c *Candidate) recipe() recipe {
	return recipe{method: c.Method, shares: c.Weights, whole: c.Whole}
}

// try returns the divergence of a recipe, which is measured once.
func (s *search) try(ctx context.Context, how recipe) float64 {
	next := Candidate{Method: how.method, Weights: how.shares, Whole: how.whole, Samples: s.contest.Fit.Len(), Divergence: math.Inf(1)}
	for _, c := range s.tried {
		if c.Samples == next.Samples && c.Method == how.method && c.Whole == how.whole && slices.Equal(c.Weights, how.shares) {
			return c.Divergence
		}
	}
	if s.err == nil {
		next.Divergence, s.err = s.contest.Try(ctx, true, s.f.making(how, s.f.report(how.method, how.shares)))
	}
	if s.err == nil {
		s.tried = append(s.tried, next)
		s.f.Stage(how.String())(len(s.tried), 0)
	}
	return next.Divergence
}

// best is the best of the candidates that were fitted on the present data.
func (s *search) best() *Candidate {
	var best *Candidate
	for i := range s.tried {
		c := &s.tried[i]
		if c.Samples == s.contest.Fit.Len() && (best == nil || c.Divergence < best.Divergence) {
			best = c
		}
	}
	return best
}

// candidates tries all that is worth a try.
func (s *search) candidates(ctx context.Context, method Method) {
	methods := []Method{method}
	if method == Auto {
		methods = []Method{OT, Union}
	}
	best, least := recipe{method: methods[0], shares: s.f.votes}, math.Inf(1)
	// better takes a recipe if it is better than what was.
	better := func(method Method, shares []float64) bool {
		how := recipe{method: method, shares: shares}
		d := s.try(ctx, how)
		if d >= least {
			return false
		}
		best, least = how, d
		return true
	}
	for _, m := range methods {
		better(m, s.f.votes)
	}
	if s.f.o.Weights != nil || method != OT && s.wholes(ctx, least) {
		return
	}
	lead := -1
	for i := range s.f.models {
		if better(best.method, towards(s.f.votes, i, balanceStep)) {
			lead = i
		}
	}
	for n := 1; lead >= 0 && n < balanceSteps; n++ {
		if !better(best.method, towards(best.shares, lead, balanceStep)) {
			return
		}
	}
}

// wholes tries every model whole with channels of the others beside it, and
// reports whether that is better than what was.
func (s *search) wholes(ctx context.Context, least float64) bool {
	better := false
	for i := range s.f.models {
		room, spare := s.f.roomFor(i)
		if room {
			d := s.try(ctx, recipe{method: Union, shares: s.f.votes, whole: i + 1})
			better = better || spare && d < least
		}
	}
	return better
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
