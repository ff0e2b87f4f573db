package choose

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
)

// Select finds maps that keep some of each space's own channels as they are, with consumers reading
// the rest through their least-squares reconstruction. Linear spaces are projected instead, onto
// the subspace from which consumers lose least, and normalised streams rotated, where that is exact
// but for what lies off the directions that stay. It needs o.Data. Spaces that no consumer can be
// observed for are merged by weights. known is what Observe has found already, or nil.
func Select(ctx context.Context, s *edit.Subject, widths map[*coupling.Space]int, known map[*coupling.Space]*Evidence, o Options) (_ *match.Result, err error) {
	defer guard.Recover(&err)
	if o.Data == nil {
		return nil, fmt.Errorf("selecting channels by what they explain needs data")
	}
	res := &match.Result{Maps: edit.Maps{}, Lost: map[string][]float64{}, Objective: map[*coupling.Space]float64{}, Sweeps: 1}
	var spaces []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if k, ok := widths[sp]; ok && k != sp.Width {
			spaces = append(spaces, sp)
		}
	}
	if known == nil {
		if known, err = Observe(ctx, []Parent{{Subject: s}}, spaces, o); err != nil {
			return nil, err
		}
	}
	blind := map[*coupling.Space]int{}
	for _, sp := range spaces {
		if ev := known[sp]; (ev == nil || !ev.Observed()) && o.Keep[sp] != nil {
			res.Maps[sp] = edit.KeepSome(sp, o.Keep[sp])
		} else if ev == nil || !ev.Observed() {
			blind[sp] = widths[sp]
		} else if res.Maps[sp], err = ev.narrow(s, sp, widths[sp], o); err != nil {
			return nil, fmt.Errorf("space %q: %w", sp.Name, err)
		} else {
			ev.lost(s, res.Maps[sp], res.Lost)
		}
	}
	if len(blind) == 0 {
		return res, nil
	}
	o.Merge.By = match.Weights
	merged, err := match.Merge(ctx, s, blind, o.Merge)
	if err != nil {
		return nil, err
	}
	for sp, m := range merged.Maps {
		res.Maps[sp], res.Objective[sp] = m, merged.Objective[sp]
	}
	return res, nil
}

// narrow makes the map of a space onto k channels, or onto those that are to stay.
func (e *Evidence) narrow(s *edit.Subject, sp *coupling.Space, k int, o Options) (*edit.Map, error) {
	stay := o.Keep[sp]
	if rotates(sp) && !o.Selects[sp] && stay == nil {
		return e.rotate(s, sp, k)
	}
	project := projects(s, sp) && stay == nil
	m := &edit.Map{}
	for g := range sp.Groups {
		var t edit.Transfer
		var err error
		if project {
			m.Pieces = []int{k}
			t, _, err = e.subspace(g, k)
		} else {
			var keep []int
			if stay != nil {
				keep = stay[g]
			} else {
				keep = e.choose(g, k, sp.Starts())
			}
			m.Pieces = edit.PiecesOf(sp, keep)
			t, err = e.recover(g, keep)
		}
		if err != nil {
			return nil, err
		}
		m.Groups = append(m.Groups, t)
	}
	return m, nil
}
