package fuse

import (
	"context"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
)

// compete lets the models' channels compete for the child's places, beside those of the model that
// stays whole.
func (f *fusion) compete(ctx context.Context, how Candidate, data *dataset.Data, report *Report) ([]edit.Maps, error) {
	// Onto goes first: its spaces name the others'.
	order := []int{f.onto}
	for i := range f.models {
		if i != f.onto {
			order = append(order, i)
		}
	}
	var parents []choose.Parent
	for _, i := range order {
		p := choose.Parent{Subject: f.subjects[i], Spaces: f.spacesOf[i], Energy: max(how.Weights[i], 1e-9), Whole: i == how.Whole-1}
		if i != f.onto {
			var err error
			if p.Fixed, err = f.fixed(ctx, i); err != nil {
				return nil, err
			}
		}
		parents = append(parents, p)
	}
	byParent, from, err := choose.Union(ctx, parents, f.widths, choose.Options{Data: data, StreamOptions: f.Stream("match"), Memory: f.Memory})
	if err != nil {
		return nil, err
	}
	maps := make([]edit.Maps, len(f.models))
	for k, i := range order {
		maps[i] = byParent[k]
	}
	given, total := make([]float64, len(f.models)), 0.0
	for k, s := range f.spaces() {
		if from[s] == nil {
			continue
		}
		counts := make([]int, len(f.models))
		for j, n := range from[s] {
			counts[order[j]] = n
			given[order[j]] += float64(n)
			total += float64(n)
		}
		report.Spaces[k].From = counts
	}
	for i := range given {
		given[i] /= max(total, 1)
	}
	report.Contribution = given
	return maps, nil
}

// fixed are the maps of a model's spaces of which only permutations are exact: in a union too they
// are moved onto onto's.
func (f *fusion) fixed(ctx context.Context, i int) (edit.Maps, error) {
	out := edit.Maps{}
	for own, s := range f.pairs[i].Spaces {
		if _, ok := f.widths[s]; !ok || !own.Paired && !s.Paired {
			continue
		}
		plan, err := f.plan(ctx, i, false)
		if err != nil {
			return nil, err
		}
		out[own] = plan.Maps[own]
	}
	return out, nil
}
