package fuse

import (
	"context"
	"fmt"
	"math"

	"github.com/monge-ml/monge/align"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options are the settings of a fusion. The zero value averages all models
// equally onto the last one, aligned by weights.
type Options struct {
	// Weights are the shares of the models; nil means equal ones. They must sum
	// to one.
	Weights []float64
	// Onto is the model, counted from 1, whose widths and channel order the
	// result has; zero means the last.
	Onto int
	// Align says how channels are matched.
	Align align.Options
	// KeepBatchNorm leaves BatchNormalization nodes in place and averages their
	// parameters; by default they are folded into the linear operators before
	// them, exactly, since averaged statistics fit nothing.
	KeepBatchNorm bool
	// InputShapes gives sizes to free dimensions of inputs, by name.
	InputShapes map[string][]int
}

// A Report says what a fusion did.
type Report struct {
	Onto    int       `json:"onto"`    // the model whose widths the result has, from 1
	Weights []float64 `json:"weights"` // share of each model
	Folded  int       `json:"folded_batchnorms"`
	Spaces  []Space   `json:"spaces"`
	Sweeps  int       `json:"sweeps"` // passes over all spaces, the most any model needed
}

// A Space says how one space was aligned.
type Space struct {
	Name string `json:"name"`
	// Width is the result's, Widths the models' numbers of channels.
	Width  int   `json:"width"`
	Widths []int `json:"widths"`
	// Costs are the transport costs of the models' plans, zero for Onto.
	Costs []float64 `json:"costs"`
	// Moved are the shares of the result's channels that are not made of the
	// same channel of the model alone.
	Moved []float64 `json:"moved"`
}

// Models fuses two or more models. The error names the first nodes in which
// their architectures differ.
func Models(ctx context.Context, models []*onnxio.Model, o Options) (*onnxio.Model, *Report, error) {
	shares, onto, err := o.check(len(models))
	if err != nil {
		return nil, nil, err
	}
	report := &Report{Onto: onto + 1, Weights: shares}
	subjects := make([]*align.Subject, len(models))
	for i, m := range models {
		if !o.KeepBatchNorm {
			var folded []string
			if m, folded, err = align.FoldBatchNorm(m, nil); err != nil {
				return nil, nil, named(models[i], err)
			}
			if i == onto {
				report.Folded = len(folded)
			}
		}
		if subjects[i], err = align.NewSubject(m, coupling.Options{InputShapes: o.InputShapes}); err != nil {
			return nil, nil, named(models[i], err)
		}
	}
	target := subjects[onto]
	sum, err := newAverage(target, shares[onto])
	if err != nil {
		return nil, nil, named(models[onto], err)
	}
	rows := map[*coupling.Space]*Space{}
	for _, s := range target.Analysis.Spaces {
		if s.Frozen {
			continue
		}
		r := &Space{Name: s.Name, Width: s.Width * s.Groups, Widths: make([]int, len(models)), Costs: make([]float64, len(models)), Moved: make([]float64, len(models))}
		r.Widths[onto] = r.Width
		rows[s] = r
	}
	for i, s := range subjects {
		if i == onto {
			continue
		}
		pair, err := align.Pair(s, target)
		if err != nil {
			return nil, nil, named(models[i], fmt.Errorf("does not fit %q: %w", models[onto].Path, err))
		}
		plan, err := align.Onto(ctx, s, target, pair, o.Align)
		if err != nil {
			return nil, nil, named(models[i], err)
		}
		moved, err := align.Edit(s, plan.Maps)
		if err != nil {
			return nil, nil, named(models[i], err)
		}
		if err := sum.add(moved, pair, shares[i]); err != nil {
			return nil, nil, named(models[i], err)
		}
		report.Sweeps = max(report.Sweeps, plan.Sweeps)
		for a, b := range pair.Spaces {
			if r := rows[b]; r != nil {
				r.Widths[i], r.Costs[i], r.Moved[i] = a.Width*a.Groups, plan.Objective[a], plan.Maps[a].Moved()
			}
		}
	}
	for _, s := range target.Analysis.Spaces {
		if r := rows[s]; r != nil {
			report.Spaces = append(report.Spaces, *r)
		}
	}
	out, err := sum.model()
	return out, report, err
}

func named(m *onnxio.Model, err error) error {
	if m.Path == "" {
		return err
	}
	return fmt.Errorf("%s: %w", m.Path, err)
}

func (o Options) check(n int) (shares []float64, onto int, err error) {
	if n < 2 {
		return nil, 0, fmt.Errorf("fusing takes at least two models, got %d", n)
	}
	shares = o.Weights
	if shares == nil {
		for range n {
			shares = append(shares, 1/float64(n))
		}
	}
	if len(shares) != n {
		return nil, 0, fmt.Errorf("%d weights for %d models", len(shares), n)
	}
	total := 0.0
	for _, w := range shares {
		if !(w >= 0) || math.IsInf(w, 0) {
			return nil, 0, fmt.Errorf("weight %g is not a share", w)
		}
		total += w
	}
	if math.Abs(total-1) > 1e-6 {
		return nil, 0, fmt.Errorf("weights sum to %g, not 1", total)
	}
	onto = o.Onto - 1
	if o.Onto == 0 {
		onto = n - 1
	}
	if onto < 0 || onto >= n {
		return nil, 0, fmt.Errorf("there is no model %d to fuse onto: models count from 1 to %d", o.Onto, n)
	}
	return shares, onto, nil
}

// An average is a weighted sum of models in the channels of one of them.
type average struct {
	target *align.Subject
	out    *onnxio.Model
	graph  *onnxio.Graph
	share  float64
	parts  []part
}

type part struct {
	model   *onnxio.Model
	graph   *onnxio.Graph
	sources map[string]string
	share   float64
}

func newAverage(target *align.Subject, share float64) (*average, error) {
	out := target.Model.Clone()
	g, err := out.Graph()
	if err != nil {
		return nil, err
	}
	return &average{target: target, out: out, graph: g, share: share}, nil
}

func (a *average) add(m *onnxio.Model, pair *align.Pairing, share float64) error {
	g, err := m.Graph()
	if err != nil {
		return err
	}
	a.parts = append(a.parts, part{m, g, pair.Sources, share})
	return nil
}

// model carries out the sum, weight by weight. Weights without a counterpart
// (constants that are no part of the architecture) stay the target's.
func (a *average) model() (*onnxio.Model, error) {
	for name := range a.target.Analysis.Weights {
		if _, ok := a.parts[0].sources[name]; !ok {
			continue
		}
		tp := a.graph.Constant(name)
		t, err := a.out.Tensor(tp)
		if err != nil {
			return nil, err
		}
		acc := t.Float64()
		for i := range acc {
			acc[i] *= a.share
		}
		for _, p := range a.parts {
			src, ok := p.sources[name]
			if !ok {
				return nil, fmt.Errorf("weight %q has no counterpart in %q", name, p.model.Path)
			}
			st, err := p.model.Tensor(p.graph.Constant(src))
			if err != nil {
				return nil, err
			}
			if st.Len() != len(acc) {
				return nil, fmt.Errorf("weight %q: %v elements of %q against %v", name, st.Dims, src, t.Dims)
			}
			for i, x := range st.Float64() {
				acc[i] += p.share * x
			}
		}
		for i, x := range acc {
			if math.IsNaN(x) {
				return nil, fmt.Errorf("weight %q: element %d is NaN", name, i)
			}
		}
		if err := a.graph.SetConstant(onnxio.NewTensor(name, onnxpb.TensorProto_DataType(tp.GetDataType()), t.Dims, acc)); err != nil {
			return nil, err
		}
	}
	return a.out, nil
}
