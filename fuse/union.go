package fuse

import (
	"context"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
)

// union lets the models' channels compete for the child's places, beside those
// of the model that stays whole.
func (f *fusion) union(ctx context.Context, how recipe, data *dataset.Data, report *Report) (*onnxio.Model, []edit.Maps, error) {
	shares := how.shares
	// Onto goes first: its spaces name the others'.
	order := []int{f.onto}
	for i := range f.models {
		if i != f.onto {
			order = append(order, i)
		}
	}
	var parents []choose.Parent
	for _, i := range order {
		p := choose.Parent{Subject: f.subjects[i], Energy: max(shares[i], 1e-9), Whole: i == how.whole-1}
		if i != f.onto {
			p.Spaces = map[*coupling.Space]*coupling.Space{}
			for a, b := range f.pairs[i].Spaces {
				p.Spaces[b] = a
			}
			var err error
			if p.Fixed, err = f.fixed(ctx, i); err != nil {
				return nil, nil, err
			}
		}
		parents = append(parents, p)
	}
	stream := dataset.StreamOptions{Batch: f.Batch, Threads: f.Threads, Progress: f.Stage("match")}
	byParent, from, err := choose.Union(ctx, parents, f.widths, choose.Options{Data: data, StreamOptions: stream})
	if err != nil {
		return nil, nil, err
	}
	maps := make([]edit.Maps, len(f.models))
	for k, i := range order {
		maps[i] = byParent[k]
	}
	moved, err := edit.Edit(f.target(), maps[f.onto])
	if err != nil {
		return nil, nil, f.models[f.onto].InFile(err)
	}
	sum, err := newAverage(f.target(), moved, shares[f.onto], maps[f.onto])
	if err != nil {
		return nil, nil, err
	}
	for _, i := range order[1:] {
		if err := sum.add(f.subjects[i], maps[i], f.pairs[i], shares[i]); err != nil {
			return nil, nil, f.models[i].InFile(err)
		}
	}
	given, total := make([]float64, len(f.models)), 0.0
	for k, s := range f.spaces() {
		if from[s] == nil {
			continue
		}
		counts := make([]int, len(f.models))
		for j, i := range order {
			counts[i] = from[s][j]
			given[i] += float64(from[s][j])
			total += float64(from[s][j])
		}
		report.Spaces[k].From = counts
	}
	for i := range given {
		given[i] /= max(total, 1)
	}
	report.Contribution = given
	out, err := sum.model()
	f.note(sum, report)
	return out, maps, err
}
