package job

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/dataset"
)

// A Split says which samples of the data are used for what. Every part of it is
// made once; nil stands for no samples.
type Split struct {
	// Match are the samples that channels are compared on by their activations.
	Match *dataset.Data
	// Fit are those that channels are chosen, operators refitted and the result
	// distilled on.
	Fit *dataset.Data
	// Judge are those that the result is judged on. HeldOut says that they are part
	// of the same data, used for nothing else.
	Judge   *dataset.Data
	HeldOut bool

	trial, price, teach *Halves // once they are asked for
}

// Halves are the samples that something is fitted on, and those that it is judged
// on. Held is empty where there are too few.
type Halves struct{ Fit, Held *dataset.Data }

const (
	// trialEvery says that one sample in so many judges candidates.
	trialEvery = 5
	// mostHeld bounds the samples that a result is judged on: a thousand tell
	// percents.
	mostHeld = 1000
	// leastTaught is the number of samples from which on some tell whether a
	// distillation helped, a tenth and no more than mostTaught.
	leastTaught, taughtEvery, mostTaught = 200, 10, 200
)

// IsZero reports whether no samples were used.
func (s *Split) IsZero() bool { return s == nil || s.Match == nil && s.Fit == nil && s.Judge == nil }

// Trial parts Fit while candidates are compared: they are fitted on one part and
// judged on the other.
func (s *Split) Trial() Halves {
	if s.trial == nil {
		s.trial = halves(s.Fit.Split(min(trialEvery, s.Fit.Len())))
	}
	return *s.trial
}

// Price parts what candidates are fitted on once more: channels are ranked on one
// part, and on the other it is measured what a narrower space costs.
func (s *Split) Price() Halves {
	if s.price == nil {
		s.price = halves(s.Trial().Fit.Split(trialEvery))
		if s.price.Held.Len() == 0 {
			s.price.Held = s.price.Fit
		}
	}
	return *s.price
}

// Teach parts Fit where the result is distilled: the held-out part, nil where
// there are few samples, tells whether that helped.
func (s *Split) Teach() Halves {
	if n := s.Fit.Len(); s.teach == nil && n >= leastTaught {
		s.teach = halves(s.Fit.Split(max(taughtEvery, (n+mostTaught-1)/mostTaught)))
	} else if s.teach == nil {
		s.teach = halves(s.Fit, nil)
	}
	return *s.teach
}

func halves(fit, held *dataset.Data) *Halves { return &Halves{fit, held} }

// HoldOut takes samples of data aside to judge the result on, and returns the
// rest: a fifth where want are left, or where all of them are wanted for a fixed
// share; a tenth, at most 200, where all the rest is needed, since accuracy is
// worth more than its third digit; none of less than 100.
func (s *Split) HoldOut(data *dataset.Data, want int, always bool) (rest *dataset.Data) {
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

// share is one use of a split, as JSON shows it: a data set, and the numbers of
// samples in it, counted from 0, as ranges.
type share struct {
	Data    string `json:"data"`
	Samples int    `json:"samples"`
	Which   string `json:"which"`
}

func shareOf(d *dataset.Data) *share {
	if d == nil || d.Len() == 0 {
		return nil
	}
	return &share{Data: d.Name(), Samples: d.Len(), Which: ranges(d.Places())}
}

// MarshalJSON lists the samples of every use that there was.
func (s *Split) MarshalJSON() ([]byte, error) {
	of := func(h *Halves) (fit, judge *share) {
		if h == nil {
			return nil, nil
		}
		return shareOf(h.Fit), shareOf(h.Held)
	}
	var out struct {
		Match      *share `json:"match,omitempty"`
		Fit        *share `json:"fit,omitempty"`
		Judge      *share `json:"judge,omitempty"`
		TrialFit   *share `json:"trial_fit,omitempty"`
		TrialJudge *share `json:"trial_judge,omitempty"`
		PriceFit   *share `json:"price_fit,omitempty"`
		PriceJudge *share `json:"price_judge,omitempty"`
		TeachFit   *share `json:"teach_fit,omitempty"`
		TeachJudge *share `json:"teach_judge,omitempty"`
	}
	out.Match, out.Fit, out.Judge = shareOf(s.Match), shareOf(s.Fit), shareOf(s.Judge)
	out.TrialFit, out.TrialJudge = of(s.trial)
	out.PriceFit, out.PriceJudge = of(s.price)
	out.TeachFit, out.TeachJudge = of(s.teach)
	return json.Marshal(out)
}

// ranges writes numbers as in 0-3,7.
func ranges(list []int) string {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	var out []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		text := fmt.Sprint(list[i])
		if j > i {
			text += fmt.Sprintf("-%d", list[j])
		}
		out = append(out, text)
		i = j + 1
	}
	return strings.Join(out, ",")
}
