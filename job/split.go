package job

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/dataset"
)

// A Split says which samples of the data are used for what. It is made once, at
// the start of a run; nil stands for no samples.
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

	// Trial parts Fit while candidates are compared: they are fitted on one part and
	// judged on the other.
	Trial Halves
	// Price parts Trial.Fit once more: channels are ranked on one part, and on the
	// other it is measured what a narrower space costs.
	Price Halves
	// Teach parts Fit where the result is distilled: the rest tells whether that
	// helped.
	Teach Halves
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

// part makes the parts of Fit.
func (s *Split) part() {
	n := s.Fit.Len()
	s.Trial.Fit, s.Trial.Held = s.Fit.Split(min(trialEvery, n))
	s.Price.Fit, s.Price.Held = s.Trial.Fit.Split(trialEvery)
	if s.Price.Held.Len() == 0 {
		s.Price.Held = s.Trial.Fit
	}
	s.Teach = Halves{Fit: s.Fit}
	if n >= leastTaught {
		s.Teach.Fit, s.Teach.Held = s.Fit.Split(max(taughtEvery, (n+mostTaught-1)/mostTaught))
	}
}

// Use decides on the samples of Match and Fit, either of which may be nil.
func (s *Split) Use(match, fit *dataset.Data) {
	s.Match, s.Fit = match, fit
	if fit != nil {
		s.part()
	}
}

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

// MarshalJSON lists the samples of every use.
func (s *Split) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Match      *share `json:"match,omitempty"`
		Fit        *share `json:"fit,omitempty"`
		Judge      *share `json:"judge,omitempty"`
		HeldOut    bool   `json:"held_out,omitempty"`
		TrialFit   *share `json:"trial_fit,omitempty"`
		TrialJudge *share `json:"trial_judge,omitempty"`
		PriceFit   *share `json:"price_fit,omitempty"`
		PriceJudge *share `json:"price_judge,omitempty"`
		TeachFit   *share `json:"teach_fit,omitempty"`
		TeachJudge *share `json:"teach_judge,omitempty"`
	}{
		shareOf(s.Match), shareOf(s.Fit), shareOf(s.Judge), s.HeldOut, shareOf(s.Trial.Fit), shareOf(s.Trial.Held),
		shareOf(s.Price.Fit), shareOf(s.Price.Held), shareOf(s.Teach.Fit), shareOf(s.Teach.Held),
	})
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
