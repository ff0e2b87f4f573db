package edit

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/ot"
)

// Scaling says how consumers recover merged channels.
type Scaling string

const (
	// Sum makes the rows of Out sum to one: what consumers read of merged channels adds up, so
	// splitting a channel and merging it back is exact.
	Sum Scaling = "sum"
	// Mean uses Out = Inᵀ, the columns of T̂ in Singh & Jaggi (2020).
	Mean Scaling = "mean"
)

// A Map moves the n channels of a space onto k: one Transfer for each group.
type Map struct {
	Groups []Transfer
	// Pieces holds the new number of channels of each piece of the space.
	Pieces []int
	// Partial: other models give channels too, those for which In has no entries. What is made of
	// all models' channels is then their sum, whatever the models' shares.
	Partial bool
	// Scale holds, by their names, what becomes of the weights by which normalisations multiply the
	// channels of a stream that is rotated (coupling.NormScale): they neither make channels nor read
	// them.
	Scale map[string]Rows
}

// A Transfer holds the two matrices of one plan T (n×k).
type Transfer struct {
	// In is k×n with rows that sum to one: target channels made from source channels, for
	// producers' output axes.
	In Rows
	// OutT is k×n, the transpose of Out: how consumers' input axes are gathered.
	OutT Rows
	// Rest, if not nil, is added to OutT.
	Rest *LowRank
}

// K is the number of channels (of each group) that the map leads to.
func (m *Map) K() int { return len(m.Groups[0].In) }

// Identity reports whether the map changes nothing of a space of n channels.
func (m *Map) Identity(n int) bool {
	for _, g := range m.Groups {
		if !g.In.isIdentity(n) || !g.OutT.isIdentity(n) || g.Rest != nil {
			return false
		}
	}
	return true
}

// Along are the maps of the spaces that run along some weights: all that matters to what becomes of
// these.
func (m Maps) Along(an *coupling.Analysis, uses []coupling.Use) Maps {
	var axes []*coupling.Axis
	for _, u := range uses {
		axes = append(axes, an.Weights[u.Tensor].Axes...)
	}
	return m.along(an, axes)
}

// along are the maps of the spaces that run along some axes.
func (m Maps) along(an *coupling.Analysis, axes []*coupling.Axis) Maps {
	out := Maps{}
	for _, axis := range axes {
		for _, atom := range axis.Atoms() {
			if s := an.SpaceOf(atom); s != nil && m[s] != nil {
				out[s] = m[s]
			}
		}
	}
	return out
}

// Made returns the maps without the large part of OutT, which nothing needs after Edit: activations
// take In, but on the second side of a contraction.
func (m Maps) Made() Maps {
	out := make(Maps, len(m))
	for s, x := range m {
		if len(s.Second) > 0 {
			out[s] = x // activations take Outᵀ as well
			continue
		}
		c := *x
		c.Groups = slices.Clone(x.Groups)
		for i := range c.Groups {
			c.Groups[i].Rest = nil
		}
		out[s] = &c
	}
	return out
}

// FromPlan turns a transport plan (n×k) into maps: In = diag(1/Tᵀ1)·Tᵀ and Out = diag(1/T1)·T, or
// Out = Inᵀ for Mean. A target that receives no mass would have no meaning and is an error.
func FromPlan(p *ot.Plan, s Scaling) (Transfer, error) {
	rows, cols := p.RowSums(), p.ColSums()
	t := Transfer{In: make(Rows, p.K), OutT: make(Rows, p.K)}
	for _, e := range p.Entries {
		if cols[e.J] <= 0 || rows[e.I] <= 0 {
			continue
		}
		in := share(e.Mass, cols[e.J])
		out := in
		if s != Mean {
			out = share(e.Mass, rows[e.I])
		}
		t.In[e.J] = append(t.In[e.J], Entry{e.I, in})
		t.OutT[e.J] = append(t.OutT[e.J], Entry{e.I, out})
	}
	for j, row := range t.In {
		if len(row) == 0 {
			return Transfer{}, fmt.Errorf("target channel %d receives no mass", j)
		}
	}
	return t, nil
}

// share is m/total, exactly one where rounding alone keeps it from one, so that permutations stay
// permutations bit for bit.
func share(m, total float64) float64 {
	q := m / total
	if q > 1-1e-9 {
		return 1
	}
	return q
}

// Keep is the transfer that keeps some channels as they are.
func Keep(channels []int) Transfer {
	return Transfer{In: selecting(channels), OutT: selecting(channels)}
}

// KeepSome is the map that keeps some channels of each group of a space, and drops the others.
func KeepSome(s *coupling.Space, groups [][]int) *Map {
	m := &Map{Pieces: PiecesOf(s, groups[0])}
	for _, channels := range groups {
		m.Groups = append(m.Groups, Keep(channels))
	}
	return m
}

// First is the map that keeps the first channels of every piece of a space, as many as the widths say.
func First(s *coupling.Space, w coupling.Widths) *Map {
	starts := s.Starts()
	var keep []int
	for i, p := range s.Pieces {
		for c := range w.Size(p) {
			keep = append(keep, starts[i]+c)
		}
	}
	return KeepSome(s, slices.Repeat([][]int{keep}, s.Groups))
}

// KeepAll is the map that changes nothing.
func KeepAll(s *coupling.Space) *Map {
	m := &Map{}
	all := make([]int, s.Width)
	for i := range all {
		all[i] = i
	}
	for range s.Groups {
		m.Groups = append(m.Groups, Keep(all))
	}
	m.Pieces = SizesOf(s)
	return m
}

// Plan says of which of a space's channels (rows) each that the map leads to (columns) is made, and
// to what share, those of all groups one after the other.
func (m *Map) Plan(s *coupling.Space) *ot.Plan {
	out := &ot.Plan{N: s.Width * len(m.Groups), K: m.K() * len(m.Groups)}
	for g, t := range m.Groups {
		for j, row := range t.In {
			for _, e := range row {
				out.Entries = append(out.Entries, ot.Entry{I: g*s.Width + e.Col, J: g*m.K() + j, Mass: e.Val})
			}
		}
	}
	slices.SortFunc(out.Entries, func(a, b ot.Entry) int { return cmp.Or(a.I-b.I, a.J-b.J) })
	return out
}

// Maps holds a map for each space that changes; other spaces stay.
type Maps map[*coupling.Space]*Map

// Widths returns the sizes of all atoms after the maps.
func (ms Maps) Widths() coupling.Widths {
	w := coupling.Widths{}
	for s, m := range ms {
		for i, p := range s.Pieces {
			w[p.Canonical()] = m.Pieces[i]
		}
	}
	return w
}

// changed returns the maps that are not identities.
func (ms Maps) changed() Maps {
	out := Maps{}
	for s, m := range ms {
		if !m.Identity(s.Width) || slices.Compare(m.Pieces, SizesOf(s)) != 0 {
			out[s] = m
		}
	}
	return out
}

// SizesOf lists the numbers of channels of a space's pieces.
func SizesOf(s *coupling.Space) []int {
	var out []int
	for _, p := range s.Pieces {
		out = append(out, p.Size())
	}
	return out
}

// Moved is the share of the target's channels that are anything but the one source channel in the
// same place.
func (m *Map) Moved() float64 {
	moved, total := 0, 0
	for _, g := range m.Groups {
		for j, row := range g.In {
			total++
			if len(row) != 1 || row[0].Col != j {
				moved++
			}
		}
	}
	return float64(moved) / float64(total)
}

// PiecesOf counts the kept channels of each piece.
func PiecesOf(s *coupling.Space, keep []int) []int {
	b := s.Starts()
	out := make([]int, len(s.Pieces))
	for _, c := range keep {
		for i := range out {
			if c >= b[i] && c < b[i+1] {
				out[i]++
			}
		}
	}
	return out
}
