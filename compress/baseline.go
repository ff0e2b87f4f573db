package compress

import (
	"context"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
)

// Lossless says whether a lossless pass runs before anything else.
type Lossless string

const (
	// LosslessAuto removes channels that do not matter, unused nodes and
	// subnormal weights.
	LosslessAuto Lossless = ""
	// LosslessOff leaves them.
	LosslessOff Lossless = "off"
)

// A baseline is the model as it came: what shares and budgets refer to.
type baseline struct {
	analysis *coupling.Analysis
	size     Size
	lossless *lossless.Report
	// frame is what the stripped model's file holds beside weights, in bytes.
	frame int64
	bytes int64 // that file's size
	// form is how the stripped model was written: what is narrowed is the model in
	// ordinary operators.
	form *qdq.Form
	// was finds what spaces of later analyses were at first.
	was map[*coupling.Space]*coupling.Space
	// outputs say what the outputs are for; nil where no predictions are compared.
	outputs []eval.Output
	// seen is what allocation learnt from the data; nil before.
	seen *observed
	// taken is the kind of candidate that was best at the first attempt at a size.
	taken Kind
}

// A place is a weight axis on which spaces are first made. Spaces that share one
// keep their order through all edits.
type place struct {
	tensor string
	axis   int
}

func placeOf(s *coupling.Space) place {
	u := s.Uses[0]
	if p := s.Producers(); len(p) > 0 {
		u = p[0]
	}
	return place{u.Tensor, u.Axis}
}

// strip takes the baseline of a model and removes what does not matter; keep
// says which spaces stay whole. The result is in ordinary operators.
func (o *Options) strip(ctx context.Context, m *onnxio.Model, keep func(*coupling.Space) bool) (*onnxio.Model, error) {
	whole, _, err := qdq.Expand(m)
	if err != nil {
		return nil, err
	}
	a, err := o.analyze(whole)
	if err != nil {
		return nil, err
	}
	if err := o.checkExclude(a); err != nil {
		return nil, err
	}
	size := sizeOf(a, nil)
	size.Params, _ = m.Size()
	b := &baseline{analysis: a, size: size, was: map[*coupling.Space]*coupling.Space{}}
	o.base = b
	if o.Lossless != LosslessOff {
		lo := lossless.Options{InputShapes: o.InputShapes, Keep: keep, Runs: o.LosslessRuns, Threads: o.Align.Threads}
		if o.DryRun || lo.Runs == 0 && o.data() == nil {
			lo.Runs = -1
		}
		o.progress("lossless")(0, 0)
		if m, b.lossless, err = lossless.Strip(ctx, m, lo); err != nil {
			return nil, err
		}
	}
	_, b.bytes = m.Size()
	if m, b.form, err = qdq.Expand(m); err != nil {
		return nil, err
	}
	if b.lossless != nil && b.lossless.Changed() {
		if a, err = o.analyze(m); err != nil {
			return nil, err
		}
	}
	b.frame = b.bytes - b.weightBytes(a, nil)
	return m, nil
}

// analyze finds the spaces of a model as it is narrowed.
func (o *Options) analyze(m *onnxio.Model) (*coupling.Analysis, error) {
	s, err := edit.NewSubject(m, o.coupling())
	if err != nil {
		return nil, err
	}
	return s.Analysis, nil
}

// weightBytes is what the weights of an expanded model occupy in the original's
// form under the widths.
func (b *baseline) weightBytes(a *coupling.Analysis, w coupling.Widths) int64 {
	total := int64(0)
	for _, wt := range a.Weights {
		typ := wt.Type
		if t, ok := b.form.StoredAs(wt.Name); ok {
			typ = t
		}
		if a.Stored(wt, w) {
			total += onnxio.StoredBytes(typ, w.Elements(wt))
		}
	}
	return total
}

// written returns a result as the original was written, and enters its size.
func (b *baseline) written(m *onnxio.Model, r *Report) (*onnxio.Model, *Report, error) {
	out, err := b.form.Restore(m)
	if err != nil {
		return nil, nil, err
	}
	r.After.Params, _ = out.Size()
	return out, r, nil
}

// findTasks decides what the outputs are for, where predictions will be compared,
// on the data with labels if there are any.
func (o *Options) findTasks(ctx context.Context, m *onnxio.Model) (err error) {
	data := o.data()
	if o.EvalData != nil && (data == nil || o.EvalData.Labels() != nil) {
		data = o.EvalData
	}
	if o.DryRun || o.MaxDrop == 0 && !o.fits() {
		return nil
	}
	o.base.outputs, err = eval.FindTasks(ctx, []*onnxio.Model{m}, data, o.Tasks, dataset.StreamOptions{Batch: o.Align.Batch, Threads: o.Align.Threads})
	return err
}

func spacesByPlace(a *coupling.Analysis) map[place][]*coupling.Space {
	out := map[place][]*coupling.Space{}
	for _, s := range a.Spaces {
		out[placeOf(s)] = append(out[placeOf(s)], s)
	}
	return out
}

// see matches the spaces of an edited model with those of the baseline, where it
// is clear which is which.
func (b *baseline) see(a *coupling.Analysis) {
	first := spacesByPlace(b.analysis)
	for p, now := range spacesByPlace(a) {
		if len(first[p]) != len(now) {
			continue // some are gone
		}
		for i, s := range now {
			b.was[s] = first[p][i]
		}
	}
}

// width is the number of channels that a space had at first.
func (b *baseline) width(s *coupling.Space) int {
	if was := b.was[s]; was != nil {
		return was.Width
	}
	return s.Width
}

// report starts a report.
func (b *baseline) report() *Report {
	return &Report{Before: b.size, Lossless: b.lossless, Outputs: b.outputs}
}

// describe enters what became of the spaces.
func (r *Report) describe(a *coupling.Analysis, o Options, after coupling.Widths, cost map[*coupling.Space]float64) {
	r.After = sizeOf(a, after)
	for _, s := range a.Spaces {
		if len(s.Producers()) == 0 {
			continue // an input, not something to narrow
		}
		groups := s.Groups
		if g := a.IndexOf(s); g != nil {
			groups = after.Of(g)
		}
		row := Space{Name: s.Name, Before: o.base.width(s) * s.Groups, After: after.Of(s) * groups, Cost: cost[s]}
		if row.After == row.Before {
			row.Kept = o.kept(s)
		}
		r.Spaces = append(r.Spaces, row)
	}
}
