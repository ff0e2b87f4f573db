package compress

import (
	"context"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A baseline is the model as it came: what shares and budgets refer to.
type baseline struct {
	analysis *coupling.Analysis
	size     Size
	lossless *lossless.Report
	// frame is what the stripped model's file holds beside weights, in bytes.
	frame int64
	bytes int64 // that file's size
	// form is how the stripped model was written: what is narrowed is the model in ordinary
	// operators.
	form *qdq.Form
	// stored is the type that real numbers are stored as in the end, about; 0: as they are.
	stored onnxpb.TensorProto_DataType
	// given is the graph of the model as it came.
	given *onnxio.Graph
	// was finds what spaces of later analyses were at first.
	was map[*coupling.Space]*coupling.Space
}

// A place is a weight axis on which spaces are first made. Spaces that share one keep their order
// through all edits.
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

// strip takes the baseline of a model and removes what does not matter; keep says which spaces stay
// whole.
func (c *compression) strip(ctx context.Context, m *onnxio.Model, keep func(*coupling.Space) bool) error {
	whole, form, err := qdq.Expand(m)
	if err != nil {
		return err
	}
	if c.o.Lossless == job.Off { // else it is part of what is done then
		if whole, err = lossless.Compute(ctx, whole, c.computing()); err != nil {
			return err
		}
		if m, err = form.Restore(whole); err != nil {
			return err
		}
	}
	if c.analysis, err = c.analyze(whole); err != nil {
		return err
	}
	if err := c.checkExclude(c.analysis); err != nil {
		return err
	}
	if c.given, err = m.Graph(); err != nil {
		return err
	}
	if err := c.checkKeepFloat(); err != nil {
		return err
	}
	c.size = sizeOf(c.analysis, shape{})
	c.size.Params, _ = m.Size()
	c.was = map[*coupling.Space]*coupling.Space{}
	if c.o.Lossless != job.Off {
		o := c.computing()
		o.Keep, o.Multiple = keep, c.o.Multiple
		if c.DryRun || c.o.Lossless == job.Auto && !c.HasData() {
			o.NoCheck = true
		}
		c.Stage("lossless")(0, 0)
		if m, c.lossless, err = lossless.Strip(ctx, m, o); err != nil {
			return err
		}
	}
	_, c.bytes = m.Size()
	if c.model, c.form, err = qdq.Expand(m); err != nil {
		return err
	}
	a := c.analysis
	if c.lossless != nil && c.lossless.Changed() {
		if a, err = c.analyze(c.model); err != nil {
			return err
		}
	}
	c.frame = c.bytes - c.weightBytes(a, shape{})
	c.stored = c.o.DType.Stored()
	return nil
}

// computing are the settings under which what depends on weights alone is computed.
func (c *compression) computing() lossless.Options {
	return lossless.Options{InputShapes: c.Report.Shapes, Threads: c.Threads, Trial: c.Trials}
}

// analyze finds the spaces of a model as it is narrowed.
func (c *compression) analyze(m *onnxio.Model) (*coupling.Analysis, error) {
	s, err := edit.NewSubject(m, c.Coupling())
	if err != nil {
		return nil, err
	}
	return s.Analysis, nil
}

// weightBytes is what the weights of an expanded model of a shape occupy in the original's form.
func (b *baseline) weightBytes(a *coupling.Analysis, s shape) int64 {
	total := int64(0)
	for _, wt := range a.Weights {
		total += b.storedBytes(a, wt, s)
	}
	return total
}

// storedBytes is what one weight adds to weightBytes.
func (b *baseline) storedBytes(a *coupling.Analysis, wt *coupling.Weight, s shape) int64 {
	if !a.Stored(wt, s.widths) {
		return 0
	}
	typ := wt.Type
	if t, ok := b.form.StoredAs(wt.Name); ok {
		typ = t
	} else if typ == onnxio.Float && b.stored != 0 {
		typ = b.stored
	}
	return onnxio.StoredBytes(typ, s.elements(wt))
}

// written returns a result as the original was written, or with numbers of the type that was asked
// for, and enters its size.
func (c *compression) written(ctx context.Context, m *onnxio.Model, r *Report) (*onnxio.Model, *Report, error) {
	out, err := c.form.Restore(m)
	if err == nil && c.o.DType != "" {
		out, r.Precision, err = c.lower(ctx, out)
	}
	if err != nil {
		return nil, nil, err
	}
	r.After.Params, _ = out.Size()
	return out, r, nil
}

func spacesByPlace(a *coupling.Analysis) map[place][]*coupling.Space {
	out := map[place][]*coupling.Space{}
	for _, s := range a.Spaces {
		out[placeOf(s)] = append(out[placeOf(s)], s)
	}
	return out
}

// see matches the spaces of an edited model with those of the baseline, where it is clear which is
// which.
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
func (c *compression) report() *Report {
	return &Report{Report: c.Run.Report, Before: c.size, Lossless: c.lossless}
}

// describe enters what became of the spaces.
func (r *Report) describe(a *coupling.Analysis, c *compression, s shape, cost map[*coupling.Space]float64) {
	after := s.widths
	r.After = sizeOf(a, s)
	for _, sp := range a.Spaces {
		if len(sp.Producers()) == 0 {
			continue // an input, not something to narrow
		}
		groups := sp.Groups
		if g := a.IndexOf(sp); g != nil {
			groups = after.Of(g)
		}
		row := Space{Name: sp.Name, Before: c.width(sp) * sp.Groups, After: after.Of(sp) * groups, Cost: cost[sp]}
		if s.gone.holds(sp) {
			row.After = 0
		}
		if row.After == row.Before {
			row.Kept = c.kept(sp)
		}
		r.Spaces = append(r.Spaces, row)
	}
	r.plans(c, a, s)
}

// streams enters what was done to normalised streams.
func (r *Report) streams(ms edit.Maps) {
	how := map[string]string{}
	for s, m := range ms {
		switch {
		case m.Scale != nil && s.Stream.Skewed != "":
			how[s.Name] = nearly
		case m.Scale != nil:
			how[s.Name] = rotated
		case s.Stream != nil:
			how[s.Name] = selected
		}
	}
	for i := range r.Spaces {
		r.Spaces[i].Stream = how[r.Spaces[i].Name]
	}
}

// What is done to streams.
const rotated, nearly, selected = "rotated", "nearly rotated", "selected"

// tell enters the moves of an allocation.
func (r *Report) tell(seen *observed, a *allocation) {
	r.Blocks, r.Ranks = nil, nil
	if a.none() {
		return
	}
	for _, p := range seen.blocks {
		if slices.Contains(a.blocks, p.block) {
			r.Blocks = append(r.Blocks, Block{p.block.Name, &p.moved})
		}
	}
	w := coupling.WidthsOf(a.widths)
	for _, p := range seen.ranks {
		if f, ok := a.ranks[p.op.Weight]; ok {
			r.Ranks = append(r.Ranks, f.told(w, &p.curve[f.rank]))
		}
	}
}

// told is what is said of factors.
func (f factors) told(w coupling.Widths, divergence *float64) Ranked {
	return Ranked{nodeName(f.op.Node), f.rank, f.full(w), f.across > 1, divergence}
}

// tellPlan enters the moves of a plan, whose prices nobody has asked for.
func (r *Report) tellPlan(a *coupling.Analysis, is *allocation) {
	for _, b := range is.blocks {
		r.Blocks = append(r.Blocks, Block{Name: b.Name})
	}
	w := coupling.WidthsOf(is.widths)
	for i := range a.Ops {
		if f, ok := is.ranks[a.Ops[i].Weight]; ok {
			r.Ranks = append(r.Ranks, f.told(w, nil))
		}
	}
}
