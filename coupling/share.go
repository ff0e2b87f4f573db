package coupling

import (
	"cmp"
	"fmt"
	"slices"
)

// settle decides between a factor that selects plans and the channels that each of its positions
// has: both could be narrowed, but a ratio is meant once. Groups of a Conv stay and their channels
// are narrowed. Attention heads are removed whole, and so are groups whose channels may not be
// narrowed. A single channel stays.
func (a *Analysis) settle() {
	for _, s := range a.Spaces {
		switch {
		case s.Frozen:
		case (s.Rigid == "" || s.Rigid == errSelf.Error()) && a.headed(s):
			s.Inner = len(s.Pieces) == 1 && s.Index != nil && (s.Linear || s.Contracted[0] != "" && (s.Paired || len(s.Consumers()) == 0))
			s.Rigid = "the dimensions of an attention head stay together"
		case s.Rigid == "" && s.Width == 1: // it may be spread over others
			s.Rigid, s.whole = "it is a single channel", true
		}
	}
	a.share()
	for _, s := range a.Spaces {
		if s.Index == nil || s.Frozen || s.Rigid != "" {
			continue
		}
		if outer := a.IndexOf(s); outer != nil && !outer.Frozen {
			outer.Rigid, outer.whole = "", false
			outer.Frozen, outer.Reason = true, fmt.Sprintf("its groups have channels of their own (space of %d)", s.Width)
		}
	}
}

// headed reports whether attention heads that may be removed have channels of the space each.
func (a *Analysis) headed(s *Space) bool {
	for _, x := range s.Pieces {
		for _, index := range x.find().atom.indexed {
			if slices.ContainsFunc(index.Atoms(), func(h *Axis) bool {
				of := a.spaceOf[h]
				return of != nil && of != s && of.Narrowable() && h.atom.flags&heads != 0
			}) {
				return true
			}
		}
	}
	return false
}

// products are the summands of all axes of weights that spaces run along.
type products struct {
	*Analysis
	terms    [][]*Axis        // the atoms of each, some of which are spaces
	in       map[*Space][]int // by space: the terms that hold it
	narrowed []*Space         // by term; nil where none of its spaces is
}

func (a *Analysis) products() *products {
	p := &products{Analysis: a, in: map[*Space][]int{}}
	seen := map[*Axis]bool{}
	for _, s := range a.Spaces {
		for _, u := range s.Uses {
			w := a.Weights[u.Tensor]
			if w == nil || seen[w.Axes[u.Axis]] {
				continue
			}
			seen[w.Axes[u.Axis]] = true
			for _, t := range w.Axes[u.Axis].Terms() {
				p.add(t)
			}
		}
	}
	p.narrowed = make([]*Space, len(p.terms))
	return p
}

func (p *products) add(t *Axis) {
	atoms := t.Atoms()
	for _, x := range atoms {
		s := p.spaceOf[x]
		if s == nil || x.size < 1 {
			continue
		}
		p.in[s] = appendNew(p.in[s], len(p.terms))
		beside := t.Size() / x.size
		if s.Index != nil && !slices.Contains(atoms, s.Index.find()) {
			beside *= s.Groups // the axis of one group
		}
		s.beside = appendNew(s.beside, beside)
	}
	p.terms = append(p.terms, atoms)
}

// share decides which factor of a product of spaces is narrowed: a ratio is meant once, and would
// be taken as often as there are factors. A factor that stands wherever another one does, and
// elsewhere, goes first (the keys' heads before the queries of each, the channels before what a
// depthwise multiplier makes of them), then the widest, which a ratio divides best; what shares a
// product with it stays whole. The groups of a Conv that are nothing but groups do not count.
func (a *Analysis) share() {
	p := a.products()
	order, free := p.candidates()
	for _, last := range []bool{false, true} {
		for _, s := range order {
			if p.rival(s) != nil || !last && p.outdone(s, free) {
				continue
			}
			for _, i := range p.in[s] {
				p.narrowed[i] = s
			}
		}
	}
	for _, s := range order {
		if t := p.rival(s); t != nil {
			s.Rigid, s.whole = fmt.Sprintf("a factor beside it is narrowed instead (space of %d)", t.Width), true
		}
	}
}

// candidates are the factors that could be narrowed, the widest first.
func (p *products) candidates() (order []*Space, free map[*Space]bool) {
	groups := map[*Space]bool{}
	for _, s := range p.Spaces {
		if g := p.IndexOf(s); g != nil && s.Narrowable() && !g.Heads && !slices.Contains(g.beside, 1) {
			groups[g] = true
		}
	}
	free = map[*Space]bool{}
	for _, s := range p.Spaces {
		if s.Narrowable() && !groups[s] && len(p.in[s]) > 0 {
			order, free[s] = append(order, s), true
		}
	}
	slices.SortStableFunc(order, func(s, t *Space) int { return cmp.Compare(t.Width, s.Width) })
	return order, free
}

// rival is another space that is narrowed in a product which holds this one.
func (p *products) rival(s *Space) *Space {
	for _, i := range p.in[s] {
		if t := p.narrowed[i]; t != nil && t != s {
			return t
		}
	}
	return nil
}

// outdone reports whether another free space stands wherever s does, and elsewhere, and has no
// rival.
func (p *products) outdone(s *Space, free map[*Space]bool) bool {
	for _, x := range p.terms[p.in[s][0]] {
		t := p.spaceOf[x]
		if t == s || !free[t] || len(p.in[t]) <= len(p.in[s]) || p.rival(t) != nil {
			continue
		}
		if !slices.ContainsFunc(p.in[s], func(i int) bool { return !slices.Contains(p.in[t], i) }) {
			return true
		}
	}
	return false
}
