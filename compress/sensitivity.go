package compress

import (
	"cmp"
	"context"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/onnxio"
)

// A SensitivityReport says how much of a model's predictions depends on the widths of its spaces.
type SensitivityReport struct {
	job.Report
	Size Size `json:"size"` // of the model
	// Spaces are those that can be narrowed, the one whose half costs most first; last those that
	// data say nothing about.
	Spaces []Sensitive `json:"spaces"`
}

// A Sensitive is a space narrowed alone.
type Sensitive struct {
	Name  string `json:"name"`
	Width int    `json:"width"` // channels, over all groups
	// Narrowed are the shares that were tried, the largest first; nil where the data do not show the
	// space.
	Narrowed []Narrowed `json:"narrowed"`
	// Latency is what share of the time of a run the operators take whose weights make or read the
	// space; nil where nothing was timed. An operator that makes one space reads another, so that
	// shares do not add up to 1.
	Latency *float64 `json:"latency_share,omitempty"`
}

// Narrowed is what becomes of a model when one space keeps some of its channels, and nothing is
// refitted but the layers that read it, as far as the choice of channels does that.
type Narrowed struct {
	Share float64 `json:"share"` // that was asked for
	Width int     `json:"width"` // channels that stay, over all groups
	// Divergence is how far predictions move on held-out samples and variants; see Candidate.
	Divergence float64 `json:"divergence"`
	// MACs and Params are what the model has less.
	MACs   int64 `json:"macs_saved"`
	Params int64 `json:"params_saved"`
}

// sensitivities are the shares of its channels that a space is said to keep.
var sensitivities = []float64{0.75, 0.5}

// Sensitivity tells what it costs in predictions to narrow each space of a model alone: what an
// allocation under a budget is made by. Of the options those of the budget and of distillation have
// no meaning. It needs data, or inputs that are made up.
func Sensitivity(ctx context.Context, m *onnxio.Model, o Options) (_ *SensitivityReport, err error) {
	defer guard.Recover(&err)
	switch {
	case o.Keep != 0 || o.MACs != 0 || o.Params != 0 || o.Size != 0 || o.MaxDrop != 0 || o.Plan != nil:
		return nil, pipeline.Mistakef("sensitivity is told at given shares: keep, macs, params, size, max-drop and plan have no place beside it")
	case o.Multiple < 0:
		return nil, pipeline.Mistakef("multiple is %d: want 1 or more, or 0 for what suits each space", o.Multiple)
	}
	o.NoEval, o.EvalData, o.Options.Tune, o.DryRun = true, nil, job.Off, false
	c, err := start(ctx, m, o, false)
	if err != nil {
		return nil, err
	}
	if !c.Fits() {
		return nil, pipeline.Mistakef("sensitivity is measured on data, and needs onnxruntime")
	}
	b := budget{unit: inMACs, floor: defaultFloor}
	s, _, err := c.prepare(b, none)
	if err != nil {
		return nil, err
	}
	c.Spend(&c.Run.Report.Spent.Preparation)
	var free []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if c.kept(sp) == "" {
			free = append(free, sp)
		}
	}
	seen, err := c.observe(ctx, s, free)
	if err != nil {
		return nil, err
	}
	c.Spend(&c.Run.Report.Spent.Candidates)
	r := &SensitivityReport{Report: c.Run.Report, Size: c.size, Spaces: []Sensitive{}}
	for _, sp := range free {
		r.Spaces = append(r.Spaces, c.sensitive(s.Analysis, seen, sp))
	}
	if err := c.timed(ctx, m, free, r.Spaces); err != nil {
		return nil, err
	}
	slices.SortStableFunc(r.Spaces, func(a, b Sensitive) int { return cmp.Compare(b.half(), a.half()) })
	return r, nil
}

// timed enters what share of the time goes to each space. That it cannot be measured is a remark.
func (c *compression) timed(ctx context.Context, m *onnxio.Model, free []*coupling.Space, rows []Sensitive) error {
	if c.o.NoLatency {
		return nil
	}
	c.Stage("time operators")(0, 0)
	shares, err := latency.Shares(ctx, m, latency.Options{Threads: c.Threads, Data: c.Report.Split.Fit, Shapes: c.Report.Shapes})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.Warnf("shares of the latency are not known: %v", err)
		return nil
	}
	for i, sp := range free {
		was := c.was[sp]
		if was == nil {
			continue
		}
		sum, seen := 0.0, map[string]bool{}
		for _, u := range was.Uses {
			if out := u.Node.GetOutput()[0]; !seen[out] {
				seen[out] = true
				sum += shares[out]
			}
		}
		rows[i].Latency = &sum
	}
	return nil
}

// half is what the narrowest form of a space costs; −1 where that is not known.
func (s *Sensitive) half() float64 {
	if len(s.Narrowed) == 0 {
		return -1
	}
	return s.Narrowed[len(s.Narrowed)-1].Divergence
}

// sensitive reads off the curve of a space.
func (c *compression) sensitive(a *coupling.Analysis, seen *observed, sp *coupling.Space) Sensitive {
	groups := sp.Groups
	out := Sensitive{Name: sp.Name, Width: sp.Width * groups}
	curve := seen.curves[sp]
	if curve == nil {
		return out
	}
	whole := sizeOf(a, shape{})
	for _, share := range sensitivities {
		k := c.probed(sp, share)
		if k >= sp.Width {
			continue
		}
		left := sizeOf(a, ofWidths(coupling.WidthsOf(map[*coupling.Space]int{sp: k})))
		out.Narrowed = append(out.Narrowed, Narrowed{
			Share: share, Width: k * groups, Divergence: curve[k], MACs: whole.MACs - left.MACs, Params: whole.Params - left.Params,
		})
	}
	return out
}

// probed is the number of channels at which a space is tried for a share of them.
func (c *compression) probed(sp *coupling.Space, share float64) int {
	return max(c.rounded(sp, share*float64(sp.Width)), c.wider(sp, 0))
}
