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

// The balance moves from equal shares in a few steps: for two models to 0.65,
// 0.76, 0.83 and 0.88 of the leading one.
const (
	balanceStep  = 0.3
	balanceSteps = 4
)

// choose measures methods and balances by the divergence of the result from
// the parents' mean prediction on held-out inputs, then makes the best of them
// on all inputs. Without given weights the balance of the better method is
// moved, step by step, towards the parent for which the first step helps most,
// as long as that helps. Parents' own divergences do not tell which that is: an
// unsure parent is near to every mean.
func (f *fusion) choose(ctx context.Context, method Method, shares []float64) (*onnxio.Model, *Report, error) {
	fitting, held := f.o.data().Split(heldEvery)
	if held.Len() == 0 {
		if method == Auto {
			method = OT
		}
		return f.finish(ctx, method, shares)
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
		child, _, _, err := f.make(ctx, m, w, fitting)
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
		m := tried[best].Method
		lead := -1
		for i := range f.models {
			better, err := try(m, towards(shares, i, balanceStep))
			if err != nil {
				return nil, nil, err
			}
			if better {
				lead = i
			}
		}
		for range balanceSteps - 1 {
			if lead < 0 {
				break // equal shares are best
			}
			better, err := try(m, towards(tried[best].Weights, lead, balanceStep))
			if err != nil {
				return nil, nil, err
			}
			if !better {
				break
			}
		}
	}
	out, report, err := f.finish(ctx, tried[best].Method, tried[best].Weights)
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
