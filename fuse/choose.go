package fuse

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

const (
	// leastTried is the number of samples from which on candidates are compared.
	leastTried = 5
	// quick is the number of samples that all candidates are fitted on first, and finalists how
	// many of them are then fitted on the rest too.
	quick, finalists = 250, 2
)

// The balance moves from equal shares in a few steps: for two models to 0.65, 0.76, 0.83 and 0.88
// of the leading one.
const (
	balanceStep  = 0.3
	balanceSteps = 4
)

// choose measures candidates by the divergence of the result from the parents' mean prediction on
// held-out inputs and variants of them (dataset.Data.Varied: what a candidate has kept of a parent
// that was trained on these very inputs flatters it on them alone), then makes the best of them on
// all inputs. Candidates are both methods, and without given weights each model whole beside what
// is best of the others', where the result is wide enough, and, if that is not best already, other
// balances of the better method: moved, step by step, towards the parent for which the first step
// helps most, as long as that helps. Parents' own divergences do not tell which that is: an unsure
// parent is near to every mean.
//
// Most is known after few samples: all candidates are fitted on these, and the best on all that are
// not held out (Jamieson & Talwalkar, Non-stochastic best arm identification, AISTATS 2016).
func (f *fusion) choose(ctx context.Context, first Candidate) (*onnxio.Model, *Report, error) {
	blind, only, err := f.without(first)
	switch {
	case err != nil:
		return nil, nil, err
	case only:
		return f.finish(ctx, *blind)
	case f.Report.Split.Fit.Len() < leastTried:
		first.Method = cmp.Or(first.Method, OT)
		return f.finish(ctx, first)
	}
	s := &search{f: f}
	for _, fold := range f.Folds() {
		contest, err := f.Contest(ctx, f.voters(), fold.Fit, teach.Judged(fold.Held))
		if err != nil {
			return nil, nil, err
		}
		s.contests = append(s.contests, contest)
	}
	fitting := f.Trial().Fit
	if fitting.Len() >= 2*quick {
		s.contests[0].Fit = fitting.Sample(quick, 1)
	}
	if blind != nil {
		s.try(ctx, *blind)
	}
	s.candidates(ctx, first)
	if s.contests[0].Fit != fitting && fitting.Len() >= 2*quick {
		all := slices.Clone(s.tried)
		slices.SortStableFunc(all, func(a, b Candidate) int { return cmp.Compare(a.Divergence, b.Divergence) })
		s.contests[0].Fit = fitting
		for _, c := range all[:min(finalists, len(all))] {
			s.try(ctx, c)
		}
	}
	if s.err != nil {
		return nil, nil, s.err
	}
	best := s.best()
	f.Spend(&f.Run.Report.Spent.Candidates)
	out, report, err := f.finish(ctx, *best)
	if err != nil {
		return nil, nil, err
	}
	report.Divergence, report.Candidates = best.Divergence, s.tried
	return out, report, nil
}

// without is the candidate that does without data, where these are few: transport by weights. only
// says that nothing else can be judged, since there are hardly any samples or all are alike.
func (f *fusion) without(first Candidate) (blind *Candidate, only bool, err error) {
	data := f.Report.Split.Fit
	if data.Len() >= pipeline.FewSamples || first.Method == Union || pipeline.Changes(f.widths) {
		return nil, false, nil
	}
	same, err := pipeline.AllAlike(f.models[0], data)
	return &Candidate{Method: OT, Weights: first.Weights, Blind: true}, same || data.Len() < leastTried, err
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
	f *fusion
	// contests are one, or of few samples several, of which the mean counts.
	contests []*pipeline.Contest
	tried    []Candidate
	err      error
}

// try returns the divergence of a candidate, which is measured once.
func (s *search) try(ctx context.Context, how Candidate) float64 {
	how.Samples, how.Divergence = s.contests[0].Fit.Len(), math.Inf(1)
	for _, c := range s.tried {
		if c.Samples == how.Samples && c.Method == how.Method && c.Blind == how.Blind && c.Whole == how.Whole && slices.Equal(c.Weights, how.Weights) {
			return c.Divergence
		}
	}
	sum := 0.0
	for _, contest := range s.contests {
		if s.err == nil {
			var d float64
			d, s.err = contest.Try(ctx, !how.Blind, s.f.making(how, s.f.report(how)))
			sum += d / float64(len(s.contests))
		}
	}
	if s.err == nil {
		how.Divergence = sum
		s.tried = append(s.tried, how)
		stage := fmt.Sprintf("%s at %.2g", how.Method, how.Weights)
		if how.Whole > 0 {
			stage = fmt.Sprintf("%s with all of model %d", how.Method, how.Whole)
		}
		s.f.Stage(stage)(len(s.tried), 0)
	}
	return how.Divergence
}

// best is the best of the candidates that were fitted on the present data.
func (s *search) best() *Candidate {
	var best *Candidate
	least := math.Inf(1)
	for i := range s.tried {
		c := &s.tried[i]
		d := c.Divergence
		if c.Blind { // of many candidates the best seems better than it is
			d *= pipeline.Doubt
		}
		if c.Samples == s.contests[0].Fit.Len() && (best == nil || d < least) {
			best, least = c, d
		}
	}
	return best
}

// candidates tries all that is worth a try.
func (s *search) candidates(ctx context.Context, first Candidate) {
	methods := []Method{first.Method}
	if first.Method == Auto {
		methods = []Method{OT, Union}
	}
	best, least := Candidate{Method: methods[0], Weights: first.Weights}, math.Inf(1)
	// better takes a candidate if it is better than what was.
	better := func(method Method, weights []float64) bool {
		how := Candidate{Method: method, Weights: weights}
		d := s.try(ctx, how)
		if d >= least {
			return false
		}
		best, least = how, d
		return true
	}
	for _, m := range methods {
		better(m, first.Weights)
	}
	if s.f.o.Weights != nil || first.Method != OT && s.wholes(ctx, least) {
		return
	}
	lead := -1
	for i := range s.f.models {
		if better(best.Method, towards(first.Weights, i, balanceStep)) {
			lead = i
		}
	}
	for n := 1; lead >= 0 && n < balanceSteps; n++ {
		if !better(best.Method, towards(best.Weights, lead, balanceStep)) {
			return
		}
	}
}

// wholes tries every model whole with channels of the others beside it, and reports whether that is
// better than what was.
func (s *search) wholes(ctx context.Context, least float64) bool {
	better := false
	for i := range s.f.models {
		room, spare := s.f.roomFor(i)
		if room {
			d := s.try(ctx, Candidate{Method: Union, Weights: s.f.votes, Whole: i + 1})
			better = better || spare && d < least
		}
	}
	return better
}

// roomFor reports whether the result has a place for every channel of a model, and whether places
// are left beside them.
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
