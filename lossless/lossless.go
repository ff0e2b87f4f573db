package lossless

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/onnxio"
)

// Options are the settings of a lossless pass. The zero value does all that can be proven, and
// checks the result with onnxruntime where there is one.
type Options struct {
	// InputShapes gives sizes to free dimensions of inputs, by name.
	InputShapes map[string][]int
	// Keep, if set, says of a space that may change whether all its channels shall stay.
	Keep func(s *coupling.Space) bool
	// Multiple is what widths that change are multiples of afterwards; zero means what suits the
	// convolutions over images that a space goes through (16, 8 or 4 channels) if its width is a
	// multiple of that, and 1 for others: a space of 32 channels without one is slower than whole.
	Multiple int
	// Runs is the number of random inputs on which the result is compared with the original; zero
	// means 3. NoCheck compares nothing.
	Runs    int
	NoCheck bool
	// Seed makes the random inputs.
	Seed uint64
	// Threads limits onnxruntime's threads; zero means all cores.
	Threads int
	// Trial runs the model in a program of its own before it is run in this one; nil for none.
	Trial *engine.Trial
}

// A Report says what a lossless pass did. Counts are sums over spaces, groups and rounds.
type Report struct {
	// Unread channels had only zero weights, or nothing, behind them.
	Unread int `json:"unread_channels"`
	// Constant channels did not depend on the input; what they added is in the biases of their
	// readers now.
	Constant int `json:"constant_channels"`
	// Duplicate channels were made by the same numbers as an earlier one.
	Duplicate int `json:"duplicate_channels"`
	// Spaces lists the spaces that lost channels, by name.
	Spaces []Space `json:"spaces"`
	// UnusedNodes and UnusedInitializers name what no output depended on.
	UnusedNodes        []string `json:"unused_nodes"`
	UnusedInitializers []string `json:"unused_initializers"`
	// Flushed lists the weights that held subnormal numbers.
	Flushed []Flushed `json:"flushed"`
	// Left lists the channels that carry nothing and stay all the same.
	Left []Left `json:"left"`
	// Rounds counts the passes over all spaces, the last of which found nothing.
	Rounds int `json:"rounds"`

	ParamsBefore int64 `json:"params_before"`
	ParamsAfter  int64 `json:"params_after"`
	BytesBefore  int64 `json:"bytes_before"`
	BytesAfter   int64 `json:"bytes_after"`

	// Check compares the outputs; nil where nothing was run.
	Check *Check `json:"check,omitempty"`
	// Reverted: the check failed, and the model is returned as it came.
	Reverted bool `json:"reverted"`
	// Notes say what was not done or not checked, and why.
	Notes []string `json:"notes,omitempty"`
}

// A Space counts the channels that a space lost.
type Space struct {
	Name      string `json:"name"`
	Before    int    `json:"before"` // channels, over all groups
	After     int    `json:"after"`
	Unread    int    `json:"unread"`
	Constant  int    `json:"constant"`
	Duplicate int    `json:"duplicate"`
}

// Flushed is a weight whose subnormal numbers became zeros.
type Flushed struct {
	Tensor string `json:"tensor"`
	Values int    `json:"values"`
}

// Left are channels of a space that could not be removed, and why.
type Left struct {
	Space    string `json:"space"`
	Channels int    `json:"channels"`
	Reason   string `json:"reason"`
}

// Changed reports whether the pass did anything.
func (r *Report) Changed() bool {
	return !r.Reverted && (r.Unread+r.Constant+r.Duplicate+len(r.UnusedNodes)+len(r.UnusedInitializers)+len(r.Flushed) > 0)
}

// mostParams bounds the models whose weights are looked at: all are in memory at once, as float64,
// and onnxruntime holds three copies while it compares.
const mostParams = 50_000_000

// Strip returns a smaller model that computes the same function, within 1e-5·max|y|: without
// channels that nobody reads, that do not depend on the input, or that repeat another one; without
// unused nodes and initializers; with weights stored that were computed from others, where
// onnxruntime can do that; and with subnormal weights flushed to zero, on which CPUs are slow.
// Frozen spaces, and all numbers beside those named, stay as they are bit by bit. Applied to its
// own result it finds nothing more.
//
// A channel that is constant is folded into the biases of its readers, which cannot be done where a
// Conv pads its input with zeros unless the constant is zero itself; then it stays. Of models with
// more than fifty million parameters, only unused nodes and initializers are removed, and what is
// computed is stored. onnxruntime, where there is one, checks the result and decides nothing else.
func Strip(ctx context.Context, m *onnxio.Model, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	r := newReport(m.Size())
	expanded, form, err := qdq.Expand(m)
	if err != nil {
		return nil, nil, err
	}
	out := expanded.Clone()
	large := r.ParamsBefore > mostParams
	if large {
		r.Notes = append(r.Notes, fmt.Sprintf("with more than %d million parameters only unused nodes and initializers are looked for", mostParams/1_000_000))
		if _, err = compute(ctx, out, o); err == nil {
			err = r.dropUnused(out)
		}
	} else {
		out, err = o.narrow(ctx, out, r)
	}
	if err != nil {
		return nil, nil, err
	}
	if out, err = form.Restore(out); err != nil {
		return nil, nil, err
	}
	if r.Changed() && !large {
		if err := o.verify(ctx, m, out, r); err != nil {
			return nil, nil, err
		}
	}
	if !r.Changed() {
		out = m.Clone()
	}
	r.ParamsAfter, r.BytesAfter = out.Size()
	return out, r, nil
}

// FlushedValues is the number of subnormal numbers that became zeros.
func (r *Report) FlushedValues() int {
	n := 0
	for _, f := range r.Flushed {
		n += f.Values
	}
	return n
}

// narrow does all that there is to do, with a look at the weights. It changes m.
func (o Options) narrow(ctx context.Context, m *onnxio.Model, r *Report) (*onnxio.Model, error) {
	if err := r.flush(m); err != nil {
		return nil, err
	}
	if _, err := compute(ctx, m, o); err != nil {
		return nil, err
	}
	unused := r
	for removed := true; removed; r.Rounds++ {
		if err := unused.dropUnused(m); err != nil {
			return nil, err
		}
		unused = new(Report) // shapes that edits replaced were not unused in the original
		var err error
		if m, removed, err = o.round(ctx, m, r); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// round removes what one look at all spaces finds.
func (o Options) round(ctx context.Context, m *onnxio.Model, r *Report) (*onnxio.Model, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s, err := edit.NewSubject(m, coupling.Options{InputShapes: o.InputShapes, Opaque: true}) // branches are run or not: nothing is known of them
	if err != nil {
		return nil, false, err
	}
	p, err := newPass(s, o)
	if err != nil {
		return nil, false, err
	}
	if err := p.classify(); err != nil {
		return nil, false, err
	}
	r.Left, r.Notes = p.left(), p.notes
	maps, out, err := p.edit()
	if err != nil {
		return nil, false, err
	}
	if len(maps) == 0 {
		return m, false, nil
	}
	if err := cmp.Or(p.foldConstants(out, maps), s.Reshare(out)); err != nil {
		return nil, false, err
	}
	for _, v := range p.verdicts {
		if maps[v.space] != nil {
			r.count(v)
		}
	}
	return out, true, nil
}

// count enters what a space lost.
func (r *Report) count(v *verdict) {
	i := slices.IndexFunc(r.Spaces, func(x Space) bool { return x.Name == v.space.Name })
	if i < 0 {
		i = len(r.Spaces)
		r.Spaces = append(r.Spaces, Space{Name: v.space.Name, Before: len(v.fate)})
	}
	var n [4]int // by kind
	for _, f := range v.fate {
		n[f.kind]++
	}
	row := &r.Spaces[i]
	row.After = n[kept]
	row.Unread, r.Unread = row.Unread+n[unread], r.Unread+n[unread]
	row.Constant, r.Constant = row.Constant+n[constant], r.Constant+n[constant]
	row.Duplicate, r.Duplicate = row.Duplicate+n[duplicate], r.Duplicate+n[duplicate]
}

// newReport has empty lists, not nil ones, for JSON.
func newReport(params, bytes int64) *Report {
	return &Report{ParamsBefore: params, BytesBefore: bytes, Spaces: []Space{}, UnusedNodes: []string{},
		UnusedInitializers: []string{}, Flushed: []Flushed{}, Left: []Left{}}
}

// revert takes everything back.
func (r *Report) revert(why string) {
	fresh := newReport(r.ParamsBefore, r.BytesBefore)
	fresh.Rounds, fresh.Check, fresh.Reverted = r.Rounds, r.Check, true
	fresh.Notes = append(r.Notes, fmt.Sprintf("nothing was changed: %s", why))
	*r = *fresh
}
