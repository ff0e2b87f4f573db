package fuse

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/refit"
)

// heldEvery says that one sample in so many is kept from the fits by which
// methods and balances are compared.
const heldEvery = 5

// The balance moves from equal shares in a few steps, to 0.65 : 0.35 and about
// 3 : 1 for two models. Further on the result would be little more than one
// parent, which on inputs that the parents agree on diverges least of all.
const (
	balanceStep  = 0.3
	balanceSteps = 2
)

// choose measures methods and balances by the divergence of the result from
// the parents' mean prediction on held-out inputs, then makes the best of them
// on all inputs. Without given weights the balance is moved, step by step,
// towards the parent that is nearer to the mean prediction, as long as that
// helps.
func (f *fusion) choose(ctx context.Context, method Method, shares []float64) (*onnxio.Model, *Report, error) {
	fitting, held := f.o.data().Split(heldEvery)
	if held.Len() == 0 {
		if method == Auto {
			method = OT
		}
		return f.make(ctx, method, shares, f.o.data())
	}
	judge, err := refit.NewJudge(ctx, f.models, shares, held, refit.JudgeOptions{Threads: f.o.Align.Threads, Batch: f.o.Align.Batch})
	if err != nil {
		return nil, nil, err
	}
	var tried []Candidate
	best := -1
	try := func(m Method, w []float64) (bool, error) {
		for _, c := range tried {
			if c.Method == m && slices.Equal(c.Weights, w) {
				return false, nil
			}
		}
		child, _, err := f.make(ctx, m, w, fitting)
		if err != nil {
			return false, err
		}
		d, err := judge.Divergence(ctx, child)
		if err != nil {
			return false, err
		}
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		tried = append(tried, Candidate{m, w, d})
		f.progress(fmt.Sprintf("%s at %.2g", m, w), len(tried), 0)
		if best < 0 || d < tried[best].Divergence {
			best = len(tried) - 1
			return true, nil
		}
		return false, nil
	}
	methods := []Method{method}
	if method == Auto {
		methods = []Method{OT, Union}
	}
	for _, m := range methods {
		if _, err := try(m, shares); err != nil {
			return nil, nil, err
		}
	}
	if f.o.Weights == nil {
		// Towards the parent nearest to the mean first; towards others only where
		// that does not help at once.
		for _, m := range methods {
			for _, lead := range judge.Order() {
				w, helped := shares, false
				for range balanceSteps {
					w = towards(w, lead, balanceStep)
					better, err := try(m, w)
					if err != nil {
						return nil, nil, err
					}
					if !better {
						break
					}
					helped = true
				}
				if helped {
					break
				}
			}
		}
	}
	out, report, err := f.make(ctx, tried[best].Method, tried[best].Weights, f.o.data())
	if err != nil {
		return nil, nil, err
	}
	report.Divergence, report.Candidates = tried[best].Divergence, tried
	return out, report, nil
}

// towards gives part of all other shares to one model.
func towards(w []float64, lead int, part float64) []float64 {
	out := slices.Clone(w)
	for i := range out {
		if i != lead {
			out[i] *= 1 - part
			out[lead] += part * w[i]
		}
	}
	return out
}
