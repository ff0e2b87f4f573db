package job

import (
	"cmp"
	"encoding/json"

	"github.com/monge-ml/monge/dataset"
)

// A Split says which samples of the data are used for what. Nil stands for no samples.
type Split struct {
	// Match are the samples that channels are compared on by their activations.
	Match *dataset.Data
	// Fit are those that channels are chosen, operators refitted and the result distilled on.
	Fit *dataset.Data
	// Judge are those that the result is judged on. HeldOut says that they are part of the same
	// data, used for nothing else.
	Judge   *dataset.Data
	HeldOut bool

	// While candidates are compared, Trial parts Fit, and Price what they are fitted on: channels
	// are ranked on one part, and on the other it is measured what a narrower space costs. Teach
	// parts Fit where the result is distilled: the held-out part, nil where there are few samples,
	// tells whether that helped. Nil where that was not done.
	Trial, Price, Teach *Halves
}

// Halves are the samples that something is fitted on, and those that it is judged on. Held is empty
// where there are too few.
type Halves struct{ Fit, Held *dataset.Data }

// IsZero reports whether no samples were used.
func (s *Split) IsZero() bool { return s == nil || s.Match == nil && s.Fit == nil && s.Judge == nil }

// share is one use of a split, as JSON shows it: a data set, and the numbers of samples in it,
// counted from 0, as ranges.
type share struct {
	Data    string `json:"data"`
	Samples int    `json:"samples"`
	Which   string `json:"which"`
}

func shareOf(d *dataset.Data) *share {
	if d == nil || d.Len() == 0 {
		return nil
	}
	return &share{Data: d.Name(), Samples: d.Len(), Which: dataset.Ranges(d.Places())}
}

// A shown split has the samples of every use that there was.
type shown struct {
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

// Shown is what JSON shows of the split: the samples of every use that there was.
func (s *Split) Shown() any {
	none := &Halves{}
	trial, price, teach := cmp.Or(s.Trial, none), cmp.Or(s.Price, none), cmp.Or(s.Teach, none)
	return shown{
		shareOf(s.Match), shareOf(s.Fit), shareOf(s.Judge), shareOf(trial.Fit), shareOf(trial.Held),
		shareOf(price.Fit), shareOf(price.Held), shareOf(teach.Fit), shareOf(teach.Held),
	}
}

// MarshalJSON writes what is Shown.
func (s *Split) MarshalJSON() ([]byte, error) { return json.Marshal(s.Shown()) }
