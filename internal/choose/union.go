package choose

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
)

// Union puts the channels of several models side by side and chooses, for every
// space of the first party with an entry in widths, that many of them: those
// that explain most of what all parties compute next (Evidence.Choose), beside
// those of a party that stays whole. It returns one set of maps for each party: In has a row for every chosen channel,
// empty where another party gave it, and OutT says how the party's consumers
// read its own channels out of the chosen ones. from counts, for each space,
// how many channels each party gave. Spaces whose channels belong to the channels
// of another space (the dimensions of attention heads) follow that and have no
// entry in from.
func Union(ctx context.Context, parties []Party, widths map[*coupling.Space]int, o match.Options) (maps []edit.Maps, from map[*coupling.Space][]int, err error) {
	defer guard.Recover(&err)
	if o.Data == nil {
		return nil, nil, fmt.Errorf("a union of models needs data")
	}
	first := parties[0].Subject
	maps = make([]edit.Maps, len(parties))
	for i := range maps {
		maps[i] = edit.Maps{}
	}
	from = map[*coupling.Space][]int{}
	var spaces []*coupling.Space
	for _, sp := range first.Analysis.Spaces {
		if _, ok := widths[sp]; !ok {
			continue
		}
		_, follows := widths[first.Analysis.IndexOf(sp)] // the dimensions of an attention head come with the head
		if !follows && !fixed(parties, sp) {
			spaces = append(spaces, sp)
			continue
		}
		for i := range parties {
			own := parties[i].space(sp)
			if maps[i][own] = parties[i].Fixed[own]; maps[i][own] == nil || follows {
				maps[i][own] = edit.KeepAll(own)
			}
		}
	}
	seen, err := Observe(ctx, parties, spaces, o)
	if err != nil {
		return nil, nil, err
	}
	for _, sp := range spaces {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		ev := seen[sp]
		from[sp] = make([]int, len(parties))
		for g := range sp.Groups {
			if len(ev.readers[g]) == 0 {
				return nil, nil, fmt.Errorf("space %q: no consumer shows its channels", sp.Name)
			}
			stay := staying(parties, sp, widths[sp])
			chosen := unionChoice(parties, sp, ev.ChooseBeside(g, widths[sp], stay))
			cols := make([]int, len(chosen))
			for j, c := range chosen {
				cols[j] = c.column
				from[sp][c.party]++
			}
			out, err := ev.Recover(g, cols)
			if err != nil {
				return nil, nil, fmt.Errorf("space %q: %w", sp.Name, err)
			}
			at := 0
			for i := range parties {
				own := parties[i].space(sp)
				m := maps[i][own]
				if m == nil {
					m = &edit.Map{Partial: true}
					maps[i][own] = m
				}
				t := edit.Transfer{In: make(edit.Rows, len(chosen)), OutT: make(edit.Rows, len(chosen))}
				for j, c := range chosen {
					if c.party == i {
						t.In[j] = []edit.Entry{{Col: c.channel, Val: 1}}
					}
					for _, e := range out.OutT[j] {
						if e.Col >= at && e.Col < at+own.Width {
							t.OutT[j] = append(t.OutT[j], edit.Entry{Col: e.Col - at, Val: e.Val})
						}
					}
				}
				if out.Rest != nil {
					t.Rest = out.Rest.Columns(at, own.Width)
				}
				m.Groups = append(m.Groups, t)
				m.Pieces = make([]int, len(own.Pieces))
				for _, c := range chosen {
					m.Pieces[c.piece]++
				}
				at += own.Width
			}
		}
	}
	return maps, from, nil
}

// fixed reports whether every party but the first has a map of a space already.
func fixed(parties []Party, sp *coupling.Space) bool {
	for i := range parties[1:] {
		p := &parties[1+i]
		if p.Fixed[p.space(sp)] == nil {
			return false
		}
	}
	return len(parties) > 1
}

// staying marks, side by side, the channels of parties that stay whole, as long
// as there are places for them.
func staying(parties []Party, sp *coupling.Space, places int) []bool {
	var out []bool
	for i := range parties {
		n := parties[i].space(sp).Width
		stays := parties[i].Whole && n <= places
		if stays {
			places -= n
		}
		out = append(out, slices.Repeat([]bool{stays}, n)...)
	}
	return out
}

// A choice is one channel of a union: the column it has side by side, whose it
// is, and where it stands there.
type choice struct {
	column, party, channel, piece int
}

// unionChoice resolves columns of a union to the parties' channels, ordered by
// piece, so that pieces stay contiguous.
func unionChoice(parties []Party, sp *coupling.Space, columns []int) []choice {
	var out []choice
	for _, col := range columns {
		at := 0
		for i := range parties {
			own := parties[i].space(sp)
			if c := col - at; c >= 0 && c < own.Width {
				b := own.Starts()
				piece := 0
				for piece+2 < len(b) && c >= b[piece+1] {
					piece++
				}
				out = append(out, choice{col, i, c, piece})
			}
			at += own.Width
		}
	}
	slices.SortStableFunc(out, func(a, b choice) int {
		return cmp.Or(cmp.Compare(a.piece, b.piece), cmp.Compare(a.channel, b.channel), cmp.Compare(a.party, b.party))
	})
	return out
}
