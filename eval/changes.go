package eval

import "github.com/monge-ml/monge/dataset"

// A Change is a sample that one model gives to another class than the other does.
type Change struct {
	Index  int // of the sample among those that were run
	Sample int // its number in the data set, counted from 0
	Label  int // -1 without labels
	Before int // the classes
	After  int
}

// Fate says what a change means.
type Fate int

const (
	Unlabelled Fate = iota
	Worse           // the label's class, then another one
	Better          // another class, then the label's
	StillWrong
)

// Fate compares with the label.
func (c Change) Fate() Fate {
	switch c.Label {
	case -1:
		return Unlabelled
	case c.Before:
		return Worse
	case c.After:
		return Better
	}
	return StillWrong
}

// Changes lists the samples of a data set that two models, which were run on it, decide differently
// about, in its order; none where they decide nothing.
func Changes(before, after Result, data *dataset.Data) []Change {
	if len(before.Decided) != data.Len() || len(after.Decided) != data.Len() {
		return nil
	}
	places, labels := data.Places(), data.Labels()
	if before.Doubt != "" {
		labels = nil
	}
	var out []Change
	for i, class := range before.Decided {
		if after.Decided[i] == class {
			continue
		}
		c := Change{Index: i, Sample: places[i], Label: -1, Before: class, After: after.Decided[i]}
		if labels != nil {
			c.Label = labels[i]
		}
		out = append(out, c)
	}
	return out
}
