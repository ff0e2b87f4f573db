package choose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
)

// Union puts the channels of several models side by side and chooses, for every space of the first
// parent with an entry in widths, that many of them: those that explain most of what all parents
// compute next (Evidence.choose), beside those of a parent that stays whole. It returns one set of
// maps for each parent: In has a row for every chosen channel, empty where another parent gave it,
// and OutT says how the parent's consumers read its own channels out of the chosen ones. from
// counts, for each space, how many channels each parent gave. Spaces whose channels belong to the
// channels of another space (the dimensions of attention heads) follow that and have no entry in
// from.
func Union(ctx context.Context, parents []Parent, widths map[*coupling.Space]int, o Options) (maps []edit.Maps, from map[*coupling.Space][]int, err error) {
	defer guard.Recover(&err)
	if o.Data == nil {
		return nil, nil, fmt.Errorf("a union of models needs data")
	}
	u := &union{parents, make([]edit.Maps, len(parents)), map[*coupling.Space][]int{}}
	for i := range u.maps {
		u.maps[i] = edit.Maps{}
	}
	spaces := u.contested(widths)
	seen, err := Observe(ctx, parents, spaces, o)
	if err != nil {
		return nil, nil, err
	}
	for _, sp := range spaces {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if err := u.choose(sp, seen[sp], widths[sp]); err != nil {
			return nil, nil, fmt.Errorf("space %q: %w", sp.Name, err)
		}
	}
	return u.maps, u.from, nil
}

// union is the state of one call of Union.
type union struct {
	parents []Parent
	maps    []edit.Maps // by parent
	from    map[*coupling.Space][]int
}

// contested lists the spaces whose channels compete for places, and gives the others the maps that
// they have.
func (u *union) contested(widths map[*coupling.Space]int) []*coupling.Space {
	var out []*coupling.Space
	first := u.parents[0].Subject.Analysis
	for _, sp := range first.Spaces {
		if _, ok := widths[sp]; !ok {
			continue
		}
		_, follows := widths[first.IndexOf(sp)] // the dimensions of an attention head come with the head
		if !follows && !fixed(u.parents, sp) {
			out = append(out, sp)
			continue
		}
		for i := range u.parents {
			own := u.parents[i].space(sp)
			m := u.parents[i].Fixed[own]
			if m == nil || follows {
				m = edit.KeepAll(own)
			}
			u.maps[i][own] = m
		}
	}
	return out
}

// fixed reports whether all parents but the first have a map of a space.
func fixed(parents []Parent, sp *coupling.Space) bool {
	for i := range parents[1:] {
		p := &parents[1+i]
		if p.Fixed[p.space(sp)] == nil {
			return false
		}
	}
	return len(parents) > 1
}

// choose fills the k places of a space.
func (u *union) choose(sp *coupling.Space, ev *Evidence, k int) error {
	if !ev.Observed() {
		return errors.New("no consumer shows its channels")
	}
	all := blocks(u.parents, sp)
	u.from[sp] = make([]int, len(all))
	for _, b := range all {
		u.maps[b.parent][b.space] = &edit.Map{Partial: true}
	}
	for g := range sp.Groups {
		chosen := places(all, ev.chooseBeside(g, k, u.staying(all, k)))
		columns := make([]int, len(chosen))
		for j, c := range chosen {
			columns[j] = c.from + c.channel
			u.from[sp][c.parent]++
		}
		t, err := ev.recover(g, columns)
		if err != nil {
			return err
		}
		for _, b := range all {
			m := u.maps[b.parent][b.space]
			m.Groups = append(m.Groups, b.share(t, chosen))
			m.Pieces = make([]int, len(b.space.Pieces))
			for _, c := range chosen {
				m.Pieces[c.piece]++
			}
		}
	}
	return nil
}

// A block is the channels of one parent where those of all stand side by side, from one column on.
type block struct {
	parent, from int
	space        *coupling.Space
}

func blocks(parents []Parent, sp *coupling.Space) []block {
	var out []block
	at := 0
	for i := range parents {
		own := parents[i].space(sp)
		out = append(out, block{i, at, own})
		at += own.Width
	}
	return out
}

// staying marks, side by side, the channels of parents that stay whole, as long as there are places
// for them.
func (u *union) staying(all []block, places int) []bool {
	var out []bool
	for _, b := range all {
		n := b.space.Width
		stays := u.parents[b.parent].Whole && n <= places
		if stays {
			places -= n
		}
		out = append(out, slices.Repeat([]bool{stays}, n)...)
	}
	return out
}

// A place in a union is taken by a channel of a piece of a parent's space.
type place struct {
	block
	channel, piece int
}

// places resolves columns to the parents' channels, ordered by piece, so that pieces stay
// contiguous.
func places(all []block, columns []int) []place {
	var out []place
	for _, col := range columns {
		for _, b := range all {
			if c := col - b.from; c >= 0 && c < b.space.Width {
				starts, piece := b.space.Starts(), 0
				for piece+2 < len(starts) && c >= starts[piece+1] {
					piece++
				}
				out = append(out, place{b, c, piece})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.piece, b.piece), cmp.Compare(a.channel, b.channel), cmp.Compare(a.parent, b.parent))
	})
	return out
}

// share is a parent's part in the transfer of all channels side by side.
func (b block) share(all edit.Transfer, chosen []place) edit.Transfer {
	t := edit.Transfer{In: make(edit.Rows, len(chosen)), OutT: make(edit.Rows, len(chosen))}
	for j, c := range chosen {
		if c.parent == b.parent {
			t.In[j] = []edit.Entry{{Col: c.channel, Val: 1}}
		}
		for _, e := range all.OutT[j] {
			if e.Col >= b.from && e.Col < b.from+b.space.Width {
				t.OutT[j] = append(t.OutT[j], edit.Entry{Col: e.Col - b.from, Val: e.Val})
			}
		}
	}
	if all.Rest != nil {
		t.Rest = all.Rest.Columns(b.from, b.space.Width)
	}
	return t
}
