package pipeline

import (
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

const (
	// trialEvery says that one sample in so many judges candidates.
	trialEvery = 5
	// mostHeld bounds the samples that a result is judged on: a thousand tell percents.
	mostHeld = 1000
	// leastTold is the number of samples from which on some tell whether a distillation helped, a
	// tenth and no more than mostTold.
	leastTold, toldEvery, mostTold = 200, 10, 200
)

// Trial parts the samples that are fitted on while candidates are compared: they are fitted on one
// part and judged on the other.
func (r *Run) Trial() job.Halves {
	s := r.Report.Split
	if s.Trial == nil {
		s.Trial = halves(s.Fit.Split(min(trialEvery, s.Fit.Len())))
	}
	return *s.Trial
}

const (
	// FewSamples is the number of samples below which it is asked whether they are better than none.
	FewSamples = 100
	// Doubt is the share of the divergence of a model made without data that another must be below
	// where fewer than FewJudged samples judge: some may be easy ones.
	Doubt, FewJudged = 0.5, 10
)

// mostFolded is the number of samples up to which each of them judges once: one in trialEvery of
// them would be too few to tell anything.
const mostFolded = 30

// Folds are the ways to part the samples that are fitted on while candidates are compared: that of
// Trial, and of few samples further ones, so that each of them judges in one.
func (r *Run) Folds() []job.Halves {
	out := []job.Halves{r.Trial()}
	fit := r.Report.Split.Fit
	if n := fit.Len(); n <= mostFolded {
		every := min(trialEvery, n)
		for at := range every - 1 {
			out = append(out, *halves(fit.Fold(at, every)))
		}
	}
	return out
}

// Price parts what candidates are fitted on once more, see job.Split.
func (r *Run) Price() job.Halves {
	s := r.Report.Split
	if s.Price == nil {
		s.Price = halves(r.Trial().Fit.Split(trialEvery))
		if s.Price.Held.Len() == 0 {
			s.Price.Held = s.Price.Fit
		}
	}
	return *s.Price
}

// Teach parts the samples that are fitted on where the result is distilled.
func (r *Run) Teach() job.Halves {
	s := r.Report.Split
	if n := s.Fit.Len(); s.Teach == nil && n >= leastTold {
		s.Teach = halves(s.Fit.Split(max(toldEvery, (n+mostTold-1)/mostTold)))
	} else if s.Teach == nil {
		s.Teach = halves(s.Fit, nil)
	}
	return *s.Teach
}

func halves(fit, held *dataset.Data) *job.Halves { return &job.Halves{Fit: fit, Held: held} }

// holdOut takes samples of data aside to judge the result on, and returns the rest: a fifth where
// want are left, or where all of them are wanted for a fixed share; a tenth, at most 200, where all
// the rest is needed, since accuracy is worth more than its third digit; none of less than 100.
func holdOut(s *job.Split, data *dataset.Data, want int, always bool) (rest *dataset.Data) {
	n, every := data.Len(), 5
	if !always && n-n/every < want {
		if n < 100 {
			return data
		}
		every = max(10, (n+199)/200)
	}
	rest, held := data.Split(every)
	s.Judge, s.HeldOut = held.Sample(mostHeld, dataset.FileOrder), true
	return rest
}

// AllAlike reports whether no two samples of the data differ, so that nothing can be told from
// them.
func AllAlike(m *onnxio.Model, data *dataset.Data) (bool, error) {
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
	var first, next map[string]*engine.Value
	for i := range data.Len() {
		if next, err = feed.Batch(i, 1); err != nil {
			return false, err
		}
		if i == 0 {
			first = next
		}
		for name, v := range next {
			if !slices.Equal(v.Float64(), first[name].Float64()) {
				return false, nil
			}
		}
	}
	return true, nil
}
