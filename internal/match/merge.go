package match

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/ot"
)

// Merge finds, for every space with an entry in widths, a map onto that many of
// its own channels. The channels that stay (representatives) are chosen
// greedily to lower Σ_p mass_p·min_q C_pq most at each step; every channel
// moves to its nearest representative, which keep their order. Out is Sum
// unless Scaling says otherwise, so merging exact copies is exact.
//
// Spaces are planned in topological order, each seeing its inputs merged.
// Attention heads are compared after the best plan between their dimensions,
// which are permuted for it. Heads that are alike become one; others are never
// averaged, since a mean of two attentions is neither: those of which least is
// read go whole.
func Merge(ctx context.Context, s *edit.Subject, widths map[*coupling.Space]int, o Options) (_ *Result, err error) {
	defer guard.Recover(&err)
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Scaling == "" {
		o.Scaling = edit.Sum
	}
	res := &Result{Maps: edit.Maps{}, Objective: map[*coupling.Space]float64{}, Sweeps: 1}
	var spaces []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if k, ok := widths[sp]; ok && k != sp.Width {
			if k < 1 || k > sp.Width {
				return nil, fmt.Errorf("space %q: %d of %d channels", sp.Name, k, sp.Width)
			}
			if !sp.Resizable() {
				return nil, fmt.Errorf("space %q may not be narrowed: %s%s", sp.Name, sp.Reason, sp.Rigid)
			}
			spaces = append(spaces, sp)
		}
	}
	mg := &merger{s: s, o: o, pair: selfPairing(s), res: res}
	if o.By == Activations {
		tapped := slices.Clone(spaces)
		for _, sp := range spaces {
			tapped = append(tapped, mg.inside(sp)...)
		}
		var err error
		if mg.measured, err = observePairs(ctx, s, s, mg.pair, tapped, o); err != nil {
			return nil, err
		}
	}
	for _, sp := range spaces {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := mg.merge(sp, widths[sp]); err != nil {
			return nil, fmt.Errorf("space %q: %w", sp.Name, err)
		}
	}
	return res, nil
}

// merger is the state of one call of Merge.
type merger struct {
	s        *edit.Subject
	o        Options
	pair     *Pairing
	measured *measured // by activations; nil by weights
	res      *Result
}

// inside lists the spaces whose groups are the channels of sp: the dimensions
// of attention heads.
func (m *merger) inside(sp *coupling.Space) []*coupling.Space {
	var out []*coupling.Space
	for _, in := range m.s.Analysis.Spaces {
		if m.s.Analysis.IndexOf(in) == sp && m.pair.pairedGroups(in) && !in.Frozen {
			out = append(out, in)
		}
	}
	return out
}

// costs compares the channels of a space among each other.
func (m *merger) costs(sp *coupling.Space) (costs, error) {
	if m.measured.has(sp) {
		return m.measured.costs(sp)
	}
	rs, err := channels.Readings(m.s, sp, m.res.Maps)
	if err != nil {
		return nil, err
	}
	out := newCosts(sp, sp, m.pair.pairedGroups(sp))
	for _, r := range rs {
		out.each(func(g, h int, c *ot.Cost) { addFeatureCost(c.Data, r.Groups[g], r.Groups[h], m.o.Cost) })
	}
	return out, nil
}

// merge makes the map of one space, and of the spaces inside it.
func (m *merger) merge(sp *coupling.Space, k int) (err error) {
	defer guard.Recover(&err)
	inside := m.inside(sp)
	if len(inside) > 0 || sp.Heads {
		return m.mergeHeads(sp, inside, k)
	}
	mp := &edit.Map{}
	if !m.measured.has(sp) && sp.Width > wideSpace {
		// One group at a time, in single precision, and with what the step before has left
		// behind collected: each step takes a large part of the model's size.
		defer runtime.GC()
		rs, err := channels.Readings(m.s, sp, m.res.Maps)
		if err != nil {
			return err
		}
		runtime.GC()
		for g := range sp.Groups {
			c := &ot.Cost32{N: sp.Width, K: sp.Width, Data: make([]float32, sp.Width*sp.Width)}
			for _, r := range rs {
				addFeatureCost(c.Data, r.Groups[g], r.Groups[g], m.o.Cost)
			}
			if _, err := group(m, sp, mp, c, c.Data, g, k); err != nil {
				return err
			}
		}
		m.res.Maps[sp] = mp
		return nil
	}
	table, err := m.costs(sp)
	if err != nil {
		return err
	}
	for g := range table {
		if _, err := group(m, sp, mp, table[g][g], table[g][g].Data, g, k); err != nil {
			return err
		}
	}
	m.res.Maps[sp] = mp
	return nil
}

// wideSpace is the number of channels from which on costs are kept in single precision: those of
// 8,192 channels take 256 MB then.
const wideSpace = 4096

// group plans one group of a space with costs c, whose numbers are data. The plan that is returned
// names the channels that stay by their old places.
func group[T dense.Float](m *merger, sp *coupling.Space, mp *edit.Map, c ot.Costs, data []T, g, k int) (plan *ot.Plan, err error) {
	mass := slices.Repeat([]float64{1 / float64(sp.Width)}, sp.Width)
	if m.o.Mass != "" && m.o.Mass != Uniform {
		rs, err := channels.Readings(m.s, sp, m.res.Maps)
		if err != nil {
			return nil, err
		}
		if w := normalise(importance(rs, g, m.o.Mass)); w != nil {
			mass = w
		}
	}
	keep := representatives(data, mass, k, sp.Starts())
	plan = nearest(c, mass, keep)
	t, err := edit.FromPlan(plan, m.o.Scaling)
	if err != nil {
		return nil, err
	}
	mp.Groups = append(mp.Groups, t)
	mp.Pieces = edit.PiecesOf(sp, keep)
	for i, e := range plan.Entries {
		plan.Entries[i].J = keep[e.J]
	}
	m.res.Objective[sp] += plan.Cost(c)
	return plan, nil
}

// own adds to costs what the producers say that make the channels of a space
// alone, without those of the spaces inside it: of the channels in front of a
// depthwise multiplier.
func (m *merger) own(sp *coupling.Space, inside []*coupling.Space, c *ot.Cost) error {
	if m.measured != nil {
		return nil // activations inside say it too
	}
	rs, err := channels.Readings(m.s, sp, m.res.Maps)
	if err != nil {
		return err
	}
	for i, u := range sp.Producers() {
		axis := m.s.Analysis.Weights[u.Tensor].Axes[u.Axis]
		if !slices.ContainsFunc(inside, func(in *coupling.Space) bool { return slices.ContainsFunc(in.Pieces, axis.Holds) }) {
			addFeatureCost(c.Data, rs[i].Groups[0], rs[i].Groups[0], m.o.Cost)
		}
	}
	return nil
}

// mergeHeads merges attention heads, each after its dimensions have been moved
// onto those of the head that it joins.
func (m *merger) mergeHeads(sp *coupling.Space, inside []*coupling.Space, k int) error {
	if sp.Heads && m.measured != nil {
		// That two heads are alike their weights say: what they attended to in some
		// samples does not.
		byWeights := *m
		byWeights.measured = nil
		m = &byWeights
	}
	heads := ot.NewCost(sp.Width, sp.Width, nil)
	if err := m.own(sp, inside, heads); err != nil {
		return err
	}
	plans := make([][][]*ot.Plan, len(inside)) // by space, head and head
	for i, in := range inside {
		table, err := m.costs(in)
		if err != nil {
			return err
		}
		plans[i] = make([][]*ot.Plan, in.Groups)
		for g := range plans[i] {
			plans[i][g] = make([]*ot.Plan, in.Groups)
			for h := range plans[i][g] {
				r, err := transport(nil, nil, table[g][h], m.o)
				if err != nil {
					return err
				}
				plans[i][g][h] = r.Plan
				heads.Set(g, h, heads.At(g, h)+r.Objective)
			}
		}
	}
	if sp.Heads {
		if err := m.apart(sp, inside, heads); err != nil {
			return err
		}
	}
	mp := &edit.Map{}
	joined, err := group(m, sp, mp, heads, heads.Data, 0, k)
	if err != nil {
		return err
	}
	if sp.Heads {
		if err := m.drop(mp, joined, heads); err != nil {
			return err
		}
	}
	m.res.Maps[sp] = mp
	for i, in := range inside {
		dims := &edit.Map{Pieces: edit.SizesOf(in), Groups: make([]edit.Transfer, in.Groups)}
		for _, e := range joined.Entries {
			if dims.Groups[e.I], err = edit.FromPlan(plans[i][e.I][e.J], m.o.Scaling); err != nil {
				return err
			}
		}
		m.res.Maps[in] = dims
	}
	return nil
}

// alikeWithin is the cost between two heads, relative to that between them and
// nothing, up to which they are the same.
const alikeWithin = 1e-4

// apart turns the costs between heads into what it costs to do without one: how
// much of it is read, or nothing where it is like the other.
func (m *merger) apart(sp *coupling.Space, inside []*coupling.Space, heads *ot.Cost) error {
	size, read := make([]float64, sp.Width), make([]float64, sp.Width)
	for _, in := range append([]*coupling.Space{sp}, inside...) {
		rs, err := channels.Readings(m.s, in, m.res.Maps)
		if err != nil {
			return err
		}
		for h := range sp.Width {
			made, used, err := m.weights(in, in != sp, h, rs)
			if err != nil {
				return err
			}
			size[h] += made
			read[h] += made * used
		}
	}
	for g := range sp.Width {
		for h := range sp.Width {
			cost := max(read[g], math.SmallestNonzeroFloat32)
			if alike := alikeWithin * (size[g] + size[h]); g == h || heads.At(g, h) <= alike || m.o.Cost == SquaredEuclidean && heads.At(g, h) <= alike*alike || m.o.Cost == Cosine && heads.At(g, h) <= alikeWithin {
				cost = 0
			}
			heads.Set(g, h, cost)
		}
	}
	return nil
}

// weights are the norms of what makes a head's channels of a space, and of what
// reads them. inner says that the head is a group of the space, not a channel.
func (m *merger) weights(in *coupling.Space, inner bool, head int, rs []channels.Reading) (made, used float64, err error) {
	group, from, to := 0, head, head+1
	if inner {
		group, from, to = head, 0, in.Width
	}
	for _, r := range rs {
		for _, p := range r.Groups[group].Parts {
			for _, v := range p.Data[from*p.Cols : to*p.Cols] {
				made += float64(v) * float64(v)
			}
		}
	}
	for _, u := range in.Consumers() {
		own, err := channels.Energies(m.s, in, u, group)
		if err != nil {
			return 0, 0, err
		}
		used += floats.Sum(own[from:to])
	}
	return math.Sqrt(made), math.Sqrt(used), nil
}

// drop takes heads out of a map that would join others which they are not like.
func (m *merger) drop(mp *edit.Map, joined *ot.Plan, heads *ot.Cost) (err error) {
	places := map[int]int{} // of heads that stay
	for _, e := range joined.Entries {
		if e.I == e.J {
			places[e.J] = len(places)
		}
	}
	plan := &ot.Plan{N: joined.N, K: joined.K}
	for _, e := range joined.Entries {
		if heads.At(e.I, e.J) == 0 {
			plan.Entries = append(plan.Entries, ot.Entry{I: e.I, J: places[e.J], Mass: e.Mass})
		}
	}
	mp.Groups[0], err = edit.FromPlan(plan, m.o.Scaling)
	return err
}

// selfPairing pairs a subject with itself.
func selfPairing(s *edit.Subject) *Pairing {
	p := &Pairing{Sources: map[string]string{}, Tensors: map[string]string{}, Spaces: map[*coupling.Space]*coupling.Space{}, a: s, b: s, atoms: map[*coupling.Axis]*coupling.Axis{}}
	for name := range s.Analysis.Activations {
		p.Tensors[name] = name
	}
	for _, sp := range s.Analysis.Spaces {
		p.Spaces[sp] = sp
		if sp.Index != nil {
			p.atoms[sp.Index.Canonical()] = sp.Index.Canonical()
		}
	}
	return p
}

// Representatives chooses k of n channels greedily: at each step the one that
// lowers Σ_p mass_p·min_{q kept} C_pq most, ties by index. This is facility
// location, whose gains only shrink as more are kept, so stale gains are upper
// bounds and most need never be recomputed (Minoux 1978). pieces lists ranges
// of channels ([0, …, n]) of which each must keep one where k allows. The
// result is sorted.
func Representatives(c *ot.Cost, mass []float64, k int, pieces []int) []int {
	return representatives(c.Data, mass, k, pieces)
}

// representatives is Representatives for costs of either precision.
func representatives[T dense.Float](costs []T, mass []float64, k int, pieces []int) []int {
	n := len(mass)
	to := columns(costs, n)
	near := make([]T, n) // cost of each channel to its nearest kept one
	var far T
	for _, x := range costs {
		far = max(far, x)
	}
	for p := range near {
		near[p] = 2*far + 1 // nothing kept yet: farther than anything
	}
	gain := func(q int) float64 {
		s := 0.0
		for p, x := range to[q*n:][:n] {
			if d := near[p] - x; d > 0 {
				s += mass[p] * float64(d)
			}
		}
		return s
	}
	var keep []int
	take := func(q int) {
		keep = append(keep, q)
		for p, x := range to[q*n:][:n] {
			near[p] = min(near[p], x)
		}
	}
	taken := make([]bool, n)
	if len(pieces) > 2 && k >= len(pieces)-1 {
		for i := 0; i+1 < len(pieces); i++ {
			best, bestGain := -1, -1.0
			for q := pieces[i]; q < pieces[i+1]; q++ {
				if g := gain(q); g > bestGain {
					best, bestGain = q, g
				}
			}
			if best >= 0 {
				take(best)
				taken[best] = true
			}
		}
	}
	h := make(gains, 0, n)
	for q := range n {
		if !taken[q] {
			h = append(h, candidate{q, gain(q), len(keep)})
		}
	}
	heap.Init(&h)
	for len(keep) < k && len(h) > 0 {
		if h[0].asOf == len(keep) {
			take(heap.Pop(&h).(candidate).channel)
			continue
		}
		h[0].gain, h[0].asOf = gain(h[0].channel), len(keep)
		heap.Fix(&h, 0)
	}
	slices.Sort(keep)
	return keep
}

// columns returns a square matrix by columns: as it is, where it is symmetric.
func columns[T dense.Float](costs []T, n int) []T {
	const block = 32 // so that both sides stay in the cache
	for i0 := 0; i0 < n; i0 += block {
		for j0 := 0; j0 <= i0; j0 += block {
			for i := i0; i < min(i0+block, n); i++ {
				for j := j0; j < min(j0+block, i); j++ {
					if costs[i*n+j] != costs[j*n+i] {
						out := make([]T, n*n)
						for i := range n {
							for j := range n {
								out[j*n+i] = costs[i*n+j]
							}
						}
						return out
					}
				}
			}
		}
	}
	return costs
}

type candidate struct {
	channel int
	gain    float64
	asOf    int // number of channels kept when the gain was computed
}

type gains []candidate

func (h gains) Len() int { return len(h) }

func (h gains) Less(i, j int) bool {
	if c := cmp.Compare(h[i].gain, h[j].gain); c != 0 {
		return c > 0
	}
	return h[i].channel < h[j].channel
}

func (h gains) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *gains) Push(x any) { *h = append(*h, x.(candidate)) }

func (h *gains) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// nearest is the optimal plan when the target marginal is free: every channel
// sends all its mass to the nearest kept one, itself if it is kept.
func nearest(c ot.Costs, mass []float64, keep []int) *ot.Plan {
	n, _ := c.Dims()
	p := &ot.Plan{N: n, K: len(keep)}
	index := map[int]int{}
	for j, q := range keep {
		index[q] = j
	}
	for i := range n {
		best, ok := index[i]
		if !ok {
			best = 0
			for j, q := range keep {
				if c.At(i, q) < c.At(i, keep[best]) {
					best = j
				}
			}
		}
		p.Entries = append(p.Entries, ot.Entry{I: i, J: best, Mass: mass[i]})
	}
	return p
}
