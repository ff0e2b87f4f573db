package choose

import (
	"context"
	"fmt"
	"slices"

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
		ev := known[sp]
		switch shown := ev != nil && ev.Observed(); {
		case !shown && o.Keep[sp] != nil:
			res.Maps[sp] = edit.KeepSome(sp, o.Keep[sp])
			continue
		case !shown:
			blind[sp] = widths[sp]
			continue
		}
		if res.Maps[sp], err = ev.narrow(s, sp, widths[sp], o); err != nil {
			return nil, fmt.Errorf("space %q: %w", sp.Name, err)
		}
		if slices.ContainsFunc(spaces, func(in *coupling.Space) bool { return in.Inner && s.Analysis.IndexOf(in) == sp }) {
			apart(res.Maps[sp])
		}
		ev.lost(s, res.Maps[sp], res.Lost)
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

// apart lets no channel that is kept stand for others: heads whose dimensions are narrowed, each in
// its own way, have nothing in common any more that could be read out of one another.
func apart(m *edit.Map) {
	for g := range m.Groups {
		m.Groups[g].OutT, m.Groups[g].Rest = m.Groups[g].In, nil
	}
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
		switch {
		case contracts(sp) && stay == nil:
			m.Pieces = []int{k}
			t, err = e.contract(sp, g, k)
		case project:
			m.Pieces = []int{k}
			t, _, err = e.subspace(g, k)
		default:
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
